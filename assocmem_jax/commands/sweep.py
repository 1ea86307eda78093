"""Sweeps in a store: run, look at, verify. What ``assocmem sweep`` does."""

import contextlib
import os
import re
from pathlib import Path
from typing import Any

from ..files import tried
from ..named import untrusted
from ..studies.config import ConfigError, load_text
from ..studies.study import Study, SweepStudy
from .common import RecordError, draw, interruptible, prepare, starting, written


def run(study: Study, out: Path, *, shard: str | None, force: bool, devices: int | None) -> list[str]:
    """Compute what the store lacks; draw the figure when nothing does."""
    part, stem = _shard(shard), _stem(out)
    if out.name.removesuffix(".zarr") in ("", ".", ".."):
        raise RecordError(f"--out must have a name, beside which its figure goes, got {out}")
    if force and part is not None:
        raise RecordError(f"--force with --shard: each job would remove what others did; remove {out} first")
    options = _ready(study, devices)
    from .. import sweeps

    with written(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        tried(out)
    for ending in (".png", ".pdf"):  # of the figure that is drawn when all is computed
        place = stem.with_name(stem.name + ending)
        with written(place):
            tried(place)
        if os.path.isdir(place):
            raise RecordError(f"{place} is a directory, where the figure goes: choose another --out")
    kwargs = {"store": out, "shard": part, "overwrite": force, "config": study.canonical()}
    with _refusals():
        before = _committed(out) if part is not None and os.path.exists(out) and not force else set()
        data = interruptible(lambda: sweeps.sweep(**options, **kwargs, progress=True), lambda: _kept(out))
        if part is not None and _committed(out, part) <= before:
            # Who did nothing draws nothing: of a job array each would write the same figure.
            return [*_state(out), f"  nothing to do for shard {shard}"]
    return [*_state(out), *_finish(study, data, out)]


def _committed(out: Path, part: tuple[int, int] = (0, 1)) -> set[int]:
    """Which tasks of a shard are committed; of all unless one is given."""
    from ..sweeps.store import Store

    store = Store(out)
    return store.committed() & set(list(store.blocks)[part[0] :: part[1]])


def _kept(out: Path) -> str:
    from ..sweeps.store import Store, StoreError

    try:
        store = Store(out)
        done = f"{sum(1 for _ in store.records())} of {len(store.blocks)} tasks are kept in {out}"
    except StoreError:
        return "nothing was kept: no task was done"
    return f"{done}; the same command goes on from there"


def status(out: Path) -> list[str]:
    """How far a store is."""
    _there(out)
    with _refusals():
        return _state(out)


def verify(out: Path, *, repair: bool = False, trust: bool = False) -> list[str]:
    """Read every byte back; raises ``RecordError`` of code 3 if any is wrong, unless repaired.

    ``trust``: to repair, import and run what the store's own config names."""
    _there(out)
    from ..sweeps.store import Store

    with _refusals():
        store = Store(out)
        found = store.verify()
        lines = [f"{out}: {fault}" for fault in found.faults]
        if lines and not repair:
            total = f"{len(lines)} faults; {len(found.damaged)} of {found.tasks} tasks are damaged"
            raise RecordError(*lines, f"{total} (--repair computes only those again)", code=3)
        if not lines:
            return [f"{out}: {found.committed} of {found.tasks} tasks committed, every byte as written"]
        text = store.attributes.get("config")
        if text is None:
            raise RecordError(
                f"{out}: was not made by a config: am.sweep(…, store=…, repair=True) repairs it"
            )
        with contextlib.nullcontext() if trust else untrusted(out):
            try:
                study = load_text(text, f"{out}/zarr.json")
            except ConfigError as fault:
                raise RecordError(f"{out}: its config is not one of this version: {fault.lines[0]}") from None
            options = _ready(study, None)
        from .. import sweeps

        repaired = {"store": out, "repair": True, "config": study.canonical()}
        interruptible(lambda: sweeps.sweep(**options, **repaired), lambda: _kept(out))
        again = Store(out).verify()
    if again.faults:
        raise RecordError(*(f"{out}: {fault}" for fault in again.faults), code=3)
    return [*lines, f"repaired: {len(found.damaged)} of {found.tasks} tasks were computed again"]


def _there(out: Path) -> None:
    """Said before JAX is imported, which may fail."""
    if not os.path.exists(out):
        raise RecordError(f"{out}: no such store that can be read")
    with starting():
        from .. import sweeps  # noqa: F401


def _ready(study: Study, devices: int | None) -> dict[str, Any]:
    """JAX set up for this study, and the arguments of its sweep."""
    if not isinstance(study, SweepStudy):
        raise RecordError(f"{study.study} is not a sweep; assocmem run runs it")
    prepare(study, devices, parallel=True)
    return study.options()


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,18})/([0-9]{1,18})", text)
    if not found or not int(found[1]) < int(found[2]):
        raise RecordError(f"--shard must be I/N with 0 ≤ I < N, got {text!r}")
    return int(found[1]), int(found[2])


class _refusals:
    """Refusals of the sweep, as the one line that the command prints."""

    def __enter__(self):
        return self

    def __exit__(self, kind, fault, trace):
        from ..sweeps import StoreError, SweepError
        from ..sweeps.store import DamagedStore

        if isinstance(fault, DamagedStore):
            raise RecordError(str(fault), code=3) from None
        if isinstance(fault, StoreError | SweepError | MemoryError | ValueError):
            raise RecordError(str(fault)) from None


def _state(out: Path) -> list[str]:
    from ..sweeps.store import Store

    store = Store(out)
    records = list(store.records())
    outcomes: dict[str, int] = {}
    failures: list[str] = []
    for record in records:
        for name, count in record["outcomes"].items():
            outcomes[name] = outcomes.get(name, 0) + count
        failures += [f"task {record['task']}, lane {k}: {text}" for k, text in record["failures"].items()]
    seconds = sum(record["seconds"] for record in records)
    plan, shape = store.plan, " × ".join(map(str, store.blocks.shape))
    lines = [
        f"{out}: {len(records)} of {len(store.blocks)} tasks committed, {seconds:.1f} s of work",
        f"  {plan['function']}, {shape}, tile {plan['tile']}, {plan['precision']}, {plan['identity'][:12]}",
        "  lanes: " + (", ".join(f"{n:,} {name}" for name, n in sorted(outcomes.items())) or "none yet"),
    ]
    begun = sorted({int(p.name[:8]) for p in store.commits.glob("*.try-*")})
    if begun:
        lines.append(f"  begun and not committed (running, or killed): tasks {begun[:8]}")
    return lines + [f"  failed: {line}" for line in failures[:8]]


def _finish(study: Study, data, out: Path) -> list[str]:
    from ..sweeps import Outcome, StoreError
    from ..sweeps.reading import beyond, sound

    try:
        with sound(out):
            if (data.status == int(Outcome.PENDING)).any():
                return [f"  some tasks are pending: `assocmem sweep status {out}`"]
            if excess := beyond(data):
                return [f"  too large to be drawn at once: {excess}; am.open_store({str(out)!r}) reads parts"]
            data = data.load()
    except StoreError as fault:
        raise RecordError(f"{fault}; `assocmem sweep verify {out} --repair` mends it", code=3) from None
    stem = _stem(out)
    with written(stem.with_name(f"{stem.name}.png")):
        draw(study, data, stem)
    return [*study.report(data), f"figure: {stem}.png"]


def _stem(out: Path) -> Path:
    """Where the figure of a store goes, but for its ending."""
    return out.parent / out.name.removesuffix(".zarr")
