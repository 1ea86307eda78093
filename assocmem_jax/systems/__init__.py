"""The systems of the papers, a wing each; what every manifest says, and how it is found.

A wing is a folder here whose ``__init__.py`` holds one ``Wing``, its manifest: public names, sources,
statements, studies. Nothing else lists systems: ``am.``, ``assocmem list``, ``check``, the theory page and
the small runs of the tests read manifests. Reading one imports the standard library only.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Source:
    """Where statements come from: the first part of their ids. ``printed``: a paper, or found here."""

    title: str
    printed: bool = True


@dataclass(frozen=True)
class Entry:
    """A study: its schema as ``module:Class`` (light: imports no JAX), one line, and for each config that
    comes with the package what ``--set`` makes it small for tests."""

    schema: str
    about: str
    small: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Wing:
    """The manifest of a system. Modules are named from its folder: ``observe``, ``statements.slides``.

    - ``names``: module → the public names it holds, words of one string; ``theory``: name in
      ``am.theory`` → module. ``first``: those of the names that stand at the top (``am.LinearMemory``).
    - ``sources``: short name → ``Source``. ``statements``: modules that register them.
    - ``studies``: name in a config → ``Entry``.
    - ``place``: wings are listed by it.
    """

    package: str
    place: int
    names: Mapping[str, str]
    first: str = ""
    theory: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    statements: tuple[str, ...] = ()
    studies: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its folder."""
        return self.package.rpartition(".")[2]

    def homes(self) -> dict[str, str]:
        """Public name → ``module:name``."""
        return {
            name: f"{self.package}.{module}:{name}"
            for module, names in self.names.items()
            for name in names.split()
        }


def opened(home: str) -> Any:
    """The object at ``module:name``, or the module."""
    module, _, name = home.partition(":")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


def lazily(homes: Mapping[str, str], namespace: dict[str, Any]) -> tuple[Callable, Callable]:
    """(``__getattr__``, ``__dir__``) of a module whose public names are loaded on first use (SPEC 1)."""

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
        namespace[name] = opened(homes[name])
        return namespace[name]

    return get, lambda: sorted(homes)


@functools.cache
def wings() -> dict[str, Wing]:
    """Folder → manifest, of every wing there is."""
    folders = [found.name for found in pkgutil.iter_modules(__path__) if found.ispkg]
    every = [importlib.import_module(f".{folder}", __name__).WING for folder in folders]
    return {wing.name: wing for wing in sorted(every, key=lambda wing: wing.place)}


@functools.cache
def configs() -> dict[str, Path]:
    """Name → file of every config that comes with the package: those in ``configs/`` of each wing."""
    return {
        name: Path(*importlib.import_module(wing.package).__path__) / "configs" / f"{name}.toml"
        for wing in wings().values()
        for entry in wing.studies.values()
        for name in entry.small
    }


@functools.cache
def sources() -> dict[str, Source]:
    """Short name → source, of every wing: papers first, then what was found here."""
    found = {name: source for wing in wings().values() for name, source in wing.sources.items()}
    return dict(sorted(found.items(), key=lambda item: not item[1].printed))


@functools.cache
def entries() -> dict[str, Entry]:
    """Name in a config → study, of every wing; schemas with their full names."""
    return {
        name: Entry(f"{wing.package}.{entry.schema}", entry.about, entry.small)
        for wing in wings().values()
        for name, entry in wing.studies.items()
    }
