"""Coordinates of a memory in which a slow direction is computed as exactly as a fast one."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ....tasks.embeddings import product
from ..task import AssociationTask


class _Scores(eqx.Module):
    values: Float[Array, "n m"]

    def scores(self, task, tokens=None):
        return task.answerable(self.values if tokens is None else self.values[tokens])


def graded(
    task: AssociationTask,
    inputs: Float[Array, "n d"],
    outputs: Float[Array, "m k"],
    scores: Float[Array, "n m"],
) -> tuple[Float[Array, "d k"], Callable, Callable]:
    """(A, its −dA/dt, ΔA as ΔW) of a memory with these scores: scores = X A Yᵀ + what never moves.

    X and Y are the embeddings turned to the principal axes of Σ p e eᵀ and of the u (centred, under
    cross-entropy), every axis in a unit in which its largest entry is 1: A is of the size of the scores,
    dA/dt = −a² (Xᵀ ∂L/∂s Y) b² with the units a, b. Of two inputs 10⁻³ apart the difference is an axis:
    it moves at 10⁻⁶ of the rate with 10⁻⁶ of the rounding; W adds the two as 1 − 1. Axes on which there
    is nothing stay where they are.
    """
    p = jnp.maximum(task.probabilities, jnp.finfo(task.dtype).eps)
    possible = jnp.ones(len(outputs)) if task.possible is None else task.possible
    possible = possible.astype(outputs.dtype)
    # Under cross-entropy the slopes of a token sum to zero: only differences of outputs move.
    centre = product(possible[None] / possible.sum(), outputs) if task.token_loss.is_cross_entropy else 0
    centred = possible[:, None] * (outputs - centre)
    left, a, x = _axes(inputs, p)
    x, centred = jax.lax.optimization_barrier((x, centred))  # one after the other: see dynamics/stiff.py
    right, b, y = _axes(centred, possible)
    weigh = lambda x, w: w[:, None] * x / jnp.maximum(w @ x**2, jnp.finfo(x.dtype).tiny)  # noqa: E731
    start = jax.lax.stop_gradient(product(product(weigh(x, p).T, scores), weigh(y, possible)))
    fixed = scores - product(product(x, start), y.T)

    def loss(values):
        return task.loss(_Scores(fixed + product(product(x, values), y.T)))

    def downhill(values):
        return a[:, None] ** 2 * jax.grad(loss)(values) * b**2

    def moved(values):
        change = (values - start) / (a[:, None] * b)
        return product(product(right, change.T), left.T)

    return start, downhill, moved


def _axes(rows, weights):
    """(principal axes, one a column; their units; the rows on them in these units).

    All turns and units give the same flow: what is differentiated is the rows, on empty axes as well.
    """
    still = jax.lax.stop_gradient(jnp.sqrt(weights)[:, None] * rows)
    _, sizes, axes = jnp.linalg.svd(jnp.linalg.qr(still, mode="r"), full_matrices=True)
    level = max(rows.shape) * jnp.finfo(rows.dtype).eps * jnp.max(sizes, initial=0.0)
    held = jnp.zeros(len(axes), bool).at[: len(sizes)].set(sizes > level)
    turned = product(rows, axes.T)
    known = jax.lax.stop_gradient(turned)
    units = jnp.where(held, jnp.max(jnp.abs(known), axis=0, initial=0.0), 1)
    return axes.T, units, jnp.where(held, turned, turned - known) / units
