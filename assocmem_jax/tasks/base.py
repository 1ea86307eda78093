"""What a dynamics needs to know of a task, and what a task with right answers adds."""

import inspect
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from .. import checks


def _refuse_overrides(cls: type) -> None:
    """Refuse a class in which a method of a task of this package is another's: it would be used by halves."""
    package = __name__.partition(".")[0]
    fields = {name for above in cls.__mro__ for name in inspect.get_annotations(above)}
    for base in cls.__mro__[1:]:
        if base.__module__.partition(".")[0] != package:
            continue
        for name, member in vars(base).items():
            if name.startswith("__") or not hasattr(member, "__get__"):
                continue
            if getattr(member, "__isabstractmethod__", False):
                continue
            known = next(vars(above)[name] for above in cls.__mro__ if name in vars(above))
            if known is not member or name in fields:
                checks.refuse(
                    f"{cls.__name__}.{name}",
                    f"that of {base.__name__}, whose methods are final",
                    "another, which closed forms would not know",
                    "give a loss as AssociationTask(…, loss=…), or subclass AbstractClassificationTask",
                )


class AbstractTask(eqx.Module):
    """A law of data and a loss on it: all that a dynamics asks for. ``model`` is whatever the loss takes.

    A task with a batch whose ``sampled_loss`` is no mean over its examples one by one (say, over positions
    of sequences) also has ``batch_weight(batch)``, what that mean divides by: see ``tasks/batches.py``. One
    whose loss has a unit says so as ``loss_units`` (of labels; "1" unless said).

    Methods of the tasks of this package are final: closed forms know them. A subclass that has others is
    refused.
    """

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        _refuse_overrides(cls)

    @property
    @abstractmethod
    def dtype(self) -> Any:
        """Floating type of its numbers: clocks follow it."""

    @abstractmethod
    def loss(self, model: Any) -> Float[Array, ""]:
        """Population (or full-batch) loss."""

    @abstractmethod
    def sampler(self, batch_size: int) -> Callable:
        """A function of a key that draws a batch: arrays whose first axis is the example."""

    @abstractmethod
    def sampled_loss(self, model: Any, batch: Any) -> Float[Array, ""]:
        """Mean loss of a batch, an unbiased estimate of ``loss``."""


class AbstractClassificationTask(AbstractTask):
    """A task whose answers are right or wrong. ``model`` is anything with ``scores(task, …)``."""

    @property
    @abstractmethod
    def score_shape(self) -> tuple[int, ...]:
        """Shape of ``model.scores(task)`` for a model that fits."""

    @abstractmethod
    def margins(self, model: Any) -> Float[Array, "*n"]:
        """One number a token, sample or position, positive iff it is answered correctly."""

    @abstractmethod
    def error(self, model: Any) -> Float[Array, ""]:
        """0-1 loss; a tie is an error."""
