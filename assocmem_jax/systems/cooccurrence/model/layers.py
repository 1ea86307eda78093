"""Two layers of attention: Cooc's outlook."""

from typing import Any, ClassVar

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .... import checks
from ....checks import Scalar
from ....models import AbstractWeights
from ....models.attention import attention
from ..task import CooccurrenceTask
from .transformer import CooccurrenceTransformer, attended, usual_spread


class CooccurrenceLayers(AbstractWeights):
    """Two layers of attention, the first with a residual stream and no MLP:

        X¹ = X + UXP,  p_l = softmax_h(x_hᵀW_K¹ᵀW_Q¹x_l/√m) the columns of P,
        F(X) = Σ_l aᵀW W_V X¹ softmax(X¹ᵀW_KᵀW_Qx¹_l/√m).

    ``last``: W, W_V, W_K, W_Q, a: a ``CooccurrenceTransformer``. ``first_value``: U, shape (d, d); column μ
    is what attention to the token μ adds. ``first_key``, ``first_query``: W_K¹, W_Q¹, shape (m, d). All but
    a are trained. U = 0 is the transformer of one layer. This is the outlook of Cooc (section 5), which has
    no formula: the one above is ours. U is one matrix, not W_O¹W_V¹: where d ≤ m the product says no more,
    and at U = 0 a matrix has a gradient, which a product of zeros has not.

    While both layers attend evenly F = Σ_h G(I + U)x_h, one number a word, as of one layer; and where the
    last does, the first is the attention of one layer in which a word is worth GU (docs/theory.md:
    cooc.layers).

    Example: ``am.cooccurrence.CooccurrenceLayers.gaussian(task, jax.random.key(0), width=96, neurons=64)``.
    """

    task_type: ClassVar[type] = CooccurrenceTask
    last: CooccurrenceTransformer
    first_value: Float[Array, "d d"]
    first_key: Float[Array, "m d"]
    first_query: Float[Array, "m d"]

    @checks.takes(last=CooccurrenceTransformer)
    def __init__(self, last: CooccurrenceTransformer, first_value, first_key, first_query):
        m, d = last.value.shape
        shapes = {"first_value": (d, d), "first_key": (m, d), "first_query": (m, d)}
        given = checks.floats(first_value=first_value, first_key=first_key, first_query=first_query)
        for part, (name, shape) in zip(given, shapes.items()):
            if part.shape != shape:
                checks.refuse(name, f"of shape {shape}", f"shape {part.shape}")
            checks.finite(name, part)
        self.last = last
        self.first_value, self.first_key, self.first_query = given

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
    ) -> "CooccurrenceLayers":
        """The last layer as ``CooccurrenceTransformer.gaussian`` draws it from this key (so that one layer
        and two begin alike); U, W_K¹, W_Q¹ ~ N(0, σ₀²)."""
        last = CooccurrenceTransformer.gaussian(task, key, width, neurons, sigma0, sigma1)
        m, d = last.value.shape
        small = usual_spread(task, m) if sigma0 is None else sigma0
        small = jnp.asarray(small, task.dtype)
        keys = jr.split(jr.fold_in(key, 1), 3)
        shapes = (d, d), (m, d), (m, d)
        return cls(last, *(small * jr.normal(k, shape, task.dtype) for k, shape in zip(keys, shapes)))

    @classmethod
    @checks.takes(model=CooccurrenceTransformer)
    def from_transformer(cls, model: CooccurrenceTransformer) -> "CooccurrenceLayers":
        """One layer as two: U = 0, and W_K¹, W_Q¹ those of the model."""
        d = model.value.shape[1]
        return cls(model, jnp.zeros((d, d), model.value.dtype), model.key, model.query)

    @property
    def width(self) -> int:
        """m."""
        return self.last.width

    @property
    def values(self) -> Float[Array, " d"]:
        """G(I + U): what a word is worth while both layers attend evenly."""
        return self.last.values + self.first_values

    @property
    def first_values(self) -> Float[Array, " d"]:
        """GU: what a word is worth where the first layer attends to it, while the last attends evenly."""
        return self.last.values @ self.first_value

    @property
    def table(self) -> Float[Array, "d d"]:
        """B = W_KᵀW_Q of the last layer, key first."""
        return self.last.table

    @property
    def first_table(self) -> Float[Array, "d d"]:
        """B¹ = W_K¹ᵀW_Q¹, key first."""
        return self.first_key.T @ self.first_query

    @property
    def value_gram(self) -> Float[Array, "d d"]:
        """(I + U)ᵀW_VᵀW_V(I + U): of what ``values`` reads."""
        read = self.last.value + self.last.value @ self.first_value
        return read.T @ read

    def attended(
        self, task: CooccurrenceTask, samples: Int[Array, " b"] | None = None
    ) -> tuple[Float[Array, "b l l"], Float[Array, "b l l"]]:
        """Attention of the first layer and of the last, rows the queries."""
        tokens = task.tokens if samples is None else task.tokens[samples]
        keys, queries = tokens[:, None, :], tokens[:, :, None]
        first = attended(task, self.first_table, self.width, samples)
        # x¹_hᵀBx¹_l from the tables B, UᵀB, BU and UᵀBU: no stream of width d for every word.
        U, B = self.first_value, self.table
        carried = B @ U
        scores = B[keys, queries] + first @ carried[keys, queries]
        scores += ((U.T @ B)[keys, queries] + first @ (U.T @ carried)[keys, queries]) @ first.mT
        return first, attention(scores / np.sqrt(self.width))

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None):
        words = task.tokens if tokens is None else task.tokens[tokens]
        first, last = self.attended(task, tokens)
        streams = self.last.values[words] + jnp.einsum("nlh,nh->nl", first, self.first_values[words])
        return jnp.einsum("nlh,nh->n", last, streams)

    def trainable(self):
        return (*self.last.trainable(), self.first_value, self.first_key, self.first_query)
