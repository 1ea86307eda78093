"""Functions made anew that say the same: the first of them stands for all, so that a program compiles once.

JAX keeps a compiled program under the identity of the functions in it. ``optax.sgd(0.1)`` is made of new
functions at every call, and so is a lambda in a cell that is run again.
"""

import functools
import sys
import types
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np

from .. import checks

# Functions kept; the oldest gives way.
_KEPT = 512
# Arrays closed over are compared up to this many bytes.
_BYTES = 2**16
# What these packages define does not change while a program runs: their globals are not looked at.
_SETTLED = ("assocmem_jax", "diffrax", "equinox", "jax", "jaxlib", "numpy", "optax")

# Of such values the text is what they are.
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})

_known: "OrderedDict[Hashable, Any]" = OrderedDict()
Given = TypeVar("Given")


class _Unsure(Exception):
    """What a function depends on cannot be told apart from what it will be later."""


class _Same:
    """Equal to the same object only, which it keeps alive."""

    def __init__(self, held: Any):
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.held is self.held

    def __hash__(self) -> int:
        return id(self.held)


def alike(given: Given) -> Given:
    """The first function met (or tuple of functions, as optax has them) that is this one in all but
    identity: the same code, defaults, values closed over and globals read. Itself where it is the first, or
    where that cannot be told (objects of unknown classes, traced values)."""
    if _stands(given):
        return given
    loose: list[Any] = []
    try:
        marks = _print(given, (), loose)
        found = _known.get(marks, given)
        # A list that it closes over may have changed since.
        if loose and found is not given and _print(found, (), loose) != marks:
            found = given
    except _Unsure:
        return given
    _known[marks] = found
    _known.move_to_end(marks)
    if len(_known) > _KEPT:
        _known.popitem(last=False)
    return found


def _stands(given: Any) -> bool:
    """Whether it is a function of a module, which is made once."""
    home = sys.modules.get(getattr(given, "__module__", None) or "")
    return home is not None and getattr(home, getattr(given, "__qualname__", ""), None) is given


def _print(value: Any, above: tuple[int, ...], loose: list[Any]) -> Hashable:
    """What is equal for two values exactly if they act the same. ``above``: functions it is part of;
    ``loose`` gets what may act otherwise later."""
    kind = type(value)
    if kind in _PLAIN:
        return kind, repr(value)
    if kind is types.FunctionType:
        return _of_function(value, above, loose)
    if isinstance(value, tuple):
        return kind, *(_print(part, above, loose) for part in value)
    if isinstance(value, functools.partial):
        return functools.partial, _print((value.func, value.args, value.keywords), above, loose)
    if isinstance(value, types.MethodType):
        return types.MethodType, _print((value.__func__, value.__self__), above, loose)
    if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType | np.dtype | np.ufunc):
        return _Same(value)
    loose.append(value)
    if isinstance(value, bool | int | float | complex | str | bytes):
        return kind, repr(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        if not checks.concrete(value) or value.nbytes > _BYTES or value.dtype.hasobject:
            raise _Unsure
        weak = getattr(value, "weak_type", False)
        return kind, str(value.dtype), value.shape, weak, np.asarray(value).tobytes()
    if isinstance(value, list):
        return kind, *(_print(part, above, loose) for part in value)
    if isinstance(value, dict):
        return dict, *((_print(key, above, loose), _print(part, above, loose)) for key, part in value.items())
    if _settled(kind.__module__):
        if not hasattr(value, "__dict__") or hasattr(value, "__wrapped__"):  # jitted
            return _Same(value)
        return _Same(kind), _print(vars(value), above, loose)
    raise _Unsure


def _of_function(function: types.FunctionType, above: tuple[int, ...], loose: list[Any]) -> Hashable:
    if id(function) in above:
        return "itself", above.index(id(function))
    above = (*above, id(function))
    try:
        cells = tuple([cell.cell_contents for cell in function.__closure__ or ()])
    except ValueError:  # of a name that has no value yet
        raise _Unsure from None
    read = ()
    if not _settled(function.__module__):
        loose.append(function)
        read = tuple(_globals(function))
    known = tuple(vars(function).items())
    more = function.__kwdefaults__ and tuple(function.__kwdefaults__.items())
    parts = (function.__defaults__, more, cells, known, read)
    return function.__code__, _Same(function.__globals__), _print(parts, above, loose)


def _globals(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """(name, value) of the globals that the code of a function, or of one inside it, may read."""
    names, codes = set(), [function.__code__]
    while codes:
        code = codes.pop()
        names |= set(code.co_names)
        codes += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    for name in sorted(names & function.__globals__.keys()):
        yield name, function.__globals__[name]


@functools.lru_cache(_KEPT)
def _settled(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _SETTLED and module in sys.modules
