"""Factual recall: which half of the loss is left, what is answered, what is stored where."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...models import AbstractModel
from ...observe import observable
from ...tasks import cross_entropy
from ...tasks.losses import lead
from .model import FactualSystem, LinearAttentionRecall
from .task import FactualTask


@runtime_checkable
class HasTokenLogits(Protocol):
    """one with token_logits, what attending to a token adds to the logits; a reduced system holds none"""

    @property
    def token_logits(self) -> Float[Array, "v m"]: ...


_OURS: Any = {"task": FactualTask, "model": AbstractModel}


def _blocks(task: FactualTask, model: Any) -> tuple[Array, Array, Array]:
    """(scores (n, R, D), r, place of the answer in its block)."""
    scores = model.scores(task).reshape(-1, task.relations, task.answers)
    return scores, *jnp.divmod(task.data.answers, task.answers)


@observable(units="nats", **_OURS)
def relation_loss(task: FactualTask, model: Any) -> Float[Array, ""]:
    """−log of the probability of the block of the right relation."""
    scores, relation, _ = _blocks(task, model)
    return jnp.dot(task.weights, cross_entropy(jax.nn.logsumexp(scores, axis=2), relation))


@observable(units="nats", **_OURS)
def subject_loss(task: FactualTask, model: Any) -> Float[Array, ""]:
    """−log of the probability of the right answer given its block: the loss less ``relation_loss``."""
    scores, relation, place = _blocks(task, model)
    own = jnp.take_along_axis(scores, relation[:, None, None], axis=1)[:, 0]
    return jnp.dot(task.weights, cross_entropy(own, place))


@observable(**_OURS)
def accuracy(task: FactualTask, model: Any) -> Float[Array, ""]:
    """Probability that the right answer has the largest score (a tie has not): 1 − ``am.error``."""
    return 1 - task.error(model)


@observable(**_OURS)
def relation_accuracy(task: FactualTask, model: Any) -> Float[Array, ""]:
    """Probability that the largest score is in the right block."""
    scores, relation, _ = _blocks(task, model)
    right = lead(jnp.max(scores, axis=2), relation) > 0
    return jnp.dot(task.weights, jnp.where(right, 1.0, 0.0))


@observable(**_OURS)
def probability_right(task: FactualTask, model: Any) -> Float[Array, ""]:
    """Mean probability of the right answer: how often a model that draws its answers is right."""
    surprise = cross_entropy(model.scores(task), task.data.answers)
    return jnp.dot(task.weights, jnp.exp(-surprise))


@observable(task=FactualTask, model=HasTokenLogits)
def subject_recall(task: FactualTask, model: HasTokenLogits) -> Float[Array, ""]:
    """Share of facts that the value of the subject alone gets right within the block: argmax over A_r of
    (W_OV)_{a,s} is a*(s, r)."""
    rows = model.token_logits[: task.subjects].reshape(-1, task.relations, task.answers)
    right = lead(rows, task.facts % task.answers) > 0
    return jnp.mean(jnp.where(right, 1.0, 0.0), dtype=task.dtype)


@observable(task=FactualTask, model=HasTokenLogits)
def relation_recall(task: FactualTask, model: HasTokenLogits) -> Float[Array, ""]:
    """Share of relations whose value alone points to its block: every a in A_r above every other."""
    at = slice(task.subjects, task.subjects + task.relations)
    rows = model.token_logits[at].reshape(-1, task.relations, task.answers)
    own = jnp.eye(task.relations, dtype=bool)
    worst = jnp.min(jnp.where(own[..., None], rows, jnp.inf), axis=(1, 2))
    best = jnp.max(jnp.where(own[..., None], -jnp.inf, rows), axis=(1, 2))
    return jnp.mean(jnp.where(worst > best, 1.0, 0.0), dtype=task.dtype)


@observable(("token",), task=FactualTask, model=(LinearAttentionRecall, FactualSystem))
def balancedness(task: FactualTask, model: Any) -> Float[Array, " v"]:
    """v_z² − Σ_a A_{a,z}² of every token, which the flow conserves; a step of descent adds η²(v̇² − Σ_a Ȧ²).

    Of a reduced system: v_s² − R(1 − 1/D)x² and v_r² − D(1 − 1/R)y², the same less a constant.
    """
    if isinstance(model, FactualSystem):
        R, D = task.relations, task.answers
        gaps = R * (1 - 1 / D) * model.subject_gap**2, D * (1 - 1 / R) * model.relation_gap**2
        return jnp.stack([model.subject_attention**2, model.relation_attention**2]) - jnp.stack(gaps)
    return model.attention**2 - jnp.sum(model.table**2, axis=0)
