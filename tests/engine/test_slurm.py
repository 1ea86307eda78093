"""Jobs as futures: a queue that forgets, jobs that die before they begin, two batches, shares of an array."""

import concurrent.futures as futures
import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest

import assocmem_jax as am
from assocmem_jax import cli, machine
from assocmem_jax.sweeps import run, slurm
from swept import trained

ROOT = Path(__file__).parents[2]
POINTS = {"learning_rate": [0.5, 1.0, 2.0, 4.0], "alpha": 0.5}


class Paths:
    def __init__(self, folder, name):
        self.result_pickle = folder / f"{name}.pkl"


class Job:
    """What SlurmExecutor asks of a job of submitit."""

    __module__ = "submitit.slurm.slurm"
    number = 0

    def __init__(self, folder, work):
        self.number = Job.number = Job.number + 1
        self.job_id, self.paths, self.work = f"7_{self.number}", Paths(folder, self.number), work

    def finish(self):
        self.paths.result_pickle.touch()

    def done(self):
        raise AssertionError("sacct would be asked")

    def exception(self):
        return None

    def result(self):
        return self.work()

    def stderr(self):
        return "a line\nslurmstepd: error: out of memory\n"


class Cluster:
    """An executor of jobs that run when told; ids only after a batch."""

    def __init__(self, folder):
        self.folder, self.jobs = folder, []

    def submit(self, fn, *arguments):
        self.jobs.append(Job(self.folder, lambda: fn(*arguments)))
        return self.jobs[-1]

    @contextlib.contextmanager
    def batch(self):
        yield


@pytest.fixture
def queue(monkeypatch):
    ids = set()
    monkeypatch.setattr(slurm, "_queued", lambda: ids)
    return ids


def test_a_killed_job_is_seen_without_accounting(tmp_path, queue):
    cluster = Cluster(tmp_path)
    executor = slurm.SlurmExecutor(cluster, seconds=0.01, patience=0.1)
    kept, killed = executor.submit(int, "5"), executor.submit(int, "6")
    queue |= {job.job_id for job in cluster.jobs}
    time.sleep(0.3)
    assert not killed.done()  # in the queue, however long
    cluster.jobs[0].finish()
    queue.clear()
    assert kept.result(5) == 5
    with pytest.raises(
        slurm.WorkerDied, match=r"job 7_.* left the queue without a result: slurmstepd: error"
    ):
        killed.result(5)


def test_a_result_may_be_seen_late(tmp_path, queue):
    cluster = Cluster(tmp_path)
    executor = slurm.SlurmExecutor(cluster, seconds=0.01, patience=5)
    future = executor.submit(int, "5")
    time.sleep(0.1)
    cluster.jobs[0].finish()
    assert future.result(5) == 5


def test_a_queue_that_does_not_answer_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "_queued", lambda: None)
    cluster = Cluster(tmp_path)
    future = slurm.SlurmExecutor(cluster, seconds=0.01, patience=0.05).submit(int, "5")
    time.sleep(0.3)
    assert not future.done()
    cluster.jobs[0].finish()
    assert future.result(5) == 5


def test_jobs_of_a_second_batch_are_not_looked_at_before_it_is_sent(tmp_path, queue):
    cluster = Cluster(tmp_path)
    executor = slurm.SlurmExecutor(cluster, seconds=0.01, patience=0.05)
    with executor.batch():
        one = executor.submit(int, "1")
    queue |= {job.job_id for job in cluster.jobs}
    with executor.batch():
        two = executor.submit(int, "2")
        time.sleep(0.3)  # the watcher looks meanwhile
        assert not two.done()
        queue |= {job.job_id for job in cluster.jobs}
    for job in cluster.jobs:
        job.finish()
    assert [one.result(5), two.result(5)] == [1, 2]


def test_a_submitted_job_is_not_taken_back(tmp_path, queue):
    """A cancelled future would take no result, and the watcher would end of it."""
    cluster = Cluster(tmp_path)
    executor = slurm.SlurmExecutor(cluster, seconds=0.01, patience=5)
    one, other = executor.submit(int, "1"), executor.submit(int, "2")
    assert not one.cancel()
    for job in cluster.jobs:
        job.finish()
    assert [one.result(5), other.result(5)] == [1, 2]


def test_what_one_job_raises_is_its_own(tmp_path, queue):
    cluster = Cluster(tmp_path)
    executor = slurm.SlurmExecutor(cluster, seconds=0.01, patience=5)
    bad, good = executor.submit(int, "x"), executor.submit(int, "2")
    cluster.jobs[0].exception = lambda: ValueError("no number")
    for job in cluster.jobs:
        job.finish()
    with pytest.raises(ValueError, match="no number"):
        bad.result(5)
    assert good.result(5) == 2


class Dying(futures.Executor):
    """Jobs that die before their task begins, so many times for each task."""

    def __init__(self, times):
        self.times, self.tried = times, {}

    def submit(self, fn, /, *arguments):
        task, future = arguments[-1], futures.Future()
        self.tried[task] = self.tried.get(task, 0) + 1
        if self.tried[task] <= self.times:
            future.set_exception(slurm.WorkerDied(f"job {task} left no result: node gone"))
        else:
            future.set_result(fn(*arguments))
        return future


def test_a_job_that_dies_before_its_task_is_tried_again(tmp_path):
    whole = am.sweep(trained, **POINTS, progress=False)
    dying = Dying(run.MOST_DEATHS - 1)
    again = am.sweep(trained, **POINTS, chunk=2, store=tmp_path / "s.zarr", executor=dying, progress=False)
    assert set(dying.tried.values()) == {run.MOST_DEATHS}
    for name in whole.data_vars:
        assert (again[name].values == whole[name].values).all()
    with pytest.raises(
        am.SweepError, match=r"task \d: 3 jobs died before they began it; the last: job \d .*: node gone"
    ):
        am.sweep(trained, **POINTS, chunk=2, store=tmp_path / "t.zarr", executor=Dying(9), progress=False)


def test_cores_are_what_the_job_asked_for(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    for asked, found in (("2", 2), ("16", 8), ("0", 1), ("all", 8), ("", 8)):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", asked)
        assert machine.cores() == found


def shares(tmp_path, **array):
    """What the script of examples/ gives to the command."""
    (tmp_path / "assocmem").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "assocmem").chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | array
    script = [
        "bash",
        str(ROOT / "examples" / "slurm_array.sh"),
        "8",
        "gd_fig3",
        "s.zarr",
        "--set",
        "chunk=100",
    ]
    return subprocess.run(script, capture_output=True, text=True, env=env, check=False)


def test_any_numbers_of_an_array_keep_the_parts(tmp_path):
    for job, count, part in (("0", "8", 0), ("8", "8", 0), ("5", "2", 5), ("5", "1", 5), ("1", "2", 1)):
        done = shares(tmp_path, SLURM_ARRAY_TASK_ID=job, SLURM_ARRAY_TASK_COUNT=count)
        assert done.stdout.strip() == f"sweep gd_fig3 --out s.zarr --shard {part}/8 --set chunk=100"
    refused = shares(tmp_path, SLURM_ARRAY_TASK_ID="9", SLURM_ARRAY_TASK_COUNT="16")
    assert refused.returncode == 2
    assert "an array of 16 jobs for 8 parts" in refused.stderr


@pytest.mark.thorough
def test_who_has_nothing_to_do_draws_nothing(tmp_path, capsys):
    small = ["gd_fig3", "--set", "learning_rate.log=[0.1, 10.0, 3]", "--set", "alpha.linear=[0.5, 1.0, 3]",
             "--set", "steps=40", "--out", str(tmp_path / "s.zarr")]  # fmt: skip
    assert cli.main(["sweep", *small, "--shard", "1/2"]) == 0
    assert "nothing to do for shard 1/2" in capsys.readouterr().out
    assert cli.main(["sweep", *small, "--shard", "0/2"]) == 0
    assert (tmp_path / "s.png").exists()
    (tmp_path / "s.png").unlink()
    assert cli.main(["sweep", *small, "--shard", "0/2", "--resume"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert not (tmp_path / "s.png").exists()
