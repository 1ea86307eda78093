"""Errors of several models on the same fresh sequences, a chunk at a time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import assocmem_jax as am

# Numbers of a chunk of contexts.
_CHUNK = 2**20


def laws(study, rank: int) -> dict:
    """The linear manifold, and the sphere with as much variance."""
    radius = (rank * study.variance) ** 0.5
    return {
        "linear": am.denoising.LinearManifold(study.dimension, rank, study.variance),
        "sphere": am.denoising.Sphere(study.dimension, rank, radius),
    }


def errors(task, models, key, sequences: int) -> np.ndarray:
    """‖F − x‖² of shape (models, sequences)."""
    size = max(1, min(sequences, _CHUNK // (task.length * task.dimension)))
    chunks = -(-sequences // size)

    found = _measured(task, models, jax.random.split(key, chunks), size)
    return np.asarray(found).transpose(1, 0, 2).reshape(len(models), -1)[:, :sequences]


@eqx.filter_jit
def _measured(task, models, keys, size: int):
    """One program for all values of the noise."""

    def chunk(key):
        batch = task.sample(key, size)
        return jnp.stack([task.errors(model, batch) for model in models])

    return jax.lax.map(chunk, keys)
