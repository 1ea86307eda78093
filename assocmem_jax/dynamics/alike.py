"""Functions that say the same share a compiled program; one that says something else by now has another.

JAX keeps a compiled program under the identity of the functions in it. ``optax.sgd(0.1)`` is made of new
functions at every call, and so is a lambda in a cell that is run again; a function whose global was changed
in another cell is the same object and says something else.
"""

import copy
import dis
import functools
import sys
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import checks

# Functions kept; the oldest gives way.
_KEPT = 512
# Arrays closed over are compared up to this many bytes.
_BYTES = 2**16
# Lists and tables are, up to so many entries; modules in modules are looked into so deep.
_LONGEST, _DEPTH = 2**12, 2
# A function that calls these writes into its lists and tables: what is in them is no part of it.
_WRITING = frozenset({"append", "extend", "insert", "setdefault", "update"})
# What these packages define does not change while a program runs: their globals are not looked at.
_SETTLED = ("assocmem_jax", "diffrax", "equinox", "jax", "jaxlib", "numpy", "optax")

# Of such values the text is what they are.
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})

# By what it says: the function that stands for it. By itself: what a function said when it was first met, or
# that it can say nothing else.
_known: "OrderedDict[Hashable, Any]" = OrderedDict()
_first: "OrderedDict[Hashable, Any]" = OrderedDict()
# The same of functions that are never taken for another: the copy that says so, None of itself.
_unsure: "weakref.WeakKeyDictionary[Any, dict[Hashable, Any]]" = weakref.WeakKeyDictionary()
_STEADY = "steady"
Given = TypeVar("Given")


class _Same:
    """Equal to the same object only, which it keeps alive."""

    def __init__(self, held: Any):
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.held is self.held

    def __hash__(self) -> int:
        return id(self.held)


class _Notes(NamedTuple):
    """``met``: functions in the order in which they were; ``loose``: what may act otherwise later;
    ``unsure``: that of which only a part is seen, so that two of them are never taken for one."""

    met: dict[int, int]
    loose: list[Any]
    unsure: list[Any]


def alike(given: Given) -> Given:
    """The first function met (or tuple of functions, as optax has them) that is this one in all but
    identity: the same code, defaults, values closed over, globals read and attributes of modules and classes
    among them. Itself where it is the first, or where that cannot be told (objects of unknown classes, large
    arrays, traced values); but a copy of it where it said something else when it was first met, as far as
    that is seen: of an object of an unknown class its own numbers, words and arrays."""
    if _stands(given) or _first.get(_Same(given)) is _STEADY:
        return given
    notes = _Notes({}, [], [])
    try:
        marks = _print(given, notes)
    except RecursionError:  # a list in itself
        return given
    if notes.unsure:
        return _as_it_is(given, marks)
    found = _known.get(marks)
    # What the kept one reads may have changed since.
    if found is None or (notes.loose and found is not given and _marks(found) != marks):
        same = not notes.loose or _kept(_first, _Same(given), marks) == marks
        found = _known[marks] = given if same else _anew(given)
    if not notes.loose:
        _kept(_first, _Same(found), _STEADY)
    return _kept(_known, marks, found)


def current(part: Any) -> Any:
    """The same of the functions that a task, a model or a dynamics holds: they were made earlier."""
    kind = _kind(type(part))
    if kind is types.FunctionType:
        return alike(part)
    if kind is eqx.Module:
        new = {name: now for name, value in vars(part).items() if (now := current(value)) is not value}
        return part if not new else _with(part, new)
    if kind is tuple:
        whole = part and all(type(one) is types.FunctionType for one in part)  # a transformation of optax
        return alike(part) if whole else _of_each(part, current)
    return part


@functools.cache
def _kind(kind: type) -> type | None:
    held = {types.FunctionType: types.FunctionType, eqx.Module: eqx.Module, tuple: tuple, list: tuple}
    return next((as_one for of, as_one in held.items() if issubclass(kind, of)), None)


def _with(part: Any, new: dict[str, Any]) -> Any:
    made = copy.copy(part)
    for name, value in new.items():
        object.__setattr__(made, name, value)
    return made


def _of_each(whole: Any, become: Callable[[Any], Any]) -> Any:
    """A tuple or a list of what its parts become; itself where they stay."""
    parts = [become(part) for part in whole]
    if all(new is old for new, old in zip(parts, whole, strict=True)):
        return whole
    return type(whole)(*parts) if hasattr(whole, "_fields") else type(whole)(parts)


def _as_it_is(given: Any, marks: Hashable) -> Any:
    """Itself, or the copy of it that says what it says now; nothing is kept alive for that."""
    if isinstance(given, tuple):
        return _of_each(given, alike)
    holder = given.__self__ if isinstance(given, types.MethodType) else given
    try:
        said = _unsure.setdefault(holder, {marks: None})
    except TypeError:  # no weak reference, or no hash: a pytree
        return given
    if marks not in said:
        said[marks] = _anew(given)
    return given if said[marks] is None else said[marks]


def _kept(table: "OrderedDict[Hashable, Any]", key: Hashable, value: Any) -> Any:
    value = table.setdefault(key, value)
    table.move_to_end(key)
    if len(table) > _KEPT:
        table.popitem(last=False)
    return value


def _marks(given: Any) -> Hashable:
    return _print(given, _Notes({}, [], []))


def _anew(given: Any) -> Any:
    """The same under another identity."""
    if type(given) is types.FunctionType:
        code, names, cells = given.__code__, given.__globals__, given.__closure__
        fresh = types.FunctionType(code, names, given.__name__, given.__defaults__, cells)
        fresh.__kwdefaults__ = given.__kwdefaults__
        fresh.__dict__.update(given.__dict__)
        fresh.__qualname__, fresh.__module__ = given.__qualname__, given.__module__
        return fresh
    if isinstance(given, tuple):
        return _of_each(given, _anew)
    if isinstance(given, functools.partial):
        return functools.partial(_anew(given.func), *given.args, **given.keywords)
    return copy.copy(given) if _settled(type(given).__module__) else functools.partial(given)


def _stands(given: Any) -> bool:
    """Whether it is a function that a settled module has under its name."""
    module = getattr(given, "__module__", None)
    home = sys.modules.get(module or "") if _settled(module) else None
    return home is not None and getattr(home, getattr(given, "__qualname__", ""), None) is given


def _print(value: Any, notes: _Notes) -> Hashable:
    """What is equal for two values exactly if they act the same."""
    kind = type(value)
    if kind in _PLAIN:
        return kind, repr(value)
    if kind is _Same:
        return value
    if kind is types.FunctionType:
        return _of_function(value, notes)
    if isinstance(value, tuple):
        return kind, *(_print(part, notes) for part in value)
    if isinstance(value, functools.partial):
        return functools.partial, _print((value.func, value.args, value.keywords), notes)
    if isinstance(value, types.MethodType):
        return types.MethodType, _print((value.__func__, value.__self__), notes)
    if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType | np.dtype | np.ufunc):
        return _Same(value)
    notes.loose.append(value)
    if isinstance(value, bool | int | float | complex | str | bytes):
        return kind, repr(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _of_array(value, notes)
    if isinstance(value, list | dict) and len(value) > _LONGEST:
        notes.unsure.append(value)
        return _Same(value)
    if isinstance(value, list):
        return kind, *(_print(part, notes) for part in value)
    if isinstance(value, dict):
        return dict, *((_print(key, notes), _print(part, notes)) for key, part in value.items())
    if _settled(kind.__module__):
        if not hasattr(value, "__dict__") or hasattr(value, "__wrapped__"):  # jitted
            return _Same(value)
        return _Same(kind), _print(vars(value), notes)
    notes.unsure.append(value)
    own = sorted(getattr(value, "__dict__", {}).items())
    return _Same(value), tuple((name, _print(part, notes)) for name, part in own if _simple(part))


def _simple(value: Any) -> bool:
    return type(value) in _PLAIN or isinstance(value, np.ndarray | np.generic | jax.Array)


def _of_array(value: Any, notes: _Notes) -> Hashable:
    if checks.concrete(value) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return str(value.dtype), _of_array(jax.random.key_data(value), notes)
    if not checks.concrete(value) or value.nbytes > _BYTES or value.dtype.hasobject:
        notes.unsure.append(value)
        return _Same(value)
    weak = getattr(value, "weak_type", False)
    return type(value), str(value.dtype), value.shape, weak, np.asarray(value).tobytes()


def _of_function(function: types.FunctionType, notes: _Notes) -> Hashable:
    if id(function) in notes.met:
        return "met", notes.met[id(function)]
    notes.met[id(function)] = len(notes.met)
    cells = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError:  # of a name that has no value yet
            notes.unsure.append(cell)
    read = ()
    if not _settled(function.__module__):
        notes.loose.append(function)
        names = _names(function.__code__)
        written = _written(function.__code__)
        cells = {name: value for name, value in cells.items() if name not in written}
        names -= written
        found = {name: function.__globals__[name] for name in sorted(names & function.__globals__.keys())}
        if names & _WRITING:
            cells, found = _as_outputs(cells), _as_outputs(found)
        read = (found, *(tuple(_attributes(value, names, 0)) for value in (*found.values(), *cells.values())))
    more = function.__kwdefaults__ and tuple(function.__kwdefaults__.items())
    parts = (function.__defaults__, more, tuple(cells.values()), tuple(vars(function).items()))
    return function.__code__, _Same(function.__globals__), _print(parts, notes), _print(read, notes)


def _as_outputs(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _Same(value) if isinstance(value, list | dict) else value for name, value in values.items()}


@functools.lru_cache(_KEPT)
def _written(code: types.CodeType) -> frozenset[str]:
    """Names that a function gives another value itself (``nonlocal``, ``global``): a count of its calls."""
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    own = (one.argval for one in dis.get_instructions(code) if one.opname in ("STORE_DEREF", "STORE_GLOBAL"))
    return frozenset(own).union(*map(_written, inner))


@functools.lru_cache(_KEPT)
def _names(code: types.CodeType) -> frozenset[str]:
    """Of globals and attributes that the code of a function, or of one inside it, may read."""
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return frozenset(code.co_names).union(*map(_names, inner))


def _attributes(value: Any, names: frozenset[str], depth: int) -> Iterator[tuple[str, Any]]:
    """What code that reads such names may read of a module or a class, and of those in it."""
    if not isinstance(value, type | types.ModuleType) or depth > _DEPTH or _settled(_home(value)):
        return
    table: dict[str, Any] = {}
    for base in reversed(getattr(value, "__mro__", (value,))):
        table |= {name: vars(base)[name] for name in names & vars(base).keys()}
    for name, part in sorted(table.items()):
        part = getattr(part, "__func__", part)  # of a class method
        told = _simple(part) or isinstance(part, types.FunctionType | list | dict | tuple)
        yield name, part if told else _Same(part)
        yield from _attributes(part, names, depth + 1)


def _home(value: Any) -> str | None:
    return value.__name__ if isinstance(value, types.ModuleType) else value.__module__


@functools.lru_cache(_KEPT)
def _settled(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _SETTLED and module in sys.modules
