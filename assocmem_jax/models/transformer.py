"""A plain decoder-only transformer, everything trained: what Birth Figures 2, 10 and 11 are run on."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .. import checks
from .attention import attention
from .base import AbstractSequenceModel


class Normalization(eqx.Module):
    """(x − mean)/√(variance + 10⁻⁵), times a gain, plus a shift."""

    gain: Float[Array, " d"]
    shift: Float[Array, " d"]

    def __call__(self, x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        scale = jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
        return centred * scale * self.gain + self.shift


class Block(eqx.Module):
    """x + attention(x), then x + F(x), each of the normalised x where there is a norm (pre-layer-norm).

    ``query``, ``key``, ``value``, ``output``: (H, d/H, d). ``inner``, ``outer``: MLP (m, d) with ReLU and
    biases; ``linear`` (d, d) in its place; or neither.
    """

    query: Float[Array, "h e d"]
    key: Float[Array, "h e d"]
    value: Float[Array, "h e d"]
    output: Float[Array, "h e d"]
    inner: Float[Array, "m d"] | None
    bias: Float[Array, " m"] | None
    outer: Float[Array, "d m"] | None
    outer_bias: Float[Array, " d"] | None
    linear: Float[Array, "d d"] | None
    norms: tuple[Normalization, Normalization] | None

    def weights(self, x: Float[Array, "n t d"]) -> Float[Array, "n h t t"]:
        """Attention weights, rows the queries; scores divided by √(d/H)."""
        x = x if self.norms is None else self.norms[0](x)
        q, k = (jnp.einsum("ntd,hed->nhte", x, w) for w in (self.query, self.key))
        scores = jnp.einsum("nhte,nhse->nhts", q, k) / np.sqrt(q.shape[-1])
        return attention(scores, causal=True)

    def __call__(self, x: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        read = x if self.norms is None else self.norms[0](x)
        values = jnp.einsum("ntd,hed->nhte", read, self.value)
        mixed = jnp.einsum("nhts,nhse->nhte", self.weights(x), values)
        x = x + jnp.einsum("nhte,hed->ntd", mixed, self.output)
        read = x if self.norms is None else self.norms[1](x)
        if self.linear is not None:
            return x + read @ self.linear.T
        if self.inner is None or self.bias is None or self.outer is None or self.outer_bias is None:
            return x
        return x + jax.nn.relu(read @ self.inner.T + self.bias) @ self.outer.T + self.outer_bias


class Transformer(AbstractSequenceModel):
    """L blocks of H heads between an embedding, positions and an unembedding (untied); all are trained.

    ``Transformer.initial`` draws one: w_E, p ~ N(0, 1), matrices uniform on ±(fan in)^{−½}, gains 1.
    """

    embedding: Float[Array, "n d"]
    positions: Float[Array, "t d"]
    unembedding: Float[Array, "n d"]
    blocks: tuple[Block, ...]
    norm: Normalization | None

    @classmethod
    def initial(
        cls,
        num_tokens: int,
        length: int,
        key: PRNGKeyArray,
        width: int = 128,
        *,
        layers: int = 2,
        heads: int = 1,
        hidden: int | None = None,
        feedforward: str = "relu",
        norm: bool = True,
        dtype: Any = float,
    ) -> "Transformer":
        """For N tokens and sequences of ``length``.

        ``hidden``: neurons of the MLP (4d unless given). ``feedforward``: "relu", "linear" or "none".
        """
        num_tokens, length = checks.count("num_tokens", num_tokens, 2), checks.count("length", length)
        dtype = jnp.zeros((), dtype).dtype
        width, layers = checks.count("width", width), checks.count("layers", layers)
        if width % checks.count("heads", heads):
            checks.refuse("heads", f"a divisor of width = {width}", heads)
        if feedforward not in ("relu", "linear", "none"):
            checks.refuse("feedforward", "'relu', 'linear' or 'none'", repr(feedforward))
        m = 4 * width if hidden is None else checks.count("hidden", hidden)
        keys = iter(jr.split(key, 3 + 9 * layers))

        def uniform(*shape, fan=width):
            bound = 1 / np.sqrt(fan)
            return jr.uniform(next(keys), shape, dtype, -bound, bound)

        normal = lambda rows: jr.normal(next(keys), (rows, width), dtype)  # noqa: E731
        one = lambda: Normalization(jnp.ones(width, dtype), jnp.zeros(width, dtype))  # noqa: E731

        def block():
            inner = bias = outer = outer_bias = None
            query, at, value, output = (uniform(heads, width // heads, width) for _ in range(4))
            if feedforward == "relu":
                inner, bias = uniform(m, width), uniform(m)
                outer, outer_bias = uniform(width, m, fan=m), uniform(width, fan=m)
            linear = uniform(width, width) if feedforward == "linear" else None
            norms = (one(), one()) if norm else None
            return Block(query, at, value, output, inner, bias, outer, outer_bias, linear, norms)

        return cls(
            normal(num_tokens), normal(length), uniform(num_tokens, width),
            tuple(block() for _ in range(layers)), one() if norm else None,
        )  # fmt: skip

    def inputs(self, tokens: Int[Array, "n t"]) -> Float[Array, "n t d"]:
        """x_t = w_E(z_t) + p_t."""
        return self.embedding[tokens] + self.positions[: tokens.shape[1]]

    def residual(self, tokens: Int[Array, "n t"]) -> Float[Array, "n t d"]:
        """The stream after the last block."""
        x = self.inputs(tokens)
        for block in self.blocks:
            x = block(x)
        return x

    def logits(self, state: Float[Array, "n t d"], at: Int[Array, "n p"] | None = None):
        x = state if at is None else jax.vmap(lambda x, p: x[p])(state, at)
        return (x if self.norm is None else self.norm(x)) @ self.unembedding.T

    def attention(self, tokens: Int[Array, "n t"]) -> Float[Array, "n heads t t"]:
        x, maps = self.inputs(tokens), []
        for block in self.blocks:
            maps.append(block.weights(x))
            x = block(x)
        return jnp.concatenate(maps, axis=1)

    def trainable(self) -> Any:
        return tuple(jax.tree.leaves(self))
