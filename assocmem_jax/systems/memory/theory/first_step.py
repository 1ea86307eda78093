"""Any task at W = 0, under cross-entropy: oracle H."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def weight(rate, task) -> Float[Array, "k d"]:
    """W₁ = η Σ_x p(x) (ū*_x − ū) e_xᵀ, ū*_x the mean answer of x and ū that of all classes.

    With M classes the deduction is 1/M; Slides p. 12 prints 1/N, the case M = N (slides.38).
    """
    task.needs_cross_entropy("theory.first_step")
    targets, outputs = task.targets, task.outputs
    wanted = outputs[targets] if targets.ndim == 1 else targets @ outputs
    pull = (wanted - outputs.mean(axis=0)) * task.probabilities[:, None]
    return rate * pull.T @ task.inputs


def sharpness(probabilities, classes) -> Float[Array, ""]:
    """λ_max of the Hessian at W = 0 for orthonormal inputs and outputs: max p(x)/M."""
    return jnp.max(jnp.asarray(probabilities)) / classes
