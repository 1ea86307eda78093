"""What studies of many systems do with their numbers."""

import jax
import numpy as np
import xarray as xr
from scipy import stats

from ..sweeps import power_law


def interval(values, axis: int = -1):
    """(mean, half-width of the 95 % Student interval) over an axis of independent trials."""
    values = np.asarray(values, float)
    n = values.shape[axis]
    return values.mean(axis), stats.t.ppf(0.975, n - 1) * values.std(axis, ddof=1) / n**0.5


def table(rows, *names: str):
    """A Dataset of points, one variable a column."""
    columns = np.array(rows, float).T
    return xr.Dataset({name: ("point", column) for name, column in zip(names, columns)})


def slope(x, part, least: float):
    """The power law through capacities, weighted by their intervals (at least this share of N)."""
    size = part["size"].values
    return power_law(x, size, np.maximum((part.high - part.low).values / 3.92, least * size))


def words(fit) -> str:
    """A slope as figures say it, with signs that can be seen."""
    return str(fit).replace("-", "−")


def shared(seeds: int) -> int:
    """Devices among which that many seeds can be split evenly."""

    return max(n for n in range(1, len(jax.devices()) + 1) if seeds % n == 0)
