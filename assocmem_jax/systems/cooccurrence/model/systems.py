"""Two systems of scalar products that the transformer of Cooc closes in."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .... import checks
from ....models import AbstractReducedSystem
from ..task import CooccurrenceTask
from .transformer import CooccurrenceTransformer, output


def _attention_step(score, keys, queries, a):
    """B, W_KᵀW_K, W_QᵀW_Q after W_K += W_Q aᵀ and W_Q += W_K a, exactly: seven products."""
    forward, backward = keys @ a, a @ queries
    left, right = score @ a.T, score.T @ a
    return (
        score + forward + backward + left.T @ a,
        keys + left + left.T + backward @ a.T,
        queries + right + right.T + a.T @ forward,
    )


def _attention_velocity(score, keys, queries, a):
    """Their derivative: the terms linear in a."""
    left, right = score @ a.T, score.T @ a
    return keys @ a + a @ queries, left + left.T, right + right.T


def _refuse_noise():
    checks.refuse(
        "dynamics", "a flow or plain descent for a reduced system", "a StochasticFlow", "use the transformer"
    )


class CooccurrenceSystem(AbstractReducedSystem):
    """The smallest closed system, without m₁ (oracle J): G(μ), ρ = ‖Wᵀa‖² and four Gram matrices.

    With S = (1/n) Σ g_i y_i Σ_l X_i p_l and A = −∂L/∂B:
    G' = ρS + m₁DS, ρ' = 2m₁G·S, D' = GSᵀ + SGᵀ, B' = KA + AQ, K' = BAᵀ + ABᵀ, Q' = BᵀA + AᵀB;
    D, K, Q the Grams of W_V, W_K, W_Q. A step of gradient descent closes too, with its terms in η². Not
    in Cooc, whose system (``SixVariableSystem``) has m₁d + m₁² numbers in place of d + 1.
    """

    task_type: ClassVar[type] = CooccurrenceTask
    weight_space: ClassVar[bool] = False
    values: Float[Array, " d"]
    energy: Float[Array, ""]
    value_gram: Float[Array, "d d"]
    table: Float[Array, "d d"]
    key_gram: Float[Array, "d d"]
    query_gram: Float[Array, "d d"]
    width: int = eqx.field(static=True)
    neurons: int = eqx.field(static=True)

    @classmethod
    @checks.takes(model=CooccurrenceTransformer)
    def from_transformer(cls, model: CooccurrenceTransformer) -> "CooccurrenceSystem":
        """The scalar products of a transformer."""
        u = model.signs @ model.mlp
        return cls(
            model.values, jnp.dot(u, u), model.value_gram, model.table, model.key.T @ model.key,
            model.query.T @ model.query, model.width, model.mlp.shape[0],
        )  # fmt: skip

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None):
        return output(task, self.values, self.table, self.width, tokens)

    def trainable(self):
        return self.values, self.energy, self.value_gram, self.table, self.key_gram, self.query_gram

    def _replaced(self, values, energy, gram, table, keys, queries):
        return type(self)(values, energy, gram, table, keys, queries, self.width, self.neurons)

    def tangent(self, task, gradient):
        s, a = -gradient.values, -gradient.table
        carried = self.value_gram @ s
        values = self.energy * s + self.neurons * carried
        energy = 2 * self.neurons * jnp.dot(self.values, s)
        gram = jnp.outer(self.values, s) + jnp.outer(s, self.values)
        table, keys, queries = _attention_velocity(self.table, self.key_gram, self.query_gram, a)
        moved = self._replaced(values, energy, gram, table, keys, queries)
        return jax.tree.map(jnp.negative, moved)

    def stepped(self, task, updates):
        s, a, m1 = updates.values, updates.table, self.neurons
        carried, along = self.value_gram @ s, jnp.dot(self.values, s)
        values = self.values + (self.energy + m1 * along) * s + m1 * carried
        energy = self.energy + 2 * m1 * along + m1**2 * jnp.dot(s, carried)
        gram = self.value_gram + jnp.outer(self.values, s) + jnp.outer(s, self.values)
        gram = gram + self.energy * jnp.outer(s, s)
        attention = _attention_step(self.table, self.key_gram, self.query_gram, a)
        return self._replaced(values, energy, gram, *attention)

    def noise(self, task, key):
        _refuse_noise()


class SixVariableSystem(AbstractReducedSystem):
    """Cooc appendix C: a_j w_jᵀW_Vμ, a_j a_k⟨w_j, w_k⟩, and the products of W_V, W_K, W_Q on tokens.

    Closed and exact for any tokens, those that occur twice in a sample included (the paper's p_{q←μ,k←ν} is a
    sum over occurrences; docs/theory.md: cooc.42).
    """

    task_type: ClassVar[type] = CooccurrenceTask
    weight_space: ClassVar[bool] = False
    neuron_values: Float[Array, "m1 d"]
    neuron_gram: Float[Array, "m1 m1"]
    value_gram: Float[Array, "d d"]
    table: Float[Array, "d d"]
    key_gram: Float[Array, "d d"]
    query_gram: Float[Array, "d d"]
    width: int = eqx.field(static=True)

    @classmethod
    @checks.takes(model=CooccurrenceTransformer)
    def from_transformer(cls, model: CooccurrenceTransformer) -> "SixVariableSystem":
        """The scalar products of a transformer."""
        signed = model.signs[:, None] * model.mlp
        return cls(
            signed @ model.value, signed @ signed.T, model.value_gram, model.table, model.key.T @ model.key,
            model.query.T @ model.query, model.width,
        )  # fmt: skip

    @property
    def values(self) -> Float[Array, " d"]:
        """G(μ) = Σ_j a_j w_jᵀW_Vμ."""
        return jnp.sum(self.neuron_values, axis=0)

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None):
        return output(task, self.values, self.table, self.width, tokens)

    def trainable(self):
        return (
            self.neuron_values, self.neuron_gram, self.value_gram, self.table, self.key_gram, self.query_gram,
        )  # fmt: skip

    def _pull(self, gradient):
        # Every neuron has the same ∂L/∂(a_j w_jᵀW_Vμ) = ∂L/∂G(μ).
        return gradient.neuron_values[0], gradient.table

    def tangent(self, task, gradient):
        s, a = (-part for part in self._pull(gradient))
        carried, each = self.value_gram @ s, self.neuron_values @ s
        moved = type(self)(
            carried + jnp.outer(jnp.sum(self.neuron_gram, axis=1), s),
            each[:, None] + each,
            jnp.outer(self.values, s) + jnp.outer(s, self.values),
            *_attention_velocity(self.table, self.key_gram, self.query_gram, a),
            self.width,
        )
        return jax.tree.map(jnp.negative, moved)

    def stepped(self, task, updates):
        s, a = self._pull(updates)
        carried, each = self.value_gram @ s, self.neuron_values @ s
        pulled = jnp.sum(self.neuron_gram, axis=1)
        gram = self.value_gram + jnp.outer(self.values, s) + jnp.outer(s, self.values)
        return type(self)(
            self.neuron_values + carried + jnp.outer(pulled + jnp.sum(each), s),
            self.neuron_gram + each[:, None] + each + jnp.dot(s, carried),
            gram + jnp.sum(self.neuron_gram) * jnp.outer(s, s),
            *_attention_step(self.table, self.key_gram, self.query_gram, a),
            self.width,
        )

    def noise(self, task, key):
        _refuse_noise()
