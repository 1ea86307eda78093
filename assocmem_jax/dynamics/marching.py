"""The loop under every discrete dynamics: update, watch, freeze what has ended, observe.

Three nested loops: blocks ⊃ observations ⊃ steps. The first two are checkpointed, so that reverse
mode holds about 2√(number of observations) + (steps between two) states instead of all of them.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .events import Until
from .trajectory import Status


@runtime_checkable
class Meter(Protocol):
    """What tells how far a run is: a progress meter of diffrax."""

    def init(self) -> Any: ...

    def step(self, state: Any, progress: Any) -> Any: ...

    def close(self, state: Any) -> None: ...


class Silent(NamedTuple):
    """A meter that tells nothing."""

    def init(self) -> None: ...

    def step(self, state: None, progress: Any) -> None: ...

    def close(self, state: None) -> None: ...


class Lane(NamedTuple):
    """The carry: one run; or many side by side, the last axis of everything."""

    params: Any
    inner: Any  # the dynamics' own state
    step: Array
    time: Array
    status: Array
    first_step: Array
    first_hit: Array
    since_step: Array  # start of the present unbroken stretch, -1 if the condition fails now
    since: Array


def start(params, inner, dtype, lanes: tuple[int, ...] = ()) -> Lane:
    none, never = jnp.full(lanes, -1, jnp.int32), jnp.full(lanes, jnp.inf, dtype)
    zero = jnp.zeros(lanes, jnp.int32)
    status = jnp.full(lanes, int(Status.OK), jnp.int8)
    return Lane(params, inner, zero, jnp.zeros(lanes, dtype), status, none, never, none, never)


def march(
    advance: Callable[[Any, Any, Array, Array], tuple[Any, Any, Array]],
    lane: Lane,
    marks: np.ndarray,
    observe: Callable[[Any], Any],
    until: tuple[Until, Callable[[Any], Array]] | None,
    meter: Meter,
) -> tuple[Lane, Any, Array, Array]:
    """Run ``advance(params, inner, step, time) -> (params, inner, time)`` to the last mark.

    Observes at each mark (increasing numbers of steps from where the lane is, the first is 0). Returns the
    final lane and, at the marks, observables, times and steps.
    """
    steps = int(marks[-1])
    horizon = lane.step + steps
    gaps = np.diff(marks)
    limit = math.sqrt(float(jnp.finfo(lane.time.dtype).max))

    def watch(lane: Lane) -> Lane:
        if until is None:
            return lane
        holds = until[1](lane.params) > 0
        fresh = holds & (lane.since_step < 0)
        since_step = jnp.where(holds, jnp.where(fresh, lane.step, lane.since_step), -1)
        since = jnp.where(holds, jnp.where(fresh, lane.time, lane.since), jnp.inf)
        first = holds & (lane.first_step < 0)
        status = lane.status
        if until[0].hold is not None:
            held = holds & (lane.step - since_step + 1 >= until[0].hold)
            status = jnp.where(held, int(Status.HIT), status).astype(jnp.int8)
        return lane._replace(
            status=status,
            first_step=jnp.where(first, lane.step, lane.first_step),
            first_hit=jnp.where(first, lane.time, lane.first_hit),
            since_step=since_step,
            since=since,
        )

    def one(lane: Lane) -> Lane:
        params, inner, time = advance(lane.params, lane.inner, lane.step, lane.time)
        own = lambda leaf: tuple(range(leaf.ndim - lane.status.ndim))  # noqa: E731
        largest = [jnp.max(jnp.abs(leaf), axis=own(leaf), initial=0) for leaf in jax.tree.leaves(params)]
        size = jnp.max(jnp.stack(largest), axis=0)  # NaN wins
        ended = jnp.where(jnp.isfinite(size), int(Status.DIVERGED), int(Status.NON_FINITE))
        sound = size <= limit
        moved = watch(lane._replace(params=params, inner=inner, step=lane.step + 1, time=time))
        active = (lane.status == int(Status.OK)) & (lane.step < horizon)
        kept = jax.tree.map(lambda a, b: jnp.where(active & sound, a, b), moved, lane)
        status = jnp.where(active & ~sound, ended, kept.status).astype(jnp.int8)
        return kept._replace(status=status)

    def seen(lane: Lane):
        return observe(lane.params), lane.time, lane.step

    lane = watch(lane)  # of a lane that goes on: once more, to the same end
    at_start = seen(lane)
    if steps == 0:
        rest = jax.tree.map(lambda a: jnp.zeros((0, *jnp.shape(a)), jnp.result_type(a)), at_start)
    elif (gaps[:-1] == gaps[0]).all() and gaps[-1] <= gaps[0]:
        # Even gaps; a shorter last one is cut off by `lane.step < horizon`.
        stop = until is not None and until[0].hold is not None
        lane, rest = _even(one, seen, lane, len(gaps), int(gaps[0]), stop, meter)
    else:

        def to_mark(carry, mark):
            lane, shown = carry
            lane = jax.lax.fori_loop(0, mark[0], lambda _, lane: one(lane), lane)
            return (lane, meter.step(shown, mark[1] / steps)), seen(lane)

        spans = jnp.stack([jnp.asarray(gaps), jnp.asarray(marks[1:])], axis=1)
        (lane, shown), rest = jax.lax.scan(to_mark, (lane, meter.init()), spans)
        meter.close(shown)
    observed, times, counts = jax.tree.map(
        lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b]), at_start, rest
    )
    return lane, observed, times, counts


def _even(one, seen, lane: Lane, marks: int, every: int, stop: bool, meter):
    """``marks`` observations, ``every`` steps apart."""

    def to_mark(lane, _):
        if every == 1:
            lane = one(lane)
        else:
            lane, _ = jax.lax.scan(lambda lane, _: (one(lane), None), lane, length=every)
        return lane, seen(lane)

    size = math.isqrt(marks - 1) + 1  # ⌈√marks⌉ observations a block
    blocks = -(-marks // size)
    body = jax.checkpoint(to_mark) if every > 1 else to_mark
    block = jax.checkpoint(lambda lane, _: jax.lax.scan(body, lane, length=size))

    def tracked(carry, k):
        lane, shown = carry
        lane, out = block(lane, None)
        return (lane, meter.step(shown, (k + 1) / blocks)), out

    if not stop:
        (lane, shown), out = jax.lax.scan(tracked, (lane, meter.init()), jnp.arange(blocks))
        meter.close(shown)
        return lane, jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:marks], out)
    # With a stop, whole blocks are left out once every lane has ended; their entries repeat the
    # final state. (A while loop: reverse mode needs a fixed horizon, so until=None or hold=None.)
    shapes = jax.eval_shape(block, lane, None)[1]
    buffers = jax.tree.map(lambda a: jnp.zeros((blocks, *a.shape), a.dtype), shapes)

    def proceed(state):
        k, (lane, _), _ = state
        return (k < blocks) & (lane.status == int(Status.OK))

    def more(state):
        k, carry, buffers = state
        carry, out = tracked(carry, k)
        return k + 1, carry, jax.tree.map(lambda b, a: b.at[k].set(a), buffers, out)

    state = (jnp.asarray(0), (lane, meter.init()), buffers)
    k, (lane, shown), buffers = jax.lax.while_loop(proceed, more, state)
    meter.close(shown)
    final = seen(lane)

    def fill(buffer, last):
        flat = buffer.reshape(-1, *buffer.shape[2:])[:marks]
        done = jnp.arange(marks).reshape(-1, *([1] * (flat.ndim - 1))) < k * size
        return jnp.where(done, flat, last)

    return lane, jax.tree.map(fill, buffers, final)
