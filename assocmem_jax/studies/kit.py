"""What studies of many systems do with their work and with their numbers."""

import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from ..dynamics import CheckpointError
from ..dynamics.base import step_marks
from ..files import checksum, put, read
from ..progress import bar
from ..sweeps import Capacity, power_law


class Parts:
    """The parts of a long study: each is kept in ``scratch`` once it is done, and a bar counts them.

    ``with Parts(scratch, n) as part: part("name", make)`` gives the named arrays that ``make()`` returns, as
    NumPy's (or its Dataset, without attributes); if a run that was stopped has kept them, from there.
    """

    def __init__(self, scratch: Path | None, total: int):
        self.scratch, self.total = scratch, total
        self.done = self.made = 0

    def __enter__(self) -> "Parts":
        self.bar = bar(self.total, unit=" parts")
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.close()

    def __call__(self, name: str, make: Callable[[], Any]) -> Any:
        path = None if self.scratch is None else self.scratch / f"{name}.npz"
        if path is not None and os.path.lexists(path):
            found = _read(path)
        else:
            if self.done and not self.made:
                print(f"going on from part {self.done + 1} of {self.total}", file=sys.stderr)
            self.made += 1
            found = _arrays(make())
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                content = io.BytesIO()
                np.savez(content, **found)  # pyright: ignore[reportArgumentType]
                # What an archive says of itself is not under its own checksums.
                put(path, content.getvalue() + checksum(content.getvalue()).encode())
        self.done += 1
        self.bar.update()
        return _dataset(found) if _DIMS in found else found


_DIMS = "dims of a Dataset"
_CHECK = 64  # characters of a checksum


def _arrays(made: Mapping[str, Any] | xr.Dataset) -> dict[str, np.ndarray]:
    if not isinstance(made, xr.Dataset):
        return {name: np.asarray(value) for name, value in made.items()}
    found = {str(name): variable.values for name, variable in made.variables.items()}
    dims = {name: [*made[name].dims] for name in found}
    return found | {_DIMS: np.array(json.dumps([dims, [*map(str, made.coords)]]))}


def _dataset(found: dict[str, np.ndarray]) -> xr.Dataset:
    dims, coordinates = json.loads(str(found[_DIMS]))
    return xr.Dataset({name: (dims[name], found[name]) for name in dims}).set_coords(coordinates)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        raw = read(path)
    except OSError as fault:
        raise CheckpointError(f"{path}: cannot be read: {fault.strerror}") from None
    content, check = raw[:-_CHECK], raw[-_CHECK:]
    if checksum(content).encode() != check:
        raise CheckpointError(f"{path}: is cut short or altered")
    with np.load(io.BytesIO(content), allow_pickle=False) as kept:
        return dict(kept)


def looks(steps: int, every: int) -> np.ndarray:
    """Steps at which a run is looked at, as planned: one that diverges repeats its last instead."""
    return step_marks(steps, every, None)


def diverged(*status) -> list[str]:
    """What a report says of the ``status`` of its runs: one line, or none."""
    ended = sum(int((np.asarray(one) != 0).sum()) for one in status)
    return (
        [f"{ended} of {sum(map(np.size, status))} runs ended before their horizon (diverged)"]
        if ended
        else []
    )


def interval(values, axis: int = -1):
    """(mean, half-width of the 95 % Student interval) over an axis of independent trials."""
    values = np.asarray(values, float)
    n = values.shape[axis]
    from scipy import stats  # half a second

    return values.mean(axis), stats.t.ppf(0.975, n - 1) * values.std(axis, ddof=1) / n**0.5


def table(rows, *names: str):
    """A Dataset of points, one variable a column."""
    columns = np.array(rows, float).T
    return xr.Dataset({name: ("point", column) for name, column in zip(names, columns)})


def searched(found) -> tuple[float, float, float, int]:
    """(value, low, high, censored) of ``am.threshold`` (N, of ``am.capacity``); censored: 1 if it is at least
    that, −1 if at most."""
    value = found.size if isinstance(found, Capacity) else found.value
    low, high = found.interval
    return value, low, high, {"ok": 0, "above": 1, "below": -1}[found.status]


def bound(censored: float) -> str:
    """What stands before such a number."""
    return "≥ " if censored > 0 else "≤ " if censored < 0 else ""


def through(x, y, error):
    """The power law through points, or None where these determine none: fewer than three, or not finite."""
    try:
        return power_law(x, y, error)
    except ValueError as fault:
        if not getattr(fault, "refused", False):
            raise
        return None


def slope(x, part, least: float):
    """The power law through capacities, weighted by their intervals (at least this share of N), if any."""
    size = part["size"].values
    return through(x, size, np.maximum((part.high - part.low).values / 3.92, least * size))


def words(fit) -> str:
    """A slope as figures say it, with signs that can be seen."""
    return str(fit).replace("-", "−")


def shared(seeds: int) -> int:
    """Devices among which that many seeds can be split evenly."""

    return max(n for n in range(1, len(jax.devices()) + 1) if seeds % n == 0)
