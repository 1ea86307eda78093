"""Slurm with and without accounting, and MPI, as they run; processes killed in the middle; the bytes of a sweep here.

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

import numpy as np
import pytest

import assocmem_jax as am
import engines
from assocmem_jax.sweeps.store import Store
from killed import fingerprint
from swept import slow, trained

pytestmark = [pytest.mark.soak]
TESTS = Path(__file__).parents[1]
JOBS = """
import sys, jax, submitit, assocmem_jax as am
jax.config.update("jax_enable_x64", True)
from swept import trained
jobs = submitit.SlurmExecutor(folder=sys.argv[2])
jobs.update_parameters(time=5, cpus_per_task=1, array_parallelism=1)
am.sweep(trained, learning_rate=[0.5, 1.0, 2.0, 4.0], alpha=0.5, chunk=1, store=sys.argv[1],
         executor=am.SlurmExecutor(jobs, seconds=0.5, patience=3.0), progress=False)
"""
RANKS = """
import os, sys, jax, numpy as np, assocmem_jax as am
jax.config.update("jax_enable_x64", True)
from mpi4py.futures import MPIPoolExecutor
from swept import logged, slow
if __name__ == "__main__":
    with open(sys.argv[2], "w") as file:
        file.write(str(os.getpid()))
    with MPIPoolExecutor() as pool:
        am.sweep(slow, learning_rate=np.geomspace(0.1, 10, 10), alpha=np.linspace(0.5, 1, WIDE), chunk=WIDE, tile=256,
                 store=sys.argv[1], predict=logged, executor=pool, progress=False)
"""
WIDE = 20_000


def needed(*commands):
    for command in commands:
        if shutil.which(command, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            pytest.skip(f"{command} is not installed: make engines")


def environment(env):
    return env | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}


@pytest.mark.parametrize("accounting", [False, True])
def test_a_sweep_on_slurm(tmp_path, accounting):
    needed("munged", "slurmctld", *(["slurmdbd", "mariadbd"] if accounting else []))
    store, states = tmp_path / "slurm.zarr", ""
    with engines.slurm(tmp_path / "cluster", accounting) as env:
        env = environment(env)

        def says(*command):
            return subprocess.run(command, env=env, capture_output=True, text=True, check=False).stdout

        driver = subprocess.Popen(
            [sys.executable, "-c", JOBS, store, tmp_path / "jobs"], env=env, cwd=tmp_path
        )
        killed, until = None, time.monotonic() + 300
        while driver.poll() is None and time.monotonic() < until:
            running = says("squeue", "-h", "-r", "-t", "R", "-o", "%i").split()
            # In the middle: one task is committed, and others are left.
            if running and killed is None and list(store.glob("commits/[0-9]*.json")):
                time.sleep(1.0)
                killed = running[0]
                subprocess.run(["scancel", "-s", "KILL", killed], env=env, check=False)
            time.sleep(0.5)
        assert driver.wait(10) == 0
        if accounting:
            states = says("sacct", "-n", "-X", "-P", "-o", "JobID,State,ExitCode")
    assert killed is not None
    # Who keeps accounts knows of the killed job and of those that ended.
    assert not accounting or (f"{killed}|" in states and states.count("|COMPLETED|") >= 4), states
    print(states)
    am.sweep(
        trained,
        learning_rate=[0.5, 1.0, 2.0, 4.0],
        alpha=0.5,
        chunk=1,
        store=tmp_path / "here",
        progress=False,
    )
    assert fingerprint(store) == fingerprint(tmp_path / "here")
    assert Store(store).verify().faults == []


def test_a_worker_of_mpi_dies_and_all_with_it(tmp_path):
    """Three times, at the same two tasks: it is held against neither, and the fourth run ends the sweep."""
    needed("mpiexec")
    pytest.importorskip("mpi4py")
    store, log, pid = tmp_path / "mpi.zarr", tmp_path / "log", tmp_path / "pid"
    script = tmp_path / "script.py"
    script.write_text(RANKS.replace("WIDE", str(WIDE)), encoding="utf-8")
    env = environment(os.environ | {"SWEPT_LOG": str(log)})
    command = engines.mpi(3, str(script), str(store), str(pid))

    def begun():
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    at = []
    for death in range(3):
        before, process = len(begun()), subprocess.Popen(command, env=env, cwd=tmp_path)
        until = time.monotonic() + 120
        # First in the middle of the sweep; then as soon as both workers are at work.
        while len(begun()) < before + (6 if death == 0 else 2) and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(int(begun()[-1][1]), signal.SIGKILL)
        assert process.wait(60) != 0  # the driver died too
        at.append(sorted({path.name[:8] for path in store.glob("commits/*.try-*")}))
        assert int(pid.read_text()) not in {int(line[1]) for line in begun()}
    assert len(at[0]) == 2
    assert at == [at[0]] * 3  # the same two
    done = Store(store).committed()
    assert 0 < len(done) < 10
    assert all(Store(store).tries(int(task)) == 3 for task in at[0])
    subprocess.run(command, env=env, cwd=tmp_path, check=True, timeout=300)
    assert int(pid.read_text()) not in {
        int(line[1]) for line in begun()
    }  # none was quarantined by the driver
    records = [json.loads(path.read_text()) for path in sorted(store.glob("commits/[0-9]*.json"))]
    assert [record["deaths"] for record in records] == [0] * 10
    rates, alphas = np.geomspace(0.1, 10, 10), np.linspace(0.5, 1, WIDE)
    am.sweep(
        slow, learning_rate=rates, alpha=alphas, chunk=WIDE, tile=256, store=tmp_path / "here", progress=False
    )
    assert fingerprint(store) == fingerprint(tmp_path / "here")
    assert Store(store).verify().faults == []
