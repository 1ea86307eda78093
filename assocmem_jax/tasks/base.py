"""What a dynamics needs to know of a task."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float


class AbstractTask(eqx.Module):
    """A law of data and a loss on it. ``model`` is anything with ``scores(task, …)``."""

    @property
    @abstractmethod
    def score_shape(self) -> tuple[int, ...]:
        """Shape of ``model.scores(task)`` for a model that fits."""

    @property
    @abstractmethod
    def dtype(self) -> Any:
        """Floating type of its numbers: clocks follow it."""

    @abstractmethod
    def loss(self, model: Any) -> Float[Array, ""]:
        """Population (or full-batch) loss, in nats."""

    @abstractmethod
    def error(self, model: Any) -> Float[Array, ""]:
        """0-1 loss; a tie is an error."""

    @abstractmethod
    def margins(self, model: Any) -> Float[Array, " n"]:
        """One number a token or sample, positive iff it is answered correctly."""

    @abstractmethod
    def sampler(self, batch_size: int) -> Callable:
        """A function of a key that draws a batch."""

    @abstractmethod
    def sampled_loss(self, model: Any, batch: Any) -> Float[Array, ""]:
        """Mean loss of a batch, an unbiased estimate of ``loss``."""
