"""Axes of a sweep: cartesian, zipped or sampled; and the blocks in which the grid is computed."""

import dataclasses
import hashlib
import math
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import checks

# Points of one axis (half a GiB, as in ``studies/study.py``); seeds, which a result and its name list.
MOST_POINTS, MOST_SEEDS = 2**26, 2**24
_OF_THE_STORE = frozenset({"commits", "plan", "zarr.json", "plan.json", "complete", "tries"})
_WANTED = "a vector of numbers (an axis), or a number"


def storable(name: str) -> bool:
    """Whether an array of a store can have this name, of a folder beside those of the store."""
    printed = name.isprintable() and "/" not in name and len(name.encode()) <= 100
    return bool(name) and printed and not name.startswith(".") and name not in _OF_THE_STORE


@dataclasses.dataclass(frozen=True)
class Uniform:
    """A law for ``sampled``: uniform on [low, high]."""

    low: float | int
    high: float | int

    def __post_init__(self):
        _ordered(self, -math.inf)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self.low + (self.high - self.low) * u


@dataclasses.dataclass(frozen=True)
class LogUniform:
    """A law for ``sampled``: log x is uniform on [log low, log high]."""

    low: float | int
    high: float | int

    def __post_init__(self):
        _ordered(self, 0.0)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self.low * (self.high / self.low) ** u


@dataclasses.dataclass(frozen=True)
class Integers:
    """A law for ``sampled``: whole numbers from low to high, both included, equally likely."""

    low: int
    high: int

    def __post_init__(self):
        _ordered(self, -math.inf)
        if any(end != int(end) or not -(2**31) <= end < 2**31 for end in (self.low, self.high)):
            checks.refuse("Integers", "between whole numbers of 32 bits", f"({self.low!r}, {self.high!r})")

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return np.minimum(np.floor(self.low + (self.high + 1 - self.low) * u), self.high).astype(np.int32)


def _ordered(law: Any, least: float) -> None:
    kind, ends = type(law).__name__, f"({law.low!r}, {law.high!r})"
    known = all(isinstance(v, float | int) and abs(v) <= sys.float_info.max for v in (law.low, law.high))
    if not known or not least < law.low < law.high:
        bounds = "finite numbers low < high" + (", both positive" if least == 0 else "")
        checks.refuse(kind, bounds, ends)
    if not (law.high / law.low if least == 0 else law.high - law.low) <= sys.float_info.max:
        checks.refuse(kind, "on a range that float64 can span", ends, "bring the ends closer")


@dataclasses.dataclass(frozen=True)
class Joint:
    """One dimension along which several parameters vary together; made by ``zipped`` and ``sampled``."""

    values: Mapping[str, np.ndarray]
    how: str


def zipped(**values: Any) -> Joint:
    """One axis on which parameters move together: ``am.sweep(fn, pair=am.zipped(alpha=…, p1=…))``."""
    if not values:
        checks.refuse("zipped", "given at least one parameter", "none")
    arrays = {name: _vector(name, value) for name, value in values.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        checks.refuse("zipped", "of parameters of one length", lengths)
    return Joint(arrays, "zipped")


def sampled(
    n: int, *, method: str = "sobol", seed: int = 0, **laws: Uniform | LogUniform | Integers
) -> Joint:
    """One axis of ``n`` points drawn from laws: ``point=am.sampled(4096, alpha=am.Uniform(.5, 1))``.

    ``method``: "sobol" (scrambled Sobol points: even cover, best for n a power of two) or "random".
    Points depend on n, seed, method and the order of the laws only.
    """
    if not laws:
        checks.refuse("sampled", "given at least one law", "none", "alpha=am.Uniform(0, 1)")
    return Joint(drawn(n, laws, method, seed), f"{method}, seed {seed}")


def drawn(n: int, laws: Mapping[str, Any], method: str = "sobol", seed: int = 0) -> dict[str, np.ndarray]:
    """The points of ``sampled``, for laws of any name."""
    n = checks.count("n", n)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        checks.refuse("seed", "a whole number of at least 0", checks.short(seed))
    if n > MOST_POINTS:
        checks.refuse("n", f"at most {MOST_POINTS:,} points of one axis", n)
    for name, law in laws.items():
        if not isinstance(law, Uniform | LogUniform | Integers):
            checks.refuse(name, "a Uniform, LogUniform or Integers", repr(law))
    if checks.word("method", method, "sobol", "random") == "sobol":
        from scipy.stats import qmc

        with warnings.catch_warnings():  # that n is best a power of two is said above
            warnings.simplefilter("ignore", UserWarning)
            points = qmc.Sobol(len(laws), rng=np.random.default_rng(seed)).random(n)
    else:
        points = np.random.default_rng(seed).random((n, len(laws)))
    return {name: law.quantile(points[:, k]) for k, (name, law) in enumerate(laws.items())}


def _vector(name: str, value: Any) -> np.ndarray:
    if not checks.concrete(value):
        checks.refuse(name, _WANTED, "traced values", "sweep outside of jit")
    array = np.asarray(checks.array(name, value, _WANTED))
    if array.ndim != 1 or not array.size:
        checks.refuse(name, _WANTED, f"{array.dtype} of shape {array.shape}")
    if array.dtype.kind == "f":
        checks.finite(name, array)
        return array.astype(np.float64)
    if array.dtype.kind == "b":
        return array
    if array.min() < -(2**31) or array.max() >= 2**31:
        checks.refuse(name, "within 32-bit integers", f"{array.min()} to {array.max()}", "use floats")
    return array.astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Grid:
    """The configurations: dims and their parameters, parameters held fixed, seeds."""

    dims: Mapping[str, Joint]
    fixed: Mapping[str, Any]
    seeds: tuple[int, ...] | None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(next(iter(joint.values.values()))) for joint in self.dims.values())

    @property
    def size(self) -> int:
        """Configurations, seeds not counted."""
        return math.prod(self.shape)

    @property
    def replicas(self) -> int:
        return 1 if self.seeds is None else len(self.seeds)

    @property
    def parameters(self) -> dict[str, tuple[int | None, np.ndarray]]:
        """Parameter → (number of its dim, or None if fixed; its values)."""
        found: dict[str, tuple[int | None, np.ndarray]] = {}
        for k, joint in enumerate(self.dims.values()):
            found |= {name: (k, array) for name, array in joint.values.items()}
        return found | {name: (None, np.asarray(value)) for name, value in self.fixed.items()}

    def digest(self) -> str:
        """SHA-256 of everything above."""
        mixed = hashlib.sha256()
        for dim, joint in self.dims.items():
            for name, array in joint.values.items():
                mixed.update(f"{dim}.{name}:{array.dtype}:{array.shape}".encode() + array.tobytes())
        mixed.update(repr((sorted(self.fixed.items()), self.seeds)).encode())
        return mixed.hexdigest()


def grid(axes: Mapping[str, Any], seeds: Any) -> Grid:
    """Sort what a caller of ``sweep`` gave into dims, fixed parameters and seeds."""
    dims: dict[str, Joint] = {}
    fixed: dict[str, Any] = {}
    for name, value in axes.items():
        if isinstance(value, Joint):
            dims[name] = value
        elif isinstance(value, bool | int | float) or getattr(value, "ndim", None) == 0:
            known = value if isinstance(value, bool) else checks.array(name, value, _WANTED)
            fixed[name] = _vector(name, np.asarray(known)[None])[0].item()
        else:
            dims[name] = Joint({name: _vector(name, value)}, "cartesian")
    if not dims and seeds is None:
        checks.refuse(
            "axes", "at least one vector of values (or seeds)", "none", "alpha=jnp.linspace(0, 1, 9)"
        )
    names = [name for joint in dims.values() for name in joint.values] + list(fixed)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        checks.refuse("axes", "of parameters that appear once", f"{sorted(twice)} more than once")
    for name in {"key", "seed"} & {*names, *dims}:
        checks.refuse("axes", "free of the names key and seed", name, "use seeds=…; fn then takes key")
    for name in set(names) & {dim for dim, joint in dims.items() if dim not in joint.values}:
        checks.refuse(name, "the name of a dimension or of a parameter", "both")
    for name in {*names, *dims}:
        if not storable(name) or re.search(r"\s", name):
            checks.refuse(
                "axes", "named as a store can name them: without spaces and slashes, unlike its own files",
                checks.short(name), "rename it",
            )  # fmt: skip
    if seeds is not None:
        if isinstance(seeds, float | str) or (hasattr(seeds, "__index__") and not np.ndim(seeds)):
            if (many := checks.count("seeds", seeds)) > MOST_SEEDS:
                checks.refuse("seeds", f"at most {MOST_SEEDS:,}", many, "sweep over an axis of them")
            seeds = range(many)
        listed = checks.numbers("seeds", seeds, "a number of seeds, or distinct seeds")
        checks.shaped("seeds", listed, "a number of seeds, or a list of them", 1)
        seeds = tuple(checks.count("seeds", seed, 0) for seed in listed.tolist())
        if not seeds or len(set(seeds)) < len(seeds):
            checks.refuse("seeds", "a number of seeds, or distinct seeds", seeds)
    found = Grid(dims, fixed, seeds)
    if found.size * found.replicas >= 2**31:
        checks.refuse(
            "axes", "of fewer than 2³¹ configurations", found.size * found.replicas, "split the sweep"
        )
    return found


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The grid cut into equal boxes (smaller at the far edges): one box is one task, one stored chunk."""

    shape: tuple[int, ...]
    box: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(-(-n // b) for n, b in zip(self.shape, self.box))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def place(self, task: int) -> tuple[int, ...]:
        """The box's number along every dim."""
        return tuple(int(k) for k in np.unravel_index(task, self.counts)) if self.counts else ()

    def region(self, task: int) -> tuple[slice, ...]:
        """The box as slices of the grid."""
        at = zip(self.place(task), self.box, self.shape)
        return tuple(slice(k * b, min((k + 1) * b, n)) for k, b, n in at)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))


def blocks(shape: tuple[int, ...], most: int) -> Blocks:
    """Boxes of at most ``most`` configurations, whole along the last dims, so that a box is one
    contiguous run of the flattened grid."""
    box = [1] * len(shape)
    room = max(1, most)
    for k in reversed(range(len(shape))):
        parts = -(-shape[k] // room)
        box[k] = -(-shape[k] // parts)  # even parts, not full ones and a rest
        if parts > 1:
            break
        room //= shape[k]
    return Blocks(shape, tuple(box))
