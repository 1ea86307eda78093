"""GD: Cabannes, Simsek, Bietti 2024, Learning Associative Memories with Gradient Descent.

Notation of the paper: c = p‖e‖²‖u₁−u₂‖², a = ηc, m a margin, γ of (18), γ̄ = ½ log(p₁/p₂), λ the root of
e^m + m = y. Ids are the rows of the list of errata that this registry began as.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import lambertw

from .. import observe
from ..models import LinearMemory, ParticleSystem
from ..sweeps import Integers, LogUniform, Uniform
from ..tasks import AssociationTask
from ..theory import lam, lambert_w0, orthogonal, soft_labels, special, two_particles
from . import loops
from .claims import amplified, at_least, at_most, control, equal, rounding
from .problems import SEEDS, at_margin, descend, draw, drawn, flow, pair, single
from .registry import statement

_PAIR = {"alpha": Uniform(-0.95, 0.95), "p1": Uniform(0.5, 0.98)}
_FLOW = "local error of the flow (rtol 1e-10, at most 200 steps) added up: a convex loss contracts"
_STEPS = "rounding of each step, times max(1, ηλ − 1) at every later one"


# --- Section 3 ------------------------------------------------------------------------------------


@statement(
    "gd.1",
    "the matrix and the particles take the same step",
    where="(9), (12), Theorem 1",
    printed="Δw_ij = η Σ_x p(x) α_ix Σ_z β_{j f(x) z} p_W(z|x)",
    corrected="as printed, with logits u_yᵀWe_x; (8) and appendix A write ⟨e, Wu⟩, the transpose",
    verdict="right",
    domain={"seed": SEEDS},
    cases=[{"n": 4, "m": 3, "d": 3, "k": 5}],
)
def particles(seed, n, m, d, k):
    """Project (9) on u_j ⊗ e_i: ⟨u_z − u_y, u_j⟩⟨e_x, e_i⟩."""
    p, labels, _, E, U, W = draw(seed, n, m, d, k)
    task = AssociationTask(p, labels, E, U)
    run = descend(task, LinearMemory(W), 0.7, 1, w=observe.particles)
    fast = descend(task, ParticleSystem.from_memory(task, LinearMemory(W)), 0.7, 1, w=observe.particles)
    w = run.observed["w"][0]
    beta = U @ U.T
    pull = jnp.einsum("xz,jxz->xj", jax.nn.softmax(w), (beta[:, labels][:, :, None] - beta[:, None, :]))
    step = w + 0.7 * jnp.einsum("x,ix,xj->ij", p, E @ E.T, pull)
    return equal(run.observed["w"][1], step), equal(fast.observed["w"][1], step)


@particles.second_route
def _(seed, n, m, d, k):
    p, labels, _, E, U, W = drawn(seed, n, m, d, k)
    after = loops.descend(W, p, loops.one_hot(labels, m), E, U, [0.7])[1]
    scores = E @ after.T @ U.T
    w = E @ W.T @ U.T
    step = np.array(w)
    for i in range(n):
        for j in range(m):
            for x in range(n):
                s = loops.softmax(w[x])
                pull = sum(U[j] @ (U[labels[x]] - U[z]) * s[z] for z in range(m))
                step[i, j] += 0.7 * p[x] * (E[i] @ E[x]) * pull
    return equal(scores, step), equal(scores, step)


@statement(
    "gd.2",
    "the minibatch gradient is unbiased",
    where="(7)",
    printed="E_B Σ_{(x,y)∈B} ∇ℓ = ∇L",
    corrected="E_B (1/|B|) Σ_{(x,y)∈B} ∇ℓ = ∇L; σ_t of (6) is a standard deviation, not a variance",
    verdict="false",
    reason="the sum over a batch is |B| times too large",
    domain={"seed": SEEDS},
    cases=[{"n": 3, "m": 3, "d": 3, "k": 3}],
    counterexample={"seed": 0, "n": 3, "m": 3, "d": 3, "k": 3},
)
def minibatch(seed, n, m, d, k):
    """Every batch of two is drawn with its probability: the mean is linear."""
    p, labels, _, E, U, W = draw(seed, n, m, d, k)
    task, memory = AssociationTask(p, labels, E, U), LinearMemory(W)
    batches = jnp.stack(jnp.meshgrid(jnp.arange(n), jnp.arange(n)), axis=-1).reshape(-1, 2)
    slope = jax.grad(lambda model, batch: task.sampled_loss(model, (batch, labels[batch])))
    each = jax.vmap(lambda batch: slope(memory, batch).weight)(batches)
    mean = jnp.einsum("b,bij->ij", p[batches[:, 0]] * p[batches[:, 1]], each)
    full = observe.weight_gradient(task, memory)
    return {"printed": equal(2 * mean, full), "corrected": equal(mean, full)}


@minibatch.second_route
def _(seed, n, m, d, k):
    p, labels, _, E, U, W = drawn(seed, n, m, d, k)
    q, mean = loops.one_hot(labels, m), np.zeros((k, d))
    for i in range(n):
        for j in range(n):
            both = [loops.gradient(W, [1.0], q[[x]], E[[x]], U) for x in (i, j)]
            mean += p[i] * p[j] * (both[0] + both[1]) / 2
    return equal(mean, loops.gradient(W, p, q, E, U))


@statement(
    "gd.3",
    "raising the score of class j moves that of class k",
    where="section 3, after Theorem 1",
    printed="an increase of w_ij changes w_ik as soon as u_iᵀu_k ≠ 0",
    corrected="as soon as u_jᵀu_k ≠ 0",
    verdict="false",
    reason="an index slipped",
    domain={"ij": Integers(0, 1), "ik": Integers(0, 1), "jk": Integers(0, 1)},
    tolerance="truth values",
    counterexample={"ij": 0, "ik": 0, "jk": 1},
)
def coupling(ij, ik, jk):
    """w_ij grows fastest along u_j ⊗ e_i, and ⟨u_j ⊗ e_i, u_k ⊗ e_i⟩ = u_jᵀu_k‖e_i‖²."""
    gram = jnp.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    for (a, b), on in (((0, 1), ij), ((0, 2), ik), ((1, 2), jk)):
        gram = gram.at[a, b].set(0.4 * on).at[b, a].set(0.4 * on)
    outputs = jnp.linalg.cholesky(gram)
    task = AssociationTask(jnp.ones(3) / 3, jnp.arange(3), jnp.eye(3), outputs)
    raised = observe.particles(task, LinearMemory(jnp.outer(outputs[1], jnp.eye(3)[0])))
    moved = jnp.abs(raised[0, 2]) > 1e-9
    return {"printed": equal(moved, ik == 1), "corrected": equal(moved, jk == 1)}


@coupling.second_route
def _(ij, ik, jk):
    gram = np.eye(3) + 0.4 * np.array([[0, ij, ik], [ij, 0, jk], [ik, jk, 0]])
    values, vectors = np.linalg.eigh(gram)
    outputs = vectors * np.sqrt(values)
    return equal(bool(abs(outputs[1] @ outputs[2]) > 1e-9), bool(jk == 1))


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
    tolerance=_FLOW,
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
    m = loops.lam(1 + c * t)
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
    tolerance=_STEPS,
    counterexample={"f1": 0, "f2": 1, "scale": 1.0, "rate": 1.0},
)
def margins_make_w(f1, f2, scale, rate):
    """The margin of token x is s_x (u₁−u₂)ᵀWe_x, and inputs are orthogonal."""
    labels = jnp.stack([jnp.asarray(f1), jnp.asarray(f2)])
    inputs = jnp.diag(jnp.stack([scale, 1.0]))
    task = AssociationTask(jnp.array([0.6, 0.4]), labels, inputs, jnp.eye(2))
    run = descend(task, LinearMemory.zeros(task), rate, 6, W=observe.weights, m=observe.margins)
    W, m = run.observed["W"][-1], run.observed["m"][-1]
    bare = jnp.outer(jnp.array([0.5, -0.5]), (m / jnp.array([scale**2, 1.0])) @ inputs)
    signed = jnp.outer(jnp.array([0.5, -0.5]), (m * (1 - 2 * labels) / jnp.array([scale**2, 1.0])) @ inputs)
    within = amplified(rate, jnp.full(6, jnp.maximum(scale**2, 1.0) / 2), jnp.max(jnp.abs(m)))[-1]
    return {"printed": equal(W, bare, within), "corrected": equal(W, signed, within)}


@margins_make_w.second_route
def _(f1, f2, scale, rate):
    labels, inputs, p = np.array([f1, f2], int), np.diag([scale, 1.0]), np.array([0.6, 0.4])
    W = loops.descend(np.zeros((2, 2)), p, loops.one_hot(labels, 2), inputs, np.eye(2), [rate] * 6)[-1]
    m = np.zeros(2)
    for _ in range(6):
        m = m + 2 * rate * p * np.array([scale**2, 1.0]) * loops.sigmoid(-m)
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
    m = loops.lam(y)
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
    m = loops.lam(y)
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
    tolerance=_STEPS,
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
        bound.append(loops.lam(np.exp(m0) + m0 + 2 * elapsed))
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
    sharp = float(np.sum(p * np.logaddexp(0, -loops.lam(1 + c * t))))
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
    tolerance=_FLOW + ", times the slope e^{−w} of the invariant",
    counterexample={"w1": 0.0, "w2": 0.0, "w3": 0.0, "norm": 2.0, "t": 1.0, "rate": 0.5},
)
def invariants(w1, w2, w3, norm, t, rate):
    """d(e^{−w_i})/dt = p‖e‖²‖u_i‖²/A for wrong i. Descent: x ↦ x e^{κ/(Ax)} has slope in [0, 1] for κπ
    ≤ 1."""
    w = jnp.stack([w1, w2, w3])
    norms = jnp.stack([jnp.ones_like(norm), jnp.ones_like(norm), norm])
    task = AssociationTask(jnp.ones(1), jnp.zeros(1, int), jnp.ones((1, 1)), jnp.diag(norms))
    run = flow(task, LinearMemory((w / norms)[:, None]), t)
    after = observe.particles(task, run.model)[0]
    (sum0, gap0), (sum1, gap1) = (orthogonal.multiclass_invariants(v, norms, 0) for v in (w, after))
    bare = jnp.exp(-after[1:]) @ jnp.array([-1.0, 1.0]) - jnp.exp(-w[1:]) @ jnp.array([-1.0, 1.0])
    size = control(jnp.max(jnp.abs(after)))
    within = size * jnp.sum(jnp.exp(-after) / norms**2)
    plain = AssociationTask(jnp.ones(1), jnp.zeros(1, int), jnp.ones((1, 1)), jnp.eye(3))
    path = descend(plain, LinearMemory(w[:, None]), rate, 8, w=observe.particles).observed["w"][:, 0]
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
    velocity = lambda v: norms**2 * (np.eye(3)[0] - loops.softmax(v))  # noqa: E731
    after = loops.follow(velocity, w, [t])[0]

    def gap(v, norms):
        x = np.exp(-v[1:]) / norms[1:] ** 2
        return np.concatenate([[0], x - x.mean()])

    path = [w]
    for _ in range(8):
        path.append(path[-1] + rate * (np.eye(3)[0] - loops.softmax(path[-1])))
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
    velocity = -observe.weight_gradient(task, memory)[:, 0] * 0.8
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
    tolerance=_FLOW,
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
    margin = np.log(K) + loops.lam(y / K - np.log(K))
    right = sum(margin[x] * np.outer(U[x] - U.mean(axis=0), E[x]) / (E[x] @ E[x]) for x in (0, 1))
    W = loops.flow(np.zeros((m, 2)), p, U[:2], E, U, [t])[0]
    return equal(W, right, control(margin[0] / scale, margin[1]))


# --- Section 4.2: two particles -------------------------------------------------------------------


@statement(
    "gd.14",
    "the margins of two tokens are driven by (17)",
    where="(17)",
    printed="Δm_i = cη (p_i/(1 + e^{m_i}) − αp_j/(1 + e^{m_j}))",
    corrected="as printed",
    verdict="right",
    domain=_PAIR | {"c": LogUniform(0.1, 5), "rate": LogUniform(0.1, 10)},
    tolerance=_STEPS,
)
def pair_step(alpha, p1, c, rate):
    """(12) on (u_i − u_j) ⊗ e_i."""
    steps, task = 8, pair(alpha, p1, c)
    run = descend(task, LinearMemory.zeros(task), rate, steps, m=observe.margins, s=observe.sharpness)
    path = [jnp.zeros(2)]
    for _ in range(steps):
        path.append(path[-1] + rate * two_particles.margin_velocity(path[-1], p1, alpha, c))
    m = run.observed["m"]
    within = amplified(rate, run.observed["s"], jnp.max(jnp.abs(m)))
    return equal(m, jnp.stack(path), within[:, None])


@pair_step.second_route
def _(alpha, p1, c, rate):
    along, across = np.sqrt((1 + alpha) / 2), np.sqrt((1 - alpha) / 2)
    E, U = np.array([[along, across], [along, -across]]), np.sqrt(c / 2) * np.eye(2)
    path = loops.descend(np.zeros((2, 2)), [p1, 1 - p1], np.eye(2), E, U, [rate] * 8)
    scores = np.array([E @ W.T @ U.T for W in path])
    m = np.stack([scores[:, 0, 0] - scores[:, 0, 1], scores[:, 1, 1] - scores[:, 1, 0]], axis=1)
    growth = np.cumprod(np.full(9, max(1.0, rate * c * 0.5 - 1)))
    within = rounding(np.abs(m).max(), operations=640) * growth
    return equal(m, loops.pair_descent(p1, alpha, c, [rate] * 8), within[:, None])


@statement(
    "gd.15",
    "the equations of γ₁ and γ₂",
    where="(19), (32), (33), (35), (36)",
    printed="dγ₁/d(ct) = (1+α)(p₁σ(−γ₂−γ₁) − p₂σ(γ₁−γ₂)), dγ₂/d(ct) likewise with (1−α) and +",
    corrected="half of that",
    verdict="false",
    reason="γ = (m₁ ± m₂)/2: the ½ of (18) is lost",
    domain=_PAIR | {"c": LogUniform(0.1, 5), "seed": SEEDS},
    tolerance="rounding",
    counterexample={"alpha": 0.0, "p1": 0.75, "c": 2.0, "seed": 0},
)
def gamma_equations(alpha, p1, c, seed):
    """γ is linear in W, and dW/dt = −∇L."""
    task, W = pair(alpha, p1, c), draw(seed, 2, 2, 2, 2).W
    gamma = observe.gammas(task, LinearMemory(W))
    moved = observe.gammas(task, LinearMemory(-observe.weight_gradient(task, LinearMemory(W)))) / c
    half = two_particles.velocity(gamma, p1, alpha, c) / c
    within = rounding(jnp.max(jnp.abs(gamma)))
    return {"printed": equal(moved, 2 * half, within), "corrected": equal(moved, half, within)}


@gamma_equations.second_route
def _(alpha, p1, c, seed):
    W = drawn(seed, 2, 2, 2, 2).W
    along, across = np.sqrt((1 + alpha) / 2), np.sqrt((1 - alpha) / 2)
    E, U = np.array([[along, across], [along, -across]]), np.sqrt(c / 2) * np.eye(2)
    project = lambda W: np.array([(U[0] - U[1]) @ W @ (E[0] + s * E[1]) / 2 for s in (1, -1)])  # noqa: E731
    g1, g2 = project(W)
    moved = project(-loops.gradient(W, [p1, 1 - p1], np.eye(2), E, U)) / c
    s1, s2 = p1 / (1 + np.exp(g2 + g1)), (1 - p1) / (1 + np.exp(g2 - g1))
    half = np.array([(1 + alpha) * (s1 - s2), (1 - alpha) * (s1 + s2)]) / 2
    return equal(moved, half, rounding(np.abs([g1, g2]).max()))


_PAIR_FLOW = _PAIR | {"c": LogUniform(0.2, 5), "t": LogUniform(1e-2, 1e8)}


def _pair_gammas(alpha, p1, c, times):
    """γ(t) of the flow from zero, by SciPy on (17)."""
    return loops.gammas(loops.follow(loops.pair_velocity(p1, alpha, c), np.zeros(2), times))


@statement(
    "gd.16",
    "how fast γ₂ grows",
    where="Theorem 4, flow",
    printed="e^{γ₂} + γ₂ = 1 + c_t t with 2p₂ ≤ c_t/c₀ ≤ 8p₁³/p₂², c₀ = (1−α)c",
    corrected="p₂ ≤ c_t/c₀ ≤ p₁ (W₀ = 0, p₁ ≥ p₂); c_t/c₀ → √(p₁p₂)",
    verdict="false",
    reason="the factor 2 of gd.15; at p₁ = p₂, c_t/c₀ = ½ for all t, and γ₂ falls short by log 2 for ever",
    domain=_PAIR_FLOW,
    tolerance=_FLOW + ", carried to c_t",
    counterexample={"alpha": 0.0, "p1": 0.5, "c": 2.0, "t": 100.0},
)
def gamma2_flow(alpha, p1, c, t):
    """dγ₂/dt = (c₀/2)(S₁ + S₂). Below: S₁ + S₂ ≥ p₂(1/(1+ab) + 1/(1+a/b)), which for a = e^{γ₂} ≥ 1 is least
    at b = e^{γ₁} = 1. Above: 1 ≤ b ≤ p₁/p₂ (gd.17) puts S₁ and S₂ each below p₁/(1+a)."""
    task = pair(alpha, p1, c)
    gamma = observe.gammas(task, flow(task, LinearMemory.zeros(task), t).model)
    low, high = two_particles.gamma_bracket(task, t)
    c0, within = (1 - alpha) * c, control(gamma[1])
    ratio = (jnp.expm1(gamma[1]) + gamma[1]) / (c0 * t)
    spread = within * (1 + jnp.exp(gamma[1])) / (c0 * t)
    return {
        "printed": (
            at_least(ratio, 2 * (1 - p1), spread),
            at_most(ratio, 8 * p1**3 / (1 - p1) ** 2, spread),
        ),
        "corrected": (at_least(gamma[1], low[1], within), at_most(gamma[1], high[1], within)),
    }


@gamma2_flow.second_route
def _(alpha, p1, c, t):
    g2 = _pair_gammas(alpha, p1, c, [t])[0, 1]
    low, high = (loops.lam(1 + (1 - alpha) * c * p * t) for p in (1 - p1, p1))
    return at_least(g2, low, control(g2)), at_most(g2, high, control(g2))


@statement(
    "gd.17",
    "where γ₁ goes, and how fast",
    where="Theorem 4, flow",
    printed="γ₁ = γ̄ + O(1/t) (read: t|γ₁ − γ̄| at most doubles from t = 10³ to 10⁵)",
    corrected="0 ≤ γ₁ ≤ 2γ̄ at all t; the rate is t^{−min(1, r)}, r = (1+α)/(1−α), with a logarithm at α "
    "= 0 (numerical)",
    verdict="false",
    reason="true for α > 0 only: at α = −½ the gap falls like t^{−1/3}; at α = ±1 γ₁ does not go to γ̄",
    domain={"alpha": Uniform(-0.9, 0.9), "p1": Uniform(0.55, 0.95)},
    tolerance=_FLOW,
    counterexample={"alpha": -0.5, "p1": 0.75},
)
def gamma1_flow(alpha, p1):
    """dγ₁/dt ∝ S₁ − S₂ is ≥ 0 at γ₁ = 0, and ≤ 0 at γ₁ = 2γ̄, for every γ₂ ≥ 0."""
    task, times = pair(alpha, p1), jnp.array([1.0, 10.0, 1e3, 1e4, 1e5])
    run = flow(task, LinearMemory.zeros(task), times[-1], times[:-1], g=observe.gammas)
    g1, bar = run.observed["g"][:, 0], two_particles.limit(p1)
    gap = run.times * jnp.abs(g1 - bar)
    within = control(jnp.max(run.observed["g"]))
    return {
        "printed": at_most(gap[-1], 2 * gap[-3], given=gap[-3] > 1e-3),
        "corrected": (at_least(g1, 0.0, within), at_most(g1, 2 * bar, within)),
    }


@gamma1_flow.second_route
def _(alpha, p1):
    # 0 and the horizon come with the times asked for; the horizon twice.
    times = [0.0, 1.0, 10.0, 1e3, 1e4, 1e5]
    g = _pair_gammas(alpha, p1, 2.0, times)
    bar, within = 0.5 * np.log(p1 / (1 - p1)), control(g.max())
    return at_least(g[:, 0], 0.0, within), at_most(g[:, 0], 2 * bar, within)


@statement(
    "gd.17b",
    "how fast γ₁ goes there when α < 0",
    where="Theorem 4, flow",
    printed="γ₁ − γ̄ = O(1/t)",
    corrected="|γ₁ − γ̄| ~ t^{−r}, r = (1+α)/(1−α) < 1",
    verdict="false",
    reason="m₁ and m₂ pull on each other the less, the more they are opposed: at α = −½ the rate is t^{−1/3}",
    status="numerical",
    domain={"alpha": Uniform(-0.6, -0.25), "p1": Uniform(0.6, 0.9)},
    tolerance="of the exponent: the next power, 3 t^{−min(r, 1−r)}, and the control of the flow over the gap",
    counterexample={"alpha": -0.5, "p1": 0.75},
)
def gamma1_rate(alpha, p1):
    """Linearise dγ₁/dγ₂ about γ̄: d(γ₁−γ̄)/dγ₂ → −r (γ₁−γ̄), and γ₂ ~ log t. The exponent between 10⁵
    and 10⁷."""
    task = pair(alpha, p1)
    run = flow(task, LinearMemory.zeros(task), jnp.asarray(1e7), jnp.array([1e5]), g=observe.gammas)
    gap = jnp.abs(run.observed["g"][1:, 0] - two_particles.limit(p1))
    exponent, r = jnp.log(gap[0] / gap[1]) / jnp.log(100.0), (1 + alpha) / (1 - alpha)
    within = 3 * 1e5 ** -jnp.minimum(r, 1 - r) + control(jnp.max(run.observed["g"])) / gap[1]
    return {"printed": equal(exponent, 1.0, within), "corrected": equal(exponent, r, within)}


@gamma1_rate.second_route
def _(alpha, p1):
    g = _pair_gammas(alpha, p1, 2.0, [1e5, 1e7])
    gap = np.abs(g[:, 0] - 0.5 * np.log(p1 / (1 - p1)))
    exponent, r = np.log(gap[0] / gap[1]) / np.log(100), (1 + alpha) / (1 - alpha)
    return equal(exponent, r, 3 * 1e5 ** -min(r, 1 - r) + control(g.max()) / gap[1])


@statement(
    "gd.18",
    "a bound on γ₁ at every time",
    where="appendix C.1",
    printed="γ₁(t) ≤ γ̄ + 1.05 (p₁−p₂)/√(p₁p₂)/(c₁t + 1), c₁ = (1−α)cp₂",
    corrected="γ₁(t) ≤ 2γ̄",
    verdict="false",
    reason="the trajectory crosses the nullcline that the proof takes for a barrier, and stays above it",
    domain=_PAIR | {"c": LogUniform(0.2, 5), "t": LogUniform(1e-1, 1e5)},
    tolerance=_FLOW,
    counterexample={"alpha": 0.0, "p1": 0.75, "c": 2.0, "t": 1000.0},
    figure="theory_refuted",
)
def gamma1_bound(alpha, p1, c, t):
    """At γ₁ = 2γ̄: S₁ ≤ S₂ iff p₁ + p₁e^{γ₂−γ₁} ≤ p₂ + p₂e^{γ₂+γ₁}, true for e^{γ₁} = p₁/p₂ and γ₂ ≥ 0."""
    task = pair(alpha, p1, c)
    gamma = observe.gammas(task, flow(task, LinearMemory.zeros(task), t).model)
    bar, p2 = two_particles.limit(p1), 1 - p1
    printed = bar + 1.05 * (p1 - p2) / jnp.sqrt(p1 * p2) / ((1 - alpha) * c * p2 * t + 1)
    within = control(gamma[1])
    return {"printed": at_most(gamma[0], printed, within), "corrected": at_most(gamma[0], 2 * bar, within)}


@gamma1_bound.second_route
def _(alpha, p1, c, t):
    g = _pair_gammas(alpha, p1, c, [t])[0]
    return at_most(g[0], np.log(p1 / (1 - p1)), control(g[1]))


_PAIR_DESCENT = {"alpha": Uniform(-1, 1), "p1": Uniform(0.5, 0.98), "rate": LogUniform(0.01, 50)}


def _pair_path(alpha, p1, rate, steps):
    task = pair(alpha, p1)
    run = descend(task, LinearMemory.zeros(task), rate, steps, g=observe.gammas, s=observe.sharpness)
    gamma = run.observed["g"]
    within = amplified(rate, run.observed["s"], jnp.max(jnp.abs(gamma)))
    return task, gamma, within


def _second_path(alpha, p1, rate, steps):
    g = loops.gammas(loops.pair_descent(p1, alpha, 2.0, [rate] * steps))
    # ηλ ≤ ηc(1+|α|)p₁/4 bounds the growth of an error; it stays below 1 once margins have grown.
    return g, rounding(np.abs(g).max(), operations=6400) * max(1.0, rate) ** 2


@statement(
    "gd.19",
    "γ₂ under descent",
    where="Theorem 4, descent; appendix C",
    printed="γ₂(t) ≥ log(ηp₂c₀t + 1) (+ O(log t/t), unread)",
    corrected="γ₂(t) ≥ λ(1 + ηc₀p₂t) for any α ∈ [−1, 1] and η, p₁ ≥ p₂ (≥ log(ηp₂c₀t/2 + 1), the "
    "appendix's)",
    verdict="false",
    reason="right in the limit; without its O() it fails by up to .305",
    domain=_PAIR_DESCENT,
    tolerance=_STEPS,
    counterexample={"alpha": 0.0, "p1": 0.5, "rate": 0.1},
)
def gamma2_descent(alpha, p1, rate):
    """S₁ + S₂ ≥ 2p₂/(1 + e^{γ₂}) (one of e^{±γ₁} is ≤ 1), and a step of e^γ + γ is at least its tangent."""
    steps = 60
    _, gamma, within = _pair_path(alpha, p1, rate, steps)
    reach = rate * (1 - alpha) * 2 * (1 - p1) * jnp.arange(steps + 1)
    return {
        "printed": at_least(gamma[:, 1], jnp.log1p(reach), within),
        "corrected": (
            at_least(gamma[:, 1], special.growth(reach), within),
            at_least(gamma[:, 1], jnp.log1p(reach / 2), within),
        ),
    }


@gamma2_descent.second_route
def _(alpha, p1, rate):
    g, within = _second_path(alpha, p1, rate, 60)
    reach = rate * (1 - alpha) * 2 * (1 - p1) * np.arange(61)
    return (
        at_least(g[:, 1], loops.lam(1 + reach), within),
        at_least(g[:, 1], np.log1p(reach / 2), within),
    )


@statement(
    "gd.20",
    "γ₁ stays in an interval under descent",
    where="Theorem 4, descent; appendix C",
    printed="γ₁ ∈ [min(0, γ̄ − ηc(1−α)p₂), γ̄ + p₁/(2p₂) + ηc(1−α)p₁] at all t (appendix)",
    corrected="γ₁ ∈ [min(0, γ̄ − η(c/2)(1+α)p₂), 2γ̄ + η(c/2)(1+α)p₁] at all t",
    verdict="false",
    reason="(1−α) for (1+α): at GD's own Figure 2 γ₁(1) = 4.875 > 2.80. The theorem's O(1/t) absorbs any "
    "transient, so only the appendix can be tested",
    domain=_PAIR_DESCENT,
    tolerance=_STEPS,
    counterexample={"alpha": 0.95, "p1": 0.75, "rate": 10.0},
    figure="theory_refuted",
)
def gamma1_descent(alpha, p1, rate):
    """Above the nullcline γ₁ falls, by less than η(c/2)(1+α)p₂; below it, it rises by less than …p₁."""
    task, gamma, within = _pair_path(alpha, p1, rate, 60)
    g1, bar, p2 = gamma[:, 0], two_particles.limit(p1), 1 - p1
    step = 2 * rate * (1 - alpha)
    low, high = two_particles.descent_bracket(task, rate, rate * jnp.arange(61.0))
    return {
        "printed": (
            at_least(g1, jnp.minimum(0.0, bar - step * p2), within),
            at_most(g1, bar + p1 / (2 * p2) + step * p1, within),
        ),
        "corrected": (at_least(g1, low[:, 0], within), at_most(g1, high[:, 0], within)),
    }


@gamma1_descent.second_route
def _(alpha, p1, rate):
    g, within = _second_path(alpha, p1, rate, 60)
    bar, p2, step = 0.5 * np.log(p1 / (1 - p1)), 1 - p1, rate * (1 + alpha)
    return (
        at_least(g[:, 0], min(0.0, bar - step * p2), within),
        at_most(g[:, 0], 2 * bar + step * p1, within),
    )


@statement(
    "gd.21",
    "the loss after the first step spikes",
    where="Proposition 5, (20)",
    printed="L(W₁) ≥ η(αp₁ − p₂)p₂ where αp₁ > p₂",
    corrected="L(W₁) = Σ p_i log(1 + e^{−ηc(p_i−αp_j)/2}) ≥ (c/2)η(αp₁ − p₂)p₂",
    verdict="false",
    reason="c/2 is dropped; right for c ≥ 2",
    domain={
        "alpha": Uniform(0, 1),
        "p1": Uniform(0.5, 0.98),
        "c": LogUniform(0.05, 5),
        "rate": LogUniform(0.1, 100),
    },
    tolerance="rounding",
    counterexample={"alpha": 0.95, "p1": 0.75, "c": 0.1, "rate": 100.0},
)
def loss_spike(alpha, p1, c, rate):
    """m₂ after the step is −ηc(αp₁−p₂)/2, and log(1 + e^{−m}) ≥ −m."""
    task = pair(alpha, p1, c)
    loss = descend(task, LinearMemory.zeros(task), rate, 1, L=observe.loss).observed["L"][1]
    p2, spiky = 1 - p1, alpha * p1 > 1 - p1
    within = rounding(loss)
    return {
        "printed": at_least(loss, rate * (alpha * p1 - p2) * p2, within, spiky),
        "corrected": (
            equal(loss, two_particles.first_step_loss(rate, p1, alpha, c), within),
            at_least(loss, two_particles.spike_lower(rate, p1, alpha, c), within, spiky),
        ),
    }


@loss_spike.second_route
def _(alpha, p1, c, rate):
    m = loops.pair_descent(p1, alpha, c, [rate])[1]
    exact = p1 * np.logaddexp(0, -rate * c * (p1 - alpha * (1 - p1)) / 2)
    exact += (1 - p1) * np.logaddexp(0, -rate * c * (1 - p1 - alpha * p1) / 2)
    loss = float(np.array([p1, 1 - p1]) @ np.logaddexp(0, -m))
    bound = c / 2 * rate * (alpha * p1 - (1 - p1)) * (1 - p1)
    return equal(loss, exact, rounding(loss)), at_least(loss, bound, rounding(loss), alpha * p1 > 1 - p1)


@statement(
    "gd.22",
    "the frequent token alone, at the start",
    where="section 4.2",
    printed="Δm₁ ≈ ηp₁/(1 + e^{m₁}) where αp₁ ≫ p₂ (to within what is neglected, ηcαp₂)",
    corrected="Δm₁ ≈ ηcp₁/(1 + e^{m₁})",
    verdict="false",
    reason="c is dropped",
    domain={
        "alpha": Uniform(0.5, 1),
        "p1": Uniform(0.8, 0.99),
        "c": LogUniform(0.05, 5),
        "m1": Uniform(-2, 2),
    },
    tolerance="rounding",
    counterexample={"alpha": 0.95, "p1": 0.95, "c": 2.0, "m1": 0.0},
)
def first_steps(alpha, p1, c, m1):
    """(17), with σ(−m₂) ≤ 1."""
    task = pair(alpha, p1, c)
    memory = LinearMemory.from_margins(task, jnp.stack([m1, 0.5 * m1]))
    m = descend(task, memory, 0.3, 1, m=observe.margins).observed["m"]
    moved, pull = m[1, 0] - m[0, 0], 0.3 * p1 * jax.nn.sigmoid(-m1)
    neglected = 0.3 * c * alpha * (1 - p1)
    return {
        "printed": at_most(jnp.abs(moved - pull), neglected),
        "corrected": at_most(jnp.abs(moved - c * pull), neglected, rounding(m1, operations=1000)),
    }


@first_steps.second_route
def _(alpha, p1, c, m1):
    moved = 0.3 * loops.pair_velocity(p1, alpha, c)(np.array([m1, 0.5 * m1]))[0]
    pull = 0.3 * c * p1 / (1 + np.exp(m1))
    return at_most(abs(moved - pull), 0.3 * c * alpha * (1 - p1), rounding(m1, operations=1000))


@statement(
    "gd.23",
    "one symbol, three definitions of γ",
    where="(18), (21), Figure 1",
    printed="(u₂−u₁)ᵀWf_i of (21) and Figure 1 is γ_i of (18)",
    corrected="it is −2γ_i of (18) on f = e₁ ± e₂; with (18), m₁ = γ₁ + γ₂ and m₂ = γ₂ − γ₁",
    verdict="false",
    reason="½ and a sign; we adopt (18)",
    domain=_PAIR | {"seed": SEEDS},
    tolerance="rounding",
    counterexample={"alpha": 0.5, "p1": 0.75, "seed": 0},
)
def three_gammas(alpha, p1, seed):
    """Both are (u₁−u₂)ᵀWf_i up to a factor."""
    task, memory = pair(alpha, p1), LinearMemory(draw(seed, 2, 2, 2, 2).W)
    gamma, m = observe.gammas(task, memory), observe.margins(task, memory)
    f = jnp.stack([task.inputs[0] + task.inputs[1], task.inputs[0] - task.inputs[1]])
    other = f @ observe.plane(task, memory)
    sums = jnp.stack([gamma[0] + gamma[1], gamma[1] - gamma[0]])
    return {"printed": equal(other, gamma), "corrected": (equal(other, -2 * gamma), equal(sums, m))}


@three_gammas.second_route
def _(alpha, p1, seed):
    W, along, across = drawn(seed, 2, 2, 2, 2).W, np.sqrt((1 + alpha) / 2), np.sqrt((1 - alpha) / 2)
    E = np.array([[along, across], [along, -across]])
    other = np.array([(W[1] - W[0]) @ (E[0] + s * E[1]) for s in (1, -1)])
    gamma = np.array([(W[0] - W[1]) @ (E[0] + s * E[1]) / 2 for s in (1, -1)])
    m = np.array([(W[0] - W[1]) @ E[0], (W[1] - W[0]) @ E[1]])
    return equal(other, -2 * gamma), equal(np.array([gamma[0] + gamma[1], gamma[1] - gamma[0]]), m)


# --- Curvature ------------------------------------------------------------------------------------


@statement(
    "gd.24",
    "the Hessian of the loss",
    where="(26)",
    printed="∇²ℓ = Σ p(z)(δ_zz' − p(z')) e ⊗ u_z ⊗ e ⊗ u_z'",
    corrected="as printed: ∇²L = Σ_x p(x) Cov_{p_W(·|x)}(u) ⊗ e_x e_xᵀ (the footnote's f_i is f_l)",
    verdict="right",
    domain={"seed": SEEDS},
    cases=[{"n": 3, "m": 3, "d": 2, "k": 3}],
    tolerance="rounding",
)
def hessian_formula(seed, n, m, d, k):
    """The covariance of u under the softmax is the Hessian of log Σ e^{uᵀv} in v = We."""
    p, labels, _, E, U, W = draw(seed, n, m, d, k)
    task = AssociationTask(p, labels, E, U)
    twin = jax.hessian(lambda flat: task.loss(LinearMemory(flat.reshape(k, d))))(W.ravel())
    return equal(observe.hessian(task, LinearMemory(W)), twin, rounding(1.0, operations=256))


@hessian_formula.second_route
def _(seed, n, m, d, k):
    p, labels, _, E, U, W = drawn(seed, n, m, d, k)
    # Complex step through the gradient: no cancellation.
    twin = np.zeros((k * d, k * d))
    for place in range(k * d):
        moved = W.astype(complex)
        moved.flat[place] += 1e-30j
        slope = np.zeros((k, d), complex)
        for x in range(n):
            e = np.exp(U @ moved @ E[x])
            slope += p[x] * np.outer(U.T @ (e / e.sum() - np.eye(m)[labels[x]]), E[x])
        twin[place] = np.imag(slope).ravel() / 1e-30
    return equal(loops.hessian(W, p, E, U), twin, rounding(1.0, operations=256))


@statement(
    "gd.25",
    "which rates converge to a minimum of sharpness H*",
    where="section 5.1",
    printed="small rates converge to a minimum with H* > 2/η",
    corrected="descent converges iff ηH* < 2, that is H* < 2/η; beyond, a 2-cycle or worse",
    verdict="false",
    reason="the inequality is inverted",
    domain={"q": Uniform(0.1, 0.9), "edge": Uniform(0.5, 1.5)},
    tolerance="truth values; |ηH*/2 − 1| ≥ .03, where 400 steps decide",
    counterexample={"q": 0.5, "edge": 0.9},
)
def stability(q, edge):
    """The step has slope 1 − ηH* at its fixed point."""
    rate, star = edge * soft_labels.critical_rate(q, 2.0), soft_labels.minimum(q)
    m = descend(
        single(2.0, q), at_margin(star + 0.01), rate, 400, m=lambda task, model: model.scores(task)[0]
    )
    late = (m.observed["m"][-20:, 0] - m.observed["m"][-20:, 1]) - star
    converged, away = jnp.max(jnp.abs(late)) < 1e-3, jnp.abs(edge - 1) > 0.03
    return {
        "printed": equal(converged, edge > 1, given=away),
        "corrected": equal(converged, edge < 1, given=away),
    }


@stability.second_route
def _(q, edge):
    star = np.log(q / (1 - q))
    m, late, step = star + 0.01, [], 2 * edge / (q * (1 - q))
    for t in range(400):
        m += step * (q - 1 / (1 + np.exp(-m)))
        late.append(abs(m - star)) if t >= 380 else None
    return equal(bool(max(late) < 1e-3), bool(edge < 1), given=abs(edge - 1) > 0.03)
