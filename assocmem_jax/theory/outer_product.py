"""Memories that are written, not trained: W = Σ_x u_{f(x)} e_xᵀ (Slides p. 6–9; oracle I)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Real = Float[Array, "..."]


def variance(tokens, same, d, right, gaussian: bool = True) -> Real:
    """Var of γ = u_yᵀ W e_z, where ``same`` of the ``tokens`` have answer y.

    ``right``: whether y = f(z). With k = 2/d for Gaussian embeddings of variance 1/d and k = 0 on the
    sphere: right: (1+k)² − 1 + (n_y−1)(1+k)/d + (N−n_y)/d²; wrong: (1+k)/d + n_y(1+k)/d + (N−1−n_y)/d².
    Slides p. 6 prints n_y/d + (N−n_y)/d², which misses the 1/d of a wrong y (slides.37).
    """
    k = 2 / jnp.asarray(d) if gaussian else 0.0
    own = (1 + k) ** 2 - 1 + (same - 1) * (1 + k) / d + (tokens - same) / d**2
    other = (1 + k) / d + same * (1 + k) / d + (tokens - 1 - same) / d**2
    return jnp.where(right, own, other)


def binary_recall(tokens, d) -> Real:
    """P(token recalled) with two classes and unit inputs: Φ(√(d/(N−1))), up to Berry–Esseen."""
    return jax.scipy.stats.norm.cdf(jnp.sqrt(d / (tokens - 1.0)))
