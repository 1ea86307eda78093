"""The second route of learning through noise, in NumPy, sharing nothing with the simulator."""

from typing import Any

import numpy as np
from scipy.stats import norm


def gaussian(rng, *rows: int, d: int) -> list[Any]:
    return [rng.normal(size=(n, d)) / d**0.5 for n in rows]


def key(E: Any, U: Any, tau: Any, batches: Any) -> Any:
    """w after two steps; a batch is (tokens, places), f* the identity."""
    (z, t), (z2, t2) = batches
    x, y = seen(E, tau, z, t)
    W = (U[y] - U.mean(axis=0)).T @ x.mean(axis=1) / len(z)
    x, y = seen(E, tau, z2, t2)
    s = np.einsum("nk,kd,ntd->nt", U[y] - U.mean(axis=0), W, x)
    return np.einsum("nt,ntd->d", s - s.mean(axis=1, keepdims=True), x) / s.size


def seen(E: Any, tau: Any, z: Any, t: Any) -> tuple[Any, Any]:
    """(x, y) of tokens and places."""
    x, rows = E[z], np.arange(len(z))
    x[rows, t] += tau
    return x, z[rows, t]


def batch(rng, tokens: int, length: int, n: int) -> tuple[Any, Any]:
    return rng.integers(0, tokens, (n, length)), rng.integers(0, length, n)


def every(tokens: int, length: int) -> tuple[Any, Any]:
    """All sequences with the trigger at every place."""
    words = np.indices((tokens,) * length).reshape(length, -1).T
    return words.repeat(length, axis=0), np.tile(np.arange(length), len(words))


def right(E: Any, tau: Any, w: Any, length: int) -> float:
    """P(the trigger has the largest score)."""
    scores = E @ w
    below = [np.mean(scores < s + tau @ w) for s in scores]
    return float(np.mean(np.array(below) ** (length - 1)))


def spread(E: Any, length: int, n: int, fresh: bool) -> float:
    """The seven terms of Var_v e_vᵀw, in units of 1/(N T²)², by the traces of these embeddings."""
    N, d, T = *E.shape, length
    S = E.T @ E / N
    S2, S3, S4 = (float(np.trace(np.linalg.matrix_power(S, k))) for k in (2, 3, 4))
    near, far = (1, 0) if fresh else (1 + N / n, N * T / n)
    trigger = (near**2 + 2 * near * far * S2 + far**2 * S3) / d
    frequencies = N * T**4 / (n**2 * d) * S3 * (S2 if fresh else 1)
    read = (N**2 * T**3 / n**2 + N * T**2 / n) * S2 * S4
    products = ((N * T / n) ** 2 + 3 * N * T / n) * S2**3
    return trigger + frequencies + read + products + N * T**3 / (n**2 * d) * S2**2 * (1 + N / T**2)


def largest(mean: float, wide: float, narrow: float, others: int) -> float:
    """P(a Gaussian is above so many others), by 4,001 equal steps."""
    z = np.linspace(-8, 8, 4001)
    return float(np.average(norm.cdf((mean + wide**0.5 * z) / narrow**0.5) ** others, weights=norm.pdf(z)))


def hermite(dimension: int) -> tuple[Any, Any]:
    """Nodes and weights under N(0, I), exact for polynomials of degree 5 in each coordinate."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    grid = np.indices((3,) * dimension).reshape(dimension, -1).T
    return nodes[grid], np.prod((weights / weights.sum())[grid], axis=1)
