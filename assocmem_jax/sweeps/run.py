"""Running a plan: box after box here, or on an executor's workers; into memory or into a store."""

import concurrent.futures as futures
import functools
import logging
import multiprocessing
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .. import checks
from .. import machine as memory
from .. import progress as shown
from ..files import tidy
from .ledger import strangers
from .plan import Plan, guard, prepare, program
from .reduce import OverSeeds
from .slurm import WorkerDied
from .store import DamagedStore, Store, StoreError, create
from .tiles import Outcome, Program, Variable

# Attempts at a task that may end in the death of their process, and those where other tasks died with it (a
# whole MPI job dies with one of its workers): after so many a task is computed in a process of its own.
MOST_DEATHS = 3
MOST_IN_COMPANY = 6
# Configurations of one task that may raise before it is fn that is at fault.
MOST_FAILURES = 64


class SweepError(RuntimeError):
    """A sweep that could not go on; what is committed stays. One line."""


def compute(plan: Plan, built: Program, task: int, run: Callable | None = None):
    """(variables of a box, what to note of it)."""
    began = time.perf_counter()
    natural = built.local_lanes(task)
    order = np.arange(len(natural))
    if plan.predict is not None:
        costs = np.asarray(plan.predict(**built.parameters(task, natural)), float)
        order = np.argsort(-np.broadcast_to(costs, natural.shape), kind="stable")
    failures: dict[int, str] = {}
    run = run or functools.partial(built.run, task)
    with _quiet():
        values = isolate(run, natural[order], plan.traced.variables, failures)
    if plan.predict is not None:
        back = np.argsort(order, kind="stable")
        values = {name: value[back] for name, value in values.items()}
    counts = np.bincount(values["status"], minlength=len(Outcome))
    if plan.reduce is not None:
        replicas = plan.grid.replicas
        values = plan.reduce({name: v.reshape(-1, replicas, *v.shape[1:]) for name, v in values.items()})
    sizes = tuple(r.stop - r.start for r in plan.blocks.region(task))
    shaped = {name: v.reshape((*sizes, *plan.variables[name].shape)) for name, v in values.items()}
    about = {
        "outcomes": {code.name.lower(): int(counts[code]) for code in Outcome if counts[code]},
        "failures": {str(lane): text for lane, text in sorted(failures.items())},
        "seconds": round(time.perf_counter() - began, 4),
        "device": built.devices[0].device_kind,
    }
    return shaped, about


def isolate(
    run: Callable, lanes: np.ndarray, variables: Mapping[str, Variable], failures: dict[int, str]
) -> dict[str, np.ndarray]:
    """``run(lanes)``; if that raises, halve until the lanes that raise stand alone, and mark them."""
    try:
        return run(lanes)
    except MemoryError:
        raise
    except Exception as fault:
        text = _reason(fault)
        if "RESOURCE_EXHAUSTED" in text:
            raise MemoryError(f"tile: {text}; try a smaller tile or chunk") from None
        if len(failures) >= MOST_FAILURES:
            raise SweepError(
                f"fn fails in more than {MOST_FAILURES} configurations of one task; the last: {text}"
            ) from fault
        if len(lanes) == 1:
            failures[int(lanes[0])] = text
            blank = {n: np.full((1, *v.shape), v.missing, v.dtype) for n, v in variables.items()}
            blank["status"][:] = int(Outcome.FAILED)
            return blank
    half = len(lanes) // 2
    parts = [isolate(run, part, variables, failures) for part in (lanes[:half], lanes[half:])]
    return {name: np.concatenate([part[name] for part in parts]) for name in variables}


@contextmanager
def _quiet():
    """Without the traceback that JAX logs for every raise in a callback: each is told once, as a failure.

    A filter of its own for each caller, as tasks run in threads.
    """
    log, silent = logging.getLogger("jax._src.callback"), lambda record: False
    log.addFilter(silent)
    try:
        yield
    finally:
        log.removeFilter(silent)


def _reason(fault: BaseException) -> str:
    """One line of an exception; of a traceback inside it, the line that says why."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    inner = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    return (inner[-1] if inner else lines[0] if lines else type(fault).__name__)[:300]


def locally(
    plan: Plan, built: Program, one: Callable[[int], Any], tasks: Sequence[int], progress: bool | None,
    threads: int | None = None,
) -> None:  # fmt: skip
    """Tasks one after another; where a CPU's device leaves cores idle, in a thread for each."""
    workers = threads or 1
    if threads is None and built.devices[0].platform == "cpu":
        workers = max(1, min(memory.cores() // len(built.devices), len(tasks)))
    guard(plan, built, workers)
    with _bar(plan, tasks, progress) as bar, futures.ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(one, task) for task in tasks]
        try:
            for done in futures.as_completed(running):
                done.result()
                bar.update(1)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _bar(plan: Plan, tasks: Sequence[int], progress: bool | None):
    quiet = not (shown.watched() and not os.environ.get("CI")) if progress is None else not progress
    return shown.bar(
        len(tasks), unit="task", desc=f"{plan.grid.size * plan.grid.replicas:,} lanes", quiet=quiet
    )


def into_store(
    plan: Plan, path: Path, *, executor: Any = None, shard: tuple[int, int] | None = None,
    progress: bool | None = None, repair: bool = False,
) -> None:  # fmt: skip
    """Compute and commit what a store lacks."""
    try:
        if not os.path.exists(path):
            create(path, plan.layout)
        store = Store(path)
        same(plan, store)
        for folder in (path.parent, store.commits):
            tidy(folder)
        if repair:
            store.repair(store.verify(), plan.layout)
        for name, what in strangers(path):
            raise DamagedStore(f"{path}: {name} is {what}: nothing is written through it; repair removes it")
        for name in {*plan.variables, *plan.layout.coordinates}:
            if not os.path.isfile(path / name / "zarr.json"):
                raise DamagedStore(f"{path}: {name}/zarr.json is missing: repair computes again what is gone")
        first, step = shard or (0, 1)
        committed = store.committed()
        tasks = [task for task in list(plan.blocks)[first::step] if task not in committed]
        store.settle()
        run = secrets.token_hex(8)
        if tasks and executor is not None:
            _remotely(plan, store, executor, run, tasks, progress)
        elif tasks:
            built = program(plan)
            one = functools.partial(_commit, plan, built, store, run)
            # What was begun before is tried alone: if it dies again, it is known of what.
            begun = [task for task in tasks if store.tries(task)]
            for some, threads in ((begun, 1), (sorted(set(tasks) - set(begun)), None)):
                if some:
                    locally(plan, built, one, some, progress, threads)
        if store.committed() >= set(plan.blocks):
            store.complete()
    except OSError as fault:
        done = len(list((path / "commits").glob("[0-9]*.json")))
        raise StoreError(
            f"{path}: {fault.strerror or fault}; {done} of {len(plan.blocks)} tasks are committed: make room "
            "(or the store writable) and run the same sweep again"
        ) from None


def same(plan: Plan, store: Store) -> None:
    """Refuse the store of another sweep."""
    if store.plan["identity"] == plan.identity:
        return
    named = ("function_digest", "dims", "shape", "fixed", "seeds", "tile", "reduce", "precision",
             "threefry_partitionable")  # fmt: skip
    differ = [name for name in named if store.plan.get(name) != plan.description.get(name)]
    what = differ or ["values of its axes"]
    if store.attributes["versions"] != plan.attributes["versions"]:
        what.append(f"versions, then {store.attributes['versions']}")
    checks.refuse(
        "store", "of this sweep", f"{store.path}, which differs in {', '.join(what)}",
        "choose another directory, or overwrite=True",
    )  # fmt: skip


def _commit(plan: Plan, built: Program, store: Store, run: str, task: int) -> int:
    """Compute one task and commit it, unless it is committed; after three deaths, in quarantine."""
    if store.record(task).exists():
        return task
    deaths, suspected = store.deaths(task, run), _suspected(store, run, task)
    probe = functools.partial(_in_process, plan, store, task) if suspected else None
    store.begin(task, run)
    try:
        shaped, about = compute(plan, built, task, probe)
        store.write(task, shaped, about | {"deaths": deaths})
    except BaseException:
        store.give_up(task)  # it could say why: no death
        raise
    return task


def _suspected(store: Store, run: str, task: int) -> bool:
    return store.deaths(task, run) >= MOST_DEATHS or store.tries(task) >= MOST_IN_COMPANY


def _in_process(plan: Plan, store: Store, task: int, lanes: np.ndarray) -> dict[str, np.ndarray]:
    """Lanes computed in a process that may die of them."""
    with futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_probed, str(store.path), plan.fn, plan.reduce, task, lanes).result()
        except BrokenProcessPool:
            raise RuntimeError("its process died") from None


@functools.lru_cache(maxsize=4)
def _reopened(path: str, fn: Callable, reduce: OverSeeds | None, predict: Callable | None):
    """In a worker, once: a store, its plan and its program."""
    store = Store(Path(path))
    jax.config.update("jax_enable_x64", store.plan["precision"] == "float64")
    jax.config.update("jax_threefry_partitionable", store.plan.get("threefry_partitionable", True))
    plan = prepare(fn, store.grid(), reduce=reduce, predict=predict, kept=store.plan)
    same(plan, store)
    built = program(plan)
    guard(plan, built, 1)
    return plan, built, store


def _probed(path: str, fn: Callable, reduce: OverSeeds | None, task: int, lanes: np.ndarray):
    return _reopened(path, fn, reduce, None)[1].run(task, lanes)


def _work(
    path: str, fn: Callable, reduce: OverSeeds | None, predict: Callable | None, run: str, task: int
) -> bool:
    """In a worker: commit a task. False: it has killed too many, the driver must quarantine it."""
    store = Store(Path(path))
    if store.record(task).exists():
        return True
    if _suspected(store, run, task):
        return False
    _commit(*_reopened(path, fn, reduce, predict), run, task)
    return True


def _remotely(
    plan: Plan, store: Store, executor: Any, run: str, tasks: Sequence[int], progress: bool | None
) -> None:
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        checks.refuse(
            "executor", "a pool that starts its processes anew", "one that forks them, which hangs JAX",
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))",
        )  # fmt: skip
    payload = (str(store.path.resolve()), plan.fn, plan.reduce, plan.predict, run)
    left, last, idle = set(tasks), "", 0
    fallen = dict.fromkeys(tasks, 0)  # jobs that died before their task began
    with _bar(plan, tasks, progress) as bar:
        while left and idle <= MOST_DEATHS:
            before = len(left)
            with getattr(executor, "batch", nullcontext)():
                running = {executor.submit(_work, *payload, task): task for task in sorted(left)}
            for done in futures.as_completed(running):
                task = running[done]
                try:
                    sound = done.result()
                except futures.BrokenExecutor:
                    raise SweepError(
                        f"executor: a worker died and its pool with it; {len(store.committed())} of "
                        f"{len(plan.blocks)} tasks are committed: run the same sweep again with a new pool "
                        "(a worker also dies where fn cannot be imported)"
                    ) from None
                except Exception as fault:
                    text = last = _reason(fault)
                    began = store.tries(task)
                    if isinstance(fault, WorkerDied) and not began:
                        fallen[task] += 1
                        if fallen[task] < MOST_DEATHS:
                            continue
                        raise SweepError(
                            f"task {task}: {MOST_DEATHS} jobs died before they began it; the last: {text}"
                        ) from None
                    if not began:
                        hint = "; define fn at the top level of a module" if "pickle" in text.lower() else ""
                        raise SweepError(f"task {task}: {type(fault).__name__}: {text}{hint}") from fault
                    if not _suspected(store, run, task):  # its worker died: once more
                        continue
                    sound = False
                if not sound:
                    _commit(plan, program(plan), store, run, task)
                left.discard(task)
                bar.update(1)
            idle = idle + 1 if len(left) == before else 0
    if left:
        raise SweepError(
            f"executor: {len(left)} tasks never ended, such as {sorted(left)[:5]}; the last: {last}"
        )
