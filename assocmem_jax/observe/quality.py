"""What any model is measured by: loss, and, where answers are right or wrong, margins and error."""

import math
from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol, runtime_checkable

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
def margins(task: AbstractClassificationTask, model: AbstractModel) -> Float[Array, "*n"]:
    """m(x) = w_{x f*(x)} − max_{j≠f*(x)} w_{xj}, GD (22); token x is learned iff m(x) > 0. One of each score:
    a token, a position of a text, a question of a context; for co-occurrence y_i F(X_i), one a sample.
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


# A table of so many scores is looked at in less time than a step takes to start.
_SMALL = 2**20


def apart(task: Any, batch_size: int | None) -> int:
    """Steps of minibatches between two looks at a large task, so that looking costs no more than the steps: a
    step takes its examples forward and back, a look takes all of them forward. 1 where every step can be."""
    if batch_size is None or not isinstance(task, AbstractClassificationTask):
        return 1
    if math.prod(task.score_shape) <= _SMALL:
        return 1
    return max(1, math.ceil(task.score_shape[0] / (2 * batch_size)))


@runtime_checkable
class LooksOnce(Protocol):
    """A task that tells "loss", "error" and "margins", those named, of one pass over its data."""

    def looked(self, model: Any, names: Collection[str]) -> dict[str, Array]: ...


def together(task: Any, model: Any, observed: Iterable[Callable]) -> dict[Callable, Array]:
    """Loss, error and margins of one pass, where more than one of them is observed."""
    names = {f: f.__name__ for f in observed if f in (loss, error, margins)}
    if len(names) < 2 or not isinstance(task, LooksOnce):
        return {}
    known = task.looked(model, tuple(names.values()))
    return {f: known[name] for f, name in names.items()}
