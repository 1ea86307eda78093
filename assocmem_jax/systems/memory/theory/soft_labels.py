"""One token with two answers, P(y=1) = q: oracle F. It is also GD's two tokens at α = 1.

The margin m = (u₁−u₂)ᵀWe obeys dm/dt = c(q − σ(m)), c = p(x)‖e‖²‖u₁−u₂‖²: a finite minimum,
hence a curvature that does not vanish and an edge of stability.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ....numerics.roots import bracketed
from ....numerics.special import log1p_ratio

Real = Float[Array, "..."]


def minimum(q) -> Real:
    """m* = log(q/(1−q))."""
    q = jnp.asarray(q)
    return jnp.log(q) - jnp.log1p(-q)


def curvature(q, c) -> Real:
    """H* = c q (1−q), the sharpness at the minimum."""
    return c * jnp.asarray(q) * (1 - q)


def critical_rate(q, c) -> Real:
    """2/H*: descent converges for smaller rates and ends in a 2-cycle (or worse) for larger ones.

    GD section 5.1 prints the inequality the other way round (docs/theory.md: gd.25).
    """
    return 2 / curvature(q, c)


def step(m, rate, q, c) -> Real:
    """One step of descent."""
    return m + rate * c * (q - jax.nn.sigmoid(m))


def time_between(m0, m, q, c) -> Real:
    """Time of the flow from m₀ to m on the same side of m*.

    ct = [m/q − log|q − (1−q)e^m|/(q(1−q))] between the ends, of which nothing cancels as q → 1 in

        ct = Δ/q − log(1 − (1−q)y)/(q(1−q)),  Δ = m − m₀,  y = (e^m − e^{m₀})/(q − (1−q)e^{m₀});

    q below ½ is 1 − q for −m.
    """
    m0, m, q = jnp.asarray(m0), jnp.asarray(m), jnp.asarray(q)
    sign, likely, r = jnp.where(q < 0.5, -1, 1), jnp.maximum(q, 1 - q), jnp.minimum(q, 1 - q)
    start, moved = sign * m0, sign * (m - m0)
    # e^m and e^{m₀} over e^{max(m₀, 0)}, their difference from that of the exponents.
    up = jnp.maximum(start, 0)
    grown = jnp.exp(start + jnp.maximum(moved, 0) - up) * -jnp.expm1(-jnp.abs(moved))
    y = jnp.sign(moved) * grown / (likely * jnp.exp(-up) - r * jnp.exp(start - up))
    return (moved + log1p_ratio(y, r)) / (likely * c)


def margin(t, q, c, m0=0.0) -> Real:
    """m(t) of the flow from m₀, by bisection on the closed form of its time (implicit derivative)."""
    t, q, c, m0 = jnp.broadcast_arrays(*(jnp.asarray(v, jnp.result_type(float)) for v in (t, q, c, m0)))
    # No margin moves faster than c.
    end = m0 + jnp.clip(minimum(q) - m0, -c * t, c * t)
    return bracketed(lambda m: time_between(m0, m, q, c) - t, m0, end)


# --- Beyond the edge (not in GD) ------------------------------------------------------------------


def cycle_amplitude(q, excess) -> Real:
    """Half the width of the 2-cycle just beyond the edge, ηH* = 2 + ``excess``: to leading order
    √(3 excess/(2(1 − 3q(1−q)))).

    The Schwarzian derivative of the step at m* is −4 + 12q(1−q) < 0 there for every q: period doubling
    is always supercritical, descent never jumps.
    """
    return jnp.sqrt(3 * jnp.asarray(excess) / (2 * (1 - 3 * jnp.asarray(q) * (1 - q))))


def balanced_cycle(rate, c, iterations: int = 200) -> Real:
    """q = ½, η > 2/H* = 8/c: the m > 0 of the 2-cycle ±m, m = (ηc/4) tanh(m/2); 0 below the edge.

    It attracts almost every start at every rate: |m| follows m ↦ |m − (ηc/2) tanh(m/2)|, whose slope
    stays above −1, so that it has no 2-cycle and (Coppel) converges to a fixed point.
    """
    quarter = jnp.asarray(rate) * c / 4
    # m − quarter · tanh(m/2) is convex for m > 0 and negative just above 0: bisect on the right of it.
    root = bracketed(
        lambda m: m - quarter * jnp.tanh(m / 2), jnp.full_like(quarter, 1e-12), quarter, iterations
    )
    return jnp.where(quarter > 2, root, 0.0)


def balanced_multiplier(m) -> Real:
    """Multiplier of that cycle, (1 − 2m/sinh m)²: below one for every m > 0, and 1 at its birth, m = 0."""
    m = jnp.asarray(m)
    return (1 - jnp.where(m == 0, 2, 2 * m / jnp.sinh(jnp.where(m == 0, 1, m)))) ** 2
