"""One step of a memory whose inputs are noisy, Slides p. 18."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .... import checks


def noisy_step_recall(inputs, outputs, noise) -> Float[Array, ""]:
    """Recall over (y, t) of x = e_y + p_t after one population step from 0, W₁ ∝ Σ_k u_k (e_k − ē)ᵀ.

    - ``inputs``: E of shape (N, d); ``outputs``: U, (N, d'); ``noise``: p, (T, d). y and t are uniform. A tie
      is an error. In the mean over embeddings N(0, I/d): ``am.theory.noise.noisy_step_accuracy``.

        >>> E, U, P = (am.embeddings.gaussian(jax.random.key(k), n, 128) for k, n in enumerate((256, 256, 8)))
        >>> am.noise.noisy_step_recall(E, U, P)  # some .5
    """
    inputs, outputs, noise = checks.floats(inputs=inputs, outputs=outputs, noise=noise)
    for name, rows in {"inputs": inputs, "outputs": outputs, "noise": noise}.items():
        checks.shaped(name, rows, "a matrix, one row a token", 2)
    if len(inputs) != len(outputs) or len(inputs) < 2:
        checks.refuse("outputs", f"as many as inputs ({len(inputs)}), at least 2", len(outputs))
    if noise.shape[1:] != inputs.shape[1:] or not len(noise):
        checks.refuse("noise", f"of shape (T, {inputs.shape[1]})", noise.shape)
    back = outputs @ (outputs.T @ (inputs - jnp.mean(inputs, axis=0)))
    clean, extra = back @ inputs.T, back @ noise.T
    diagonal = jnp.eye(len(inputs), dtype=bool)

    def right(shift):
        scores = clean + shift[:, None]  # of every answer, for every token
        rivals = jnp.max(jnp.where(diagonal, -jnp.inf, scores), axis=0)
        return jnp.mean(jnp.where(jnp.diagonal(scores) > rivals, 1.0, 0.0), dtype=scores.dtype)

    return jnp.mean(jax.lax.map(right, extra.T))
