"""GD section 4.1: orthogonal inputs.

Notation of the paper: c = p‖e‖²‖u₁−u₂‖², a = ηc, m a margin, λ the root of e^m + m = y.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import lambertw

from .... import observe
from ....numerics.special import lam, lambert_w0
from ....statements import at_least, at_most, equal, reference, statement
from ....statements.claims import amplified, control, rounding
from ....sweeps import Integers, LogUniform, Uniform
from .. import observe as own
from ..model import LinearMemory
from ..task import AssociationTask
from ..theory import orthogonal
from . import loops
from .problems import FLOW, STEPS, at_margin, descend, flow, single

# --- Section 4.1: orthogonal inputs ---------------------------------------------------------------


@statement(
    "gd.4",
    "the margin of the flow from zero",
    where="section 4.1",
    printed="m + e^m = ct",
    corrected="m + e^m = ct + 1",
    verdict="false",
    reason="the constant of integration: at t = 0 the left side is 1",
    domain={"p1": Uniform(0.05, 0.95), "scale": LogUniform(0.3, 3), "t": LogUniform(1e-3, 1e12)},
    tolerance=FLOW,
    counterexample={"p1": 0.5, "scale": 1.0, "t": 1.0},
)
def zero_margin(p1, scale, t):
    """(1 + e^m) dm = c dt, integrated from m = 0."""
    task = AssociationTask(
        jnp.stack([p1, 1 - p1]), jnp.arange(2), jnp.diag(jnp.stack([scale, 1.0])), jnp.eye(2)
    )
    m = observe.margins(task, flow(task, LinearMemory.zeros(task), t).model)
    ct = orthogonal.binary_rates(task) * t
    left, within = m + jnp.exp(m), (1 + jnp.exp(m)) * control(m)
    return {"printed": equal(left, ct, within), "corrected": equal(left, ct + 1, within)}


@zero_margin.second_route
def _(p1, scale, t):
    c = 2 * np.array([p1 * scale**2, 1 - p1])
    m = reference.lam(1 + c * t)
    return equal(m + np.exp(m), c * t + 1, (1 + np.exp(m)) * control(m))


@statement(
    "gd.5",
    "W is the sum of its margins",
    where="Theorem 2, (14)",
    printed="W_t = Σ_x m_t(x) (u₁−u₂)/‖u₁−u₂‖² ⊗ e_x/‖e_x‖²",
    corrected="with a factor s_x = +1 where f*(x) = 1 and −1 where f*(x) = 2; not for noise (6) outside "
    "the span",
    verdict="false",
    reason="the sign of tokens of class 2",
    domain={
        "f1": Integers(0, 1),
        "f2": Integers(0, 1),
        "scale": LogUniform(0.3, 3),
        "rate": LogUniform(0.1, 10),
    },
    tolerance=STEPS,
    counterexample={"f1": 0, "f2": 1, "scale": 1.0, "rate": 1.0},
)
def margins_make_w(f1, f2, scale, rate):
    """The margin of token x is s_x (u₁−u₂)ᵀWe_x, and inputs are orthogonal."""
    labels = jnp.stack([jnp.asarray(f1), jnp.asarray(f2)])
    inputs = jnp.diag(jnp.stack([scale, 1.0]))
    task = AssociationTask(jnp.array([0.6, 0.4]), labels, inputs, jnp.eye(2))
    run = descend(task, LinearMemory.zeros(task), rate, 6, W=own.weights, m=observe.margins)
    W, m = run.observed["W"][-1], run.observed["m"][-1]
    bare = jnp.outer(jnp.array([0.5, -0.5]), (m / jnp.array([scale**2, 1.0])) @ inputs)
    signed = jnp.outer(jnp.array([0.5, -0.5]), (m * (1 - 2 * labels) / jnp.array([scale**2, 1.0])) @ inputs)
    within = amplified(rate, jnp.full(6, jnp.maximum(scale**2, 1.0) / 2), jnp.max(jnp.abs(m)))[-1]
    return {"printed": equal(W, bare, within), "corrected": equal(W, signed, within)}


@margins_make_w.second_route
def _(f1, f2, scale, rate):
    labels, inputs, p = np.array([f1, f2], int), np.diag([scale, 1.0]), np.array([0.6, 0.4])
    W = loops.descend(np.zeros((2, 2)), p, reference.one_hot(labels, 2), inputs, np.eye(2), [rate] * 6)[-1]
    m = np.zeros(2)
    for _ in range(6):
        m = m + 2 * rate * p * np.array([scale**2, 1.0]) * reference.sigmoid(-m)
    rebuilt = sum(
        m[x] * (1 - 2 * labels[x]) * np.outer([0.5, -0.5], inputs[x]) / (inputs[x] @ inputs[x])
        for x in (0, 1)
    )
    return equal(W, rebuilt, rounding(np.abs(m).max(), operations=6400))


@statement(
    "gd.6",
    "what the margin lacks of log y",
    where="(15)",
    printed="0 ≤ h(y) ≤ 2 log(y)/y for y ≥ 0 (appendix B.1.1; the theorem says y ≥ 1)",
    corrected="h(y) = log(1 + me^{−m}), m = λ(y); for y ≥ 1: 0 ≤ h ≤ min(2 log(y)/y, log(1 + 1/e))",
    verdict="false",
    reason="below y = 1 both bounds fail: h(½) = −0.427",
    domain={"y": LogUniform(0.01, 1e6), "far": Integers(0, 1)},
    tolerance="rounding of log y",
    counterexample={"y": 0.5, "far": 0},
)
def logarithm_gap(y, far):
    """log y = log(e^m + m) = m + log(1 + me^{−m}); me^{−m} ≤ 1/e; and m ≤ log y ≤ y."""
    y = jnp.where(far == 1, y * 1e280, y)
    h = orthogonal.logarithm_gap(y)
    direct, within = jnp.log(y) - lam(y), rounding(jnp.log(y))
    bound = 2 * jnp.log(y) / y
    return {
        "printed": (at_least(h, 0.0), at_most(h, bound)),
        "corrected": (
            equal(h, direct, within),
            at_least(h, 0.0, rounding(h), given=y >= 1),
            at_most(h, jnp.minimum(bound, jnp.log1p(1 / jnp.e)), rounding(h), given=y >= 1),
        ),
    }


@logarithm_gap.second_route
def _(y, far):
    y = y * 1e280 if far == 1 else y
    m = reference.lam(y)
    h = np.log1p(m * np.exp(-m))
    bound = 2 * np.log(y) / y
    return (
        equal(h, np.log(y) - m, rounding(np.log(y))),
        at_least(h, 0.0, rounding(h), given=y >= 1),
        at_most(h, np.minimum(bound, np.log1p(1 / np.e)), rounding(h), given=y >= 1),
    )


@statement(
    "gd.7",
    "the margin by the product logarithm",
    where="(29)",
    printed="m = y − W₀(e^y), evaluated in floats",
    corrected="m = λ(y), the root of e^m + m = y, by Newton's method",
    verdict="false",
    reason="exact on paper; e^y overflows from y ≈ 710, and the difference cancels long before",
    domain={"far": Integers(0, 1), "x": Uniform(0, 1)},
    tolerance="the residual of e^m + m = y under a rounding of m",
    counterexample={"far": 0, "x": 0.99},
)
def product_logarithm(far, x):
    """e^m + m is increasing and convex; from log y ≥ λ(y), Newton descends to its root."""
    y = jnp.where(far == 1, 10 ** (300 * x), -800 + 1600 * x)
    m, w = lam(y), y - lambert_w0(jnp.exp(y))
    within = 8 * 2.0**-52 * (1 + jnp.abs(y) * (1 + jnp.abs(m)))
    return {"printed": equal(jnp.exp(w) + w, y, within), "corrected": equal(jnp.exp(m) + m, y, within)}


@product_logarithm.second_route
def _(far, x):
    y = 10 ** (300 * x) if far == 1 else -800 + 1600 * x
    m = reference.lam(y)
    # SciPy's own W, where it can be evaluated, says the same.
    if abs(y) < 30:
        m = y - np.real(lambertw(np.exp(y)))
    return equal(np.exp(m) + m, y, 64 * 2.0**-52 * (1 + abs(y) * (1 + abs(m))))


@statement(
    "gd.8",
    "the margin of descent",
    where="Theorem 2, B.1.2",
    printed="m_t ≥ log(ηct + 1) from W₀ = 0",
    corrected="m_t ≥ λ(e^{m₀} + m₀ + c Σ η_s): descent dominates the flow, for any m₀ and schedule",
    verdict="false",
    reason="the proof bounds e^m/(e^m + 1) by ½, then drops the ½; for ηc < 2 no t₀ mends it",
    domain={"a": LogUniform(1e-3, 30), "m0": Uniform(-5, 5), "decay": Uniform(0, 1)},
    tolerance=STEPS,
    counterexample={"a": 1.0, "m0": 0.0, "decay": 0.0},
)
def descent_margin(a, m0, decay):
    """F(m) = e^m + m is convex, so F(m + δ) ≥ F(m) + F'(m) δ, and F'(m_t) (m_{t+1} − m_t) = η_t c."""
    steps = 40
    rates = a / 2 * jnp.arange(1.0, steps + 1) ** -decay
    m = descend(single(), at_margin(m0), rates, steps, m=observe.margins).observed["m"][:, 0]
    elapsed = jnp.concatenate([jnp.zeros(1), jnp.cumsum(rates)])
    slope = 2 * jax.nn.sigmoid(m) * jax.nn.sigmoid(-m)
    within = amplified(jnp.append(rates, 0), slope, jnp.max(jnp.abs(m)))
    plain = descend(single(), at_margin(0.0 * m0), a / 2, steps, m=observe.margins).observed["m"][:, 0]
    return {
        "printed": at_least(plain, jnp.log1p(a * jnp.arange(steps + 1))),
        "corrected": at_least(m, orthogonal.binary_descent_lower(elapsed, 2.0, m0), within),
    }


@descent_margin.second_route
def _(a, m0, decay):
    m, elapsed, path, bound = m0, 0.0, [m0], [m0]
    for step in range(40):
        rate = a / 2 * (step + 1.0) ** -decay
        m, elapsed = m + 2 * rate / (1 + np.exp(m)), elapsed + rate
        path.append(m)
        bound.append(reference.lam(np.exp(m0) + m0 + 2 * elapsed))
    return at_least(np.array(path), np.array(bound), rounding(max(map(abs, path)), operations=6400))


@statement(
    "gd.9",
    "the loss falls like 1/t",
    where="Theorem 2",
    printed="L(W_t) ≤ (1/ηt) Σ p(x)/c_x",
    corrected="L ≤ Σ p(x) log(1 + e^{−λ(1+ηc_x t)}) ≤ (κ/ηt) Σ p(x)/c_x, κ = 1.07943…",
    verdict="false",
    reason="follows from the false bound of gd.8; crossed by the flow for all ct > 4.889, by up to 8 %",
    domain={"p1": Uniform(0.05, 0.95), "scale": LogUniform(0.5, 2), "t": LogUniform(1e-2, 1e6)},
    tolerance="dL = Σ p σ(−m) dm ≤ L dm, dm by the control of the flow",
    counterexample={"p1": 0.5, "scale": 1.0, "t": 14.0},
    figure="theory_refuted",
)
def loss_bound(p1, scale, t):
    """κ = sup (e^m + m − 1) log(1 + e^{−m}), met at m = 2.5261; the middle term is the flow's loss."""
    task = AssociationTask(
        jnp.stack([p1, 1 - p1]), jnp.arange(2), jnp.diag(jnp.stack([scale, 1.0])), jnp.eye(2)
    )
    loss = task.loss(flow(task, LinearMemory.zeros(task), t).model)
    p, c = task.probabilities, orthogonal.binary_rates(task)
    sharp = orthogonal.binary_loss_upper(t, p, c)
    within = sharp * control(jnp.log1p(jnp.max(c) * t))
    return {
        "printed": at_most(loss, jnp.sum(p / c) / t, within),
        "corrected": (
            at_most(loss, sharp, within),
            at_most(sharp, orthogonal.binary_loss_rate(t, p, c), rounding(sharp)),
        ),
    }


@loss_bound.second_route
def _(p1, scale, t):
    p, E = np.array([p1, 1 - p1]), np.diag([scale, 1.0])
    q = np.eye(2)
    c = 2 * p * np.array([scale**2, 1.0])
    W = loops.flow(np.zeros((2, 2)), p, q, E, np.eye(2), [t])[0]
    sharp = float(np.sum(p * np.logaddexp(0, -reference.lam(1 + c * t))))
    m = np.linspace(2.5, 2.55, 100_001)
    kappa = np.max((np.exp(m) + m - 1) * np.log1p(np.exp(-m)))
    return (
        at_most(loops.loss(W, p, q, E, np.eye(2)), sharp, sharp * control(np.log1p(c.max() * t))),
        # κ on a grid of 5e-7 about its flat top: the error is of second order.
        at_most(sharp, kappa / t * np.sum(p / c), 1e-12 * np.sum(p / c) / t + rounding(sharp)),
    )


@statement(
    "gd.10",
    "one step learns a token",
    where="section 4.1",
    printed="one gradient step is enough for any initialization",
    corrected="iff ηc > −m₀(1 + e^{m₀}): always from W₀ = 0, else for rates that depend on W₀",
    verdict="false",
    reason="a fixed step moves the margin by less than ηc",
    domain={"a": LogUniform(0.1, 100), "m0": Uniform(-12, 12)},
    tolerance="truth values, away from equality by 1e-9",
    counterexample={"a": 1.0, "m0": -10.0},
)
def one_step(a, m0):
    """m₁ = m₀ + ηc/(1 + e^{m₀})."""
    m1 = descend(single(), at_margin(m0), a / 2, 1, m=observe.margins).observed["m"][1, 0]
    need = a + m0 * (1 + jnp.exp(m0))
    right = equal(m1 > 0, need > 0, given=jnp.abs(need) > 1e-9 * (1 + jnp.exp(m0)))
    return {"printed": equal(m1 > 0, True), "corrected": right}


@one_step.second_route
def _(a, m0):
    W = loops.descend(
        np.array([[m0], [-m0]]) / 2, [1.0], np.eye(2)[[0]], np.ones((1, 1)), np.eye(2), [a / 2]
    )[1]
    need = a + m0 * (1 + np.exp(m0))
    return equal(bool(W[0, 0] > W[1, 0]), bool(need > 0), given=abs(need) > 1e-9 * (1 + np.exp(m0)))


_SCORES = {"w1": Uniform(-1.5, 1.5), "w2": Uniform(-1.5, 1.5), "w3": Uniform(-1.5, 1.5)}


@statement(
    "gd.11",
    "what the flow of many classes conserves",
    where="section 4.1",
    printed="e^{−w_i} − e^{−w_j} is constant for orthogonal outputs",
    corrected="e^{−w_i}/‖u_i‖² − e^{−w_j}/‖u_j‖² (i, j wrong) and Σ w_i/‖u_i‖²; descent keeps the "
    "second, and "
    "contracts the first where ηp‖e‖² ≤ 1 (orthonormal)",
    verdict="false",
    reason="holds for outputs of equal norm only, for the flow only, and not for the label",
    domain=_SCORES | {"norm": LogUniform(0.5, 2), "t": LogUniform(0.1, 100), "rate": Uniform(0.05, 1)},
    tolerance=FLOW + ", times the slope e^{−w} of the invariant",
    counterexample={"w1": 0.0, "w2": 0.0, "w3": 0.0, "norm": 2.0, "t": 1.0, "rate": 0.5},
)
def invariants(w1, w2, w3, norm, t, rate):
    """d(e^{−w_i})/dt = p‖e‖²‖u_i‖²/A for wrong i. Descent: x ↦ x e^{κ/(Ax)} has slope in [0, 1] for κπ
    ≤ 1."""
    w = jnp.stack([w1, w2, w3])
    norms = jnp.stack([jnp.ones_like(norm), jnp.ones_like(norm), norm])
    task = AssociationTask(jnp.ones(1), jnp.zeros(1, int), jnp.ones((1, 1)), jnp.diag(norms))
    run = flow(task, LinearMemory((w / norms)[:, None]), t)
    after = own.particles(task, run.model)[0]
    (sum0, gap0), (sum1, gap1) = (orthogonal.multiclass_invariants(v, norms, 0) for v in (w, after))
    bare = jnp.exp(-after[1:]) @ jnp.array([-1.0, 1.0]) - jnp.exp(-w[1:]) @ jnp.array([-1.0, 1.0])
    size = control(jnp.max(jnp.abs(after)))
    within = size * jnp.sum(jnp.exp(-after) / norms**2)
    plain = AssociationTask(jnp.ones(1), jnp.zeros(1, int), jnp.ones((1, 1)), jnp.eye(3))
    path = descend(plain, LinearMemory(w[:, None]), rate, 8, w=own.particles).observed["w"][:, 0]
    total, gaps = orthogonal.multiclass_invariants(path, jnp.ones(3), 0)
    spread = jnp.abs(gaps[:, 1])
    return {
        "printed": equal(bare, 0.0, within),
        "corrected": (
            equal(gap1, gap0, within),
            equal(sum1, sum0, size * jnp.sum(1 / norms**2)),
            equal(total, total[0], rounding(jnp.max(jnp.abs(path)), operations=1000)),
            at_most(spread[1:], spread[:-1], rounding(jnp.max(jnp.exp(-path)), operations=1000)),
        ),
    }


@invariants.second_route
def _(w1, w2, w3, norm, t, rate):
    w, norms = np.array([w1, w2, w3]), np.array([1, 1, norm])
    velocity = lambda v: norms**2 * (np.eye(3)[0] - reference.softmax(v))  # noqa: E731
    after = reference.follow(velocity, w, [t])[0]

    def gap(v, norms):
        x = np.exp(-v[1:]) / norms[1:] ** 2
        return np.concatenate([[0], x - x.mean()])

    path = [w]
    for _ in range(8):
        path.append(path[-1] + rate * (np.eye(3)[0] - reference.softmax(path[-1])))
    spread = np.array([abs(gap(v, np.ones(3))[1]) for v in path])
    total = np.array([v.sum() for v in path])
    size = control(np.abs(after).max())
    within = size * np.sum(np.exp(-after) / norms**2)
    return (
        equal(gap(after, norms), gap(w, norms), within),
        equal(np.sum(after / norms**2), np.sum(w / norms**2), size * np.sum(1 / norms**2)),
        equal(total, total[0], rounding(np.abs(path).max(), operations=1000)),
        at_most(spread[1:], spread[:-1], rounding(np.exp(-np.array(path)).max(), operations=1000)),
    )


@statement(
    "gd.12",
    "the equation of the tightest margin",
    where="section 4.1, B.2",
    printed="(c + e^m) dm = p‖e‖²(c + 1) dt, c = Σ_{j≠1} e^{w_j − w_k}, M_k ≤ c ≤ M",
    corrected="as printed, and M_k ≤ c ≤ M − 1 (the appendix takes θ_k ≤ M − M_k for M − 1 − M_k; C = "
    "o(1) is O(1))",
    verdict="right",
    reason="exact; its bounds are valid and loose",
    domain=_SCORES | {"w4": Uniform(-1.5, 1.5), "tie": Integers(0, 1)},
    tolerance="rounding",
)
def tightest_margin(w1, w2, w3, w4, tie):
    """A = e^{w₁} + c e^{w_k}; project dw/dt on u₁ − u_k. M_k of the terms of c are 1, the others less."""
    w = jnp.stack([w1, w2, jnp.where(tie == 1, w2, w3), w4])
    task = AssociationTask(jnp.ones(1), jnp.zeros(1, int), 0.8 * jnp.ones((1, 1)), jnp.eye(4))
    memory = LinearMemory(w[:, None] / 0.8)
    k = 1 + jnp.argmax(w[1:])
    velocity = -own.weight_gradient(task, memory)[:, 0] * 0.8
    c = jnp.sum(jnp.exp(w[1:] - w[k]))
    left = (c + jnp.exp(w[0] - w[k])) * (velocity[0] - velocity[k])
    tied = jnp.sum(w[1:] == w[k])
    return equal(left, 0.64 * (c + 1)), at_least(c, tied), at_most(c, 3.0)


@tightest_margin.second_route
def _(w1, w2, w3, w4, tie):
    w = np.array([w1, w2, w2 if tie == 1 else w3, w4])
    E, U = 0.8 * np.ones((1, 1)), np.eye(4)
    velocity = -loops.gradient(w[:, None] / 0.8, [1.0], np.eye(4)[[0]], E, U)[:, 0] * 0.8
    k = max((1, 2, 3), key=lambda j: w[j])
    c = sum(np.exp(w[j] - w[k]) for j in (1, 2, 3))
    left = (c + np.exp(w[0] - w[k])) * (velocity[0] - velocity[k])
    tied = sum(float(w[j] == w[k]) for j in (1, 2, 3))
    return equal(left, 0.64 * (c + 1)), at_least(c, tied), at_most(c, 3.0)


@statement(
    "gd.13",
    "the constant of the max-margin limit",
    where="Theorem 3, B.2",
    printed="W_t/log t → (M−1)/√(2M) Σ_x Π(u_{f(x)}) ⊗ e_x",
    corrected="constant 1: W_t = Σ_x m_t(x) Π(u_{f(x)}) ⊗ e_x/‖e_x‖² at all t from zero, e^m + (M−1)m = "
    "1 + Mp‖e‖²t",
    verdict="false",
    reason="‖Π(u₁)‖² is 1 − 1/M, not ½; at M = 2, where it is ½, the constant is still wrong",
    domain={"p1": Uniform(0.1, 0.9), "scale": LogUniform(0.5, 2), "t": LogUniform(1, 1e8)},
    cases=[{"m": 2}, {"m": 4}],
    tolerance=FLOW,
    counterexample={"p1": 0.5, "scale": 1.0, "t": 100.0, "m": 2},
)
def max_margin_constant(p1, scale, t, m):
    """All wrong scores stay equal; Π(u) = u − ū, and (u₁ − u_j)ᵀΠ(u₁) = 1."""
    inputs = jnp.diag(jnp.stack([scale, 1.0]))
    p = jnp.stack([p1, 1 - p1])
    task = AssociationTask(p, jnp.arange(2), inputs, jnp.eye(m))
    W = flow(task, LinearMemory.zeros(task), t).model.weight
    margin = orthogonal.multiclass_margin(t, p * jnp.sum(inputs**2, axis=1), m)
    right = orthogonal.multiclass_weight(margin, jnp.arange(2), inputs, jnp.eye(m))
    within = control(margin[0] / scale, margin[1])
    return {
        "printed": equal(W, (m - 1) / jnp.sqrt(2.0 * m) * right, within),
        "corrected": equal(W, right, within),
    }


@max_margin_constant.second_route
def _(p1, scale, t, m):
    p, E, U = np.array([p1, 1 - p1]), np.diag([scale, 1.0]), np.eye(m)
    kappa = p * np.array([scale**2, 1.0])
    # e^m + K m = y is λ in other units.
    y, K = 1 + m * kappa * t, m - 1
    margin = np.log(K) + reference.lam(y / K - np.log(K))
    right = sum(margin[x] * np.outer(U[x] - U.mean(axis=0), E[x]) / (E[x] @ E[x]) for x in (0, 1))
    W = loops.flow(np.zeros((m, 2)), p, U[:2], E, U, [t])[0]
    return equal(W, right, control(margin[0] / scale, margin[1]))
