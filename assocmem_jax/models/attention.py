"""Attention as pure functions, used by every model that attends: its weights, and what it mixes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Rows of a causal score matrix that are computed together: only keys up to the last of them are touched.
_ROWS = 64


def attention(scores: Float[Array, "*n t s"], causal: bool = False) -> Float[Array, "*n t s"]:
    """σ over the last axis (keys) of scores, rows the queries; ``causal``: no key after its query."""
    if causal:
        seen = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        scores = jnp.where(seen, scores, -jnp.inf)
    return jax.nn.softmax(scores, axis=-1)


def unnormalised(scores, seen):
    """e^{s − max s} where seen, else 0."""
    scores = jnp.where(seen, scores, -jnp.inf)
    return jnp.exp(scores - jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True)))


def causal(
    queries: Float[Array, "n t d"], keys: Float[Array, "n t d"], values: Float[Array, "n t e"]
) -> Float[Array, "n t e"]:
    """Σ_{s≤t} σ(q_tᵀk_s)_s v_s, in blocks of rows that touch no key after their last."""
    length, out = queries.shape[1], []
    for start in range(0, length, _ROWS):
        stop = min(start + _ROWS, length)
        scores = jnp.einsum("ntd,nsd->nts", queries[:, start:stop], keys[:, :stop])
        seen = jnp.arange(stop) <= jnp.arange(start, stop)[:, None]
        weights = unnormalised(scores, seen)
        mixed = jnp.einsum("nts,nse->nte", weights, values[:, :stop])
        out.append(mixed / jnp.sum(weights, axis=-1, keepdims=True))
    return jnp.concatenate(out, axis=1)
