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
    """[(least right, most right, least wrong, most wrong, least weight)] after each layer: extremes over
    boxes of what is held, found at their corners."""
    Z = np.exp(beta) + k * n - 1
    found = [((np.exp(beta) + k - 1) / Z, (np.exp(beta) + k - 1) / Z, k / Z, k / Z, np.exp(beta) / Z)]
    step = np.exp(beta) / (np.exp(beta) + k - 1)
    for _ in range(k.bit_length() - 1):
        q, Q, r, R, _ = found[-1]
        # Softmax over inputs of β times what is held: all corners of (right, one wrong, other wrong ones).
        rights, strays = [], []
        for right in (q, Q):
            for one in (r, R):
                for rest in (r, R):
                    e = np.exp(beta * np.array([right, one] + [rest] * (n - 2)))
                    rights.append(e[0] / e.sum())
                    strays.append(e[1] / e.sum())
        a, A, b, B = min(rights), max(rights), min(strays), max(strays)
        low, high = a * q + (1 - a) * r, A * Q + (1 - A) * R
        wrong, most = min(b * q + (1 - b) * r, low), B * Q + (1 - B) * R
        found.append(
            (step * low + (1 - step) * wrong, high, wrong, step * most + (1 - step) * high, step * a)
        )
    return found


def bounds(n: int, k: int, beta):
    """((least right, least weight), (most right,)) after the last layer."""
    last = layers(n, k, beta)[-1]
    return (last[0], last[4]), (last[1],)


def start(n: int, k: int) -> float:
    """The least β from which the right value is above all wrong ones, by halving."""
    low, high = 0.0, 0.0 if k <= 2 else 60.0
    for _ in range(50):
        middle = (low + high) / 2
        spare = min(held[0] - held[3] for held in layers(n, k, middle))
        low, high = (middle, high) if spare <= 0 else (low, middle)
    return high
