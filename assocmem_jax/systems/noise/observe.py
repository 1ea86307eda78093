"""How often attention finds the trigger, and how often the answer is right, over all sequences exactly."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import checks
from ...observe import observable
from ...tasks.losses import lead
from .model import TriggerAttention
from .task import TriggerTask


@observable(task=TriggerTask, model=TriggerAttention)
def attention_right(task: TriggerTask, model: TriggerAttention) -> Float[Array, ""]:
    """P(the trigger has the largest score), over all sequences; a tie is not right.

    (1/N) Σ_z F(e_zᵀw + τᵀw)^{T−1}, F(s) the share of tokens with a score below s: T − 1 others are drawn.
    """
    _, mass, found = _rivals(task, model)
    return jnp.mean(jnp.sum(jnp.where(found, mass, 0), axis=1))


@observable(task=TriggerTask, model=TriggerAttention)
def accuracy(task: TriggerTask, model: TriggerAttention) -> Float[Array, ""]:
    """P(the right answer has the largest logit), over all sequences, of saturated attention: a sum over the
    token that bears the trigger and the largest of the others. Where attention is wrong, the answer may yet
    be right. A tie is an error."""
    if not model.saturated:
        checks.refuse("model", "of saturated attention", "one of finite beta", "1 - am.error(task, model)")
    order, mass, found = _rivals(task, model)
    plain, gain = task.outputs @ model.value @ task.inputs.T, task.outputs @ model.value @ task.trigger
    told = lead((plain + gain[:, None]).T, task.targets) > 0
    top = plain == jnp.max(plain, axis=0)
    lucky = (top & (jnp.sum(top, axis=0) == 1))[:, order][task.targets]
    return jnp.mean(jnp.sum(jnp.where(jnp.where(found, told[:, None], lucky), mass, 0), axis=1))


def _rivals(task: TriggerTask, model: TriggerAttention) -> tuple[Array, Array, Array]:
    """(tokens by score; P(the r-th is the largest of T − 1); whether z with the trigger is above it)."""
    scores = task.inputs @ model.key
    order = jnp.argsort(scores)
    N = len(scores)
    share = jnp.arange(N + 1, dtype=scores.dtype) / N
    mass = jnp.diff(share ** (task.length - 1))
    return order, mass, scores[order] < (scores + task.trigger @ model.key)[:, None]
