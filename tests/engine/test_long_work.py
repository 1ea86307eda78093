"""Long work: parts that are kept, Ctrl-C, a bar or lines of a log."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

from assocmem_jax import files, progress
from assocmem_jax.dynamics import CheckpointError
from assocmem_jax.studies import kit
from assocmem_jax.studies.kit import Parts


def parts(scratch, made, stop=4):
    """Four parts, of which the one numbered ``stop`` fails; ``made`` lists those that are computed."""

    def make(k):
        if k == stop:
            raise KeyboardInterrupt
        made.append(k)
        return {"a": np.arange(3) * k, "b": float(k)}

    with Parts(scratch, 4) as part:
        return [part(f"part{k}", lambda k=k: make(k)) for k in range(4)]


def test_a_second_run_goes_on_from_the_parts_that_are_kept(tmp_path, capsys):
    made: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        parts(tmp_path / "s", made, stop=2)
    assert capsys.readouterr().err == ""
    found = parts(tmp_path / "s", made)
    assert made == [0, 1, 2, 3]
    assert capsys.readouterr().err == "going on from part 3 of 4\n"
    for one, whole in zip(found, parts(None, []), strict=True):
        for name in ("a", "b"):
            assert one[name].dtype == whole[name].dtype
            np.testing.assert_array_equal(one[name], whole[name])
    file = tmp_path / "s" / "part1.npz"
    written = file.read_bytes()
    assert set(np.load(file)) == {"a", "b"}  # anybody can look at one
    for k in range(0, len(written), 7):  # of some bits, an archive takes the other value for good
        for bit in (1, 128):
            file.write_bytes(written[:k] + bytes([written[k] ^ bit]) + written[k + 1 :])
            with pytest.raises(CheckpointError, match=r"part1\.npz: is cut short or altered"):
                kit._read(file)
    file.write_bytes(written[:-9])
    with pytest.raises(CheckpointError, match=r"part1\.npz: is cut short or altered"):
        parts(tmp_path / "s", made)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(CheckpointError, match=r"part1\.npz: cannot be read: no regular file"):
        parts(tmp_path / "s", made)


def test_a_dataset_is_a_part(tmp_path):
    made = xr.Dataset({"x": (("a", "b"), np.eye(2)), "n": 3}, coords={"a": [1.0, 2.0], "t": ("b", [0, 1])})
    for make in (lambda: made, lambda: pytest.fail("it is kept")):
        with Parts(tmp_path, 1) as part:
            assert part("d", make).identical(made)


@pytest.mark.parametrize(("told", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_heard_at_once_and_says_what_is_kept(told, code, tmp_path):
    script = (
        "import signal, time; from assocmem_jax.commands.common import interruptible\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background
        "print('ready', flush=True); interruptible(lambda: time.sleep(60), lambda: '3 parts are kept')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=tmp_path,
    ) as run:  # fmt: skip
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        time.sleep(0.2)
        began = time.monotonic()
        run.send_signal(told)
        _, said = run.communicate()
    assert time.monotonic() - began < 20  # of the sixty
    assert run.returncode == code
    assert said == "\nassocmem: interrupted; 3 parts are kept\n"


def test_a_log_has_a_line_a_minute(capsys, monkeypatch):
    """Time goes by 25 seconds a part: lines at the first minutes that are over, none before, no \\r."""
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    with progress.bar(8, unit=" parts") as bar:
        bar._time = lambda: now[0]
        for _ in range(8):
            now[0] += 25
            bar.update()
    said = capsys.readouterr().err
    assert "\r" not in said
    done = [int(line.split("|")[-1].split("/")[0]) for line in said.splitlines()]
    assert done == [3, 6, 8]


def test_what_killed_processes_left_is_swept(tmp_path):
    """Of a dead process of this machine, or a day old; not what another writes, nor what looks alike."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here, living = files._here(), os.getpid()
    name = lambda where, process: f".x.json-{where}-{process}-{'0' * 16}"  # noqa: E731
    gone = [name(here, dead.pid), name("elsewher", dead.pid + 1)]
    kept = [name(here, living), name("elsewher", dead.pid), ".x.json-part", ".hidden"]
    for each in gone + kept:
        (tmp_path / each).write_text("half", encoding="utf-8")
    os.utime(tmp_path / gone[1], (0, 0))
    folder = files.beside(tmp_path / "result")
    folder.mkdir()
    files.tidy(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {*kept, folder.name}
    files.tidy(tmp_path / "nowhere")
