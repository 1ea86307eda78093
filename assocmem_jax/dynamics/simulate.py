"""The one door."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .. import checks
from ..files import versions
from ..models import AbstractModel, HasScores
from ..observe import quality
from ..tasks import AbstractClassificationTask, AbstractTask
from ..tasks.losses import name_of
from . import programs
from .alike import alike, current
from .base import AbstractDynamics, Request
from .checkpoint import fingerprint
from .events import Until
from .marching import Meter, Silent
from .trajectory import REMEDY, Model, Provenance, SimulationError, Status, Trajectory


def simulate(
    task: AbstractTask,
    model: Model,
    dynamics: AbstractDynamics,
    *,
    observe: Mapping[str, Callable] | Iterable[Callable] | None = None,
    every: int | None = None,
    at: Any = None,
    until: Until | None = None,
    key: PRNGKeyArray | None = None,
    trainable: Callable | None = None,
    throw: bool = True,
    progress: bool | Meter = False,
    resumable: bool = False,
    resume: Trajectory | None = None,
) -> Trajectory[Model]:
    """Train ``model`` on ``task`` with ``dynamics`` and return what was observed.

    - ``dynamics``: a ``GradientFlow``, ``Descent``, ``StochasticFlow``, or an ``AbstractDynamics`` of yours.
    - ``observe``: name → function ``(task, model) -> array``, or a list of functions that have names; the
      loss unless given, and the error where answers are right or wrong. Weights are kept only if asked for:
      ``dict(W=am.memory.weights)``.
    - ``every`` (steps, for descent and stochastic flow) or ``at`` (steps; times for a flow): when to
      observe; unless given, at every step, or, where minibatches are small beside the task (more than 10⁶
      scores), so often that looking costs no more than the steps: ``trajectory.steps`` says when. The initial
      and the final state are always included. Times may be traced: those outside the flow (NaN too) are then
      looked at where it begins or ends, as ``trajectory.times`` says. Even spacing is differentiable in
      reverse mode; uneven steps in forward mode only.
    - ``until``: a condition to wait for; see ``Until``.
    - ``key``: a typed key (``jax.random.key``), for stochastic dynamics. Step t uses
      ``fold_in(key, t)``: a run needs no generator state.
    - ``trainable``: narrows what is trained, for example ``lambda m: m.weight``.
    - ``throw``: outside transformations, raise ``SimulationError`` (it carries the trajectory) if the
      run did not reach its horizon. With ``False``, and always under transformations, the status
      tells.
    - ``progress``: ``True`` for a tqdm bar, or a diffrax progress meter. Silent unless asked. It changes no
      bit of steps; a flow that tells its progress is diffrax's, which agrees within its tolerance.
    - ``resumable``: keep the optimizer's state in ``trajectory.state``; ``resume``: such a trajectory, of the
      same task, model and dynamics, to go on from for ``dynamics.steps`` more updates (``every`` and ``at``
      count from there). Its first entry repeats the last one. See ``in_segments`` for runs that survive.

    What a task, model, observable or dynamics of yours raises reaches you as it is. Works under ``jit``,
    ``vmap`` and ``grad``. The same program is not compiled twice, also where observables and optimizers are
    made anew and are the same in all they say: their code, what they close over, the globals that they read
    and the attributes of modules and classes. Where one of these has changed, the next call sees it; what it
    does not see is a change deep inside an object of your own class, in an array of more than 64 KiB, or in
    what methods of your models and tasks read. A number inside ``optax.sgd(η)`` is part of the program, in
    ``Descent(optax.sgd, steps, learning_rate=η)`` it is data. Where more than 128 programs have been made, or
    the process has half of the mappings of memory that Linux allows, they are forgotten;
    ``jax.clear_caches()`` forgets them at any time.
    """
    if not isinstance(dynamics, AbstractDynamics):
        checks.refuse("dynamics", "a GradientFlow, Descent or StochasticFlow", checks.short(dynamics))
    _check_kinds(task, model)
    checks.truth("throw", throw)
    request = Request(
        _observables(task, observe), every, at, until, key, trainable, _meter(progress),
        checks.truth("resumable", resumable), resume,
    )  # fmt: skip
    _check(request)
    request = _settled(request)
    _check_fit(task, model)
    _check_held(dynamics, task.dtype)
    task, model, dynamics = current(task), current(model), current(dynamics)
    began = time.perf_counter()
    if checks.concrete(task, model, dynamics):
        programs.bounded()
    with checks.standard():
        result = dynamics.run(task, model, request)
    if not checks.concrete(result):
        return result
    status = Status(int(result.status))  # waits for the device
    result = _label(result, task, dynamics, key, began, request.resumable)
    if throw and status not in (Status.OK, Status.HIT):
        where = float(result.times[-1])
        raise SimulationError(
            f"status {status.name} at t = {where:.6g} after {int(result.num_steps)} steps: the run "
            f"{REMEDY[status]}; simulate(…, throw=False) returns what was computed",
            result,
        )
    return result


def _check_kinds(task: Any, model: Any) -> None:
    if isinstance(task, AbstractModel) and isinstance(model, AbstractTask):
        checks.refuse("task and model", "given in this order", "the model first", "simulate(task, model, …)")
    if not isinstance(task, AbstractTask):
        checks.refuse("task", "a task, such as an AssociationTask", checks.short(task))
    if not isinstance(model, AbstractModel):
        checks.refuse("model", "a model, such as a LinearMemory", checks.short(model))


def _check_held(dynamics: AbstractDynamics, dtype: Any) -> None:
    """Numbers of a dynamics are used at the precision of the task: a rate of 1e40 is infinite in float32."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(dynamics)[0]:
        if isinstance(leaf, float | np.ndarray | jax.Array) and checks.concrete(leaf) and _is_float(leaf):
            known = np.asarray(leaf)
            if checks.lost(known, dtype).any():
                name = jax.tree_util.keystr(path, simple=True, separator=".")
                checks.refuse(
                    name, f"a number that {jnp.dtype(dtype).name} can hold", known, "as the task has it"
                )


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def _observables(
    task: AbstractTask, observe: Mapping[str, Callable] | Iterable[Callable] | None
) -> dict[str, Callable]:
    if callable(observe):
        observe = [observe]
    if isinstance(observe, Mapping):
        for name in observe:
            if not isinstance(name, str) or not name:
                checks.refuse(
                    "observe", "a mapping from names to functions", f"the name {checks.short(name)}"
                )
        return {str(name): function for name, function in observe.items()}
    if observe is not None:
        if isinstance(observe, str) or not isinstance(observe, Iterable):
            checks.refuse("observe", "name → function, or a list of functions", checks.short(observe))
        functions = list(observe)
        named = {getattr(f, "__name__", ""): f for f in functions}
        if "" in named or "<lambda>" in named or len(named) < len(functions):
            checks.refuse(
                "observe", "name → function where functions have no names of their own",
                checks.short(functions), "observe={'loss': am.loss}",
            )  # fmt: skip
        return named
    right_or_wrong = isinstance(task, AbstractClassificationTask)
    return {"loss": quality.loss} | ({"error": quality.error} if right_or_wrong else {})


def _meter(progress: bool | Meter) -> Meter:
    if progress is False:
        return Silent()
    import diffrax

    if progress is True:
        return diffrax.TqdmProgressMeter(refresh_steps=1)
    if isinstance(progress, diffrax.NoProgressMeter):
        return Silent()
    if not isinstance(progress, diffrax.AbstractProgressMeter):
        checks.refuse("progress", "True, False or a diffrax progress meter", checks.short(progress))
    return progress


def _check(request: Request) -> None:
    for name, function in request.observe.items():
        if not callable(function):
            checks.refuse(f"observe[{name!r}]", "a function (task, model) -> array", checks.short(function))
    if request.trainable is not None and not callable(request.trainable):
        wanted = "a function of the model, such as lambda m: m.weight"
        checks.refuse("trainable", wanted, checks.short(request.trainable))
    if request.resume is not None and not isinstance(request.resume, Trajectory):
        checks.refuse("resume", "a Trajectory", checks.short(request.resume))
    until, key = request.until, request.key
    if until is not None and not isinstance(until, Until):
        checks.refuse("until", "an Until", checks.short(until), "for example am.perfect_accuracy()")
    if key is not None:
        checks.key("key", key)


def _settled(request: Request) -> Request:
    """The same request, of functions that programs are known by."""
    until = request.until
    return request._replace(
        observe={name: alike(function) for name, function in request.observe.items()},
        until=None if until is None else Until(alike(until.condition), until.hold),
        trainable=alike(request.trainable),
    )


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
        leaves, structure = jax.tree.flatten((task, model))
        arrays = [leaf if eqx.is_array(leaf) else None for leaf in leaves]
        rest = tuple(None if eqx.is_array(leaf) else leaf for leaf in leaves)
        with checks.standard():
            shape = _scored.eval_shape(arrays, rest, structure).shape
        if shape != task.score_shape:
            checks.refuse(
                "model",
                f"for scores of shape {task.score_shape}",
                f"scores of shape {shape}",
                "build it from this task",
            )


@functools.partial(jax.jit, static_argnums=(1, 2))  # never run: traced once for all calls of a shape
def _scored(arrays: list, rest: tuple, structure: Any) -> jax.Array:
    leaves = [other if array is None else array for array, other in zip(arrays, rest)]
    task, model = jax.tree.unflatten(structure, leaves)
    return model.scores(task)


def _said(dynamics: AbstractDynamics) -> str:
    return " ".join(eqx.tree_pformat(dynamics, short_arrays=False, width=10**6).split())


def _label(
    result: Trajectory, task: AbstractTask, dynamics: AbstractDynamics, key: Any, began: float, kept: bool
) -> Trajectory:
    leaf = jax.tree.leaves(result.observed or result.times)[0]
    (device,) = list(leaf.devices())[:1]
    entries = Provenance(
        versions=versions("assocmem_jax", "jax", "equinox", "diffrax", "optax"),
        device=str(device.device_kind),
        dtype=str(result.times.dtype),
        loss=name_of(task),
        method=type(dynamics).__name__,
        dynamics=functools.partial(_said, dynamics),
        key=None if key is None else f"{jax.random.key_impl(key)}:{jax.random.key_data(key).tolist()}",
        wall_time=time.perf_counter() - began,
        **({"task": fingerprint(task)} if kept else {}),  # which a run may not go on with another of
    )
    return dataclasses.replace(result, provenance=entries)
