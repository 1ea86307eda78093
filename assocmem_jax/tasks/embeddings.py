"""Token embeddings: one row a token. An explicit family is just an array.

Everything that is a number here (α, a Gram matrix) can be differentiated through.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .. import checks
from ..checks import Scalar
from ..numerics.edges import gram_factor, norm, side


def _sizes(n: int, d: int | None) -> tuple[int, int]:
    n = checks.count("n", n)
    d = n if d is None else checks.count("d", d)
    if d < n:
        checks.refuse("d", f"at least n = {n}", d, "fewer dimensions than tokens cannot be orthonormal")
    return n, d


def one_hot(n: int, d: int | None = None) -> Float[Array, "n d"]:
    """Rows of the identity."""
    return jnp.eye(*_sizes(n, d))


@checks.takes(key=checks.KEY)
def orthonormal(key: PRNGKeyArray, n: int, d: int | None = None) -> Float[Array, "n d"]:
    """n orthonormal rows, uniform over such families (Haar)."""
    n, d = _sizes(n, d)
    q, r = jnp.linalg.qr(jr.normal(key, (d, n)))
    return (q * jnp.sign(jnp.diagonal(r))).T


@checks.takes(key=checks.KEY)
def sphere(key: PRNGKeyArray, n: int, d: int) -> Float[Array, "n d"]:
    """Rows uniform on the unit sphere of R^d."""
    rows = gaussian(key, n, d)
    return rows / norm(rows, axis=1, keepdims=True)


@checks.takes(key=checks.KEY)
def gaussian(key: PRNGKeyArray, n: int, d: int) -> Float[Array, "n d"]:
    """Entries N(0, 1/d): rows of norm near one (Birth section 3, Slides p. 6)."""
    n, d = checks.count("n", n), checks.count("d", d)
    return jr.normal(key, (n, d)) / np.sqrt(d)


def correlated_pair(alpha: Scalar) -> Float[Array, "2 2"]:
    """Two unit rows with ⟨e₁, e₂⟩ = α, GD (16), symmetric about the first axis.

    e₁, e₂ = (√((1+α)/2), ±√((1−α)/2)): then f₁ = e₁+e₂ and f₂ = e₁−e₂ of GD (18) lie along the
    axes, and f₂ is the max-margin direction. What depends on ⟨e₁, e₂⟩ alone has the right one-sided
    derivative at α = ±1 too.
    """
    alpha = checks.scalar("alpha", alpha)
    checks.within("alpha", alpha, -1, 1, "alpha is the cosine of the two inputs")
    along, across = side((1 + alpha) / 2), side((1 - alpha) / 2)
    return jnp.stack([jnp.stack([along, across]), jnp.stack([along, -across])])


def equicorrelated(n: int, alpha: Scalar, d: int | None = None) -> Float[Array, "n d"]:
    """Unit rows with every pairwise cosine α ∈ [−1/(n−1), 1] (−1/(n−1) is the simplex).

    Cholesky's factor of the Gram matrix (1−α)I + α11ᵀ, in closed form: the identity at α = 0; e_j lies in
    the span of the first j axes. What depends on inner products alone has the right one-sided derivative at
    both ends.
    """
    n, d = _sizes(n, d)
    alpha = checks.scalar("alpha", alpha)
    low = -1 / (n - 1) if n > 1 else -1.0
    slack = 2 * float(jnp.finfo(alpha.dtype).eps)  # −1/(n−1), as a float of this type, may lie below it
    checks.within("alpha", alpha, low * (1 + slack), 1, f"n = {n} unit vectors admit no other common cosine")
    # Pivots p_j² = (1−α)(1+jα)/(1+(j−1)α) and, below them, c_j = α(1−α)/((1+(j−1)α) p_j); j = 0 is (1, α).
    apart, j = side(1 - alpha), jnp.arange(1, n)
    spread = side(1 + jnp.append(0, j) * alpha)  # 0 in its last entry at the simplex
    pivots = apart * spread[1:] / spread[:-1]
    # Below the last pivot there is nothing.
    below = apart * alpha / (spread[:-1] * jnp.where(j < n - 1, spread[1:], 1))
    pivots, below = (
        jnp.concatenate([first[None], rest]) for first, rest in ((alpha**0, pivots), (alpha, below))
    )
    rows = jnp.arange(n)[:, None]
    root = jnp.where(rows > rows.T, below, jnp.where(rows == rows.T, pivots, 0))
    return jnp.pad(root, ((0, 0), (0, d - n)))


def from_gram(gram: Float[Array | np.ndarray, "n n"], d: int | None = None) -> Float[Array, "n d"]:
    """Rows E with E Eᵀ = gram, a symmetric positive semi-definite matrix; refuses any other.

    Cholesky's factor, largest pivot first: columns past the rank are zero. What depends on E Eᵀ alone has the
    right one-sided derivative in ``gram``, whatever its rank, where d = n.
    """
    (gram,) = checks.floats(gram=gram)
    checks.shaped("gram", gram, "a square matrix", 2)
    n = gram.shape[0]
    if gram.shape != (n, n):
        checks.refuse("gram", "square", f"shape {tuple(gram.shape)}")
    checks.finite("gram", gram)
    d = n if d is None else checks.count("d", d)
    if checks.concrete(gram):
        known = np.asarray(gram, np.float64)
        values = np.linalg.eigvalsh((known + known.T) / 2)
        slack = 4 * n * float(jnp.finfo(gram.dtype).eps) * np.abs(values).max()
        skew = np.abs(known - known.T).max()
        if skew > 4 * slack:
            checks.refuse("gram", "symmetric", f"|G − Gᵀ| up to {skew:.3g}")
        if values[0] < -slack:
            checks.refuse(
                "gram",
                "positive semi-definite",
                f"eigenvalue {values[0]:.6g}",
                "no vectors have these inner products",
            )
        rank = int((values > slack).sum())
        if d < rank:
            checks.refuse("d", f"at least the rank {rank} of the Gram matrix", d)
    # The trailing columns are the ones that may be cut or padded.
    rows = gram_factor((gram + gram.T) / 2)
    return rows[:, :d] if d <= n else jnp.pad(rows, ((0, 0), (0, d - n)))


def gram(rows: Float[Array, "n d"]) -> Float[Array, "n n"]:
    """Inner products of the rows: α of GD (11) for the inputs."""
    (rows,) = checks.floats(rows=rows)
    checks.shaped("rows", rows, "a matrix", 2)
    return product(rows, rows.T)


def product(a: Float[Array, "n k"], b: Float[Array, "k m"]) -> Float[Array, "n m"]:
    """ab; a small product as a sum of outer products.

    Under ``vmap`` XLA computes small products one by one on a CPU: at 4 × 4, seventy times the cost of
    the same sum written out, which is one loop over all lanes.
    """
    if a.shape[1] != b.shape[0]:
        checks.refuse("model", "of sizes that fit the task", f"a product of {a.shape} and {b.shape}")
    n, k, m = a.shape[0], *b.shape
    if k > 8 or n * m > 256:
        return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(a[:, :, None] * b[None], axis=1) if is_brief() else written_out(a, b)


# What is differentiated is compiled in half the time if its small products and sums are short.
_brief = contextvars.ContextVar("brief", default=False)


def is_brief() -> bool:
    return _brief.get()


@contextlib.contextmanager
def brief() -> Iterator[None]:
    """What is traced meanwhile writes no small product or sum out: for one system, not for many."""
    before = _brief.set(True)
    try:
        yield
    finally:
        _brief.reset(before)


def written_out(
    a: Float[Array, "n k *#lanes"], b: Float[Array, "k m *#lanes"]
) -> Float[Array, "n m *#lanes"]:
    """ab as a sum of outer products; of many, with lanes as the last axes, in one loop over all."""
    total = a[:, 0, None] * b[None, 0]
    for i in range(1, len(b)):
        total = total + a[:, i, None] * b[None, i]
    return total


def pairs(first: Float[Array, "n d"], second: Float[Array, "m d"]) -> Float[Array, "nm d"]:
    """Sums e_i + ẽ_j of all pairs, j fastest: the inputs of a multi-input memory (Slides p. 9)."""
    first, second = checks.floats(first=first, second=second)
    for name, rows in (("first", first), ("second", second)):
        checks.shaped(name, rows, "a matrix, one row a part", 2)
    if first.shape[1] != second.shape[1]:
        checks.refuse("second", f"of {first.shape[1]} columns, as first", second.shape[1])
    return (first[:, None, :] + second[None, :, :]).reshape(-1, first.shape[1])


def _rows(rows: Any) -> Float[Array, "n d"]:
    (rows,) = checks.floats(rows=rows)
    checks.shaped("rows", rows, "a matrix, one row a token", 2)
    checks.finite("rows", rows)
    return rows


def normalised(rows: Float[Array | np.ndarray, "n d"]) -> Float[Array, "n d"]:
    """Rows of norm one; a row of zeros is refused."""
    rows = _rows(rows)
    size = norm(rows, axis=1, keepdims=True)
    if checks.concrete(size) and (known := np.asarray(size)).min() == 0:
        checks.refuse("rows", "none of them 0", f"zeros in row {int(known.argmin())}")
    return rows / size


def centred(rows: Float[Array | np.ndarray, "n d"]) -> Float[Array, "n d"]:
    """Rows less their mean: what all tokens share says nothing of any."""
    rows = _rows(rows)
    return rows - rows.mean(axis=0)


def whitened(rows: Float[Array | np.ndarray, "n d"]) -> Float[Array, "n d"]:
    """Centred rows with covariance proportional to the identity on what they span; mean squared norm 1.

    √(n/r) U Vᵀ of their singular value decomposition U S Vᵀ of rank r (n − 1 or d at most).
    Directions below the rounding of the type count as none. Not for differentiation.
    """
    rows = _rows(rows)
    mean, rows = rows.mean(axis=0), centred(rows)
    left, values, right = jnp.linalg.svd(rows, full_matrices=False)
    # Rounding is of what was there before the mean was taken off.
    scale = jnp.maximum(values[0], np.sqrt(len(rows)) * norm(mean))
    kept = values > max(rows.shape) * jnp.finfo(rows.dtype).eps * scale
    if checks.concrete(kept) and not np.asarray(kept).any():
        checks.refuse("rows", "not all the same", f"{len(rows)} equal rows")
    return jnp.sqrt(len(rows) / kept.sum()) * (left * kept) @ right
