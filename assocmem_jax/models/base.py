"""What a dynamics needs to know of a model."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray


@runtime_checkable
class HasScores(Protocol):
    """What a classification task asks of a model: logits, one row a token (or one number a sample)."""

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None) -> Array: ...


class Coordinates(NamedTuple):
    """Coordinates of a model in which its flow is integrated.

    - ``start``: where the model is.
    - ``downhill``: −d(coordinates)/dt of coordinates.
    - ``back``: the model at coordinates.
    """

    start: Array
    downhill: Callable[[Array], Array]
    back: Callable[[Array], Any]


@runtime_checkable
class HasGrades(Protocol):
    """A model that knows coordinates of graded rates, for a stiff flow.

    In log time rounding grows like t until something pulls back. Where fast directions round into slow
    ones, or into those that no gradient has, an implicit solver takes thousands of small steps to follow it.
    """

    def graded(self, task: Any) -> Coordinates:
        """One array, every entry as large as the scores are, in which a slow entry has as little rounding as
        it has rate."""
        ...


class Lanes(NamedTuple):
    """Coordinates of a model as one row of numbers, in which many flows are integrated side by side.

    - ``start``: where the model is, shape (n,). ``data``: what the flow reads, any arrays.
    - ``downhill``: −d(coordinates)/dt of coordinates and data, which may all have further axes, the same, at
      their end: lanes.
    - ``back``: the model at coordinates, of one lane; what is trained is a function of the arguments alone.
    - ``closed``: whether ``downhill`` is a function of its arguments alone.
    """

    start: Array
    data: Any
    downhill: Callable[[Array, Any], Array]
    back: Callable[[Array, Any], Any]
    closed: bool = True


@runtime_checkable
class HasLanes(Protocol):
    """A model whose flow, where it is small, is written out for many lanes at once.

    What autodiff and ``vmap`` make of it costs ten times as much: their loops are over few numbers each.
    """

    def lanes(self, task: Any) -> Lanes | None:
        """None where nothing is gained."""
        ...


@runtime_checkable
class HasSlope(Protocol):
    """A model that knows ∂L/∂(coordinates) of the population loss in closed form.

    Under ``vmap`` a step is then a few loops over all lanes, and not what autodiff makes of the loss.
    """

    def slope(self, task: Any) -> Any:
        """∂L/∂(coordinates), shaped as the model; what is not trained is not read."""
        ...


@runtime_checkable
class HasHeads(Protocol):
    """one whose heads can attend elsewhere; it has num_heads, attention and patched"""

    @property
    def num_heads(self) -> int: ...

    def attention(self, tokens: Int[Array, "n t"]) -> Float[Array, "n heads t t"]: ...

    def patched(
        self, tokens: Int[Array, "n t"], maps: Mapping[int, Float[Array, "... #t #t"]]
    ) -> tuple[Float[Array, "n t m"], Float[Array, "n heads t t"]]:
        """Scores at all positions, and attention of all heads, where those in ``maps``, counted as in
        ``attention``, attend with these weights instead of their own."""
        ...


@runtime_checkable
class Tabulates(Protocol):
    """A sequence model part of whose work is the same for all sequences: done, and differentiated, once for
    all chunks of a batch."""

    def tabulated(self) -> Any:
        """What has the model's ``residual`` and ``logits``, from tables."""
        ...


class AbstractModel(eqx.Module):
    """A model: what is trained, and how its coordinates move when the weights W follow a gradient.

    ``weight_space`` is whether the coordinates are the weights themselves. Where they are scores
    (GD Theorem 1), only optimizers that are linear in the gradients act on them as on W. ``task_type`` is the
    class of the tasks that it can be trained on; ``simulate`` refuses others in one line.
    """

    weight_space: ClassVar[bool] = True
    task_type: ClassVar[type] = object

    @abstractmethod
    def trainable(self) -> tuple[Array, ...]:
        """The leaves that training moves, unless ``simulate`` is told otherwise."""

    @abstractmethod
    def tangent(self, task: Any, gradient: Any) -> Any:
        """How the coordinates move when W moves by its gradient.

        ``gradient`` is ∂L/∂(coordinates), shaped as the model with ``None`` on frozen leaves. For
        weights it is returned as it is; for scores it is multiplied by the tangent kernel.
        """

    @abstractmethod
    def noise(self, task: Any, key: PRNGKeyArray) -> Any:
        """Standard normal noise on W, carried to the coordinates (for GD (6))."""


class AbstractWeights(AbstractModel):
    """A model whose coordinates are weights: they move by their gradient, noise is normal in every array."""

    def tangent(self, task: Any, gradient: Any) -> Any:
        return gradient

    def noise(self, task: Any, key: PRNGKeyArray) -> Any:
        leaves, shape = jax.tree.flatten(eqx.filter(self, eqx.is_inexact_array))
        keys = [key] if len(leaves) == 1 else jr.split(key, len(leaves))
        fresh = [jr.normal(k, w.shape, w.dtype) for k, w in zip(keys, leaves)]
        return jax.tree.unflatten(shape, fresh)


class AbstractReducedSystem(AbstractModel):
    """Scalar products of weights that close under the flow *and* under plain gradient descent.

    The flow moves them along ``tangent``, which depends on where they are; a step of descent, which is
    quadratic in the learning rate, through ``stepped``. Optimizers with a memory do not close.
    """

    @abstractmethod
    def stepped(self, task: Any, updates: Any) -> Any:
        """The system after the weights moved by −η∇L; ``updates`` is −η ∂L/∂(coordinates)."""


class AbstractSequenceModel(AbstractWeights):
    """A model of sequences: logits of the next token at every position, or at a few.

    In two parts, so that a loss on few positions computes no more than it needs: ``residual`` of all
    tokens, ``logits`` of those asked for.
    """

    @abstractmethod
    def residual(self, tokens: Int[Array, "n t"]) -> Any:
        """What is needed of every token."""

    @abstractmethod
    def logits(self, state: Any, at: Int[Array, "n p"] | None = None) -> Float[Array, "n p m"]:
        """Scores of the next token at positions ``at`` of each sequence (all unless given)."""

    @abstractmethod
    def attention(self, tokens: Int[Array, "n t"]) -> Float[Array, "n heads t t"]:
        """Attention weights, layer after layer, head after head; row t the query."""

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None) -> Float[Array, "b t m"]:
        """Logits at every position of the sequences of ``task.data`` (of those named)."""
        rows = task.data.tokens if tokens is None else task.data.tokens[tokens]
        return self.logits(self.residual(rows))
