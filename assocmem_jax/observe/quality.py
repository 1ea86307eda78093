"""What any model is measured by: loss, and, where answers are right or wrong, margins and error."""

from typing import Any

from jaxtyping import Array, Float

from ..models import AbstractModel
from ..tasks import AbstractClassificationTask, AbstractTask
from .observable import observable


def _loss_units(task: Any) -> str:
    return getattr(task, "loss_units", "1")


@observable(units=_loss_units, task=AbstractTask, model=AbstractModel)
def loss(task: AbstractTask, model: AbstractModel) -> Float[Array, ""]:
    """The loss of the task: for associations population cross-entropy L(W) in nats, GD (2)–(3), or the loss
    that the task was given."""
    return task.loss(model)


@observable(("token",), task=AbstractClassificationTask, model=AbstractModel)
def margins(task: AbstractClassificationTask, model: AbstractModel) -> Float[Array, " n"]:
    """m(x) = w_{x f*(x)} − max_{j≠f*(x)} w_{xj}, GD (22); token x is learned iff m(x) > 0. For
    co-occurrence: y_i F(X_i), one a sample.
    """
    return task.margins(model)


@observable(task=AbstractClassificationTask, model=AbstractModel)
def error(task: AbstractClassificationTask, model: AbstractModel) -> Float[Array, ""]:
    """0-1 loss: Σ_x p(x) Σ_y p(y|x) 1{y is not the only top class}; samples with y F ≤ 0 for
    co-occurrence.

    A tie counts as an error, so that zero error is exactly "all margins positive"; at W = 0
    the error is 1 (an argmax that takes the lowest index would read chance or better there).
    """
    return task.error(model)
