"""Slides p. 34: what batches of one leave in a memory, one sight of a token after another."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ....dynamics import Descent, simulate
from ....statements import at_least, at_most, equal, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ....sweeps import LogUniform
from .. import observe as own
from ..model import LinearMemory
from ..task import AssociationTask
from ..theory import orthogonal, recursion

_T = 60


def _problem(seed, n, m):
    """(task, key, tokens that batches of one draw): orthonormal embeddings, f(x) = x mod m, p log-normal."""
    keys = jr.split(jr.key(seed))
    p = jax.nn.softmax(jr.normal(keys[0], (n,)))
    task = AssociationTask(p, jnp.arange(n) % m, jnp.eye(n), jnp.eye(m))
    draw = task.sampler(1)
    tokens = jax.vmap(lambda step: draw(jr.fold_in(keys[1], step))[0][0])(jnp.arange(_T))
    return task, keys[1], tokens


def _drawn(seed, n, m):
    return [int(x) for x in _problem(seed, n, m)[2]]


@statement(
    "slides.recursion",
    "a sight of a token adds what its q lacks",
    where="p. 34, batches of one",
    corrected="from W₀ = 0, orthonormal embeddings: W = Σ_x q(x)(u_{f(x)} − ū)e_xᵀ, q(x) = f^{n_x}(0), n_x "
    "the sights of x, f(q) = q + γM/(e^q + M−1); q + γ/(1 + e^q/m), m = M − 1, gains (M−1)/M of that at "
    "every q",
    reason="the recursion of Cabannes et al. 2024 holds the other scores at 0: exact for SGD at γM/(M−1)",
    domain={"seed": SEEDS, "rate": LogUniform(0.01, 30)},
    cases=[{"n": 4, "m": 2}, {"n": 4, "m": 5}],
    tolerance="rounding of each step, added up: f has slope in [0, 1] where q ≥ γ, and the "
    "first sight starts at 0",
)
def sights(seed, rate, n, m):
    """e_x is orthogonal to all others, so a step on x moves its column of W alone, by γ(u_y − Σ_j π_j u_j),
    and the wrong classes stay level: the margin gains γ(1 − π_y + π_j) = γM/(e^q + M − 1)."""
    task, key, tokens = _problem(seed, n, m)
    sgd = Descent(optax.sgd, _T, 1, learning_rate=rate)
    run = simulate(task, LinearMemory.zeros(task), sgd, observe={"W": own.weights}, at=[_T], key=key)
    seen = jnp.sum(jax.nn.one_hot(tokens, n, dtype=int), axis=0)
    q = recursion.after(seen, rate, m, _T)
    W = orthogonal.multiclass_weight(q, task.labels, jnp.eye(n), jnp.eye(m))
    grid = jnp.linspace(0.0, 20.0, 41)
    gain = orthogonal.multiclass_step(grid, rate, 1.0, m) - grid
    short = recursion.approximate_step(grid, rate, m - 1.0) - grid
    return (
        equal(run.observed["W"][-1], W, _slack(rate)),
        equal(short * m, gain * (m - 1), rounding(gain * m, grid * m)),
    )


def _slack(rate):
    return 640 * 2.0**-52 * (1 + rate) * _T


@sights.second_route
def _(seed, rate, n, m):
    q = [0.0] * n
    for x in _drawn(seed, n, m):
        q[x] += rate * m / (np.exp(q[x]) + m - 1)
    W = np.zeros((m, n))
    for x in _drawn(seed, n, m):
        e = np.exp(W[:, x] - W[:, x].max())
        W[:, x] += rate * (np.eye(m)[x % m] - e / e.sum())
    right = np.zeros((m, n))
    for x in range(n):
        right[:, x] = q[x] * (np.eye(m)[x % m] - 1 / m)
    grid = np.linspace(0.0, 20.0, 41)
    gain = rate * m / (np.exp(grid) + m - 1)
    short = rate / (1 + np.exp(grid) / (m - 1))
    return (
        equal(W, right, _slack(rate)),
        equal(short * m, gain * (m - 1), rounding(gain * m, grid * m)),
    )


@statement(
    "slides.seen",
    "batches of one and large steps: every token that was seen is held equally",
    where="p. 34",
    printed="q(z) ≈ 1",
    corrected="γ ≤ q(z) ≤ γ + O(log(1 + n_z M e^{−γ})) for a token seen n_z ≥ 1 times, 0 else: q/γ → 1{seen} "
    "as γ → ∞; small γ: q ≤ γ n_z, and ≥ γ n_z (1 − γ n_z/2): counts",
    verdict="right",
    reason="read as q/γ ≈ 1 of what was seen, embeddings orthonormal (d ≫ N)",
    domain={"rate": LogUniform(0.001, 30)},
    cases=[{"m": 2}, {"m": 10}],
    tolerance="rounding of 200 steps",
)
def seen_once(rate, m):
    """The first sight adds γM/M. Later ones: F(q) = e^q + (M−1)q grows by γM + e^q(e^δ − 1 − δ), as in
    gd.descent-limit. A gain is γ/(1 + (e^q − 1)/M): at most γ, and at least γ(1 − q) for q ≤ 1."""
    times = jnp.arange(201)
    q = recursion.after(times, rate, m, 200)
    upper = orthogonal.multiclass_descent_upper(times[1:] * 1.0, rate, 1.0, m)
    near = rounding(q, operations=6400)
    counted, few = rate * times, rate * times <= 0.5
    return (
        at_least(q[1:], rate, near[1:]),
        at_most(q[1:], upper, near[1:]),
        at_most(q, counted, near),
        at_least(q, counted * (1 - counted / 2), near, given=few),
    )


@seen_once.second_route
def _(rate, m):
    k, path = m - 1, [0.0]
    for _ in range(200):
        path.append(path[-1] + rate * m / (np.exp(path[-1]) + k))
    q, t, a = np.array(path), np.arange(1.0, 201), rate * m

    def level(y):
        low, high = 0.0, rate + np.log1p(300 * a)
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if np.exp(middle) + k * middle < y else (low, middle)
        return (low + high) / 2

    start = np.exp(rate) + k * rate
    last = np.array([level(start + a * max(s - 2, 0)) for s in t])
    total = np.exp(-rate) + (last - rate + k * (np.exp(-rate) - np.exp(-last))) / a
    extra = a**2 / 2 * np.exp(a / (np.exp(rate) + k)) * total * (t > 1)
    upper = np.array([level(start + a * (s - 1) + more) for s, more in zip(t, extra)])
    near, counted = rounding(q, operations=6400), rate * np.arange(201)
    return (
        at_least(q[1:], rate, near[1:]),
        at_most(q[1:], upper, near[1:]),
        at_most(q, counted, near),
        at_least(q, counted * (1 - counted / 2), near, given=counted <= 0.5),
    )
