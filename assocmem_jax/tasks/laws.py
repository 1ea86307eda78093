"""Input laws p(x). An explicit law is just an array."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .. import checks
from ..checks import Scalar


def uniform(n: int) -> Float[Array, " n"]:
    """p(x) = 1/N."""
    n = checks.count("n", n)
    return jnp.full(n, 1 / n)


def zipf(n: int, exponent: Scalar = 1.0) -> Float[Array, " n"]:
    """p(x) ∝ x^{-exponent}, x = 1…N: the law of GD Figures 4–6 and of Slides p. 31.

    ``exponent`` is the α of the scaling-law papers; here α is a correlation, so it has a name.
    """
    n = checks.count("n", n)
    exponent = checks.number("exponent", exponent)
    # exp(−a log x), scaled by the largest term: no overflow for any exponent, and differentiable.
    logits = -exponent * jnp.log(jnp.arange(1, n + 1, dtype=exponent.dtype))
    weights = jnp.exp(logits - logits.max())
    return weights / weights.sum()


def imbalance(p1: Scalar) -> Float[Array, "2"]:
    """Two tokens: (p₁, 1 − p₁). GD (16) ff.; log(p₁/p₂) is their imbalance."""
    p1 = checks.scalar("p1", p1)
    checks.within("p1", p1, 0, 1)
    return jnp.stack([p1, 1 - p1])


def check(name: str, p: Array, what: str = "") -> None:
    """Refuse what is not a law (or rows of laws), if the values are known."""
    if not checks.concrete(p):
        return
    known = np.asarray(p)
    if (known < 0).any():
        checks.refuse(name, "non-negative", known.min())
    totals = known.astype(np.float64).sum(axis=-1)
    # Each entry is rounded, and so was the sum that they were divided by: random signs, not N of a kind.
    slack = (8 + np.sqrt(known.shape[-1])) * float(jnp.finfo(known.dtype).eps)
    if not np.abs(totals - 1).max() <= slack:
        worst = float(np.atleast_1d(totals)[np.abs(np.atleast_1d(totals) - 1).argmax()])
        checks.refuse(what or name, "summing to one", f"{worst:.9g}", "divide by the sum: am.laws.normalized")


def normalized(weights: Float[Array | np.ndarray, "*rows n"]) -> Float[Array, "*rows n"]:
    """p = w/Σw, over the last axis: counts or frequencies as a law, or rows of them as laws.

    In float64 on the host where the weights are known, so that 50,000 float32 words still sum to one.
    Refused: negative or infinite weights, and rows of zeros.
    """
    given = checks.array("weights", weights, "non-negative numbers")
    (cast,) = checks.floats(weights=weights)
    if not checks.concrete(given):
        return cast / cast.sum(axis=-1, keepdims=True)
    known = np.asarray(given, np.float64)
    if not known.ndim or not known.shape[-1]:
        checks.refuse("weights", "a vector of at least one entry, or rows of them", f"shape {known.shape}")
    checks.finite("weights", known)
    if (known < 0).any():
        checks.refuse("weights", "non-negative", known.min())
    total = known.sum(axis=-1, keepdims=True)
    if (total == 0).any():
        checks.refuse("weights", "not all zero", "a sum of 0")
    return jnp.asarray(known / total, cast.dtype)


def drawer(p: Float[Array, " n"]) -> Callable[[PRNGKeyArray, int], Int[Array, " b"]]:
    """A function (key, count) that draws indices i.i.d. from p, on the device.

    Inverse CDF, its table built once. In float32 a uniform has only 2²³ levels and a CDF near one a spacing
    of 6e-8; so outcomes are ordered from rare to frequent and the uniform is made of 32 random bits,
    which keeps rare ones at their rate. An outcome of probability 0 is never drawn.
    """
    order = jnp.argsort(p)
    cdf = jnp.cumsum(p[order])

    def draw(key: PRNGKeyArray, count: int) -> Int[Array, " b"]:
        place = jnp.searchsorted(cdf, uniforms(key, count, cdf.dtype) * cdf[-1], side="right")
        return order[jnp.minimum(place, cdf.shape[0] - 1)]

    return draw


def uniforms(key: PRNGKeyArray, count: int, dtype: Any) -> Float[Array, " b"]:
    """Uniform numbers, of 32 random bits in float32 too."""
    if dtype == jnp.float64:
        return jr.uniform(key, (count,), dtype)
    bits = jr.bits(key, (count,), jnp.uint32)
    return (bits.astype(dtype) + jnp.asarray(0.5, dtype)) * jnp.asarray(2.0**-32, dtype)


def below(key: PRNGKeyArray, shape: tuple[int, ...], size: int) -> Int[Array, "..."]:
    """Uniform on 0 … size − 1, right to 2⁻³²."""
    return (jr.bits(key, shape, jnp.uint32) % jnp.uint32(size)).astype(jnp.int32)


def digits(key: PRNGKeyArray, rows: int, count: int, size: int) -> Int[Array, "rows count"]:
    """Uniform on 0 … size − 1: digits of random words, each right to 2⁻¹⁴ of itself; several to a word."""
    each = max(1, int(18 / math.log2(size))) if size > 1 else max(count, 1)
    words, found = jr.bits(key, (rows, -(-count // each)), jnp.uint32), []
    for _ in range(each):
        found.append(words % jnp.uint32(size))
        words = words // jnp.uint32(size)
    return jnp.concatenate(found, axis=1)[:, :count].astype(jnp.int32)
