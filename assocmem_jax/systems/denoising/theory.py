"""Bayes errors of in-context denoising, and the best scaled identity at finite length.

Errors are sums over coordinates.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...numerics.special import bessel_ratio

Real = Float[Array, "..."]
# Equal steps under a Gaussian, and even in log s for a χ: both converge exponentially.
_NODES = np.linspace(-8.5, 8.5, 241)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
_SHARES = np.linspace(0, 1, 193)


def linear_bayes(rank, variance, noise) -> Real:
    """δ σ₀² σ_z²/(σ₀² + σ_z²)."""
    rank, variance, noise = _real(rank, variance, noise)
    return rank * variance * noise / (variance + noise)


def attention_scale(rank, variance, noise, length) -> Real:
    """c* = 1/((σ₀² + σ_z²)(1 + (δ + 1)/L)): the best W_PV W_KQ = cI of linear attention, at any L."""
    rank, variance, noise, length = _real(rank, variance, noise, length)
    return 1 / ((variance + noise) * (1 + (rank + 1) / length))


def attention_error(rank, variance, noise, length, scale=None) -> Real:
    """E‖cSx̃ − x‖² = δ(c²σ₀⁴(σ₀² + σ_z²)(1 + (δ + 1)/L) − 2cσ₀⁴ + σ₀²) of linear attention, exactly; at c*
    unless given: δσ₀²(1 − σ₀²c*).

    >>> am.theory.denoising.attention_error(8, 2.0, 1.0, 50)  # 6.96; Bayes 5.33
    """
    best = attention_scale(rank, variance, noise, length)
    c = best if scale is None else jnp.asarray(scale, float)
    rank, variance, noise, length = _real(rank, variance, noise, length)
    # 1/c* less σ₀²; with c* − c that is all of it, and nothing cancels.
    rest = noise + (variance + noise) * (rank + 1) / length
    missed = rest * best if scale is None else 1 - c * variance
    return rank * variance * (missed**2 + c**2 * variance * rest)


def attention_length(rank, variance, noise, excess) -> Real:
    """L at which the best linear attention is at (1 + ``excess``) times the Bayes error.

    (δ + 1)(σ₀²/(σ_z² ε) − 1), where that is positive: the error falls to Bayes like 1/L.
    """
    rank, variance, noise, excess = _real(rank, variance, noise, excess)
    return jnp.maximum((rank + 1) * (variance / (noise * excess) - 1), 0.0)


@jax.jit
def sphere_bayes(rank, radius, noise) -> Real:
    """R²(1 − E A²), A = I_{δ/2}(κ)/I_{δ/2−1}(κ), κ = R‖Px̃‖/σ_z²; one number each.

    ‖Px̃‖² = (R + σ_z z)² + σ_z² s², z normal and s a χ of δ − 1 degrees: quadrature over both.
    """
    rank, radius, noise = _real(rank, radius, noise)
    m = jnp.maximum(rank - 1, 1.0)
    low, high = -24 / m - 6 / jnp.sqrt(m), jnp.log1p(9 / jnp.sqrt(m))
    u = jnp.log(m) / 2 + low + (high - low) * jnp.asarray(_SHARES, float)
    weights = m * u - jnp.exp(2 * u) / 2
    weights = jnp.exp(weights - jnp.max(weights))
    s2 = jnp.where(rank > 1, jnp.exp(2 * u), 0.0)
    length = jnp.sqrt((radius + jnp.sqrt(noise) * jnp.asarray(_NODES, float)[:, None]) ** 2 + noise * s2)
    kappa = radius * length / noise
    ratio, slope = jax.jvp(lambda x: bessel_ratio(rank / 2 - 1, x), (kappa,), (jnp.ones_like(kappa),))
    # 1 − A² of A near 1, by its equation: A' = 1 − (δ − 1) A/κ − A².
    rest = slope + (rank - 1) * ratio / jnp.where(kappa > 0, kappa, 1)
    rest = jnp.where(kappa > 1, rest, 1 - ratio**2)
    mean = jnp.asarray(_WEIGHTS, float) @ rest @ weights / jnp.sum(weights)
    return radius**2 * jnp.maximum(mean, 0)


def _real(*numbers) -> list[Array]:
    return [jnp.asarray(x, float) for x in numbers]
