"""What is found by differentiating through the training: the best of many starts."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def best(objective: Callable, starts: Float[Array, "starts ..."], rate: float, along: Float[Array, " steps"]):
    """(x, margin): Adam from each start, a step for each entry of ``along``; ``objective(x, entry)`` is (what
    is lowered, the margin). Kept: the largest margin met, not the last; no step where anything is not finite.
    """
    adam = optax.adam(rate)

    def descend(x):
        def step(state, entry):
            x, inner, best = state
            (value, margin), slope = jax.value_and_grad(objective, has_aux=True)(x, entry)
            sound = jnp.isfinite(value) & jnp.all(jnp.isfinite(slope))
            better = sound & (margin > best[1])
            best = jax.tree.map(lambda new, old: jnp.where(better, new, old), (x, margin), best)
            updates, inner = adam.update(jnp.where(sound, slope, 0.0), inner)
            return (x + updates, inner, best), None

        start = (x, adam.init(x), (x, jnp.asarray(-jnp.inf)))
        return jax.lax.scan(step, start, along)[0][2]

    x, margin = jax.vmap(descend)(starts)
    top = jnp.argmax(margin)
    return x[top], margin[top]
