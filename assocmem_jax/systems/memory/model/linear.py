"""Associative memories that hold their matrix W."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .... import checks
from ....checks import Scalar
from ....models import AbstractWeights
from ....models.base import Coordinates
from ....numerics.edges import norm
from ....tasks.embeddings import product
from ..task import AssociationTask, schemes
from . import curvature, lanes
from .graded import graded


def rows(task: AssociationTask, tokens) -> Array:
    """e_x of all tokens, or of those named."""
    return task.inputs if tokens is None else task.inputs[tokens]


def outer_product(
    task: AssociationTask,
    scheme: Float[Array, " n"] | None = None,
    features: Float[Array, "n m"] | None = None,
) -> Float[Array, "k m"]:
    """Σ_x q(x) u_{f(x)} φ_xᵀ, with φ = e unless ``features`` and q = 1{p > 0} unless ``scheme`` is given."""
    features = task.inputs if features is None else features
    scheme = schemes.equal(task) if scheme is None else checks.floats(scheme=scheme)[0]
    if scheme.shape != (task.num_tokens,):
        checks.refuse("scheme", f"q(x) of shape ({task.num_tokens},)", f"shape {scheme.shape}")
    # First the sum for each class: M rows to multiply with, not N.
    weighted = scheme[:, None] * features
    if task.num_classes <= 64:  # a product is faster than adding row by row
        sums = product(jax.nn.one_hot(task.labels, task.num_classes, dtype=task.dtype).T, weighted)
    else:
        sums = jax.ops.segment_sum(weighted, task.labels, task.num_classes)
    return product(task.outputs.T, sums)


def _weight(name: str, weight) -> Array:
    (weight,) = checks.floats(**{name: weight})
    checks.shaped(name, weight, "a matrix of shape (k, d): logits are u_yᵀ W e_x", 2)
    checks.finite(name, weight)
    return weight


def _weight_of(memory):
    return memory.weight


def _normal_weight(task: AssociationTask, key: PRNGKeyArray) -> Array:
    shape = (task.outputs.shape[1], task.inputs.shape[1])
    return jr.normal(key, shape, task.inputs.dtype)


def _minimum_norm(task: AssociationTask, margins) -> Array:
    (margins,) = checks.floats(margins=margins)
    n, m = task.num_tokens, task.num_classes
    if margins.shape == (n,) and m == 2:
        margins = jnp.where(jnp.arange(2) == task.labels[:, None], 0, margins[:, None])
    if margins.shape != (n, m):
        either = f"shape ({n},) or ({n}, {m})" if m == 2 else f"shape ({n}, {m})"
        checks.refuse("margins", f"m_i(x) of {either}", f"shape {margins.shape}")
    checks.finite("margins", margins)
    # Scores are margins up to a constant a token: u_yᵀ W e_x = κ_x − m_y(x). Centring both sides
    # over the classes removes κ.
    centred = task.outputs - task.outputs.mean(axis=0)
    wanted = margins.mean(axis=1, keepdims=True) - margins
    weight = jnp.linalg.pinv(centred) @ wanted.T @ jnp.linalg.pinv(task.inputs).T
    if checks.concrete(weight):
        off = float(jnp.abs(task.inputs @ weight.T @ centred.T - wanted).max())
        if off > 1e4 * float(jnp.finfo(weight.dtype).eps) * max(1.0, float(jnp.abs(wanted).max())):
            checks.refuse(
                "margins",
                "attainable with these embeddings",
                f"a best fit off by {off:.3g}",
                "dependent embeddings tie margins together",
            )
    return weight


class LinearMemory(AbstractWeights):
    """One associative memory: logits u_yᵀ W e_x, GD (1). ``weight`` is W, of shape (k, d)."""

    task_type: ClassVar[type] = AssociationTask
    weight: Float[Array, "k d"]

    def __init__(self, weight):
        self.weight = _weight("weight", weight)

    @classmethod
    @checks.takes(task=AssociationTask)
    def zeros(cls, task: AssociationTask) -> "LinearMemory":
        """W = 0."""
        return cls(jnp.zeros((task.outputs.shape[1], task.inputs.shape[1]), task.inputs.dtype))

    @classmethod
    @checks.takes(task=AssociationTask, key=checks.KEY)
    def gaussian(
        cls, task: AssociationTask, key: PRNGKeyArray, scale: Scalar | None = None
    ) -> "LinearMemory":
        """Entries N(0, scale²); the scale is 1/√d unless given."""
        spread = 1 / math.sqrt(task.inputs.shape[1]) if scale is None else scale
        spread = checks.number("scale", spread)
        checks.positive("scale", spread)
        return cls(spread.astype(task.inputs.dtype) * _normal_weight(task, key))

    @classmethod
    @checks.takes(task=AssociationTask)
    def outer_product(cls, task: AssociationTask, scheme: Float[Array, " n"] | None = None) -> "LinearMemory":
        """W = Σ_x q(x) u_{f(x)} e_xᵀ, a memory that is written: Slides p. 6 (q = 1) and p. 32 (any q).

        ``scheme``: q(x) ≥ 0, shape (N,): 1 for every token of positive probability unless given;
        ``task.probabilities`` is one population gradient step; counts of a sample are one step on it;
        ``am.memory.schemes`` has these and thresholds.
        """
        return cls(outer_product(task, scheme))

    @classmethod
    @checks.takes(task=AssociationTask)
    def from_margins(cls, task: AssociationTask, margins: Float[Array | np.ndarray, "..."]) -> "LinearMemory":
        """The W of least norm with the margins of GD (13), m_i(x) = (u_{f*(x)} − u_i)ᵀ W e_x.

        ``margins``: shape (N, M) (its column f*(x) is 0), or (N,) for two classes. Refuses margins
        that no W attains.
        """
        return cls(_minimum_norm(task, margins))

    @classmethod
    @checks.takes(task=AssociationTask)
    def from_plane(cls, task: AssociationTask, gamma: Float[Array | np.ndarray, " d"]) -> "LinearMemory":
        """Two classes: W = (u₂−u₁) γᵀ/‖u₂−u₁‖², so that (u₂−u₁)ᵀ W f_i = γ_i, GD (21)."""
        if task.num_classes != 2:
            checks.refuse("task", "of two classes (GD (21))", f"{task.num_classes} classes")
        (gamma,) = checks.floats(gamma=gamma)
        if gamma.shape != (task.inputs.shape[1],):
            checks.refuse("gamma", f"of shape ({task.inputs.shape[1]},)", f"shape {gamma.shape}")
        difference = task.outputs[1] - task.outputs[0]
        return cls(jnp.outer(difference, gamma) / jnp.dot(difference, difference))

    def scores(self, task, tokens: Int[Array, " b"] | None = None):
        e, (m, k) = rows(task, tokens), task.outputs.shape
        n, d = e.shape
        if m * d * (k + n) < n * k * (d + m):  # few classes: U W first
            return task.answerable(product(e, product(task.outputs, self.weight).T))
        return task.logits(product(e, self.weight.T))

    def trainable(self):
        return (self.weight,)

    def graded(self, task):
        """W at the principal axes of E and U."""
        start, downhill, moved = graded(task, task.inputs, task.outputs, self.scores(task.unrestricted))
        return Coordinates(start, downhill, lambda v: LinearMemory(self.weight + moved(v)))

    def lanes(self, task):
        """W on the spans of E and U."""
        return lanes.of_weights(task, self.weight, lambda weight: eqx.tree_at(_weight_of, self, weight))

    def hessian_product(self, task):
        """V ↦ ∇²L(W)[V], in closed form."""
        closed = curvature.product(task, self.scores(task))
        return lambda direction: eqx.tree_at(lambda m: m.weight, direction, closed(direction.weight))

    def top_curvature(self, task):
        """λ_max(∇²L(W))."""
        return curvature.top_of_weights(task, self)

    def curvature_residual(self, task):
        """See ``KnowsResidual``."""
        return curvature.residual_of_weights(task, self)


class NormalizedMemory(AbstractWeights):
    """Layer norm after the matrix: logits u_yᵀ W e_x/‖W e_x‖, Birth (37)–(38).

    The norm is undefined where W e_x = 0, so such a W is refused; the gradient is orthogonal to W
    (docs/theory.md: birth.35), so the flow keeps ‖W‖ and each descent step adds η²‖∇L‖² to ‖W‖².
    """

    task_type: ClassVar[type] = AssociationTask
    weight: Float[Array, "k d"]

    def __init__(self, weight, task: AssociationTask | None = None):
        self.weight = _weight("weight", weight)
        if not checks.concrete(self.weight):
            return
        if task is not None and not isinstance(task, AssociationTask):
            checks.refuse("task", "an AssociationTask", checks.short(task))
        dead = not np.asarray(self.weight).any()
        if task is not None and checks.concrete(task.inputs):
            dead = not bool((product(task.inputs, self.weight.T) != 0).any(axis=1).all())
        if dead:
            checks.refuse(
                "weight",
                "such that W e_x ≠ 0 for every token",
                "W e_x = 0",
                "layer norm has no value there: start from NormalizedMemory.gaussian",
            )

    @classmethod
    @checks.takes(task=AssociationTask, key=checks.KEY)
    def gaussian(
        cls, task: AssociationTask, key: PRNGKeyArray, scale: Scalar | None = None
    ) -> "NormalizedMemory":
        """Entries N(0, scale²); the scale is 1/√d unless given."""
        return cls(LinearMemory.gaussian(task, key, scale).weight, task)

    def scores(self, task, tokens: Int[Array, " b"] | None = None):
        hidden = product(rows(task, tokens), self.weight.T)
        return task.logits(hidden / norm(hidden, axis=1, keepdims=True))

    def trainable(self):
        return (self.weight,)
