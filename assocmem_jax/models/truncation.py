"""Parts of a model by name, and models whose matrices are cut to a rank."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .. import checks

Model = TypeVar("Model", bound=eqx.Module)
# A function of the model that returns parts of it, or names of them: "blocks.1.outer".
Where = Callable | str | Sequence[str]


def parts(model: Any, where: Where) -> Any:
    """What ``where`` chooses: as ``simulate(trainable=…)`` does, by a function; or by a name, or several, in
    which dots lead to fields and, in tuples, to places: ``"blocks.-1.outer"``."""
    if callable(where):
        return where(model)
    names = (where,) if isinstance(where, str) else where
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        checks.refuse("where", "a function of the model, or names of its parts", checks.short(where))
    found = tuple(
        functools.reduce(functools.partial(_inside, name), name.split("."), model) for name in names
    )
    return found[0] if isinstance(where, str) else found


def _inside(name: str, whole: Any, step: str) -> Any:
    if isinstance(whole, tuple | list):
        known = {str(k): part for place, part in enumerate(whole) for k in (place, place - len(whole))}
    else:
        known = getattr(whole, "__dict__", {})
    if step not in known:
        checks.refuse("where", f"a part of the model, here one of {', '.join(known)}", repr(name))
    return known[step]


def matrices(model: Any, where: Where) -> list[Array]:
    """The arrays that ``where`` chooses; refused where one is no matrix, or stack of them."""
    chosen = jax.tree.leaves(parts(model, where))
    if not chosen:
        checks.refuse("where", "a matrix of the model", "none")
    for leaf in chosen:
        if not eqx.is_inexact_array(leaf) or leaf.ndim < 2:
            checks.refuse(
                "where", "a matrix, or a stack of them", f"one of shape {getattr(leaf, 'shape', ())}"
            )
    return chosen


def truncated(model: Model, where: Where, rank: int | Int[Array, ""]) -> Model:
    """The model with the matrices that ``where`` chooses cut to their ``rank`` largest singular values.

    Σ_{i ≤ r} σ_i u_i v_iᵀ, the nearest matrix of rank r (Eckart and Young 1936); 0 removes, the least
    dimension leaves as it is, to the bit. The rest of the model is the same; it is not trained again. Of a
    stack, such as the (H, d/H, d) of the heads of a ``Transformer``, every matrix on its own.

    - ``where``: a function of the model (``lambda m: m.blocks[-1].outer``), or names (``"blocks.-1.outer"``).
    - ``rank``: at most the least dimension. It may be traced: ``jax.vmap`` over ranks is one program.

    Derivatives are those of a singular value decomposition: they need singular values that differ.

        am.truncated(memory, "weight", 1)

    Sharma, Ash, Misra 2024 (one layer at a time); Chen, Bruna, Bietti 2024.
    """
    if not isinstance(model, eqx.Module):
        checks.refuse("model", "a model, such as a LinearMemory", checks.short(model))
    least = min(min(leaf.shape[-2:]) for leaf in matrices(model, where))
    if (
        isinstance(rank, jax.Array | np.ndarray)
        and rank.ndim == 0
        and jnp.issubdtype(rank.dtype, jnp.integer)
    ):
        checks.within("rank", rank, 0, least)
    elif checks.count("rank", rank, 0) > least:
        checks.refuse("rank", f"at most {least}, the least dimension of what is cut", rank)
    with checks.standard():
        cut = functools.partial(_cut, rank=rank)
        return eqx.tree_at(lambda m: jax.tree.leaves(parts(m, where)), model, replace_fn=cut)


def _cut(matrix: Float[Array, "*n a b"], rank: Any) -> Float[Array, "*n a b"]:
    u, values, v = jnp.linalg.svd(matrix, full_matrices=False)
    kept = jnp.where(jnp.arange(values.shape[-1]) < rank, values, 0)
    return jnp.where(rank >= values.shape[-1], matrix, (u * kept[..., None, :]) @ v)
