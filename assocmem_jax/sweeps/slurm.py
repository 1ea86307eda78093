"""submitit's executors (Slurm, or its local ones) as a ``concurrent.futures.Executor``."""

import concurrent.futures as futures
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, NamedTuple

from .. import checks


class WorkerDied(RuntimeError):
    """A job that ended and left no result. One line: the last that it said."""


class _Waiting(NamedTuple):
    job: Any
    future: futures.Future


class SlurmExecutor(futures.Executor):
    """``SlurmExecutor(submitit.AutoExecutor(folder))``: jobs as standard futures.

    A sweep submits all its tasks in one ``batch``: one job array. Needs ``pip install submitit``; the store
    must be on a disk that the nodes share.

    - ``seconds`` between two looks at the queue.
    - ``patience``: seconds that a result may take to be seen after its job has left the queue. Then the job
      has died (``WorkerDied``), and a sweep tries its task again. The queue is asked (``squeue``): this needs
      no accounting (``sacct``), without which submitit waits for a killed job for ever.
    """

    def __init__(self, executor: Any, seconds: float = 1.0, patience: float = 15.0):
        if not (hasattr(executor, "submit") and hasattr(executor, "batch")):
            checks.refuse(
                "executor", "one of submitit's", checks.short(executor), "submitit.AutoExecutor(folder)"
            )
        for name, value in (("seconds", seconds), ("patience", patience)):
            checks.number(name, value)
            checks.within(name, value, 0, 1e9)
        self._executor, self._seconds, self._patience = executor, seconds, patience
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._batch: list[_Waiting] | None = None
        self._missed: dict[str, float] = {}  # since when a job without a result is not in the queue
        self._watch: threading.Thread | None = None

    def submit(self, fn: Callable, /, *arguments: Any, **options: Any) -> futures.Future:
        pair = _Waiting(self._executor.submit(fn, *arguments, **options), futures.Future())
        pair.future.set_running_or_notify_cancel()  # what is submitted is not taken back
        if self._batch is None:
            self._follow([pair])
        else:  # a job has no id before its batch is sent
            self._batch.append(pair)
        return pair.future

    @contextmanager
    def batch(self):
        """Submit as one job array what is submitted inside."""
        self._batch = pairs = []
        try:
            with self._executor.batch():
                yield
        finally:
            self._batch = None
        self._follow(pairs)

    def _follow(self, pairs: list[_Waiting]) -> None:
        with self._lock:
            self._waiting += pairs
            if self._watch is None and self._waiting:
                self._watch = threading.Thread(target=self._settle, daemon=True)
                self._watch.start()

    def _settle(self) -> None:
        while True:
            with self._lock:
                waiting = list(self._waiting)
                if not waiting:
                    self._watch = None
                    return
            queue = _queued() if any(map(_of_slurm, (pair.job for pair in waiting))) else None
            for pair in waiting:
                try:
                    ended = self._ended(pair.job, queue)
                    if ended:
                        _answer(pair)
                except Exception as fault:  # whatever submitit or Slurm say: of this job, not of the others
                    ended = True
                    pair.future.set_exception(fault)
                if ended:
                    with self._lock:
                        self._waiting.remove(pair)
            time.sleep(self._seconds)

    def _ended(self, job: Any, queue: set[str] | None) -> bool:
        if not _of_slurm(job):
            return job.done()
        if job.paths.result_pickle.exists():
            return True
        if queue is None or job.job_id in queue:  # not known, or there
            self._missed.pop(job.job_id, None)
            return False
        since = self._missed.setdefault(job.job_id, time.monotonic())
        if time.monotonic() - since < self._patience:
            return False
        raise WorkerDied(f"job {job.job_id} left the queue without a result: {_said(job)}")


def _of_slurm(job: Any) -> bool:
    return type(job).__module__.startswith("submitit.slurm")


def _queued() -> set[str] | None:
    """Ids of all jobs that wait or run, an array's one by one; None where the queue cannot be asked."""
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", "--noheader", "--array", "--format=%i"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return set(asked.stdout.split()) if asked.returncode == 0 else None


def _answer(pair: _Waiting) -> None:
    fault = pair.job.exception()
    if fault is None:
        pair.future.set_result(pair.job.result())
    elif type(fault).__name__ == "UncompletedJobError":
        pair.future.set_exception(WorkerDied(f"job {pair.job.job_id} left no result: {_said(pair.job)}"))
    else:
        pair.future.set_exception(fault)


def _said(job: Any) -> str:
    """The last line of what a job wrote as an error."""
    lines = [line.strip() for line in (job.stderr() or "").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it wrote no error"
