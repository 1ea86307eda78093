"""A sweep on disk: a Zarr v3 group that any tool opens, and a ledger that says what in it is true.

    STORE/zarr.json                    the group; its attributes say what the sweep is
    STORE/<variable>/zarr.json, c/…    preallocated arrays over the named dims; one chunk a task
    STORE/commits/manifest.json        SHA-256 of every file written at creation
    STORE/commits/00000007.json        task 7 is done: sizes and SHA-256 of its chunks
    STORE/commits/00000007.try-1       task 7 is being computed, or its process was killed
    STORE/commits/complete.json        every task is done

A task's chunks are written by one process, synced, then committed by its record (written beside its
place, synced, renamed). Nothing is written twice; a task without a record is computed again. A mark says
in which run and process its attempt is made; an empty one, that its run died while it was at others too.
"""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..files import beside, checksum, digest, digests, put, read, sync
from .axes import Blocks, Grid, Joint
from .ledger import COMMITS, fault_of, inventory, planned, recorded, said, sealed, strangers, unsealed
from .tiles import Outcome, Variable

# Of this process, in the marks of what it is at.
_PROCESS = secrets.token_hex(8)


class StoreError(RuntimeError):
    """A store that cannot be used as asked; one line."""


class DamagedStore(StoreError):
    """A store that is there, and of which too little is right."""


class Report(NamedTuple):
    """What ``verify`` found: faults by file name, tasks to compute again, and how far the sweep is."""

    faults: list[str]
    damaged: set[int]
    committed: int
    tasks: int


class Layout(NamedTuple):
    """All that a store holds at creation."""

    grid: Grid
    blocks: Blocks
    variables: Mapping[str, Variable]
    coordinates: Mapping[str, tuple[tuple[str, ...], np.ndarray]]
    attributes: Mapping[str, Any]
    units: Mapping[str, str]

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple(self.grid.dims)


def _word(fault: OSError | ValueError) -> str:
    if isinstance(fault, FileNotFoundError):
        return "missing"
    return f"unreadable ({fault.strerror})" if isinstance(fault, OSError) else str(fault)


def create(path: Path, layout: Layout) -> None:
    """Preallocate a store beside its place and move it there; if another process was first, its stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = beside(path)
    fresh.mkdir()
    try:
        _skeleton(fresh, layout)
        try:
            os.rename(fresh, path)
        except OSError:
            if not (path / COMMITS / "manifest.json").exists():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _skeleton(path: Path, layout: Layout) -> None:
    import zarr

    scalar = [name for name, (dims, _) in layout.coordinates.items() if dims != (name,)]
    attributes = dict(layout.attributes) | ({"coordinates": " ".join(scalar)} if scalar else {})
    group = zarr.create_group(path, attributes=attributes, zarr_format=3)
    group.create_group(COMMITS)
    for name, (dims, values) in layout.coordinates.items():
        array = group.create_array(
            name, shape=values.shape, dtype=values.dtype, chunks=tuple(max(1, n) for n in values.shape),
            dimension_names=dims, fill_value=0, attributes={"units": layout.units.get(name, "1")},
            config={"write_empty_chunks": True},
        )  # fmt: skip
        array[...] = values
    for name, variable in layout.variables.items():
        group.create_array(
            name, shape=layout.grid.shape + variable.shape, dtype=variable.dtype,
            chunks=tuple(max(1, n) for n in layout.blocks.box + variable.shape),
            dimension_names=layout.dims + variable.dims, fill_value=variable.missing,
            attributes=variable_attributes(name, layout.units),
        )  # fmt: skip
    put(path / COMMITS / "manifest.json", sealed({"files": digests(path), "attributes": dict(attributes)}))


def variable_attributes(name: str, units: Mapping[str, str]) -> dict[str, Any]:
    """Units; for ``status``, what its codes mean (CF conventions)."""
    found: dict[str, Any] = {"units": units.get(name, "1")}
    if name == "status":
        found["flag_values"] = [int(code) for code in Outcome]
        found["flag_meanings"] = " ".join(code.name.lower() for code in Outcome)
    return found


class Store:
    """A store that exists. Its attributes come from the manifest, or from the group if that is damaged."""

    def __init__(self, path: Path):
        self.path = path
        self.commits = path / COMMITS
        if not os.path.isdir(path):
            raise StoreError(f"{path}: no such store that can be read")
        faults = []
        for name, section in ((f"{COMMITS}/manifest.json", unsealed), ("zarr.json", said)):
            try:
                self.attributes: dict[str, Any] = section(path / name).get("attributes", {})
                if not isinstance(self.attributes, dict) or "sweep" not in self.attributes:
                    faults.append(f"{name}: describes no sweep")
                    continue
                self.plan, self.blocks = planned(self.attributes)
                break
            except (OSError, ValueError) as fault:
                faults.append(f"{name}: {_word(fault)}")
        else:
            if all("missing" in fault or "no sweep" in fault for fault in faults):
                raise StoreError(f"{path}: is not the store of a sweep")
            raise DamagedStore(
                f"{path}: is not the store of a sweep, or both of its descriptions are damaged: "
                + "; ".join(faults)
            )
        # What the first description lacks, the second has: a fault all the same.
        self.faults = [fault for fault in faults if not fault.endswith(": missing")]
        self._arrays: dict[str, Any] = {}

    def array(self, name: str):
        import zarr

        if name not in self._arrays:
            array = zarr.open_array(self.path / name, mode="r+", zarr_format=3)
            # A chunk full of the fill value is a result too: written, not left out.
            self._arrays[name] = array.with_config({"write_empty_chunks": True, "order": "C"})
        return self._arrays[name]

    def grid(self) -> Grid:
        """The axes, read back."""
        dims = {
            dim: Joint({name: self.array(name)[...] for name in joint["names"]}, joint["how"])
            for dim, joint in self.plan["dims"].items()
        }
        seeds = None if self.plan["seeds"] is None else tuple(self.plan["seeds"])
        return Grid(dims, self.plan["fixed"], seeds)

    def record(self, task: int) -> Path:
        return self.commits / f"{task:08d}.json"

    def committed(self) -> set[int]:
        """Tasks that have a record."""
        return {int(name[:8]) for name in self._records() if int(name[:8]) in range(len(self.blocks))}

    def _records(self) -> list[str]:
        names = (entry.name for entry in os.scandir(self.commits)) if self.commits.is_dir() else ()
        return sorted(name for name in names if re.fullmatch(r"\d{8}\.json", name, re.ASCII))

    def _mark(self, task: int, k: int) -> Path:
        return self.commits / f"{task:08d}.try-{k}"

    def tries(self, task: int) -> int:
        """Attempts at a task that were neither committed nor given up: killed, or running."""
        k = 0
        while self._mark(task, k + 1).exists():
            k += 1
        return k

    def begin(self, task: int, run: str = "") -> None:
        """Mark an attempt in a run (one call of ``sweep``, all its workers)."""
        self._mark(task, self.tries(task) + 1).write_text(f"{run} {_PROCESS}", encoding="ascii")

    def deaths(self, task: int, run: str = "") -> int:
        """Attempts at a task that are known to have died of it: their process was at no other task, and nor
        was their run unless it is ``run``, which outlived them. A death in company may be another's."""
        if not self.tries(task):  # which is so of nearly all
            return 0
        groups = [[at for at, _ in group] for group in self._attempts(run).values()]
        return sum(len(group) for group in groups if set(group) == {task})

    def settle(self) -> None:
        """Before a run begins: empty the marks of runs that were at several tasks. Or the last of these to be
        committed would seem to have been alone."""
        for group in self._attempts(None).values():
            if len({at for at, _ in group}) > 1:
                for _, mark in group:
                    with contextlib.suppress(FileNotFoundError):  # of a run at work, which has just committed
                        os.truncate(mark, 0)

    def _attempts(self, run: str | None) -> dict[str, list[tuple[int, Path]]]:
        """Process of ``run``, or another run → (task, mark) of what it is or was at."""
        found: dict[str, list[tuple[int, Path]]] = {}
        for mark in self.commits.glob("*.try-*"):
            try:
                words = read(mark, 100).decode("ascii").split(" ")
                task = int(mark.name[:8])
            except (OSError, ValueError):  # committed meanwhile, or none of ours
                continue
            if len(words) == 2:
                found.setdefault(words[words[0] == run], []).append((task, mark))
        return found

    def give_up(self, task: int) -> None:
        """Forget the attempts at a task: it ended, or failed in a way that said so."""
        for k in range(self.tries(task), 0, -1):
            self._mark(task, k).unlink(missing_ok=True)

    def chunk(self, name: str, task: int) -> Path:
        """File of a task's chunk of a variable."""
        array = self.array(name)
        place = self.blocks.place(task) + (0,) * (array.ndim - len(self.blocks.shape))
        return self.path / name / array.metadata.encode_chunk_key(place)

    def write(self, task: int, values: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
        """Write a task's chunks, ``status`` last, then its record."""
        files = {}
        for name in sorted(values, key=lambda n: (n == "status", n)):
            self.array(name)[self.blocks.region(task)] = values[name]
            chunk = self.chunk(name, task)
            sync(chunk)
            sync(chunk.parent)
            files[str(chunk.relative_to(self.path))] = digest(chunk)
        record = {"task": task, "files": files, **about}
        put(self.record(task), sealed(record))
        self.give_up(task)

    def complete(self) -> None:
        """Say that every task is done."""
        if not (self.commits / "complete.json").exists():
            put(self.commits / "complete.json", sealed({"tasks": len(self.blocks)}))

    def records(self) -> Iterable[dict[str, Any]]:
        """All sound records."""
        for task in sorted(self.committed()):
            try:
                record = unsealed(self.record(task))
                recorded(record, task, self.blocks)
                yield record
            except (OSError, ValueError):
                continue

    def verify(self) -> Report:
        """Read everything back and compare."""
        faults, damaged = [], set()

        def compare(files: Mapping[str, list[Any]], task: int | None = None) -> None:
            for name, expected in files.items():
                if fault := fault_of(self.path, name, expected):
                    faults.append(f"{name}: {fault}")
                    damaged.update(() if task is None else (task,))

        try:
            compare(inventory(unsealed(self.commits / "manifest.json").get("files")))
            faults += self.faults
        except (OSError, ValueError) as fault:
            faults.append(f"{COMMITS}/manifest.json: {_word(fault)}")
        committed = self.committed()
        for name in self._records():
            task = int(name[:8])
            try:
                if task not in committed:
                    raise ValueError(f"there is no task {task} of {len(self.blocks)}")
                compare(recorded(unsealed(self.commits / name), task, self.blocks), task)
            except (OSError, ValueError) as fault:
                faults.append(f"{COMMITS}/{name}: {_word(fault)}")
                damaged.update({task} & committed)
        done = self.commits / "complete.json"
        if os.path.lexists(done):
            try:
                unsealed(done)
            except (OSError, ValueError) as fault:
                faults.append(f"{COMMITS}/complete.json: {_word(fault)}")
            for task in sorted(set(self.blocks) - committed):
                faults.append(f"{COMMITS}/{self.record(task).name}: missing")
                damaged.add(task)
        elif committed == set(self.blocks):
            faults.append(f"{COMMITS}/complete.json: missing")
        faults += [fault for name, what in strangers(self.path) if (fault := f"{name}: {what}") not in faults]
        return Report(faults, damaged, len(committed), len(self.blocks))

    def repair(self, report: Report, layout: Layout) -> None:
        """Restore what creation wrote and withdraw the records of damaged tasks, to be computed again."""
        for name, _ in list(strangers(self.path)):
            (self.path / name).unlink()
        for task in report.damaged:
            self.record(task).unlink(missing_ok=True)
            self.give_up(task)
        for name in self._records():
            if int(name[:8]) not in range(len(self.blocks)):
                (self.commits / name).unlink()
        if report.faults:
            (self.commits / "complete.json").unlink(missing_ok=True)
        fresh = beside(self.path)
        fresh.mkdir()
        try:
            _skeleton(fresh, layout)
            for file in sorted(f for f in fresh.rglob("*") if f.is_file()):
                here = self.path / file.relative_to(fresh)
                content = file.read_bytes()
                if fault_of(self.path, str(file.relative_to(fresh)), [len(content), checksum(content)]):
                    here.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(file, here)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        self._arrays.clear()
