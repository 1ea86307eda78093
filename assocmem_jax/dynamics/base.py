"""What a dynamics is: a strategy that owns its horizon and turns a task and a model into a trajectory."""

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .. import checks
from ..models import AbstractModel
from ..observe import quality
from ..observe.gradient import trainable_mask
from ..observe.observable import labels
from ..tasks import AbstractTask
from .events import Until, level
from .leaves import refuse_scores
from .marching import Lane, Meter, Silent
from .room import refuse_batch, refuse_looks
from .stepping import Run, Static, stepped
from .trajectory import Trajectory


class Request(NamedTuple):
    """What is asked of a run: the arguments of ``simulate``, checked."""

    observe: Mapping[str, Callable]
    every: int | None = None
    at: Any = None
    until: Until | None = None
    key: PRNGKeyArray | None = None
    trainable: Callable | None = None
    meter: Meter = Silent()
    resumable: bool = False
    resume: Trajectory | None = None

    def look(self, task: AbstractTask, model: AbstractModel) -> dict[str, Any]:
        """What is observed of a model; what one pass over the data tells together is told together."""
        known = quality.together(task, model, self.observe.values())
        return {
            name: _shown(name, known[f] if f in known else f(task, model)) for name, f in self.observe.items()
        }

    def waiting(self, task: AbstractTask, combine: Callable) -> tuple[Until, Callable] | None:
        """(what is waited for, its condition on the trained part), or None."""
        until = self.until
        return None if until is None else (until, lambda part: level(until, task, combine(part)))

    def labelled(self, task: AbstractTask) -> tuple[tuple[str, tuple[str, ...], str], ...]:
        """(name, axes, units) of everything observed."""
        return tuple((name, *labels(name, f, task)) for name, f in self.observe.items())


def _shown(name: str, value: Any) -> jax.Array:
    if isinstance(value, jax.Array | np.ndarray | np.generic | int | float | list | tuple):
        with contextlib.suppress(TypeError, ValueError):
            return jnp.asarray(value)
    checks.refuse(f"observe[{name!r}]", "a function that returns an array", checks.short(value))


class AbstractDynamics(eqx.Module):
    """How a model learns. ``run`` is all that ``simulate`` knows of it.

    Subclass ``AbstractSteps`` for whatever makes one update after another; this class for anything else.
    """

    @abstractmethod
    def run(self, task: AbstractTask, model: AbstractModel, request: Request) -> Trajectory:
        """Train ``model`` on ``task`` to the horizon; return what was observed, the initial
        and the final state included. A run that fails says so in its status; only refusals raise."""


def trained_part(model: AbstractModel, trainable: Callable | None) -> tuple[Any, Any]:
    """(trained, frozen) leaves of a model."""
    trained, frozen = eqx.partition(model, trainable_mask(model, trainable))
    if not jax.tree.leaves(trained):
        checks.refuse("trainable", "at least one array of the model", "none")
    return trained, frozen


class AbstractSteps(AbstractDynamics):
    """A dynamics that makes ``steps`` updates, one after another: descent, stochastic flow, your own.

    It says how a step is made (``prepare``); looking, waiting, stopping, statuses, progress, resuming and the
    memory of reverse mode are done here, for all. Times are what the step says; an attribute ``unit``
    names theirs where it is not learning rate × step.
    """

    steps: eqx.AbstractVar[int]
    # Whether a run can go on from where one ended: its step depends on nothing but its number and the state.
    goes_on: ClassVar[bool] = False

    @abstractmethod
    def prepare(
        self,
        task: AbstractTask,
        combine: Callable[[Any], AbstractModel],
        params: Any,
        key: PRNGKeyArray | None,
    ) -> tuple[Callable, Any, Any]:
        """(advance, parameters, inner state) at the start.

        ``params`` are the trained leaves; ``combine(params)`` is the model. ``advance(params, inner, step,
        time)`` returns the three after one update; ``step`` counts from 0. Called inside ``jit``.
        """

    @final
    def run(self, task: AbstractTask, model: AbstractModel, request: Request) -> Trajectory:
        if (request.resumable or request.resume is not None) and not self.goes_on:
            checks.refuse("resume", "for a Descent only", f"a {type(self).__name__}")
        batch_size, every = getattr(self, "batch_size", None), request.every
        if (curriculum := getattr(self, "curriculum", None)) is not None:
            curriculum.check(task, model)
        refuse_scores(getattr(self, "relative_rates", ()), model)
        if batch_size is not None:
            refuse_batch(task, model, batch_size, getattr(self, "microbatch", None))
        if request.at is None:
            every = quality.apart(task, batch_size) if every is None else checks.count("every", every)
            looks = -(-self.steps // every)
        else:
            looks = checks.numbers("at", request.at, "a vector of steps (whole numbers)").size
        refuse_looks(task, model, request, looks, every)
        marks = Static(step_marks(self.steps, every, request.at))
        state: Lane | bool = request.resumable
        if request.resume is not None:
            if request.resume.state is None:
                checks.refuse(
                    "resume", "a resumable trajectory", "one without state", "simulate(…, resumable=True)"
                )
            if lanes := request.resume.status.shape:
                checks.refuse("resume", "of one run", f"one of {lanes} runs", "jax.vmap over it")
            model, state = request.resume.model, request.resume.state
        trained, frozen = trained_part(model, request.trainable)
        asked = request._replace(every=None, at=None, trainable=None, resume=None)
        return stepped(Run(self, task, trained, frozen, asked, marks, state))


def step_marks(steps: int, every: int | None, at) -> np.ndarray:
    """Steps to observe at: 0, every, 2·every, …, steps; or those given, 0 and the last included."""
    if at is not None:
        if every is not None:
            checks.refuse("every", "None where at is given", every)
        marks = checks.numbers("at", at, "a vector of steps (whole numbers)")
        marks = marks if marks.size else marks.astype(int)
        if marks.ndim != 1 or not np.issubdtype(marks.dtype, np.integer):
            checks.refuse("at", "a vector of steps (whole numbers)", repr(at))
        if len(marks) and (marks.min() < 0 or marks.max() > steps):
            checks.refuse("at", f"steps from 0 to {steps}", f"{marks.min()} to {marks.max()}")
        return np.unique(np.concatenate([[0], marks, [steps]]))
    every = 1 if every is None else checks.count("every", every)
    return np.unique(np.append(np.arange(0, steps, every), steps))


def needs_key(key: PRNGKeyArray | None) -> PRNGKeyArray:
    """The key of a stochastic dynamics."""
    if key is None:
        checks.refuse(
            "key", "given for a stochastic dynamics", None, "pass simulate(…, key=jax.random.key(0))"
        )
    return key
