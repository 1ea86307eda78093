"""Slides: Bietti 2025, Associative Memories as a Building Block in Transformers (p. 6–12, 31–34)."""

import functools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.stats import norm

from ....statements import at_least, at_most, equal, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ....sweeps import LogUniform
from .. import observe as own
from ..model import LinearMemory
from ..task import AssociationTask
from ..theory import first_step, outer_product
from . import loops
from .problems import descend


@functools.lru_cache(maxsize=16)
def _moment(n: int, m: int, d: int, y: int) -> float:
    """E[γ²] by Gauss–Hermite over every entry of E and U (three nodes are exact for degree 4 in each);
    γ = u_yᵀ Σ_x u_{f(x)} (e_xᵀ e_0), f(x) = x mod m."""
    x, w = np.polynomial.hermite_e.hermegauss(3)
    w = w / w.sum()
    total, entries = 0.0, (n + m) * d
    for first in range(0, 3**entries, 200_000):
        digits = np.arange(first, min(first + 200_000, 3**entries))[:, None] // 3 ** np.arange(entries) % 3
        values = (x[digits] / np.sqrt(d)).reshape(-1, n + m, d)
        E, U = values[:, :n], values[:, n:]
        outputs = U[:, np.arange(n) % m]
        gamma = np.einsum("sa,sxa,sxb,sb->s", U[:, y], outputs, E, E[:, 0])
        total += np.prod(w[digits], axis=1) @ gamma**2
    return float(total)


@statement(
    "slides.37",
    "the noise of an outer-product memory",
    where="p. 6",
    printed="Var[γ_{z,y}] ≲ n_y/d + (N − n_y)/d² (read for y ≠ f(z), with a constant of 4)",
    corrected="y = f(z): (1+k)² − 1 + (n_y−1)(1+k)/d + (N−n_y)/d²; y ≠ f(z): (1+k)/d + n_y(1+k)/d + "
    "(N−1−n_y)/d², "
    "k = 2/d (Gaussian)",
    verdict="false",
    reason="for y ≠ f(z) and n_y = 0 the 1/d of the token itself is missing: short by a factor d + 2",
    cases=[
        {"n": 1, "m": 2, "d": 3, "y": 1}, {"n": 2, "m": 2, "d": 2, "y": 0}, {"n": 2, "m": 2, "d": 2, "y": 1},
        {"n": 3, "m": 2, "d": 1, "y": 0}, {"n": 3, "m": 3, "d": 1, "y": 2}, {"n": 1, "m": 2, "d": 3, "y": 0},
    ],
    tolerance="rounding of the sum over Gauss–Hermite nodes, exact for this polynomial",
    counterexample={"n": 1, "m": 2, "d": 3, "y": 1},
)  # fmt: skip
def noise(n, m, d, y):
    """Condition on e_z and u_y; terms x ≠ z are independent of mean zero."""
    same = int(np.sum(np.arange(n) % m == y))
    variance = jnp.asarray(_moment(n, m, d, y) - (1.0 if y == 0 else 0.0))
    printed = 4 * (same / d + (n - same) / d**2)
    exact = outer_product.variance(n, same, d, y == 0)
    # Up to 3^9 terms of size up to 3^4.
    return {
        "printed": at_most(variance, printed, given=y != 0),
        "corrected": equal(variance, exact, rounding(exact, operations=20_000)),
    }


@noise.second_route
def _(n, m, d, y):
    rng = np.random.default_rng(n + 10 * m + 100 * d + 1000 * y)
    draws = 400_000
    E, U = rng.normal(size=(draws, n, d)) / np.sqrt(d), rng.normal(size=(draws, m, d)) / np.sqrt(d)
    gamma = sum(
        np.einsum("sa,sa->s", U[:, y], U[:, x % m]) * np.einsum("sa,sa->s", E[:, x], E[:, 0])
        for x in range(n)
    )
    same, k = sum(x % m == y for x in range(n)), 2 / d
    exact = (1 + k) ** 2 - 1 + (same - 1) * (1 + k) / d + (n - same) / d**2
    if y:
        exact = (1 + k) / d + same * (1 + k) / d + (n - 1 - same) / d**2
    squares = (gamma - (y == 0)) ** 2
    return equal(squares.mean(), exact, 6 * squares.std() / draws**0.5)


@statement(
    "slides.38",
    "the first gradient step is an outer-product memory",
    where="p. 12",
    printed="u_kᵀW₁e_x = ηp(x)(1{k=f(x)} − 1/N)",
    corrected="… − 1/M with M classes",
    verdict="false",
    reason="right for M = N only",
    domain={"rate": LogUniform(0.1, 100), "p1": LogUniform(0.01, 0.9)},
    cases=[{"n": 4, "m": 2}, {"n": 4, "m": 4}],
    tolerance="rounding",
    counterexample={"rate": 1.0, "p1": 0.25, "n": 4, "m": 2},
)
def one_step(rate, p1, n, m):
    """p̂ = 1/M at W = 0; orthonormal embeddings read the coefficients off."""
    p = jnp.concatenate([jnp.reshape(p1, (1,)), jnp.full(n - 1, 1.0) * (1 - p1) / (n - 1)])
    labels = jnp.arange(n) % m
    task = AssociationTask(p, labels, jnp.eye(n), jnp.eye(m))
    run = descend(task, LinearMemory.zeros(task), rate, 1, W=own.weights)
    W, occurs = run.observed["W"][1], jax.nn.one_hot(labels, m).T
    closed = first_step.weight(rate, task)
    return {
        "printed": equal(W, rate * p * (occurs - 1 / n), rounding(rate)),
        "corrected": (
            equal(W, rate * p * (occurs - 1 / m), rounding(rate)),
            equal(W, closed, rounding(rate)),
        ),
    }


@one_step.second_route
def _(rate, p1, n, m):
    p = np.array([p1, *[(1 - p1) / (n - 1)] * (n - 1)])
    q = np.eye(m)[np.arange(n) % m]
    W = loops.descend(np.zeros((m, n)), p, q, np.eye(n), np.eye(m), [rate])[1]
    closed = np.array([[rate * p[x] * (q[x, k] - 1 / m) for x in range(n)] for k in range(m)])
    return equal(W, closed, rounding(rate)), equal(W, closed, rounding(rate))


_TRIALS = 4000


@statement(
    "slides.39",
    "how many associations fit, two classes",
    where="p. 7",
    printed="N ≈ d associations are stored (read: recall ≥ .99 at N = d; the slides give orders only)",
    corrected="recall of a token is Φ(√(d/(N−1))): .84 at N = d; all tokens together need a logarithm",
    verdict="open",
    reason="an order, plausible modulo logarithms; read literally it fails. md of MLPs is not checked here",
    status="numerical",
    domain={"seed": SEEDS},
    cases=[{"n": 12, "d": 12}, {"n": 24, "d": 12}],
    tolerance="six standard errors of 4,000 trials, and Berry–Esseen, .4748·E|ξ|³/(Eξ²)^{3/2}/√(N−1)",
    counterexample={"seed": 0, "n": 12, "d": 12},
    most=32,
)
def capacity(seed, n, d):
    """s_z vᵀWe_z ∝ 1 + Σ_{x≠z} s_x s_z⟨e_x, e_z⟩, a sum of N − 1 independent terms of variance 1/d."""
    keys = jr.split(jr.key(seed))
    e = jr.normal(keys[0], (_TRIALS, n, d))
    e = e / jnp.linalg.norm(e, axis=2, keepdims=True)
    sign = jr.rademacher(keys[1], (_TRIALS, n), float)
    # W = Σ_x u_{f(x)} e_xᵀ, read by u₁ − u₂ with orthonormal outputs: s_x for each token.
    read = jnp.einsum("tx,txd,td->t", sign, e, e[:, 0]) * sign[:, 0]
    recall = jnp.mean(read > 0)
    within = 6 * 0.5 / _TRIALS**0.5 + 0.4748 * 1.6 / (n - 1) ** 0.5
    return {
        "printed": at_least(recall, 0.99, given=n == d),
        "corrected": equal(recall, outer_product.binary_recall(n, d), within),
    }


@capacity.second_route
def _(seed, n, d):
    rng = np.random.default_rng(seed)
    right = 0
    for _ in range(1000):
        e = rng.normal(size=(n, d))
        e /= np.linalg.norm(e, axis=1, keepdims=True)
        right += rng.choice([-1.0, 1.0], n - 1) @ (e[1:] @ e[0]) > -1
    within = 6 * 0.5 / 1000**0.5 + 0.4748 * 1.6 / (n - 1) ** 0.5
    return equal(right / 1000, norm.cdf(np.sqrt(d / (n - 1))), within)


statement(
    "slides.40",
    "error against d and n under Zipf laws",
    where="p. 31–34",
    printed="exponents (α−1)/2α and α−1",
    corrected="plausible; slopes at reachable d are far from asymptotic (injective f reaches .169 at d ≈ "
    "2¹⁵)",
    verdict="open",
    reason="the asymptotic slopes are not visible at reachable size; five answers, α = 2, d ≤ 1,000: "
    "−.24 ± .05 and −1.05 ± .02 (docs/results.md)",
    status="conjecture",
)(None)  # pyright: ignore[reportArgumentType]
