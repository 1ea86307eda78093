"""Gradient flow, GD (4): dW = −∇L(W) dt, integrated by diffrax in logarithmic time."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .. import checks
from ..checks import Scalar
from ..models import AbstractModel
from ..models.base import Coordinates, HasGrades, HasLanes, Lanes
from ..observe.gradient import population_gradient, trainable_mask
from ..tasks import AbstractTask
from . import clocks, leaves, programs
from .base import AbstractDynamics, Request, trained_part
from .clocks import Solved, own_clock
from .events import Crossing
from .room import refuse_looks
from .stiff import ExtrapolatedEuler
from .trajectory import Status, Trajectory

# Solver steps before an explicit solver is taken to face a stiff problem; fewer where an implicit one comes
# next in any case, in coordinates that suit it.
EXPLICIT_STEPS, FIRST_STEPS = 200, 60


class GradientFlow(AbstractDynamics):
    """dW = −∇L(W) dt, GD (4), to time ``t1``.

    - ``t1``: horizon, in the time of the flow (one unit is the learning rate of that many descent
      steps); at most 4.5e299, or 8.5e29 in float32: beyond, gradients of size 1/t underflow. ``times`` of
      the trajectory: as asked by ``simulate(at=…)``, else 0 and 200 more, even in log(1 + t).
    - ``log_time``: integrate in s = log(1 + t), where margins that grow like log t are straight
      lines; t = 1e12 takes about as many steps as t = 1e2 twice.
    - ``rtol``, ``atol``: local error per step. Unless given, 1e-10 and 1e-13 in float64, 1e-5 and
      1e-7 in float32. The global error is of the order of rtol (measured in tests/engine/test_flow.py).
    - ``solver``: any diffrax solver, Dopri8 unless given. With ``step``, it makes equal steps of
      that length (in s, or in t without ``log_time``) instead of adapting.
    - ``stiff``: continue with an implicit solver (``ExtrapolatedEuler``) from where the explicit one
      has used up its steps (60, or 200 of a model that does not know graded coordinates). ``None``: when
      200 explicit steps are not enough, outside transformations; ``True``: always compile both (under
      ``jit``, ``vmap`` and ``grad`` the need is not known beforehand, and ``None`` stays explicit: right,
      but slow on stiff problems); ``False``: never.
    - ``max_steps``: most solver steps in all; beyond, the status is STEP_LIMIT.
    - ``relative_rates``: pairs (leaves of the model, factor ≥ 0): those leaves move that many times as fast,
      dθ = −s ∇_θ L dt, as in ``Descent``. Factors are data.
    - ``adjoint``: how diffrax differentiates; reverse mode by recursive checkpointing unless given
      (``diffrax.ForwardMode()`` for ``jax.jvp``).
    """

    t1: Float[Array, ""]
    rtol: float | None = eqx.field(static=True)
    atol: float | None = eqx.field(static=True)
    solver: diffrax.AbstractSolver
    step: Float[Array, ""] | None
    log_time: bool = eqx.field(static=True)
    stiff: bool | None = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    adjoint: diffrax.AbstractAdjoint
    relative_rates: leaves.Pairs

    def __init__(
        self,
        t1: Scalar,
        *,
        rtol: float | None = None,
        atol: float | None = None,
        solver: diffrax.AbstractSolver | None = None,
        step: Scalar | None = None,
        log_time: bool = True,
        stiff: bool | None = None,
        max_steps: int = 65_536,
        adjoint: diffrax.AbstractAdjoint | None = None,
        relative_rates: Sequence[tuple[Callable, Scalar]] = (),
    ):
        self.t1 = checks.scalar("t1", t1)
        checks.positive("t1", t1, "the flow starts at t = 0")
        for name, value in (("rtol", rtol), ("atol", atol), ("step", step)):
            if value is not None:
                checks.shaped(name, jnp.asarray(checks.array(name, value)), "one number", 0)
                checks.positive(name, value)
        if step is not None and (rtol is not None or atol is not None):
            checks.refuse("step", "None where rtol or atol is given", step, "a fixed step has no tolerance")
        if solver is not None and not isinstance(solver, diffrax.AbstractSolver):
            checks.refuse("solver", "a diffrax solver", repr(solver), "for example diffrax.Tsit5()")
        self.rtol, self.atol = rtol, atol
        self.step = None if step is None else checks.floats(step=step)[0]
        self.solver = diffrax.Dopri8() if solver is None else solver
        self.log_time = checks.truth("log_time", log_time)
        self.stiff = checks.truth("stiff", stiff, (None,))
        self.max_steps = checks.count("max_steps", max_steps)
        self.adjoint = diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint
        self.relative_rates = leaves.relative(relative_rates)

    def clock(self, t):
        """Integration variable s of a time t."""
        return jnp.log1p(t) if self.log_time else t

    def time(self, s):
        """Time t of an integration variable s."""
        return jnp.expm1(s) if self.log_time else s

    def default_times(self, dtype) -> Array:
        """0 and 200 more times to t1, even in s."""
        grid = self.time(jnp.linspace(0, 1, 201, dtype=dtype) * self.clock(self.t1.astype(dtype)))
        return grid.at[-1].set(self.t1.astype(dtype))

    def tolerances(self, dtype) -> tuple[float, float]:
        eps = float(jnp.finfo(dtype).eps)
        rtol = (1e-10 if eps < 1e-10 else 1e-5) if self.rtol is None else self.rtol
        atol = rtol * (1e-3 if eps < 1e-10 else 1e-2) if self.atol is None else self.atol
        if rtol < 10 * eps:
            checks.refuse(
                "rtol",
                f"at least {10 * eps:.2g} in {jnp.dtype(dtype).name}",
                rtol,
                "use float64: jax.config.update('jax_enable_x64', True)",
            )
        return rtol, atol

    def run(self, task: AbstractTask, model: AbstractModel, request: Request) -> Trajectory:
        if request.every is not None:
            checks.refuse("every", "None for a flow, which has no steps", request.every, "pass at=times")
        if request.until is not None and request.until.hold not in (1, None):
            checks.refuse("until.hold", "1 or None for a flow", request.until.hold)
        if request.resumable or request.resume is not None:
            checks.refuse("resume", "for a Descent only", "a GradientFlow")
        leaves.refuse_scores(self.relative_rates, model)
        # Gradients are of size 1/t: beyond, they underflow.
        longest = 1e-8 / float(jnp.finfo(task.dtype).tiny)
        checks.within(
            "t1", self.t1, 0, longest, f"in {jnp.dtype(task.dtype).name} gradients underflow beyond"
        )
        times = flow_times(self, request.at, task.dtype)
        refuse_looks(task, model, request, times.size, None)
        trained, frozen = trained_part(model, request.trainable)
        asked = request._replace(at=None, trainable=None)
        mode = "explicit"
        if self.step is None and self.stiff:
            mode = "both"
        elif self.step is None and self.stiff is None and checks.concrete(task, model, self):
            mode = "probe"
        result = _solved(self, task, trained, frozen, asked, times, mode)
        if mode == "probe":
            known = checks.concrete(result.status)
            if not known or int(result.status) == int(Status.STEP_LIMIT):
                result = _solved(self, task, trained, frozen, asked, times, "both")
        return result


class _Problem(NamedTuple):
    """All that a flow reads; its arrays are data."""

    flow: GradientFlow
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
            return self.request.until.condition(self.task, self.combine(part))
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
    def end(self) -> Array:
        return self.flow.clock(self.flow.t1.astype(self.times.dtype))

    @property
    def grid(self) -> Array:
        """s to observe at: rounding must not put a requested time past the horizon."""
        return jnp.minimum(self.flow.clock(self.times), self.end)


@eqx.filter_jit
def _solved(flow, task, trained, frozen, request, times, mode) -> Trajectory:
    programs.traced()
    times = times.astype(jnp.result_type(*jax.tree.leaves(trained)))
    problem = _Problem(flow, task, trained, frozen, request, times)
    solved = integrate(problem, mode)
    end = jnp.minimum(flow.time(solved.clock), flow.t1.astype(times.dtype))
    first, stable = _hits(problem, solved, end, mode)
    none = jnp.asarray(-1, jnp.int32)
    return Trajectory(
        times=jnp.minimum(times, end),
        steps=jnp.full(times.shape, -1, jnp.int32),
        observed=solved.saved,
        model=problem.combine(solved.params),
        status=solved.status,
        first_hit=first,
        stable_hit=stable,
        first_step=none,
        stable_step=none,
        num_steps=jnp.asarray(solved.num_steps, jnp.int32),
        labels=request.labelled(task),
        names=getattr(task, "names", ()),
    )


def integrate(problem: _Problem, mode: str) -> Solved:
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
    final = problem.observe(result.params)
    saved = jax.tree.map(lambda a, last: jnp.where(_rows(reached, a), a, last), result.saved, final)
    return result._replace(saved=saved)


def _own(problem: _Problem) -> Coordinates:
    return Coordinates(problem.trained, problem.downhill, lambda y: y)


def _explicit(problem: _Problem, budget: int) -> Solved:
    """By ``flow.solver``, to the end or for ``budget`` steps."""
    flow = problem.flow

    def by_diffrax(problem):
        controller: Any = diffrax.ConstantStepSize()
        if flow.step is None:
            rtol, atol = flow.tolerances(problem.times.dtype)
            controller = diffrax.PIDController(rtol=rtol, atol=atol)
        start = jnp.zeros((), problem.times.dtype)
        return _solve(problem, flow.solver, controller, start, _own(problem), problem.grid, budget)

    if not _apart(problem) or flow.step is not None:
        return by_diffrax(problem)
    if type(flow.solver) is not diffrax.Dopri8 or problem.stops:
        return own_clock(by_diffrax, by_diffrax, None, problem)
    rtol, atol = flow.tolerances(problem.times.dtype)
    rules = clocks.Rules(rtol, atol, budget, flow.log_time)
    size = sum(leaf.size for leaf in jax.tree.leaves(problem.trained))
    wide = clocks.width(size, problem.times.dtype.itemsize, 8)

    def single(problem):
        lanes = _lanes(problem)
        course = clocks.Course(
            lambda y: lanes.downhill(y, lanes.data), lambda y: problem.observe(lanes.back(y, lanes.data))
        )
        found = clocks.alone(course, rules, lanes.start, problem.end, problem.grid)
        return found._replace(params=lanes.back(found.params, lanes.data))

    def many(problem, batched):
        given, shared = eqx.partition(problem, batched)
        last = lambda tree: jax.tree.map(lambda a: jnp.moveaxis(a, 0, -1), tree)  # noqa: E731
        given = last(given)
        each = lambda function: jax.vmap(function, -1, -1)  # noqa: E731

        def ready(given):
            problem = eqx.combine(given, shared)
            lanes = _lanes(problem)
            return lanes.start, lanes.data, problem.end, problem.grid

        start, data, end, grid = each(ready)(given)

        def course(tile):
            given, data = tile
            problem = eqx.combine(jax.tree.map(lambda a: a[..., 0], given), shared)
            lanes = _lanes(problem)
            if lanes.closed:
                downhill = lambda y: lanes.downhill(y, data)  # noqa: E731
            else:
                one = lambda y, given: _lanes(eqx.combine(given, shared)).downhill(y, ())  # noqa: E731
                downhill = lambda y: jax.vmap(one, -1, -1)(y, given)  # noqa: E731

            def look(y, given, data):
                return eqx.combine(given, shared).observe(lanes.back(y, data))

            return clocks.Course(downhill, lambda y: jax.vmap(look, -1)(y, given, data))

        lanes = end.shape[-1]
        tile = clocks.width(len(start), start.dtype.itemsize, lanes)
        found = clocks.together(course, rules, tile, start, end, grid, (given, data))
        back = lambda y, given, data: _lanes(eqx.combine(given, shared)).back(y, data)  # noqa: E731
        return found._replace(params=jax.vmap(back, -1)(found.params, given, data))

    return own_clock(single, by_diffrax, many if wide > 1 else None, problem)


def _apart(problem: _Problem) -> bool:
    """Whether lanes of a batch are to run on their own clocks: on a card, in lockstep they cost nothing."""
    plain = isinstance(problem.request.meter, diffrax.NoProgressMeter)
    reverse = isinstance(problem.flow.adjoint, diffrax.RecursiveCheckpointAdjoint)
    return plain and reverse


def _lanes(problem: _Problem) -> Lanes:
    """The coordinates that the model has for lanes, else its trained leaves in a row."""
    model = problem.combine(problem.trained)
    if not problem.flow.relative_rates and isinstance(model, HasLanes) and _usual(problem):
        found = model.lanes(problem.task)
        if found is not None:
            back = lambda y, data: eqx.filter(found.back(y, data), trainable_mask(model))  # noqa: E731
            return found._replace(back=back)
    start, unravel = ravel_pytree(problem.trained)
    downhill = lambda y, _: ravel_pytree(problem.downhill(unravel(y)))[0]  # noqa: E731
    return Lanes(start, (), downhill, lambda y, _: unravel(y), closed=False)


def _solve(problem, solver, controller, s0, course: Coordinates, grid, max_steps: int) -> Solved:
    """By a solver of diffrax, from s0 on."""
    flow = problem.flow

    def field(s, y, args):
        speed = -(1 + flow.time(s)) if flow.log_time else -1.0
        return jax.tree.map(lambda g: speed * g, course.downhill(y))

    event = None
    if problem.stops:
        condition, fine = problem._replace(watched=True).observe, 4 * float(jnp.finfo(grid.dtype).eps)
        event = diffrax.Event(
            lambda t, y, args, **_: condition(course.back(y)), Crossing(fine, fine), direction=True
        )
    shown = diffrax.SubSaveAt(ts=grid, fn=lambda s, y, args: problem.observe(course.back(y)))
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        s0,
        problem.end,
        flow.step,
        course.start,
        saveat=diffrax.SaveAt(subs=[shown, diffrax.SubSaveAt(t1=True)]),
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,
        event=event,
        adjoint=flow.adjoint,
        progress_meter=problem.request.meter,
    )
    values: Any
    values, (_, ends) = found.ys, found.ts  # pyright: ignore[reportGeneralTypeIssues]
    last = course.back(jax.tree.map(lambda a: a[0], values[1]))
    steps = jnp.asarray(found.stats["num_steps"], jnp.int32)
    return Solved(last, ends[0], values[0], _status(found.result), steps)


def _continued(problem: _Problem, first: Solved, suited: bool, budget: int) -> Solved:
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


def _usual(problem: _Problem) -> bool:
    """Whether what is trained is what the model itself would train."""
    model = problem.combine(problem.trained)
    usual = eqx.filter(model, trainable_mask(model))
    return jax.tree.structure(usual) == jax.tree.structure(problem.trained)


def _has_grades(problem: _Problem) -> bool:
    return isinstance(problem.combine(problem.trained), HasGrades) and _usual(problem)


def _graded(problem: _Problem) -> Coordinates:
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


def flow_times(flow: GradientFlow, at, dtype) -> Array:
    """Times to observe at: those given, with 0 and t1 included, or the default grid."""
    if at is None:
        return flow.default_times(dtype)
    (at,) = checks.floats(at=at)
    if at.ndim != 1:
        checks.refuse("at", "a vector of times", f"shape {at.shape}")
    if checks.concrete(at, flow.t1):
        checks.finite("at", at)
        known = np.asarray(at)
        if len(known) and (known.min() < 0 or known.max() > float(flow.t1) * (1 + 1e-12)):
            checks.refuse("at", f"times from 0 to {float(flow.t1):g}", f"{known.min():g} to {known.max():g}")
        return jnp.asarray(np.unique(np.concatenate([[0.0], known, [float(flow.t1)]])), dtype)
    ends = [jnp.zeros(1, dtype), at.astype(dtype), flow.t1.astype(dtype)[None]]
    return jnp.sort(jnp.concatenate(ends))


def _hits(problem: _Problem, solved: Solved, end, mode: str):
    """(first, stable) hit times of a flow."""
    flow, times = problem.flow, problem.times
    never = jnp.asarray(jnp.inf, times.dtype)
    if problem.request.until is None:
        return never, never
    if problem.stops:
        hit = jnp.where(solved.status == int(Status.HIT), end, never)
        return hit, hit
    # Watching only: solve again with the condition on a grid in s, then twice more on grids inside
    # the intervals of the first and of the last sign change; linear in s at the end. A double
    # crossing within one interval of the first grid (1/200 of the horizon in s) is not seen.
    points = 101
    horizon = flow.clock(times[-1])

    def look(grids):
        flat = jnp.sort(flow.time(grids.reshape(-1)))
        quiet = problem.request._replace(meter=diffrax.NoProgressMeter())
        watched = integrate(problem._replace(times=flat, request=quiet, watched=True), mode).saved
        s, holds = flow.clock(flat), watched > 0
        rise = holds[1:] & ~holds[:-1]
        k = jnp.arange(rise.shape[0])
        ends = jnp.min(jnp.where(rise, k, k.shape[0] - 1)), jnp.max(jnp.where(rise, k, 0))
        left = jnp.stack([s[i] for i in ends])
        right = jnp.stack([s[i + 1] for i in ends])
        low = jnp.stack([watched[i] for i in ends])
        slope = jnp.stack([watched[i + 1] - watched[i] for i in ends])
        cross = left - (right - left) * low / jnp.where(slope > 0, slope, 1)
        return left, right, flow.time(cross), jnp.any(rise), holds[0], holds[-1]

    unit = jnp.linspace(0, 1, points, dtype=times.dtype)
    never_rises = jnp.asarray(False)

    def refine(k, state):
        left, right, *_, rises, at_start, at_end = state
        found = look(left[:, None] + (right - left)[:, None] * unit)
        # What holds over the whole horizon is learnt in the first pass.
        whole = [jnp.where(k == 0, new, old) for new, old in zip(found[3:], (rises, at_start, at_end))]
        return *found[:3], *whole

    half = jnp.stack([jnp.zeros_like(horizon), horizon / 2])
    state = (half, half + horizon / 2, half, never_rises, never_rises, never_rises)
    _, _, cross, rises, at_start, at_end = jax.lax.fori_loop(0, 3, refine, state)
    first = jnp.where(at_start, 0.0, jnp.where(rises, cross[0], never))
    stable = jnp.where(at_end, jnp.where(rises, cross[1], 0.0), never)
    return first, stable
