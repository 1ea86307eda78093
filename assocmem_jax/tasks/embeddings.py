"""Token embeddings: one row a token. An explicit family is just an array.

Everything that is a number here (α, a Gram matrix) can be differentiated through.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .. import checks
from ..checks import Scalar


def _sizes(n: int, d: int | None) -> tuple[int, int]:
    n = checks.count("n", n)
    d = n if d is None else checks.count("d", d)
    if d < n:
        checks.refuse("d", f"at least n = {n}", d, "fewer dimensions than tokens cannot be orthonormal")
    return n, d


def one_hot(n: int, d: int | None = None) -> Float[Array, "n d"]:
    """Rows of the identity."""
    return jnp.eye(*_sizes(n, d))


def orthonormal(key: PRNGKeyArray, n: int, d: int | None = None) -> Float[Array, "n d"]:
    """n orthonormal rows, uniform over such families (Haar)."""
    n, d = _sizes(n, d)
    q, r = jnp.linalg.qr(jr.normal(key, (d, n)))
    return (q * jnp.sign(jnp.diagonal(r))).T


def sphere(key: PRNGKeyArray, n: int, d: int) -> Float[Array, "n d"]:
    """Rows uniform on the unit sphere of R^d."""
    rows = gaussian(key, n, d)
    return rows / jnp.linalg.norm(rows, axis=1, keepdims=True)


def gaussian(key: PRNGKeyArray, n: int, d: int) -> Float[Array, "n d"]:
    """Entries N(0, 1/d): rows of norm near one (Birth section 3, Slides p. 6)."""
    n, d = checks.count("n", n), checks.count("d", d)
    return jr.normal(key, (n, d)) / np.sqrt(d)


def correlated_pair(alpha: Scalar) -> Float[Array, "2 2"]:
    """Two unit rows with ⟨e₁, e₂⟩ = α, GD (16), symmetric about the first axis.

    e₁, e₂ = (√((1+α)/2), ±√((1−α)/2)): then f₁ = e₁+e₂ and f₂ = e₁−e₂ of GD (18) lie along the
    axes, and f₂ is the max-margin direction.
    """
    (alpha,) = checks.floats(alpha)
    checks.within("alpha", alpha, -1, 1, "alpha is the cosine of the two inputs")
    along, across = jnp.sqrt((1 + alpha) / 2), jnp.sqrt((1 - alpha) / 2)
    return jnp.stack([jnp.stack([along, across]), jnp.stack([along, -across])])


def equicorrelated(n: int, alpha: Scalar, d: int | None = None) -> Float[Array, "n d"]:
    """Unit rows with every pairwise cosine α ∈ [−1/(n−1), 1] (−1/(n−1) is the simplex).

    The symmetric square root of the Gram matrix (1−α)I + α11ᵀ, in closed form.
    """
    n, d = _sizes(n, d)
    (alpha,) = checks.floats(alpha)
    low = -1 / (n - 1) if n > 1 else -1.0
    checks.within("alpha", alpha, low - 1e-15, 1, f"n = {n} unit vectors admit no other common cosine")
    mean = jnp.full((n, n), 1 / n, alpha.dtype)
    # jnp.maximum: at the simplex the second eigenvalue is zero up to rounding.
    root = jnp.sqrt(1 - alpha) * (jnp.eye(n, dtype=alpha.dtype) - mean)
    root = root + jnp.sqrt(jnp.maximum(1 + (n - 1) * alpha, 0)) * mean
    return jnp.pad(root, ((0, 0), (0, d - n)))


def from_gram(gram: Float[Array | np.ndarray, "n n"], d: int | None = None) -> Float[Array, "n d"]:
    """Rows E with E Eᵀ = gram, a symmetric positive semi-definite matrix; refuses any other."""
    (gram,) = checks.floats(gram)
    checks.shaped("gram", gram, "a square matrix", 2)
    n = gram.shape[0]
    if gram.shape != (n, n):
        checks.refuse("gram", "square", f"shape {tuple(gram.shape)}")
    checks.finite("gram", gram)
    values, vectors = jnp.linalg.eigh((gram + gram.T) / 2)
    d = n if d is None else checks.count("d", d)
    if checks.concrete(gram):
        slack = n * float(jnp.finfo(gram.dtype).eps) * max(float(jnp.abs(values).max()), 1e-300)
        skew = float(jnp.abs(gram - gram.T).max())
        if skew > 4 * slack:
            checks.refuse("gram", "symmetric", f"|G − Gᵀ| up to {skew:.3g}")
        if float(values[0]) < -4 * slack:
            checks.refuse(
                "gram",
                "positive semi-definite",
                f"eigenvalue {float(values[0]):.6g}",
                "no vectors have these inner products",
            )
        rank = int((values > 4 * slack).sum())
        if d < rank:
            checks.refuse("d", f"at least the rank {rank} of the Gram matrix", d)
    # Largest first, so that the trailing columns are the ones that may be cut or padded.
    # Zero eigenvalues: the double where keeps the derivative of sqrt finite.
    kept = jnp.where(values > 0, values, 1)
    rows = (vectors * jnp.where(values > 0, jnp.sqrt(kept), 0))[:, ::-1]
    return rows[:, :d] if d <= n else jnp.pad(rows, ((0, 0), (0, d - n)))


def gram(rows: Float[Array, "n d"]) -> Float[Array, "n n"]:
    """Inner products of the rows: α of GD (11) for the inputs."""
    return product(rows, rows.T)


def product(a: Float[Array, "n k"], b: Float[Array, "k m"]) -> Float[Array, "n m"]:
    """ab; a small product as a sum of outer products.

    Under ``vmap`` XLA computes small products one by one on a CPU: at 4 × 4, seventy times the cost of
    the same sum written out, which is one loop over all lanes.
    """
    n, k, m = a.shape[0], *b.shape
    if k > 8 or n * m > 256:
        return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
    total = a[:, 0, None] * b[0]
    for i in range(1, k):
        total = total + a[:, i, None] * b[i]
    return total


def pairs(first: Float[Array, "n d"], second: Float[Array, "m d"]) -> Float[Array, "nm d"]:
    """Sums e_i + ẽ_j of all pairs, j fastest: the inputs of a multi-input memory (Slides p. 9)."""
    return (first[:, None, :] + second[None, :, :]).reshape(-1, first.shape[1])
