"""What a dynamics needs to know of a task."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, PartitionSpec
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
    def margins(self, model: Any) -> Float[Array, "*n"]:
        """One number a token, sample or position, positive iff it is answered correctly."""

    @abstractmethod
    def sampler(self, batch_size: int) -> Callable:
        """A function of a key that draws a batch."""

    @abstractmethod
    def sampled_loss(self, model: Any, batch: Any) -> Float[Array, ""]:
        """Mean loss of a batch, an unbiased estimate of ``loss``."""


@eqx.filter_custom_jvp
def accumulated(task: Any, model: Any, chunks: Any, devices: int) -> Float[Array, ""]:
    """Σ ``task.total_loss(model, chunk)`` over chunks, one at a time: leading axes (devices, chunks).

    Its derivative accumulates gradients chunk by chunk in the same pass, so that memory is that of one chunk
    and nothing is computed twice; only leaves that are differentiated have one. Derivatives of all orders.
    """

    def one(task, model, rest, chunk):
        del rest
        return task.total_loss(model, chunk)

    return _summed(one, task, model, None, chunks, devices)


@accumulated.def_jvp
def _(primals, tangents):
    task, model, chunks, devices = primals
    moves = jax.tree.map(lambda t: t is not None, tangents[1], is_leaf=lambda t: t is None)
    moving, rest = eqx.partition(model, moves)

    def one(task, moving, rest, chunk):
        return jax.value_and_grad(lambda part: task.total_loss(eqx.combine(part, rest), chunk))(moving)

    value, gradient = _summed(one, task, moving, rest, chunks, devices)
    products = jax.tree.map(jnp.vdot, gradient, eqx.filter(tangents[1], moves))
    return value, sum(jax.tree.leaves(products))


def _summed(one, task, model, rest, chunks, devices):
    def local(task, model, rest, chunks):
        chunks = jax.tree.map(lambda a: a[0], chunks)
        first = jax.tree.map(lambda a: a[0], chunks)
        if jax.tree.leaves(chunks)[0].shape[0] == 1:
            return one(task, model, rest, first)
        shapes = jax.eval_shape(one, task, model, rest, first)
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        add = lambda total, chunk: (jax.tree.map(jnp.add, total, one(task, model, rest, chunk)), None)  # noqa: E731
        return jax.lax.scan(add, zeros, chunks)[0]

    if devices == 1:
        return local(task, model, rest, chunks)
    mesh = Mesh(jax.devices()[:devices], ("data",), axis_types=(AxisType.Auto,))
    arrays, static = eqx.partition((task, model, rest), eqx.is_array)

    def shared(arrays, chunks):
        task, model, rest = eqx.combine(arrays, static)
        return jax.lax.psum(local(task, model, rest, chunks), "data")

    split = jax.shard_map(
        shared, mesh=mesh, in_specs=(PartitionSpec(), PartitionSpec("data")), out_specs=PartitionSpec(),
        check_vma=False,
    )  # fmt: skip
    return split(arrays, chunks)
