"""Refusals: one line that names the argument, what it must be, what it was and what to do."""

import contextlib
import functools
import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from . import machine

# A public number: Python's or NumPy's, or a traced one.
Scalar = float | int | Float[Array, ""]


def refuse(argument: str, required: str, actual: Any, remedy: str = "") -> NoReturn:
    """Raise the one-line ``ValueError`` that every refusal of this package is; ``refused`` marks it."""
    words = " ".join(str(actual).split())
    words = words if len(words) <= 160 else f"{words[:159]}…"
    required = " ".join(required.split())  # a shape or a repr may be of several lines
    fault = ValueError(f"{argument} must be {required}, got {words}" + (f"; {remedy}" if remedy else ""))
    fault.refused = True  # type: ignore[attr-defined]
    raise fault


def concrete(*values: Any) -> bool:
    """Whether all values are known now: under ``jit``, ``vmap`` and ``grad`` they are not."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def shaped(argument: str, value: Any, required: str, ndim: int) -> None:
    if value.ndim != ndim:
        refuse(argument, required, f"an array of shape {tuple(value.shape)}")


def finite(argument: str, value: Any) -> None:
    """Refuse NaN and infinity, if the value is known."""
    for known in _known(argument, value, "finite"):
        if not np.isfinite(known).all():
            at = np.argwhere(~np.isfinite(np.atleast_1d(known)))[0].tolist()
            refuse(argument, "finite", f"{np.atleast_1d(known)[tuple(at)]} at index {at}")


def positive(argument: str, value: Any, remedy: str = "") -> None:
    """Refuse what is not a finite number above zero, if the value is known."""
    for known in _known(argument, value, "positive and finite", remedy):
        if not (np.isfinite(known).all() and (known > 0).all()):
            wrong = ~(np.isfinite(known) & (known > 0))
            refuse(argument, "positive and finite", _first(known, wrong), remedy)


def within(argument: str, value: Any, low: float | int, high: float | int, remedy: str = "") -> None:
    """Refuse what is outside [low, high] (NaN included), if the value is known."""
    for known in _known(argument, value, f"between {low:g} and {high:g}", remedy):
        inside = (known >= low) & (known <= high)
        if not inside.all():
            refuse(argument, f"between {low:g} and {high:g}", _first(known, np.logical_not(inside)), remedy)


def key(argument: str, value: Any) -> None:
    """Refuse what is no typed key."""
    if not (isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)):
        refuse(argument, "a typed key", repr(value), "jax.random.key(0)")
    if value.ndim:
        refuse(argument, "one key", f"{value.shape} of them", "jax.vmap, or index them")


Function = TypeVar("Function", bound=Callable)


def takes(**kinds: Any) -> Callable[[Function], Function]:
    """Decorator: the arguments named must be of these classes (``KEY``: a typed key), or one of these words;
    in one line, else."""

    def mark(function: Any) -> Any:
        names = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def checked(*args: Any, **options: Any) -> Any:
            given = dict(zip(names, args)) | options
            for name, kind in kinds.items():
                if name not in given:
                    continue
                if kind is KEY:
                    key(name, given[name])
                elif kind is bool:
                    truth(name, given[name])
                elif kind is Callable:
                    a_function(name, given[name], "a function")
                elif isinstance(kind, tuple):
                    word(name, given[name], *kind)
                elif not isinstance(given[name], kind):
                    refuse(name, f"of the class {kind.__name__}", short(given[name]))
            if "task" in given and "model" in given:
                fits(given["task"], given["model"])
            with standard():
                return function(*args, **options)

        return checked

    return mark


def fits(task: Any, model: Any) -> None:
    """Refuse a model of another kind of task."""
    kind = getattr(type(model), "task_type", object)
    if not isinstance(task, kind):
        refuse("task", f"of the class {kind.__name__}, which {type(model).__name__} is for", short(task))


@contextlib.contextmanager
def standard() -> Iterator[None]:
    """What the package's own code is written for, whatever the caller has set: JAX's rules of promotion.

    And float32 that is float32: on a card JAX multiplies matrices with 10 bits of mantissa (TF32) unless told
    otherwise. Who asks for that by ``jax_default_matmul_precision`` gets it.
    """
    with contextlib.ExitStack() as rules:
        rules.enter_context(jax.numpy_rank_promotion("allow"))
        rules.enter_context(jax.numpy_dtype_promotion("standard"))
        asked = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
        if machine.on_card() and asked is None:
            rules.enter_context(jax.default_matmul_precision("highest"))
        yield


class KEY:
    """Stands for a typed key in ``takes``."""


def listed(argument: str, value: Any, required: str) -> list:
    """The parts of a list, a tuple, an array or whatever else gives them one by one; text is none."""
    try:
        if not isinstance(value, str | bytes):
            return list(value)
    except TypeError:
        pass
    refuse(argument, required, short(value))


def a_path(argument: str, value: Any) -> None:
    """Refuse what cannot name a file."""
    if not isinstance(value, str | os.PathLike) or "\0" in str(value):
        refuse(argument, "a path", short(value))


def text(argument: str, path: Any) -> str:
    """What a file in UTF-8 says; a byte-order mark is no character."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):  # it may never end
        refuse(argument, "a file that can be read", "a pipe or a device")
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        refuse(argument, "UTF-8 text", f"byte {fault.start} that is not")
    except OSError as fault:
        refuse(argument, "a file that can be read", fault.strerror or repr(fault))


def amounts(argument: str, value: Any, each: str, names: Sequence[Any]) -> np.ndarray:
    """A finite number at least 0 for each of names."""
    known = numbers(argument, value).astype(float)
    if known.shape != (len(names),):
        refuse(argument, f"{len(names)} numbers, one for each {each}", f"shape {known.shape}")
    if (wrong := ~(np.isfinite(known) & (known >= 0))).any():
        bad = int(np.argmax(wrong))
        refuse(argument, "finite and at least 0", f"{known[bad]} for {names[bad]!r}")
    return known


def a_function(argument: str, value: Any, required: str) -> None:
    if not callable(value):
        refuse(argument, required, short(value))


def number_of(argument: str, what: str, function: Callable, dtype: Any) -> None:
    """Refuse a function of one number (``what`` it is) that does not return one, before it is used."""
    required = f"a function of {what} that returns one number"
    try:
        found = jax.eval_shape(function, jax.ShapeDtypeStruct((), jnp.zeros((), dtype).dtype))
    except Exception as fault:
        refuse(argument, required, (str(fault).splitlines() or [""])[0] or type(fault).__name__)
    dtype, shape = getattr(found, "dtype", None), getattr(found, "shape", None)
    if shape != () or not (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)):
        refuse(argument, required, f"one that returns {short(found)}")


def scalar(argument: str, value: Any) -> jax.Array:
    """One number, as JAX will use it."""
    (held,) = floats(**{argument: value})
    shaped(argument, held, "one number", 0)
    return held


def number(argument: str, value: Any) -> jax.Array:
    """One finite number, as JAX will use it."""
    held = scalar(argument, value)
    finite(argument, held)
    return held


def truth(argument: str, value: Any, also: tuple[Any, ...] = ()) -> Any:
    """``True`` or ``False`` (or one of ``also``), as a Python bool."""
    if any(value is other for other in also):
        return value
    if not isinstance(value, bool | np.bool_):
        refuse(argument, " or ".join(["True", "False", *map(repr, also)]), short(value))
    return bool(value)


def word(argument: str, value: Any, *words: str) -> str:
    """One of these words."""
    if not (isinstance(value, str) and value in words):
        head = ", ".join(map(repr, words[:-1]))
        refuse(argument, f"{head} or {words[-1]!r}" if head else repr(words[-1]), short(value))
    return value


def floating(argument: str, value: Any) -> Any:
    """A dtype in which laws and clocks hold, as JAX has it at its present precision."""
    with contextlib.suppress(Exception):  # NumPy raises whatever a stranger's attributes do
        held = jnp.zeros((), value).dtype
        if held in (jnp.float32, jnp.float64):
            return held
    refuse(argument, "float32 or float64", short(value))


def short(value: Any) -> str:
    """The repr of a value, in one line of no more than 80 characters."""
    try:
        words = " ".join(repr(value).split())
    except Exception:
        words = f"a {type(value).__name__}"
    return words if len(words) <= 80 else f"{words[:77]}…"


def _first(known: np.ndarray, wrong: Any) -> str:
    """The entry that is wrong, and where it is; of thousands, only that."""
    if not known.ndim:
        return str(known)
    at = np.argwhere(wrong)[0].tolist()
    return f"{known[tuple(at)]} at index {at}"


def _known(argument: str, value: Any, required: str, remedy: str = "") -> tuple[np.ndarray, ...]:
    """The value as it was given, and as JAX holds it at its present precision; nothing, if it is traced."""
    given = array(argument, value, required, remedy)
    if not concrete(given):
        return ()
    given = np.asarray(given)
    if not np.issubdtype(given.dtype, np.floating):
        return (given,)
    dtype = jax.dtypes.canonicalize_dtype(given.dtype)
    if (where := lost(given, dtype)).any():
        remedy = X64 if dtype.itemsize < 8 else "the least is 2.2e-308"
        refuse(argument, f"a number that {dtype} can hold", _first(given, where), remedy)
    return (given,)


def lost(known: np.ndarray, dtype: Any) -> Any:
    """Which numbers a dtype cannot hold: finite ones that become infinite, and a lone one that becomes 0, as
    XLA makes of those below the least normal one."""
    with np.errstate(over="ignore", under="ignore"):
        held = known.astype(dtype)
    faint = (known != 0) & (np.abs(held) < jnp.finfo(dtype).tiny)
    return (np.isfinite(known) & ~np.isfinite(held)) | ((known.ndim == 0) & faint)


def count(argument: str, value: Any, least: int = 1, remedy: str = "") -> int:
    """A whole number of at least ``least``, as a Python int (it fixes shapes, so it is static)."""
    whole = None
    if not isinstance(value, bool | np.bool_ | str) and hasattr(value, "__index__"):
        with contextlib.suppress(TypeError):  # arrays of more than one entry, or of other dtypes
            whole = value.__index__()
    if whole is None:
        if isinstance(value, jax.core.Tracer):
            refuse(argument, "known (it fixes shapes)", "a traced value", remedy)
        refuse(argument, f"a whole number of at least {least}", short(value), remedy)
    if whole < least:
        refuse(argument, f"at least {least}", whole, remedy)
    if whole >= 2**31:
        refuse(
            argument,
            "below 2³¹ (clocks are 32-bit integers)",
            whole if whole < 10**18 else "a larger one",
            remedy,
        )
    return whole


def array(argument: str, value: Any, required: str = "numbers", remedy: str = "") -> Any:
    """What NumPy takes for real numbers, as an array of NumPy or JAX: lists, other byte orders, Python's own.

    Refused in one line: what is no array of numbers (None, text, ragged lists, truth values alone), complex
    numbers, masked entries.
    """
    if isinstance(value, bool | str | bytes) or value is None:
        refuse(argument, required, short(value), remedy)
    if not isinstance(value, jax.Array):
        if np.ma.is_masked(value):
            refuse(argument, "without masked entries", "an array with some", "fill or leave them out")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                value = _stacked(value)
        except Exception:
            refuse(argument, required, short(value), remedy)
    dtype = value.dtype
    if jnp.issubdtype(dtype, jnp.complexfloating):
        refuse(argument, "real", f"complex numbers ({dtype})", "pass their real part")
    if not (jnp.issubdtype(dtype, jnp.number) or dtype.kind == "b"):
        refuse(argument, required, f"an array of {dtype}", remedy)
    return value


def numbers(argument: str, value: Any, required: str = "numbers") -> np.ndarray:
    """What ``array`` takes, as an array of NumPy; refused is what is traced."""
    held = array(argument, value, required)
    if not concrete(held):
        refuse(argument, "known before anything is compiled", "a traced value")
    return np.asarray(held)


def _stacked(value: Any) -> Any:
    """A list may hold traced numbers, which NumPy cannot."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value)):
        return jnp.asarray(value)
    known = np.asarray(value)
    if known.dtype.kind == "f" and known.dtype.itemsize > 8:
        known = known.astype(np.float64)
    return known.astype(known.dtype.newbyteorder("="), copy=False) if known.dtype.kind in "iufb" else known


X64 = "use float64: jax.config.update('jax_enable_x64', True)"


def floats(**values: Any) -> tuple[jax.Array, ...]:
    """The named values as arrays of their common floating dtype (Python numbers follow x64).

    Refused: what ``array`` refuses; half precision, in which clocks, laws and margins do not hold; finite
    numbers that are not finite at the precision in use.
    """
    given = {name: array(name, value) for name, value in values.items()}
    plain = [v if isinstance(v, int | float) else given[name] for name, v in values.items()]
    dtype = jnp.result_type(*plain)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    for name, value in given.items():
        own = value.dtype
        if jnp.issubdtype(own, jnp.floating) and jnp.finfo(own).bits < 32:
            refuse(name, "of float32 or float64", own, "half precision holds no law and no clock: cast it")
        if concrete(value) and np.issubdtype(np.dtype(own), np.floating):
            known = np.asarray(value)
            if (where := lost(known, dtype) & (np.abs(known) > 1)).any():  # what is tiny may well be 0
                refuse(name, f"numbers that {dtype} can hold", _first(known, where), X64)
    return tuple(jnp.asarray(value, dtype) for value in given.values())
