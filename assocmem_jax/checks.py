"""Refusals: one line that names the argument, what it must be, what it was and what to do."""

from typing import Any, NoReturn

import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# A public number: Python's or NumPy's, or a traced one.
Scalar = float | int | Float[Array, ""]


def refuse(argument: str, required: str, actual: Any, remedy: str = "") -> NoReturn:
    """Raise the one-line ``ValueError`` that every refusal of this package is."""
    raise ValueError(f"{argument} must be {required}, got {actual}" + (f"; {remedy}" if remedy else ""))


def concrete(*values: Any) -> bool:
    """Whether all values are known now: under ``jit``, ``vmap`` and ``grad`` they are not."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def shaped(argument: str, value: Any, required: str, ndim: int) -> None:
    if value.ndim != ndim:
        refuse(argument, required, f"an array of shape {tuple(value.shape)}")


def finite(argument: str, value: Any) -> None:
    """Refuse NaN and infinity, if the value is known."""
    if concrete(value) and not np.isfinite(np.asarray(value)).all():
        at = np.argwhere(~np.isfinite(np.atleast_1d(np.asarray(value))))[0].tolist()
        found = np.atleast_1d(np.asarray(value))[tuple(at)]
        refuse(argument, "finite", f"{found} at index {at}")


def positive(argument: str, value: Any, remedy: str = "") -> None:
    """Refuse what is not a finite number above zero, if the value is known."""
    if isinstance(value, bool | str) or value is None:
        refuse(argument, "a positive number", repr(value), remedy)
    if concrete(value):
        known = np.asarray(value)
        if not (np.isfinite(known).all() and (known > 0).all()):
            refuse(argument, "positive and finite", known, remedy)


def within(argument: str, value: Any, low: float | int, high: float | int, remedy: str = "") -> None:
    """Refuse what is outside [low, high] (NaN included), if the value is known."""
    if concrete(value):
        known = np.asarray(value)
        if not ((known >= low) & (known <= high)).all():
            refuse(argument, f"between {low:g} and {high:g}", known, remedy)


def count(argument: str, value: Any, least: int = 1, remedy: str = "") -> int:
    """A whole number of at least ``least``, as a Python int (it fixes shapes, so it is static)."""
    if isinstance(value, bool | str) or not hasattr(value, "__index__"):
        refuse(argument, f"a whole number of at least {least}", repr(value), remedy)
    if value.__index__() < least:
        refuse(argument, f"at least {least}", int(value), remedy)
    if value.__index__() >= 2**31:
        refuse(argument, "below 2³¹ (clocks are 32-bit integers)", int(value), remedy)
    return int(value)


def floats(*values: Any) -> tuple[jax.Array, ...]:
    """The values as arrays of their common floating dtype (Python numbers follow x64)."""
    dtype = jnp.result_type(*values)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    return tuple(jnp.asarray(value, dtype) for value in values)
