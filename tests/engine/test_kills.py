"""Killed at any moment, on any engine, the same bits. Run by `make soak`."""

import concurrent.futures as futures
import functools
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import assocmem_jax as am
from assocmem_jax.sweeps.store import Store
from killed import fingerprint
from swept import deadly, logged, slow, trained

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("uncached")]
CONFIG = "gd_fig3"
BIN = Path(sys.executable).parent


def test_twenty_kills_of_the_command(tmp_path):
    """About a second of start, then about six seconds of work in 100 tasks."""
    sizes = ["learning_rate.log=[0.1, 10.0, 50]", "imbalance.log=[0.3, 3.0, 99]", "steps=3000",
             "alpha.linear=[0.5, 1.0, 101]", "chunk=5100"]  # fmt: skip
    command = [BIN / "assocmem", "sweep", CONFIG, *[w for s in sizes for w in ("--set", s)], "--out"]
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.perf_counter()
    subprocess.run([*command, tmp_path / "whole"], check=True, **quiet)
    whole, length = fingerprint(tmp_path / "whole"), time.perf_counter() - began
    rng = np.random.default_rng(20)
    killed_at_work = 0
    for k in range(20):
        path = tmp_path / f"killed{k}"
        process = subprocess.Popen([*command, path], **quiet)
        time.sleep(rng.uniform(0.25 * length, 0.95 * length))
        process.send_signal(signal.SIGKILL)
        process.wait()
        marks = list(path.glob("commits/*.try-*")) if path.exists() else []
        assert len(marks) <= 1  # one task was being computed: no more is lost
        before = {p: p.stat().st_mtime_ns for p in path.glob("commits/[0-9]*.json")}
        killed_at_work += bool(before)
        subprocess.run([*command, path], check=True, **quiet)
        assert all(p.stat().st_mtime_ns == when for p, when in before.items())  # none computed again
        assert fingerprint(path) == whole
        assert Store(path).verify().faults == []
    assert killed_at_work >= 10  # or this test kills too early to mean anything


VARIANT = """
import sys; sys.path.insert(0, {tests!r})
import jax; jax.config.update("jax_enable_x64", True); jax.config.update("jax_num_cpu_devices", {devices})
import numpy as np, assocmem_jax as am; from swept import trained
rates, alphas = np.geomspace(.1, 10, 60), np.linspace(.5, 1, 50)
am.sweep(trained, learning_rate=rates, alpha=alphas, tile=64, store={path!r}, {how})
"""


def test_one_hash_over_everything(tmp_path):
    axes = dict(learning_rate=np.geomspace(0.1, 10, 60), alpha=np.linspace(0.5, 1, 50))
    seen = {}

    def note(name, data):
        seen[name] = hashlib.sha256(data.loss.values.tobytes() + data.status.values.tobytes()).hexdigest()

    go = functools.partial(am.sweep, trained, **axes, tile=64)
    note("memory", go())
    for chunk in (1, 7, 100, 3000):
        note(f"chunk {chunk}", go(chunk=chunk))
    note("backwards", go(predict=lambda learning_rate, alpha: -alpha))
    for workers in (1, 4):
        with futures.ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            note(f"{workers} processes", go(store=tmp_path / f"p{workers}", chunk=200, executor=pool))
    for devices, how in (
        (1, "chunk=500"),
        (2, "chunk=500"),
        (2, "chunk=130, shard=(1, 3)"),
        (4, "chunk=777"),
    ):
        path = tmp_path / f"d{devices}{len(how)}"
        code = VARIANT.format(tests=str(Path(__file__).parents[1]), devices=devices, path=str(path), how=how)
        subprocess.run([sys.executable, "-c", code], check=True)
        note(f"{devices} devices, {how}, resumed", go(store=path))
    assert len(set(seen.values())) == 1, seen


def test_twelve_kills_in_a_dask_cluster(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    log = tmp_path / "log"
    monkeypatch.setenv("SWEPT_LOG", str(log))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    axes = dict(learning_rate=np.geomspace(0.1, 10, 100), alpha=np.linspace(0.5, 1, 2000))
    whole = am.sweep(slow, **axes, chunk=2000, tile=256, store=tmp_path / "whole")
    killed = []
    with (
        distributed.LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        rng = np.random.default_rng(12)
        stop = threading.Event()

        def kill():
            path = tmp_path / "s" / "commits"
            while len(killed) < 12 and not stop.is_set():
                time.sleep(rng.uniform(0.5, 1.5))
                if not path.exists() or not list(path.glob("[0-9]*.json")):
                    continue
                pids = [w.process.pid for w in cluster.workers.values() if w.process and w.process.pid]
                if pids:
                    pid = pids[int(rng.integers(len(pids)))]
                    killed.append(pid)
                    os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            data = am.sweep(
                slow,
                **axes,
                chunk=2000,
                tile=256,
                store=tmp_path / "s",
                predict=logged,
                executor=client.get_executor(),
            )
        finally:
            stop.set()
            killer.join()
    assert len(killed) == 12, "the sweep ended before twelve kills: give it more work"
    assert (data.status == am.Outcome.OK).all()
    for name in ("first_step", "stable_step"):
        np.testing.assert_array_equal(data[name], whole[name])
    assert fingerprint(tmp_path / "s") == fingerprint(tmp_path / "whole")
    store = Store(tmp_path / "s")
    assert store.verify().faults == []
    assert len(store.committed()) == 100
    committed = {
        float(axes["learning_rate"][json.loads(p.read_text())["task"]]): p.stat().st_mtime
        for p in store.commits.glob("[0-9]*.json")
    }
    for line in log.read_text(encoding="utf-8").splitlines():
        when, _, rate = line.split()
        assert float(when) <= committed[float(rate)], "a committed task was computed again"


@pytest.mark.parametrize("engine", ["here", "dask"])
def test_a_configuration_that_kills_its_process_is_set_apart(tmp_path, engine, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    axes = dict(a=np.arange(32.0))
    go = functools.partial(am.sweep, deadly, **axes, chunk=8, tile=4, store=tmp_path / "s")
    if engine == "here":
        # The process that sweeps dies three times, as its user's would; the fourth finds out why.
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
            "import jax; jax.config.update('jax_enable_x64', True)\n"
            "import numpy as np, assocmem_jax as am; from swept import deadly\n"
            f"path = {str(tmp_path / 's')!r}\n"
            "if __name__ == '__main__': am.sweep(deadly, a=np.arange(32.0), chunk=8, tile=4, store=path)"
        )
        script = tmp_path / "script.py"
        script.write_text(code, encoding="utf-8")
        ends = [
            subprocess.run([sys.executable, str(script)], capture_output=True).returncode for _ in range(5)
        ]
        assert ends[0] == 9
        assert ends[-1] == 0
        data = go()
    else:
        distributed = pytest.importorskip("distributed")
        with (
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            data = go(executor=client.get_executor())
    assert np.flatnonzero(data.status != am.Outcome.OK).tolist() == [13]
    assert int(data.status[13]) == am.Outcome.FAILED
    rest = np.delete(np.arange(32), 13)
    np.testing.assert_array_equal(data.x.values[rest], rest)
    assert Store(tmp_path / "s").verify().faults == []
    assert jax.config.jax_enable_x64
