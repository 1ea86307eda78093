"""Three gradient steps, each of one matrix: Slides p. 29–30, Birth section 6 with noise."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .... import checks
from ..task import Sequences, TriggerTask, marked
from .attention import TriggerAttention


class ThreeSteps(eqx.Module):
    """What three steps made: ``first`` W₁, ``key`` w, ``value`` W₃; and how: n ``sequences`` in each,
    ``fresh`` ones or the same, ``centred`` by the answers of the batch or by 1/M."""

    first: Float[Array, "k d"]
    key: Float[Array, " d"]
    value: Float[Array, "k d"]
    sequences: int = eqx.field(static=True)
    fresh: bool = eqx.field(static=True)
    centred: bool = eqx.field(static=True)

    @property
    def model(self) -> TriggerAttention:
        """Saturated attention by w, answers by W₃."""
        return TriggerAttention(self.key, self.value, saturated=True)


@checks.takes(task=TriggerTask, key=checks.KEY)
def three_steps(
    task: TriggerTask, key: PRNGKeyArray, sequences: int, *, fresh: bool = False, centred: bool = False
) -> ThreeSteps:
    """Values, then the key, then values again, each by the gradient where all answers are equally likely:

        W₁ = (1/n) Σ_i (u_{y_i} − ū) x̄_iᵀ            attention uniform, x̄ the mean of x_t
        w = (1/n) Σ_i (1/T) Σ_t s_it (x_it − x̄_i),  s_it = (u_{y_i} − ū)ᵀ W₁ x_it
        W₃ = (1/n) Σ_i (u_{y_i} − ū) x_{i,t̂}ᵀ         t̂ = argmax_t x_itᵀ w

    - ``sequences``: n of each step. ``fresh``: each step has its own; else all have the same.
    - ``centred``: ū is the mean over the batch's answers, which a bias learns before anything else; else
      over all M answers (p̂ = 1/M, the Slides').

        >>> task = am.TriggerTask.gaussian(256, 128, jax.random.key(0), length=32)
        >>> made = am.noise.three_steps(task, jax.random.key(1), 1024)
        >>> am.noise.attention_right(task, made.model)  # 1.0

    w is in units of η₁ (the learning rate of step 1), and W₃ forgets W₁, which is 1/T as large. All that is
    needed is how often a token and an answer meet: products of N × N, and n T numbers looked up three times.
    """
    n = checks.count("sequences", sequences)
    draw, fresh = task.sampler(n), checks.truth("fresh", fresh)
    batches = [draw(k) for k in jr.split(key, 3)] if fresh else [draw(key)]
    return three_steps_on(task, batches, centred=centred)


@checks.takes(task=TriggerTask)
def three_steps_on(task: TriggerTask, batches: Sequence[Any], *, centred: bool = False) -> ThreeSteps:
    """``three_steps`` on sequences of one's own: three batches, one a step, or one for all."""
    batches = checks.listed("batches", batches, "one or three Sequences")
    if len(batches) not in (1, 3) or not all(isinstance(batch, Sequences) for batch in batches):
        checks.refuse("batches", "one or three Sequences", checks.short(batches))
    return _taught(task, list(batches), checks.truth("centred", centred))


@eqx.filter_jit
def _taught(task: TriggerTask, batches: list[Sequences], centred: bool) -> ThreeSteps:
    fresh, one, two, three = len(batches) == 3, batches[0], batches[len(batches) // 2], batches[-1]
    counts, answered = _met(task, one), _answered(task, one)
    first = _values(task, counts, answered, answered, one.tokens.size, centred)
    w = _key(task, two, _met(task, two) if fresh else counts, first, centred)
    right, chosen = _attended(task, w, three)
    n = len(three.answers)
    counts = jnp.zeros((task.num_answers, task.num_tokens), task.dtype).at[three.answers, chosen].add(1)
    found = jnp.zeros(task.num_answers, task.dtype).at[three.answers].add(right.astype(task.dtype))
    value = _values(task, counts, found, _answered(task, three), n, centred)
    return ThreeSteps(first, w, value, n, fresh, centred)


@checks.takes(task=TriggerTask)
def population_key(task: TriggerTask) -> Float[Array, " d"]:
    """w as n → ∞, for f* a bijection: (1 − 1/T)/(N T²) times

        (1/N) Σ_{y,y'} (u_y − ū)ᵀ(u_y' − ū) · (e_y − ē + τ)(e_y − ē + τ)ᵀ(e_y' − ē)

    What else stands in a sequence is the same for every answer, and Σ_y (u_y − ū) = 0.
    """
    N, T = task.num_tokens, task.length
    known = checks.concrete(task.targets)
    if known and not np.array_equal(np.sort(task.targets), np.arange(task.num_answers)):
        checks.refuse("task", "of one token for each answer", "others")
    U = (task.outputs - jnp.mean(task.outputs, axis=0))[task.targets]
    E = task.inputs - jnp.mean(task.inputs, axis=0)
    rows = E + task.trigger
    weights = jnp.sum(rows * (U @ (U.T @ E)), axis=1)
    return (1 - 1 / T) / (N * T) ** 2 * weights @ rows


def _met(task: TriggerTask, batch: Sequences) -> Float[Array, "m n"]:
    """How often each token is in a sequence of each answer."""
    N = task.num_tokens
    cells = (batch.answers[:, None] * N + batch.tokens).reshape(-1)
    counts = jnp.zeros(task.num_answers * N, jnp.int32).at[cells].add(1, mode="promise_in_bounds")
    return counts.reshape(-1, N).astype(task.dtype)


def _answered(task: TriggerTask, batch: Sequences) -> Float[Array, " m"]:
    return jnp.zeros(task.num_answers, task.dtype).at[batch.answers].add(1)


def _outputs(task: TriggerTask, answered, centred: bool) -> Float[Array, "m k"]:
    """u_y − ū."""
    weights = answered if centred else jnp.ones_like(answered)
    return task.outputs - weights @ task.outputs / jnp.sum(weights)


def _values(task, counts, triggers, answered, total: int, centred: bool) -> Float[Array, "k d"]:
    """(1/total) Σ (u_y − ū)(Σ_z counts[y, z] e_z + triggers[y] τ)ᵀ."""
    U = _outputs(task, answered, centred)
    return U.T @ (counts @ task.inputs + triggers[:, None] * task.trigger) / total


def _key(task: TriggerTask, batch: Sequences, counts, first, centred: bool) -> Float[Array, " d"]:
    """Σ_t s_t (x_t − x̄) = Σ_t (s_t − s̄) x_t: how much of each e_z, and of τ."""
    z, N = batch.tokens, task.num_tokens
    own = marked(z, batch.places)
    back = _outputs(task, _answered(task, batch), centred) @ first
    table, trigger = back @ task.inputs.T, (back @ task.trigger)[batch.answers]
    cells = batch.answers[:, None] * N + z
    scores = table.reshape(-1).at[cells].get(mode="promise_in_bounds")
    mean = (jnp.sum(scores, axis=1) + trigger) / z.shape[1]
    of_tokens = jnp.sum(counts * table, axis=0).at[own].add(trigger)
    of_tokens = of_tokens.at[z].add(-mean[:, None], mode="promise_in_bounds")
    of_trigger = jnp.sum(table[batch.answers, own] + trigger - mean)
    return (of_tokens @ task.inputs + of_trigger * task.trigger) / z.size


def _attended(task: TriggerTask, w, batch: Sequences) -> tuple[Array, Int[Array, " n"]]:
    """(whether the trigger has the largest score, the token that has it). A tie is not right."""
    scores, gain = task.inputs @ w, task.trigger @ w
    order = jnp.argsort(scores)
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
    bears = jnp.arange(batch.tokens.shape[1]) == batch.places[:, None]
    best = jnp.max(jnp.where(bears, -1, rank.at[batch.tokens].get(mode="promise_in_bounds")), axis=1)
    own, other = marked(batch.tokens, batch.places), order[best]
    right = scores[own] + gain > scores[other]
    return right, jnp.where(right, own, other)
