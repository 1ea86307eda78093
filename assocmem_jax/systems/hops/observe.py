"""How many hops are right, and how sure attention is of where they go."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...observe import observable
from .model import HopTransformer
from .task import Composes, HopTask


@observable(("level",), task=HopTask, model=Composes)
def hop_accuracy(task: HopTask, model: Composes) -> Float[Array, " levels"]:
    """Share of the tokens of ``data`` whose 1, 2, 4, …, k hops are right; a tie is wrong."""
    return jnp.mean(task.margins(model) > 0, axis=(0, 2, 3), dtype=task.dtype)


@observable(("layer",), task=HopTask, model=HopTransformer)
def least_weights(task: HopTask, model: HopTransformer) -> Float[Array, " levels"]:
    """Smallest attention weight, over ``data``, on the token where the right value is: (i, π_i x) in layer 1,
    (i + 2^{ℓ−1}, right value so far) in layer ℓ + 1."""
    k, n = task.hidden.shape
    first = jnp.broadcast_to(task.hidden, task.data.shape)[:, None]
    inputs = jnp.concatenate([first, task.answers(task.data)[:, :-1]], axis=1)
    found = []
    for level, (weights, _) in enumerate(model.layers(task.data)[: task.num_levels]):
        step = (jnp.arange(k) + (2 ** (level - 1) if level else 0)) % k
        goal = (step[:, None] * n + inputs[:, level]).reshape(len(task.data), k * n, 1)
        everywhere = jnp.broadcast_to(weights, (len(task.data), *weights.shape[1:]))
        found.append(jnp.min(jnp.take_along_axis(everywhere, goal, axis=2)))
    return jnp.stack(found)
