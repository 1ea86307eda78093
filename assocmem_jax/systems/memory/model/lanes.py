"""Flows of small memories, written out for many at once: lanes are the last axes of every array."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ....models.base import Lanes
from ....tasks.embeddings import written_out
from ..task import AssociationTask

# Past this many rows or columns a product of matrices is faster than sums of columns.
_SMALL = 8
# A product of so many multiplications is one loop, and a call no faster.
_TINY = 64


def turned(a: Array) -> Array:
    return jnp.swapaxes(a, 0, 1)


def product(a: Array, b: Array) -> Array:
    """ab of every lane. What all share (a last axis of 1) multiplies them as one matrix, unless it is tiny:
    XLA computes a product of sums again for each of its uses."""
    if a.ndim != 3 or b.ndim != 3 or a.shape[0] * a.shape[1] * b.shape[1] <= _TINY:
        return written_out(a, b)
    if a.shape[-1] == 1:
        return jnp.tensordot(a[..., 0], b, 1, precision=jax.lax.Precision.HIGHEST)
    if b.shape[-1] == 1:
        right = jnp.broadcast_to(b[..., 0].T, (len(a), *b.shape[1::-1]))
        return jnp.matmul(right, a, precision=jax.lax.Precision.HIGHEST)
    return written_out(a, b)


def slope(scores: Array, own: Array, weights: Array) -> Array:
    """p(x) (softmax(w_x) − 1{y}), with 1 − p_y as the sum of the others (GD (9)); shape (N, M, *lanes)."""
    e = jnp.exp(scores - jnp.max(scores, axis=1, keepdims=True))
    others = jnp.where(own, 0, e) * (weights / jnp.sum(e, axis=1))[:, None]
    return jnp.where(own, -jnp.sum(others, axis=1, keepdims=True), others)


def of_task(task: AssociationTask, *sizes: int) -> Any:
    """(answers, p(x), classes that can be answered), or None where no flow is written out."""
    if (
        task.soft
        or not task.token_loss.is_cross_entropy
        or max(*sizes, task.num_tokens, task.num_classes) > _SMALL
    ):
        return None
    own = jnp.arange(task.num_classes) == task.labels[:, None]
    return own, task.probabilities, task.possible


def _slope(scores: Array, common: Any) -> Array:
    own, weights, possible = common
    scores = scores if possible is None else jnp.where(possible[None], scores, -jnp.inf)
    return slope(scores, own, weights)


def of_weights(task: AssociationTask, weight: Array, made: Callable[[Array], Any]) -> Lanes | None:
    """W in orthonormal bases of the spans of U and E, where alone it moves: Z = QᵤᵀWQₑ, Ż = Yᵀ(−∂L/∂s)ᵀX."""
    spans = min(task.inputs.shape), min(task.outputs.shape)
    common = of_task(task, *spans)
    if common is None:
        return None
    (x, left), (y, right) = _span(task.inputs), _span(task.outputs)
    start = right.T @ weight @ left
    shape = start.shape

    def downhill(flat, data):
        common, x, y, *_ = data
        z = flat.reshape(*shape, *flat.shape[1:])
        slopes = _slope(product(product(x, turned(z)), turned(y)), common)
        return product(product(turned(y), turned(slopes)), x).reshape(flat.shape)

    def back(flat, data):
        _, _, _, left, right, start, weight = data
        return made(weight + right @ (flat.reshape(shape) - start) @ left.T)

    return Lanes(start.reshape(-1), (common, x, y, left, right, start, weight), downhill, back)


def _span(rows: Array) -> tuple[Array, Array]:
    """(the rows in an orthonormal basis of a space that holds them, the basis as columns)."""
    if rows.shape[1] <= rows.shape[0]:
        return rows, jnp.eye(rows.shape[1], dtype=rows.dtype)
    basis, coordinates = jnp.linalg.qr(rows.T)
    return coordinates.T, basis


def of_scores(
    task: AssociationTask, values: Array, alpha: Array, beta: Array, made: Callable[[Array], Any]
) -> Lanes | None:
    """GD (12): ẇ = −α p(softmax − 1{y}) β."""
    common = of_task(task)
    if common is None:
        return None
    shape = values.shape

    def downhill(flat, data):
        common, alpha, beta = data
        slopes = _slope(flat.reshape(*shape, *flat.shape[1:]), common)
        return product(product(alpha, slopes), beta).reshape(flat.shape)

    return Lanes(
        values.reshape(-1), (common, alpha, beta), downhill, lambda flat, _: made(flat.reshape(shape))
    )


def of_margins(
    task: AssociationTask, margins: Array, kernel: Array, made: Callable[[Array], Any]
) -> Lanes | None:
    """GD (17): ṁ = K (p ⊙ σ(−m))."""
    if of_task(task) is None:
        return None

    def downhill(margins, data):
        weights, kernel = data
        slopes = -weights / (1 + jnp.exp(margins))
        return product(kernel, slopes[:, None])[:, 0]

    return Lanes(margins, (task.probabilities, kernel), downhill, lambda margins, _: made(margins))
