"""A sweep before it runs: fn traced, the grid cut, the result laid out, the program compiled."""

import functools
import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from .. import checks, machine
from ..dynamics.alike import alike
from ..files import checksum, versions
from . import tiles
from .axes import Blocks, Grid, blocks
from .ledger import MOST_TASKS
from .reduce import OverSeeds
from .store import Layout
from .tiles import Program, Traced, Variable

# Configurations in a box, unless asked for: enough boxes to resume and to show progress, none too small.
SMALLEST_BOX, LARGEST_BOX, BOXES = 4096, 2**20, 64
BOX_BYTES = 2**27


class Plan(NamedTuple):
    """A sweep, ready to run."""

    fn: Callable
    grid: Grid
    traced: Traced
    blocks: Blocks
    tile: int
    reduce: OverSeeds | None
    predict: Callable | None
    variables: Mapping[str, Variable]
    description: Mapping[str, Any]
    units: Mapping[str, str]
    config: str | None = None

    @property
    def identity(self) -> str:
        """Of the numbers: fn as traced, every axis, seeds, tile, statistics, precision."""
        return self.description["identity"]

    @property
    def attributes(self) -> dict[str, Any]:
        kept = {k: self.description[k] for k in ("function", "identity", "tile", "precision")}
        kept |= {
            "sweep": json.dumps(self.description),
            "versions": json.dumps(
                versions("assocmem_jax", "jax", "equinox", "diffrax", "optax"), sort_keys=True
            ),
        }
        return kept if self.config is None else kept | {"config": self.config}

    @property
    def layout(self) -> Layout:
        coordinates: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        for dim, joint in self.grid.dims.items():
            coordinates |= {name: ((dim,), values) for name, values in joint.values.items()}
        coordinates |= {name: ((), np.asarray(value)) for name, value in self.grid.fixed.items()}
        if self.reduce is not None:
            coordinates |= {name: ((name,), values) for name, values in self.reduce.coordinates.items()}
        elif self.grid.seeds is not None:
            coordinates["seed"] = (("seed",), np.asarray(self.grid.seeds, np.int64))
        return Layout(self.grid, self.blocks, self.variables, coordinates, self.attributes, self.units)

    @property
    def row_bytes(self) -> int:
        """Bytes kept of a configuration."""
        return sum(v.dtype.itemsize * math.prod(v.shape) for v in self.variables.values())


def prepare(
    fn: Callable, grid: Grid, *, tile: int | str | None = None, chunk: int | None = None,
    reduce: OverSeeds | None = None, predict: Callable | None = None,
    units: Mapping[str, str] | None = None, config: str | None = None,
    kept: Mapping[str, Any] | None = None,
) -> Plan:  # fmt: skip
    """Refuse what cannot be run; decide tile and boxes (as ``kept``, the description of a store)."""
    if reduce is not None and not isinstance(reduce, OverSeeds):
        checks.refuse("reduce", "am.over_seeds(…)", repr(reduce))
    if reduce is not None and grid.seeds is None:
        checks.refuse("seeds", "given with reduce", None)
    if predict is not None:
        _costs(predict, grid)
    tiles.held(grid)
    traced = _traced(alike(fn), grid)
    variables = dict(traced.variables)
    if reduce is not None:
        variables = reduce.variables(variables)
    elif grid.seeds is not None:
        count = len(grid.seeds)
        variables = {
            name: v._replace(shape=(count, *v.shape), dims=("seed", *v.dims)) for name, v in variables.items()
        }
    results = {*variables, *(dim for v in variables.values() for dim in v.dims)}
    if taken := {*grid.dims, *grid.parameters} & results:
        checks.refuse(
            "fn", "a function whose results (and their axes) are not named like an axis", sorted(taken)
        )
    units = _units(units, results | {*grid.dims, *grid.parameters, *traced.variables}, traced, reduce)
    measured = None
    if isinstance(tile, str):
        checks.word("tile", tile, "measure")
    elif tile is not None:
        checks.count("tile", tile)
    if kept is not None and tile in (None, "measure"):
        tile, measured = kept["tile"], kept["tile_measured"]
    elif tile == "measure":
        tile, measured = _measure(traced, grid)
    elif tile is None:
        tile = tiles.default_tile(traced, grid.size * grid.replicas, machine.on_card())
    tile = checks.count("tile", tile)
    if kept is not None and tuple(kept["shape"]) == grid.shape:
        cut = Blocks(grid.shape, tuple(kept["box"]))
    else:
        lane_bytes = sum(v.dtype.itemsize * math.prod(v.shape) for v in traced.variables.values())
        most = np.clip(grid.size // BOXES, SMALLEST_BOX // grid.replicas, LARGEST_BOX // grid.replicas)
        # No smaller than a tile on every device: lanes that a tile lacks are computed all the same.
        most = max(most, tile * jax.local_device_count() // grid.replicas)
        most = max(1, min(int(most), BOX_BYTES // (lane_bytes * grid.replicas)))
        cut = blocks(grid.shape, most if chunk is None else checks.count("chunk", chunk))
    if len(cut) > MOST_TASKS:
        least = -(-grid.size // MOST_TASKS)
        checks.refuse("chunk", f"such that there are at most {MOST_TASKS:,} tasks", f"{len(cut):,} of them",
                      f"chunk={4 * least} or more")  # fmt: skip
    double = jax.config.jax_enable_x64  # type: ignore[attr-defined]
    description: dict[str, Any] = {
        "function": tiles.describe(fn), "function_digest": traced.digest,
        "shape": list(grid.shape), "box": list(cut.box), "tile": tile, "tile_measured": measured,
        "dims": {dim: {"names": list(j.values), "how": j.how} for dim, j in grid.dims.items()},
        "fixed": dict(grid.fixed), "seeds": None if grid.seeds is None else list(grid.seeds),
        "reduce": None if reduce is None else repr(reduce),
        "precision": "float64" if double else "float32",
    }  # fmt: skip
    identity = (traced.digest, grid.digest(), tile, description["reduce"], description["precision"])
    if traced.older:
        description["threefry_partitionable"] = False
        identity += ("threefry_partitionable=False",)
    description["identity"] = checksum(repr(identity).encode())
    return Plan(fn, grid, traced, cut, tile, reduce, predict, variables, description, units, config)


def _costs(predict: Any, grid: Grid) -> None:
    """Refuse what does not say a cost for each of two configurations."""
    if not callable(predict):
        checks.refuse("predict", "a function of the parameters", repr(predict))
    two = {name: np.broadcast_to(values.ravel()[0], 2) for name, (_, values) in grid.parameters.items()}
    costs = checks.array("predict", predict(**two), "a function that returns numbers")
    if costs.shape not in ((), (2,)):
        checks.refuse("predict", "a function that returns a cost for each configuration, shape (2,) for two",
                      f"shape {costs.shape}")  # fmt: skip


def _units(
    units: Mapping[str, str] | None, names: set[str], traced: Traced, reduce: OverSeeds | None
) -> dict[str, str]:
    """Units of names that there are; statistics over seeds have those of what they are of."""
    if units is None:
        return {}
    if not isinstance(units, Mapping) or not all(isinstance(w, str) for pair in units.items() for w in pair):
        checks.refuse("units", "a dict of names and their units, both text", checks.short(units))
    if strange := sorted(set(units) - names):
        checks.refuse("units", f"of names of this sweep: {', '.join(sorted(names))}", strange)
    found = dict(units)
    if reduce is not None:
        for name in set(units) & set(traced.variables):
            found |= {derived: units[name] for derived in reduce.names(name) if derived not in units}
    return found


# What of JAX's configuration is in a trace.
_SETTINGS = (
    "jax_enable_x64", "jax_default_prng_impl", "jax_default_matmul_precision", "jax_threefry_partitionable",
)  # fmt: skip
_TRACES: dict[Any, Traced] = {}
_PROGRAMS: dict[Any, Program] = {}


def _kept(cache: dict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    if key not in cache:
        while len(cache) >= 32:
            cache.pop(next(iter(cache)))
        cache[key] = make()
    return cache[key]


def _traced(fn: Callable, grid: Grid) -> Traced:
    """fn's trace, kept by what it is (dynamics/alike.py) and by the names and types it is given."""
    signature = tuple((name, str(values.dtype)) for name, (_, values) in grid.parameters.items())
    key = (fn, signature, grid.seeds is None, *(getattr(jax.config, name) for name in _SETTINGS))
    try:
        hash(key)
    except TypeError:  # a callable that cannot be a key
        return tiles.trace(fn, grid)
    return _kept(_TRACES, key, lambda: tiles.trace(fn, grid))


def program(plan: Plan) -> Program:
    """The compiled program of a plan; kept, so that sweeps of one shape compile once."""
    devices = tuple(jax.local_devices())
    axes = tuple((axis, values.shape, str(values.dtype)) for axis, values in plan.grid.parameters.values())
    traced = (plan.traced.digest, plan.traced.older)
    key = (traced, axes, plan.grid.replicas, plan.blocks, plan.tile, devices)
    make = functools.partial(Program, plan.traced, plan.grid, plan.blocks, plan.tile, devices)
    return _kept(_PROGRAMS, key, make).on(plan.grid)


def trials() -> tuple[tuple[int, ...], int]:
    """Tiles that ``tile="measure"`` tries, and on how many lanes."""
    if machine.on_card():
        return (2**14, 2**16, 2**18, 2**20), 2**20
    return (8, 32, 128, 512, 2048), 4096


def _measure(traced: Traced, grid: Grid) -> tuple[int, dict[str, float]]:
    """The fastest tile on lanes spread over the grid, and nanoseconds a lane for each tried."""
    lanes = grid.size * grid.replicas
    whole = Blocks(grid.shape, grid.shape)
    tried, most = trials()
    sample = np.linspace(0, lanes - 1, min(lanes, most)).astype(np.int32)
    found: dict[str, float] = {}
    for tile in tried:
        trial = Program(traced, grid, whole, tile, tuple(jax.local_devices()[:1]), capacity=len(sample))
        trial.run(0, sample)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            trial.run(0, sample)
            times.append(time.perf_counter() - began)
        found[str(tile)] = round(1e9 * min(times) / len(sample), 1)
    return int(min(found, key=lambda t: found[t])), found


def guard(plan: Plan, built: Program, workers: int) -> None:
    """Refuse a program that needs more memory than is free, before it runs."""
    by_tile, by_box = built.bytes_needed
    boxes = math.prod(plan.blocks.box)
    by_box += boxes * plan.row_bytes
    need, free = workers * (by_tile + by_box), machine.free(built.devices[0])
    if free is None or need <= free:
        return
    chunk = max(1, min(boxes, int(boxes * free / (4 * workers * max(by_box, 1)))))
    tile = plan.tile
    while tile > 1 and workers * by_tile * tile / plan.tile > free / 2:
        tile //= 2
    raise MemoryError(
        f"tile: the program needs {need / 2**30:.3g} GiB for {built.lanes} lanes in tiles of {plan.tile}; "
        f"{free / 2**30:.3g} GiB is free; try tile={tile}, chunk={chunk}"
    )
