"""How the loss of a batch is computed: a few examples at a time, on one device or several. No law of data."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, PartitionSpec
from jaxtyping import Array, Float


@runtime_checkable
class Weighs(Protocol):
    """A task whose mean over a batch divides by something else than its number of examples."""

    def batch_weight(self, batch: Any) -> Array: ...


@runtime_checkable
class HasExamples(Protocol):
    """A task of finitely many examples, of which a batch is drawn independently."""

    @property
    def examples(self) -> tuple[Any, Array]:
        """(all of them as a batch, their probabilities)."""
        ...


def mean_loss(
    task: Any, model: Any, batch: Any, microbatch: int | None, devices: int = 1
) -> Float[Array, ""]:
    """``task.sampled_loss(model, batch)``, ``microbatch`` examples at a time (all unless given) on each of
    ``devices``.

    The same value and derivatives up to rounding, in the memory of one microbatch: gradients add up on the
    way. The devices must divide the number of examples; what a microbatch leaves over is a smaller one.
    """
    n = jax.tree.leaves(batch)[0].shape[0]
    share = n // devices
    size = share if microbatch is None else min(microbatch, share)
    whole = share // size * size
    part = eqx.Partial(_weighted, task)
    split = jax.tree.map(lambda a: a.reshape(devices, share, *a.shape[1:]), batch)
    cut = lambda a: a[:, :whole].reshape(devices, -1, size, *a.shape[2:])  # noqa: E731
    total = accumulated(part, model, jax.tree.map(cut, split), devices)
    if whole < share:
        total = total + accumulated(part, model, jax.tree.map(lambda a: a[:, None, whole:], split), devices)
    weight = _weight(task, batch, total.dtype)
    # The mean over nothing is no number; it has no gradient.
    return total / jnp.maximum(weight, 1) + jnp.where(weight > 0, 0.0, jnp.nan).astype(total.dtype)


def _weight(task: Any, batch: Any, dtype: Any) -> Array:
    known = task.batch_weight(batch) if isinstance(task, Weighs) else jax.tree.leaves(batch)[0].shape[0]
    return jnp.asarray(known, dtype)


def _weighted(task: Any, model: Any, batch: Any) -> Float[Array, ""]:
    """What a batch adds to the sum that the mean is of."""
    loss = task.sampled_loss(model, batch)
    weight = _weight(task, batch, loss.dtype)
    return jnp.where(weight > 0, loss, 0) * weight


@eqx.filter_custom_jvp
def accumulated(one: Callable, model: Any, chunks: Any, devices: int) -> Float[Array, ""]:
    """Σ ``one(model, chunk)`` over chunks, one at a time: leading axes (devices, chunks).

    Its derivative (with respect to the model, and to what ``one`` holds) accumulates gradients chunk by chunk
    in the same pass, so that memory is that of one chunk and nothing is computed twice; only leaves that are
    differentiated have one. Derivatives of all orders.
    """

    def value(moving, rest, chunk):
        one, model = eqx.combine(moving, rest)
        return one(model, chunk)

    return _summed(value, *eqx.partition((one, model), eqx.is_array), chunks, devices)


@accumulated.def_jvp
def _(primals, tangents):
    one, model, chunks, devices = primals
    moves = jax.tree.map(lambda t: t is not None, tangents[:2], is_leaf=lambda t: t is None)
    moving, rest = eqx.partition((one, model), moves)

    def both(moving, rest, chunk):
        def value(moving):
            one, model = eqx.combine(moving, rest)
            return one(model, chunk)

        return jax.value_and_grad(value)(moving)

    value, gradient = _summed(both, moving, rest, chunks, devices)
    products = jax.tree.map(jnp.vdot, gradient, eqx.filter(tangents[:2], moves))
    return value, sum(jax.tree.leaves(products))


def _summed(one, moving, rest, chunks, devices):
    def local(moving, rest, chunks):
        chunks = jax.tree.map(lambda a: a[0], chunks)
        first = jax.tree.map(lambda a: a[0], chunks)
        if jax.tree.leaves(chunks)[0].shape[0] == 1:
            return one(moving, rest, first)
        shapes = jax.eval_shape(lambda chunk: one(moving, rest, chunk), first)
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        add = lambda total, chunk: (jax.tree.map(jnp.add, total, one(moving, rest, chunk)), None)  # noqa: E731
        return jax.lax.scan(add, zeros, chunks)[0]

    if devices == 1:
        return local(moving, rest, chunks)
    mesh = Mesh(jax.devices()[:devices], ("data",), axis_types=(AxisType.Auto,))
    arrays, static = eqx.partition((moving, rest), eqx.is_array)

    def shared(arrays, chunks):
        moving, rest = eqx.combine(arrays, static)
        return jax.lax.psum(local(moving, rest, chunks), "data")

    split = jax.shard_map(
        shared, mesh=mesh, in_specs=(PartitionSpec(), PartitionSpec("data")), out_specs=PartitionSpec(),
        check_vma=False,
    )  # fmt: skip
    return split(arrays, chunks)
