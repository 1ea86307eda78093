"""The second route: NumPy and SciPy, token by token, sharing nothing with the simulator.

W is (k, d), rows of E are e_x, rows of U are u_y, q is p(y|x); the formulas are GD (2)–(9).
"""

from collections.abc import Callable, Iterable

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import wrightomega


def lam(y):
    """The root m of e^m + m = y: log ω(y); y − e^y where ω would underflow."""
    y = np.asarray(y, float)
    return np.where(y < -40, y, np.log(np.real(wrightomega(np.maximum(y, -40)))))


def sigmoid(m):
    return np.exp(-np.logaddexp(0, -np.asarray(m, float)))


def softmax(scores):
    e = np.exp(scores - np.max(scores))
    return e / np.sum(e)


def one_hot(labels, classes: int):
    return np.eye(classes)[np.asarray(labels, int)]


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


def follow(velocity: Callable, start, times):
    """States at ``times`` of dx/dt = velocity(x): SciPy's DOP853, in s = log(1 + t)."""
    start = np.asarray(start, float)
    clock = np.log1p(np.atleast_1d(np.asarray(times, float)))
    found = solve_ivp(
        lambda s, x: np.exp(s) * velocity(x), (0, clock.max()), start, "DOP853", np.sort(clock),
        rtol=1e-11, atol=1e-13,
    )  # fmt: skip
    assert found.success, found.message
    return found.y.T[np.argsort(np.argsort(clock))]


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


def cooccurrence_descent(weights, a, tokens, y, rate: float, steps: int, every: int) -> dict:
    """The transformer of Cooc (1) under gradient descent on its four matrices, appendix B; what it does at
    steps 0, every, 2·every, …: margins, G, W_KᵀW_Q, and their velocities along −∇L."""
    W, V, K, Q = (np.array(part, float) for part in weights)
    n, d, root = len(y), V.shape[1], np.sqrt(len(K))
    X = np.eye(d)[np.asarray(tokens)]
    seen: dict = {name: [] for name in ("margins", "G", "table", "G_moves", "table_moves", "value_moves")}
    for step in range(steps + 1):
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
        W, V, K, Q = (part + rate * move for part, move in zip((W, V, K, Q), moves))
    return {name: np.array(value) for name, value in seen.items()}
