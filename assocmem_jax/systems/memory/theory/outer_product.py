"""Memories that are written, not trained: W = Σ_x q(x) u_{f(x)} e_xᵀ (Slides p. 6–9, 31–33; oracle I)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ....numerics.special import log_cdf

Real = Float[Array, "..."]


def variance(tokens, same, d, right, gaussian: bool = True) -> Real:
    """Var of γ = u_yᵀ W e_z for q = 1, where ``same`` of the ``tokens`` have answer y.

    ``right``: whether y = f(z). With k = 2/d for Gaussian embeddings of variance 1/d and k = 0 on the
    sphere: right: (1+k)² − 1 + (n_y−1)(1+k)/d + (N−n_y)/d²; wrong: (1+k)/d + n_y(1+k)/d + (N−1−n_y)/d².
    Slides p. 6 prints n_y/d + (N−n_y)/d², which misses the 1/d of a wrong y (slides.37).
    """
    k = 2 / jnp.asarray(d) if gaussian else 0.0
    own = k * (2 + k) + (same - 1) * (1 + k) / d + (tokens - same) / d**2
    other = (1 + k) / d + same * (1 + k) / d + (tokens - 1 - same) / d**2
    return jnp.where(right, own, other)


def noise(
    scheme: Float[Array, " n"], occurs: Float[Array, "n m"], d, inputs: bool = True, outputs: bool = True
) -> Float[Array, "n m"]:
    """Var of γ_{z,y} for any q: ``variance`` with squares of q in place of counts.

    ``occurs``: one-hot f(x). ``inputs``, ``outputs``: whether those embeddings are Gaussian of variance 1/d
    (k = 2/d) rather than on the sphere (k = 0). Terms x ≠ z are independent of mean zero: with
    S_y = Σ_{f(x)=y} q², right: q_z²[(1+k_u)(1+k_e) − 1] + (S_y − q_z²)(1+k_u)/d + (S − S_y)/d²; wrong:
    q_z²(1+k_e)/d + S_y(1+k_u)/d + (S − S_y − q_z²)/d².
    """
    ke, ku = 2 / d * inputs, 2 / d * outputs
    square = scheme[:, None] ** 2
    own_class = (square * occurs).sum(axis=0)
    rest = own_class.sum() - own_class
    right = square * (ku + ke + ku * ke) + (own_class - square) * (1 + ku) / d + rest / d**2
    wrong = square * (1 + ke) / d + own_class * (1 + ku) / d + (rest - square) / d**2
    return jnp.where(occurs > 0, right, wrong)


def recall(
    scheme: Float[Array, " n"], occurs: Float[Array, "n m"], d, inputs: bool = True, outputs: bool = True,
    nodes: int = 40,
) -> Float[Array, " n"]:  # fmt: skip
    """P(token z is recalled) with independent Gaussian competitors: γ_{z,y} ~ N(q_z 1{y = f(z)}, ``noise``).

    ∫ φ(g) Π_{y≠f(z)} Φ((q_z + σ_f g)/σ_y) dg, by Gauss–Hermite. An approximation: scores of one token share
    embeddings, and are sums of products. Slides p. 33 has orders only.
    """
    sigma = jnp.sqrt(noise(scheme, occurs, d, inputs, outputs))
    own = jnp.sum(sigma * occurs, axis=1, keepdims=True)
    g, w = np.polynomial.hermite_e.hermegauss(nodes)

    def at(node):
        odds = (scheme[:, None] + own * node) / sigma
        logs = jnp.where(occurs > 0, 0.0, log_cdf(odds))
        return jnp.exp(jnp.sum(logs, axis=1))

    return jnp.asarray(w / w.sum(), scheme.dtype) @ jax.lax.map(at, jnp.asarray(g, scheme.dtype))


def gram_recall(gram: Float[Array, "n n"], k: int, nodes: int = 40) -> Float[Array, " n"]:
    """P(token z is recalled) by W = Σ_x u_x e_xᵀ for given inputs, of that Gram matrix.

    u uniform on the sphere of R^k. A competitor y wins unless
    (G_zz − G_zy)(1 − ⟨u_z, u_y⟩) + ⟨u_z − u_y, R⟩ > 0, R = Σ_{x≠z,y} G_zx u_x. With σ² = Σ_{x≠z,y} G_zx²/k,
    the variance of either product, and independent Gaussian competitors:
    ∫ φ(g) Π_{y≠z} Φ((G_zz − G_zy + σ g)/√(σ² + (G_zz − G_zy)²/k)) dg, by Gauss–Hermite. Not in print (Slides
    p. 6 has random inputs); an approximation as ``recall`` is.
    """
    square = jnp.square(gram)
    g, w = np.polynomial.hermite_e.hermegauss(nodes)

    def one(z):
        lead = gram[z, z] - gram[z]
        noise = jnp.maximum(square[z].sum() - square[z, z] - square[z], 0) / k
        scale = jnp.sqrt(noise + jnp.square(lead) / k)
        odds = (lead + jnp.sqrt(noise) * jnp.asarray(g, gram.dtype)[:, None]) / jnp.where(scale > 0, scale, 1)
        logs = jnp.where(jnp.arange(len(gram)) == z, 0.0, log_cdf(odds))
        return jnp.asarray(w / w.sum(), gram.dtype) @ jnp.exp(jnp.sum(logs, axis=1))

    return jax.lax.map(one, jnp.arange(len(gram)))


def binary_recall(tokens, d) -> Real:
    """P(token recalled) with two classes and unit inputs: Φ(√(d/(N−1))), up to Berry–Esseen."""
    return jax.scipy.stats.norm.cdf(jnp.sqrt(d / (tokens - 1.0)))
