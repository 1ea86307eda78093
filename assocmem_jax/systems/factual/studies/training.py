"""Transformers trained on facts, as the studies here do it."""

import jax
import optax

import assocmem_jax as am

from .storage_schemas import Training


def facts(training: Training, subjects: int, relations: int):
    """A function of a key: random facts, one text of each pair for the loss that is looked at."""

    def make(key):
        return am.FactualTask.random(
            subjects, relations, training.answers, key, noise=training.noise, length=training.length, draws=1
        )

    return make


def trained(training: Training, d: int, heads: int, head_width: int, mlp: int):
    """A function (task, key) → model: fresh batches, Adam, a rate that falls to 0 along a line."""
    rate = optax.linear_schedule(training.learning_rate, 0.0, training.steps)
    descent = am.Descent(optax.adam(rate), training.steps, training.batch)

    def build(task, key):
        keys = jax.random.split(key)
        start = am.FactualTransformer.gaussian(task, keys[0], d, heads, head_width, mlp)
        run = am.simulate(task, start, descent, observe={}, every=training.steps, key=keys[1], throw=False)
        return run.model

    return build
