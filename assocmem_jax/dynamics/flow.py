"""Gradient flow, GD (4): dW = −∇L(W) dt, integrated in logarithmic time."""

from collections.abc import Callable, Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import checks
from ..checks import Scalar
from ..models import AbstractModel
from ..tasks import AbstractTask
from . import leaves, programs
from .base import AbstractDynamics, Request, trained_part
from .integration import Problem, Solved, integrate
from .marching import Silent
from .room import refuse_looks
from .trajectory import Status, Trajectory


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
    - ``adjoint``: how diffrax differentiates (``diffrax.ForwardMode()`` for ``jax.jvp``); unless given,
      reverse mode pulls back the steps of ``Dopri8``, and other solvers are checkpointed.

    Under ``vmap`` every lane is on its own clock: none waits for the slowest (dynamics/clocks.py).
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
        if solver is not None:
            _suits(solver, step)
        # Neither of these keeps the points that are looked at.
        pointless = isinstance(adjoint, diffrax.BacksolveAdjoint | diffrax.ImplicitAdjoint)
        if pointless or not isinstance(adjoint, diffrax.AbstractAdjoint | None):
            checks.refuse(
                "adjoint", "a diffrax adjoint of the steps that were made", checks.short(adjoint),
                "diffrax.RecursiveCheckpointAdjoint(), DirectAdjoint() or ForwardMode()",
            )  # fmt: skip
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


# What a root finder has for a tolerance where it takes that of the steps.
_OF_STEPS = diffrax.Kvaerno5().root_finder.rtol


def _suits(solver: diffrax.AbstractSolver, step: Scalar | None) -> None:
    """Refuse what is no solver of an equation without noise, or cannot choose its steps, or needs to."""
    known = isinstance(solver, diffrax.AbstractSolver)
    form: Any = solver.term_structure if known else None
    if not (isinstance(form, type) and issubclass(diffrax.ODETerm, form)):
        words = checks.short(solver) if not known else f"{type(solver).__name__}, which is of other equations"
        checks.refuse("solver", "a diffrax solver of y' = f(y)", words, "for example diffrax.Tsit5()")
    if step is None and not isinstance(solver, diffrax.AbstractAdaptiveSolver):
        name = type(solver).__name__
        checks.refuse("step", f"given with {name}, which has no error estimate", None, "step=0.01")
    if step is not None and without_tolerance(solver):
        checks.refuse(
            "solver", "explicit with equal steps, or given its tolerances", type(solver).__name__,
            "root_finder=diffrax.VeryChord(rtol=1e-6, atol=1e-6)",
        )  # fmt: skip


def without_tolerance(solver: diffrax.AbstractSolver) -> bool:
    """Whether a solver is implicit and solves to the tolerance of its steps, which equal ones have not."""
    root = getattr(solver, "root_finder", None)
    return any(getattr(root, name, None) is _OF_STEPS for name in ("rtol", "atol", "norm"))


@eqx.filter_jit
def _solved(flow, task, trained, frozen, request, times, mode) -> Trajectory:
    programs.traced()
    times = times.astype(jnp.result_type(*jax.tree.leaves(trained)))
    problem = Problem(flow, task, trained, frozen, request, times)
    solved = integrate(problem, mode)
    last = flow.t1.astype(times.dtype)
    # Of the end itself no more is known than that it was reached: log and exp are off by a rounding.
    end = jnp.where(solved.clock >= problem.end, last, jnp.minimum(flow.time(solved.clock), last))
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


def flow_times(flow: GradientFlow, at, dtype) -> Array:
    """Times to observe at: those given, with 0 and t1 included, or the default grid."""
    if at is None:
        return flow.default_times(dtype)
    given = checks.array("at", at)
    (at,) = checks.floats(at=at)
    if at.ndim != 1:
        checks.refuse("at", "a vector of times", f"shape {at.shape}")
    if checks.concrete(given):
        checks.finite("at", given)
        known, end = np.asarray(given), float(flow.t1) if checks.concrete(flow.t1) else np.inf
        if len(known) and (known.min() < 0 or known.max() > end * (1 + 1e-12)):
            checks.refuse("at", f"times from 0 to {end:g}", f"{known.min():g} to {known.max():g}")
    if checks.concrete(at, flow.t1):
        ends = [0.0], np.asarray(at), [float(flow.t1)]
        return jnp.asarray(np.unique(np.concatenate(ends)), dtype)
    # What is no time of the flow is looked at where it begins; beyond its end ``times`` are cut.
    at = jnp.where(at >= 0, at, 0)
    ends = [jnp.zeros(1, dtype), at.astype(dtype), flow.t1.astype(dtype)[None]]
    return jnp.sort(jnp.concatenate(ends))


def _hits(problem: Problem, solved: Solved, end, mode: str):
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
        quiet = problem.request._replace(meter=Silent())
        found = integrate(problem._replace(times=flat, request=quiet, watched=True), mode).saved
        s, holds, watched = flow.clock(flat), found > 0, found.astype(times.dtype)
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
