"""How near retrieval ends to its pattern."""

from jaxtyping import Array, Float

from ...observe import observable
from .task import RetrievalTask, ScoresCues


@observable(("pattern",), task=RetrievalTask)
def overlaps(task: RetrievalTask, model: ScoresCues) -> Float[Array, " n"]:
    """m_μ = ξ_μ·x_μ/‖ξ_μ‖² of every pattern with the state that its cue ends in."""
    return task.overlaps(model)
