"""Errors of several models on the same fresh sequences, a chunk at a time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import assocmem_jax as am

from ..task import drawn

# Numbers of a chunk of contexts.
_CHUNK = 2**20


def laws(study, rank: int) -> dict:
    """The linear manifold, and the sphere with as much variance."""
    radius = (rank * study.variance) ** 0.5
    return {
        "linear": am.denoising.LinearManifold(study.dimension, rank, study.variance),
        "sphere": am.denoising.Sphere(study.dimension, rank, radius),
    }


def errors(law, length: int, noise: float, models, key, sequences: int) -> np.ndarray:
    """‖F − x‖² of shape (models, sequences)."""
    size = max(1, min(sequences, _CHUNK // (length * law.dimension)))
    keys = jax.random.split(key, -(-sequences // size))
    found = _measured(law, length, jnp.asarray(noise, float), models, keys, size)
    return np.asarray(found).transpose(1, 0, 2).reshape(len(models), -1)[:, :sequences]


@eqx.filter_jit
def _measured(law, length: int, noise, models, keys, size: int):
    """One program for all values of the noise."""

    def chunk(key):
        batch = drawn(law, noise, length, key, size)
        answers = [model.denoised(batch.contexts, batch.queries) for model in models]
        return jnp.sum((jnp.stack(answers) - batch.answers) ** 2, axis=2)

    return jax.lax.map(chunk, keys)
