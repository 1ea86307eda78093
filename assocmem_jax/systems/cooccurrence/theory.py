"""The one-layer transformer of Cooc: appendix B's gradients and appendix C's dynamical system, written out.

``X``: one-hot samples (n, L, d); ``p``: attention (n, L, L), query first; ``pull``: g_i y_i/n, shape (n,),
g = 1/(1 + e^{yF}); ``W`` (m₁, m), ``V``, ``K``, ``Q`` (m, d), ``a`` (m₁,).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Weights(NamedTuple):
    """W, W_V, W_K, W_Q; and, from ``velocity``, how they move."""

    W: Float[Array, "m1 m"]
    V: Float[Array, "m d"]
    K: Float[Array, "m d"]
    Q: Float[Array, "m d"]


def probabilities(weights: Weights, X: Float[Array, "n l d"]) -> Float[Array, "n l l"]:
    """p_lh = softmax_h((W_Kx_h)·(W_Qx_l)/√m)."""
    keys, queries = X @ weights.K.T, X @ weights.Q.T
    return jax.nn.softmax(jnp.einsum("nhm,nlm->nlh", keys, queries) / weights.K.shape[0] ** 0.5)


def output(weights: Weights, a, X: Float[Array, "n l d"]) -> Float[Array, " n"]:
    """F(X_i), Cooc (1), neuron by neuron."""
    mixed = jnp.einsum("nlh,nhd->nld", probabilities(weights, X), X)
    return jnp.einsum("j,jm,md,nld->n", a, weights.W, weights.V, mixed)


def pull(weights: Weights, a, X, y) -> Float[Array, " n"]:
    """g_i y_i/n."""
    return jax.nn.sigmoid(-y * output(weights, a, X)) * y / y.shape[0]


def velocity(weights: Weights, a, X, y) -> Weights:
    """−∇L for each matrix: Cooc appendix B, exact for tokens that repeat too (docs/theory.md: cooc.41)."""
    W, V, K, Q = weights
    p, r, root = probabilities(weights, X), pull(weights, a, X, y), K.shape[0] ** 0.5
    mixed = jnp.einsum("nlh,nhd->nld", p, X)  # X p_l
    reading = jnp.einsum("j,jm,md,nhd->nh", a, W, V, X)  # Σ_j a_j w_jᵀ v_h
    centred = reading[:, None, :] - jnp.einsum("nlh,nh->nl", p, reading)[..., None]
    weight = r[:, None, None] * p * centred / root
    return Weights(
        jnp.einsum("n,j,md,nld->jm", r, a, V, mixed),
        jnp.einsum("n,j,jm,nld->md", r, a, W, mixed),
        jnp.einsum("nlh,mc,nlc,nhd->md", weight, Q, X, X),
        jnp.einsum("nlh,mc,nhc,nld->md", weight, K, X, X),
    )


class Products(NamedTuple):
    """The six families of appendix C; and, from ``product_velocity``, how they move."""

    neuron_values: Float[Array, "m1 d"]  # w_jᵀ W_V μ, without a_j
    neurons: Float[Array, "m1 m1"]  # ⟨w_j, w_k⟩
    values: Float[Array, "d d"]
    scores: Float[Array, "d d"]  # νᵀ W_KᵀW_Q μ
    keys: Float[Array, "d d"]
    queries: Float[Array, "d d"]


def products(weights: Weights) -> Products:
    """The scalar products of weights."""
    W, V, K, Q = weights
    return Products(W @ V, W @ W.T, V.T @ V, K.T @ Q, K.T @ K, Q.T @ Q)


def product_velocity(state: Products, a, X, y, width: int, *, single: bool = False) -> Products:
    """Cooc appendix C: (6), (7) and the four equations after them.

    ``single``: as printed, where p_{q←μ,k←ν} and l(i, μ) name one occurrence of a token; that is wrong where
    a token occurs twice in a sample, and then the sums over occurrences are right (docs/theory.md: cooc.42).
    """
    Z, H, D, B, K, Q = state
    p = jax.nn.softmax(jnp.einsum("nhc,cd,nld->nlh", X, B, X) / width**0.5)
    reading = jnp.einsum("j,jd,nhd->nh", a, Z, X)
    output = jnp.einsum("nlh,nh->n", p, reading)
    r = jax.nn.sigmoid(-y * output) * y / y.shape[0]
    if single:
        # One occurrence stands for all: later ones are left out of what is read off at a token.
        first = jnp.cumsum(X, axis=1) * X == 1
        X1 = jnp.where(first, X, 0.0)
    else:
        X1 = X
    mixed = jnp.einsum("nlh,nhd->nld", p, X)  # X p_l
    read = jnp.einsum("nlh,nhd->nld", p, X1)  # p_{q←l,k←μ}
    S, S1 = (jnp.einsum("n,nld->d", r, part) for part in (mixed, read))
    centred = reading[:, None, :] - jnp.einsum("nlh,nh->nl", p, reading)[..., None]
    weight = r[:, None, None] * p * centred / width**0.5
    key_read = jnp.einsum("nlh,nhc,nld->cd", weight, X1, X)
    query_read = jnp.einsum("nlh,nhc,nld->cd", weight, X, X1)
    G = a @ Z
    values = jnp.outer(G, S1)
    scores = K @ query_read + key_read @ Q
    keys = B @ key_read.T
    queries = B.T @ query_read
    neurons = jnp.outer(Z @ S, a)
    return Products(
        jnp.outer(H @ a, S1) + jnp.outer(a, D @ S),
        neurons + neurons.T,
        values + values.T,
        scores,
        keys + keys.T,
        queries + queries.T,
    )


def value_velocity(state: Products, a, X, y, width: int, *, stray: bool = False) -> Float[Array, " d"]:
    """dG(μ)/dt, Cooc (4): Σ_jk a_j a_k⟨w_j, w_k⟩ S + m₁ DS. ``stray``: the second term as printed, with an
    a_{j1} of the first neuron that does not belong there (docs/theory.md: cooc.43)."""
    p = jax.nn.softmax(jnp.einsum("nhc,cd,nld->nlh", X, state.scores, X) / width**0.5)
    reading = jnp.einsum("j,jd,nhd->nh", a, state.neuron_values, X)
    r = jax.nn.sigmoid(-y * jnp.einsum("nlh,nh->n", p, reading)) * y / y.shape[0]
    S = jnp.einsum("n,nlh,nhd->d", r, p, X)
    second = a.shape[0] * state.values @ S
    return (a @ state.neurons @ a) * S + (a[0] * second if stray else second)


def words_needed(counts, length: int) -> int:
    """d that distinct irrelevant tokens need (Assumption 2.3(ii)): 3 + Σ (L−3, L−2, L−2, L−1) × counts."""
    return 3 + sum(count * (length - taken) for count, taken in zip(counts, (3, 2, 2, 1)))


# --- Rates (Theorem 3.3) --------------------------------------------------------------------------


def one_sample_constant(value, energy, gram, neurons, length) -> Float[Array, ""]:
    """K of ``one_sample_time``, K² = L²(c² + 4m₁Le): what the flow keeps, c = ρ − m₁Lδ and e = ρδ − G².

    ``value``: G of each of the L words; ``energy``: ρ = ‖Wᵀa‖²; ``gram``: δ = |W_Vμ|², one column for all.
    """
    c, e = energy - neurons * length * gram, energy * gram - value**2
    return length * jnp.sqrt(c**2 + 4 * neurons * length * e)


def one_sample_time(output, start, constant, neurons, length) -> Float[Array, "..."]:
    """Time of the flow from output F₀ > 0 to F for one sample of L distinct words with equal G, y = 1:

        t = ∫ (1 + e^F) dF/√(K² + 4m₁L F²),

    from F' = √(K² + 4m₁LF²)/(1 + e^F): exact, attention uniform and at rest (no word is worth more). So
    2√(m₁L) t F ℓ → 1 for the loss ℓ = log(1 + e^{−F}): ℓ ~ 1/(2√(m₁L) t log t). Gauss–Legendre, 128 nodes in
    z with 2√(m₁L) F = K sinh z.
    """
    nodes, weights = (jnp.asarray(part) for part in np.polynomial.legendre.leggauss(128))
    root = 2 * (jnp.asarray(neurons, float) * length) ** 0.5
    high, low = (jnp.arcsinh(root * jnp.asarray(f) / constant)[..., None] for f in (output, start))
    z = (high + low) / 2 + (high - low) / 2 * nodes
    inside = 1 + jnp.exp(constant / root * jnp.sinh(z))
    return jnp.sum(inside * weights, axis=-1) * ((high - low) / 2)[..., 0] / root


def late_loss(loss, time, margin, energy, neurons) -> Float[Array, "..."]:
    """t L γ √(γ²ρ₀² + 4m₁ log²(1/L)), which tends to 1 for any training set that some G separates.

    γ: the largest margin of y_i Σ_h x_h over G of norm one; ρ₀ = ‖Wᵀa‖² at the start. With attention at
    1/L, M = γ‖G‖ obeys M' = γ√(γ²ρ₀² + 4m₁M²) L and L = a e^{−M}, as F of ``one_sample_time`` does (γ² is
    the length there). So L ~ 1/(γ²ρ₀ t) while M ≪ γρ₀/2√m₁, and 1/(2√m₁ γ t log t) at last.
    """
    bits = jnp.log(1 / jnp.asarray(loss))
    return time * loss * margin * jnp.sqrt((margin * energy) ** 2 + 4 * neurons * bits**2)
