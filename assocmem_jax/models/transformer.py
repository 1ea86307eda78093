"""A plain decoder-only transformer, everything trained: what Birth Figures 2, 10 and 11 are run on."""

from collections.abc import Mapping
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


def rotated(x: Float[Array, "*n t e"]) -> Float[Array, "*n t e"]:
    """Rotary positions: coordinates 2i and 2i + 1 of row t turned by the angle t·10⁴^(−2i/e).

    Scalar products of turned queries and keys depend on t − s only. Su et al. 2021 (RoFormer).
    """
    angles = _angles(*x.shape[-2:])
    cos, sin = (jnp.asarray(turn(angles), x.dtype) for turn in (np.cos, np.sin))
    even, odd = x[..., ::2], x[..., 1::2]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


def sinusoidal(length: int, width: int, dtype: Any = float) -> Float[Array, "t d"]:
    """p_t = (sin ω_0 t, cos ω_0 t, sin ω_1 t, …), ω_i = 10⁴^(−2i/d), t from 0. Vaswani et al. 2017, 3.5."""
    if width % 2:
        checks.refuse("width", "even", width)
    angles = _angles(length, width)
    rows = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, width)
    return jnp.asarray(rows, dtype)


def _angles(length, width):
    """t·10⁴^(−2i/width)."""
    return np.arange(length)[:, None] * 1e4 ** (-np.arange(0, width, 2) / width)


class Block(eqx.Module):
    """x + attention(x), then x + F(x), each of the normalised x where there is a norm (pre-layer-norm).

    ``query``, ``key``, ``value``, ``output``: (H, d/H, d). ``inner``, ``outer``: MLP (m, d) with ReLU and
    biases; ``linear`` (d, d) in its place; or neither. ``rotary``: queries and keys turned by their position.
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
    rotary: bool = eqx.field(static=True, default=False)

    def weights(self, x: Float[Array, "n t d"]) -> Float[Array, "n h t t"]:
        """Attention weights, rows the queries; scores divided by √(d/H)."""
        x = x if self.norms is None else self.norms[0](x)
        q, k = (jnp.einsum("ntd,hed->nhte", x, w) for w in (self.query, self.key))
        q, k = (rotated(q), rotated(k)) if self.rotary else (q, k)
        scores = jnp.einsum("nhte,nhse->nhts", q, k) / np.sqrt(q.shape[-1])
        return attention(scores, causal=True)

    def __call__(
        self, x: Float[Array, "n t d"], weights: Float[Array, "n h t t"] | None = None
    ) -> Float[Array, "n t d"]:
        """``weights``: attended with these, not with those of x."""
        weights = self.weights(x) if weights is None else weights
        read = x if self.norms is None else self.norms[0](x)
        values = jnp.einsum("ntd,hed->nhte", read, self.value)
        mixed = jnp.einsum("nhts,nhse->nhte", weights, values)
        x = x + jnp.einsum("nhte,hed->ntd", mixed, self.output)
        read = x if self.norms is None else self.norms[1](x)
        if self.linear is not None:
            return x + read @ self.linear.T
        if self.inner is None or self.bias is None or self.outer is None or self.outer_bias is None:
            return x
        return x + jax.nn.relu(read @ self.inner.T + self.bias) @ self.outer.T + self.outer_bias


class Transformer(AbstractSequenceModel):
    """L blocks of H heads between an embedding, positions and an unembedding; all are trained.

    ``Transformer.initial`` draws one: w_E, p ~ N(0, 1), matrices uniform on ±(fan in)^{−½}, gains 1.
    ``positions=None``: none is added (rotary ones are in the blocks). ``unembedding=None``: tied,
    w_U = w_E/√d. ``fixed_positions``: p is not trained.
    """

    embedding: Float[Array, "n d"]
    positions: Float[Array, "t d"] | None
    unembedding: Float[Array, "n d"] | None
    blocks: tuple[Block, ...]
    norm: Normalization | None
    fixed_positions: bool = eqx.field(static=True, default=False)

    @classmethod
    @checks.takes(
        key=checks.KEY, norm=bool, tied=bool, feedforward=("relu", "linear", "none"),
        positions=("learned", "sinusoidal", "rotary"),
    )  # fmt: skip
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
        positions: str = "learned",
        tied: bool = False,
        dtype: Any = float,
    ) -> "Transformer":
        """For N tokens and sequences of ``length``.

        ``hidden``: neurons of the MLP (4d unless given). ``feedforward``: "relu", "linear" or "none".
        ``positions``: "learned"; "sinusoidal", not trained; or "rotary", which turn queries and keys.
        ``tied``: the unembedding is w_E/√d, with no weights of its own.
        """
        num_tokens, length = checks.count("num_tokens", num_tokens, 2), checks.count("length", length)
        dtype = checks.floating("dtype", dtype)
        width, layers = checks.count("width", width), checks.count("layers", layers)
        if width % checks.count("heads", heads):
            checks.refuse("heads", f"a divisor of width = {width}", heads)
        if positions == "rotary" and width // heads % 2:
            checks.refuse("width / heads", "even", width // heads)
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
            return Block(
                query, at, value, output, inner, bias, outer, outer_bias, linear, norms, positions == "rotary"
            )

        # All are drawn, used or not: what two kinds share is equal bit for bit.
        embedding, places, unembedding = normal(num_tokens), normal(length), uniform(num_tokens, width)
        if positions == "sinusoidal":
            places = sinusoidal(length, width, dtype)
        return cls(
            embedding, None if positions == "rotary" else places, None if tied else unembedding,
            tuple(block() for _ in range(layers)), one() if norm else None, positions == "sinusoidal",
        )  # fmt: skip

    def inputs(self, tokens: Int[Array, "n t"]) -> Float[Array, "n t d"]:
        """x_t = w_E(z_t) + p_t."""
        x = self.embedding[tokens]
        return x if self.positions is None else x + self.positions[: tokens.shape[1]]

    def residual(self, tokens: Int[Array, "n t"]) -> Float[Array, "n t d"]:
        """The stream after the last block."""
        x = self.inputs(tokens)
        for block in self.blocks:
            x = block(x)
        return x

    def logits(self, state: Float[Array, "n t d"], at: Int[Array, "n p"] | None = None):
        x = state if at is None else jax.vmap(lambda x, p: x[p])(state, at)
        x = x if self.norm is None else self.norm(x)
        if self.unembedding is None:
            return x @ self.embedding.T / np.sqrt(self.embedding.shape[1])
        return x @ self.unembedding.T

    @property
    def num_heads(self) -> int:
        """Of all layers."""
        return sum(len(block.query) for block in self.blocks)

    def attention(self, tokens: Int[Array, "n t"]) -> Float[Array, "n heads t t"]:
        return self.patched(tokens, {})[1]

    def patched(
        self, tokens: Int[Array, "n t"], maps: Mapping[int, Float[Array, "... #t #t"]]
    ) -> tuple[Float[Array, "n t m"], Float[Array, "n heads t t"]]:
        """See ``HasHeads``."""
        x, found, below = self.inputs(tokens), [], 0
        for block in self.blocks:
            weights = block.weights(x)
            for head in range(weights.shape[1]):
                if below + head in maps:
                    weights = weights.at[:, head].set(maps[below + head])
            x, below = block(x, weights), below + weights.shape[1]
            found.append(weights)
        return self.logits(x), jnp.concatenate(found, axis=1)

    def trainable(self) -> Any:
        places = None if self.fixed_positions else self.positions
        return tuple(jax.tree.leaves((self.embedding, places, self.unembedding, self.blocks, self.norm)))
