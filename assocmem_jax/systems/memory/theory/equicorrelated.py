"""Equicorrelated tokens with uniform p: oracle D. Not in GD; it contains its p₁ = p₂ case."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ....numerics.special import growth

Real = Float[Array, "..."]


def rate(alpha, rho=0.0, input_norm=1.0, output_norm=1.0) -> Real:
    """κ = (1−α)(1−ρ)‖e‖²‖u‖² for input cosine α and output cosine ρ."""
    return (1 - jnp.asarray(alpha)) * (1 - rho) * input_norm**2 * output_norm**2


def margin(t, n, kappa) -> Real:
    """N = M, f* = id, p = 1/N, W₀ = 0: e^m + (N−1) m = 1 + κ t for the flow, all margins equal."""
    return growth(jnp.asarray(kappa) * t, 1.0, n - 1.0)


def step(m, rate, n, kappa) -> Real:
    """One step of descent: m + ηκ/(e^m + N − 1)."""
    return m + rate * kappa / (jnp.exp(m) + n - 1)


def weight(m, kappa, inputs, outputs) -> Float[Array, "k d"]:
    """W = (m/κ) Σ_x (u_x − ū) e_xᵀ."""
    outputs = jnp.asarray(outputs)
    return m / kappa * (outputs - outputs.mean(axis=0)).T @ inputs


def binary_margin(t, n, c, alpha) -> Real:
    """Two classes of N/2 tokens each, opposite classes correlated like all others:
    e^m + m = 1 + c(1−α) t/N; N = 2 is GD's two tokens at p₁ = p₂ (c = ‖u₁−u₂‖²‖e‖²).
    """
    return growth(c * (1 - jnp.asarray(alpha)) * t / n)
