"""A function that says itself how it runs alone, under ``vmap`` and when it is differentiated."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero

from .. import checks, machine

# The name by which a sweep knows a flow that tiles its lanes itself.
OWN_CLOCK = "on_its_own_clock"


def own_clock(single: Callable, differentiable: Callable, many: Callable | None, arguments: Any) -> Any:
    """``single(arguments)``, a tree of arrays, that runs as ``many(arguments, batched)`` under ``vmap`` and
    as ``differentiable(arguments)`` in reverse mode.

    ``batched``: arguments with True where a leaf has lanes as its first axis; nested maps are one. Without
    ``many`` lanes run one after another, on a card in lockstep. A function that reads traced values other
    than its arguments runs as ``differentiable`` throughout.
    """
    parts = _parts(single, many, arguments, OWN_CLOCK)
    if parts is None:
        return differentiable(arguments)
    leaves, whole, run, result = parts
    floating = [eqx.is_inexact_array(leaf) for leaf in leaves]

    @jax.custom_vjp
    def function(*leaves):
        return run(*leaves)

    def forward(*leaves):
        floats, others = eqx.partition(list(leaves), floating)

        def of(floats):
            found = tuple(jax.tree.leaves(differentiable(whole(eqx.combine(floats, others)))))
            return eqx.partition(found, eqx.is_inexact_array)

        smooth, pull, rest = jax.vjp(of, floats, has_aux=True)
        return eqx.combine(smooth, rest), pull

    def backward(pull, cotangents):
        keep = [jnp.issubdtype(a.dtype, jnp.inexact) for a in cotangents]
        (slopes,) = pull(tuple(a if k else None for a, k in zip(cotangents, keep)))
        return tuple(
            np.zeros(leaf.shape, jax.dtypes.float0) if slope is None else slope
            for slope, leaf in zip(slopes, leaves)
        )

    function.defvjp(forward, backward)
    return jax.tree.unflatten(result, function(*leaves))


def side_by_side(single: Callable, many: Callable, arguments: Any) -> Any:
    """``single(arguments)``, a tree of arrays, that runs as ``many(arguments, batched)`` under ``vmap`` as in
    ``own_clock``; its derivatives, of all orders and in both modes, are those of ``single``."""
    parts = _parts(single, many, arguments, "side_by_side")
    if parts is None:
        return single(arguments)
    leaves, whole, run, result = parts

    @jax.custom_jvp
    def function(*leaves):
        return run(*leaves)

    @functools.partial(function.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        moves = [not isinstance(tangent, SymbolicZero) for tangent in tangents]
        moving, still = eqx.partition(list(primals), moves)
        of = lambda moving: tuple(jax.tree.leaves(single(whole(eqx.combine(moving, still)))))  # noqa: E731
        return jax.jvp(of, (moving,), ([t if m else None for t, m in zip(tangents, moves)],))

    return jax.tree.unflatten(result, function(*leaves))


class _Parts(NamedTuple):
    leaves: list[Any]
    whole: Callable[..., Any]  # the arguments, of leaves
    run: Callable[..., tuple]  # leaves of the result, of leaves
    result: Any


def _parts(single: Callable, many: Callable | None, arguments: Any, name: str) -> _Parts | None:
    """None where ``single`` reads traced values that are no arguments."""
    dynamic, static = eqx.partition(arguments, eqx.is_array)
    leaves, tree = jax.tree.flatten(dynamic)
    whole = lambda leaves: eqx.combine(jax.tree.unflatten(tree, leaves), static)  # noqa: E731
    traced, shape = jax.make_jaxpr(lambda *leaves: single(whole(leaves)), return_shape=True)(*leaves)
    if not checks.concrete(traced.consts):
        return None

    def one(*leaves):
        return tuple(jex.jaxpr_as_fun(traced)(*leaves))

    one.__name__ = name
    one = jax.jit(one)

    def lanes(marks, *leaves):
        if many is None and machine.on_card():
            return jax.vmap(one, [0 if mark else None for mark in marks])(*leaves)
        if many is None:
            mapped, shared = eqx.partition(leaves, tuple(marks))
            return jax.lax.map(lambda mapped: one(*eqx.combine(mapped, shared)), mapped)
        batched = eqx.combine(jax.tree.unflatten(tree, marks), jax.tree.map(lambda _: False, static))
        return tuple(jax.tree.leaves(many(whole(leaves), batched)))

    def batch(marks):
        """The function of leaves of which those marked have lanes first."""
        run = custom_vmap(functools.partial(lanes, marks))

        @run.def_vmap
        def _(size, mapped, *leaves):
            inner = next(leaf.shape[m] for leaf, m, mark in zip(leaves, mapped, marks) if mark)

            def merged(leaf, outer, mark):
                if not (outer or mark):
                    return leaf
                leaf = leaf if outer else jnp.broadcast_to(leaf[None], (size, *leaf.shape))
                if not mark:
                    leaf = jnp.broadcast_to(leaf[:, None], (size, inner, *leaf.shape[1:]))
                return leaf.reshape(size * inner, *leaf.shape[2:])

            found = batch(tuple(a or b for a, b in zip(mapped, marks)))(*map(merged, leaves, mapped, marks))
            return tuple(a.reshape(size, inner, *a.shape[1:]) for a in found), (True,) * len(found)

        return run

    run = custom_vmap(one)

    @run.def_vmap
    def _(size, mapped, *leaves):
        found = batch(tuple(mapped))(*leaves)
        return found, (True,) * len(found)

    return _Parts(leaves, whole, run, jax.tree.structure(shape))


def apart(function: Callable, mapped: Any) -> tuple[Any, Any]:
    """(``function`` of every lane, last in ``mapped`` and in the result; of each leaf the axis of lanes: −1,
    or None where lanes are alike, and the last axis is of length 1)."""
    leaves, tree = jax.tree.flatten(mapped)
    flat = lambda *leaves: function(jax.tree.unflatten(tree, leaves))  # noqa: E731
    traced, shape = jax.make_jaxpr(flat, return_shape=True)(*(leaf[..., 0] for leaf in leaves))
    reached = set(traced.jaxpr.invars)
    for equation in traced.jaxpr.eqns:
        if any(isinstance(v, jex.Var) and v in reached for v in equation.invars):
            reached.update(equation.outvars)
    axes = [-1 if isinstance(v, jex.Var) and v in reached else None for v in traced.jaxpr.outvars]
    found = jax.vmap(jex.jaxpr_as_fun(traced), -1, axes)(*leaves)
    found = [a if axis == -1 else a[..., None] for a, axis in zip(found, axes)]
    result = jax.tree.structure(shape)
    return jax.tree.unflatten(result, found), jax.tree.unflatten(result, axes)
