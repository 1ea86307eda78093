"""Small transformers and samples that the statements are about, drawn and in NumPy."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .. import theory
from ..model import CooccurrenceTransformer
from ..task import CooccurrenceTask

SMALL = {"n": 5, "length": 4, "d": 6, "m": 3, "m1": 4}


class Draw(NamedTuple):
    W: Any
    V: Any
    K: Any
    Q: Any
    a: Any
    tokens: Any
    y: Any

    @property
    def weights(self) -> theory.Weights:
        return theory.Weights(self.W, self.V, self.K, self.Q)


def problem(seed, twice, n, length, d, m, m1) -> Draw:
    """Random weights of norm about one; tokens that repeat within a sample where ``twice``, else distinct."""
    keys = jr.split(jr.key(seed), 7)
    free = jr.randint(keys[5], (n, length), 0, d)
    free = free.at[:, 1].set(free[:, 0])  # at least one repetition
    apart = jax.vmap(lambda key: jr.permutation(key, d)[:length])(jr.split(keys[5], n))
    V, K, Q = (jr.normal(key, (m, d)) for key in keys[1:4])
    a, y = (jr.rademacher(key, (size,), float) for key, size in ((keys[4], m1), (keys[6], n)))
    return Draw(jr.normal(keys[0], (m1, m)), V, K, Q, a, jnp.where(twice == 1, free, apart), y)


def plain_problem(*arguments) -> Draw:
    return Draw(*(np.asarray(part) for part in problem(*arguments)))


def built(draw: Draw, d: int):
    task = CooccurrenceTask(draw.tokens, draw.y, d)
    return task, transformer(draw.weights, draw.a), task.one_hot


def transformer(weights: theory.Weights, a) -> CooccurrenceTransformer:
    return CooccurrenceTransformer(weights.W, weights.V, weights.K, weights.Q, a)


def loss_slope(task: CooccurrenceTask, draw: Draw) -> theory.Weights:
    """∇L by autodiff."""
    return jax.grad(lambda weights: task.loss(transformer(weights, draw.a)))(draw.weights)
