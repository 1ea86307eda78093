"""The Hessian of the loss in the trained leaves, and its largest eigenvalue, the sharpness."""

from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .. import checks
from ..checks import Scalar
from ..models import AbstractModel
from ..numerics.lanczos import lanczos_top
from ..tasks import AbstractTask
from .gradient import trainable_mask


@runtime_checkable
class KnowsHessian(Protocol):
    """A model that has V ↦ ∇²L[V] in closed form: V and the result are shaped as its trained leaves."""

    def hessian_product(self, task: Any) -> Callable: ...


@runtime_checkable
class KnowsCurvature(Protocol):
    """A model that finds λ_max(∇²L) in W by means of its own."""

    def top_curvature(self, task: Any) -> Array: ...


@runtime_checkable
class KnowsResidual(Protocol):
    """A model that says how far the direction at which it finds λ_max is from an eigenvector."""

    def curvature_residual(self, task: Any) -> Array: ...


@checks.takes(task=AbstractTask, model=AbstractModel)
def hessian_operator(task: AbstractTask, model: AbstractModel) -> Callable:
    """V ↦ ∇²L[V], on the trained leaves, at the cost of a few gradients.

    In closed form where the model has one (``hessian_product``, as linear memories do), else by forward
    over reverse differentiation.
    """
    if isinstance(model, KnowsHessian):
        return model.hessian_product(task)
    trained, frozen = eqx.partition(model, trainable_mask(model))
    slope = jax.grad(lambda part: task.loss(eqx.combine(part, frozen)))
    return lambda direction: jax.jvp(slope, (trained,), (direction,))[1]


@checks.takes(task=AbstractTask, model=AbstractModel)
def sharpness(task: AbstractTask, model: AbstractModel) -> Float[Array, ""]:
    """λ_max of ∇²L in W: GD section 5.1. Descent is stable iff η < 2/λ (docs/theory.md: gd.25).

    A model may find it by means of its own (``top_curvature``: linear memories and their particle and margin
    systems do); for any other it is guarded Lanczos on ``hessian_operator``. Differentiable
    (Hellmann–Feynman) where λ_max is simple.
    """
    if isinstance(model, KnowsCurvature):
        return model.top_curvature(task)
    _needs_weights(model, "top_curvature")
    fixed_task, fixed = jax.lax.stop_gradient(task), cast(Any, jax.lax.stop_gradient(model))
    trained = eqx.filter(model, trainable_mask(model))
    flat, unravel = ravel_pytree(trained)
    product = hessian_operator(fixed_task, fixed)
    v = lanczos_top(lambda v: ravel_pytree(product(unravel(v)))[0], flat.size, flat.dtype).vector
    return jnp.dot(v, ravel_pytree(hessian_operator(task, model)(unravel(v)))[0])


@checks.takes(task=AbstractTask, model=AbstractModel)
def sharpness_residual(task: AbstractTask, model: AbstractModel) -> Float[Array, ""]:
    """‖∇²L[v] − λv‖ / |λ| of the unit direction v in W at which ``sharpness`` finds λ; 0 where λ is.

    It bounds the relative distance of λ from the nearest eigenvalue; λ itself is off by its square over the
    relative gap. A model may know it (``curvature_residual``); for any other it is that of Lanczos. It has no
    derivative. Example: ``observe=[am.sharpness, am.sharpness_residual]``.
    """
    task, model = jax.lax.stop_gradient((task, model))
    if isinstance(model, KnowsResidual):
        return model.curvature_residual(task)
    _needs_weights(model, "curvature_residual")
    if isinstance(model, KnowsCurvature):
        checks.refuse("model", "one with curvature_residual beside top_curvature", type(model).__name__)
    flat, unravel = ravel_pytree(eqx.filter(model, trainable_mask(model)))
    product = hessian_operator(task, model)
    top = lanczos_top(lambda v: ravel_pytree(product(unravel(v)))[0], flat.size, flat.dtype)
    size = jnp.abs(top.value)
    return top.residual / jnp.where(size > 0, size, 1)


def _needs_weights(model: AbstractModel, method: str) -> None:
    if not model.weight_space:
        checks.refuse("model", f"one whose coordinates are weights, or with {method}", type(model).__name__)


def edge_of_stability(learning_rate: Scalar) -> Callable:
    """The observable ηλ/2: above one, descent of rate η leaves any minimiser (docs/theory.md: gd.25)."""
    checks.positive("learning_rate", learning_rate)
    return eqx.Partial(_edge, learning_rate)


def _edge(learning_rate, task: AbstractTask, model: AbstractModel) -> Float[Array, ""]:
    return learning_rate * sharpness(task, model) / 2
