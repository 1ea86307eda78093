"""Scores, margins and the coordinates of the papers, and ∇L(W) in closed form."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .... import checks
from ....numerics.edges import norm
from ....observe import margins, observable
from ..model import LinearMemory
from ..task.association import AssociationTask, ScoresTokens


@runtime_checkable
class HoldsW(Protocol):
    """one that holds W; use LinearMemory"""

    weight: Array


@observable(("row", "column"), task=AssociationTask, model=LinearMemory)
def weight_gradient(task: AssociationTask, model: ScoresTokens) -> Float[Array, "k d"]:
    """∇L(W) of a linear memory in closed form, GD (9) and Birth (5): Uᵀ D E.

    D_zx = p(x) ∂ℓ/∂s_z, for the cross-entropy p(x) (p_W(z|x) − p(z|x)). For layer norm (Birth (38)), use
    ``gradient``.
    """
    pull = task.probabilities[:, None] * task.token_loss.slopes(model.scores(task), task.targets)
    return task.outputs.T @ pull.T @ task.inputs


@observable(task=AssociationTask, model=HoldsW)
def weight_norm(task: AssociationTask, model: ScoresTokens) -> Float[Array, ""]:
    """‖W‖ (Frobenius)."""
    return norm(weights(task, model))


@observable(("token", "class"), task=AssociationTask, model=ScoresTokens)
def particles(task: AssociationTask, model: ScoresTokens) -> Float[Array, "n m"]:
    """Scores w_xj = u_jᵀ W e_x, GD (10)."""
    return model.scores(task)


@observable(("token", "class"), task=AssociationTask, model=ScoresTokens)
def probabilities(task: AssociationTask, model: ScoresTokens) -> Float[Array, "n m"]:
    """p_W(y|x) = softmax of the scores, GD (8): what the cross-entropy takes them for; of no other loss."""
    task.needs_cross_entropy(
        "am.memory.probabilities",
        "where scores are log-odds all the same: jax.nn.softmax of am.memory.particles",
    )
    return jax.nn.softmax(model.scores(task), axis=-1)


@observable(("token", "class"), task=AssociationTask, model=ScoresTokens)
def pairwise_margins(task: AssociationTask, model: ScoresTokens) -> Float[Array, "n m"]:
    """m_i(x) = w_{x f*(x)} − w_{x i}, GD (13); column f*(x) is 0. Soft labels: f* = argmax p(y|x)."""
    scores = model.scores(task)
    return jnp.take_along_axis(scores, task.labels[:, None], axis=1) - scores


@observable(("gamma",), task=AssociationTask, model=ScoresTokens)
def gammas(task: AssociationTask, model: ScoresTokens) -> Float[Array, "2"]:
    """(γ₁, γ₂) = ½(u₁−u₂)ᵀ W (e₁±e₂), GD (18), for two tokens with f*(x) = x.

    m₁ = γ₁+γ₂ and m₂ = γ₂−γ₁; γ₂ is the max-margin direction. GD (21) and the captions print
    another sign and factor (docs/theory.md: gd.23): see ``plane``.
    """
    if task.num_tokens != 2 or task.num_classes != 2:
        checks.refuse(
            "task",
            "of two tokens and two classes (GD (18))",
            f"{task.num_tokens} tokens, {task.num_classes} classes",
            "use am.memory.plane or am.margins",
        )
    m1, m2 = margins(task, model)
    return jnp.stack([(m1 - m2) / 2, (m1 + m2) / 2])


@observable(("gamma",), task=AssociationTask, model=HoldsW)
def plane(task: AssociationTask, model: ScoresTokens) -> Float[Array, " d"]:
    """γ_i = (u₂−u₁)ᵀ W f_i on the standard basis (f_i), GD (21): all of W that two classes see."""
    weight = weights(task, model)
    if task.num_classes != 2:
        checks.refuse("task", "of two classes (GD (21))", f"{task.num_classes} classes")
    return (task.outputs[1] - task.outputs[0]) @ weight


@observable(("row", "column"), task=AssociationTask, model=HoldsW)
def weights(task: AssociationTask, model: ScoresTokens) -> Float[Array, "k d"]:
    """W itself: observe it to keep the weights."""
    return model.weight  # pyright: ignore[reportAttributeAccessIssue]
