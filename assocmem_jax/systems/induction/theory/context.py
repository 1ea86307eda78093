"""The global against the context, in closed form: Slides p. 30; Chen, Bruna, Bietti 2024.

A trigger is followed by noise τ with probability α, else by the answer o, uniform on N tokens. A feed-forward
reads the trigger, a value matrix reads o, both from zero: F and C are their logits of τ, B that of the
answer, against any other token (docs/theory.md: context.closed). Numbers broadcast; N need not be whole but
where samples are counted.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ....numerics.special import binomial, log1p_ratio, poisson

Real = Float[Array, "..."]


class Velocity(NamedTuple):
    """(F', C', B')."""

    feedforward: Real
    noise: Real
    answer: Real


def probabilities(N, F, C, B) -> tuple[Real, Real, Real]:
    """p of τ, of the answer and of each of the N − 1 others: e^{F+C}, e^B and 1 over their sum Z."""
    N, G, B = _real(N, jnp.asarray(F) + C, B)
    top = jnp.maximum(jnp.maximum(G, B), 0)
    e = [jnp.exp(score - top) for score in (G, B, jnp.zeros_like(G))]
    Z = e[0] + e[1] + (N - 1) * e[2]
    return e[0] / Z, e[1] / Z, e[2] / Z


def velocity(N, alpha, F, C, B) -> Velocity:
    """F' = (1 + 1/N)(α − p_τ), C' = (α − p_τ + p_o)/N, B' = (1 − α − p_B + p_o)/N."""
    noise, answer, other = probabilities(N, F, C, B)
    N, alpha = _real(N, alpha)
    return Velocity(
        (1 + 1 / N) * (alpha - noise), (alpha - noise + other) / N, (1 - alpha - answer + other) / N
    )  # fmt: skip


def head_start(N, alpha) -> Real:
    """F'/B' at the start, ((N + 1)α − 1)/(1 − α): by how much τ is learned faster than the answer."""
    N, alpha = _real(N, alpha)
    return ((N + 1) * alpha - 1) / (1 - alpha)


def overtaking_time(N, alpha) -> Real:
    """When the answer scores above τ, for α > 2/(N + 3), as N → ∞, with an error of O(1/N):

        (1 − α) t = x − 1 + (N − 1) log x − (r + log r),  x = α(N − 1)/(1 − 2α),  r = (1 − α)/(1 − 2α).

    τ being learned, p_τ ≈ α, so that B' = (1 − α)/(e^B + N − 1), and the answer leads from e^B = x on: the
    first three terms, of which the largest is N log N. r + log r is what p_τ lags behind α by. 0 for α ≤ 2/(N
    + 3), where the answer leads from the start, and infinite for α ≥ ½, where it never does (both exact).
    """
    N, alpha = _real(N, alpha)
    sound = jnp.where((alpha * (N + 3) > 2) & (alpha < 0.5), alpha, 0.25)
    x, r = sound * (N - 1) / (1 - 2 * sound), (1 - sound) / (1 - 2 * sound)
    time = (x - 1 + (N - 1) * jnp.log(x) - r - jnp.log(r)) / (1 - sound)
    return jnp.where(alpha * (N + 3) <= 2, 0, jnp.where(alpha < 0.5, time, jnp.inf))


def half_times(N, alpha) -> tuple[Real, Real]:
    """When p of τ is α/2, and when p of the answer is (1 − α)/2, half of their limits, as N → ∞.

    While B ≈ 0, e^{F+C}' = e^{F+C}(α − p_τ): αt = log u − log(1 − (1 − α)(u − 1)/(αN − 1 + α))/(1 − α) at
    u = e^{F+C} = αN/(2 − α), some log N; 0 where p of τ is α/2 or more from the start, u ≤ 1. Then, at
    e^B = N − 1, (1 − α)t = N − 2 + (N − 1) log(N − 1). Their ratio is some Nα/(1 − α).
    """
    N, alpha = _real(N, alpha)
    u = jnp.maximum(alpha * N / (2 - alpha), 1)
    gone = (u - 1) / jnp.where(u > 1, alpha * N - 1 + alpha, 1)
    noise = (jnp.log(u) + log1p_ratio(gone, 1 - alpha)) / (alpha * (1 + 2 / N))
    return noise, (N - 2 + (N - 1) * jnp.log(N - 1)) / (1 - alpha)


def recalls(n, N, alpha) -> Real:
    """P(the value matrix after one step on n samples knows an answer, τ left out) = 1 − (1 − (1 − α)/N)^n.

    V_{j,o} ∝ #(o, j) − #(o)/(N + 1): the answer is the largest as soon as one sample has said it after o.
    """
    n, N, alpha = _real(n, N, alpha)
    return -jnp.expm1(n * jnp.log1p(-(1 - alpha) / N))


def outvotes(n, N, alpha) -> Real:
    """P(the same with τ among the candidates) = P(#(o, o) > #(o, τ)), over c ~ Bin(n, 1/N) samples with o.

    ``n``: whole numbers that are known.
    """
    n = np.asarray(n)
    return _outvotes(n, *_real(N, alpha), int(n.max()))


@functools.partial(jax.jit, static_argnums=3)
def _outvotes(n, N, alpha, most: int):
    c, said = jnp.arange(most + 1)[:, None], jnp.arange(most + 1)
    wins = jnp.sum(jnp.where(2 * said > c, binomial(c, said, 1 - alpha), 0), axis=1)
    return jnp.minimum(jnp.sum(binomial(n[..., None], said, 1 / N) * wins, axis=-1), 1)


def says_noise(n, N: int, alpha) -> Real:
    """P(the feed-forward after one step on n samples says τ) = P(#τ > max_j #j), exactly.

    f_j ∝ #j − n/(N + 1). With k = #τ ~ Bin(n, α) and m = n − k the others fall on N tokens at random:
    P(max < k) = m!/N^m [x^m] (Σ_{i<k} x^i/i!)^N. ``n``: whole numbers that are known.
    """
    n = np.asarray(n)
    return _says_noise(n, N, *_real(alpha), int(n.max()))


@functools.partial(jax.jit, static_argnums=(1, 3))
def _says_noise(n, N: int, alpha, most: int):
    m, i = jnp.arange(most), jnp.arange(most + 1)
    # In units of x in which the terms are those of a Poisson law of mean m/N, and [x^m] is not small.
    each = poisson(jnp.maximum(m, 0.5)[:, None] / N, i)
    free = poisson(jnp.maximum(m, 0.5), m)
    # The coefficient by Cauchy's integral, a sum over more points than the law of a sum of mean m reaches.
    points = 2 * most + 64

    def one(n):
        law = jnp.fft.fft(jnp.where(i < (n - m)[:, None], each, 0), points, axis=1) ** N
        none_above = jnp.real(jnp.take_along_axis(jnp.fft.ifft(law, axis=1), m[:, None], axis=1))[:, 0] / free
        return jnp.minimum(jnp.sum(binomial(n, m, 1 - alpha) * jnp.where(m < n, none_above, 0)), 1)

    return jnp.reshape(jax.lax.map(one, jnp.ravel(n)), n.shape)


def _real(*numbers) -> list[Array]:
    return [jnp.asarray(x, float) for x in numbers]
