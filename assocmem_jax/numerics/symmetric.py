"""The top eigenvector of small symmetric matrices, one or many."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

from .. import machine

# Larger matrices are diagonalised by LAPACK one by one; a wider tile would leave the cache.
_LARGEST, _STEPS, _TILE, _CYCLES = 32, 16, 64, 6


@custom_vmap
def top_vector(matrix: Float[Array, "n n"]) -> Float[Array, " n"]:
    """The unit eigenvector of the largest eigenvalue of a symmetric matrix. It has no derivative.

    Many small matrices at once (under ``vmap``, on a CPU) go through Lanczos with all lanes in every loop, as
    LAPACK takes 40 to 70 µs for each of size 25: sixteen steps from the best vector yet, in each lane until
    ‖Av − λv‖ ≤ 1e-10 max|A| (1e-5 in float32), which bounds what λ = vᵀAv is off by; it is off by the square
    of that over the gap. Where six times are not enough, LAPACK has them after all.
    """
    return _by_lapack(matrix)


def _by_lapack(matrix):
    return jnp.linalg.eigh(matrix)[1][:, -1]


@top_vector.def_vmap
def _(size, mapped, matrices):
    n = matrices.shape[-1]
    each = jax.vmap(_by_lapack)
    if n > _LARGEST or machine.on_card():
        return each(matrices), True
    wide = min(size, _TILE)
    blocks = -(-size // wide)
    padded = jnp.concatenate([matrices, jnp.broadcast_to(matrices[:1], (blocks * wide - size, n, n))])

    def block(matrices):
        found, sound = _lanes(jnp.moveaxis(matrices, 0, -1))
        rest = lambda: jnp.where(sound[:, None], found.T, each(matrices))  # noqa: E731
        return jax.lax.cond(jnp.all(sound), lambda: found.T, rest)

    found = jax.lax.map(block, padded.reshape(blocks, wide, n, n))
    return found.reshape(-1, n)[:size], True


def _lanes(matrices: Float[Array, "n n lanes"]) -> tuple[Float[Array, "n lanes"], Array]:
    """(unit vectors, which of them are eigenvectors). What a lane finds does not depend on the others."""
    n, _, lanes = matrices.shape
    matrices = matrices * _inverse(jnp.max(jnp.abs(matrices), axis=(0, 1)))  # squares must not underflow
    limit = 1e-10 if matrices.dtype == jnp.float64 else 1e-5
    start = np.random.default_rng(0).normal(size=(n, 1))
    start = jnp.broadcast_to(jnp.asarray(start / np.linalg.norm(start), matrices.dtype), (n, lanes))

    def cycle(state):
        count, v, sound = state
        v = jnp.where(sound, v, _restarted(matrices, v))
        image = _image(matrices, v)
        value = jnp.sum(v * image, axis=0)
        off = jnp.sqrt(jnp.sum((image - value * v) ** 2, axis=0))
        unit = jnp.abs(jnp.sum(v**2, axis=0) - 1) <= limit
        return count + 1, v, unit & (off <= limit)  # NaN is not

    def open_lanes(state):
        count, _, sound = state
        return ~jnp.all(sound) & (count < _CYCLES)

    state = (jnp.zeros((), jnp.int32), start, jnp.zeros(lanes, bool))
    _, v, sound = jax.lax.while_loop(open_lanes, cycle, state)
    return v, sound


def _image(matrices, v):
    return sum(matrices[:, j] * v[j] for j in range(len(v)))


def _restarted(matrices, start):
    """The Ritz vector of the largest value, of Lanczos from ``start``, orthogonalised against its basis."""
    n, lanes = start.shape
    steps = min(n, _STEPS)

    def cleared(basis, w):
        along: Any = sum(basis[:, i] * w[i] for i in range(n))
        return w - sum(along[i] * basis[i] for i in range(steps))

    def step(k, state):
        basis, q, diagonal, beside = state
        basis = basis.at[k].set(q)
        w = _image(matrices, q)
        diagonal = diagonal.at[k].set(jnp.sum(w * q, axis=0))
        w = jax.lax.fori_loop(0, 2, lambda _, w: cleared(basis, w), w)  # twice is enough
        size = jnp.sqrt(jnp.sum(w**2, axis=0))
        return basis, w * _inverse(size), diagonal, beside.at[k].set(size)

    none = jnp.zeros((steps, lanes), start.dtype)
    state = (jnp.zeros((steps, n, lanes), start.dtype), start, none, none)
    basis, _, diagonal, beside = jax.lax.fori_loop(0, steps, step, state)
    weights = _top_of_tridiagonal(diagonal, beside)
    v = sum(weights[i] * basis[i] for i in range(steps))
    return v * _inverse(jnp.sqrt(jnp.sum(v**2, axis=0)))


def _top_of_tridiagonal(diagonal, beside):
    """Its top eigenvector, of any length: the value by bisection, the vector by recurrence from the end,
    where it is small."""
    steps = len(diagonal)
    fine = jnp.finfo(diagonal.dtype)
    before = jnp.concatenate([jnp.zeros_like(beside[:1]), beside[:-1]])
    low, high = jnp.max(diagonal, axis=0), jnp.max(diagonal + beside + before, axis=0)

    def halved(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        pivot = diagonal[0] - middle
        below = pivot < 0
        for i in range(1, steps):
            pivot = diagonal[i] - middle - beside[i - 1] ** 2 / jnp.where(pivot < 0, pivot, -fine.tiny)
            below = below & (pivot < 0)
        return jnp.where(below, low, middle), jnp.where(below, middle, high)

    _, value = jax.lax.fori_loop(0, fine.nmant + 6, halved, (low, high))

    def back(rows, row):
        entry, right, left = row
        found = ((value - entry) * rows[0] - right * rows[1]) * _inverse(left)
        found = jnp.where(left > 0, found, 1)  # the block before: all of it, if it is the top one
        # It grows by 1/ε where a direction is degenerate; powers of two change no digit.
        return jnp.where(jnp.abs(found) > 2.0**60, 2.0**-60, 1) * jnp.stack([found, *rows[:-1]]), None

    last = jnp.zeros((max(steps, 2), *value.shape), value.dtype).at[0].set(1)
    after = jnp.concatenate([before[1:], jnp.zeros_like(beside[:1])])
    found, _ = jax.lax.scan(back, last, (diagonal[:0:-1], after[:0:-1], before[:0:-1]))
    return found[:steps] * _inverse(jnp.max(jnp.abs(found), axis=0))


def _inverse(size):
    """1/size; 0 for 0, and NaN, of which nothing is sound, where 1/size is less than floats hold."""
    inverse = 1 / jnp.where(size > 0, size, 1)
    return jnp.where(size > 0, jnp.where(inverse >= jnp.finfo(size.dtype).tiny, inverse, jnp.nan), 0)
