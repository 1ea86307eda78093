"""How much of a map is in the weights: bits told by right answers, a parameter."""

from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float

from .. import checks
from ..models import AbstractWeights
from .observable import observable


@runtime_checkable
class HoldsMap(Protocol):
    """one that is a map, with recalled_bits(model); AssociationTask, FactualTask or RetrievalTask"""

    def recalled_bits(self, model: Any) -> Array: ...


@checks.takes(model=AbstractWeights)
def num_parameters(model: AbstractWeights) -> int:
    """How many numbers a model learns: of its trainable leaves, or ``model.num_parameters`` where some of
    them are tied (a symmetric W)."""
    known = getattr(model, "num_parameters", None)
    return sum(w.size for w in jax.tree.leaves(model.trainable())) if known is None else known


@observable(units="bits", task=HoldsMap, model=AbstractWeights)
def bits_per_parameter(task: HoldsMap, model: AbstractWeights) -> Float[Array, ""]:
    """Bits of the task's map that a model's right answers tell, ``task.recalled_bits(model)``, over
    ``num_parameters(model)``.

    A bound from below on what the weights hold (Fano, ``am.theory.information``), with this model's recall
    taken for that expected over maps: all of log₂ of the number of maps at recall 1, none at chance. Of a
    ``RetrievalTask``, what is told beyond the cues. 0 of a model that learns no number (a Hopfield network of
    one bit): nothing of a map is in it, whatever its answers. Where only N, M and recall are known,
    ``am.theory.information.recalled`` has the bits.

        task = am.two_tokens(alpha=0.5, p1=0.75)
        am.bits_per_parameter(task, am.LinearMemory.outer_product(task))  # log₂ 2! bits in 2 × 2 numbers: .25
    """
    bits, held = task.recalled_bits(model), num_parameters(model)
    return bits / held if held else 0 * bits
