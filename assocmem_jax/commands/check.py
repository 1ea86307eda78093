"""What ``assocmem check`` does."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..files import put, tried
from ..named import NamedError, is_named, module, named
from .common import RecordError, interruptible, reported, started, starting, written
from .out import said


def run(what: Sequence[str], samples: int, seed: int, out: Path | None, places: Sequence[str]) -> int:
    """Check, print rows as they come; returns the exit code: 1 if a corrected form fails."""
    reports = []

    def work() -> Iterable[str]:
        if out is not None:
            with written(f"--json {out}", code=2):
                if os.path.lexists(out) and not os.path.isfile(out):
                    raise OSError("what is there is no file")
                tried(out)
        started(double=True)
        ids = _registered(what, places)
        from ..statements import check

        reports.append(check(*ids, samples=samples, seed=seed, show=said))
        if out is not None:
            with written(f"--json {out}", code=2):
                put(out, reports[0].to_json() + "\n")
        return ()

    kept = lambda: "what is printed above was checked; nothing else is kept"  # noqa: E731
    return reported(lambda: interruptible(work, kept)) or (0 if reports[0].ok else 1)


def listed(what: Sequence[str], places: Sequence[str]) -> list[str]:
    """One line for each statement."""
    with starting():
        from ..statements import statements
    ids = _registered(what, places)

    try:
        found = statements(*ids)
    except ValueError as fault:
        raise RecordError(str(fault)) from None
    return [f"{s.id:<10} {s.verdict:<6} {s.where:<34} {s.says}" for s in found]


def _registered(what: Sequence[str], places: Sequence[str]) -> list[str]:
    """Ids and sources; those of the user's own (``file.py:name``) are looked up, files of ``--from`` run."""
    try:
        for place in places:
            module(place)
        return [_id(name) if is_named(name) else name for name in what]
    except NamedError as fault:
        raise RecordError(str(fault)) from fault


def _id(name: str) -> str:
    from ..statements import Statement

    found = named(name)
    if not isinstance(found, Statement):
        raise NamedError(f"{name!r}: must be a statement (@am.statement), got {found!r}")
    return found.id
