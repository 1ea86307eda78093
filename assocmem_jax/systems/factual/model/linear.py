"""Linear attention on one-hot tokens, Slides p. 20."""

from typing import Any, ClassVar

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .... import checks
from ....checks import Scalar
from ....models import AbstractWeights
from ..task import FactualTask


class LinearAttentionRecall(AbstractWeights):
    """logit_a = Σ_t v_{z_t} A_{a,z_t}: attention of EOS without its softmax, one-hot embeddings.

    ``attention``: v, what EOS gives each token, shape (V,). ``table``: A = W_OV, shape (R D, V). Both are
    trained. The flow conserves v_z² − Σ_a A_{a,z}² of every token (``am.factual.balancedness``), and with
    equal entries at the start and balanced facts it closes in four numbers (``FactualSystem``).
    """

    task_type: ClassVar[type] = FactualTask
    attention: Float[Array, " v"]
    table: Float[Array, "m v"]

    def __init__(self, attention, table):
        attention, table = checks.floats(attention=attention, table=table)
        checks.shaped("table", table, "A of shape (R D, V)", 2)
        if attention.shape != table.shape[1:]:
            checks.refuse("attention", f"of shape ({table.shape[1]},)", f"shape {attention.shape}")
        checks.finite("attention", attention)
        checks.finite("table", table)
        self.attention, self.table = attention, table

    @classmethod
    @checks.takes(task=FactualTask)
    def constant(cls, task: FactualTask, start: Scalar = 1e-5) -> "LinearAttentionRecall":
        """v = A = ``start`` in every entry: Slides p. 21. The flow knows that of v only."""
        start = checks.number("start", start).astype(task.dtype)
        checks.positive("start", start, "at 0 nothing moves")
        shape = task.num_answers, task.num_tokens
        return cls(jnp.full(shape[1], start), jnp.full(shape, start))

    @classmethod
    @checks.takes(task=FactualTask, key=checks.KEY)
    def gaussian(cls, task: FactualTask, key: PRNGKeyArray, scale: Scalar = 1e-2) -> "LinearAttentionRecall":
        """Entries N(0, scale²), of v in absolute value: attention begins positive."""
        scale = checks.number("scale", scale).astype(task.dtype)
        checks.positive("scale", scale)
        one, other = jr.split(key)
        v = jnp.abs(jr.normal(one, (task.num_tokens,), task.dtype))
        return cls(scale * v, scale * jr.normal(other, (task.num_answers, task.num_tokens), task.dtype))

    @property
    def token_logits(self) -> Float[Array, "v m"]:
        """A_{·,z}: what attending to z adds to the logits, one row a token."""
        return self.table.T

    def logits(self, tokens: Int[Array, "n t"]) -> Float[Array, "n m"]:
        # Only how often a token occurs matters: one product, no rows to gather whose gradient is a scatter.
        rows = jnp.arange(len(tokens))[:, None]
        counts = jnp.zeros((len(tokens), len(self.attention)), self.table.dtype).at[rows, tokens].add(1)
        return counts @ (self.attention * self.table).T

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None) -> Float[Array, "b m"]:
        texts = task.data.tokens
        return self.logits(texts if tokens is None else texts[tokens])

    def trainable(self):
        return self.attention, self.table
