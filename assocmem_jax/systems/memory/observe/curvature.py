"""The Hessian of the loss in W, GD (26)."""

from jaxtyping import Array, Float

from ....observe import observable
from ..model import LinearMemory
from ..model.curvature import dense
from ..task.association import AssociationTask, ScoresTokens


@observable(("entry", "other"), task=AssociationTask, model=LinearMemory)
def hessian(task: AssociationTask, model: ScoresTokens) -> Float[Array, "kd kd"]:
    """∇²L(W) of a linear memory, dense: Σ_x p(x) Cov_{p_W(·|x)}(u) ⊗ e_x e_xᵀ for the cross-entropy, GD (26);
    Σ_x p(x) Uᵀ(∂²ℓ/∂s²)U ⊗ e_x e_xᵀ for any loss of scores.

    Row a·d + b stands for W_ab. The footnote of GD appendix A slips an index (docs/theory.md: gd.24).
    """
    return dense(task, model.scores(task))
