"""A sweep on disk: a Zarr v3 group that any tool opens, and a ledger that says what in it is true.

    STORE/zarr.json                    the group; its attributes say what the sweep is
    STORE/<variable>/zarr.json, c/…    preallocated arrays over the named dims; one chunk a task
    STORE/commits/manifest.json        SHA-256 of every file written at creation
    STORE/commits/00000007.json        task 7 is done: sizes and SHA-256 of its chunks
    STORE/commits/00000007.try-1       task 7 is being computed, or its process was killed
    STORE/commits/complete.json        every task is done

A task's chunks are written by one process, synced, then committed by its record (written beside its
place, synced, renamed). Nothing is written twice; a task without a record is computed again.
"""

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..files import checksum, put, sync
from .axes import Blocks, Grid, Joint
from .tiles import Outcome, Variable

COMMITS = "commits"


class StoreError(RuntimeError):
    """A store that cannot be used as asked; one line."""


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


def sealed(record: Mapping[str, Any]) -> str:
    """JSON that carries its own checksum."""
    body = json.dumps(dict(record), sort_keys=True)
    check = checksum(body.encode())
    return json.dumps({**record, "check": check}, sort_keys=True, indent=1) + "\n"


def unsealed(text: str) -> dict[str, Any]:
    """The record, if its checksum and its form are right; else ``ValueError``."""
    record = json.loads(text)
    if not isinstance(record, dict) or "check" not in record:
        raise ValueError("no checksum")
    del record["check"]
    if sealed(record) != text:  # which computes the check anew
        raise ValueError("checksum")
    return record


def _digest(path: Path) -> list[Any]:
    content = path.read_bytes()
    return [len(content), checksum(content)]


def _check(path: Path, expected: list[Any]) -> str | None:
    """What is wrong with a file, in a word."""
    try:
        size, digest = _digest(path)
    except FileNotFoundError:
        return "missing"
    except OSError as fault:
        return f"unreadable ({fault.strerror})"
    if size != expected[0]:
        return f"corrupt ({size} bytes, {expected[0]} were written)"
    return None if digest == expected[1] else "corrupt (checksum)"


def create(path: Path, layout: Layout) -> None:
    """Preallocate a store beside its place and move it there; if another process was first, its stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        os.chmod(fresh, 0o755)
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
    files = {str(f.relative_to(path)): _digest(f) for f in sorted(path.rglob("*")) if f.is_file()}
    put(path / COMMITS / "manifest.json", sealed({"files": files, "attributes": dict(attributes)}))


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
        if not path.exists():
            raise StoreError(f"{path}: no such store")
        manifest = self.commits / "manifest.json"
        try:
            self.attributes = unsealed(manifest.read_text(encoding="utf-8"))["attributes"]
        except (OSError, ValueError, KeyError):
            try:
                self.attributes = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
            except (OSError, ValueError, KeyError):
                raise StoreError(
                    f"{path}: is not the store of a sweep, or both of its descriptions are damaged"
                ) from None
        if "sweep" not in self.attributes:
            raise StoreError(f"{path}: is not the store of a sweep")
        self.plan: dict[str, Any] = json.loads(self.attributes["sweep"])
        self.blocks = Blocks(tuple(self.plan["shape"]), tuple(self.plan["box"]))
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
        return {int(p.stem) for p in self.commits.glob("[0-9]*.json")}

    def _mark(self, task: int, k: int) -> Path:
        return self.commits / f"{task:08d}.try-{k}"

    def tries(self, task: int) -> int:
        """Attempts at a task that were neither committed nor given up: killed, or running."""
        k = 0
        while self._mark(task, k + 1).exists():
            k += 1
        return k

    def begin(self, task: int) -> int:
        """Mark an attempt; returns how many there were before it."""
        before = self.tries(task)
        self._mark(task, before + 1).touch()
        return before

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
            files[str(chunk.relative_to(self.path))] = _digest(chunk)
        record = {"task": task, "files": files, "host": socket.gethostname(), **about}
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
                yield unsealed(self.record(task).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue

    def verify(self) -> Report:
        """Read everything back and compare."""
        faults: list[str] = []
        damaged: set[int] = set()
        try:
            files = unsealed((self.commits / "manifest.json").read_text(encoding="utf-8"))["files"]
        except FileNotFoundError:
            files = {}
            faults.append(f"{COMMITS}/manifest.json: missing")
        except (OSError, ValueError, KeyError):
            files = {}
            faults.append(f"{COMMITS}/manifest.json: corrupt (checksum)")
        for name, expected in files.items():
            if fault := _check(self.path / name, expected):
                faults.append(f"{name}: {fault}")
        committed = self.committed()
        for task in sorted(committed):
            record = self.record(task)
            try:
                files = unsealed(record.read_text(encoding="utf-8"))["files"]
            except (OSError, ValueError, KeyError):
                faults.append(f"{COMMITS}/{record.name}: corrupt (checksum)")
                damaged.add(task)
                continue
            for name, expected in files.items():
                if fault := _check(self.path / name, expected):
                    faults.append(f"{name}: {fault}")
                    damaged.add(task)
        done = self.commits / "complete.json"
        if done.exists():
            try:
                unsealed(done.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                faults.append(f"{COMMITS}/complete.json: corrupt (checksum)")
            for task in sorted(set(self.blocks) - committed):
                faults.append(f"{COMMITS}/{self.record(task).name}: missing")
                damaged.add(task)
        elif committed == set(self.blocks):
            faults.append(f"{COMMITS}/complete.json: missing")
        return Report(faults, damaged, len(committed), len(self.blocks))

    def repair(self, report: Report, layout: Layout) -> None:
        """Restore what creation wrote and withdraw the records of damaged tasks, to be computed again."""
        for task in report.damaged:
            self.record(task).unlink(missing_ok=True)
            self.give_up(task)
        if report.faults:
            (self.commits / "complete.json").unlink(missing_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=self.path.parent, prefix=f".{self.path.name}-"))
        try:
            _skeleton(fresh, layout)
            for file in sorted(f for f in fresh.rglob("*") if f.is_file()):
                here = self.path / file.relative_to(fresh)
                if not here.exists() or here.read_bytes() != file.read_bytes():
                    here.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(file, here)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        self._arrays.clear()
