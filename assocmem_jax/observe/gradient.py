"""Gradients of the loss, and norms."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from .. import checks
from ..models import AbstractModel
from ..models.base import HasSlope
from ..numerics.edges import tree_norm
from ..tasks import AbstractTask


def trainable_mask(model: AbstractModel, where: Callable | None = None) -> AbstractModel:
    """The model with True on trained leaves, False elsewhere; ``where`` narrows the choice."""
    chosen = where if where is not None else type(model).trainable
    frozen = jax.tree.map(lambda _: False, model)
    return replaced("trainable", chosen, frozen, lambda _: True)


def replaced(argument: str, where: Callable, tree: Any, by: Callable, **options: Any) -> Any:
    """``eqx.tree_at``; refused is a ``where`` that does not pick leaves of the model."""
    try:
        return eqx.tree_at(where, tree, replace_fn=by, **options)
    except Exception as fault:
        if getattr(fault, "refused", False):
            raise
        said = str(fault) if isinstance(fault, AttributeError) else "one that does not"
        checks.refuse(
            argument, "a function of the model that picks leaves of it as they are", said,
            "such as lambda m: m.weight",
        )  # fmt: skip


@checks.takes(task=AbstractTask, model=AbstractModel)
def gradient(task: AbstractTask, model: AbstractModel) -> AbstractModel:
    """∂L/∂(coordinates) by autodiff, shaped as the model, ``None`` on frozen leaves."""
    trained, frozen = eqx.partition(model, trainable_mask(model))
    return jax.grad(lambda part: task.loss(eqx.combine(part, frozen)))(trained)


def gradient_norm(task: AbstractTask, model: AbstractModel) -> Float[Array, ""]:
    """‖∂L/∂(coordinates)‖ (Frobenius); for a memory, ‖∇L(W)‖."""
    return tree_norm(gradient(task, model))


def population_gradient(
    task: AbstractTask, combine: Callable[[Any], AbstractModel], part: Any
) -> tuple[Float[Array, ""], Any]:
    """(L, ∂L/∂(trained part)) of ``combine(part)``: closed forms where the model has them, else autodiff."""
    model = combine(part)
    held = jax.tree.map(lambda leaf: leaf is not None, part, is_leaf=lambda leaf: leaf is None)
    if isinstance(model, HasSlope) and eqx.tree_equal(held, trainable_mask(model)):
        return task.loss(model), eqx.filter(model.slope(task), held)
    return jax.value_and_grad(lambda part: task.loss(combine(part)))(part)
