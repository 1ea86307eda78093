"""The second route of k hops: NumPy, token by token, sharing nothing with the simulator."""

import numpy as np


def hops(hidden, sigma, i: int, x: int, count: int) -> int:
    """σ π, so many times, from (i, x)."""
    k = len(hidden)
    for step in range(count):
        x = sigma[(i + step) % k][hidden[(i + step) % k][x]]
    return int(x)


def forward(hidden, sigma, beta):
    """(what is held, attention weights) of every token after each layer of the written transformer."""
    k, n = hidden.shape
    held, weights = [], []
    for layer in range(k.bit_length()):
        here, seen = np.zeros((k, n, n)), np.zeros((k, n, k, n))
        for i in range(k):
            for x in range(n):
                scores = np.zeros((k, n))
                if layer == 0:
                    scores[i, hidden[i][x]] = beta
                else:
                    scores += beta * held[-1][i, x][None, :]
                    scores[(i + 2 ** (layer - 1)) % k] += beta
                share = np.exp(scores - scores.max())
                seen[i, x] = share / share.sum()
                for other in range(k):
                    for token in range(n):
                        read = np.eye(n)[sigma[other][token]] if layer == 0 else held[-1][other, token]
                        here[i, x] += seen[i, x, other, token] * read
        held.append(here)
        weights.append(seen)
    return held, weights


def layers(n: int, k: int, beta):
    """[(least right, most right, least wrong, most wrong, least weight, least lead)] after each layer:
    extremes over boxes of what is held, found at their corners; the lead at the worst leads of what is
    read."""
    Z = np.exp(beta) + k * n - 1
    q, r = (np.exp(beta) + k - 1) / Z, k / Z
    found, uneven = [(q, q, r, r, np.exp(beta) / Z, q - r)], 0.0
    step = np.exp(beta) / (np.exp(beta) + k - 1)
    for _ in range(k.bit_length() - 1):
        q, Q, r, R, _, D = found[-1]
        # Softmax over inputs of β times what is held: all corners of (right, one wrong, other wrong ones).
        rights, strays = [], []
        for right in (q, Q):
            for one in (r, R):
                for rest in (r, R):
                    e = np.exp(beta * np.array([right, one] + [rest] * (n - 2)))
                    rights.append(e[0] / e.sum())
                    strays.append(e[1] / e.sum())
        A, b, B = max(rights), min(strays), max(strays)
        # The least on the right input: wrong ones sum to 1 − q, as many as can be at R, the others at r.
        full = min((1 - q - (n - 1) * r) / (R - r), n - 1) if r < R else n - 1
        a = 1 / (1 + (full * np.exp(beta * R) + (n - 1 - full) * np.exp(beta * r)) / np.exp(beta * q))
        low, high = a * q + (1 - a) * r, A * Q + (1 - A) * R
        wrong, most = min(b * q + (1 - b) * r, low), B * Q + (1 - B) * R
        low, most = step * low + (1 - step) * wrong, step * most + (1 - step) * high
        # Weights over inputs less b, against leads in what is read: D, −G and −s in the right step, −G and
        # −s in the others.
        G, s, leads = Q - r, R - r if n > 2 else max(-D, 0), []
        one = min(max(1 - a - (n - 1) * b, 0), B - b)
        for weight in (a, A):
            rest = max(1 - weight - (n - 1) * b, 0)
            inside = np.dot([weight - b, one, max(rest - one, 0)], [D, -G, -s])
            outside = np.dot([max(weight - b, one), rest], [-G, -s])
            leads.append(step * inside + (1 - step) * outside - b * uneven)
        uneven += max(A + (n - 1) * B - 1, 1 - a - (n - 1) * b, 0) * (2 * G + (n - 2) * s)
        found.append((low, high, wrong, most, step * a, max(min(leads), low - most)))
    return found


def start(n: int, k: int) -> float:
    """The least β from which every lead is above 0, by halving."""
    low, high = 0.0, 0.0 if k <= 2 else 60.0
    for _ in range(50):
        middle = (low + high) / 2
        spare = min(held[5] for held in layers(n, k, middle))
        low, high = (middle, high) if spare <= 0 else (low, middle)
    return high
