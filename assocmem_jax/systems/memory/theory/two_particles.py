"""Two interfering tokens, f*(x) = x: GD section 4.2, Theorem 4, Proposition 5 (oracle E).

Notation: α = ⟨e₁, e₂⟩ with unit inputs, p₁ ≥ p₂ = 1 − p₁, c = ‖u₁−u₂‖², τ = c/2, γ of GD (18);
m₁ = γ₁+γ₂, m₂ = γ₂−γ₁; γ̄ = ½ log(p₁/p₂).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ....numerics.edges import root
from ....numerics.special import growth

Real = Float[Array, "..."]


class Parameters(NamedTuple):
    """(p₁, α, c) of a two-token task."""

    p1: Real
    alpha: Real
    c: Real


def parameters(task) -> Parameters:
    """Read p₁, α and c off a task of two unit inputs."""
    if task.inputs.shape[0] != 2 or task.outputs.shape[0] != 2:
        raise ValueError(
            f"task must be of two tokens and two classes, got {task.inputs.shape[0]} and "
            f"{task.outputs.shape[0]}"
        )
    task.needs_cross_entropy("theory.two_particles")
    difference = task.outputs[0] - task.outputs[1]
    return Parameters(
        task.probabilities[0], jnp.dot(task.inputs[0], task.inputs[1]), jnp.dot(difference, difference)
    )


def velocity(gamma, p1, alpha, c) -> Float[Array, "2"]:
    """dγ/dt = τ((1+α)(S₁−S₂), (1−α)(S₁+S₂)), S₁ = p₁σ(−γ₁−γ₂), S₂ = p₂σ(γ₁−γ₂).

    GD (19), (32), (33), (35), (36) print twice this (docs/theory.md: gd.15).
    """
    s1 = p1 * jax.nn.sigmoid(-gamma[0] - gamma[1])
    s2 = (1 - p1) * jax.nn.sigmoid(gamma[0] - gamma[1])
    return c / 2 * jnp.stack([(1 + alpha) * (s1 - s2), (1 - alpha) * (s1 + s2)])


def margin_velocity(m, p1, alpha, c) -> Float[Array, "2"]:
    """dm_i/dt = c(p_i/(1+e^{m_i}) − α p_j/(1+e^{m_j})), GD (17), (31)."""
    pull = jnp.stack([jnp.asarray(p1), 1 - jnp.asarray(p1)]) * jax.nn.sigmoid(-m)
    return c * (pull - alpha * pull[::-1])


def limit(p1) -> Real:
    """γ̄ = ½ log(p₁/p₂), where γ₁ goes for |α| < 1 (α = 1: 2γ̄)."""
    return (jnp.log(p1) - jnp.log1p(-jnp.asarray(p1))) / 2


class Bracket(NamedTuple):
    """low ≤ γ ≤ high, each of shape (..., 2): γ₁, γ₂."""

    low: Float[Array, "... 2"]
    high: Float[Array, "... 2"]


def gamma_bracket(task, t) -> Bracket:
    """What must hold of γ(t) under the flow from W₀ = 0, p₁ ≥ p₂: proved, at all times.

    0 ≤ γ₁ ≤ 2γ̄;  λ(1+c₀p₂t) ≤ γ₂ ≤ λ(1+c₀p₁t), c₀ = (1−α)c (docs/theory.md: gd.16, gd.17). GD Theorem 4
    prints 2p₂ ≤ c_t/c₀ and appendix C a bound on γ₁; both are false (gd.16, gd.18).
    """
    p1, alpha, c = parameters(task)
    t = jnp.asarray(t)
    c0 = (1 - alpha) * c
    zero = jnp.zeros_like(t * c0)
    return Bracket(
        jnp.stack([zero, growth(c0 * (1 - p1) * t)], axis=-1),
        jnp.stack([zero + 2 * limit(p1), growth(c0 * p1 * t)], axis=-1),
    )


def descent_bracket(task, rate, elapsed) -> Bracket:
    """What must hold of γ after descent of constant rate η from W₀ = 0, ``elapsed`` = ηt, p₁ ≥ p₂.

    min(0, γ̄ − η(c/2)(1+α)p₂) ≤ γ₁ ≤ 2γ̄ + η(c/2)(1+α)p₁;  γ₂ ≥ λ(1+ηc₀p₂t) (gd.19, gd.20). γ₂ has
    no upper bound here (infinite). GD appendix C's interval for γ₁ is false: at p₁ = .75, α = .95,
    η = 10 (its Figure 2), γ₁(1) = 4.875 > 2.80.
    """
    p1, alpha, c = parameters(task)
    step = jnp.asarray(rate) * c / 2 * (1 + alpha)
    g, elapsed = limit(p1), jnp.asarray(elapsed)
    low1 = jnp.minimum(0.0, g - step * (1 - p1)) + 0 * elapsed
    high1 = 2 * g + step * p1 + 0 * elapsed
    low2 = growth((1 - alpha) * c * (1 - p1) * elapsed)
    return Bracket(
        jnp.stack([low1, low2], axis=-1), jnp.stack([high1, jnp.full_like(high1, jnp.inf)], axis=-1)
    )


def opposite_margins(t, c) -> Float[Array, "... 2"]:
    """α = −1: m₁ = m₂ = λ(1 + ct)."""
    m = growth(c * jnp.asarray(t))
    return jnp.stack([m, m], axis=-1)


def independent_margins(t, p1, c) -> Float[Array, "... 2"]:
    """α = 0: m_i = λ(1 + c p_i t)."""
    p = jnp.stack([jnp.asarray(p1), 1 - jnp.asarray(p1)])
    return growth(c * p * jnp.asarray(t)[..., None])


def weight(gamma, alpha, inputs, outputs) -> Float[Array, "k d"]:
    """W in the span of the gradients: Δu ⊗ [γ₁f₁/(1+α) + γ₂f₂/(1−α)]/c, |α| < 1."""
    difference = outputs[0] - outputs[1]
    f1, f2 = inputs[0] + inputs[1], inputs[0] - inputs[1]
    row = gamma[0] * f1 / (1 + alpha) + gamma[1] * f2 / (1 - alpha)
    return jnp.outer(difference, row) / jnp.dot(difference, difference)


def sharpness(gamma, p1, alpha, c) -> Real:
    """λ_max of the Hessian: (c/2)(T + √(T² − 4ab(1−α²))), a = p₁σσ(m₁), b = p₂σσ(m₂), T = a+b."""
    m1, m2 = gamma[0] + gamma[1], gamma[1] - gamma[0]
    a = p1 * jax.nn.sigmoid(m1) * jax.nn.sigmoid(-m1)
    b = (1 - p1) * jax.nn.sigmoid(m2) * jax.nn.sigmoid(-m2)
    # T² − 4ab(1−α²) = (a−b)² + 4abα², which does not cancel.
    return c / 2 * (a + b + root((a - b) ** 2 + 4 * a * b * alpha**2))


def first_step_margins(rate, p1, alpha, c) -> Float[Array, "2"]:
    """Margins after one step from zero, ηc(p_i − αp_j)/2: all positive iff p₂ > αp₁."""
    p = jnp.stack([jnp.asarray(p1), 1 - jnp.asarray(p1)])
    return rate * c * (p - alpha * p[::-1]) / 2


def first_step_loss(rate, p1, alpha, c) -> Real:
    """L(W₁) = Σ p_i log(1 + e^{−ηc(p_i − αp_j)/2}), exactly."""
    p = jnp.stack([jnp.asarray(p1), 1 - jnp.asarray(p1)])
    return jnp.sum(p * jax.nn.softplus(-first_step_margins(rate, p1, alpha, c)))


def spike_lower(rate, p1, alpha, c) -> Real:
    """L(W₁) ≥ (c/2) η (αp₁ − p₂) p₂ if αp₁ > p₂: GD Proposition 5, which omits c/2 (gd.21)."""
    p2 = 1 - jnp.asarray(p1)
    return c / 2 * rate * (alpha * p1 - p2) * p2


# --- Steps to perfect accuracy (not in GD) --------------------------------------------------------


def fewest_steps(p1, alpha) -> Int[Array, "..."]:
    """No constant learning rate reaches perfect accuracy from zero in fewer steps; p₁ ≥ p₂.

    1 if p₂ > αp₁, else 2 + ⌊(αp₁ − p₂)/(2p₂)⌋: the first step puts m₂ at −ηc(αp₁−p₂)/2, and each
    later one adds less than ηcp₂. −1: no number suffices, as for p₁ = 1, α ≥ 0, where nothing lifts m₂.
    """
    p2 = jnp.asarray(1 - p1)
    lag = alpha * jnp.asarray(p1) - p2
    later = jnp.where(p2 > 0, 2 + jnp.floor(lag / (2 * jnp.where(p2 > 0, p2, 1))), -1)
    return jnp.where(lag < 0, 1, later).astype(int)


class Limit(NamedTuple):
    """``steps`` to perfect accuracy as η → ∞ (−1: more than allowed); ``gap``: min |m_i|/(ηc) met on the
    way; ``rate``: ηc from which on the count is ``steps`` exactly."""

    steps: Int[Array, "..."]
    gap: Real
    rate: Real


def perceptron_limit(p1, alpha, most: int = 512) -> Limit:
    """Steps to perfect accuracy in the limit of large learning rates: a perceptron.

    x = m/(ηc): x_i(1) = (p_i − αp_j)/2, then x_i += p_i 1{x_i<0} − αp_j 1{x_j<0} until both are
    positive. Since |σ(−m) − 1{m<0}| ≤ e^{−|m|}, descent follows it, sign by sign, as soon as
    T(1+|α|)e^{−ηc·gap/2} ≤ gap/2: ``rate`` = (2/gap) log(2T(1+|α|)/gap).
    """
    p = jnp.stack([jnp.asarray(p1), 1 - jnp.asarray(p1)])
    start = (p - alpha * p[::-1]) / 2

    def step(t, state):
        x, count, gap = state
        moving = count < 0
        gap = jnp.where(moving, jnp.minimum(gap, jnp.min(jnp.abs(x))), gap)
        count = jnp.where(moving & jnp.all(x > 0), t + 1, count)
        pull = p * (x < 0)
        return x + pull - alpha * pull[::-1], count, gap

    first = (start, jnp.asarray(-1), jnp.asarray(jnp.inf, start.dtype))
    _, count, gap = jax.lax.fori_loop(0, most, step, first)
    rate = 2 / gap * jnp.log(2 * jnp.maximum(count, 1) * (1 + jnp.abs(alpha)) / gap)
    return Limit(count, gap, rate)


class TwoSteps(NamedTuple):
    """ηc of the first step (at least), and the ratio of the second to it."""

    rate: Real
    ratio: Real


def two_step_schedule(p1, alpha) -> TwoSteps:
    """A schedule that reaches perfect accuracy in two steps from zero; αp₁ > p₂, α < 1.

    In the limit of large η₁ the first step leaves only token 2 wrong, and η₂ p₂ must lift it by
    (αp₁−p₂)/2 while α η₂ p₂ must cost token 1 less than (p₁−αp₂)/2: the ratio may lie between
    (αp₁−p₂)/(2p₂) and (p₁−αp₂)/(2αp₂), an interval that is not empty iff α² < 1. Here, its middle; ηc is
    such that e^{−|m(1)|} cannot spoil it.
    """
    p2 = 1 - jnp.asarray(p1)
    low, high = (alpha * p1 - p2) / (2 * p2), (p1 - alpha * p2) / (2 * alpha * p2)
    ratio = (low + high) / 2
    slack = (high - low) / 2 * alpha * p2  # of the tighter of the two, α ≤ 1
    nearest = jnp.minimum(alpha * p1 - p2, p1 - alpha * p2) / 2
    rate = jnp.log(2 * ratio * (1 + alpha) / slack) / nearest
    return TwoSteps(jnp.maximum(rate, 1.0), ratio)
