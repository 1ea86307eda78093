"""GD Theorem 3 for descent: where it goes, how fast, and bounds of both sides at finite time."""

import jax
import jax.numpy as jnp
import numpy as np

from .... import observe
from ....statements import at_least, at_most, equal, reference, statement
from ....statements.claims import amplified, rounding
from ....sweeps import LogUniform, Uniform
from .. import observe as own
from ..model import LinearMemory
from ..task import AssociationTask
from ..theory import orthogonal
from . import loops
from .problems import STEPS, descend

_T = 200


def _tangent(W, D):
    """The tangent of the angle between two matrices, the second fixed."""
    along = (W * D).sum(axis=(-2, -1), keepdims=True) / (D * D).sum() * D
    return ((W - along) ** 2).sum(axis=(-2, -1)) ** 0.5 / (along**2).sum(axis=(-2, -1)) ** 0.5


@statement(
    "gd.descent-limit",
    "descent goes where the flow goes, at any rate",
    where="Theorem 3, for descent",
    corrected="W_t = Σ_x m_t(x) Π(u_{f(x)}) ⊗ e_x/‖e_x‖² from zero; with a = ηMp‖e‖², F(m) = e^m + (M−1)m: "
    "1 + at ≤ F(m_t) ≤ at + O(log t), bounds of both sides at every t for m, L and the angle to the limit, "
    "which closes like sd(log a_x)/log t",
    verdict="new",
    domain={"p1": Uniform(0.1, 0.9), "scale": LogUniform(0.5, 2), "rate": LogUniform(0.1, 50)},
    cases=[{"m": 2}, {"m": 4}],
    tolerance=STEPS + "; of the angle, divided by the mean margin",
)
def descent_limit(p1, scale, rate, m):
    """F(m + δ) − F(m) = a + e^m(e^δ − 1 − δ) for δ = a/(e^m + M − 1): between a and a + ½a²e^{δ₁−m}; the sum
    of e^{−m_s} is bounded by the lower bound. tan∠ = sd(m)/mean(m) over tokens, weighted by 1/‖e_x‖²."""
    inputs, p = jnp.diag(jnp.stack([scale, 1.0])), jnp.stack([p1, 1 - p1])
    task = AssociationTask(p, jnp.arange(2), inputs, jnp.eye(m))
    run = descend(task, LinearMemory.zeros(task), rate, _T, m=observe.margins, W=own.weights, L=observe.loss)
    margin, W = run.observed["m"], run.observed["W"]
    kappa = p * jnp.sum(inputs**2, axis=1)
    times = jnp.arange(_T + 1.0)[:, None]
    low = orthogonal.multiclass_margin(rate * times, kappa, m)
    high = orthogonal.multiclass_descent_upper(times[1:], rate, kappa, m)
    slope = m * jnp.max(kappa) / (jnp.exp(jnp.min(margin, axis=1)) + m - 1)
    within = amplified(rate, slope, jnp.max(jnp.abs(margin)), 640)[:, None]
    right = jax.vmap(lambda v: orthogonal.multiclass_weight(v, jnp.arange(2), inputs, jnp.eye(m)))(margin)
    limit = orthogonal.multiclass_weight(jnp.ones(2), jnp.arange(2), inputs, jnp.eye(m))
    share = jnp.stack([scale**-2, 1.0]) / (scale**-2 + 1)
    root = jnp.sqrt(share[0] * share[1])
    low, after = low[1:], within[1:]
    least = (
        jnp.maximum(jnp.maximum(low[:, 0] - high[:, 1], low[:, 1] - high[:, 0]), 0) * root / (high @ share)
    )
    most = jnp.maximum(high[:, 0] - low[:, 1], high[:, 1] - low[:, 0]) * root / (low @ share)
    angle, slack = _tangent(W[1:], limit), after[:, 0] / (low @ share) + 1e-12
    loss = run.observed["L"][1:]
    return (
        equal(W, right, within[:, :, None] * jnp.maximum(1, 1 / scale)),
        at_least(margin[1:], low, after),
        at_most(margin[1:], high, after),
        at_least(loss, orthogonal.multiclass_loss(high, p, m), after[:, 0]),
        at_most(loss, orthogonal.multiclass_loss(low, p, m), after[:, 0]),
        at_least(angle, least, slack),
        at_most(angle, most, slack),
    )


def _level(y, k):
    """The root of e^m + K m = y."""
    return np.log(k) + reference.lam(y / k - np.log(k))


@descent_limit.second_route
def _(p1, scale, rate, m):
    p, E, U, k = np.array([p1, 1 - p1]), np.diag([scale, 1.0]), np.eye(m), m - 1
    path = np.array(loops.descend(np.zeros((m, 2)), p, U[:2], E, U, [rate] * _T))
    margin = np.array([[(U[x] - U[1 - x]) @ W @ E[x] for x in (0, 1)] for W in path])
    a = rate * m * p * np.array([scale**2, 1.0])
    size, t = np.abs(margin).max(), np.arange(1.0, _T + 1)[:, None]
    low = _level(1 + a * t, k)
    m1 = a / m
    l = _level(np.exp(m1) + k * m1 + a * np.maximum(t - 2, 0), k)
    total = np.exp(-m1) + (l - m1 + k * (np.exp(-m1) - np.exp(-l))) / a
    extra = a**2 / 2 * np.exp(a / (np.exp(m1) + k)) * total * (t > 1)
    high = _level(np.exp(m1) + k * m1 + a * (t - 1) + extra, k)
    slope = np.max(a) / rate / (np.exp(margin.min(axis=1)) + k)
    within = np.asarray(amplified(rate, slope, size, 640))[:, None]
    right = np.zeros_like(path)
    for x in (0, 1):
        pull = np.outer(U[x] - U.mean(axis=0), E[x]) / (E[x] @ E[x])
        right += margin[:, x, None, None] * pull
    limit = np.sum([np.outer(U[x] - U.mean(axis=0), E[x]) / (E[x] @ E[x]) for x in (0, 1)], axis=0)
    share = np.array([scale**-2, 1.0]) / (scale**-2 + 1)
    root, after = np.sqrt(share[0] * share[1]), within[1:]
    least = np.maximum(np.maximum(low[:, 0] - high[:, 1], low[:, 1] - high[:, 0]), 0) * root / (high @ share)
    most = np.maximum(high[:, 0] - low[:, 1], high[:, 1] - low[:, 0]) * root / (low @ share)
    cosine = np.array([(W * limit).sum() / np.sqrt((W**2).sum() * (limit**2).sum()) for W in path[1:]])
    # From the residual: 1 − cos² would lose half of the digits.
    unit = path[1:] / np.sqrt((path[1:] ** 2).sum(axis=(1, 2), keepdims=True))
    apart = unit - cosine[:, None, None] * limit / np.sqrt((limit**2).sum())
    angle, slack = np.sqrt((apart**2).sum(axis=(1, 2))) / cosine, after[:, 0] / (low @ share) + 1e-12
    loss = np.array([loops.loss(W, p, U[:2], E, U) for W in path[1:]])
    softplus = lambda v: np.logaddexp(0, np.log(k) - v) @ p  # noqa: E731
    return (
        equal(path, right, within[:, :, None] * max(1, 1 / scale)),
        at_least(margin[1:], low, after),
        at_most(margin[1:], high, after),
        at_least(loss, softplus(high), after[:, 0]),
        at_most(loss, softplus(low), after[:, 0]),
        at_least(angle, least, slack),
        at_most(angle, most, slack),
    )


_ANY = {f"w{k}": Uniform(-4, 4) for k in (1, 2, 3)}


@statement(
    "gd.any-start",
    "descent of many classes from any start",
    where="section 4.1, Theorem 3",
    printed="margins only increase",
    corrected="every margin increases at every rate, the smallest at least as λ(e^{m₀} + m₀ + ηp‖e‖² t); Σ "
    "w_i stays, and the spread of e^{−w_i} over the wrong classes never grows once ηp‖e‖²π_i ≤ 1: the limit "
    "of gd.descent-limit is met from any W₀",
    verdict="right",
    domain=_ANY | {"rate": LogUniform(0.05, 50), "decay": Uniform(0, 1)},
    tolerance=STEPS,
)
def any_start(w1, w2, w3, rate, decay):
    """Δm_i = a(1 − π₁ + π_i) ≥ a/(1 + e^m), m the smallest; e^m + m is convex, as in gd.8. A wrong x =
    e^{−w_i} moves to x e^{aπ_i}, π_i = 1/(Ax): of slope (1 − aπ_i)e^{aπ_i} in [0, 1]."""
    w = jnp.stack([w1, w2, w3])
    task = AssociationTask(jnp.ones(1), jnp.zeros(1, int), jnp.ones((1, 1)), jnp.eye(3))
    rates = rate * jnp.arange(1.0, _T + 1) ** -decay
    path = descend(task, LinearMemory(w[:, None]), rates, _T, w=own.particles).observed["w"][:, 0]
    margins = path[:, :1] - path[:, 1:]
    least, elapsed = jnp.min(margins, axis=1), jnp.append(0, jnp.cumsum(rates))
    wrong = jax.nn.softmax(path)[:-1, 1:]
    calm = jnp.all(rates[:, None] * wrong <= 1, axis=1)
    gap = jnp.abs(jnp.exp(-path[:, 1]) - jnp.exp(-path[:, 2]))
    size = jnp.max(jnp.abs(path))
    within = amplified(jnp.append(rates, 0), jnp.append(jnp.sum(wrong, axis=1), 0), size, 640)
    return (
        at_least(margins[1:], margins[:-1], rounding(size)),
        at_least(least, orthogonal.tightest_descent_lower(elapsed, 1.0, least[0]), within),
        equal(jnp.sum(path, axis=1), jnp.sum(w), within),
        at_most(gap[1:], gap[:-1], within[1:] * jnp.max(jnp.exp(-path[1:, 1:]), axis=1), given=calm),
    )


@any_start.second_route
def _(w1, w2, w3, rate, decay):
    path, elapsed, calm, wrong = [np.array([w1, w2, w3])], [0.0], [], []
    rates = rate * np.arange(1.0, _T + 1) ** -decay
    for eta in rates:
        s = reference.softmax(path[-1])
        calm.append(bool((eta * s[1:] <= 1).all()))
        wrong.append(s[1:].sum())
        path.append(path[-1] + eta * (np.eye(3)[0] - s))
        elapsed.append(elapsed[-1] + eta)
    path = np.array(path)
    margins = path[:, :1] - path[:, 1:]
    least = margins.min(axis=1)
    bound = reference.lam(np.exp(least[0]) + least[0] + np.array(elapsed))
    gap, size = np.abs(np.exp(-path[:, 1]) - np.exp(-path[:, 2])), np.abs(path).max()
    within = np.asarray(amplified(np.append(rates, 0), np.append(wrong, 0), size, 640))
    return (
        at_least(margins[1:], margins[:-1], rounding(size)),
        at_least(least, bound, within),
        equal(path.sum(axis=1), w1 + w2 + w3, within),
        at_most(gap[1:], gap[:-1], within[1:] * np.exp(-path[1:, 1:]).max(axis=1), given=np.array(calm)),
    )
