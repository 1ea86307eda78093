"""What a store says of itself: descriptions that carry their checksum, and what in them can be true.

A store may come from anybody. What it says is read as data: no code in it is run, no name in it leads out of
it, no number in it is taken for granted.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files import checksum, read
from .axes import Blocks
from .tiles import Outcome

COMMITS = "commits"
# Most tasks of a store: each is a file in one folder, and a number that is held.
MOST_TASKS = 2**20
# Longest description, in bytes: a manifest of 10⁵ names.
_LONGEST = 2**26


def sealed(record: Mapping[str, Any]) -> str:
    """JSON that carries its own checksum."""
    body = json.dumps(dict(record), sort_keys=True)
    check = checksum(body.encode())
    return json.dumps({**record, "check": check}, sort_keys=True, indent=1) + "\n"


def said(path: Path) -> dict[str, Any]:
    """The table in a file of JSON; ``ValueError`` in a word if it is none, ``OSError`` if it is not read."""
    return _table(read(path, _LONGEST))


def _table(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ValueError("corrupt (no JSON)") from None
    if not isinstance(found, dict):
        raise ValueError("corrupt (no table)")
    return found


def unsealed(path: Path) -> dict[str, Any]:
    """The record in a file, if its checksum and its form are right; else ``ValueError``."""
    text = read(path, _LONGEST)
    try:
        record = _table(text)
        del record["check"]
    except (ValueError, KeyError):
        raise ValueError("corrupt (checksum)") from None
    if sealed(record).encode() != text:  # which computes the check anew
        raise ValueError("corrupt (checksum)")
    return record


def planned(attributes: Any) -> tuple[dict[str, Any], Blocks]:
    """(the plan of a sweep, its boxes) of the attributes of a store; ``ValueError`` where there is none."""
    try:
        plan = json.loads(attributes["sweep"])
        shape, box = plan["shape"], plan["box"]
        sound = (
            _all(shape, int)
            and _all(box, int)
            and len(shape) == len(box)
            and all(1 <= b <= n for b, n in zip(box, shape))
            and math.prod(shape) < 2**31
            and len(Blocks(tuple(shape), tuple(box))) <= MOST_TASKS
            and isinstance(plan["fixed"], dict)
            and all(type(value) in (bool, int, float) for value in plan["fixed"].values())
            and (plan["seeds"] is None or _all(plan["seeds"], int))
            and all(_all(dim["names"], str) and isinstance(dim["how"], str) for dim in plan["dims"].values())
            and len(plan["dims"]) <= len(shape) <= len(plan["dims"]) + 1
            and all(isinstance(plan[name], str) for name in ("function", "function_digest", "identity"))
            and plan["precision"] in ("float32", "float64")
            and type(plan["tile"]) is int
            and type(plan.get("threefry_partitionable", True)) is bool
            and {"reduce", "tile_measured"} <= plan.keys()
            and isinstance(attributes["versions"], str)
            and isinstance(attributes.get("config", ""), str)
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        raise ValueError("corrupt (its plan)") from None
    if not sound:
        raise ValueError("corrupt (its plan)")
    return plan, Blocks(tuple(shape), tuple(box))


def inventory(found: Any) -> dict[str, list[Any]]:
    """File → [size, checksum] of a manifest or a record; ``ValueError`` if it is none."""
    if not isinstance(found, dict) or not all(map(_listed, found.items())):
        raise ValueError("corrupt (its files)")
    return found


def recorded(record: Mapping[str, Any], task: int, blocks: Blocks) -> dict[str, list[Any]]:
    """The chunks of a record; ``ValueError`` if it cannot be the record of this task."""
    try:
        counted = record["outcomes"].items()
        failed = record["failures"].items()
        sound = (
            record["task"] == task
            and all(name.upper() in Outcome.__members__ and type(n) is int and n >= 0 for name, n in counted)
            and all(isinstance(lane, str) and isinstance(text, str) for lane, text in failed)
            and type(record["seconds"]) in (int, float)
            and math.isfinite(record["seconds"])
        )
    except (KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise ValueError("corrupt (no record of this task)")
    files = inventory(record.get("files"))
    place = [str(k) for k in blocks.place(task)]
    for name in files:
        parts = name.split("/")
        if parts[1:2] != ["c"] or parts[2 : 2 + len(place)] != place or set(parts[2 + len(place) :]) - {"0"}:
            raise ValueError("corrupt (names what is no chunk of this task)")
    if "status" not in {name.partition("/")[0] for name in files}:
        raise ValueError("corrupt (names no status)")
    return files


def walked(root: Path, name: str = "") -> Iterator[tuple[str, str | None]]:
    """(name, what is wrong with it) of all in a store but folders: what is no file may lead anywhere."""
    try:
        entries = os.scandir(root)
    except OSError as fault:
        yield name.rstrip("/"), f"unreadable ({fault.strerror})"
        return
    with entries:
        for entry in entries:
            here = f"{name}{entry.name}"
            if entry.is_symlink():
                yield here, "a link out of the store"
            elif entry.is_dir():
                yield from walked(Path(entry), f"{here}/")
            else:
                gone = not os.path.lexists(entry)  # meanwhile: moved into its place
                yield here, None if entry.is_file() or gone else "a pipe or a device"


def strangers(root: Path) -> Iterator[tuple[str, str]]:
    """(name, what it is) of everything in a store that is no file and no folder."""
    return ((name, what) for name, what in walked(root) if what is not None)


def fault_of(root: Path, name: str, expected: list[Any]) -> str | None:
    """What is wrong with a file of a store, in a word."""
    path, above = root / name, Path(name).parents
    try:
        if path.is_symlink() or any((root / folder).is_symlink() for folder in above if folder.name):
            return "a link out of the store"
        size = path.lstat().st_size
        if path.is_file() and size != expected[0]:
            return f"corrupt ({size} bytes, {expected[0]} were written)"
        content = read(path, expected[0])
    except FileNotFoundError:
        return "missing"
    except OSError as fault:
        return f"unreadable ({fault.strerror})"
    return None if checksum(content) == expected[1] else "corrupt (checksum)"


def _all(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)


def _listed(item: tuple[Any, Any]) -> bool:
    """Whether a name stays inside the store, and what is said of it is a size and a checksum."""
    name, about = item
    return (
        isinstance(name, str)
        and all(part.isprintable() and part not in ("", ".", "..") for part in name.split("/"))
        and isinstance(about, list)
        and [type(part) for part in about] == [int, str]
        and about[0] >= 0
    )
