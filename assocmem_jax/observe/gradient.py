"""Gradients of the loss, and norms."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Float

from .. import checks
from ..models import AbstractModel
from ..numerics.edges import tree_norm
from ..tasks import AbstractTask


def trainable_mask(model: AbstractModel, where: Callable | None = None) -> AbstractModel:
    """The model with True on trained leaves, False elsewhere; ``where`` narrows the choice."""
    chosen = where if where is not None else type(model).trainable
    frozen = jax.tree.map(lambda _: False, model)
    return eqx.tree_at(chosen, frozen, replace_fn=lambda _: True)


@checks.takes(task=AbstractTask, model=AbstractModel)
def gradient(task: AbstractTask, model: AbstractModel) -> AbstractModel:
    """∂L/∂(coordinates) by autodiff, shaped as the model, ``None`` on frozen leaves."""
    trained, frozen = eqx.partition(model, trainable_mask(model))
    return jax.grad(lambda part: task.loss(eqx.combine(part, frozen)))(trained)


def gradient_norm(task: AbstractTask, model: AbstractModel) -> Float[Array, ""]:
    """‖∂L/∂(coordinates)‖ (Frobenius); for a memory, ‖∇L(W)‖."""
    return tree_norm(gradient(task, model))
