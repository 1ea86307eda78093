"""Contexts that the written transformer is wrong in at as large a β as can be found."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

import assocmem_jax as am

from ....tasks.losses import lead

# Halvings of [0, 16] in the search for the least β.
_HALVINGS = 32


def least(task, beta, contexts: Int[Array, "b k n"]) -> Float[Array, " b"]:
    """Least margin of each context, over its tokens and over 1, 2, 4, …, k hops."""
    model = am.HopTransformer.written(task, beta)
    return jnp.min(lead(model.holdings(contexts), task.answers(contexts)), axis=(1, 2, 3))


@eqx.filter_jit
def right_from(task, contexts: Int[Array, "b k n"]) -> Float[Array, ""]:
    """The β from which all answers in all of these contexts are right, by halving."""

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        right = jnp.all(least(task, middle, contexts) > 0)
        return jnp.where(right, low, middle), jnp.where(right, middle, high)

    return jax.lax.fori_loop(0, _HALVINGS, halve, (jnp.asarray(0.0), jnp.asarray(16.0)))[1]


@eqx.filter_jit
def worsened(task, beta, contexts: Int[Array, "b k n"], key: PRNGKeyArray, steps: int):
    """Each context after so many steps: two values of one permutation exchanged, or one made like another,
    kept where the least margin at this β falls."""
    count, k, n = contexts.shape
    own = jnp.arange(count)

    def step(state, key):
        now, margin = state
        keys = jr.split(key, 5)
        i, j = (jr.randint(one, (count,), 0, k) for one in keys[:2])
        x, y = (jr.randint(one, (count,), 0, n) for one in keys[2:4])
        swapped = now.at[own, i, x].set(now[own, i, y]).at[own, i, y].set(now[own, i, x])
        hop = jnp.take_along_axis(now, task.hidden[None], axis=2)  # alike in what a hop does
        back = jnp.argsort(task.hidden, axis=1)
        copied = now.at[own, i].set(jnp.take_along_axis(hop[own, j], back[i], axis=1))
        tried = jnp.where(jr.bernoulli(keys[4], 0.3, (count, 1, 1)), copied, swapped)
        found = least(task, beta, tried)
        better = found < margin
        return (jnp.where(better[:, None, None], tried, now), jnp.where(better, found, margin)), None

    start = contexts, least(task, beta, contexts)
    return jax.lax.scan(step, start, jr.split(key, steps))[0][0]


def worst(task, contexts: Int[Array, "b k n"], key: PRNGKeyArray, rounds: int, steps: int = 50):
    """The β from which the worst contexts found are right: each round climbs at the β of the last."""
    for one in jr.split(key, rounds):
        contexts = worsened(task, right_from(task, contexts), contexts, one, steps)
    return right_from(task, contexts)
