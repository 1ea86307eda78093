"""What to wait for in a run of the co-occurrence transformer."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ... import checks
from ...checks import Scalar
from ...dynamics import Until
from ...models import AbstractModel


class _ScoresMoved(eqx.Module):
    start: Array
    level: Array

    def __call__(self, task, model):
        return jnp.max(jnp.abs(model.table - self.start)) - self.level


@checks.takes(model=AbstractModel)
def scores_moved(model: Any, level: Scalar, hold: int | None = 1) -> Until:
    """Some attention score μᵀW_KᵀW_Qν has moved by more than ``level`` from where ``model`` has it.

    Cooc's Phase 1 is over when all samples are right (``perfect_accuracy``) and was one only if this has
    not happened by then.
    """
    if not hasattr(model, "table"):
        checks.refuse("model", "one with attention scores, ``table``", type(model).__name__)
    checks.positive("level", level)
    return Until(_ScoresMoved(model.table, checks.scalar("level", level)), hold)
