"""What a dynamics needs to know of a task, and what a task with right answers adds."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float


class AbstractTask(eqx.Module):
    """A law of data and a loss on it: all that a dynamics asks for. ``model`` is whatever the loss takes.

    A task with a batch whose ``sampled_loss`` is no mean over its examples one by one (say, over positions
    of sequences) also has ``batch_weight(batch)``, what that mean divides by: see ``tasks/batches.py``.
    """

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
