"""One convention for what is the user's own: ``module:Name``, or ``path/to/file.py:Name``.

For a study (``study = …`` in a config), the function of a sweep (``function = …``) and statements
(``assocmem check``). Standard library only.
"""

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
import zlib
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

PATTERN = r"^([^:\n]+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*$"


class NamedError(ValueError):
    """What is named is not there, or its file cannot be run: one line."""


def is_named(text: str) -> bool:
    """Whether a text has the form of such a name."""
    return re.match(PATTERN, text) is not None


class UntrustedError(NamedError):
    """What is named is not this package's, and nobody has said that it may run."""

    def __init__(self, source: str, text: str):
        super().__init__(f"{text!r} is not this package's: nothing of it was run; --trust runs it ({source})")


_source: ContextVar[str | None] = ContextVar("source", default=None)


@contextlib.contextmanager
def untrusted(source: str | Path):
    """What a file that may be somebody else's names is not imported, unless it is this package's."""
    token = _source.set(str(source))
    try:
        yield
    finally:
        _source.reset(token)


def named(text: str, beside: Path | None = None) -> Any:
    """The object at ``module:Name`` or ``file.py:Name``.

    Modules are found from the working directory or the environment; files from the working directory, else
    from the folder ``beside`` (that of the config that names them).
    """
    if not is_named(text):
        raise NamedError(f"must be module:Name or path/to/file.py:Name, got {text!r}")
    place, _, name = text.rpartition(":")
    source = _source.get()
    if source is not None and not _own(place):
        raise UntrustedError(source, text)
    found = module(place, beside)
    if not hasattr(found, name):
        raise NamedError(f"{text!r}: {place} has no {name!r}")
    value = getattr(found, name)
    if source is not None and not f"{getattr(value, '__module__', '')}.".startswith(f"{__package__}."):
        raise UntrustedError(source, text)
    return value


def _own(place: str) -> bool:
    """Whether it is a module of this package, and no file whose path begins like one."""
    return not place.endswith(".py") and bool(re.fullmatch(rf"{__package__}(\.[^\W\d]\w*)*", place))


def module(place: str, beside: Path | None = None) -> ModuleType:
    """A module by its name, or a file run as one (once: the same file is the same module)."""
    if not place.endswith(".py"):
        if not _own(place) and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        return _run(place, lambda: importlib.import_module(place))
    path = Path(place)
    if not os.path.isfile(path) and beside is not None:
        path = beside / path
    if not os.path.isfile(path):
        raise NamedError(f"{place!r}: no such file that can be read")
    path = path.resolve()
    # A name of its own, that shadows no module of the environment.
    known = f"{path.stem}_{zlib.crc32(os.fsencode(path)):x}"
    if known in sys.modules:
        return sys.modules[known]

    def load() -> ModuleType:
        spec = importlib.util.spec_from_file_location(known, path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[known] = made  # before it runs: its classes are found by their module's name
        try:
            spec.loader.exec_module(made)
        except BaseException:
            del sys.modules[known]
            raise
        return made

    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    return _run(place, load)


def _run(place: str, load) -> ModuleType:
    try:
        return load()
    except Exception as fault:
        raise NamedError(f"{place!r} cannot be imported: {told(fault)}") from fault


def told(fault: Exception) -> str:
    """An exception of code that need not be ours, in one line: what it says, and where."""
    last = traceback.extract_tb(fault.__traceback__)[-1]
    where = f" ({Path(last.filename).name}:{last.lineno})" if last.filename.endswith(".py") else ""
    where = "" if isinstance(fault, ModuleNotFoundError) else where
    return f"{type(fault).__name__}: {(str(fault).strip().splitlines() or [''])[0][:160]}{where}"
