"""submitit's executors (Slurm, or its local ones) as a ``concurrent.futures.Executor``."""

import concurrent.futures as futures
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any


class SlurmExecutor(futures.Executor):
    """``SlurmExecutor(submitit.AutoExecutor(folder))``: jobs as standard futures.

    A sweep submits all its tasks in one ``batch``: one job array. ``seconds`` between two looks at
    the queue. Needs ``pip install submitit``; the store must be on a disk that the nodes share.
    """

    def __init__(self, executor: Any, seconds: float = 1.0):
        self._executor, self._seconds = executor, seconds
        self._waiting: list[tuple[Any, futures.Future]] = []
        self._watch: threading.Thread | None = None
        self._batching = False

    def submit(self, fn: Callable, /, *arguments: Any, **options: Any) -> futures.Future:
        job, future = self._executor.submit(fn, *arguments, **options), futures.Future()
        self._waiting.append((job, future))
        if not self._batching:
            self._look()
        return future

    @contextmanager
    def batch(self):
        """Submit as one job array what is submitted inside."""
        self._batching = True
        try:
            with self._executor.batch():
                yield
        finally:
            self._batching = False
        self._look()

    def _look(self) -> None:
        if self._watch is None or not self._watch.is_alive():
            self._watch = threading.Thread(target=self._settle, daemon=True)
            self._watch.start()

    def _settle(self) -> None:
        while self._waiting:
            for job, future in [pair for pair in self._waiting if pair[0].done()]:
                self._waiting.remove((job, future))
                fault = job.exception()
                if fault is None:
                    future.set_result(job.result())
                else:
                    future.set_exception(fault)
            time.sleep(self._seconds)
