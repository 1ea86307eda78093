"""Functions whose derivative at the edge of their domain autodiff makes infinite or not a number."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun
from jaxtyping import Array, Float

Real = Float[Array, "..."]


@jax.custom_jvp
def root(x: Real) -> Real:
    """√x with derivative 0 at 0, for roots of sums of squares: what it divides is 0 there too."""
    return jnp.sqrt(x)


@root.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    y = root(x)
    return y, jnp.where(y == 0, 0, dx / (2 * jnp.where(y == 0, 1, y)))


def norm(x: Array, axis: int | None = None, keepdims: bool = False) -> Real:
    """Euclidean norm (of all entries, or along an axis) with derivative 0 at 0; neither overflows nor
    underflows.
    """
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=axis, keepdims=True, initial=0.0))
    scale = jnp.where((size > 0) & jnp.isfinite(size), size, 1)
    length = scale * root(jnp.sum((x / scale) ** 2, axis=axis, keepdims=True))
    return length if keepdims else jnp.squeeze(length, axis)


def tree_norm(tree: Any) -> Real:
    """The norm of all arrays of a tree together."""
    return norm(jnp.stack([norm(leaf) for leaf in jax.tree.leaves(tree)]))


def _sliver(dtype) -> float:
    """A length whose square is representable and far below any rounding error."""
    return float(jnp.finfo(dtype).tiny) ** 0.25


@jax.custom_jvp
def side(x: Real) -> Real:
    """√x of a coordinate that counts by its square: products have the right one-sided derivative at 0.

    While it is differentiated it stands off 0 by a sliver s (s² far below rounding), so that s ds = dx/2.
    """
    return jnp.sqrt(jnp.maximum(x, 0))


@side.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    y = jnp.maximum(side(x), _sliver(x.dtype))
    return y, dx / (2 * y)


@jax.custom_jvp
def gram_factor(gram: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """E with E Eᵀ = gram, symmetric positive semi-definite: Cholesky's, largest pivot first.

    What is left is zero once the largest pivot is rounding; so are those columns, the last ones. One-sided
    derivatives of what depends on E Eᵀ are right there too (see ``side``), and of all orders inside.
    """
    return _pivoted(gram)[0]


def _pivoted(gram):
    """(E, order of the pivots, which are not zero)."""
    n = gram.shape[0]
    level = n * jnp.finfo(gram.dtype).eps * jnp.max(jnp.diagonal(gram), initial=0.0)

    def column(k, state):
        left, rows, order, alive = state
        taken = jnp.zeros(n, bool).at[order].set(jnp.arange(n) < k, mode="drop")
        free = jnp.where(taken, -jnp.inf, jnp.diagonal(left))
        place = jnp.argmax(free)
        pivot = free[place]
        sound = pivot > level
        fresh = jnp.where(sound & ~taken, left[:, place] / jnp.sqrt(jnp.where(sound, pivot, 1)), 0)
        left = left - jnp.outer(fresh, fresh)
        return left, rows.at[:, k].set(fresh), order.at[k].set(place), alive.at[k].set(sound)

    start = (gram, jnp.zeros_like(gram), jnp.full(n, n), jnp.zeros(n, bool))
    _, rows, order, alive = jax.lax.fori_loop(0, n, column, start)
    return rows, order, alive


@gram_factor.defjvp
def _(primals, tangents):
    (gram,), (dgram,) = primals, tangents
    rows, order, alive = _pivoted(jax.lax.stop_gradient(gram))
    rows = gram_factor(gram)
    lower = rows[order] + jnp.diag(jnp.where(alive, 0, _sliver(gram.dtype)))
    moved = ((dgram + dgram.T) / 2)[order][:, order]
    solve = lambda a: jax.scipy.linalg.solve_triangular(lower, a, lower=True)  # noqa: E731
    inner = solve(solve(moved).T)
    half = jnp.tril(inner) - jnp.diag(jnp.diagonal(inner)) / 2
    back = jnp.argsort(order)
    return lower[back], (lower @ half)[back]


def rooted(function: Callable) -> Callable:
    """``function`` with every √ in it differentiated as ``root``: for code that is not ours.

    Reads the function as JAX traces it, through calls and branches (loops stay as they are); the values are
    the same. Where JAX's own representation is not as known here, the function itself.
    """

    @functools.wraps(function)
    def with_roots(*args: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        if not any(word in str(closed) for word in (" sqrt ", " sqrt[", " pow ")):
            return function(*args)
        try:
            flat = _evaluated(closed, jax.tree.leaves(args))
        except (AttributeError, KeyError, TypeError, NotImplementedError):
            return function(*args)
        return jax.tree.unflatten(jax.tree.structure(shape), flat)

    return with_roots


def _evaluated(closed: Any, args: list) -> list:
    """A traced function on values, its square roots replaced."""
    known = dict(zip(closed.jaxpr.constvars, closed.consts)) | dict(zip(closed.jaxpr.invars, args))
    read = lambda v: v.val if isinstance(v, Literal) else known[v]  # noqa: E731
    for eqn in closed.jaxpr.eqns:
        values, params, name = [read(v) for v in eqn.invars], eqn.params, eqn.primitive.name
        half = name == "pow" and isinstance(eqn.invars[1], Literal) and eqn.invars[1].val == 0.5
        if name == "sqrt" or half:
            out = [root(values[0])]
        elif name in ("jit", "pjit", "closed_call"):
            out = _evaluated(params["jaxpr"], values)
        elif name == "cond":
            branches = [
                functools.partial(lambda b, *vs: _evaluated(b, list(vs)), b) for b in params["branches"]
            ]
            out = jax.lax.switch(values[0], branches, *values[1:])
        else:
            needed = list(dict.fromkeys(v for v in eqn.invars if not isinstance(v, Literal)))
            alone = closed.jaxpr.replace(constvars=[], invars=needed, outvars=eqn.outvars, eqns=[eqn])
            out = jaxpr_as_fun(ClosedJaxpr(alone, []))(*(known[v] for v in needed))
        known |= zip(eqn.outvars, out)
    return [read(v) for v in closed.jaxpr.outvars]
