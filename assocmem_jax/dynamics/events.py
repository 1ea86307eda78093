"""Conditions to wait for during a run."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from .. import checks
from ..checks import Scalar
from ..observe import quality


class Until(eqx.Module):
    """Wait for ``condition(task, model) > 0``.

    The trajectory reports the first time it held (``first_hit``) and the time from which it held
    without a break until the run ended (``stable_hit``); both are infinite if there is none.

    - ``condition``: a function ``(task, model) -> one number``, positive when reached, continuous for a flow;
      or a truth value, which a flow that goes on (``hold=None``) meets within 10⁻⁶ of its horizon (in s).
    - ``hold``: the run stops, with status HIT, once the condition has held at this many
      consecutive states (1: at its first hit, which may be the start; a flow stops at the crossing itself,
      located within its tolerance, and accepts 1 or None only). ``None``: never stop, report both times.
    """

    condition: Callable
    hold: int | None = eqx.field(static=True, default=1)

    def __check_init__(self):
        if not callable(self.condition):
            checks.refuse("condition", "a function (task, model) -> number", checks.short(self.condition))
        if self.hold is not None:
            checks.count("hold", self.hold, 1, "hold=None never stops")


def level(until: Until, task: Any, model: Any) -> Array:
    """What a condition says, above 0 where it holds: of a truth value 1 or −1."""
    said, required = until.condition(task, model), "a function that returns one number, or a truth value"
    value = jnp.asarray(said if isinstance(said, bool) else checks.array("condition", said, required))
    checks.shaped("condition", value, required, 0)
    if value.dtype == bool:
        value = jnp.where(value, 1.0, -1.0)
    return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(float)


class _MarginAbove(eqx.Module):
    level: Array
    token: int | None = eqx.field(static=True)

    def __call__(self, task, model):
        margins = quality.margins(task, model)
        if self.token is not None and self.token >= margins.shape[0]:
            checks.refuse("token", f"one of the {margins.shape[0]} tokens", self.token)
        return (jnp.min(margins) if self.token is None else margins[self.token]) - self.level


class _LossBelow(eqx.Module):
    level: Array

    def __call__(self, task, model):
        return self.level - task.loss(model)


def perfect_accuracy(hold: int | None = 1) -> Until:
    """All margins positive: zero error. For co-occurrence, the end of Phase 1: all training samples right."""
    return Until(_MarginAbove(jnp.zeros(()), None), hold)


def margin_above(level: Scalar, token: int | None = None, hold: int | None = 1) -> Until:
    """The smallest margin (22), or that of one token, above a level."""
    level = checks.number("level", level)
    if token is not None:
        checks.count("token", token, 0)
    return Until(_MarginAbove(level, token), hold)


def loss_below(level: Scalar, hold: int | None = 1) -> Until:
    """Population loss below a level (in nats for the cross-entropy)."""
    checks.positive("level", level)
    return Until(_LossBelow(checks.number("level", level)), hold)
