"""The one-layer transformer of Cooc, and two systems of scalar products that it closes in.

In the basis of the tokens all that the output needs are G(μ) = aᵀWW_Vμ and B = W_KᵀW_Q:
F(X) = Σ_l Σ_h p_lh G(x_h), p_l = softmax_h(x_hᵀBx_l/√m), Cooc (1).
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ... import checks
from ...checks import Scalar
from ...models import AbstractReducedSystem, AbstractWeights
from ...models.attention import attention
from .task import CooccurrenceTask


def attended(
    task: CooccurrenceTask, table: Float[Array, "d d"], width: int, samples=None
) -> Float[Array, "n l l"]:
    """p_lh, rows l the queries: softmax over h of B[x_h, x_l]/√m."""
    tokens = task.tokens if samples is None else task.tokens[samples]
    scores = table[tokens[:, None, :], tokens[:, :, None]] / np.sqrt(width)
    return attention(scores)


def _output(task: CooccurrenceTask, values, table, width: int, samples=None) -> Float[Array, " n"]:
    tokens = task.tokens if samples is None else task.tokens[samples]
    return jnp.einsum("nlh,nh->n", attended(task, table, width, samples), values[tokens])


class CooccurrenceTransformer(AbstractWeights):
    """F(X) = Σ_l aᵀW W_V X softmax(XᵀW_KᵀW_Qx_l/√m), Cooc (1).

    ``mlp``: W, shape (m₁, m). ``value``, ``key``, ``query``: W_V, W_K, W_Q, shape (m, d). ``signs``: a, ±1,
    shape (m₁,), fixed. m is the embedding dimension ("width" here), m₁ the number of neurons.
    """

    task_type: ClassVar[type] = CooccurrenceTask
    mlp: Float[Array, "m1 m"]
    value: Float[Array, "m d"]
    key: Float[Array, "m d"]
    query: Float[Array, "m d"]
    signs: Float[Array, " m1"]

    def __init__(self, mlp, value, key, query, signs):
        mlp, value, key, query, signs = checks.floats(mlp=mlp, value=value, key=key, query=query, signs=signs)
        for name, part in (("mlp", mlp), ("value", value), ("key", key), ("query", query)):
            checks.shaped(name, part, "a matrix", 2)
            checks.finite(name, part)
        m1, m = mlp.shape
        for name, part in (("value", value), ("key", key), ("query", query)):
            if part.shape != (m, value.shape[1]):
                checks.refuse(name, f"of shape ({m}, {value.shape[1]})", f"shape {part.shape}")
        if signs.shape != (m1,):
            checks.refuse("signs", f"of shape ({m1},)", f"shape {signs.shape}")
        if checks.concrete(signs) and not np.isin(np.asarray(signs), (-1.0, 1.0)).all():
            checks.refuse("signs", "−1 or 1", np.unique(np.asarray(signs))[:4])
        self.mlp, self.value, self.key, self.query, self.signs = mlp, value, key, query, signs

    @classmethod
    @checks.takes(task=CooccurrenceTask, key=checks.KEY)
    def gaussian(
        cls,
        task: CooccurrenceTask,
        key: PRNGKeyArray,
        width: int = 128,
        neurons: int = 256,
        sigma0: Scalar | None = None,
        sigma1: Scalar | None = None,
    ) -> "CooccurrenceTransformer":
        """Cooc section 2.2: W_V, W_K, W_Q ~ N(0, σ₀²), W ~ N(0, σ₁²), a uniform on ±1.

        Unless given, σ₀ = .3/√(Lm) and σ₁ = .3/√m₁ (Condition 1 gives orders only).
        """
        width, neurons = checks.count("width", width), checks.count("neurons", neurons)
        small = 0.3 / np.sqrt(task.tokens.shape[1] * width) if sigma0 is None else sigma0
        large = 0.3 / np.sqrt(neurons) if sigma1 is None else sigma1
        checks.positive("sigma0", small)
        checks.positive("sigma1", large)
        # As arrays: a Python integer above 2³¹ is none that JAX takes without x64.
        small, large = (jnp.asarray(sigma, task.dtype) for sigma in (small, large))
        keys, shape = jr.split(key, 5), (width, task.dimension)
        value, at, query = (small * jr.normal(k, shape, task.dtype) for k in keys[:3])
        mlp = large * jr.normal(keys[3], (neurons, width), task.dtype)
        return cls(mlp, value, at, query, jr.rademacher(keys[4], (neurons,), task.dtype))

    @classmethod
    @checks.takes(task=CooccurrenceTask, key=checks.KEY)
    def kaiming(
        cls,
        task: CooccurrenceTask,
        key: PRNGKeyArray,
        width: int = 128,
        neurons: int = 256,
        *,
        law: str = "uniform",
        gain: Scalar = 2**0.5,
    ) -> "CooccurrenceTransformer":
        """Entries of standard deviation gain/√fan_in, uniform or normal; fan_in is d for W_V, W_K, W_Q and
        m for W.

        Cooc appendix A does not say which of the two, nor the gain; √2 is Kaiming's for ReLU.
        """
        width, neurons = checks.count("width", width), checks.count("neurons", neurons)
        checks.positive("gain", gain)
        if law not in ("uniform", "normal"):
            checks.refuse("law", "'uniform' or 'normal'", repr(law))

        def draw(key, rows, fan_in):
            if law == "normal":
                return gain / np.sqrt(fan_in) * jr.normal(key, (rows, fan_in), task.dtype)
            bound = gain * np.sqrt(3 / fan_in)
            return bound * jr.uniform(key, (rows, fan_in), task.dtype, -1, 1)

        keys = jr.split(key, 5)
        value, at, query = (draw(k, width, task.dimension) for k in keys[:3])
        signs = jr.rademacher(keys[4], (neurons,), task.dtype)
        return cls(draw(keys[3], neurons, width), value, at, query, signs)

    @property
    def width(self) -> int:
        """m."""
        return self.mlp.shape[1]

    @property
    def values(self) -> Float[Array, " d"]:
        """G(μ) = aᵀWW_Vμ for every token."""
        return (self.signs @ self.mlp) @ self.value

    @property
    def table(self) -> Float[Array, "d d"]:
        """B = W_KᵀW_Q: entry (μ, ν) is μᵀW_KᵀW_Qν, key first."""
        return self.key.T @ self.query

    @property
    def value_gram(self) -> Float[Array, "d d"]:
        """W_VᵀW_V."""
        return self.value.T @ self.value

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None):
        return _output(task, self.values, self.table, self.width, tokens)

    def trainable(self):
        return self.mlp, self.value, self.key, self.query


class CooccurrenceHeads(AbstractWeights):
    """Several heads: F(X) = Σ_h Σ_l aᵀW W_V^h X softmax(XᵀW_K^hᵀW_Q^h x_l/√m), heads added before W.

    ``mlp``: W, shape (m₁, m). ``value``, ``key``, ``query``: shape (H, m, d), every head as wide as the
    whole. ``signs``: a, fixed. One head is a ``CooccurrenceTransformer``. The outlook of Cooc (section 5),
    which has no formula.
    """

    task_type: ClassVar[type] = CooccurrenceTask
    mlp: Float[Array, "m1 m"]
    value: Float[Array, "heads m d"]
    key: Float[Array, "heads m d"]
    query: Float[Array, "heads m d"]
    signs: Float[Array, " m1"]

    @classmethod
    @checks.takes(task=CooccurrenceTask, key=checks.KEY)
    def gaussian(
        cls,
        task: CooccurrenceTask,
        key: PRNGKeyArray,
        heads: int = 2,
        width: int = 128,
        neurons: int = 256,
        sigma0: Scalar | None = None,
        sigma1: Scalar | None = None,
    ) -> "CooccurrenceHeads":
        """Every head as ``CooccurrenceTransformer.gaussian`` draws its own; W and a of the first."""
        heads = checks.count("heads", heads)
        drawn = [
            CooccurrenceTransformer.gaussian(task, k, width, neurons, sigma0, sigma1)
            for k in (jr.split(key, heads) if heads > 1 else [key])
        ]
        value, at, query = (
            jnp.stack([getattr(one, name) for one in drawn]) for name in ("value", "key", "query")
        )
        return cls(drawn[0].mlp, value, at, query, drawn[0].signs)

    @property
    def width(self) -> int:
        """m."""
        return self.mlp.shape[1]

    @property
    def head_values(self) -> Float[Array, "heads d"]:
        """G_h(μ) = aᵀWW_V^hμ."""
        return jnp.einsum("m,hmd->hd", self.signs @ self.mlp, self.value)

    @property
    def head_tables(self) -> Float[Array, "heads d d"]:
        """B_h = W_K^hᵀW_Q^h, key first."""
        return jnp.einsum("hmc,hmd->hcd", self.key, self.query)

    @property
    def values(self) -> Float[Array, " d"]:
        """Σ_h G_h(μ): what a word is worth while attention is uniform."""
        return jnp.sum(self.head_values, axis=0)

    @property
    def table(self) -> Float[Array, "d d"]:
        """Σ_h B_h."""
        return jnp.sum(self.head_tables, axis=0)

    @property
    def value_gram(self) -> Float[Array, "d d"]:
        """(Σ_h W_V^h)ᵀ(Σ_h W_V^h)."""
        total = jnp.sum(self.value, axis=0)
        return total.T @ total

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None):
        each = jax.vmap(lambda values, table: _output(task, values, table, self.width, tokens))
        return jnp.sum(each(self.head_values, self.head_tables), axis=0)

    def trainable(self):
        return self.mlp, self.value, self.key, self.query


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
    def from_transformer(cls, model: CooccurrenceTransformer) -> "CooccurrenceSystem":
        """The scalar products of a transformer."""
        u = model.signs @ model.mlp
        return cls(
            model.values, jnp.dot(u, u), model.value_gram, model.table, model.key.T @ model.key,
            model.query.T @ model.query, model.width, model.mlp.shape[0],
        )  # fmt: skip

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None):
        return _output(task, self.values, self.table, self.width, tokens)

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
        return _output(task, self.values, self.table, self.width, tokens)

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
