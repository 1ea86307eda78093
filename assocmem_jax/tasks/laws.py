"""Input laws p(x). An explicit law is just an array."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

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
    (exponent,) = checks.floats(exponent)
    checks.finite("exponent", exponent)
    # exp(−a log x), scaled by the largest term: no overflow for any exponent, and differentiable.
    logits = -exponent * jnp.log(jnp.arange(1, n + 1, dtype=exponent.dtype))
    weights = jnp.exp(logits - logits.max())
    return weights / weights.sum()


def imbalance(p1: Scalar) -> Float[Array, "2"]:
    """Two tokens: (p₁, 1 − p₁). GD (16) ff.; log(p₁/p₂) is their imbalance."""
    (p1,) = checks.floats(p1)
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
    slack = 8 * known.shape[-1] * float(jnp.finfo(p.dtype).eps)
    if np.abs(totals - 1).max() > slack:
        worst = float(np.atleast_1d(totals)[np.abs(np.atleast_1d(totals) - 1).argmax()])
        checks.refuse(what or name, "summing to one", f"{worst:.9g}", "divide by the sum")
