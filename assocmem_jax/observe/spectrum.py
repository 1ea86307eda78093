"""Singular values of the matrices of any model."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import checks
from ..models.truncation import Where, matrices
from .observable import observable


def singular_values(where: Where) -> Callable[[Any, Any], Float[Array, "*n k"]]:
    """An observable: the singular values of a matrix of the model, largest first; of a stack, a row each.

    ``where``: a function of the model that returns one array, or its name (``"weight"``,
    ``"blocks.-1.outer"``).

        am.simulate(task, memory, descent, observe=dict(spectrum=am.singular_values("weight")))
    """
    return _named(_values, where)


def soft_rank(where: Where) -> Callable[[Any, Any], Float[Array, "*n"]]:
    """An observable: exp(−Σ p log p), p = σ/Σσ, of the singular values of a matrix of the model.

    The effective rank of Roy and Vetterli 2007: from 1 to the rank, which it is where all σ > 0 are equal;
    whatever the scale; 0 where there is nothing. ``where`` as in ``am.singular_values``.
    """
    return _named(_soft_rank, where)


def _named(function: Callable, where: Where) -> Callable:
    known = callable(where) or isinstance(where, str)
    if not known:
        checks.refuse("where", "a function of the model, or one name", checks.short(where))
    return _observable(function, where)


# The same function for the same matrix: programs that look at it are compiled once.
@functools.lru_cache(maxsize=256)
def _observable(function: Callable, where: Where) -> Callable:
    @observable(("mode",) if function is _values else (), model=eqx.Module)
    def looked(task: Any, model: Any) -> Array:
        found = matrices(model, where)
        if len(found) > 1:
            checks.refuse("where", "one array", f"{len(found)} of them")
        return function(found[0])

    looked.__name__ = looked.__qualname__ = function.__name__.lstrip("_")
    return looked


def _values(matrix: Array) -> Array:
    return jnp.linalg.svd(matrix, compute_uv=False)


def _soft_rank(matrix: Array) -> Array:
    values = _values(matrix)
    total = jnp.sum(values, axis=-1, keepdims=True)
    p = values / jnp.where(total > 0, total, 1)
    # The double where: 0 log 0 = 0, and its derivative there is not taken.
    surprise = jnp.where(p > 0, -p * jnp.log(jnp.where(p > 0, p, 1)), 0)
    return jnp.where(total[..., 0] > 0, jnp.exp(jnp.sum(surprise, axis=-1)), 0)
