"""What a descent must know of an optax transformation: its learning rate, whether it is linear, its roots."""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from .. import checks
from ..numerics.edges import rooted

RATE, STEPS = "learning rate × step", "steps"
Rate = Callable[[Any], Any]


def transformation(optimizer: Any) -> optax.GradientTransformationExtraArgs:
    """An optimizer as a transformation of gradients; refused is what does not move the parameters it gets."""
    if isinstance(optimizer, optax.MultiSteps):
        optimizer = optimizer.gradient_transformation()
    if not isinstance(optimizer, optax.GradientTransformation):
        checks.refuse(
            "optimizer",
            "an optax transformation, or a function of learning_rate that returns one",
            checks.short(optimizer),
            "for example optax.sgd(0.1)",
        )
    if "slow_step_size" in _held(optimizer.update):
        checks.refuse(
            "optimizer", "one that moves the parameters it is given",
            "optax.lookahead, which holds two copies", "pass its fast optimizer",
        )  # fmt: skip
    return optax.with_extra_args_support(optimizer)


def updated(
    optimizer: Any, gradient: Any, state: Any, params: Any, losses: Callable[[Any], Array], value: Any
):
    """(updates, state) of a transformation, with everything that optax's own can ask for.

    Every √ in it has derivative 0 at 0: a second moment that is exactly 0 has a first moment that is, too.
    """
    offered = {"value": value, "grad": gradient, "value_fn": losses}
    asked = inspect.signature(optimizer.update).parameters
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in asked.values()):
        offered = {name: what for name, what in offered.items() if name in asked}
    if "grad_fn" in asked:  # sam
        offered["grad_fn"] = lambda moved, _: jax.grad(losses)(moved)
    functions = {name: what for name, what in offered.items() if callable(what)}
    arrays = {name: what for name, what in offered.items() if not callable(what)}
    call = lambda g, s, p, more: optimizer.update(g, s, p, **more, **functions)  # noqa: E731
    return rooted(call)(gradient, state, params, arrays)


class Clock:
    """What an update adds to the clock: the learning rate where there is one, else 1.

    The rate is the one given, or what the transformation says: the step sizes in the closures of ``scale``
    and ``scale_by_schedule`` (the product along a chain; one number over a tree of labels), times what its
    state says (``inject_hyperparams``, line searches, ``reduce_on_plateau``, ``MultiSteps``).
    """

    def __init__(self, optimizer: Any, rates: Any = None):
        self._optimizer = optimizer
        self._rate: Rate | None
        if rates is not None:
            self._rate = lambda step: rates[jnp.minimum(step, rates.shape[0] - 1)] if rates.ndim else rates
        else:
            self._rate = _read(optimizer.update)

    @property
    def unit(self) -> str:
        """ "learning rate × step", or "steps" where no rate is said."""
        if self._rate is not None:
            return RATE
        try:
            state = jax.eval_shape(self._optimizer.init, jax.ShapeDtypeStruct((), jnp.float32))
        except Exception:  # one for a tree of labels
            return STEPS
        return RATE if _nodes(state, _hyper) or _nodes(state, _factor) else STEPS

    def tick(self, step: Array, state: Any, dtype: Any) -> Array:
        """From the number of the update and the state after it."""
        rate: Any = 1 if self._rate is None else jnp.abs(jnp.asarray(self._rate(step), dtype))
        return jnp.asarray(
            math.prod(_nodes(state, _hyper) or [rate]) * math.prod(_nodes(state, _factor)), dtype
        )


def _factor(node: Any) -> Any:
    """By what the state of a transformation scales the rate of the chain it is in, or None."""
    if isinstance(node, optax.MultiStepsState):
        return node.mini_step == 0  # an update was made
    name = type(node).__name__
    if name in ("ScaleByBacktrackingLinesearchState", "ScaleByZoomLinesearchState"):
        return node.learning_rate
    if name == "ReduceLROnPlateauState":
        return node.scale
    return getattr(node, "estim_lr", None)  # D-adaptation, Prodigy


def _hyper(node: Any) -> Any:
    """The learning rate that a state holds as a hyper-parameter, or None."""
    return (getattr(node, "hyperparams", None) or {}).get("learning_rate")


def _nodes(tree: Any, ask: Callable[[Any], Any]) -> list[Any]:
    """All answers that are not None of the named tuples in a tree."""
    found = []
    if isinstance(tree, tuple | list | dict):
        if hasattr(tree, "_fields") and (answer := ask(tree)) is not None:
            found.append(answer)
        for part in tree.values() if isinstance(tree, dict) else tree:
            found += _nodes(part, ask)
    return found


def _held(function: Any) -> dict[str, Any]:
    """What a function closes over, or a method's object holds."""
    if inspect.ismethod(function):
        return dict(vars(function.__self__))
    if isinstance(function, functools.partial):
        return _held(function.func) | function.keywords
    return dict(inspect.getclosurevars(function).nonlocals) if inspect.isfunction(function) else {}


def _read(update: Any) -> Rate | None:
    """The learning rate as a function of the step, read off the closures of an update, or None.

    ``scale`` keeps it as ``step_size``, ``scale_by_schedule`` as ``step_size_fn``.
    """
    held = _held(update)
    for name in ("step_size", "step_size_fn"):
        if name in held:
            value = held[name]
            if callable(value):
                return value
            return (lambda step, value=value: value) if np.ndim(value) == 0 else None
    found: list[Rate | None] = []
    for value in held.values():
        if isinstance(value, optax.GradientTransformation):
            found.append(_read(value.update))
        elif isinstance(value, tuple | list):  # a chain: the product of those that say one
            parts = [rate for part in value if (rate := _read(part)) is not None]
            if parts:
                found.append(lambda step, parts=parts: math.prod(rate(step) for rate in parts))
        elif isinstance(value, dict):  # a tree of labels
            found += [
                _read(part.update)
                for part in value.values()
                if isinstance(part, optax.GradientTransformation)
            ]
        elif inspect.isfunction(value) or inspect.ismethod(value):
            found.append(_read(value))
    said = [rate for rate in found if rate is not None]
    if not said:
        return None
    # Several, side by side: only if they agree, as far as can be told.
    with jax.ensure_compile_time_eval():
        tried = [[_number(rate(step)) for step in (0, 1, 7, 100)] for rate in said]
    return said[0] if all(numbers == tried[0] for numbers in tried) else None


def _number(value: Any) -> Any:
    return float(value) if checks.concrete(value) else id(value)


def nonlinear(optimizer: Any, dtype: Any) -> Array:
    """Whether the updates are no linear function of the gradients: tried on three of them."""
    rng = np.random.default_rng(0)
    with jax.ensure_compile_time_eval():  # inside jit, but nothing here need be traced
        a, b = (jnp.asarray(rng.normal(size=(3, 4)), dtype) for _ in range(2))
        together, apart = _probe(optimizer, a + 3 * b), _probe(optimizer, a) + 3 * _probe(optimizer, b)
        tolerance = 1e3 * jnp.finfo(dtype).eps * (jnp.finfo(dtype).tiny + jnp.max(jnp.abs(apart)))
        return jnp.max(jnp.abs(together - apart)) > tolerance


def remembers(optimizer: Any, dtype: Any) -> Array:
    """Whether an update depends on earlier gradients, or is no multiple of the last."""
    rng = np.random.default_rng(0)
    with jax.ensure_compile_time_eval():
        a, b, last = (jnp.asarray(rng.normal(size=4), dtype) for _ in range(3))
        one, other = (_probe(optimizer, jnp.stack([first, last]))[1] for first in (a, b))
        twice = _probe(optimizer, jnp.stack([a, 2 * last]))[1]
        return jnp.any(one != other) | (jnp.max(jnp.abs(twice - 2 * one)) > 1e-6 * jnp.max(jnp.abs(one)))


def _probe(optimizer: Any, flat: Array) -> Array:
    """Updates of a lone vector parameter at 0 under a sequence of gradients."""
    state, found = optimizer.init(flat[0] * 0), []
    for g in flat:
        update, state = updated(optimizer, g, state, flat[0] * 0, jnp.sum, jnp.zeros((), flat.dtype))
        found.append(update)
    return jnp.stack(found)
