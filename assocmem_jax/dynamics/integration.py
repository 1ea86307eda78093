"""How a flow is integrated: by Dopri8 on clocks of its own, by a solver of diffrax, by an implicit one."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from ..models import AbstractModel
from ..models.base import Coordinates, HasGrades, Lanes
from ..observe.gradient import population_gradient, trainable_mask
from ..tasks import AbstractTask
from . import adjoint, clocks, leaves
from .base import Request
from .batching import own_clock
from .clocks import Solved
from .crossing import Crossing
from .events import level
from .marching import Silent
from .stiff import ExtrapolatedEuler
from .trajectory import Status

# Solver steps before an explicit solver is taken to face a stiff problem; fewer where an implicit one comes
# next in any case, in coordinates that suit it.
EXPLICIT_STEPS, FIRST_STEPS = 200, 60


class Problem(NamedTuple):
    """All that a flow reads; its arrays are data."""

    flow: Any  # a GradientFlow
    task: AbstractTask
    trained: Any
    frozen: Any
    request: Request
    times: Array  # to observe at
    watched: bool = False  # the condition that is waited for, in place of what is observed

    def combine(self, part) -> AbstractModel:
        return eqx.combine(part, self.frozen)

    def observe(self, part) -> Any:
        if self.watched and self.request.until is not None:
            return level(self.request.until, self.task, self.combine(part))
        return self.request.look(self.task, self.combine(part))

    def downhill(self, part) -> Any:
        """−d(trained part)/dt."""
        slope = self.combine(part).tangent(self.task, population_gradient(self.task, self.combine, part)[1])
        if not self.flow.relative_rates:
            return slope
        rates = leaves.spread("relative_rates", self.flow.relative_rates, part, 1)
        return jax.tree.map(lambda g, rate: g * jnp.asarray(rate, g.dtype), slope, rates)

    @property
    def stops(self) -> bool:
        return not self.watched and self.request.until is not None and self.request.until.hold is not None

    @property
    def goal(self) -> Callable | None:
        """The condition at which the flow ends, of its trained part."""
        return self._replace(watched=True).observe if self.stops else None

    @property
    def end(self) -> Array:
        return self.flow.clock(self.flow.t1.astype(self.times.dtype))

    @property
    def grid(self) -> Array:
        """s to observe at: rounding must not put a requested time past the horizon."""
        return jnp.minimum(self.flow.clock(self.times), self.end)


def integrate(problem: Problem, mode: str) -> Solved:
    """Solve to flow.t1, observing at ``times``; past the end they repeat the end's.

    ``mode``: "explicit" (the one solver, to the end), "probe" (until it is taken to face a stiff
    problem), or "both" (from there on, the stiff solver).
    """
    flow = problem.flow
    suited = mode == "both" and not flow.relative_rates and _has_grades(problem)
    budget = flow.max_steps
    if mode != "explicit":
        budget = min(budget, FIRST_STEPS if suited else EXPLICIT_STEPS)
    result = _explicit(problem, budget)
    if mode == "both" and flow.max_steps > budget:
        result = _continued(problem, result, suited, flow.max_steps - budget)
    reached = problem.grid <= result.clock
    if problem.goal is not None:  # which may hold at the start: then all that is seen is the start
        there = problem.goal(problem.trained) > 0
        result, reached = _unless_there(problem.trained, there, result), reached & ~there
    final = problem.observe(result.params)
    saved = jax.tree.map(lambda a, last: jnp.where(_rows(reached, a), a, last), result.saved, final)
    return result._replace(saved=saved)


def _unless_there(start: Any, there: Array, result: Solved) -> Solved:
    """``result``, or a hit at the start if the condition holds there."""
    hit = jnp.asarray(int(Status.HIT), result.status.dtype)
    clock, steps = jnp.zeros_like(result.clock), jnp.zeros_like(result.num_steps)
    at_once = Solved(start, clock, result.saved, hit, steps)
    return jax.tree.map(lambda a, b: jnp.where(there, a, b), at_once, result)


def _own(problem: Problem) -> Coordinates:
    return Coordinates(problem.trained, problem.downhill, lambda y: y)


def _explicit(problem: Problem, budget: int) -> Solved:
    """By ``flow.solver``, to the end or for ``budget`` steps."""
    flow, dtype = problem.flow, problem.times.dtype
    ours = type(flow.solver) is diffrax.Dopri8 and flow.step is None
    if not ours or not _apart(problem):
        return _by_diffrax(problem, budget)
    rtol, atol = flow.tolerances(dtype)
    rules = clocks.Rules(rtol, atol, budget, flow.log_time)
    alone = functools.partial(_alone, rules=rules)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(problem.trained))
    together = functools.partial(_together, rules=rules) if clocks.width(numbers, dtype, 8) > 1 else None
    # Where a flow ends that waits for a condition has a derivative, which diffrax knows.
    reverse = functools.partial(alone, reverse=True)
    if problem.stops:
        reverse = functools.partial(_by_diffrax, budget=budget)
    return own_clock(alone, reverse, together, problem)


def _apart(problem: Problem) -> bool:
    """Whether a flow may run by ``own_clock``: diffrax tells progress, and knows forward mode."""
    quiet = isinstance(problem.request.meter, Silent)
    return quiet and isinstance(problem.flow.adjoint, diffrax.RecursiveCheckpointAdjoint)


def _by_diffrax(problem: Problem, budget: int) -> Solved:
    controller: Any = diffrax.ConstantStepSize()
    if problem.flow.step is None:
        rtol, atol = problem.flow.tolerances(problem.times.dtype)
        controller = diffrax.PIDController(rtol=rtol, atol=atol)
        if isinstance(problem.flow.solver, ExtrapolatedEuler):  # whose dense output is linear
            controller = diffrax.ClipStepSizeController(controller, step_ts=problem.grid)
    start = jnp.zeros((), problem.times.dtype)
    return _solve(problem, problem.flow.solver, controller, start, _own(problem), problem.grid, budget)


def _alone(problem: Problem, rules: clocks.Rules, reverse: bool = False) -> Solved:
    """One flow by Dopri8; ``reverse``: for reverse mode."""
    row = _row(problem) if reverse else _lanes(problem)
    goal = problem.goal
    course = clocks.Course(
        lambda y: row.downhill(y, row.data),
        lambda y: problem.observe(row.back(y, row.data)),
        None if goal is None else lambda y: goal(row.back(y, row.data)),
    )
    given = course, rules, row.start, problem.end, problem.grid
    found = adjoint.differentiable(*given) if reverse else clocks.alone(*given)
    return found._replace(params=row.back(found.params, row.data))


def _together(problem: Problem, batched: Any, rules: clocks.Rules) -> Solved:
    """Many flows by Dopri8; leaves marked in ``batched`` have lanes first."""
    mapped, shared = eqx.partition(problem, batched)
    mapped = jax.tree.map(lambda a: jnp.moveaxis(a, 0, -1), mapped)
    of = lambda mapped: eqx.combine(mapped, shared)  # noqa: E731

    def ready(mapped):
        problem = of(mapped)
        row = _lanes(problem)
        return row.start, row.data, problem.end, problem.grid

    start, data, end, grid = jax.vmap(ready, -1, -1)(mapped)
    # Its functions, which are of their arguments alone: those of the first lane are those of all.
    row = _lanes(of(jax.tree.map(lambda a: a[..., 0], mapped)))

    def course(tile):
        mapped, data = tile
        each = lambda y, mapped, data: _lanes(of(mapped)).downhill(y, data)  # noqa: E731
        apart = lambda y: jax.vmap(each, -1, -1)(y, mapped, data)  # noqa: E731
        look = lambda y, mapped, data: of(mapped).observe(row.back(y, data))  # noqa: E731
        wait = lambda y, mapped, data: of(mapped).goal(row.back(y, data))  # noqa: E731
        return clocks.Course(
            (lambda y: row.downhill(y, data)) if row.closed else apart,
            lambda y: jax.vmap(look, -1)(y, mapped, data),
            (lambda y: jax.vmap(wait, -1)(y, mapped, data)) if problem.stops else None,
        )

    wide = clocks.width(len(start), start.dtype, end.shape[0])
    found = clocks.together(course, rules, wide, start, end, grid, (mapped, data))
    return found._replace(params=jax.vmap(row.back, -1)(found.params, data))


def _lanes(problem: Problem) -> Lanes:
    """The coordinates that the model has for lanes, else its trained leaves in a row."""
    if not problem.flow.relative_rates:
        found = leaves.lanes(problem.task, problem.combine(problem.trained), problem.trained)
        if found is not None:
            return found
    return _row(problem)


def _row(problem: Problem) -> Lanes:
    """The trained leaves in a row."""
    start, unravel = ravel_pytree(problem.trained)
    downhill = lambda y, _: ravel_pytree(problem.downhill(unravel(y)))[0]  # noqa: E731
    return Lanes(start, (), downhill, lambda y, _: unravel(y), closed=False)


def _solve(problem, solver, controller, s0, course: Coordinates, grid, max_steps: int) -> Solved:
    """By a solver of diffrax, from s0 on."""
    flow = problem.flow

    def field(s, y, args):
        speed = -(1 + flow.time(s)) if flow.log_time else -1.0
        return jax.tree.map(lambda g: speed * g, course.downhill(y))

    term, event = diffrax.ODETerm(field), None
    by_steps = isinstance(solver, ExtrapolatedEuler)  # whose dense output would not do for a crossing
    if (condition := problem.goal) is not None:
        finder = None if by_steps else _crossing(grid.dtype)
        event = diffrax.Event(lambda t, y, args, **_: condition(course.back(y)), finder, direction=True)
    meter: Any = problem.request.meter
    shown = diffrax.SubSaveAt(ts=grid, fn=lambda s, y, args: problem.observe(course.back(y)))
    subs = [shown, diffrax.SubSaveAt(t1=True)]
    found = diffrax.diffeqsolve(
        term,
        solver,
        s0,
        problem.end,
        flow.step,
        course.start,
        saveat=diffrax.SaveAt(subs=subs, solver_state=by_steps and event is not None),
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,
        event=event,
        adjoint=flow.adjoint,
        progress_meter=diffrax.NoProgressMeter() if isinstance(meter, Silent) else meter,
    )
    values: Any
    values, (_, ends) = found.ys, found.ts  # pyright: ignore[reportGeneralTypeIssues]
    status, clock = _status(found.result), ends[0]
    last = jax.tree.map(lambda a: a[0], values[1])
    if by_steps and condition is not None:
        of_step: Any = found.solver_state
        began, start = of_step  # of the last one
        holds = lambda y: condition(course.back(y))  # noqa: E731
        ahead = lambda s: solver.step(term, began, s, start, None, None, False)[0]  # noqa: E731
        clock, last = _met(holds, ahead, status == int(Status.HIT), began, clock)
    steps = jnp.asarray(found.stats["num_steps"], jnp.int32)
    return Solved(course.back(last), clock, values[0], status, steps)


def _crossing(dtype: Any) -> Crossing:
    fine = 4 * float(jnp.finfo(dtype).eps)
    return Crossing(fine, fine)


def _met(holds: Callable, ahead: Callable, hit: Array, low: Array, high: Array) -> tuple[Array, Any]:
    """(s, y) where a condition rises above 0 in a step from ``low`` to ``high``; ``ahead(s)``: where a step
    to s ends. Of a step without a ``hit``, its end, which no condition moves."""

    def gap(s, _):
        return jnp.where(hit, holds(ahead(s)), high - s)

    bracket = {"lower": low, "upper": high}
    s = optx.root_find(gap, _crossing(high.dtype), high, options=bracket, throw=False).value
    return s, ahead(s)


def _continued(problem: Problem, first: Solved, suited: bool, budget: int) -> Solved:
    """From where the explicit solver has used up its steps, by an implicit one."""

    def stiff(given):
        problem, first = given
        grid, dtype = problem.grid, problem.times.dtype
        unfinished = first.status == int(Status.STEP_LIMIT)
        # Lanes that are done get an empty interval, so that they cost nothing.
        s0 = jnp.where(unfinished, first.clock, problem.end)
        late = jnp.maximum(grid, s0)
        # Extrapolation errs on one side step after step; a fifth of the tolerance makes up for it.
        # Its weights, of size 10⁴, amplify rounding: below that it could not tell error from noise.
        floor = 1e4 * float(jnp.finfo(dtype).eps)
        strict, least = (max(tolerance / 5, floor) for tolerance in problem.flow.tolerances(dtype))
        here = problem._replace(trained=first.params)
        if suited:
            course, solver = _graded(here), ExtrapolatedEuler(least=least / strict)
            careful = diffrax.PIDController(rtol=0.0, atol=strict)
        else:
            course, solver = _own(here), ExtrapolatedEuler()
            careful = diffrax.PIDController(rtol=strict, atol=least)
        clipped = diffrax.ClipStepSizeController(careful, step_ts=late)
        second = _solve(problem, solver, clipped, s0, course, late, budget)
        before = grid <= first.clock
        pick = lambda a, b: jnp.where(_rows(before | ~unfinished, a), a, b)  # noqa: E731
        choose = lambda a, b: jnp.where(unfinished, b, a)  # noqa: E731
        return Solved(
            jax.tree.map(choose, first.params, second.params),
            choose(first.clock, second.clock),
            jax.tree.map(pick, first.saved, second.saved),
            choose(first.status, second.status),
            first.num_steps + jnp.where(unfinished, second.num_steps, 0),
        )

    if not _apart(problem):
        return stiff((problem, first))
    return own_clock(stiff, stiff, None, (problem, first))


def _has_grades(problem: Problem) -> bool:
    model = problem.combine(problem.trained)
    return isinstance(model, HasGrades) and leaves.usual(model, problem.trained)


def _graded(problem: Problem) -> Coordinates:
    model: Any = problem.combine(problem.trained)
    start, downhill, back = model.graded(problem.task)
    return Coordinates(start, downhill, lambda y: eqx.filter(back(y), trainable_mask(model)))


def _rows(mask: Array, like: Array) -> Array:
    return mask.reshape(mask.shape + (1,) * (like.ndim - mask.ndim))


def _status(result) -> Array:
    codes = jnp.asarray(int(Status.NON_FINITE), jnp.int8)
    for name, status in (
        ("successful", Status.OK),
        ("event_occurred", Status.HIT),
        ("max_steps_reached", Status.STEP_LIMIT),
    ):
        met = result == getattr(diffrax.RESULTS, name)
        codes = jnp.where(met, int(status), codes).astype(jnp.int8)
    return codes
