"""One compiled program for a whole sweep: tiles of lanes, one shape, the same bits however they are cut.

A lane is one (configuration, seed). Lanes run in tiles of a fixed size: inside a tile by ``vmap``,
tile after tile in a loop, and the tiles of a box in turn on all local devices (``shard_map``). A
compiled tile does the same arithmetic whichever lanes are in it, so results do not depend on the
box, the order or the number of devices; they do depend on the tile size, which is therefore part of
a sweep's identity.
"""

import copy
import enum
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec

from .. import checks
from ..dynamics import Status, Trajectory, programs
from ..dynamics.batching import OWN_CLOCK
from ..observe.observable import labels
from .axes import Blocks, Grid, storable


class Outcome(enum.IntEnum):
    """What became of a configuration: the codes of a sweep's ``status`` variable."""

    PENDING = 0
    OK = 1
    DIVERGED = 2
    FAILED = 3
    STEP_LIMIT = 4
    NON_FINITE = 5


_OF_STATUS = {
    Status.OK: Outcome.OK,
    Status.HIT: Outcome.OK,
    Status.STEP_LIMIT: Outcome.STEP_LIMIT,
    Status.DIVERGED: Outcome.DIVERGED,
    Status.NON_FINITE: Outcome.NON_FINITE,
}
# On CPU a tile's loop state should stay in the first-level cache (measured: benchmarks/bench_tiles.py).
_RESERVED = frozenset({"time", "step", "seed"})
TILE_BYTES = 24 * 1024
SMALLEST_TILE, LARGEST_TILE = 8, 1024
# On a card in its second-level cache (measured: benchmarks/gpu.py).
CARD_BYTES, CARD_TILE = 32 * 2**20, 2**20
# Flows tile their lanes themselves; the more of them there are, the better its tiles are filled. Below 64 a
# tile of 16 is as fast as any, and a slow lane holds up the fewest (measured: bench_stiff_lane.py).
FLOW_TILE, FLOW_TILES, FLOW_FEW, FLOW_NARROW = 256, 8, 64, 16


class Variable(NamedTuple):
    """One output of fn: type, shape and dims of a lane, and what stands where nothing was computed."""

    dtype: np.dtype
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    missing: float | int | bool

    @classmethod
    def of(cls, dtype: Any, shape: tuple[int, ...] = (), dims: tuple[str, ...] = ()) -> "Variable":
        missing = {"f": math.nan, "b": False, "u": 0}.get(np.dtype(dtype).kind, -1)
        return cls(np.dtype(dtype), shape, dims, missing)


class Traced(NamedTuple):
    """fn as one lane sees it."""

    jaxpr: Any
    variables: Mapping[str, Variable]
    keyed: bool
    state_bytes: int
    digest: str
    flows: bool = False
    older: bool = False  # it draws as JAX does with jax_threefry_partitionable=False


def describe(fn: Callable) -> str:
    """Where fn is defined."""
    if isinstance(fn, functools.partial):
        return describe(fn.func)
    return f"{getattr(fn, '__module__', '?')}.{getattr(fn, '__qualname__', type(fn).__name__)}"


def _arguments(fn: Callable, grid: Grid) -> bool:
    """Whether fn takes a key; refuses what does not fit its signature."""
    if not callable(fn):
        checks.refuse("fn", "a function of scalars", repr(fn))
    given = set(grid.parameters)
    parameters = inspect.signature(fn).parameters.values()
    if any(p.kind is p.POSITIONAL_ONLY for p in parameters):
        checks.refuse("fn", "a function that takes its parameters by name", describe(fn))
    names = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    needed = {p.name for p in parameters if p.default is p.empty and p.name in names}
    free = any(p.kind is p.VAR_KEYWORD for p in parameters)
    keyed = "key" in names
    if keyed and grid.seeds is None and "key" in needed:
        checks.refuse("seeds", "given, as fn takes a key", None, "seeds=1, or more for error bars")
    if not keyed and grid.seeds is not None:
        checks.refuse("fn", "a function with a parameter key, as seeds are given", describe(fn))
    if not free and given - names:
        checks.refuse(
            "axes", f"parameters of {describe(fn)}: {sorted(names - {'key'})}", sorted(given - names)
        )
    if needed - given - {"key"}:
        checks.refuse(
            "axes",
            f"given for every parameter of {describe(fn)}",
            f"none for {sorted(needed - given - {'key'})}",
        )
    return keyed and grid.seeds is not None


def trace(fn: Callable, grid: Grid) -> Traced:
    """Trace fn once, for scalars."""
    keyed = _arguments(fn, grid)
    names = tuple(grid.parameters)
    specs: list[Any] = [jax.ShapeDtypeStruct((), _dtype(values)) for _, values in grid.parameters.values()]
    if keyed:
        specs.append(jax.eval_shape(lambda: jr.key(0)))
    found: dict[str, Variable] = {}

    def lane(*values):
        arguments = dict(zip(names, values))
        if keyed:
            arguments["key"] = values[-1]
        result = fn(**arguments)
        leaves = _named(result)
        status = leaves.pop("status", None)
        code = jnp.asarray(int(Outcome.OK), jnp.int8)
        if status is not None:
            if status.ndim or not jnp.issubdtype(status.dtype, jnp.integer):
                kind = f"{status.dtype} of shape {status.shape}"
                checks.refuse("fn", "a function whose status is one am.Status", kind, "rename it")
            # What is no Status is not taken for one.
            table = jnp.asarray([int(_OF_STATUS[s]) for s in Status] + [int(Outcome.FAILED)], jnp.int8)
            known = (status >= 0) & (status < len(Status))
            code = table[jnp.where(known, status, len(Status))]
        floats = [v for v in leaves.values() if jnp.issubdtype(v.dtype, jnp.floating)]
        nan = functools.reduce(jnp.logical_or, [jnp.isnan(v).any() for v in floats], jnp.asarray(False))
        code = jnp.where(nan & (code == int(Outcome.OK)), int(Outcome.NON_FINITE), code).astype(jnp.int8)
        leaves["status"] = code
        for name, value in leaves.items():
            found[name] = Variable.of(value.dtype, value.shape, _dims(name, value, result))
        found["status"] = found["status"]._replace(missing=int(Outcome.PENDING))
        return leaves

    try:
        with checks.standard():
            jaxpr, shapes = jax.make_jaxpr(lane, return_shape=True)(*specs)
    except TypeError as fault:
        if "racer" not in str(fault):
            raise
        raise ValueError(
            f"fn must be traceable, got {type(fault).__name__} in {describe(fn)}; axes arrive as traced "
            "scalars: use jnp.where for branches, and for sizes (d, N, steps) one sweep each and xr.concat"
        ) from fault
    mixed = programs.digest(jaxpr)
    variables = {name: found[name] for name in shapes}  # as jax sorts them
    # Names, types and dims are part of what is computed: a program's results are found by them.
    mixed.update(repr(sorted(variables.items())).encode())
    held, flows = _loop_bytes(jaxpr.jaxpr), _has(jaxpr, _is_flow)
    # Not said in the text, as it is so of few.
    older = not jax.config.jax_threefry_partitionable and _has(jaxpr, _is_draw)  # type: ignore[attr-defined]
    return Traced(jaxpr, variables, keyed, held, mixed.hexdigest(), flows, older)


def held(grid: Grid) -> None:
    """Refuse points of axes that are finite numbers, and infinite at the precision in use."""
    for name, (_, values) in grid.parameters.items():
        if values.dtype.kind != "f":
            continue
        over = checks.lost(np.atleast_1d(values), _dtype(values))
        if over.any():
            what = np.atleast_1d(values)[over][0]
            checks.refuse(name, f"numbers that {_dtype(values)} can hold", what, checks.X64)


def _dtype(values: np.ndarray) -> np.dtype:
    if values.dtype.kind == "b":
        return np.dtype(bool)
    return np.dtype(np.int32) if values.dtype.kind in "iu" else np.dtype(jnp.result_type(float))


def _named(result: Any) -> dict[str, Any]:
    """Leaves of fn's result by name; nested names are joined by a dot."""
    if isinstance(result, Trajectory):
        kept = ("status", "num_steps", "first_hit", "stable_hit", "first_step", "stable_step")
        result = {name: getattr(result, name) for name in kept} | (
            {"times": result.times} | dict(result.observed) if result.observed else {}
        )
    leaves = jax.tree_util.tree_flatten_with_path(result)[0]
    named: dict[str, Any] = {}
    for path, leaf in leaves:
        name = ".".join(str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k)))) for k in path)
        try:
            value = jnp.asarray(leaf)
        except TypeError:
            checks.refuse(
                "fn", "a function that returns arrays", f"{type(leaf).__name__} in {name or 'its result'}"
            )
        # A store has NumPy's own numbers alone: no keys, bfloat16, int4, float8.
        if getattr(value.dtype, "isbuiltin", 0) != 1 or value.dtype.kind not in "biuf":
            checks.refuse(
                "fn", "a function that returns real numbers", f"{value.dtype} in {name or 'its result'}"
            )
        name = name.replace("/", "_") or "value"
        if name in named or name in _RESERVED or not storable(name):
            checks.refuse(
                "fn", "a function whose results have names of their own, none of the store's",
                checks.short(name), "rename it",
            )  # fmt: skip
        if not value.size:
            checks.refuse(
                "fn", "a function that returns at least one number under each name",
                f"shape {value.shape} in {name}", "leave it out",
            )  # fmt: skip
        named[name] = value
    if not named:
        checks.refuse("fn", "a function that returns at least one array", "none")
    return named


def _dims(name: str, value: Any, result: Any) -> tuple[str, ...]:
    last = name.rpartition(".")[2]
    dims: tuple[str, ...] = ()
    if isinstance(result, Trajectory) and (name == "times" or name in result.observed):
        dims = ("at",)
    known, _ = labels(last)
    rest = value.ndim - len(dims)
    return dims + (known if len(known) == rest else tuple(f"{name}_{i}" for i in range(rest)))


def _loop_bytes(jaxpr: Any) -> int:
    """Bytes that the largest loop of one lane carries and reads."""
    most = 0
    for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if _is_flow(eqn):
            continue
        if eqn.primitive.name in ("while", "scan"):
            read = len(eqn.invars)
            if eqn.primitive.name == "scan":
                # Where JAX names them differently, all that the loop reads: a smaller tile, no other result.
                read = sum(eqn.params.get(name, read) for name in ("num_consts", "num_carry"))
            sizes = (getattr(v.aval, "size", 0) * v.aval.dtype.itemsize for v in eqn.invars[:read])
            most = max(most, sum(sizes))
        most = max([most, *map(_loop_bytes, programs.inner(eqn))])
    return most


def _is_flow(eqn: Any) -> bool:
    return eqn.params.get("name") == OWN_CLOCK


def _is_draw(eqn: Any) -> bool:
    return eqn.primitive.name.startswith("random_")


def _has(jaxpr: Any, kind: Callable[[Any], bool]) -> bool:
    """Whether there is an equation of a kind, flows on their own clocks or draws, at any depth."""
    eqns = getattr(jaxpr, "jaxpr", jaxpr).eqns
    return any(kind(eqn) or any(_has(part, kind) for part in programs.inner(eqn)) for eqn in eqns)


def default_tile(traced: Traced, lanes: int, card: bool) -> int:
    """A power of two: loop state in cache, no wider than the sweep."""
    if traced.flows and not card:
        wide = min(FLOW_TILE, max(lanes // FLOW_TILES, SMALLEST_TILE))
        wide = min(wide, FLOW_NARROW) if wide < FLOW_FEW else wide
        return 2 ** min(int(math.log2(wide)), math.ceil(math.log2(max(lanes, 1))))
    room, most = (CARD_BYTES, CARD_TILE) if card else (TILE_BYTES, LARGEST_TILE)
    wide = min(max(room // max(traced.state_bytes, 1), SMALLEST_TILE), most)
    return 2 ** min(int(math.log2(wide)), math.ceil(math.log2(max(lanes, 1))))


class Program:
    """fn compiled for boxes of one shape. ``run`` computes any lanes of a box."""

    def __init__(
        self, traced: Traced, grid: Grid, blocks: Blocks, tile: int, devices: tuple[Any, ...],
        capacity: int | None = None,
    ):  # fmt: skip
        self.traced, self.blocks, self.tile, self.devices = traced, blocks, tile, devices
        self.lanes = math.prod(blocks.box) * grid.replicas
        self.rounds = -(-(capacity or self.lanes) // (tile * len(devices)))
        self._place(grid)
        self.compiled = self._compile()

    def _place(self, grid: Grid) -> None:
        self.grid = grid
        self.values = tuple(np.asarray(v, _dtype(v)) for _, v in grid.parameters.values())
        self.seeds = np.asarray(grid.seeds or (0,), np.uint32)

    def on(self, grid: Grid) -> "Program":
        """The same program over other values of the axes."""
        other = copy.copy(self)
        other._place(grid)
        return other

    def _compile(self):
        traced, grid = self.traced, self.grid
        lane = jax.vmap(jex.jaxpr_as_fun(traced.jaxpr))
        box, shape = self.blocks.box, self.blocks.shape
        strides = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
        within = [math.prod(box[k + 1 :]) for k in range(len(box))]
        where = [axis for axis, _ in grid.parameters.values()]
        names = sorted(traced.variables)  # as jax flattens a dict
        tile, devices = self.tile, list(self.devices)

        def arguments(lanes, start, values, seeds):
            local, replica = lanes // grid.replicas, lanes % grid.replicas
            at = [start[k] + local // within[k] % box[k] for k in range(len(box))]
            given = [v if k is None else v[at[k]] for k, v in zip(where, values)]
            given = [jnp.broadcast_to(v, (tile,)) for v in given]
            if traced.keyed:
                configuration = sum((i * s for i, s in zip(at, strides)), jnp.zeros_like(lanes))
                fold = lambda seed, data: jr.fold_in(jr.key(seed), data)  # noqa: E731
                given.append(jax.vmap(fold)(seeds[replica], configuration))
            return given

        def device(count, lanes, start, values, seeds):
            def one(k, buffers):
                out = lane(*arguments(lanes[k], start, values, seeds))
                return [b.at[k].set(v) for b, v in zip(buffers, out)]

            shapes = [traced.variables[name] for name in names]
            empty = [jnp.zeros((self.rounds, tile, *v.shape), v.dtype) for v in shapes]
            return jax.lax.fori_loop(0, count, one, empty)

        if len(devices) > 1:
            mesh = Mesh(np.asarray(devices), ("devices",), axis_types=(AxisType.Auto,))
            whole, split = PartitionSpec(), PartitionSpec("devices")
            inputs = (whole, split, whole, whole, whole)
            device = jax.shard_map(device, mesh=mesh, in_specs=inputs, out_specs=split, check_vma=False)
        lanes = np.zeros((len(devices) * self.rounds, tile), np.int32)
        start = np.zeros(len(box), np.int32)
        with jax.default_device(devices[0]):
            lowered = jax.jit(device).lower(np.int32(0), lanes, start, self.values, self.seeds)
            return lowered.compile()

    @property
    def bytes_needed(self) -> tuple[int, int]:
        """(bytes that grow with the tile, bytes that grow with the box), by the compiler's estimate."""
        found = self.compiled.memory_analysis()
        if found is None:
            return 0, 0
        each = len(self.devices)
        held = found.argument_size_in_bytes + 2 * found.output_size_in_bytes  # the host's copy too
        # The result is a loop's carry; XLA holds it among the temporaries as well.
        return found.temp_size_in_bytes * each, held * each

    def local_lanes(self, task: int) -> np.ndarray:
        """Numbers of the lanes of a box that lie in the grid."""
        sizes = [r.stop - r.start for r in self.blocks.region(task)]
        if tuple(sizes) == self.blocks.box:
            return np.arange(self.lanes, dtype=np.int32)
        at = np.indices(sizes).reshape(len(sizes), -1)
        inside = np.asarray(np.ravel_multi_index(tuple(at), self.blocks.box))
        lanes = inside[:, None] * self.grid.replicas + np.arange(self.grid.replicas)
        return lanes.reshape(-1).astype(np.int32)

    def parameters(self, task: int, lanes: np.ndarray) -> dict[str, np.ndarray]:
        """Values of fn's parameters in lanes of a box, on the host."""
        local = lanes // self.grid.replicas
        at = [local // math.prod(self.blocks.box[k + 1 :]) % n for k, n in enumerate(self.blocks.box)]
        starts = [r.start for r in self.blocks.region(task)]
        found = {}
        for (name, (axis, _)), values in zip(self.grid.parameters.items(), self.values):
            found[name] = (
                np.broadcast_to(values, lanes.shape) if axis is None else values[starts[axis] + at[axis]]
            )
        return found

    def run(self, task: int, lanes: np.ndarray) -> dict[str, np.ndarray]:
        """Compute lanes of a box, in the order given."""
        devices, tile, n = len(self.devices), self.tile, len(lanes)
        count = -(-n // (tile * devices))
        padded = np.full((count, devices, tile), lanes[-1], np.int32)
        padded.reshape(-1)[:n] = lanes
        # Tiles are dealt to the devices in turn, so that sorted costs are shared evenly.
        dealt = np.zeros((devices, self.rounds, tile), np.int32)
        dealt[:, :count] = padded.swapaxes(0, 1)
        start = np.asarray([r.start for r in self.blocks.region(task)], np.int32)
        out = self.compiled(np.int32(count), dealt.reshape(-1, tile), start, self.values, self.seeds)
        found = {}
        for name, value in zip(sorted(self.traced.variables), out):
            value = np.asarray(value)
            value = value.reshape(devices, self.rounds, *value.shape[1:])[:, :count].swapaxes(0, 1)
            found[name] = value.reshape(-1, *value.shape[3:])[:n]
        return found
