"""How far the induction head has formed, Birth section 5: losses, accuracy, recall probes, margins, maps."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .... import checks
from ....models import AbstractSequenceModel, HasHeads
from ....observe import observable
from ....tasks import cross_entropy
from ....tasks.losses import lead
from ..model import InductionTransformer, ablated
from ..task import BigramTask, Sequences

_OURS: Any = {"task": BigramTask, "model": InductionTransformer}


def _mean(values, weights):
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1)


@observable(units="nats", task=BigramTask)
def in_context_loss(task: BigramTask, model: AbstractSequenceModel) -> Float[Array, ""]:
    """Mean cross-entropy (nats) at triggers from their second occurrence on, over ``task.data``."""
    losses = cross_entropy(model.scores(task), task.data.targets)
    return _mean(losses, task.data.in_context)


@observable(units="nats", task=BigramTask)
def global_loss(task: BigramTask, model: AbstractSequenceModel) -> Float[Array, ""]:
    """Mean cross-entropy (nats) where z_t is no trigger, over ``task.data``."""
    losses = cross_entropy(model.scores(task), task.data.targets)
    return _mean(losses, task.data.occurrence == 0)


@observable(task=BigramTask)
def in_context_accuracy(task: BigramTask, model: AbstractSequenceModel) -> Float[Array, ""]:
    """Share of triggers, from their second occurrence on, whose output scores highest; a tie is wrong."""
    return _mean(task.margins(model) > 0, task.data.in_context)


def _followed(task, model, answers):
    """Share of predictions that are ``answers``, where a head and the bigrams say different things."""
    data = task.data
    told_apart = data.in_context & (data.targets != _likeliest(task))
    return _mean(lead(model.scores(task), answers) > 0, told_apart)


def _likeliest(task):
    return jnp.argmax(task.bigram, axis=1)[task.data.tokens]


@observable(task=BigramTask)
def follows_head(task: BigramTask, model: AbstractSequenceModel) -> Float[Array, ""]:
    """Share of predictions that are o_k, at triggers from their second occurrence on, over ``task.data``.

    Counted where o_k is not argmax π_b(·|z_t), the likeliest by the bigrams, of which ``follows_bigram`` is
    the share: elsewhere they say the same. What is left, 1 − both, is neither, or a tie.
    """
    return _followed(task, model, task.data.targets)


@observable(task=BigramTask)
def follows_bigram(task: BigramTask, model: AbstractSequenceModel) -> Float[Array, ""]:
    """Share of predictions that are argmax π_b(·|z_t), where o_k is another; see ``follows_head``."""
    return _followed(task, model, _likeliest(task))


@observable(("head",), units="nats", task=BigramTask, model=HasHeads)
def head_effects(task: BigramTask, model: Any, mean: bool = False) -> Float[Array, " heads"]:
    """In-context loss without a head minus that with it, head after head as in ``attention_maps``; nats.

    ``mean``: its attention is set to its mean over ``task.data``, not to zero. See ``ablated``.
    """
    tokens = task.data.tokens if checks.truth("mean", mean) else None
    without = [in_context_loss(task, ablated(model, head, tokens)) for head in range(model.num_heads)]
    return jnp.stack(without) - in_context_loss(task, model)


@observable(**_OURS)
def memory(
    task: BigramTask, model: InductionTransformer, name: str
) -> tuple[Float[Array, "m n"], Int[Array, " m"], Float[Array, " m"]]:
    """What a trained matrix is meant to store, Birth (7): (scores v_jᵀ W u_i, answers j(i), which i count).

    - ``"key1"``: rows queries p_t, t = 2 … T, columns keys p_s; the answer is s = t − 1. Read over keys, as
      the attention does and GD appendix D says; (9) to the letter would read over queries.
    - ``"key2"``: rows queries w_E(i), columns Φ₁w_E(j); those i count that can be a trigger.
    - ``"output2"``: rows W_V²w_E(i), columns w_U(j).
    """
    if checks.word("name", name, "key1", "key2", "output2") == "key1":
        if model.key1 is None:
            checks.refuse("model", "of two layers for the probe of W_K¹", "one layer")
        scores = model.positions[1:] @ model.key1 @ model.positions.T
        return scores, jnp.arange(scores.shape[0]), jnp.ones(scores.shape[0], scores.dtype)
    tokens, E = jnp.arange(task.num_tokens), model.embedding
    every = jnp.ones(task.num_tokens, E.dtype)
    if name == "key2":
        remapped = E @ model.phi1.T if model.key1 is not None else E
        return E @ model.key2 @ remapped.T, tokens, task.possible_triggers.astype(E.dtype)
    return E @ model.phi2.T @ model.unembedding.T, tokens, every


def _recall(task, model, name, until=None):
    scores, answers, counted = memory(task, model, name)
    if until is not None:
        scores, answers, counted = scores[: until - 1], answers[: until - 1], counted[: until - 1]
    return _mean(jnp.argmax(scores, axis=1) == answers, counted)


@observable(**_OURS)
def recall_key1(task: BigramTask, model: InductionTransformer) -> Float[Array, ""]:
    """R of W_K¹: share of positions t ≥ 2 whose largest score is at t − 1. Birth (9)."""
    return _recall(task, model, "key1")


@observable(**_OURS)
def recall_key1_early(task: BigramTask, model: InductionTransformer) -> Float[Array, ""]:
    """R of W_K¹ over positions t < 64 (or a quarter of T, where that is less)."""
    return _recall(task, model, "key1", min(64, max(3, task.length // 4)))


@observable(**_OURS)
def recall_key2(task: BigramTask, model: InductionTransformer) -> Float[Array, ""]:
    """R of W_K²: share of triggers (fixed ones; else all tokens that occur) that find their own remapping."""
    return _recall(task, model, "key2")


@observable(**_OURS)
def recall_output2(task: BigramTask, model: InductionTransformer) -> Float[Array, ""]:
    """R of W_O²: share of tokens whose remapping W_V²w_E is read out as the token."""
    return _recall(task, model, "output2")


@observable(("answer",), **_OURS)
def memory_margins(task: BigramTask, model: InductionTransformer, name: str) -> Float[Array, " m"]:
    """Score of the right answer minus the largest other, one a stored pair; see ``memory``."""
    scores, answers, _ = memory(task, model, name)
    return lead(scores, answers)


@observable(("position",), **_OURS)
def margins_key1(task: BigramTask, model: InductionTransformer) -> Float[Array, " t"]:
    """Margins of W_K¹, t = 2 … T: GD Figure 7 and appendix D."""
    return memory_margins(task, model, "key1")


@observable(("token",), **_OURS)
def margins_key2(task: BigramTask, model: InductionTransformer) -> Float[Array, " n"]:
    """Margins of W_K², one a token."""
    return memory_margins(task, model, "key2")


@observable(("token",), **_OURS)
def margins_output2(task: BigramTask, model: InductionTransformer) -> Float[Array, " n"]:
    """Margins of W_O², one a token."""
    return memory_margins(task, model, "output2")


@observable(units="nats", **_OURS)
def bigram_divergence(task: BigramTask, model: InductionTransformer) -> Float[Array, ""]:
    """(1/N) Σ_k KL(σ(W_U W_F w_E(k)) ‖ π_b(·|k)), Birth (10), nats: what W_F alone predicts.

    (10) is infinite where π_b(j|k) = 0, as it is for most pairs of characters; the divergence is taken the
    other way round, KL(π_b ‖ σ), which is finite and is what training on the bigrams makes small. Tokens that
    never occur (π_u = 0) are left out.
    """
    if model.feedforward is None:
        checks.refuse("model", "one with W_F", "none", "InductionTransformer.published(…, feedforward=True)")
    predicted = jax.nn.log_softmax(model.embedding @ model.feedforward.T @ model.unembedding.T, axis=1)
    law = task.bigram
    known = jnp.where(law > 0, jnp.log(jnp.where(law > 0, law, 1)), 0)
    return _mean(jnp.sum(law * (known - predicted), axis=1), task.unigram > 0)


@observable(**_OURS)
def one_step_recall(task: BigramTask, model: InductionTransformer, batch: Any = None) -> Float[Array, ""]:
    """R₁ of Birth appendix E (Figure 9): R of Σ_k w_U(k)(μ_k − μ)ᵀ against W_V²w_E, μ_k = E[x|y = k].

    x = (1/t) Σ_{s≤t} W_V²w_E(z_s), y = z_{t+1}, over triggers z_t after their first occurrence, of ``batch``
    (of ``task.data`` unless given).
    """
    batch = task.data if batch is None else batch
    if not isinstance(batch, Sequences):
        checks.refuse("batch", "Sequences, as of task.sample", checks.short(batch))
    remapped = model.embedding @ model.value2.T
    heard = jax.nn.one_hot(batch.tokens, task.num_tokens, dtype=remapped.dtype)
    bags = jnp.cumsum(heard, axis=1) / jnp.arange(1, task.length + 1)[:, None]
    weights = batch.in_context.astype(remapped.dtype)
    answers = jax.nn.one_hot(batch.targets, task.num_tokens, dtype=remapped.dtype) * weights[..., None]
    sums = jnp.einsum("ntk,ntj->kj", answers, bags)
    means = sums / jnp.maximum(jnp.sum(answers, axis=(0, 1)), 1)[:, None]
    overall = jnp.sum(sums, axis=0) / jnp.maximum(jnp.sum(weights), 1)
    scores = (means - overall) @ remapped @ remapped.T
    return jnp.mean((jnp.argmax(scores, axis=1) == jnp.arange(task.num_tokens)).astype(remapped.dtype))


@observable(("head", "query", "key"), task=BigramTask, model=AbstractSequenceModel)
def attention_maps(task: BigramTask, model: AbstractSequenceModel) -> Float[Array, "heads t t"]:
    """Attention weights on the first sequence of ``task.data``, layer after layer, head after head."""
    return model.attention(task.data.tokens[:1])[0]
