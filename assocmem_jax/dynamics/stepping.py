"""Updates one after another: one run, or many side by side, in which small memories are rows of numbers."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .. import machine
from ..models.base import Lanes
from . import programs
from .batching import apart, side_by_side
from .leaves import lanes as lanes_of
from .marching import Lane, Silent, march, start
from .optimizers import RATE
from .trajectory import Trajectory

# Bytes of coordinates of the lanes that go through a run together: a step then stays in a core's cache.
_TILE_BYTES = 2**17
_VECTOR = 16

Found = tuple[Lane, Any, Array, Array]  # observed values, times and steps at the marks


class Static:
    """A constant array that is part of the program, not of its data."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __eq__(self, other):
        return isinstance(other, Static) and np.array_equal(self.array, other.array)

    def __hash__(self):
        return hash(self.array.tobytes())


class Run(NamedTuple):
    """What is run: a dynamics of steps, from where on, and what is asked of it (a ``Request``)."""

    dynamics: Any
    task: Any
    trained: Any
    frozen: Any
    request: Any
    marks: Static
    state: Any  # a lane to go on with, or whether the end is kept

    def model(self, part: Any) -> Any:
        return eqx.combine(part, self.frozen)

    def look(self, part: Any) -> dict[str, Any]:
        return self.request.look(self.task, self.model(part))

    def march(self, advance, lane, observe, waiting=None) -> Found:
        return march(advance, lane, self.marks.array, observe, waiting, self.request.meter)


@eqx.filter_jit
def stepped(run: Run) -> Trajectory:
    programs.traced()
    found = _alone(run) if _row(run) is None else side_by_side(_alone, _together, run)
    lane, observed, times, steps = found
    return Trajectory(
        times=times,
        steps=steps,
        observed=observed,
        model=run.model(lane.params),
        status=lane.status,
        first_hit=lane.first_hit,
        stable_hit=lane.since,
        first_step=lane.first_step,
        stable_step=lane.since_step,
        num_steps=lane.step,
        state=None if run.state is False else lane,
        labels=run.request.labelled(run.task),
        names=getattr(run.task, "names", ()),
        clock=getattr(run.dynamics, "unit", RATE),
    )


def _alone(run: Run) -> Found:
    advance, first, inner = run.dynamics.prepare(run.task, run.model, run.trained, run.request.key)
    dtype = jnp.result_type(*jax.tree.leaves(run.trained))
    lane = start(first, inner, dtype) if isinstance(run.state, bool) else run.state
    lane, observed, times, steps = run.march(
        advance, lane, run.look, run.request.waiting(run.task, run.model)
    )
    return (lane if run.state is not False else lane._replace(inner=None), observed, times, steps)


def _row(run: Run) -> Lanes | None:
    """The coordinates of a small memory in a row, where many side by side are better run in them."""
    quiet = isinstance(run.request.meter, Silent) and run.request.until is None
    if run.state is not False or not quiet or machine.on_card() or not getattr(run.dynamics, "plain", False):
        return None
    row = lanes_of(run.task, run.model(run.trained), run.trained)
    return row if row is not None and row.closed else None


def _together(run: Run, batched: Any) -> Found:
    """Many runs; leaves marked in ``batched`` have lanes first. A tile of them makes all its steps, then the
    next does."""
    mapped, shared = eqx.partition(run, batched)
    lanes = jax.tree.leaves(mapped)[0].shape[0]
    one = eqx.combine(jax.tree.map(lambda a: a[0], mapped), shared)
    wide = max(1, _TILE_BYTES // sum(leaf.nbytes for leaf in jax.tree.leaves(one.trained)))
    tiles = -(-lanes // wide)
    # A multiple of a core's vectors, so that all lanes are computed alike.
    wide = _VECTOR * -(-lanes // (_VECTOR * tiles))
    ids = jnp.minimum(jnp.arange(tiles * wide), lanes - 1).reshape(tiles, wide)
    tile = lambda ids: _tile(jax.tree.map(lambda a: a[ids], mapped), shared)  # noqa: E731
    found = jax.lax.map(tile, ids) if tiles > 1 else jax.tree.map(lambda a: a[None], tile(ids[0]))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:lanes], found)


def _tile(mapped: Any, shared: Any) -> Found:
    """Runs side by side. ``mapped``: what is their own, lanes first, as the result has them; within, they are
    the last axis of everything."""
    mapped = jax.tree.map(lambda a: jnp.moveaxis(a, 0, -1), mapped)
    lanes = jax.tree.leaves(mapped)[0].shape[-1]
    of = lambda mapped: eqx.combine(mapped, shared)  # noqa: E731

    def ready(mapped):
        run = of(mapped)
        row: Any = _row(run)
        return row.start, row.data, eqx.filter(run.dynamics, eqx.is_array)

    (y, data, numbers), (_, along, _) = apart(ready, mapped)
    # What is no number is the same of all lanes; so are functions of a row, which read their arguments alone.
    run = of(jax.tree.map(lambda a: a[..., 0], mapped))
    row: Any = _row(run)
    y = jnp.broadcast_to(y, (y.shape[0], lanes))
    dynamics = eqx.combine(numbers, run.dynamics)
    advance, inner = dynamics.beside(lambda y: row.downhill(y, data), y)
    own = jax.tree.map(lambda a, axis: a if axis == -1 else a[..., 0], data, along)
    look = lambda mapped, y, data: of(mapped).look(row.back(y, data))  # noqa: E731
    observe = lambda y: jax.vmap(look, (-1, -1, along))(mapped, y, own)  # noqa: E731
    lane, *records = run.march(advance, start(y, inner, y.dtype, (lanes,)), observe)
    observed, times, steps = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), records)
    params = jax.vmap(row.back, (-1, along))(lane.params, own)
    return lane._replace(params=params, inner=None), observed, times, steps
