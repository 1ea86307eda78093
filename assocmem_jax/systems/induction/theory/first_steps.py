"""How the first gradient steps build an induction head: Birth lemmas 4 and 5 and appendix B.3.

Sequences: ``values`` x_t and ``keys`` z_t (rows, shape (S, T, d)), queries x_T (S, d), weights p(s).
Matrices are key-left, z ᵀ W x_T, as in the lemmas; Birth (7) and section 4.2 transpose them (birth.29a).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def second_layer_gradient(
    weights: Float[Array | np.ndarray, " s"],
    errors: Float[Array | np.ndarray, "s n"],
    readout: Float[Array | np.ndarray, "s t n"],
    keys: Float[Array | np.ndarray, "s t d"],
    queries: Float[Array | np.ndarray, "s d"],
) -> Float[Array, "d d"]:
    """∇L at W_K² = 0, Birth Lemma 4: Σ_k E[(p̂_k − 1{y=k}) (1/T) Σ_t w_U(k)ᵀΦ₂x_t (z_t − z̄) x_Tᵀ].

    ``errors``: p̂_k − 1{y=k}; ``readout``: w_U(k)ᵀ Φ₂ x_t.
    """
    centred = keys - keys.mean(axis=1, keepdims=True)
    pull = jnp.einsum("s,sn,stn->st", weights, errors, readout) / keys.shape[1]
    return jnp.einsum("st,sta,sb->ab", pull, centred, queries)


def first_layer_gradient(
    weights: Float[Array | np.ndarray, " s"],
    errors: Float[Array | np.ndarray, "s n"],
    readout: Float[Array | np.ndarray, "s t n"],
    lookup: Float[Array | np.ndarray, "s t"],
    positions: Float[Array | np.ndarray, "t d"],
) -> Float[Array, "d d"]:
    """∇L at W_K¹ = 0 with the second softmax linearised, Birth Lemma 5.

    ``lookup``: (Φ₁ x_s)ᵀ W_K² x_T; ``positions``: p_t. The four terms of the lemma are two products:
    (w_U(k)ᵀΦ₂(x_t − x̄)) · (1/t) Σ_{s≤t} lookup_s (p_s − p̄_{1:t}) p_tᵀ.
    """
    length = positions.shape[0]
    causal = jnp.tril(jnp.ones((length, length))) / jnp.arange(1, length + 1)[:, None]
    means = causal @ positions
    # Σ_{s≤t} lookup_s (p_s − p̄_{1:t})/t, for every sequence and t
    moved = jnp.einsum("ts,qs,sa->qta", causal, lookup, positions)
    moved = moved - jnp.einsum("ts,qs,ta->qta", causal, lookup, means)
    contrast = readout - readout.mean(axis=1, keepdims=True)
    pull = jnp.einsum("s,sn,stn->st", weights, errors, contrast) / length
    return jnp.einsum("st,sta,tb->ab", pull, moved, positions)


def equal_trigger_and_output(length: int) -> float:
    """P(q = o) given that z_T is the second occurrence of the trigger, K = 1, all laws uniform: 1/(T−1).

    The first occurrence is uniform on 1 … T−1, and q = o just where it is T−1. Birth (22) takes q
    as independent of o, which would be 1/N (birth.30).
    """
    return 1 / (length - 1)


def output_gain(tokens: int, length: int) -> float:
    """κ, by which the W_V term of Birth (16) is multiplied: E[#k | y=k] − E[#k] = κ (1 − 1/N).

    κ = N/(N−1) · [2π + (1−π)(1 + (T−3)/(N−1)) − T/N], π = 1/(T−1). Birth prints 1 (birth.30).
    """
    same = equal_trigger_and_output(length)
    inner = 2 * same + (1 - same) * (1 + (length - 3) / (tokens - 1)) - length / tokens
    return tokens / (tokens - 1) * inner


def previous_token_column(tokens: int, length: int, t: int) -> Float[Array, " t"]:
    """Coefficients on p_1 … p_T of W_K¹ p_t after a step, in units of ηαα'/(T t), for 2 ≤ t ≤ T−2:

    P/(N−1) · [(N−2)(p_{t−1} − p̄_{1:t}) − (p_t − p̄_{1:t})], P = 1/(T−1), exactly.

    Birth B.3.3 prints P (T−1)/T (p_{t−1} − p̄_{1:t}) + O(1/N): its C-term cancels over s ≤ t (birth.32).
    """
    column = jnp.zeros(length)
    column = column.at[t - 2].add(tokens - 2.0).at[t - 1].add(-1.0)
    column = column.at[:t].add(-(tokens - 3.0) / t)
    return column / ((length - 1) * (tokens - 1))


def overlap(first: Int[Array, " n"], second: Int[Array, " n"]) -> Float[Array, ""]:
    """u_Iᵀu_J = |I ∩ J|/√(|I||J|), orthonormal u_i, u_I = Σ_{i∈I} u_i/√|I|; sets as 0-1 vectors."""
    return jnp.sum(first * second) / jnp.sqrt(jnp.sum(first) * jnp.sum(second) * 1.0)


def largest_overlap(size: int) -> float:
    """max u_Iᵀu_J over I ≠ J of at most ``size`` elements: √(1 − 1/size), one inside the other.

    It is 1 − δ of Birth appendix D, which prints I = J for I ≠ J (birth.36).
    """
    return (1 - 1 / size) ** 0.5
