"""Attention alone, in the basis of what a token is: step i, input x, and the value that it holds."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ... import checks
from ...checks import Scalar
from ...models import AbstractWeights
from ...models.attention import attention
from .task import HopTask, level_of


class HopTransformer(AbstractWeights):
    """L layers of attention over the k N tokens (i, x); the value held is overwritten by what is read.

    - ``first``: K₁, shape (k N, k N): the score of query (i, x) at key (i′, x′) is K₁[iN + x, i′N + x′]. What
      is read there is σ_{i′}(x′).
    - ``later``: K_ℓ, shape (L − 1, s, s) with s = k + 2N: the score is zᵀ K_ℓ z′ of z = (one-hot i, one-hot
      x, distribution held). What is read is the distribution that the key holds.

    Attention is not causal; values are read as they are (W_OV = I). Both are trained.
    """

    task_type: ClassVar[type] = HopTask
    first: Float[Array, "t t"]
    later: Float[Array, "l s s"]

    def __init__(self, first, later):
        self.first, self.later = checks.floats(first=first, later=later)
        checks.shaped("first", self.first, "K₁ of shape (k N, k N)", 2)
        checks.shaped("later", self.later, "a matrix for each later layer, of shape (L − 1, s, s)", 3)
        for name, weight in {"first": self.first, "later": self.later}.items():
            if weight.shape[-1] != weight.shape[-2]:
                checks.refuse(name, "square", f"shape {weight.shape}")
            checks.finite(name, weight)

    @classmethod
    @checks.takes(task=HopTask)
    def written(cls, task: HopTask, beta: Scalar) -> "HopTransformer":
        """Slides p. 17: log₂ k + 1 layers. K₁ = β Σ e_{(i, x)} e_{(i, π_i x)}ᵀ (rows the queries); the score
        of layer ℓ + 1 is β (1{i′ = i + 2^{ℓ−1}} + p(x′)), p the distribution held: 2^ℓ hops after it.

        Exact for every context from ``am.theory.hops.exact_from(N, k)`` on.
        """
        beta = checks.number("beta", beta)
        checks.positive("beta", beta)
        k, n = task.hidden.shape
        goal = (jnp.arange(k)[:, None] * n + task.hidden).reshape(-1)
        later = np.zeros((level_of(k), k + 2 * n, k + 2 * n))
        for level, matrix in enumerate(later):
            matrix[np.arange(k), (np.arange(k) + 2**level) % k] = 1
            matrix[k + n :, k : k + n] = np.eye(n)  # what is held, at the key's input
        scale = beta.astype(task.dtype)
        return cls(
            scale * jax.nn.one_hot(goal, k * n, dtype=task.dtype), scale * jnp.asarray(later, task.dtype)
        )

    @classmethod
    @checks.takes(task=HopTask, key=checks.KEY)
    def gaussian(
        cls, task: HopTask, key: PRNGKeyArray, layers: int | None = None, scale: Scalar = 0.1
    ) -> "HopTransformer":
        """All entries N(0, scale²); log₂ k + 1 layers unless given, at least as many as k′ are asked for."""
        k, n = task.hidden.shape
        layers = task.num_levels if layers is None else checks.count("layers", layers, task.num_levels)
        scale = checks.number("scale", scale)
        checks.positive("scale", scale)
        one, other = jr.split(key)
        later = jr.normal(other, (layers - 1, k + 2 * n, k + 2 * n), task.dtype)
        return cls(scale * jr.normal(one, (k * n, k * n), task.dtype), scale * later)

    @property
    def num_layers(self) -> int:
        """L."""
        return 1 + len(self.later)

    def trainable(self):
        return (self.first, self.later)

    def layers(
        self, contexts: Int[Array, "b k n"]
    ) -> list[tuple[Float[Array, "#b t t"], Float[Array, "b t n"]]]:
        """(attention weights, distributions held) after each layer."""
        b, k, n = contexts.shape
        if self.first.shape != (k * n, k * n) or self.later.shape[1:] != (k + 2 * n, k + 2 * n):
            checks.refuse(
                "contexts", f"of the shape that the model is for ({self.first.shape[0]} tokens)", (k, n)
            )
        dtype = self.first.dtype
        own = jax.nn.one_hot(contexts.reshape(b, k * n), n, dtype=dtype)
        steps = jnp.repeat(jnp.eye(k, dtype=dtype), n, axis=0)
        inputs = jnp.tile(jnp.eye(n, dtype=dtype), (k, 1))
        weights = attention(self.first)[None]
        found = [(weights, weights @ own)]
        for matrix in self.later:
            held = found[-1][1]
            fixed = jnp.broadcast_to(jnp.concatenate([steps, inputs], axis=1), (b, k * n, k + n))
            state = jnp.concatenate([fixed, held], axis=2)
            weights = attention(jnp.einsum("bti,ij,bsj->bts", state, matrix, state))
            found.append((weights, weights @ held))
        return found

    def holdings(self, contexts: Int[Array, "b k n"]) -> Float[Array, "b levels k n n"]:
        """Log-probabilities of the value held after 1, 2, 4, …, k hops; k after the last layer."""
        b, k, n = contexts.shape
        found = [held for _, held in self.layers(contexts)]
        chosen = [*found[: level_of(k)], found[-1]]
        held = jnp.stack(chosen, axis=1).reshape(b, len(chosen), k, n, n)
        # A weight that underflows is no answer: −87 in float32, and no NaN.
        return jnp.log(jnp.maximum(held, jnp.finfo(held.dtype).tiny))

    def scores(self, task: HopTask, tokens: Int[Array, " b"] | None = None) -> Float[Array, "b levels k n n"]:
        """``holdings`` of the contexts of ``task.data`` (of those named)."""
        return self.holdings(task.data if tokens is None else task.data[tokens])
