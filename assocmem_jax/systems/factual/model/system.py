"""The flow of linear attention from equal entries, in four numbers."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .... import checks
from ....checks import Scalar
from ....models import AbstractModel
from ..task import FactualTask
from .linear import LinearAttentionRecall


class FactualSystem(AbstractModel):
    """Two independent halves, (v_s, x) of subjects and (v_r, y) of relations, exact for balanced facts.

    With v_z of every subject v_s, of every relation v_r, x = A_{a,s} − A_{b,s} for a an answer of s and b
    none, y the same for a in A_r and b not, m_s = v_s x and m_r = v_r y,

        L = log(1 + (D−1)e^{−m_s}) + log(1 + (R−1)e^{−m_r}),
        v_s' = (D−1) x/(S(e^{m_s} + D−1)),    x' = D v_s/(S R (e^{m_s} + D−1)),
        v_r' = (R−1) y/(R(e^{m_r} + R−1)),    y' = v_r/(D(e^{m_r} + R−1)):

    each is its own −∂L times a constant (docs/theory.md: facts.reduced); where a text says its subject or its
    relation μ times, that half's margin and velocities are times μ. So the flow closes, and so does
    descent of the population loss by any optimizer that is linear in the gradients; noise tokens and EOS
    stay as they are. Not minibatches, whose noise breaks the symmetry. Of the start only v enters, not A.
    """

    weight_space: ClassVar[bool] = False
    task_type: ClassVar[type] = FactualTask
    subject_attention: Float[Array, ""]
    subject_gap: Float[Array, ""]
    relation_attention: Float[Array, ""]
    relation_gap: Float[Array, ""]

    @classmethod
    @checks.takes(task=FactualTask)
    def constant(
        cls, task: FactualTask, start: Scalar = 1e-5, relations: Scalar | None = None
    ) -> "FactualSystem":
        """As ``LinearAttentionRecall.constant``: v = ``start``, x = y = 0. ``relations``: v_r, if another."""
        _needs_symmetry(task)
        start = checks.number("start", start).astype(task.dtype)
        other = start if relations is None else checks.number("relations", relations).astype(task.dtype)
        checks.positive("start", start, "at 0 nothing moves")
        checks.positive("relations", other, "at 0 nothing moves")
        zero = jnp.zeros_like(start)
        return cls(start, zero, other, zero)

    @classmethod
    @checks.takes(task=FactualTask, model=LinearAttentionRecall)
    def from_weights(cls, task: FactualTask, model: LinearAttentionRecall) -> "FactualSystem":
        """The halves of weights that are symmetric; others are refused."""
        _needs_symmetry(task)
        S, R = task.facts.shape
        v, A = model.attention, model.table[:, : S + R].T
        own = jnp.any(jax.nn.one_hot(task.facts, task.num_answers, dtype=bool), axis=1)
        own = jnp.concatenate([own, jnp.repeat(jnp.eye(R, dtype=bool), task.answers, axis=1)])
        means = [
            jnp.sum(jnp.where(of, A, 0), axis=1) / jnp.maximum(jnp.sum(of, axis=1), 1) for of in (own, ~own)
        ]
        found = jnp.where(own, means[0][:, None], means[1][:, None])
        gaps = jnp.where(jnp.all(own, axis=1), 0, means[0] - means[1])
        halves = [(part[:S].mean(), part[S:].mean()) for part in (v[: S + R], gaps)]
        if checks.concrete(A, v):
            (v_s, v_r), (x, y) = halves
            spread = [
                np.abs(A - found).max(), np.abs(v[:S] - v_s).max(), np.abs(v[S : S + R] - v_r).max(),
                np.abs(gaps[:S] - x).max(), np.abs(gaps[S:] - y).max(),
                np.ptp(model.table[:, S + R :], axis=0).max(),
            ]  # fmt: skip
            size = max(np.abs(A).max(), np.abs(v).max())
            if max(spread) > 1e4 * float(jnp.finfo(A.dtype).eps) * size:
                checks.refuse(
                    "model", "symmetric: the same for every subject, relation, and answer of its kind",
                    f"entries that differ by {max(spread):.2g}",
                )  # fmt: skip
        (v_s, v_r), (x, y) = halves
        return cls(v_s, x, v_r, y)

    @property
    def subject_margin(self) -> Float[Array, ""]:
        """v_s x, per mention."""
        return self.subject_attention * self.subject_gap

    @property
    def relation_margin(self) -> Float[Array, ""]:
        """v_r y, per mention."""
        return self.relation_attention * self.relation_gap

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None) -> Float[Array, "b m"]:
        """m_s where an answer is one of s, plus m_r where it is in A_r."""
        S, R = task.facts.shape
        texts = jnp.arange(len(task.data.answers)) if tokens is None else tokens
        s, r = jnp.divmod(texts // (len(task.data.answers) // (S * R)), R)
        ours = jnp.any(jax.nn.one_hot(task.facts, task.num_answers, dtype=bool), axis=1)[s]
        block = jnp.arange(task.num_answers) // task.answers == r[:, None]
        one, other = task.mentions
        subject = jnp.where(ours, one * self.subject_margin, 0)
        return subject + jnp.where(block, other * self.relation_margin, 0)

    def logits(self, tokens: Int[Array, "n t"]) -> Float[Array, "n m"]:
        checks.refuse(
            "batch_size", "None for a reduced system, which is exact for the population", "a batch",
            "use LinearAttentionRecall",
        )  # fmt: skip

    def trainable(self):
        return self.subject_attention, self.subject_gap, self.relation_attention, self.relation_gap

    def tangent(self, task: Any, gradient: "FactualSystem") -> "FactualSystem":
        S, R, D = task.subjects, task.relations, task.answers
        # A half with one class has no loss and does not move.
        rates = 1 / S, D / (S * R * max(D - 1, 1)), 1 / R, 1 / (D * max(R - 1, 1))
        mobility = type(self)(*(jnp.asarray(rate, task.dtype) for rate in rates))
        frozen = lambda part: part is None  # noqa: E731
        return jax.tree.map(lambda g, k: g if g is None else k * g, gradient, mobility, is_leaf=frozen)

    def noise(self, task: Any, key: Any) -> Any:
        checks.refuse(
            "dynamics",
            "a flow or a descent for a reduced system",
            "a StochasticFlow",
            "use LinearAttentionRecall",
        )


def _needs_symmetry(task: FactualTask) -> None:
    known = task.symmetric
    if checks.concrete(known) and not bool(known):
        checks.refuse(
            "task", "of balanced facts, with uniform subjects and relations, for a reduced system",
            "another", "FactualTask.balanced, or LinearAttentionRecall",
        )  # fmt: skip
