"""The smallest task whose cross-entropy minimiser forgets a token it could keep: oracle G."""

import jax.numpy as jnp
from jaxtyping import Array, Float

# Along v = (u₁−u₂)ᵀW, signed inputs s_x e_x, d = M = 2, N = 3 (GD section 5.1 shows random cases).
SIGNED_INPUTS = ((1.0, 0.0), (-0.9, 0.19**0.5), (-0.9, -(0.19**0.5)))
PROBABILITIES = (0.4, 0.3, 0.3)
MINIMISER = (-0.31841507051236883, 0.0)
ERROR_AT_MINIMISER = 0.4
LEAST_ERROR = 0.3


def stationarity(v) -> Float[Array, "2"]:
    """Gradient of the loss in v, Σ_x p_x σ(−⟨v, s_x e_x⟩) s_x e_x: zero at the minimiser."""
    rows = jnp.asarray(SIGNED_INPUTS)
    weights = jnp.asarray(PROBABILITIES) / (1 + jnp.exp(rows @ jnp.asarray(v)))
    return weights @ rows
