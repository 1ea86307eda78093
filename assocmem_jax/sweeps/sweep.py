"""The door to sweeps: ``sweep(fn, axis=values, …) -> xarray.Dataset``."""

import concurrent.futures as futures
import functools
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from .. import checks
from . import memory, tiles
from .axes import Blocks, Grid, blocks, grid
from .reduce import OverSeeds
from .store import MOST_TRIES, Layout, Store, StoreError, create
from .tiles import Outcome, Program, Traced, Variable

# Lanes in a box, unless asked for: enough boxes to resume and to show progress, none too small.
SMALLEST_BOX, LARGEST_BOX, BOXES, BOX_BYTES = 4096, 2**20, 64, 2**27
# Configurations of one box that may fail before it is fn that is at fault.
MOST_FAILURES = 64


class SweepError(RuntimeError):
    """A sweep that could not go on; what is committed stays. One line."""


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
    attributes: Mapping[str, Any]
    units: Mapping[str, str]
    precision: str

    @property
    def layout(self) -> Layout:
        coordinates: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        for dim, joint in self.grid.dims.items():
            coordinates |= {name: ((dim,), values) for name, values in joint.values.items()}
        coordinates |= {name: ((), np.asarray(value)) for name, value in self.grid.fixed.items()}
        if self.reduce is not None:
            coordinates |= {name: ((name,), v) for name, v in self.reduce.coordinates.items()}
        elif self.grid.seeds is not None:
            coordinates["seed"] = (("seed",), np.asarray(self.grid.seeds, np.int64))
        return Layout(self.grid, self.blocks, self.variables, coordinates, self.attributes, self.units)


def sweep(
    fn: Callable,
    *,
    seeds: Any = None,
    store: str | os.PathLike | None = None,
    executor: Any = None,
    tile: int | str | None = None,
    chunk: int | None = None,
    reduce: OverSeeds | None = None,
    predict: Callable | None = None,
    units: Mapping[str, str] | None = None,
    shard: tuple[int, int] | None = None,
    progress: bool | None = None,
    repair: bool = False,
    overwrite: bool = False,
    **axes: Any,
):
    """Run ``fn`` at every point of a grid and return an ``xarray.Dataset`` with named axes.

    - ``fn``: takes scalars by name and returns a PyTree of arrays (a dict, ``Hits``, a
      ``Trajectory``, one array); it is traced once, as under ``jit``.
    - ``axes``: a vector is a dimension; ``zipped(…)`` and ``sampled(…)`` move several parameters
      along one dimension; a number is held fixed.
    - ``seeds``: how many, or which. Adds a dimension ``seed``, and fn gets
      ``key = fold_in(key(seed), number of the configuration)``.
    - ``reduce``: ``over_seeds("mean", .05, .95)`` keeps statistics instead of every seed.
    - ``store``: a directory, written as the sweep proceeds: Zarr v3 that ``xarray.open_zarr`` reads,
      preallocated, committed task by task. An existing store of the same sweep is resumed; one of
      another sweep is refused (``overwrite=True`` replaces it). ``repair=True`` checks every byte
      first and computes again what is damaged. The Dataset returned reads from it when indexed.
    - ``executor``: any ``concurrent.futures.Executor`` (a spawning process pool, dask's
      ``Client.get_executor()``, mpi4py, ``SlurmExecutor``); needs ``store``, to which the workers
      write. ``shard=(i, n)`` computes every n-th task from i, for job arrays.
    - ``tile``: lanes computed side by side; part of the result's identity, as it decides rounding.
      Unless given, chosen so that the loop's state stays in cache. ``"measure"`` times five sizes
      on lanes of this sweep (one compilation each) and records what it found.
    - ``chunk``: most configurations in a task (what is stored, committed or lost at once).
    - ``predict``: takes the parameters as arrays, returns a cost for each; lanes are sorted by it, so
      that a slow one is tiled with slow ones. Results do not depend on it.
    - ``units``: name → unit, kept as attributes.
    - ``progress``: a bar; unless given, if stderr is a terminal.

    ``status`` says what became of each configuration (``Outcome``): one that diverged or raised is
    recorded and the rest goes on. The memory that the compiled program needs is compared with what
    is free before it runs. All local devices are used; to have more than one on a CPU, set
    ``jax.config.update("jax_num_cpu_devices", n)`` before the first use of JAX (without it, boxes
    run in as many threads as there are cores).
    """
    if executor is not None and store is None:
        checks.refuse("store", "given with an executor", None, "workers write to it")
    if executor is not None and not hasattr(executor, "submit"):
        checks.refuse("executor", "a concurrent.futures.Executor", repr(executor))
    path = None if store is None else Path(store)
    existing = None
    if path is not None and path.exists():
        if overwrite:
            Store(path)  # refuses to remove what is not a store
            shutil.rmtree(path)
        else:
            existing = Store(path)
    plan = prepare(
        fn, axes, seeds=seeds, tile=tile, chunk=chunk, reduce=reduce, predict=predict, units=units, existing=existing
    )  # fmt: skip
    if path is None:
        return _in_memory(plan, progress)
    run_stored(plan, path, executor=executor, shard=shard, progress=progress, repair=repair)
    return open_store(path)


def prepare(
    fn: Callable, axes: Mapping[str, Any], *, seeds: Any = None, tile: int | str | None = None,
    chunk: int | None = None, reduce: OverSeeds | None = None, predict: Callable | None = None,
    units: Mapping[str, str] | None = None, existing: Store | None = None,
) -> Plan:  # fmt: skip
    """Trace fn, cut the grid, name the result; refuses what cannot be run."""
    if reduce is not None and not isinstance(reduce, OverSeeds):
        checks.refuse("reduce", "am.over_seeds(…)", repr(reduce))
    return _prepare(
        fn, grid(axes, seeds), tile, chunk, reduce, predict, units or {},
        None if existing is None else existing.plan,
    )  # fmt: skip


def _prepare(fn, points: Grid, tile, chunk, reduce, predict, units, kept: Mapping[str, Any] | None) -> Plan:
    if reduce is not None and points.seeds is None:
        checks.refuse("seeds", "given with reduce", None)
    traced = _traced(fn, points)
    variables = dict(traced.variables)
    if reduce is not None:
        variables = reduce.variables(variables)
    elif points.seeds is not None:
        replicas = len(points.seeds)
        variables = {
            name: Variable(v.dtype, (replicas, *v.shape), ("seed", *v.dims)) for name, v in variables.items()
        }
    taken = {*points.dims, *points.parameters} & set(variables)
    if taken:
        checks.refuse("fn", "a function whose results are not named like an axis", sorted(taken))
    lane_bytes = sum(v.dtype.itemsize * math.prod(v.shape) for v in variables.values())
    if chunk is None:
        chunk = int(
            np.clip(points.size // BOXES, SMALLEST_BOX // points.replicas, LARGEST_BOX // points.replicas)
        )
        chunk = max(1, min(chunk, BOX_BYTES // max(lane_bytes, 1)))
        if kept is not None:
            chunk = max(1, math.prod(kept["box"]))
    box = blocks(points.shape, checks.count("chunk", chunk))
    if kept is not None and tuple(kept["shape"]) == points.shape:
        box = Blocks(points.shape, tuple(kept["box"]))
    measured = None
    if kept is not None and tile in (None, "measure"):
        tile, measured = kept["tile"], kept.get("tile_measured")
    elif tile == "measure":
        tile, measured = measure_tile(traced, points)
    elif tile is None:
        tile = tiles.default_tile(traced, points.size * points.replicas, jax.default_backend())
    tile = checks.count("tile", tile)
    precision = "float64" if jax.config.jax_enable_x64 else "float32"  # type: ignore[attr-defined]
    identity = hashlib.sha256()
    for part in (traced.digest, points.digest(), str(tile), repr(reduce), precision):
        identity.update(part.encode())
    described = {
        "identity": identity.hexdigest(), "function": tiles._describe(fn), "function_digest": traced.digest,
        "shape": points.shape, "box": box.box, "tile": tile, "tile_measured": measured,
        "dims": {d: {"names": list(j.values), "how": j.how} for d, j in points.dims.items()},
        "fixed": dict(points.fixed), "seeds": None if points.seeds is None else list(points.seeds),
        "reduce": None if reduce is None else repr(reduce), "precision": precision,
    }  # fmt: skip
    versions = {
        name: metadata.version(name) for name in ("assocmem_jax", "jax", "equinox", "diffrax", "optax")
    }
    attributes = {
        "sweep": json.dumps(described, sort_keys=True),
        "versions": json.dumps(versions, sort_keys=True),
    }
    attributes |= {k: v for k, v in described.items() if k in ("function", "identity", "tile", "precision")}
    return Plan(fn, points, traced, box, tile, reduce, predict, variables, attributes, units, precision)


_TRACES: dict[Any, Traced] = {}


def _traced(fn: Callable, points: Grid) -> Traced:
    """fn's trace, kept: as under ``jit``, by identity of fn and by the names and types it is given."""
    signature = tuple((name, str(values.dtype)) for name, (_, values) in points.parameters.items())
    key = (fn, signature, points.seeds is None, jax.config.jax_enable_x64)  # type: ignore[attr-defined]
    try:
        hash(key)
    except TypeError:  # a callable that cannot be a key
        return tiles.trace(fn, points)
    return _kept(_TRACES, key, lambda: tiles.trace(fn, points))


_PROGRAMS: dict[Any, Program] = {}


def program(plan: Plan) -> Program:
    """The compiled program of a plan; kept, so that sweeps of one shape compile once."""
    devices = tuple(jax.local_devices())
    axes = tuple((axis, values.shape) for axis, values in plan.grid.parameters.values())
    key = (plan.traced.digest, axes, plan.grid.replicas, plan.blocks, plan.tile, devices)
    built = _kept(_PROGRAMS, key, lambda: Program(plan.traced, plan.grid, plan.blocks, plan.tile, devices))
    return built.on(plan.grid)


def _kept(cache: dict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    if key not in cache:
        while len(cache) >= 32:
            cache.pop(next(iter(cache)))
        cache[key] = make()
    return cache[key]


@functools.cache
def _versions() -> str:
    names = ("assocmem_jax", "jax", "equinox", "diffrax", "optax")
    return json.dumps({name: metadata.version(name) for name in names}, sort_keys=True)


def measure_tile(traced: Traced, points: Grid) -> tuple[int, dict[str, float]]:
    """The fastest of five tile sizes on lanes spread over the grid, and nanoseconds a lane for each."""
    lanes = points.size * points.replicas
    whole = Blocks(points.shape, points.shape)
    found: dict[str, float] = {}
    for tile in (8, 32, 128, 512, 2048):
        if tile > max(8, lanes):
            continue
        sample = np.linspace(0, lanes - 1, min(lanes, 4096)).astype(np.int32)
        trial = Program(traced, points, whole, tile, tuple(jax.local_devices()[:1]), capacity=len(sample))
        trial.run(0, sample)
        began = time.perf_counter()
        trial.run(0, sample)
        found[str(tile)] = round(1e9 * (time.perf_counter() - began) / len(sample), 1)
    return int(min(found, key=lambda t: found[t])), found


def guard(plan: Plan, built: Program, workers: int) -> None:
    """Refuse a program that needs more memory than is free."""
    tile_bytes, box_bytes = built.bytes_needed
    reduced = sum(v.dtype.itemsize * math.prod(v.shape) for v in plan.variables.values())
    box_bytes += math.prod(plan.blocks.box) * reduced
    need, free = workers * (tile_bytes + box_bytes), memory.free(built.devices[0])
    if free is None or need <= free:
        return
    boxes, lanes, tile = math.prod(plan.blocks.box), built.lanes, plan.tile
    chunk = max(1, min(boxes, int(boxes * free / 4 / workers / max(box_bytes, 1))))
    while tile > 1 and workers * tile_bytes * tile / plan.tile > free / 2:
        tile //= 2
    raise MemoryError(
        f"tile: the compiled program needs {need / 2**30:.3g} GiB for {lanes} lanes in tiles of {plan.tile}, "
        f"{free / 2**30:.3g} GiB is free; try tile={tile}, chunk={chunk}"
    )


def _computed(plan: Plan, built: Program, task: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The variables of a box, and what to note of it."""
    began = time.perf_counter()
    natural = built.local_lanes(task)
    lanes = natural
    if plan.predict is not None:
        costs = np.asarray(plan.predict(**built.parameters(task, natural)), float)
        lanes = natural[np.argsort(-np.broadcast_to(costs, natural.shape), kind="stable")]
    failures: dict[int, str] = {}
    values = isolate(lambda part: built.run(task, part), lanes, plan.traced.variables, failures)
    if plan.predict is not None:
        order = np.searchsorted(natural, lanes)
        values = {name: _unsorted(v, order) for name, v in values.items()}
    return _shaped(plan, task, values, failures, began)


def _shaped(plan: Plan, task: int, values, failures: dict[int, str], began: float):
    """Lanes of a box as arrays over its dims (and seeds), reduced if asked."""
    counts = {o.name.lower(): int((values["status"] == int(o)).sum()) for o in Outcome}
    sizes = tuple(r.stop - r.start for r in plan.blocks.region(task))
    if plan.reduce is not None:
        values = plan.reduce({n: v.reshape(-1, plan.grid.replicas, *v.shape[1:]) for n, v in values.items()})
    shaped = {name: v.reshape(*sizes, *plan.variables[name].shape) for name, v in values.items()}
    about = {
        "outcomes": {k: n for k, n in counts.items() if n}, "seconds": round(time.perf_counter() - began, 4),
        "failures": {str(k): text for k, text in sorted(failures.items())},
    }  # fmt: skip
    return shaped, about


def _unsorted(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    out = np.empty_like(values)
    out[order] = values
    return out


def isolate(
    run: Callable, lanes: np.ndarray, variables: Mapping[str, Variable], failures: dict[int, str],
    fatal: tuple[type[BaseException], ...] = (),
) -> dict[str, np.ndarray]:  # fmt: skip
    """``run(lanes)``; if that raises, halve until the lanes that raise stand alone, and mark them."""
    try:
        return run(lanes)
    except (MemoryError, *fatal):
        raise
    except Exception as fault:
        text = " ".join(str(fault).split())[:300] or type(fault).__name__
        if "RESOURCE_EXHAUSTED" in text:
            raise MemoryError(f"tile: {text}") from None
        if len(failures) >= MOST_FAILURES:
            raise SweepError(
                f"fn fails in more than {MOST_FAILURES} configurations of one task; the last: {text}"
            ) from fault
        if len(lanes) == 1:
            failures[int(lanes[0])] = text
            found = {n: np.full((1, *v.shape), v.missing, v.dtype) for n, v in variables.items()}
            found["status"][:] = int(Outcome.FAILED)
            return found
    half = len(lanes) // 2
    parts = [isolate(run, part, variables, failures, fatal) for part in (lanes[:half], lanes[half:])]
    return {name: np.concatenate([part[name] for part in parts]) for name in variables}


def _in_memory(plan: Plan, progress: bool | None):
    import xarray as xr

    total = plan.grid.size * sum(v.dtype.itemsize * math.prod(v.shape) for v in plan.variables.values())
    free = memory.free(None)
    if free is not None and total > free:
        checks.refuse(
            "store", f"given for a result of {total / 2**30:.3g} GiB ({free / 2**30:.3g} GiB is free)", None
        )
    began = time.perf_counter()
    built = program(plan)
    arrays = {
        name: np.full(plan.grid.shape + v.shape, 0 if name == "status" else v.missing, v.dtype)
        for name, v in plan.variables.items()
    }
    failures: list[str] = []

    def one(task: int) -> int:
        shaped, about = _computed(plan, built, task)
        for name, value in shaped.items():
            arrays[name][plan.blocks.region(task)] = value
        failures.extend(about["failures"].values())
        return task

    _locally(plan, built, one, list(plan.blocks), progress)
    layout = plan.layout
    data = {
        name: (layout.dims + v.dims, arrays[name], _attributes(plan, name))
        for name, v in plan.variables.items()
    }
    coordinates = {
        name: (dims, values, {"units": plan.units.get(name, "1")})
        for name, (dims, values) in layout.coordinates.items()
    }
    attributes = dict(plan.attributes) | {"wall_time_seconds": round(time.perf_counter() - began, 4)}
    if failures:
        attributes["failures"] = failures[:MOST_FAILURES]
    return xr.Dataset(data, coordinates, attributes)


def _attributes(plan: Plan, name: str) -> dict[str, Any]:
    from .store import _flags

    return {"units": plan.units.get(name, "1")} | _flags(name)


def _locally(
    plan: Plan, built: Program, one: Callable[[int], int], tasks: Sequence[int], progress: bool | None
) -> None:
    """Tasks one after another; on a CPU with a device for all cores, in a thread for each core."""
    workers = 1
    if built.devices[0].platform == "cpu":
        workers = max(1, min(_cores() // len(built.devices), len(tasks)))
    guard(plan, built, workers)
    with _bar(plan, len(tasks), progress) as bar:
        if workers == 1:
            for task in tasks:
                one(task)
                bar.update(1)
            return
        with futures.ThreadPoolExecutor(workers) as pool:
            running = [pool.submit(one, task) for task in tasks]
            try:
                for done in futures.as_completed(running):
                    done.result()
                    bar.update(1)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _bar(plan: Plan, tasks: int, progress: bool | None):
    from tqdm import tqdm

    quiet = not (sys.stderr.isatty() and not os.environ.get("CI")) if progress is None else not progress
    return tqdm(
        total=tasks, unit="task", desc=f"{plan.grid.size * plan.grid.replicas:,} lanes", disable=quiet
    )


def run_stored(
    plan: Plan, path: Path, *, executor: Any = None, shard: tuple[int, int] | None = None,
    progress: bool | None = None, repair: bool = False,
) -> None:  # fmt: skip
    """Compute what a store lacks."""
    first, step = shard or (0, 1)
    if not (isinstance(first, int) and isinstance(step, int) and 0 <= first < step):
        checks.refuse("shard", "(i, n) with 0 ≤ i < n", shard)
    try:
        if not path.exists():
            create(path, plan.layout)
        store = Store(path)
        _same(plan, store)
        if repair:
            store.repair(store.verify(), plan.layout)
        committed = store.committed()
        tasks = [task for task in list(plan.blocks)[first::step] if task not in committed]
        if tasks and executor is not None:
            _remotely(plan, store, executor, tasks, progress)
        elif tasks:
            built = program(plan)
            _locally(plan, built, lambda task: _stored(plan, built, store, task), tasks, progress)
        if store.committed() >= set(plan.blocks):
            store.complete()
    except OSError as fault:
        reason = fault.strerror or str(fault)
        done = len(Store(path).committed()) if (path / "zarr.json").exists() else 0
        raise StoreError(
            f"{path}: {reason}; {done} of {len(plan.blocks)} tasks are committed: make room (or the store "
            "writable) and run the same sweep again"
        ) from None


def _same(plan: Plan, store: Store) -> None:
    kept, mine = store.plan, json.loads(plan.attributes["sweep"])
    if kept["identity"] == mine["identity"]:
        return
    what = [
        k
        for k in ("function_digest", "dims", "shape", "fixed", "seeds", "tile", "reduce", "precision")
        if kept[k] != mine[k]
    ]
    versions = store.attributes.get("versions")
    if versions != plan.attributes["versions"]:
        what.append(f"versions {versions} then, {plan.attributes['versions']} now")
    checks.refuse(
        "store", "of this sweep", f"{store.path}, of another (differs in {', '.join(what) or 'axis values'})",
        "choose another directory, or overwrite=True",
    )  # fmt: skip


def _stored(plan: Plan, built: Program, store: Store, task: int) -> int:
    """Compute one task and commit it, unless it is; after three deaths, in processes of its own."""
    if store.record(task).exists():
        return task
    died = store.begin(task)
    if died >= MOST_TRIES:
        return _quarantine(plan, built, store, task)
    try:
        shaped, about = _computed(plan, built, task)
        store.write(task, shaped, about | {"tries": died + 1, "device": built.devices[0].device_kind})
    except BaseException:
        store.give_up(task)  # it could say why: this was not a death
        raise
    return task


def _quarantine(plan: Plan, built: Program, store: Store, task: int) -> int:
    """A task that killed its process three times: find the configurations that do it."""
    began = time.perf_counter()
    lanes = built.local_lanes(task)
    died = (futures.process.BrokenProcessPool,)

    def probe(part: np.ndarray):
        pool = futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        try:
            return pool.submit(_probed, str(store.path), plan.fn, plan.reduce, task, part).result()
        except died:
            raise RuntimeError("its process died") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    failures: dict[int, str] = {}
    values = isolate(probe, lanes, plan.traced.variables, failures)
    shaped, about = _shaped(plan, task, values, failures, began)
    store.write(task, shaped, about | {"tries": MOST_TRIES + 1, "device": built.devices[0].device_kind})
    return task


@functools.lru_cache(maxsize=4)
def _reopened(path: str, fn: Callable, reduce: OverSeeds | None, predict: Callable | None):
    """In a worker: the plan of a store and its program, once a process."""
    store = Store(Path(path))
    jax.config.update("jax_enable_x64", store.plan["precision"] == "float64")
    plan = _prepare(fn, store.grid(), None, None, reduce, predict, {}, store.plan)
    _same(plan, store)
    built = program(plan)
    guard(plan, built, 1)
    return store, plan, built


def _probed(path: str, fn: Callable, reduce: OverSeeds | None, task: int, lanes: np.ndarray):
    return _reopened(path, fn, reduce, None)[2].run(task, lanes)


def _worker(path: str, fn: Callable, reduce: OverSeeds | None, predict: Callable | None, task: int) -> int:
    """Runs in a worker process: commits one task, returns its number (or −1 − it, to be quarantined)."""
    store = Store(Path(path))
    if store.record(task).exists():
        return task
    if store.tries(task) >= MOST_TRIES:
        return -1 - task
    _, plan, built = _reopened(path, fn, reduce, predict)
    return _stored(plan, built, store, task)


def _remotely(plan: Plan, store: Store, executor: Any, tasks: Sequence[int], progress: bool | None) -> None:
    payload = (str(store.path.resolve()), plan.fn, plan.reduce, plan.predict)
    left = set(tasks)
    with _bar(plan, len(tasks), progress) as bar:
        for _ in range(MOST_TRIES + 1):
            running = {executor.submit(_worker, *payload, task): task for task in sorted(left)}
            for done in _as_completed(running):
                task = running[done]
                try:
                    result = done.result()
                except futures.BrokenExecutor as fault:
                    count = len(store.committed())
                    raise SweepError(
                        f"executor: a worker died and broke the pool ({fault}); {count} of {len(plan.blocks)} tasks "
                        "are committed: run the same sweep again with a new pool"
                    ) from None
                except Exception as fault:
                    if store.tries(task):  # its worker died; a scheduler that retries gave up on it
                        continue
                    what = (
                        "; define fn at the top level of a module" if "pickle" in str(fault).lower() else ""
                    )
                    text = " ".join(str(fault).split())[:300]
                    raise SweepError(
                        f"task {task} failed in its worker: {type(fault).__name__}: {text}{what}"
                    ) from fault
                if result < 0:
                    _quarantine(plan, program(plan), store, task)
                left.discard(task)
                bar.update(1)
            if not left:
                return
    raise SweepError(f"tasks {sorted(left)[:5]} never ended on the executor: {len(left)} are left")


def _as_completed(running: Mapping[Any, int]):
    if all(isinstance(f, futures.Future) for f in running):
        return futures.as_completed(running)
    return iter(running)  # adapters whose futures are not the standard ones: in order


def open_store(path: str | os.PathLike):
    """The Dataset of a store, complete or not; values are read when indexed."""
    import xarray as xr

    return xr.open_zarr(path, chunks=None, consolidated=False)
