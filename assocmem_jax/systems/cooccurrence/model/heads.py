"""Several heads: Cooc's outlook."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .... import checks
from ....checks import Scalar
from ....models import AbstractWeights
from ..task import CooccurrenceTask
from .transformer import CooccurrenceTransformer, output


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
        each = jax.vmap(lambda values, table: output(task, values, table, self.width, tokens))
        return jnp.sum(each(self.head_values, self.head_tables), axis=0)

    def trainable(self):
        return self.mlp, self.value, self.key, self.query
