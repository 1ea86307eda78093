"""What n samples of a Zipf law teach a memory that never forgets (Hutter 2021; Slides p. 31)."""

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Real = Float[Array, "..."]


def hutter(probabilities: Float[Array, " n"], samples) -> Real:
    """Expected mass of tokens not seen in n samples, Σ_x p(x)(1 − p(x))^n: the error of a perfect memory."""
    n = jnp.asarray(samples, probabilities.dtype)[..., None]
    p = probabilities
    return jnp.sum(p * jnp.where(p < 1, jnp.exp(n * jnp.log1p(-jnp.where(p < 1, p, 0))), n == 0), axis=-1)


def zeta(exponent) -> Real:
    """Riemann ζ(α), α > 1."""
    return jax.scipy.special.zeta(jnp.asarray(exponent, float), 1.0)


def hutter_limit(exponent, samples) -> Real:
    """The same for n → ∞ and infinitely many tokens, p ∝ x^{−α}: Γ(1−1/α)/α · ζ(α)^{−1/α} · n^{−(α−1)/α}."""
    a, n = jnp.asarray(exponent, float), jnp.asarray(samples, float)
    constant = jnp.exp(jax.scipy.special.gammaln(1 - 1 / a)) / a * zeta(a) ** (-1 / a)
    return constant * n ** (-(a - 1) / a)


def unstored(probabilities: Float[Array, " n"], kept) -> Real:
    """Mass of all but the ``kept`` most frequent tokens: the least error of a memory with that much room."""
    if not isinstance(kept, jax.core.Tracer) and np.min(kept) < 0:
        raise ValueError(f"kept must be at least 0, got {np.min(kept)}")
    rising = jnp.sort(probabilities)
    total = jnp.concatenate([jnp.zeros(1, rising.dtype), jnp.cumsum(rising)])
    return total[jnp.maximum(len(probabilities) - jnp.asarray(kept, int), 0)]


# d exponents of Slides p. 33, for Zipf exponent α: error ≲ d^{−a}.
def frequency_exponent(exponent) -> Real:
    """(α−1)/2α: q = counts or p, (1)."""
    a = jnp.asarray(exponent, float)
    return (a - 1) / (2 * a)


def threshold_exponent(exponent) -> Real:
    """α − 1: the most frequent tokens alike, (3)."""
    return jnp.asarray(exponent, float) - 1


def sample_exponent(exponent) -> Real:
    """(α−1)/α: in the number of samples, all schemes (Hutter)."""
    a = jnp.asarray(exponent, float)
    return (a - 1) / a


def learned(rates, classes: int) -> Float[Array, " n"]:
    """Limit of descent on one orthogonal token: q ← q + γ_x/(1 + e^q/m) (Slides p. 34 and its experiment),
    m = M − 1 rivals: after every entry of ``rates`` (γ of each step, leading axis)."""
    rates = jnp.asarray(rates, float)
    step = lambda q, g: (q + g / (1 + jnp.exp(q) / (classes - 1)), None)  # noqa: E731
    return jax.lax.scan(step, jnp.zeros(rates.shape[1:], rates.dtype), rates)[0]
