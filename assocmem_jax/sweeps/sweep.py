"""The door to sweeps: ``sweep(fn, axis=values, …) -> xarray.Dataset``."""

import functools
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from .. import machine as memory
from ..dynamics import programs
from ..files import aside, remove
from .axes import grid
from .plan import Plan, prepare, program
from .reading import dataset
from .reduce import OverSeeds
from .run import MOST_FAILURES, compute, into_store, locally
from .store import Store, variable_attributes


def sweep(
    fn: Callable,
    *,
    seeds: Any = None,
    reduce: OverSeeds | None = None,
    store: str | os.PathLike | None = None,
    executor: Any = None,
    shard: tuple[int, int] | None = None,
    tile: int | str | None = None,
    chunk: int | None = None,
    predict: Callable | None = None,
    units: Mapping[str, str] | None = None,
    progress: bool | None = None,
    repair: bool = False,
    overwrite: bool = False,
    config: str | None = None,
    **axes: Any,
):
    """Run ``fn`` at every point of a grid and return an ``xarray.Dataset`` with named axes.

    - ``fn``: takes scalars by name and returns a PyTree of arrays (a dict, ``Hits``, a
      ``Trajectory``, one array); it is traced once, and again where a
      global or an attribute that it reads has changed (see ``simulate``). What it returns under the name
      ``status`` is read as an ``am.Status`` (what is none of them: failed).
    - ``axes``: a vector is a dimension; ``zipped(…)`` and ``sampled(…)`` move several parameters
      along one dimension; a number is held fixed.
    - ``seeds``: how many, or which. Adds a dimension ``seed``, and fn gets
      ``key = fold_in(key(seed), number of the configuration)``.
    - ``reduce``: ``over_seeds("mean", .05, .95)`` keeps statistics instead of every seed.
    - ``store``: a directory, written as the sweep proceeds: Zarr v3 that ``xarray.open_zarr`` reads,
      preallocated, committed task by task. A store of the same sweep is resumed, one of another
      sweep refused (``overwrite=True`` replaces it); ``repair=True`` first checks every byte, and
      computes again what is damaged. The Dataset returned reads from it when indexed. ``config`` is
      text to keep in its attributes.
    - ``executor``: any ``concurrent.futures.Executor`` (a spawning process pool, dask's
      ``Client.get_executor()``, mpi4py's, ``SlurmExecutor``); its workers write to ``store``.
      ``shard=(i, n)`` computes every n-th task from i, for job arrays.
    - ``tile``: lanes computed side by side; part of the result's identity, as it decides rounding.
      Unless given, such that the state of fn's loop stays in cache. ``"measure"`` times five sizes
      on lanes of this sweep, one compilation each, and records what it found.
    - ``chunk``: most configurations in a task (what is stored, committed or lost at once).
    - ``predict``: takes the parameters as arrays, returns a cost for each; lanes are sorted by it, so
      that a slow one is tiled with slow ones. Results do not depend on it.
    - ``units``: name → unit, kept as attributes; a result's is that of its statistics too.
    - ``progress``: a bar; unless given, if stderr is a terminal.

    ``status`` says what became of each configuration (``Outcome``): one that diverged or raised is
    recorded and the rest goes on. The memory that the compiled program needs is compared with what
    is free before it runs. All local devices are used; a CPU's single device runs as many boxes at
    once as there are cores, or set ``jax.config.update("jax_num_cpu_devices", n)`` before JAX starts.
    """
    if executor is not None and store is None:
        checks.refuse("store", "given with an executor", None, "workers write to it")
    if executor is not None and not hasattr(executor, "submit"):
        checks.refuse("executor", "a concurrent.futures.Executor", repr(executor))
    if store is not None:
        checks.a_path("store", store)
    if shard is not None:
        two = isinstance(shard, tuple | list) and len(shard) == 2 and all(isinstance(k, int) for k in shard)
        if store is None or not two or not 0 <= shard[0] < shard[1]:
            checks.refuse("shard", "(i, n) with 0 ≤ i < n, and a store", shard)
    progress = checks.truth("progress", progress, (None,))
    for name, value in {"repair": repair, "overwrite": overwrite}.items():
        if checks.truth(name, value) and store is None:
            checks.refuse("store", f"given with {name}", None, "nothing else is kept")
    if overwrite and shard is not None:
        checks.refuse("overwrite", "left out with shard", True, "each job would remove what others did")
    if not (config is None or (isinstance(config, str) and store is not None)):
        checks.refuse("config", "the text that a store keeps, with a store", checks.short(config))
    path = None if store is None else Path(store)
    existing = (
        Store(path) if path is not None and os.path.exists(path) else None
    )  # refuses what is not a store
    kept = None if existing is None or overwrite else existing.plan
    programs.bounded(look=True)
    plan = prepare(
        fn, grid(axes, seeds), tile=tile, chunk=chunk, reduce=reduce, predict=predict, units=units,
        config=config, kept=kept,
    )  # fmt: skip
    if path is None:
        return _into_memory(plan, progress)
    if existing is not None and overwrite:  # not before the new sweep is known to be sound
        remove(aside(path))
    into_store(plan, path, executor=executor, shard=shard, progress=progress, repair=repair)
    return open_store(path)


def open_store(path: str | os.PathLike):
    """The Dataset of a store, complete or not; values are read when indexed.

    A store of somebody else's is read as data: Zarr format 3, plain numbers and words; links, pipes and
    codecs that could do more are refused with ``StoreError``.
    """
    checks.a_path("path", path)
    return dataset(path)


def _into_memory(plan: Plan, progress: bool | None):
    import xarray as xr

    total, free = plan.grid.size * plan.row_bytes, memory.free()
    if free is not None and 2 * total > free:  # a box on its way is held twice
        size = f"None for a result of {total / 2**30:.3g} GiB, with {free / 2**30:.3g} GiB free"
        checks.refuse("store", "a directory", size)
    began = time.perf_counter()
    built = program(plan)
    shape = plan.grid.shape
    arrays = {name: np.full(shape + v.shape, v.missing, v.dtype) for name, v in plan.variables.items()}
    failures: list[str] = []

    def one(task: int) -> None:
        shaped, about = compute(plan, built, task)
        for name, value in shaped.items():
            arrays[name][plan.blocks.region(task)] = value
        failures.extend(about["failures"].values())

    locally(plan, built, one, list(plan.blocks), progress)
    layout = plan.layout
    describe = functools.partial(variable_attributes, units=plan.units)
    data = {name: (layout.dims + v.dims, arrays[name], describe(name)) for name, v in plan.variables.items()}
    coordinates = {
        name: (dims, values, describe(name)) for name, (dims, values) in layout.coordinates.items()
    }
    seconds = round(time.perf_counter() - began, 4)
    attributes = plan.attributes | {"device": built.devices[0].device_kind, "wall_time_seconds": seconds}
    if failures:
        attributes["failures"] = failures[:MOST_FAILURES]
    return xr.Dataset(data, coordinates, attributes)
