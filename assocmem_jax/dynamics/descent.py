"""Gradient descent, stochastic descent and practical descent: GD (5), (7) and section 2."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .. import checks
from ..checks import Scalar
from ..models import AbstractModel, AbstractReducedSystem
from ..observe.gradient import population_gradient
from ..tasks import AbstractTask
from ..tasks.batches import mean_loss
from . import leaves
from .alike import alike
from .base import AbstractSteps, needs_key
from .curriculum import Curriculum
from .optimizers import RATE, Clock, nonlinear, remembers, transformation, updated

# Beyond this many plain float32 updates, rounding biases the path by more than 1e-3.
FLOAT32_UPDATES = 100_000


class Descent(AbstractSteps):
    """W_{t+1} = W_t + optimizer(∇L(W_t)), GD (5); with ``batch_size``, of a minibatch, GD (7).

    - ``optimizer``: any optax transformation, or, with ``learning_rate``, a function of the rate
      such as ``optax.sgd``. In the second form the rate is data: it may be traced, batched and
      differentiated, and a new value does not recompile. A vector of ``steps`` rates is a schedule (it may
      start at 0): the optimizer is given the function of the step that reads it. So is a function of the
      step, such as ``optax.cosine_decay_schedule(…)``, which is code, as the rule is.
    - any other keyword is given to that function too, ``Descent(optax.adam, 100, learning_rate=η, b1=β)``:
      floats and arrays are data, as the rate is; whole numbers, truth values and functions are fixed.
    - ``steps``: updates to make.
    - ``batch_size``: pairs drawn from p(x) p(y|x) for each update, with the key
      ``fold_in(key, step)``; ``None`` descends the population loss.
    - ``microbatch``: examples of a batch that go through the model at once; ``devices``: how many share each
      batch. The same result up to rounding, in the memory of one microbatch.
    - ``compensated``: Kahan summation of the updates, so that float32 does not stall at large
      margins; ``None`` turns it on in float32 beyond 10⁵ updates.
    - ``thaw``: pairs (leaves of the model, step): those leaves stay as they are until that step, as in
      ``thaw=((lambda m: (m.key1, m.key2), 300),)``; steps are data, as the rate is. Until then the
      optimizer sees zeros there (momentum starts from rest; Adam's bias correction counts on).
    - ``relative_rates``: pairs (leaves of the model, factor ≥ 0): what the optimizer makes of those leaves is
      multiplied by it (1 elsewhere), as in ``relative_rates=((lambda m: m.input, 0.1),)``: layers at time
      scales of their own, GD section 6. Factors are data; the clock is that of factor 1.
    - ``curriculum``: a law of data that changes with the step; see ``Curriculum``.

    The clock: ``times`` is Σ η_s, the sum of the learning rates so far, for every optimizer: the rate given,
    or what the transformation says of it (schedules, line searches, plateaus, hyper-parameters in its
    state). For SGD that is the time of the flow; momentum β goes 1/(1−β) times as far. Where no rate is
    said, steps are counted: ``trajectory.clock`` says which.
    """

    optimizer: optax.GradientTransformation | optax.MultiSteps | Callable = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    batch_size: int | None = eqx.field(static=True)
    learning_rate: Float[Array, "*steps"] | None
    compensated: bool | None = eqx.field(static=True)
    thaw: leaves.Pairs
    relative_rates: leaves.Pairs
    curriculum: Curriculum | None
    microbatch: int | None = eqx.field(static=True)
    devices: int = eqx.field(static=True)
    schedule: Callable | None = eqx.field(static=True)
    hyper: dict[str, Float[Array, "..."]]
    settings: tuple[tuple[str, Any], ...] = eqx.field(static=True)
    unit: str = eqx.field(static=True)
    goes_on: ClassVar[bool] = True

    def __init__(
        self,
        optimizer: optax.GradientTransformation | optax.MultiSteps | Callable,
        steps: int,
        batch_size: int | None = None,
        *,
        learning_rate: Scalar | Float[Array | np.ndarray, " steps"] | Callable | None = None,
        compensated: bool | None = None,
        thaw: Sequence[tuple[Callable, int | Int[Array, ""]]] = (),
        relative_rates: Sequence[tuple[Callable, Scalar]] = (),
        curriculum: Curriculum | None = None,
        microbatch: int | None = None,
        devices: int = 1,
        **hyper: Any,
    ):
        ready = isinstance(optimizer, optax.GradientTransformation | optax.MultiSteps)
        if not ready and not callable(optimizer):
            checks.refuse(
                "optimizer",
                "an optax transformation, or a function of learning_rate",
                repr(optimizer),
                "for example optax.sgd(0.1)",
            )
        if ready and learning_rate is not None:
            checks.refuse(
                "learning_rate",
                "None with a ready optimizer",
                learning_rate,
                "pass Descent(optax.sgd, steps, learning_rate=…)",
            )
        # A schedule is code, as the rule is; a vector of rates is data.
        self.schedule = alike(learning_rate) if callable(learning_rate) else None
        learning_rate = None if callable(learning_rate) else learning_rate
        if not ready and learning_rate is None and self.schedule is None:
            checks.refuse("learning_rate", "given when optimizer is a function of it", None)
        if learning_rate is not None:
            (learning_rate,) = checks.floats(learning_rate=learning_rate)
            if learning_rate.ndim:  # a schedule may start at 0
                checks.within("learning_rate", learning_rate, 0, float(jnp.finfo(learning_rate.dtype).max))
            else:
                checks.positive("learning_rate", learning_rate)
        self.hyper, self.settings = _sorted(optimizer, ready, hyper)
        self.optimizer = alike(optimizer)
        self.steps = checks.count("steps", steps, 0)
        if self.schedule is not None:
            _descends(self.schedule, self.steps)
        if learning_rate is not None and learning_rate.shape not in ((), (self.steps,)):
            checks.refuse(
                "learning_rate", f"one number, or one for each of the {steps} steps",
                f"shape {learning_rate.shape}",
            )  # fmt: skip
        self.batch_size = None if batch_size is None else checks.count("batch_size", batch_size)
        if self.batch_size is None and (microbatch is not None or devices != 1):
            checks.refuse("microbatch and devices", "left out without batch_size", (microbatch, devices))
        self.microbatch = None if microbatch is None else checks.count("microbatch", microbatch)
        self.devices = checks.count("devices", devices)
        if self.devices > len(jax.devices()):
            checks.refuse("devices", f"at most the {len(jax.devices())} there are", devices)
        if self.batch_size is not None and self.batch_size % self.devices:
            checks.refuse("batch_size", f"a multiple of devices = {devices}", batch_size)
        self.learning_rate = learning_rate
        if learning_rate is not None:
            self.unit = RATE
        else:
            self.unit = _unit(self.optimizer) if ready else Clock(self.transformation()).unit
        self.compensated = checks.truth("compensated", compensated, (None,))
        self.thaw = leaves.pairs("thaw", thaw, "step", _step)
        self.relative_rates = leaves.relative(relative_rates)
        if not isinstance(curriculum, Curriculum | None):
            checks.refuse("curriculum", "a Curriculum, or None", checks.short(curriculum))
        self.curriculum = curriculum

    def transformation(self, dtype: Any = None) -> optax.GradientTransformationExtraArgs:
        """The optax transformation, at its rates and other numbers; those in ``dtype``, if given."""
        optimizer: Any = self.optimizer
        rates, options = self.learning_rate, self._options(dtype)
        if rates is not None and rates.ndim:
            optimizer = optimizer(lambda step: rates[jnp.minimum(step, rates.shape[0] - 1)], **options)
        elif rates is not None or self.schedule is not None:
            optimizer = optimizer(rates if self.schedule is None else self.schedule, **options)
        return transformation(optimizer)

    @property
    def plain(self) -> bool:
        """Whether an update is a rate times a sum of gradients of the population loss, the same at every step
        and in every direction: gradient descent, with momentum or without."""
        numbers = {*self.hyper, *(name for name, _ in self.settings)}
        one_rate = self.learning_rate is not None and not self.learning_rate.ndim
        apart = self.batch_size is not None or self.thaw or self.relative_rates or self.curriculum is not None
        return self.optimizer is optax.sgd and one_rate and not apart and numbers <= {"momentum", "nesterov"}

    def beside(self, downhill: Callable[[Array], Array], y: Array):
        """(advance, initial inner state) of many ``plain`` runs, lanes last in y and in the numbers of this
        dynamics; ``downhill`` is the gradient."""
        rate = jnp.asarray(self.learning_rate, y.dtype)
        optimizer = optax.sgd(rate, **self._options(y.dtype))
        compensated = self._compensates(y.dtype)

        def advance(y, inner, step, time):
            state, carry, late = inner
            updates, state = optimizer.update(downhill(y), state)
            y, carry = _kahan_add(y, updates, carry) if compensated else (y + updates, carry)
            time, late = _kahan_add(time, jnp.abs(rate), late)
            return y, (state, carry, late), time

        carry = jnp.zeros_like(y) if compensated else None
        return advance, (optimizer.init(y), carry, jnp.zeros(y.shape[1:], y.dtype))

    def _options(self, dtype: Any) -> dict[str, Any]:
        """What the optimizer is given beside the rate: a float64 momentum would make a float32 state one."""
        return {name: jnp.asarray(value, dtype) for name, value in self.hyper.items()} | dict(self.settings)

    def _compensates(self, dtype: Any) -> bool:
        long = dtype == jnp.float32 and self.steps > FLOAT32_UPDATES
        if long and self.compensated is False:
            checks.refuse(
                "compensated",
                f"on for more than {FLOAT32_UPDATES} float32 updates",
                False,
                "plain float32 stalls near margin 15; use float64 or leave it None",
            )
        return long if self.compensated is None else self.compensated

    def prepare(
        self, task: AbstractTask, combine: Callable[[Any], AbstractModel], params, key: PRNGKeyArray | None
    ):
        """(advance, initial parameters, initial inner state) for ``marching.march``."""
        dtype = jnp.result_type(*jax.tree.leaves(params))
        optimizer = self.transformation(dtype)
        compensated = self._compensates(dtype)
        taught = (
            (lambda step: task) if self.curriculum is None else functools.partial(self.curriculum.at, task)
        )
        # The table of a law that stays is made once.
        drawer = None if self.batch_size is None or self.curriculum else task.sampler(self.batch_size)

        def measured(task, model, step):
            if self.batch_size is None:
                return task.loss(model)
            draw = task.sampler(self.batch_size) if drawer is None else drawer
            batch = draw(jr.fold_in(needs_key(key), step))
            if self.microbatch is None and self.devices == 1:
                return task.sampled_loss(model, batch)
            return mean_loss(task, model, batch, self.microbatch, self.devices)

        losses = lambda params, step: measured(taught(step), combine(params), step)  # noqa: E731
        if self.curriculum is not None:
            self.curriculum.refuse_unread(task, lambda task: measured(task, combine(params), 0))
        model = combine(params)
        if not model.weight_space:
            params = _refuse_nonlinear(optimizer, params)
        reduced = model if isinstance(model, AbstractReducedSystem) else None
        if reduced is not None:
            params = _refuse_memory(optimizer, params)
            if compensated:
                checks.refuse(
                    "compensated", "off for a reduced system", True, "use float64, or the weights themselves"
                )
        kept = jax.tree.map(lambda leaf: leaf is not None, params, is_leaf=lambda leaf: leaf is None)
        clock = Clock(optimizer, self.learning_rate)
        held = leaves.spread("thaw", self.thaw, params, 0)
        rates = leaves.spread("relative_rates", self.relative_rates, params, 1)

        def released(tree, step):
            if not self.thaw:
                return tree
            return jax.tree.map(lambda leaf, until: jnp.where(step >= until, leaf, 0), tree, held)

        def advance(params, inner, step, time):
            state, carry, late = inner
            if self.batch_size is None:
                value, gradient = population_gradient(taught(step), combine, params)
            else:
                value, gradient = jax.value_and_grad(losses)(params, step)
            gradient = released(gradient, step)
            if reduced is None:
                gradient = combine(params).tangent(task, gradient)
            # Where nothing may move yet there is nothing to decay either: momentum starts from rest.
            seen = released(params, step)
            updates, state = updated(optimizer, gradient, state, seen, lambda p: losses(p, step), value)
            updates = released(updates, step)
            if self.relative_rates:
                updates = jax.tree.map(lambda u, rate: u * jnp.asarray(rate, u.dtype), updates, rates)
            if reduced is not None:
                here: Any = combine(params)
                params = eqx.filter(here.stepped(task, updates), kept)
            elif compensated:
                params, carry = _kahan(params, updates, carry)
            else:
                params = optax.apply_updates(params, updates)
            # Compensated, so that a float32 clock does not stop at 2²⁴.
            time, late = _kahan_add(time, clock.tick(step, state, dtype), late)
            return params, (state, carry, late), time

        carry = jax.tree.map(jnp.zeros_like, params) if compensated else None
        return advance, params, (optimizer.init(params), carry, jnp.zeros((), dtype))


def _descends(schedule: Callable, steps: int) -> None:
    """Refuse a schedule that is no rate at every step, of many up to a thousand: below 0 it would ascend."""
    checks.number_of("learning_rate", "the step", schedule, jnp.int32)
    looks = jnp.asarray(np.unique(np.linspace(0, max(steps - 1, 0), 1000, dtype=np.int32)))
    with jax.ensure_compile_time_eval():
        rates = jax.vmap(lambda step: jnp.asarray(schedule(step), float))(looks)
    if checks.concrete(rates):
        known = np.asarray(rates)
        # What ends at 0 may end a rounding below.
        wrong = ~(np.isfinite(known) & (known >= -1e-6 * np.abs(known).max()))
        if wrong.any():
            at = int(np.argmax(wrong))
            checks.refuse("learning_rate", "finite and at least 0", f"{known[at]} at step {looks[at]}")


@functools.lru_cache(512)
def _unit(optimizer: Any) -> str:
    """Of a ready transformation, the first of those alike."""
    return Clock(transformation(optimizer)).unit


def _step(argument: str, value: Any) -> Int[Array, ""]:
    if checks.concrete(value):
        checks.within(argument, value, 0, 2**31 - 1)
    return jnp.asarray(value, jnp.int32)


def _sorted(optimizer: Any, ready: bool, hyper: dict[str, Any]) -> tuple[dict, tuple]:
    """(data, fixed) of the keywords of an optimizer, refused in one line where it takes no such keyword."""
    if ready and hyper:
        checks.refuse(
            ", ".join(sorted(hyper)),
            "left out with a ready optimizer",
            "given",
            "pass Descent(optax.sgd, steps, learning_rate=…, momentum=…)",
        )
    try:
        known = inspect.signature(optimizer).parameters if hyper else {}
    except (TypeError, ValueError):  # a callable that does not say
        known = dict.fromkeys(hyper)
    open_ended = any(getattr(p, "kind", None) == inspect.Parameter.VAR_KEYWORD for p in known.values())
    data, fixed = {}, []
    for name, value in sorted(hyper.items()):
        if name not in known and not open_ended:
            named = getattr(optimizer, "__name__", repr(optimizer))
            checks.refuse(name, f"one of the keywords of {named} ({', '.join(known)})", "another")
        if isinstance(value, float | np.floating | np.ndarray | jax.Array):
            checks.finite(name, value)
            (data[name],) = checks.floats(**{name: value})
        else:
            fixed.append((name, alike(value)))
    return data, tuple(fixed)


def _kahan_add(total, term, lost):
    """(total + term, what rounding took from it), given what it took before."""
    term = term.astype(total.dtype) - lost
    grown = total + term
    return grown, (grown - total) - term


def _kahan(params, updates, carry):
    pairs = jax.tree.map(_kahan_add, params, updates, carry)
    leaf = lambda x: isinstance(x, tuple)  # noqa: E731
    return (
        jax.tree.map(lambda x: x[0], pairs, is_leaf=leaf),
        jax.tree.map(lambda x: x[1], pairs, is_leaf=leaf),
    )


def _refuse(params, fault, message):
    if checks.concrete(fault):
        if bool(fault):
            raise ValueError(message)
        return params
    return eqx.error_if(params, fault, message)


def _refuse_nonlinear(optimizer, params):
    """Scores follow W only under optimizers linear in the gradients: try it on three of them."""
    return _refuse(
        params,
        nonlinear(optimizer, jnp.result_type(*jax.tree.leaves(params))),
        "optimizer must be linear in the gradients for a system of scores or margins (SGD, momentum, "
        "schedules, weight decay), got one that is not (Adam and sign descent act on the entries of "
        "W, which scores do not determine); use LinearMemory",
    )


def _refuse_memory(optimizer, params):
    """Scalar products of weights close under −η∇L alone: an update may not depend on earlier gradients."""
    return _refuse(
        params,
        remembers(optimizer, jnp.result_type(*jax.tree.leaves(params))),
        "optimizer must be plain gradient descent (optax.sgd of a rate or a schedule) for a reduced system, "
        "got one with a memory (scalar products of weights do not determine it); use CooccurrenceTransformer",
    )
