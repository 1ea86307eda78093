"""Orthogonal inputs: GD section 4.1, Theorems 2 and 3, and appendix B (oracles A, B, C).

Tokens decouple; each has a margin or a vector of scores. c = p(x) ‖e_x‖² ‖u₁−u₂‖².
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ....numerics.roots import bracketed
from ....numerics.special import growth, growth_from, lam

Real = Float[Array, "..."]
# sup over m ≥ 0 of (e^m + m − 1) log(1 + e^{−m}), attained at m = 2.5261…
LOSS_CONSTANT = 1.0794346855614374


# --- A. Two classes -------------------------------------------------------------------------------


def binary_margin(t, c, m0=0.0) -> Real:
    """Margin of the flow: e^m + m = ct + e^{m₀} + m₀. GD (29); GD section 4.1 drops the 1 of m₀ = 0."""
    return m0 + growth_from(jnp.asarray(c) * t, m0)


def binary_time(m, c, m0=0.0) -> Real:
    """Time at which the flow reaches margin m."""
    m, m0 = jnp.asarray(m), jnp.asarray(m0)
    return (jnp.exp(m0) * jnp.expm1(m - m0) + m - m0) / c


def binary_soonest(c, m0) -> tuple[Real, Float[Array, " n"]]:
    """(least time to margins ≥ 0, the law that takes it) over all laws of data p_t(x), of the flow.

    ``c``: ‖e_x‖² ‖u₁−u₂‖², without p(x); ``m0`` ≤ 0 the margins at the start, somewhere below 0. Token x
    needs T_x = (1 − e^{m₀} − m₀)/c of its own time ∫ p_t(x) dt, whenever that comes: T = Σ T_x and
    p(x) = T_x/T.
    No order of data is faster (docs/theory.md: beyond.8). Not in GD.
    """
    m0 = jnp.asarray(m0)
    own = (-jnp.expm1(m0) - m0) / jnp.asarray(c)
    total = jnp.sum(own, axis=-1, keepdims=True)
    return total[..., 0], own / total


def binary_step(m, rate, c) -> Real:
    """One step of descent: m + ηc/(1 + e^m). GD (28)."""
    return m + jnp.asarray(rate) * c * jax.nn.sigmoid(-jnp.asarray(m))


def binary_descent_lower(elapsed, c, m0=0.0) -> Real:
    """Descent dominates the flow: m_t ≥ λ(c Σ_{s<t} η_s + e^{m₀} + m₀), any m₀ and schedule.

    ``elapsed`` is Σ η_s. GD Theorem 2 prints m ≥ log(ηct + 1) from zero, which is false: its proof
    drops a factor ½ (docs/theory.md: gd.8).
    """
    return binary_margin(elapsed, c, m0)


def binary_descent_upper(steps, rate, c) -> Real:
    """From m₀ = 0: e^m + m ≤ 1 + t (a + a² e^{a/2}/8), a = ηc. Not in GD."""
    a = jnp.asarray(rate) * c
    low, high = jnp.minimum(a, 80), jnp.maximum(a, 80)
    usual = growth(steps * (low + low**2 * jnp.exp(low / 2) / 8))
    # Beyond, m is less than the rounding of e^m, and m the logarithm of the right-hand side.
    far = high / 2 + jnp.log(steps * (high * jnp.exp(-high / 2) + high**2 / 8))
    return jnp.where(a < 80, usual, jnp.maximum(far, 0))


def binary_loss_upper(elapsed, p, c) -> Real:
    """L ≤ Σ p(x) log(1 + e^{−λ(1 + ηc_x t)}), W₀ = 0: flow (with equality) and descent.

    Arrays p, c over tokens on the last axis; ``elapsed`` broadcasts against the others.
    """
    elapsed = jnp.asarray(elapsed)[..., None]
    return jnp.sum(p * jax.nn.softplus(-growth(c * elapsed)), axis=-1)


def binary_loss_rate(elapsed, p, c) -> Real:
    """L ≤ (κ/ηt) Σ p(x)/c_x, κ = 1.07943…. GD Theorem 2 prints κ = 1: crossed at ct = 4.889 (gd.9)."""
    return LOSS_CONSTANT / jnp.asarray(elapsed) * jnp.sum(jnp.asarray(p) / c)


def logarithm_gap(y) -> Real:
    """h(y) = log y − λ(y) = log(1 + m e^{−m}), m = λ(y): GD (15), y > 0.

    0 ≤ h ≤ log(1 + 1/e) for y ≥ 1; GD's bound 2 log(y)/y holds there too, and fails below 1.
    """
    m = lam(y)
    return jnp.log1p(m * jnp.exp(-m))


# --- B. Many classes from zero --------------------------------------------------------------------


def multiclass_margin(t, kappa, classes) -> Real:
    """Common margin of the flow from W₀ = 0: e^m + (M−1) m = 1 + M κ t.

    E orthogonal; outputs of equal norm ‖u‖² = ν and common cosine ρ (0: orthogonal, −1/(M−1):
    simplex); κ = p(x) ‖e_x‖² ν (1−ρ). All wrong classes stay level.
    """
    return growth(classes * jnp.asarray(kappa) * t, 1.0, classes - 1.0)


def multiclass_step(m, rate, kappa, classes) -> Real:
    """One step of descent: m + ηMκ/(e^m + M − 1); it dominates the flow."""
    m = jnp.asarray(m)
    fall = jnp.exp(jnp.minimum(-m, 60))  # below −60 the step no longer depends on m
    return m + rate * classes * kappa * fall / (1 + (classes - 1) * fall)


def multiclass_descent_upper(steps, rate, kappa, classes) -> Real:
    """Descent from zero after ``steps`` ≥ 1 steps: F(m_t) ≤ F(m₁) + a(t−1) + O(log t), F(m) = e^m + (M−1)m.

    a = ηMκ; m₁ = ηκ exactly, and with δ = a/(e^{m₁} + M − 1), l = the flow's lower bound from m₁,

        F(m_t) ≤ F(m₁) + a (t−1) + ½ a² e^δ (e^{−m₁} + (l − m₁ + (M−1)(e^{−m₁} − e^{−l}))/a).

    So m_t = log(at) + o(1) for every rate, as for the flow. Not in GD.
    """
    rate, kappa = jnp.asarray(rate), jnp.asarray(kappa)
    a, k, first = rate * classes * kappa, classes - 1.0, rate * kappa
    later = jnp.asarray(steps) - 1.0
    rest = jnp.exp(-first)
    gained = growth_from(a * jnp.maximum(later - 1, 0), first, k)
    total = rest + (gained - k * jnp.expm1(-gained) * rest) / a
    excess = a**2 / 2 * jnp.exp(a * rest / (1 + k * rest)) * total
    return first + growth_from(a * later + jnp.where(later > 0, excess, 0), first, k)


def tightest_descent_lower(elapsed, kappa, m0) -> Real:
    """Descent of M ≥ 2 orthonormal classes from any scores: min_i m_i ≥ λ(e^{m₀} + m₀ + κ Σ η_s).

    m₀: the smallest margin at the start; κ = p(x)‖e_x‖². Any schedule. Two classes have c = 2κ in place of κ
    (``binary_descent_lower``). Not in GD.
    """
    return m0 + growth_from(jnp.asarray(kappa) * elapsed, m0)


def multiclass_weight(m, labels, inputs, outputs, rho=0.0) -> Float[Array, "k d"]:
    """W = Σ_x m_x (u_{f(x)} − ū) ⊗ e_x/(ν (1−ρ) ‖e_x‖²): GD Theorem 3 with its constant, 1.

    GD prints the constant (M−1)/√(2M); at ρ = 0, u − ū is Π(u) and the constant is 1 (gd.13).
    """
    outputs, inputs = jnp.asarray(outputs), jnp.asarray(inputs)
    nu = jnp.sum(outputs[0] ** 2)
    pulls = (outputs - outputs.mean(axis=0))[labels]
    scale = m / (nu * (1 - rho) * jnp.sum(inputs**2, axis=1))
    return jnp.einsum("n,na,nb->ab", scale, pulls, inputs)


def multiclass_loss(m, p, classes) -> Real:
    """Σ p(x) log(1 + (M−1) e^{−m_x})."""
    return jnp.sum(p * jax.nn.softplus(jnp.log(classes - 1.0) - jnp.asarray(m)), axis=-1)


# --- C. Many classes from any scores --------------------------------------------------------------


def multiclass_scores(t, kappa, w0, label=0, iterations: int = 200) -> Float[Array, " m"]:
    """Scores of one token under the flow from any scores w₀, orthonormal outputs; κ = p(x)‖e_x‖².

    Wrong scores fall by log(1 + ρ_j τ), ρ_j = e^{w_j − a}, a the largest of them, which keeps the
    differences of e^{−w_j}, and the right one rises by their sum. So δ = log(1 + τ), the fall of the largest,
    has κt = e^{w_right − a} P(τ) + Σ log(1 + ρ_j τ), P' = Π (1 + ρ_j τ), P(0) = 0: monotone, of positive
    terms, solved for δ by bisection to the last bit. Derivatives by the implicit function theorem.
    """
    w0 = jnp.asarray(w0, jnp.result_type(float, w0))
    others = jnp.delete(w0, label, assume_unique_indices=True)
    top = jax.lax.stop_gradient(jnp.max(others))
    shares = others - top  # log ρ
    # log of the coefficients of P', lowest power first, then of P e^{w_right − a}.
    logs = jnp.zeros(1, w0.dtype)
    for share in shares:
        low, high = jnp.append(logs, -jnp.inf), jnp.append(-jnp.inf, logs + share)
        logs = jnp.logaddexp(low, high)
    powers = jnp.arange(1, len(logs) + 1)
    logs = logs + w0[label] - top - jnp.log(powers)

    def falls(delta):
        near = jnp.minimum(delta, 1)
        small = jnp.log1p(jnp.exp(shares) * jnp.expm1(near))
        return jnp.where(
            delta < 1, small, jnp.logaddexp(0.0, shares + delta + jnp.log1p(-jnp.exp(-jnp.maximum(delta, 1))))
        )

    def elapsed(delta):
        low, high = jnp.minimum(delta, 1), jnp.maximum(delta, 1)
        near = jnp.sum(jnp.exp(logs) * jnp.expm1(low) ** powers)
        far = jnp.sum(jnp.exp(logs + powers * (high + jnp.log1p(-jnp.exp(-high)))))
        return jnp.where(delta < 1, near, far) + jnp.sum(falls(delta))

    target = jnp.asarray(kappa, w0.dtype) * t
    fallen = falls(
        bracketed(lambda delta: elapsed(delta) - target, jnp.zeros_like(target), target, iterations)
    )
    return jnp.insert(others - fallen, label, w0[label] + jnp.sum(fallen))


def multiclass_invariants(scores, norms, label) -> tuple[Real, Float[Array, "*batch m"]]:
    """Conserved by the flow for orthogonal outputs of any norms ‖u_i‖: Σ w_i/‖u_i‖², and
    e^{−w_i}/‖u_i‖² up to a common constant over the wrong classes (returned relative to their
    mean, 0 at the label). GD section 4.1 omits the norms (gd.11). Descent keeps the first.
    """
    scores, squares = jnp.asarray(scores), jnp.asarray(norms) ** 2
    wrong = jnp.arange(scores.shape[-1]) != label
    terms = jnp.where(wrong, jnp.exp(-jnp.where(wrong, scores, 0)) / squares, 0)
    mean = jnp.sum(terms, axis=-1, keepdims=True) / (scores.shape[-1] - 1)
    return jnp.sum(scores / squares, axis=-1), jnp.where(wrong, terms - mean, 0)


def binary_rates(task) -> Float[Array, " n"]:
    """c_x = p(x) ‖e_x‖² ‖u₁−u₂‖² of a two-class task."""
    task.needs_cross_entropy("theory.orthogonal")
    difference = task.outputs[0] - task.outputs[1]
    squares = jnp.sum(jnp.square(task.inputs), axis=1)
    return task.probabilities * squares * jnp.dot(difference, difference)
