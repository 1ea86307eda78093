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
    of the attention weight on the right token, after a layer."""

    right_low: Real
    right_high: Real
    wrong_low: Real
    wrong_high: Real
    weight_low: Real
    weight_high: Real


def first_layer(values: int, hops: int, beta) -> Held:
    """After layer 1, exactly and for every context: weight e^β/Z, right (e^β + k − 1)/Z, each wrong value
    k/Z; Z = e^β + kN − 1. Every value is carried k times, once in each step. Not in print."""
    n, k, beta = float(values), float(hops), jnp.asarray(beta, float)
    rest = jnp.exp(-beta)
    total = 1 + (k * n - 1) * rest
    right, wrong, weight = (1 + (k - 1) * rest) / total, k * rest / total, 1 / total
    return Held(right, right, wrong, wrong, weight, weight)


def next_layer(held: Held, values: int, hops: int, beta) -> Held:
    """After one layer more, from bounds after the last.

    Attention is a product: e^β/(e^β + k − 1) on the right step, and over inputs the softmax of β times what
    is held. From another step a token reads some value, right or wrong. The weight after layer 2 is exact.
    """
    n, k, beta = float(values), float(hops), jnp.asarray(beta, float)
    step = 1 / (1 + (k - 1) * jnp.exp(-beta))
    q, Q, r, R = held[:4]
    gap = lambda one, other: jnp.exp(beta * (other - one))  # noqa: E731
    at_least, at_most = 1 / (1 + (n - 1) * gap(q, R)), 1 / (1 + (n - 1) * gap(Q, r))
    # One wrong input: least where the right one and all others have most, and the reverse.
    stray_least = 1 / (1 + gap(r, Q) + (n - 2) * gap(r, R))
    stray_most = 1 / (1 + gap(R, q) + (n - 2) * gap(R, r))
    mix = lambda share, one, other: share * one + (1 - share) * other  # noqa: E731
    low, high = mix(at_least, q, r), mix(at_most, Q, R)
    wrong_low, wrong_high = mix(stray_least, q, r), mix(stray_most, Q, R)
    return Held(
        mix(step, low, jnp.minimum(wrong_low, low)), high,
        jnp.minimum(wrong_low, low), mix(step, wrong_high, high),
        step * at_least, step * at_most,
    )  # fmt: skip


def written(values: int, hops: int, beta) -> list[Held]:
    """Bounds after each of the log₂ k + 1 layers, for every context and all π."""
    found = [first_layer(values, hops, beta)]
    for _ in range(hops.bit_length() - 1):
        found.append(next_layer(found[-1], values, hops, beta))
    return found


def exact_from(values: int, hops: int) -> Real:
    """The β at which the bounds first say that every token answers right, whatever the context: the right
    value is above any wrong one after every layer. Sufficient; a given context may need less. 0 for k ≤ 2,
    where any β > 0 does."""
    if hops <= 2:
        return jnp.asarray(0.0, float)

    def spare(beta):
        return jnp.min(jnp.stack([held.right_low - held.wrong_high for held in written(values, hops, beta)]))

    return bracketed(spare, jnp.asarray(0.0, float), jnp.asarray(60.0, float))
