"""The one door."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from .. import checks
from ..files import versions
from ..models import AbstractModel, HasScores
from ..observe import quality
from ..tasks import AbstractClassificationTask, AbstractTask
from .base import AbstractDynamics, Request
from .events import Until
from .trajectory import REMEDY, Provenance, SimulationError, Status, Trajectory


def simulate(
    task: AbstractTask,
    model: AbstractModel,
    dynamics: AbstractDynamics,
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

    - ``dynamics``: a ``GradientFlow``, ``Descent``, ``StochasticFlow``, or an ``AbstractDynamics`` of yours.
    - ``observe``: name → function ``(task, model) -> array``; the loss unless given, and the error where
      answers are right or wrong. Weights are kept only if asked for: ``dict(W=am.memory.weights)``.
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

    What a task, model, observable or dynamics of yours raises reaches you as it is. Works under ``jit``,
    ``vmap`` and ``grad``. The same program is not compiled twice: reuse observe functions and optimizers
    (``Descent(optax.sgd, steps, learning_rate=η)`` makes η an input).
    """
    if not isinstance(dynamics, AbstractDynamics):
        checks.refuse("dynamics", "a GradientFlow, Descent or StochasticFlow", repr(dynamics))
    request = Request(
        _observables(task, observe), every, at, until, key, trainable, _meter(progress), resumable, resume
    )
    _check(request)
    _check_fit(task, model)
    began = time.perf_counter()
    result = dynamics.run(task, model, request)
    if not checks.concrete(result):
        return result
    status = Status(int(result.status))  # waits for the device
    result = _label(result, dynamics, key, began)
    if throw and status not in (Status.OK, Status.HIT):
        where = float(result.times[-1])
        raise SimulationError(
            f"status {status.name} at t = {where:.6g} after {int(result.num_steps)} steps: the run "
            f"{REMEDY[status]}; simulate(…, throw=False) returns what was computed",
            result,
        )
    return result


def _observables(task: AbstractTask, observe: Mapping[str, Callable] | None) -> dict[str, Callable]:
    if observe is not None:
        return dict(observe)
    right_or_wrong = isinstance(task, AbstractClassificationTask)
    return {"loss": quality.loss} | ({"error": quality.error} if right_or_wrong else {})


def _meter(progress: bool | diffrax.AbstractProgressMeter) -> diffrax.AbstractProgressMeter:
    if isinstance(progress, bool):
        return diffrax.TqdmProgressMeter(refresh_steps=1) if progress else diffrax.NoProgressMeter()
    return progress


def _check(request: Request) -> None:
    for name, function in request.observe.items():
        if not callable(function):
            checks.refuse(f"observe[{name!r}]", "a function (task, model) -> array", repr(function))
    until, key = request.until, request.key
    if until is not None and not isinstance(until, Until):
        checks.refuse("until", "an Until", repr(until), "for example am.perfect_accuracy()")
    if key is not None and not (
        isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    ):
        checks.refuse("key", "a typed key", repr(key), "jax.random.key(0)")


def _check_fit(task: AbstractTask, model: AbstractModel) -> None:
    if not isinstance(task, model.task_type):
        found = f"for another kind of task ({type(model).__name__} with {type(task).__name__})"
        wanted = f"for a {type(task).__name__}"
        if isinstance(task, AbstractClassificationTask):
            wanted = f"for scores of shape {task.score_shape}"
        checks.refuse("model", wanted, found, "build it from this task")
    if isinstance(task, AbstractClassificationTask):
        if not isinstance(model, HasScores):
            checks.refuse("model", "one with scores(task, tokens=None)", f"a {type(model).__name__}")
        shape = eqx.filter_eval_shape(lambda t, m: m.scores(t), task, model).shape
        if shape != task.score_shape:
            checks.refuse(
                "model",
                f"for scores of shape {task.score_shape}",
                f"scores of shape {shape}",
                "build it from this task",
            )


def _label(result: Trajectory, dynamics: AbstractDynamics, key: Any, began: float) -> Trajectory:
    leaf = jax.tree.leaves(result.observed or result.times)[0]
    (device,) = list(leaf.devices())[:1]
    entries = Provenance(
        versions=versions("assocmem_jax", "jax", "equinox", "diffrax", "optax"),
        device=str(device.device_kind),
        dtype=str(result.times.dtype),
        method=type(dynamics).__name__,
        dynamics=" ".join(eqx.tree_pformat(dynamics, short_arrays=False, width=10**6).split()),
        key=None if key is None else f"{jax.random.key_impl(key)}:{jax.random.key_data(key).tolist()}",
        wall_time=time.perf_counter() - began,
    )
    return dataclasses.replace(result, provenance=entries)
