"""Gradients of the loss, and norms."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ..models import AbstractModel
from ..tasks import AssociationTask
from ..tasks.association import score_gradient
from .quality import weights


def trainable_mask(model: AbstractModel, where: Callable | None = None) -> AbstractModel:
    """The model with True on trained leaves, False elsewhere; ``where`` narrows the choice."""
    chosen = where if where is not None else type(model).trainable
    frozen = jax.tree.map(lambda _: False, model)
    return eqx.tree_at(chosen, frozen, replace_fn=lambda _: True)


def gradient(task: AssociationTask, model: AbstractModel) -> AbstractModel:
    """∂L/∂(coordinates) by autodiff, shaped as the model, ``None`` on frozen leaves."""
    trained, frozen = eqx.partition(model, trainable_mask(model))
    return jax.grad(lambda part: task.loss(eqx.combine(part, frozen)))(trained)


def weight_gradient(task: AssociationTask, model: AbstractModel) -> Float[Array, "k d"]:
    """∇L(W) of a linear memory in closed form, GD (9) and Birth (5): Uᵀ D E.

    D_zx = p(x) (p_W(z|x) − p(z|x)). For layer norm (Birth (38)), use ``gradient``.
    """
    pull = task.probabilities[:, None] * score_gradient(model.scores(task), task.targets)
    return task.outputs.T @ pull.T @ task.inputs


def gradient_norm(task: AssociationTask, model: AbstractModel) -> Float[Array, ""]:
    """‖∂L/∂(coordinates)‖ (Frobenius); for a memory, ‖∇L(W)‖."""
    return optax.tree.norm(gradient(task, model))


def weight_norm(task: AssociationTask, model: AbstractModel) -> Float[Array, ""]:
    """‖W‖ (Frobenius)."""
    return jnp.linalg.norm(weights(task, model))
