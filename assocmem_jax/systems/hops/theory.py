"""The written k-hop transformer in closed form: what is exact, and bounds for every context.

N values, k hops, β the scale of the scores; see ``am.HopTransformer.written``.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...numerics.roots import bracketed

Real = Float[Array, "..."]


class Held(NamedTuple):
    """Bounds, over all contexts and tokens, of the probability of the right value and of any wrong one, and
    of the attention weight on the right token, after a layer. ``lead_low``: of right less wrong in one token;
    ``uneven``: how far two values, each summed over what the tokens of a step hold, may be apart."""

    right_low: Real
    right_high: Real
    wrong_low: Real
    wrong_high: Real
    weight_low: Real
    weight_high: Real
    lead_low: Real
    uneven: Real


def first_layer(values: int, hops: int, beta) -> Held:
    """After layer 1, exactly and for every context: weight e^β/Z, right (e^β + k − 1)/Z, each wrong value
    k/Z; Z = e^β + kN − 1. Every value is carried k times, once in each step. Not in print."""
    n, k, beta = float(values), float(hops), jnp.asarray(beta, float)
    rest = jnp.exp(-beta)
    total = 1 + (k * n - 1) * rest
    right, wrong, weight = (1 + (k - 1) * rest) / total, k * rest / total, 1 / total
    lead = -jnp.expm1(-beta) / total
    return Held(right, right, wrong, wrong, weight, weight, lead, jnp.zeros_like(lead))


def next_layer(held: Held, values: int, hops: int, beta) -> Held:
    """After one layer more, from bounds after the last.

    Attention is a product: e^β/(e^β + k − 1) on the right step, and over inputs the softmax of β times what
    is held. From another step a token reads some value, right or wrong. The weight after layer 2 is exact,
    and so are both ends of what is held and of the lead.

    The lead of y over y′ is a mean, over steps and inputs, of the lead d of y over y′ in what is read, with
    the same weights over inputs in each step. In a step one input holds y as its right value (d at least the
    last lead D), one y′ (d ≥ −G), the others neither (d ≥ −s), and all d sum to −``uneven`` at least. So the
    least weight b that an input can have counts for no more than that, and what is left is small.
    """
    n, k, beta = float(values), float(hops), jnp.asarray(beta, float)
    step = 1 / (1 + (k - 1) * jnp.exp(-beta))
    q, Q, r, R, *_, D, uneven = held
    gap = lambda one, other: jnp.exp(beta * (other - one))  # noqa: E731
    mix = lambda share, one, other: share * one + (1 - share) * other  # noqa: E731
    # Wrong values are in [r, R] and sum to 1 − q: Σ e^β is at most that of the chord, at their mean.
    wide = r < R
    share = jnp.where(wide, ((1 - q) / (n - 1) - r) / jnp.where(wide, R - r, 1), 0)
    at_least = 1 / (1 + (n - 1) * mix(jnp.clip(share, 0, 1), gap(q, R), gap(q, r)))
    at_most = 1 / (1 + (n - 1) * gap(Q, r))
    # One wrong input: least where the right one and all others have most, and the reverse.
    stray_least = 1 / (1 + gap(r, Q) + (n - 2) * gap(r, R))
    stray_most = 1 / (1 + gap(R, q) + (n - 2) * gap(R, r))
    low, high = mix(at_least, q, r), mix(at_most, Q, R)
    wrong_low, wrong_high = mix(stray_least, q, r), mix(stray_most, Q, R)
    right_low = mix(step, low, jnp.minimum(wrong_low, low))
    most = mix(step, wrong_high, high)

    G, s = Q - r, R - r if values > 2 else jnp.maximum(-D, 0)
    left = lambda weight: jnp.maximum(1 - weight - (n - 1) * stray_least, 0)  # noqa: E731
    one = jnp.minimum(left(at_least), stray_most - stray_least)

    def lead(weight):
        right, rest = weight - stray_least, left(weight)
        inside = right * D - one * G - jnp.maximum(rest - one, 0) * s
        return mix(step, inside, -jnp.maximum(right, one) * G - rest * s) - stray_least * uneven

    # Concave in the weight on the right input: least at an end.
    leads = jnp.minimum(lead(at_least), lead(at_most))
    total = jnp.maximum(at_most + (n - 1) * stray_most - 1, 1 - at_least - (n - 1) * stray_least)
    return Held(
        right_low, high, jnp.minimum(wrong_low, low), most,
        step * at_least, step * at_most,
        jnp.maximum(leads, right_low - most), uneven + jnp.maximum(total, 0) * (2 * G + (n - 2) * s),
    )  # fmt: skip


def _whole_layers(hops: int) -> None:
    if hops < 1 or hops & (hops - 1):
        raise ValueError(f"hops must be a power of two: a layer doubles what the last has made, got {hops}")


def written(values: int, hops: int, beta) -> list[Held]:
    """Bounds after each of the log₂ k + 1 layers, for every context and all π. k is a power of two, or
    refused."""
    _whole_layers(hops)
    found = [first_layer(values, hops, beta)]
    for _ in range(hops.bit_length() - 1):
        found.append(next_layer(found[-1], values, hops, beta))
    return found


def exact_from(values: int, hops: int) -> Real:
    """The β at which the bounds first say that every token answers right, whatever the context: the right
    value is above any wrong one after every layer. Sufficient; a given context may need less. 0 for k ≤ 2,
    where any β > 0 does. k no power of two is refused."""
    _whole_layers(hops)
    if hops <= 2:
        return jnp.asarray(0.0, float)

    def spare(beta):
        return jnp.min(jnp.stack([held.lead_low for held in written(values, hops, beta)]))

    return bracketed(spare, jnp.asarray(0.0, float), jnp.asarray(60.0, float))
