"""The second route of one memory: NumPy, token by token, sharing nothing with the simulator.

W is (k, d), rows of E are e_x, rows of U are u_y, q is p(y|x); the formulas are GD (2)–(9).
"""

from collections.abc import Callable, Iterable

import numpy as np

from ....statements.reference import follow, sigmoid, softmax


def loss(W, p, q, E, U) -> float:
    """GD (2)–(3)."""
    total = 0.0
    for x in range(len(p)):
        scores = U @ W @ E[x]
        total += p[x] * (np.logaddexp.reduce(scores) - q[x] @ scores)
    return total


def gradient(W, p, q, E, U):
    """GD (9), averaged over p."""
    total = np.zeros_like(W)
    for x in range(len(p)):
        total += p[x] * np.outer(U.T @ (softmax(U @ W @ E[x]) - q[x]), E[x])
    return total


def hessian(W, p, E, U):
    """GD (26), token by token: Σ p(x) Cov(u) ⊗ e eᵀ, index a·d + b for W_ab."""
    k, d = W.shape
    total = np.zeros((k * d, k * d))
    for x in range(len(p)):
        s = softmax(U @ W @ E[x])
        covariance = U.T @ (np.diag(s) - np.outer(s, s)) @ U
        total += p[x] * np.kron(covariance, np.outer(E[x], E[x]))
    return total


def descend(W, p, q, E, U, rates: Iterable[float]) -> list:
    """W₀, W₁, … under GD (5)."""
    path = [np.array(W, float)]
    for rate in rates:
        path.append(path[-1] - rate * gradient(path[-1], p, q, E, U))
    return path


def flow(W, p, q, E, U, times):
    """W at ``times`` of GD (4)."""
    shape = np.shape(W)
    states = follow(lambda w: -gradient(w.reshape(shape), p, q, E, U).ravel(), np.ravel(W), times)
    return states.reshape(-1, *shape)


def pair_velocity(p1, alpha, c) -> Callable:
    """GD (17): margins of two tokens."""
    p = np.array([p1, 1 - p1])

    def velocity(m):
        pull = p * sigmoid(-m)
        return c * (pull - alpha * pull[::-1])

    return velocity


def pair_descent(p1, alpha, c, rates: Iterable[float]):
    """Margins of two tokens from zero, under GD (17)."""
    velocity, path = pair_velocity(p1, alpha, c), [np.zeros(2)]
    for rate in rates:
        path.append(path[-1] + rate * velocity(path[-1]))
    return np.array(path)


def gammas(m):
    """γ of GD (18) from the margins, last axis."""
    m = np.asarray(m)
    return np.stack([(m[..., 0] - m[..., 1]) / 2, (m[..., 0] + m[..., 1]) / 2], axis=-1)
