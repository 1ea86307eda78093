"""The second route of Cooc: its transformer in NumPy, sharing nothing with the simulator."""

from typing import Any

import numpy as np

from ....statements.reference import sigmoid


def cooccurrence_descent(weights, a, tokens, y, rate: float, steps: int, every: int) -> dict:
    """The transformer of Cooc (1) under gradient descent on its four matrices, appendix B; what it does at
    steps 0, every, 2·every, …: margins, G, W_KᵀW_Q, and their velocities along −∇L."""
    state: Any = tuple(np.array(part, float) for part in weights)
    n, d, root = len(y), state[1].shape[1], np.sqrt(len(state[2]))
    X: Any = np.eye(d)[np.asarray(tokens)]
    seen: dict = {name: [] for name in ("margins", "G", "table", "G_moves", "table_moves", "value_moves")}
    for step in range(steps + 1):
        W, V, K, Q = state
        u, table = a @ W, K.T @ Q
        G = u @ V
        scores = np.einsum("nhc,cd,nld->nlh", X, table, X, optimize=True) / root
        p = np.exp(scores - scores.max(axis=2, keepdims=True))
        p /= p.sum(axis=2, keepdims=True)
        g = X @ G
        margins = y * np.einsum("nlh,nh->n", p, g)
        pull = y * sigmoid(-margins) / n
        S = np.einsum("n,nlh,nhd->d", pull, p, X, optimize=True)
        spread = p * (g[:, None, :] - np.einsum("nlh,nh->nl", p, g)[..., None]) * pull[:, None, None] / root
        A = np.einsum("nlh,nhc,nld->cd", spread, X, X, optimize=True)
        moves = np.outer(a, V @ S), np.outer(u, S), Q @ A.T, K @ A
        if step % every == 0:
            seen["margins"].append(margins)
            seen["G"].append(G)
            seen["table"].append(table)
            seen["G_moves"].append(a @ moves[0] @ V + u @ moves[1])
            seen["table_moves"].append(moves[2].T @ Q + K.T @ moves[3])
            half = moves[1].T @ V
            seen["value_moves"].append(half + half.T)
        state = tuple(part + rate * move for part, move in zip(state, moves))
    return {name: np.array(value) for name, value in seen.items()}


def loss(weights: Any, a: Any, tokens: Any, y: Any) -> Any:
    """Cooc (1)–(2), sample by sample; of complex weights too."""
    W, V, K, Q = weights
    total: Any = 0
    for x, label in zip(tokens, y):
        F: Any = 0
        for query in x:
            scores = np.array([K[:, key] @ Q[:, query] for key in x]) / np.sqrt(len(K))
            e = np.exp(scores)
            F = F + (a @ W) @ V[:, x] @ (e / e.sum())
        total = total + np.log(1 + np.exp(-label * F)) / len(y)
    return total


def descent_direction(draw: Any) -> list:
    """−∇L by complex step."""
    found = []
    for place in range(4):
        slope = np.zeros(np.shape(draw[place]))
        for entry in range(slope.size):
            parts = [np.array(part, complex) for part in draw[:4]]
            parts[place].flat[entry] += 1e-30j
            slope.flat[entry] = -np.imag(loss(parts, draw.a, draw.tokens, draw.y)) / 1e-30
        found.append(slope)
    return found


def size(*parts: Any) -> Any:
    return sum(abs(part).max() ** 2 for part in parts)


def layers_output(weights: Any, a: Any, x: Any) -> Any:
    """Two layers of attention on one sample, word by word, words as vectors; of complex weights too."""
    W, V, K, Q, U, K1, Q1 = weights
    words = list(np.eye(V.shape[1])[np.asarray(x)])

    def mixed(stream: Any, key: Any, query: Any) -> list:
        found = []
        for word in stream:
            e = np.exp(np.array([(key @ other) @ (query @ word) for other in stream]) / np.sqrt(len(key)))
            found.append(sum(share * other for share, other in zip(e / e.sum(), stream)))
        return found

    stream = [word + U @ mix for word, mix in zip(words, mixed(words, K1, Q1))]
    return sum((a @ W) @ V @ mix for mix in mixed(stream, K, Q))
