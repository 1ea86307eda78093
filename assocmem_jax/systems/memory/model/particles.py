"""The same memory without its matrix: scores (GD Theorem 1) and, for two classes, margins."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .... import checks, machine
from ....models import AbstractModel
from ....models.base import Coordinates
from ....numerics.edges import gram_factor
from ....tasks.embeddings import gram, product
from ..task import AssociationTask
from . import curvature, lanes
from .graded import graded
from .linear import LinearMemory

# Bytes of inner products that a system of particles may hold: past it W is smaller, and faster.
_ROOM = 4 * 2**30


class ParticleSystem(AbstractModel):
    """Particles w_xj = u_jᵀ W e_x, GD (10), that interact through α and β, GD (11)–(12).

    - ``values``: w, shape (N, M), trained.
    - ``alpha``: α_xx' = ⟨e_x, e_x'⟩, shape (N, N). ``beta``: ⟨u_j, u_k⟩, shape (M, M), from which
      β_ijk = ⟨u_i, u_j − u_k⟩ of GD (11).

    A gradient step of W moves w by −η α (∂L/∂w) ⟨u, u⟩, for any loss of scores. For the cross-entropy that
    is GD (12): the rows of ∂L/∂w sum to zero, so the inner products may stand for the differences β.
    """

    weight_space: ClassVar[bool] = False
    task_type: ClassVar[type] = AssociationTask
    values: Float[Array, "n m"]
    alpha: Float[Array, "n n"]
    beta: Float[Array, "m m"]

    @classmethod
    @checks.takes(task=AssociationTask)
    def zeros(cls, task: AssociationTask) -> "ParticleSystem":
        """All scores zero: W = 0."""
        _refuse_large(task)
        shape = (task.num_tokens, task.num_classes)
        return cls(jnp.zeros(shape, task.inputs.dtype), gram(task.inputs), gram(task.outputs))

    @classmethod
    @checks.takes(task=AssociationTask, memory=LinearMemory)
    def from_memory(cls, task: AssociationTask, memory: LinearMemory) -> "ParticleSystem":
        """The particles of a memory."""
        _refuse_large(task)
        _refuse_other(task, memory)
        return cls(memory.scores(task.unrestricted), gram(task.inputs), gram(task.outputs))

    def scores(self, task, tokens: Int[Array, " b"] | None = None):
        return task.answerable(self.values if tokens is None else self.values[tokens])

    def trainable(self):
        return (self.values,)

    def slope(self, task):
        """p(x) ∂ℓ/∂w_x: of the cross-entropy, p(x) (softmax(w_x) − q_x), GD (9)."""
        slopes = task.token_loss.slopes(self.scores(task), task.targets)
        return eqx.tree_at(lambda m: m.values, self, task.probabilities[:, None] * slopes)

    def tangent(self, task, gradient):
        moved = product(product(self.alpha, gradient.values), self.beta)
        return eqx.tree_at(lambda m: m.values, gradient, moved)

    def graded(self, task):
        """As of a memory whose embeddings have the inner products α and β."""
        inputs, outputs = gram_factor(self.alpha), gram_factor(self.beta)
        start, downhill, moved = graded(task, inputs, outputs, self.values)

        def back(coordinates):
            change = product(product(inputs, moved(coordinates).T), outputs.T)
            return eqx.tree_at(lambda m: m.values, self, self.values + change)

        return Coordinates(start, downhill, back)

    def lanes(self, task):
        """w itself."""
        made = lambda values: eqx.tree_at(lambda m: m.values, self, values)  # noqa: E731
        return lanes.of_scores(task, self.values, self.alpha, self.beta, made)

    def noise(self, task, key):
        noise = LinearMemory.zeros(task).noise(task, key)
        return eqx.tree_at(lambda m: m.values, self, noise.scores(task.unrestricted))

    def top_curvature(self, task):
        """λ_max(∇²L(W)) of the W that has these scores."""
        return curvature.top_of_scores(task, self, self.alpha, self.beta)

    def curvature_residual(self, task):
        """See ``KnowsResidual``."""
        return curvature.residual_of_scores(task, self, self.alpha, self.beta)


def _refuse_other(task: AssociationTask, memory: LinearMemory) -> None:
    shape = (task.outputs.shape[1], task.inputs.shape[1])
    if memory.weight.shape != shape:
        checks.refuse(
            "memory", f"of shape {shape}", f"shape {memory.weight.shape}", "build it from this task"
        )


def _refuse_large(task: AssociationTask) -> None:
    """Refuse inner products of all pairs where they would take more than they are worth."""
    n, m = task.num_tokens, task.num_classes
    need, free = task.dtype.itemsize * (n * n + n * m + m * m), machine.free()
    room = _ROOM if free is None else min(_ROOM, free)
    if need > room:
        checks.refuse(
            "task", f"small enough for N² + N M + M² numbers in {room / 2**30:.3g} GiB (α, w and β)",
            f"N = {n}, M = {m}, {need / 2**30:.3g} GiB", "LinearMemory holds k d numbers, whatever N is",
        )  # fmt: skip


class MarginSystem(AbstractModel):
    """Two classes: one margin a token, m_x = (u_{f*(x)} − u_other)ᵀ W e_x; GD (17) for N = 2.

    - ``margins``: m, shape (N,), trained.
    - ``kernel``: ‖u₁−u₂‖² s_x s_x' ⟨e_x, e_x'⟩, s = +1 where f*(x) is class 0 and −1 elsewhere.

    The smallest exact system: N numbers for any d. Its ``scores`` are ±m/2: what all classes share
    does not reach the cross-entropy. A task of another loss is refused.
    """

    weight_space: ClassVar[bool] = False
    task_type: ClassVar[type] = AssociationTask
    margins: Float[Array, " n"]
    kernel: Float[Array, "n n"]

    @classmethod
    @checks.takes(task=AssociationTask)
    def zeros(cls, task: AssociationTask) -> "MarginSystem":
        """All margins zero: W = 0."""
        return cls.from_margins(task, jnp.zeros(task.num_tokens, task.inputs.dtype))

    @classmethod
    @checks.takes(task=AssociationTask)
    def from_margins(cls, task: AssociationTask, margins: Float[Array | np.ndarray, " n"]) -> "MarginSystem":
        """The margins given."""
        if task.num_classes != 2:
            checks.refuse("task", "of two classes", f"{task.num_classes} classes", "use ParticleSystem")
        task.refuse_restricted("use ParticleSystem")
        task.needs_cross_entropy("a MarginSystem", "use ParticleSystem")
        (margins,) = checks.floats(margins=margins)
        if margins.shape != (task.num_tokens,):
            checks.refuse("margins", f"of shape ({task.num_tokens},)", f"shape {margins.shape}")
        checks.finite("margins", margins)
        signed = _signs(task)[:, None] * task.inputs
        difference = task.outputs[0] - task.outputs[1]
        return cls(margins, jnp.dot(difference, difference) * gram(signed))

    @classmethod
    @checks.takes(task=AssociationTask, memory=LinearMemory)
    def from_memory(cls, task: AssociationTask, memory: LinearMemory) -> "MarginSystem":
        """The margins of a memory."""
        _refuse_other(task, memory)
        scores = memory.scores(task)
        return cls.from_margins(task, _signs(task) * (scores[:, 0] - scores[:, 1]))

    def scores(self, task, tokens: Int[Array, " b"] | None = None):
        task.needs_cross_entropy("a MarginSystem", "use ParticleSystem")
        half = _signs(task) * self.margins / 2
        half = half if tokens is None else half[tokens]
        return jnp.stack([half, -half], axis=1)

    def trainable(self):
        return (self.margins,)

    def slope(self, task):
        """p(x) ((1 − q) σ(m) − q σ(−m)), q the probability of the answer that the margin m favours."""
        right, wrong = jax.nn.sigmoid(-self.margins), 0.0
        if task.soft:
            q = jnp.max(task.targets, axis=1)
            right, wrong = q * right, (1 - q) * jax.nn.sigmoid(self.margins)
        return eqx.tree_at(lambda m: m.margins, self, task.probabilities * (wrong - right))

    def tangent(self, task, gradient):
        moved = product(self.kernel, gradient.margins[:, None])[:, 0]
        return eqx.tree_at(lambda m: m.margins, gradient, moved)

    def graded(self, task):
        """As of a memory with inputs s_x e_x and outputs ±½ on a line, whose kernel is this."""
        inputs = gram_factor(self.kernel)
        signed, halves = _signs(task)[:, None] * inputs, jnp.array([[0.5], [-0.5]], inputs.dtype)
        start, downhill, moved = graded(task, signed, halves, self.scores(task))

        def back(coordinates):
            change = product(inputs, moved(coordinates).T)[:, 0]
            return eqx.tree_at(lambda m: m.margins, self, self.margins + change)

        return Coordinates(start, downhill, back)

    def lanes(self, task):
        """m itself."""
        made = lambda margins: eqx.tree_at(lambda m: m.margins, self, margins)  # noqa: E731
        return lanes.of_margins(task, self.margins, self.kernel, made)

    def noise(self, task, key):
        scores = LinearMemory.zeros(task).noise(task, key).scores(task)
        noise = _signs(task) * (scores[:, 0] - scores[:, 1])
        return eqx.tree_at(lambda m: m.margins, self, noise)

    def top_curvature(self, task):
        """λ_max(∇²L(W)) of the W that has these margins."""
        task.needs_cross_entropy("a MarginSystem", "use ParticleSystem")
        return curvature.top_of_margins(task, self.margins, self.kernel)

    def curvature_residual(self, task):
        """See ``KnowsResidual``."""
        task.needs_cross_entropy("a MarginSystem", "use ParticleSystem")
        return curvature.residual_of_margins(task, self.margins, self.kernel)


def _signs(task: AssociationTask) -> Array:
    return (1 - 2 * task.labels).astype(task.inputs.dtype)
