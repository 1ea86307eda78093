"""The answer of the context against the noise that is known globally."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ....models import AbstractSequenceModel
from ....observe import observable
from ....tasks import cross_entropy
from ..model import NoisyCopySystem
from ..task import BigramTask, NoisyCopyTask


def _mean(values, weights):
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1)


@observable(task=BigramTask)
def answer_accuracy(task: BigramTask, model: AbstractSequenceModel) -> Float[Array, ""]:
    """Share of a trigger's outputs that score highest, of those that followed it before in the sequence
    (``Sequences.answers``). Without noise it is ``in_context_accuracy``; a tie is wrong."""
    return _mean(task.margins(model) > 0, task.data.answers)


@observable(units="nats", task=BigramTask)
def answer_loss(task: BigramTask, model: AbstractSequenceModel) -> Float[Array, ""]:
    """Mean −log p(o_k), in nats, at the same places. What the law leaves of it is −log(1 − α)."""
    return _mean(cross_entropy(model.scores(task), task.data.targets), task.data.answers)


@observable(units="nats", task=BigramTask)
def noise_loss(task: BigramTask, model: AbstractSequenceModel) -> Float[Array, ""]:
    """Mean −log p(τ), in nats, where τ follows a trigger that was there before. What the law leaves: −log
    α."""
    at = task.data.in_context & (task.data.targets == task.noise_token)
    return _mean(cross_entropy(model.scores(task), task.data.targets), at)


@observable(task=NoisyCopyTask, model=NoisyCopySystem)
def answer_probability(task: NoisyCopyTask, model: NoisyCopySystem) -> Float[Array, ""]:
    """p of the answer; its limit is 1 − α."""
    return jnp.exp(task.log_probabilities(model)[1])


@observable(task=NoisyCopyTask, model=NoisyCopySystem)
def noise_probability(task: NoisyCopyTask, model: NoisyCopySystem) -> Float[Array, ""]:
    """p of τ; its limit is α."""
    return jnp.exp(task.log_probabilities(model)[0])
