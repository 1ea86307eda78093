"""Dopri8 with a controlled step, for one flow or for many side by side, each on its own clock.

Lanes of a batched loop wait for the slowest of them. Here they run in tiles that fit the cache, lanes last,
each stage of a step computed once, and one that is done makes room for the next.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .. import machine
from .trajectory import Status

# The stages of a tile of lanes should stay in the second-level cache; wider than this nothing is gained.
_STAGE_BYTES, _WIDEST = 2**18, 64
_RUNNING = -1
# Step factors of diffrax's controller.
_SAFETY, _LEAST, _MOST = 0.9, 0.2, 10.0

_tableau = diffrax.Dopri8.tableau
STAGES, ORDER = len(_tableau.b_sol), 8
_nodes = np.append(0.0, _tableau.c)
_error = np.asarray(_tableau.b_error)
# Row i: what leads from the first i slopes to the point of the next; the last two lead to the end.
_behind = np.zeros((STAGES + 1, STAGES))
for _i, _row in enumerate([*_tableau.a_lower, _tableau.a_lower[-1]]):
    _behind[_i + 1, : len(_row)] = _row
_interpolation: Any = diffrax.Dopri8.interpolation_cls
_dense = np.asarray(_interpolation.eval_coeffs)


class Solved(NamedTuple):
    """How far a flow came."""

    params: Any
    clock: Array  # s reached
    saved: Any
    status: Array
    num_steps: Array


class Rules(NamedTuple):
    """What is the same for all lanes."""

    rtol: float
    atol: float
    max_steps: int
    log_time: bool


class Course(NamedTuple):
    """A flow of one lane, or of a tile of lanes (lanes are the last axis of every array, or there is none).

    - ``downhill``: −dy/dt at y, shape (n, *lanes).
    - ``look``: what is observed at y, lanes first.
    - ``goal``: the flow ends where this rises above 0: a number of each lane, not positive at the start.
    """

    downhill: Callable[[Array], Array]
    look: Callable[[Array], Any]
    goal: Callable[[Array], Array] | None = None


class Lane(NamedTuple):
    s: Array
    h: Array
    y: Array
    slope: Array  # dy/ds at s
    seen: Array  # times observed
    steps: Array
    status: Array


def _speed(rules: Rules, s):
    # Of −dy/dt in s: t = e^s − 1 in log time.
    return -jnp.exp(s) if rules.log_time else -jnp.ones_like(s)


def slope(course: Course, rules: Rules, s: Array, y: Array) -> Array:
    """dy/ds."""
    return _speed(rules, s) * course.downhill(y)


def _size(y):
    return jnp.sqrt(jnp.mean(y**2, axis=0))


def _started(course: Course, rules: Rules, y: Array, end: Array) -> Lane:
    """At s = 0, with a first step by Hairer, Nørsett and Wanner (II.4)."""
    s = jnp.zeros(y.shape[1:], y.dtype)
    first = slope(course, rules, s, y)
    scale = rules.atol + rules.rtol * jnp.abs(y)
    d0, d1 = _size(y / scale), _size(first / scale)
    small = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = jnp.where(small, 1e-6, 0.01 * d0 / jnp.where(small, 1, d1))
    ahead = slope(course, rules, h0, y + h0 * first)
    bend = jnp.maximum(d1, _size((ahead - first) / scale) / h0)
    flat = bend <= 1e-15
    h1 = jnp.where(flat, jnp.maximum(1e-6, h0 * 1e-3), (0.01 / jnp.where(flat, 1, bend)) ** (1 / ORDER))
    zero = jnp.zeros(s.shape, jnp.int32)
    sound = jnp.isfinite(bend)
    h = jnp.minimum(jnp.minimum(100 * h0, h1), end)
    status = jnp.where(sound, _RUNNING, int(Status.NON_FINITE)).astype(jnp.int8)
    return Lane(s, jnp.where(sound, h, end).astype(y.dtype), y, first, zero, zero, status)


def summed(weights, slopes):
    """Σⱼ weightsⱼ slopesⱼ, of lanes as of one."""
    return sum(weights[j] * slopes[j] for j in range(STAGES))


def plan(rules: Rules, s, h) -> tuple[Array, Array, Array]:
    """(speed of each stage of a step, its node, and row i of what leads to stage i; the last, to the end)."""
    nodes, behind = jnp.asarray(_nodes, h.dtype), jnp.asarray(_behind, h.dtype)
    return _speed(rules, s + nodes.reshape(-1, *[1] * jnp.ndim(s)) * h), nodes, behind


def stages(
    course: Course,
    rules: Rules,
    y: Array,
    s: Array,
    h: Array,
    first: Array | None = None,
    mixed: Callable = summed,
):
    """(slopes dy/ds of all stages, where the step ends) from y at s, where it is ``first`` if that is known;
    ``mixed``: as ``summed`` does."""
    speeds, _, behind = plan(rules, s, h)

    def stage(i, carry):
        # A loop, so that each stage is computed once: XLA would compute it again for each of its uses.
        slopes, at = carry
        slopes = jax.lax.dynamic_update_index_in_dim(slopes, speeds[i] * course.downhill(at), i, 0)
        return slopes, y + h * mixed(behind[i + 1], slopes)

    slopes = jnp.zeros((STAGES, *y.shape), y.dtype)
    if first is None:
        return jax.lax.fori_loop(0, STAGES, stage, (slopes, y))
    slopes = slopes.at[0].set(first)
    return jax.lax.fori_loop(1, STAGES, stage, (slopes, y + h * mixed(behind[1], slopes)))


def between(at: Array, reached: Array, y, s, h, slopes, moved, mixed: Callable = summed) -> Array:
    """y at a time of the step from s to ``reached``, by its polynomial."""
    share = jnp.where(at >= reached, 1, (at - s) / h)
    powers = share * sum(
        jnp.asarray(_dense[:, -1 - k], y.dtype).reshape(-1, *[1] * s.ndim) * share**k
        for k in range(_dense.shape[1])
    )
    return jnp.where(at >= reached, moved, y + h * mixed(powers, slopes))


def _crossing(holds: Callable, met: Array, low: Array, high: Array) -> Array:
    """Where a condition begins to hold between ``low`` and ``high``, of lanes that met it; else ``high``."""
    fine = 4 * float(jnp.finfo(high.dtype).eps)

    def halve(ends):
        low, high = ends
        middle = low + (high - low) / 2
        there = holds(middle)
        return jnp.where(met & ~there, middle, low), jnp.where(met & there, middle, high)

    wide = lambda ends: jnp.any(met & (ends[1] - ends[0] >= fine * (1 + ends[1])))  # noqa: E731
    return jax.lax.while_loop(wide, halve, (low, high))[1]


def attempt(course: Course, rules: Rules, lane: Lane, end: Array, grid: Array, shown: Any, put: Callable):
    """(lane, shown, the size of the step that was taken, or 0) after one of Dopri8 was tried, and what it
    passed was observed.

    ``grid``: shape (T, *lanes); ``put(shown, seen, values, on)`` stores what is observed.
    """
    running = lane.status == _RUNNING
    s, y = lane.s, lane.y
    last = s + lane.h >= end
    h = jnp.where(last, end - s, lane.h)
    slopes, moved = stages(course, rules, y, s, h, lane.slope)
    off = h * summed(jnp.asarray(_error, y.dtype), slopes)
    scale = rules.atol + rules.rtol * jnp.maximum(jnp.abs(y), jnp.abs(moved))
    size = _size(off / scale)
    sound = jnp.isfinite(size)
    kept = running & (size < 1)
    factor = _SAFETY * jnp.where(size > 0, size, 1) ** (-1 / ORDER)
    factor = jnp.where(size > 0, jnp.clip(factor, jnp.where(kept, 1.0, _LEAST), _MOST), _MOST)
    factor = jnp.where(sound, factor, _LEAST).astype(y.dtype)
    reached = jnp.where(last, end, s + h)
    there = lambda at: between(at, reached, y, s, h, slopes, moved)  # noqa: E731
    met, stop, final = jnp.zeros_like(kept), reached, moved
    if (goal := course.goal) is not None:
        holds = lambda y: goal(y) > 0  # noqa: E731
        met = kept & holds(moved)
        stop = _crossing(lambda at: holds(there(at)), met, s, reached)
        final = jnp.where(met, there(stop), moved)

    def due(seen):
        at = jnp.take_along_axis(grid, jnp.minimum(seen, len(grid) - 1)[None], axis=0)[0]
        return at, kept & (seen < len(grid)) & (at <= stop)

    def watch(carry):
        seen, shown = carry
        at, on = due(seen)
        return seen + on, put(shown, seen, course.look(there(at)), on)

    behind = lambda carry: jnp.any(due(carry[0])[1])  # noqa: E731
    seen, shown = jax.lax.while_loop(behind, watch, (lane.seen, shown))
    steps = lane.steps + running
    status = jnp.where(kept & last, int(Status.OK), lane.status)
    status = jnp.where(met, int(Status.HIT), status)
    lost = running & ~sound & (h <= jnp.finfo(y.dtype).eps * end)
    out_of_steps = (status == _RUNNING) & (steps >= rules.max_steps)
    status = jnp.where(out_of_steps, int(Status.STEP_LIMIT), status)
    status = jnp.where(lost, int(Status.NON_FINITE), status).astype(jnp.int8)
    new = Lane(stop, h * factor, final, slopes[-1], seen, steps, status)
    held = lane._replace(h=jnp.where(running, h * factor, lane.h), steps=steps, status=status)
    return jax.tree.map(lambda a, b: jnp.where(kept, a, b), new, held), shown, jnp.where(kept, h, 0)


def follow(course: Course, rules: Rules, y: Array, end: Array, grid: Array, note: Callable, notes: Any):
    """(what ``alone`` gives, notes); ``note(notes, before, after, taken)`` of the lane after each step."""
    shapes = jax.eval_shape(course.look, y)
    shown = jax.tree.map(lambda a: jnp.zeros((len(grid), *a.shape), a.dtype), shapes)

    def put(shown, seen, values, on):
        del on  # there is one lane, and it is due
        return jax.tree.map(lambda a, v: a.at[seen].set(v), shown, values, is_leaf=lambda a: hasattr(a, "at"))

    def step(carry):
        before, shown, notes = carry
        lane, shown, taken = attempt(course, rules, before, end, grid, shown, put)
        return lane, shown, note(notes, before, lane, taken)

    running = lambda carry: carry[0].status == _RUNNING  # noqa: E731
    lane, shown, notes = jax.lax.while_loop(running, step, (_started(course, rules, y, end), shown, notes))
    return Solved(lane.y, lane.s, shown, lane.status, lane.steps), notes


def alone(course: Course, rules: Rules, y: Array, end: Array, grid: Array) -> Solved:
    """One flow from y, shape (n,), observed at ``grid``; what it does not reach is 0."""
    return follow(course, rules, y, end, grid, lambda notes, *_: notes, ())[0]


def width(numbers: int, dtype: Any, lanes: int) -> int:
    """Of so many lanes of so many numbers, those that run together: as many as fit the cache, a multiple of 8
    so that all are computed alike; or one."""
    if machine.on_card():
        return lanes
    room = _STAGE_BYTES // (STAGES * numbers * dtype.itemsize)
    return 1 if room < 8 else min(_WIDEST, 8 * (room // 8), 8 * -(-lanes // 8))


def together(
    course: Callable[[Any], Course], rules: Rules, wide: int, y: Array, end: Array, grid: Array, data: Any
) -> Solved:
    """Many flows, ``wide`` at a time: one that is done makes room for the next.

    Lanes are the last axis of y (n, B), end (B), grid (T, B) and of every array of ``data``;
    ``course(data)`` is that of a tile of them.
    """
    lanes = y.shape[1]
    take = lambda tree, ids: jax.tree.map(lambda a: a[..., jnp.minimum(ids, lanes - 1)], tree)  # noqa: E731

    def begun(ids):
        return _started(course(take(data, ids)), rules, take(y, ids), take(end, ids))

    blocks = -(-lanes // wide)
    ids = jnp.arange(blocks * wide).reshape(blocks, wide)
    ready = jax.lax.map(begun, ids)
    ready = jax.tree.map(lambda a: jnp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1)[..., :lanes], ready)
    tile = jnp.arange(wide)
    mine = take((data, end, grid), tile)
    lane = take(ready, tile)
    shapes = jax.eval_shape(lambda data, y: course(data).look(y), mine[0], lane.y)
    shown = jax.tree.map(lambda a: jnp.zeros((lanes, len(grid), *a.shape[1:]), a.dtype), shapes)
    lane = lane._replace(status=jnp.where(tile < lanes, lane.status, int(Status.OK)).astype(jnp.int8))
    done = ready

    def put(ids, shown, seen, values, on):
        ids = jnp.where(on, ids, lanes)
        return jax.tree.map(lambda a, v: a.at[ids, seen].set(v, mode="drop"), shown, values)

    def proceed(state):
        return jnp.any(state[0].status == _RUNNING) | (state[4] < lanes)

    def step(state):
        lane, ids, mine, shown, waiting, done = state
        inner, ends, times = mine
        store = functools.partial(put, ids)
        lane, shown, _ = attempt(course(inner), rules, lane, ends, times, shown, store)
        free = lane.status != _RUNNING
        done = jax.tree.map(
            lambda a, v: a.at[..., jnp.where(free, ids, lanes)].set(v, mode="drop"), done, lane
        )
        fresh = free & (waiting + jnp.cumsum(free) - 1 < lanes)

        def refilled(parts):
            lane, ids, mine = parts
            ids = jnp.where(fresh, waiting + jnp.cumsum(free) - 1, ids)
            pick = lambda old, new: jax.tree.map(lambda a, b: jnp.where(fresh, b, a), old, new)  # noqa: E731
            return pick(lane, take(ready, ids)), ids, pick(mine, take((data, end, grid), ids))

        lane, ids, mine = jax.lax.cond(jnp.any(fresh), refilled, lambda parts: parts, (lane, ids, mine))
        return lane, ids, mine, shown, waiting + jnp.sum(fresh), done

    state = (lane, tile, mine, shown, jnp.asarray(wide), done)
    *_, shown, _, done = jax.lax.while_loop(proceed, step, state)
    return Solved(done.y, done.s, shown, done.status, done.steps)
