"""Slurm with and without accounting, and MPI, as they run: killed in the middle, the bytes of a sweep here.

Dask: test_kills.py. What is missing of them is skipped with its name; `make engines` installs all.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import engines
from assocmem_jax.sweeps.store import Store
from killed import fingerprint

pytestmark = [pytest.mark.soak]
TESTS = Path(__file__).parents[1]
GRID = """
import os, sys, jax, numpy as np, assocmem_jax as am
jax.config.update("jax_enable_x64", True)
from swept import logged, slow
def go(executor):
    am.sweep(slow, learning_rate=np.geomspace(0.1, 10, 10), alpha=np.linspace(0.5, 1, 20_000), chunk=20_000,
             tile=256, store=sys.argv[1], predict=logged, executor=executor, progress=False)
"""
JOBS = """
import submitit
jobs = submitit.SlurmExecutor(folder=sys.argv[2])
jobs.update_parameters(time=5, cpus_per_task=1, array_parallelism=2)
go(am.SlurmExecutor(jobs, seconds=0.5, patience=3.0))
"""
RANKS = """
if __name__ == "__main__":
    from mpi4py.futures import MPIPoolExecutor
    with open(sys.argv[2], "w") as file:
        file.write(str(os.getpid()))
    with MPIPoolExecutor() as pool:
        go(pool)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the same sweep writes in a process of this machine."""
    store = tmp_path_factory.mktemp("here") / "here.zarr"
    env = environment(os.environ | {"SWEPT_LOG": str(store.parent / "log")})
    subprocess.run([sys.executable, "-c", f"{GRID}go(None)", store], env=env, check=True)
    return fingerprint(store)


def needed(*commands):
    for command in commands:
        if shutil.which(command, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            pytest.skip(f"{command} is not installed: make engines")


def environment(env):
    return env | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}


def begun(log):
    """(second, process, rate) of each task that was begun."""
    return [line.split() for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


@pytest.mark.parametrize("accounting", [False, True])
def test_a_sweep_on_slurm(tmp_path, accounting, whole):
    needed("munged", "slurmctld", *(["slurmdbd", "mariadbd"] if accounting else []))
    store, log, states = tmp_path / "slurm.zarr", tmp_path / "log", []
    with engines.slurm(tmp_path / "cluster", accounting) as env:
        env = environment(env | {"SWEPT_LOG": str(log)})
        command = [sys.executable, "-c", GRID + JOBS, store, tmp_path / "jobs"]
        driver = subprocess.Popen(command, env=env, cwd=tmp_path)
        try:
            until = time.monotonic() + 200
            while not list(store.glob("commits/[0-9]*.json")) and time.monotonic() < until:
                assert driver.poll() is None
                time.sleep(0.1)
            before = len(begun(log))
            while len(begun(log)) == before:  # one that has just begun
                assert driver.poll() is None
                time.sleep(0.02)
            _, killed, rate = begun(log)[-1]
            os.kill(int(killed), signal.SIGKILL)
            assert driver.wait(300) == 0
        finally:
            driver.kill()
        if accounting:
            asked = ["sacct", "-n", "-X", "-P", "-o", "State"]
            until, states = time.monotonic() + 60, []
            while len(states) < 11 and time.monotonic() < until:  # a job is recorded after it ended
                time.sleep(0.5)
                said = subprocess.run(asked, env=env, capture_output=True, text=True, check=True).stdout
                states = said.split()
    assert [line[2] for line in begun(log)].count(rate) == 2  # it was begun again
    deaths = [json.loads(path.read_text())["deaths"] for path in store.glob("commits/[0-9]*.json")]
    assert sorted(deaths) == [0] * 9 + [1]  # and held against what was killed alone
    assert not accounting or sorted(states) == ["COMPLETED"] * 10 + ["FAILED"]
    assert fingerprint(store) == whole
    assert Store(store).verify().faults == []


def test_a_worker_of_mpi_dies_and_all_with_it(tmp_path, whole):
    """Three times, at the same two tasks: it is held against neither, and the fourth run ends the sweep."""
    needed("mpiexec")
    pytest.importorskip("mpi4py")
    store, log, pid = tmp_path / "mpi.zarr", tmp_path / "log", tmp_path / "pid"
    script = tmp_path / "script.py"
    script.write_text(GRID + RANKS, encoding="utf-8")
    env = environment(os.environ | {"SWEPT_LOG": str(log)})
    command = engines.mpi(3, str(script), str(store), str(pid))

    at = []
    for death in range(3):
        before, process = len(begun(log)), subprocess.Popen(command, env=env, cwd=tmp_path)
        until = time.monotonic() + 120
        # First in the middle of the sweep; then as soon as both workers are at work.
        while len(begun(log)) < before + (6 if death == 0 else 2) and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(int(begun(log)[-1][1]), signal.SIGKILL)
        assert process.wait(60) != 0  # the driver died too
        at.append(sorted({path.name[:8] for path in store.glob("commits/*.try-*")}))
        assert int(pid.read_text()) not in {int(line[1]) for line in begun(log)}
    assert len(at[0]) == 2
    assert at == [at[0]] * 3  # the same two
    done = Store(store).committed()
    assert 0 < len(done) < 10
    assert all(Store(store).tries(int(task)) == 3 for task in at[0])
    subprocess.run(command, env=env, cwd=tmp_path, check=True, timeout=300)
    # The driver computed none: it had none to set apart.
    assert int(pid.read_text()) not in {int(line[1]) for line in begun(log)}
    records = [json.loads(path.read_text()) for path in sorted(store.glob("commits/[0-9]*.json"))]
    assert [record["deaths"] for record in records] == [0] * 10
    assert fingerprint(store) == whole
    assert Store(store).verify().faults == []
