"""The derivative of a flow in reverse mode: that of the steps which Dopri8 took, from the last to the first.

Kept of the way there are the sizes of all steps and every √n-th point; those between are computed again. What
was observed is pulled back through the step that it was observed in.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .. import checks
from ..tasks import embeddings
from . import clocks
from .clocks import Course, Rules, Solved
from .trajectory import Status


class _Way(NamedTuple):
    """The steps that were taken, and y before every ``stride``-th of them."""

    taken: Array  # how many
    points: Array
    starts: Array
    sizes: Array
    seen: Array  # times observed before each


# The derivative of a product is shorter than that of a sum of products.
_mixed = functools.partial(jnp.tensordot, axes=1, precision=jax.lax.Precision.HIGHEST)


def _lifted(function: Callable, y: Array) -> tuple[Callable, list]:
    """(a function of (what ``function`` reads that is traced, y), what it reads)."""
    with embeddings.brief():
        traced, shape = jax.make_jaxpr(function, return_shape=True)(y)
    known = [a if checks.concrete(a) else None for a in traced.consts]
    read = [a if b is None else None for a, b in zip(traced.consts, known)]

    def lifted(read, y):
        consts = [a if b is None else b for a, b in zip(read, known)]
        found = jex.jaxpr_as_fun(jex.ClosedJaxpr(traced.jaxpr, consts))(y)
        return jax.tree.unflatten(jax.tree.structure(shape), found)

    return lifted, read


def differentiable(course: Course, rules: Rules, y: Array, end: Array, grid: Array) -> Solved:
    """What ``clocks.alone`` gives, with a derivative by y, ``end``, ``grid`` and whatever ``course`` reads.
    Sizes of steps are numbers, with no derivative, but for the last, which ends at ``end``."""
    downhill, met = _lifted(course.downhill, y)
    look, seen = _lifted(course.look, y)
    smooth = eqx.is_inexact_array
    stride = math.isqrt(rules.max_steps - 1) + 1

    def of(read) -> Course:
        return Course(functools.partial(downhill, read[0]), functools.partial(look, read[1]))

    def note(way: _Way, before: clocks.Lane, lane: clocks.Lane, taken: Array) -> _Way:
        k, on = way.taken, taken > 0
        mark = jnp.where(on & (k % stride == 0), k // stride, len(way.points))
        return _Way(
            k + on,
            way.points.at[mark].set(before.y, mode="drop"),
            way.starts.at[k].set(before.s),
            way.sizes.at[k].set(taken),
            way.seen.at[k + 1].set(lane.seen),
        )

    def forward(y, end, grid, read):
        none = jnp.zeros(rules.max_steps + 2, y.dtype)
        way = _Way(jnp.asarray(0), jnp.zeros((stride, *y.shape), y.dtype), none, none, none.astype(jnp.int32))
        found, way = clocks.follow(of(read), rules, y, end, grid, note, way)
        return found, (found.status == int(Status.OK), way, end, grid, read)

    def backward(kept, cotangents):
        arrived, way, end, grid, read = kept
        read, fixed = eqx.partition(read, smooth)
        course = lambda read: of(eqx.combine(read, fixed))  # noqa: E731
        of_shown = eqx.filter(cotangents.saved, smooth)

        last = lambda k: arrived & (k == way.taken - 1)  # noqa: E731

        def step(k, y):
            """(slopes, where it ends, its size) of the k-th step."""
            size = way.sizes[k]
            return *clocks.stages(course(read), rules, y, way.starts[k], size, mixed=_mixed), size

        def watched(k, at, y, taken, read):
            slopes, moved, size = taken
            reached = jnp.where(last(k), end, way.starts[k] + way.sizes[k])
            there = clocks.between(at, reached, y, way.starts[k], size, slopes, moved, _mixed)
            return eqx.filter(course(read).look(there), smooth)

        def pulled(k, y, taken, cotangents):
            """Cotangents of y, of the size and of what is read, from those of what ``step`` gave."""
            slopes, _, size = taken
            of_slopes, of_y, of_size = cotangents
            speeds, nodes, behind = clocks.plan(rules, way.starts[k], size)

            def point(i, of_point, carry):
                """Of y + size · behindᵢ · slopes."""
                of_slopes, of_y, of_size = carry
                along = jnp.vdot(of_point, _mixed(behind[i], slopes))
                return of_slopes + size * behind[i][:, None] * of_point, of_y + of_point, of_size + along

            def stage(n, carry):
                i, (carry, of_read) = clocks.STAGES - 1 - n, carry
                downhill = lambda read, at: course(read).downhill(at)  # noqa: E731
                _, pull = jax.vjp(downhill, read, y + size * _mixed(behind[i], slopes))
                of_more, of_point = pull(speeds[i] * carry[0][i])
                return point(i, of_point, carry), jax.tree.map(jnp.add, of_read, of_more)

            carry = point(clocks.STAGES, of_y, (of_slopes, jnp.zeros_like(of_y), of_size))
            carry = carry, jax.tree.map(jnp.zeros_like, read)
            (of_slopes, of_y, of_size), of_read = jax.lax.fori_loop(0, clocks.STAGES, stage, carry)
            if rules.log_time:  # of the speeds
                of_size += jnp.vdot(nodes, jnp.sum(of_slopes * slopes, axis=1))
            return of_y, of_size, of_read

        def back(k, y, state):
            """Pulled back through the k-th step, which began at y."""
            i, of_y, of_end, of_grid, of_read = state
            taken = step(k, y)
            none = jax.tree.map(jnp.zeros_like, (y, taken, read))

            def watch(carry):
                i, of_grid, parts = carry
                values, pull = jax.vjp(functools.partial(watched, k), grid[i], y, taken, read)
                of_at, *more = pull(jax.tree.map(lambda _, a: a[i], values, of_shown))
                return i - 1, of_grid.at[i].add(of_at), jax.tree.map(jnp.add, parts, tuple(more))

            later = lambda carry: carry[0] >= way.seen[k]  # noqa: E731
            i, of_grid, (direct, of_taken, read_there) = jax.lax.while_loop(later, watch, (i, of_grid, none))
            of_slopes, of_moved, of_size = of_taken
            through, of_size, read_here = pulled(k, y, taken, (of_slopes, of_moved + of_y, of_size))
            end_here = jnp.where(last(k), of_size, 0)
            of_read = jax.tree.map(lambda *parts: sum(parts), of_read, read_here, read_there)
            return i, direct + through, of_end + end_here, of_grid, of_read

        def segment(carry):
            k, state = carry
            first = k // stride * stride
            again = lambda i, ys: ys.at[i + 1 - first].set(step(i, ys[i - first])[1])  # noqa: E731
            ys = jnp.zeros_like(way.points).at[0].set(way.points[k // stride])
            ys = jax.lax.fori_loop(first, k, again, ys)
            inside = lambda carry: carry[0] >= first  # noqa: E731
            one = lambda carry: (carry[0] - 1, back(carry[0], ys[carry[0] - first], carry[1]))  # noqa: E731
            return jax.lax.while_loop(inside, one, (k, state))

        none = jax.tree.map(jnp.zeros_like, (grid, read))
        of_end = jnp.where(arrived, cotangents.clock, 0)
        state = (way.seen[way.taken] - 1, cotangents.params, of_end, *none)
        start = (way.taken - 1, state)
        _, (_, *found, of_read) = jax.lax.while_loop(lambda carry: carry[0] >= 0, segment, start)
        none = jax.tree.map(lambda a: np.zeros(a.shape, jax.dtypes.float0), fixed)
        return *found, eqx.combine(of_read, none)

    @jax.custom_vjp
    def solved(y, end, grid, read):
        return clocks.alone(of(read), rules, y, end, grid)

    solved.defvjp(forward, backward)
    return solved(y, end, grid, (met, seen))
