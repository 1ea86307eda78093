"""Which studies there are: those of the wings, the sweep of any function, and the user's own."""

from pathlib import Path

from ..named import NamedError, is_named, named
from ..systems import Entry, opened
from ..systems import entries as of_wings
from .study import Study

_ENGINE = {
    "sweep": Entry("assocmem_jax.studies.user:UserSweep", "any function of yours over any axes (a sweep)")
}


def entries() -> dict[str, Entry]:
    """Name in a config → study."""
    return of_wings() | _ENGINE


def schema(name: str, beside: Path | None = None) -> type[Study]:
    """The class of a study by its name in a config; ``beside``: the config's folder.

    Raises ``KeyError`` for a name that is none, ``NamedError`` for a user's own that cannot be had.
    """
    if name in entries():
        return opened(entries()[name].schema)
    if not is_named(name):
        raise KeyError(name)
    found = named(name, beside)
    if not (isinstance(found, type) and issubclass(found, Study)):
        raise NamedError(f"{name!r}: must be a subclass of assocmem_jax.studies.study.Study, got {found!r}")
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise NamedError(f"{name!r}: must have the methods {', '.join(missing)}")
    return found
