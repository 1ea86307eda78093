"""The memory that a run would take, compared with what is free before it begins."""

import math
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.extend.core import jaxprs_in_params

from .. import checks, machine

# Runs that cannot need more than this are not looked at.
_SMALL = 2**28
# A batch of fewer examples is not traced for its memory.
_FEW = 2**20


def refuse_looks(task: Any, model: Any, request: Any, looks: int, every: int | None) -> None:
    """Refuse more looks than memory holds: their observables, clocks and steps."""
    # No observable of this package is larger than the model and the task together.
    held = sum(leaf.nbytes for leaf in jax.tree.leaves((task, model)) if eqx.is_array(leaf))
    if looks * (held + 64) <= _SMALL or not checks.concrete(task, model):
        return
    seen = eqx.filter_eval_shape(request.look, task, model)
    each = 64 + sum(math.prod(a.shape) * a.dtype.itemsize for a in jax.tree.leaves(seen))
    need, free = looks * each, machine.free(jax.devices()[0])
    if free is None or need <= free:
        return
    remedy = "give fewer times in at="
    if every is not None:
        remedy = f"look less often: every={math.ceil(every * 4 * need / free)}"
    size = f"need {need / 2**30:.3g} GiB, {free / 2**30:.3g} GiB is free"
    raise MemoryError(f"observe: {looks:,} looks of {each:,} bytes {size}; {remedy}")


def refuse_batch(task: Any, model: Any, batch_size: int, microbatch: int | None) -> None:
    """Refuse a batch of which one array alone is more than memory holds."""
    if batch_size < _FEW or not checks.concrete(task, model):
        return

    def losses(model, key):
        batch = task.sampler(batch_size)(key)
        return batch if microbatch is not None else task.sampled_loss(model, batch)

    traced = eqx.filter_make_jaxpr(losses)(model, jr.key(0))[0]
    largest = max(_arrays(traced.jaxpr), key=lambda a: math.prod(a.shape) * a.dtype.itemsize)
    need, free = math.prod(largest.shape) * largest.dtype.itemsize, machine.free(jax.devices()[0])
    if free is not None and need > free:
        fewer = max(1, int(batch_size * free / (8 * need)))
        one = f"of {batch_size:,} examples one array alone ({largest.dtype}{list(largest.shape)})"
        size = f"is {need / 2**30:.3g} GiB, {free / 2**30:.3g} GiB is free"
        raise MemoryError(f"batch_size: {one} {size}; try {fewer:,}, or microbatch={fewer:,}")


def _arrays(jaxpr: Any) -> Iterator[Any]:
    """Every array that a program makes, in its parts too."""
    for equation in jaxpr.eqns:
        for out in equation.outvars:
            if not jnp.issubdtype(out.aval.dtype, jax.dtypes.prng_key):
                yield out.aval
        for part in jaxprs_in_params(equation.params):
            yield from _arrays(part)
