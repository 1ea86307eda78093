"""Attention of one fixed query: a key vector and a value matrix, Slides p. 29."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .... import checks
from ....checks import Scalar
from ....models import AbstractWeights
from ....models.attention import attention
from ..task import Sequences, TriggerTask


class TriggerAttention(AbstractWeights):
    """logits U W Σ_t a_t x_t, a = σ(β x_tᵀ w) over t: softmax attention of a query that is always the same.

    ``key``: w of shape (d,); ``value``: W of shape (d', d). Both are trained; ``beta`` is not.
    ``saturated``: β = ∞, all weight on the largest score (equal ones share it), which has no gradient in w.
    """

    task_type: ClassVar[type] = TriggerTask
    key: Float[Array, " d"]
    value: Float[Array, "k d"]
    beta: Float[Array, ""]
    saturated: bool = eqx.field(static=True)

    def __init__(self, key, value, beta: Scalar = 1.0, *, saturated: bool = False):
        self.saturated = checks.truth("saturated", saturated)
        key, value, beta = checks.floats(key=key, value=value, beta=beta)
        checks.shaped("value", value, "W of shape (d', d)", 2)
        if key.shape != value.shape[1:]:
            checks.refuse("key", f"of shape {value.shape[1:]}, a column of value each", key.shape)
        checks.shaped("beta", beta, "one number", 0)
        for name, held in {"key": key, "value": value, "beta": beta}.items():
            checks.finite(name, held)
        self.key, self.value, self.beta = key, value, beta

    @classmethod
    @checks.takes(task=TriggerTask)
    def zeros(cls, task: TriggerTask, beta: Scalar = 1.0) -> "TriggerAttention":
        """w = 0, W = 0: attention is uniform, and W moves first."""
        d, k = task.inputs.shape[1], task.outputs.shape[1]
        return cls(jnp.zeros(d, task.dtype), jnp.zeros((k, d), task.dtype), beta)

    @classmethod
    @checks.takes(task=TriggerTask, key=checks.KEY)
    def gaussian(cls, task: TriggerTask, key: PRNGKeyArray, scale: Scalar = 1e-2, beta: Scalar = 1.0):
        """Entries N(0, scale²)."""
        scale = checks.number("scale", scale).astype(task.dtype)
        checks.positive("scale", scale)
        d, k = task.inputs.shape[1], task.outputs.shape[1]
        rows = scale * jr.normal(key, (k + 1, d), task.dtype)
        return cls(rows[0], rows[1:], beta)

    def attention(self, task: Any, batch: Sequences) -> Float[Array, "n t"]:
        """a_t of every token."""
        bears = jnp.arange(batch.tokens.shape[1]) == batch.places[:, None]
        scores = (task.inputs @ self.key)[batch.tokens] + jnp.where(bears, task.trigger @ self.key, 0)
        if not self.saturated:
            return attention(self.beta * scores)
        top = scores == jnp.max(scores, axis=1, keepdims=True)
        return jnp.where(top, 1 / jnp.sum(top, axis=1, keepdims=True, dtype=scores.dtype), 0)

    def logits(self, task: Any, batch: Sequences) -> Float[Array, "n m"]:
        weights = self.attention(task, batch)
        mixed = jnp.einsum("nt,ntd->nd", weights, task.inputs[batch.tokens])
        own = jnp.take_along_axis(weights, batch.places[:, None], axis=1)
        return (mixed + own * task.trigger) @ self.value.T @ task.outputs.T

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None) -> Float[Array, "b m"]:
        data = task.data
        return self.logits(task, data if tokens is None else jax.tree.map(lambda a: a[tokens], data))

    def trainable(self):
        return self.key, self.value
