"""The one door."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .. import checks
from ..files import versions
from ..models import AbstractModel
from ..observe import quality
from ..observe.gradient import trainable_mask
from ..tasks import AbstractTask
from .descent import Descent
from .events import Until
from .flow import GradientFlow, flow_hits, flow_times, integrate
from .marching import march, start
from .stochastic import StochasticFlow
from .trajectory import REMEDY, Provenance, SimulationError, Status, Trajectory

DEFAULT_OBSERVABLES = {"loss": quality.loss, "error": quality.error}


def simulate(
    task: AbstractTask,
    model: AbstractModel,
    dynamics: GradientFlow | Descent | StochasticFlow,
    *,
    observe: Mapping[str, Callable] | None = None,
    every: int | None = None,
    at: Any = None,
    until: Until | None = None,
    key: PRNGKeyArray | None = None,
    trainable: Callable | None = None,
    throw: bool = True,
    progress: bool | diffrax.AbstractProgressMeter = False,
    resumable: bool = False,
    resume: Trajectory | None = None,
) -> Trajectory:
    """Train ``model`` on ``task`` with ``dynamics`` and return what was observed.

    - ``observe``: name → function ``(task, model) -> array``; loss and error unless given. Weights
      are kept only if asked for: ``dict(W=am.memory.weights)``.
    - ``every`` (steps, for descent and stochastic flow) or ``at`` (steps; times for a flow): when to
      observe. The initial and the final state are always included. Even spacing is differentiable
      in reverse mode; uneven steps in forward mode only.
    - ``until``: a condition to wait for; see ``Until``.
    - ``key``: a typed key (``jax.random.key``), for stochastic dynamics. Step t uses
      ``fold_in(key, t)``: a run needs no generator state.
    - ``trainable``: narrows what is trained, for example ``lambda m: m.weight``.
    - ``throw``: outside transformations, raise ``SimulationError`` (it carries the trajectory) if the
      run did not reach its horizon. With ``False``, and always under transformations, the status
      tells.
    - ``progress``: ``True`` for a tqdm bar, or a diffrax progress meter. Silent unless asked.
    - ``resumable``: keep the optimizer's state in ``trajectory.state``; ``resume``: such a trajectory, of the
      same task, model and dynamics, to go on from for ``dynamics.steps`` more updates (``every`` and ``at``
      count from there). Its first entry repeats the last one. See ``in_segments`` for runs that survive.

    Works under ``jit``, ``vmap`` and ``grad``. The same program is not compiled twice: reuse observe
    functions and optimizers (``Descent(optax.sgd, steps, learning_rate=η)`` makes η an input).
    """
    if not isinstance(dynamics, GradientFlow | Descent | StochasticFlow):
        checks.refuse("dynamics", "a GradientFlow, Descent or StochasticFlow", repr(dynamics))
    observe = dict(DEFAULT_OBSERVABLES if observe is None else observe)
    for name, function in observe.items():
        if not callable(function):
            checks.refuse(f"observe[{name!r}]", "a function (task, model) -> array", repr(function))
    if until is not None and not isinstance(until, Until):
        checks.refuse("until", "an Until", repr(until), "for example am.perfect_accuracy()")
    if key is not None and not (
        isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    ):
        checks.refuse("key", "a typed key", repr(key), "jax.random.key(0)")
    _check_fit(task, model)
    marks: Any
    if isinstance(dynamics, GradientFlow):
        if every is not None:
            checks.refuse("every", "None for a flow, which has no steps", every, "pass at=times")
        if until is not None and until.hold not in (1, None):
            checks.refuse("until.hold", "1 or None for a flow", until.hold)
        marks = flow_times(dynamics, at, task.dtype)
    else:
        marks = _Static(dynamics.marks(every, at))
    if (resumable or resume is not None) and not isinstance(dynamics, Descent):
        checks.refuse("resume", "for a Descent only", f"a {type(dynamics).__name__}")
    if resume is not None:
        if resume.state is None:
            checks.refuse(
                "resume", "a resumable trajectory", "one without state", "simulate(…, resumable=True)"
            )
        model, resumable = resume.model, True
    mask = trainable_mask(model, trainable)
    trained, frozen = eqx.partition(model, mask)
    if not jax.tree.leaves(trained):
        checks.refuse("trainable", "at least one array of the model", "none")
    began = time.perf_counter()
    mode = "explicit"
    if isinstance(dynamics, GradientFlow) and dynamics.step is None:
        if dynamics.stiff:
            mode = "both"
        elif dynamics.stiff is None and checks.concrete(task, model, dynamics):
            mode = "probe"
    meter = diffrax.TqdmProgressMeter(refresh_steps=1) if progress is True else progress
    meter = diffrax.NoProgressMeter() if meter is False else meter
    state = resume.state if resume is not None else resumable
    arguments = (task, trained, frozen, dynamics, observe, marks, until, key, meter, state)
    result = _run(*arguments, mode)
    if mode == "probe":
        known = checks.concrete(result.status)
        if not known or int(result.status) == int(Status.STEP_LIMIT):
            result = _run(*arguments, "both")
    if not checks.concrete(result):
        return result
    status = Status(int(result.status))  # waits for the device
    result = _label(result, began)
    if throw and status not in (Status.OK, Status.HIT):
        where = float(result.times[-1])
        raise SimulationError(
            f"status {status.name} at t = {where:.6g} after {int(result.num_steps)} steps: the run "
            f"{REMEDY[status]}; simulate(…, throw=False) returns what was computed",
            result,
        )
    return result


class _Static:
    """A constant array that is part of the program, not of its data."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __eq__(self, other):
        return isinstance(other, _Static) and np.array_equal(self.array, other.array)

    def __hash__(self):
        return hash(self.array.tobytes())


@eqx.filter_jit
def _run(task, trained, frozen, dynamics, observe, marks, until, key, meter, state, mode) -> Trajectory:
    combine = lambda part: eqx.combine(part, frozen)  # noqa: E731

    def look(part):
        model = combine(part)
        return {name: jnp.asarray(f(task, model)) for name, f in observe.items()}

    waiting = None
    if until is not None:
        waiting = (until, lambda part: until.condition(task, combine(part)))
    dtype = jnp.result_type(*jax.tree.leaves(trained))
    none = jnp.asarray(-1, jnp.int32)
    if isinstance(dynamics, GradientFlow):
        times = marks.astype(dtype)
        solved = integrate(dynamics, task, combine, trained, times, look, waiting, mode, meter)
        end = jnp.minimum(dynamics.time(solved.clock), dynamics.t1.astype(dtype))
        first, stable = flow_hits(waiting, solved, end, times, dynamics, task, combine, trained, mode)
        return Trajectory(
            times=jnp.minimum(times, end),
            steps=jnp.full(times.shape, -1, jnp.int32),
            observed=solved.saved,
            model=combine(solved.params),
            status=solved.status,
            first_hit=first,
            stable_hit=stable,
            first_step=none,
            stable_step=none,
            num_steps=jnp.asarray(solved.num_steps, jnp.int32),
        )
    advance, first, inner = dynamics.prepare(task, combine, trained, key)
    lane = start(first, inner, dtype) if isinstance(state, bool) else state
    lane, observed, times, steps = march(advance, lane, marks.array, look, waiting, meter)
    return Trajectory(
        times=times,
        steps=steps,
        observed=observed,
        model=combine(lane.params),
        status=lane.status,
        first_hit=lane.first_hit,
        stable_hit=lane.since,
        first_step=lane.first_step,
        stable_step=lane.since_step,
        num_steps=lane.step,
        state=None if state is False else lane,
    )


def _check_fit(task: AbstractTask, model: AbstractModel) -> None:
    try:
        shape = jax.eval_shape(lambda t, m: m.scores(t), task, model).shape
    except (AttributeError, TypeError):
        shape = f"for another kind of task ({type(model).__name__} with {type(task).__name__})"
    if shape != task.score_shape:
        found = f"scores of shape {shape}" if isinstance(shape, tuple) else shape
        checks.refuse(
            "model", f"for scores of shape {task.score_shape}", found, "build it from this task"
        )  # fmt: skip


def _label(result: Trajectory, began: float) -> Trajectory:
    leaf = jax.tree.leaves(result.observed or result.times)[0]
    (device,) = list(leaf.devices())[:1]
    entries = Provenance(
        versions=versions("assocmem_jax", "jax", "equinox", "diffrax", "optax"),
        device=str(device.device_kind),
        dtype=str(result.times.dtype),
        wall_time=time.perf_counter() - began,
    )
    return dataclasses.replace(result, provenance=entries)
