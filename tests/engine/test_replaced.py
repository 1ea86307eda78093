"""What is on disk while processes come and go: stores replaced, leftovers, races, a disk that is full."""

import errno
import os
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

import assocmem_jax as am
from assocmem_jax import files, machine, statements, sweeps
from assocmem_jax.sweeps import ledger
from assocmem_jax.sweeps.store import Store
from users import command, put


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, [1.0, 2.0])
    return tmp_path


def leftover(name, alive=False):
    """What a process that was killed (or is at work) left half written beside a name."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return Path(f".{name}-{files._here()}-{os.getpid() if alive else ended.pid}-{'0' * 16}")


def doubled(a):
    return {"y": 2 * a}


def tripled(a):
    return {"y": 3 * a}


def test_killed_while_it_replaces_a_store(here, monkeypatch):
    """Nothing of the old store is left in its place, and its hidden rest goes with the next run."""
    am.sweep(doubled, a=[1.0, 2.0], store="s.zarr")

    def dies(folder):
        os.unlink(Path(folder) / "y" / "zarr.json")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", dies)
    with pytest.raises(KeyboardInterrupt):
        am.sweep(tripled, a=[1.0, 2.0], store="s.zarr", overwrite=True)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert not os.path.exists("s.zarr")
    (rest,) = here.glob(".s.zarr-*")
    monkeypatch.setattr(files, "_alive", lambda process: False)
    assert am.sweep(tripled, a=[1.0, 2.0], store="s.zarr").y.values.tolist() == [3, 6]
    assert not rest.exists()


@pytest.mark.parametrize("name", ["y", "a", "status"])
def test_a_store_without_the_folder_of_an_array_is_damaged(name, here, capsys):
    assert command("sweep", "sweep.toml", "--out", "s.zarr") == 0
    shutil.rmtree(Path("s.zarr") / name)
    capsys.readouterr()
    assert command("sweep", "sweep.toml", "--out", "s.zarr") == 3
    assert f"s.zarr: {name}/zarr.json is missing" in capsys.readouterr().err
    assert command("sweep", "verify", "s.zarr", "--repair", "--trust") == 0
    np.testing.assert_array_equal(am.open_store("s.zarr").y, [1, 4])


def test_a_job_of_an_array_replaces_nothing(here, capsys):
    assert command("sweep", "sweep.toml", "--out", "s.zarr") == 0
    before = {p: p.read_bytes() for p in Path("s.zarr").rglob("*") if p.is_file()}
    capsys.readouterr()
    assert command("sweep", "sweep.toml", "--out", "s.zarr", "--force", "--shard", "0/2") == 2
    assert capsys.readouterr().err.startswith("assocmem: --force with --shard: ")
    with pytest.raises(ValueError, match="overwrite must be left out with shard, got True"):
        am.sweep(doubled, a=[1.0], store="s.zarr", overwrite=True, shard=(0, 2))
    assert {p: p.read_bytes() for p in Path("s.zarr").rglob("*") if p.is_file()} == before


def test_what_is_gone_when_it_is_looked_at_harms_nobody(here, monkeypatch):
    """Between the listing of a folder and the look at a name another process moves it, or removes it."""
    scan, names = os.scandir, [leftover("one"), leftover("two", alive=True)]

    def listed(folder):
        found = list(scan(folder))
        for name in names:
            name.unlink(missing_ok=True)
        return found

    for name in names:
        name.touch()
    monkeypatch.setattr(os, "scandir", listed)
    files.tidy(here)
    monkeypatch.undo()
    assert not [name for name in names if (here / name).exists()]


def test_what_another_user_left_stays(here, monkeypatch):
    leftover("s").touch()

    def refuse(path):
        raise PermissionError(errno.EPERM, "Operation not permitted", path)

    monkeypatch.setattr(os, "unlink", refuse)
    files.tidy(here)


def test_where_folders_tell_no_kinds_what_is_gone_is_no_pipe(tmp_path, monkeypatch):
    """Some file systems list names only; each is then asked for, and one that is gone is nothing at all."""

    class Gone:
        name = "commits"
        __fspath__ = lambda self: str(tmp_path / "gone")  # noqa: E731
        is_symlink = is_dir = is_file = lambda self: False

    class Listing(list):
        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *_: None  # noqa: E731

    monkeypatch.setattr(os, "scandir", lambda folder: Listing([Gone()]))
    assert list(ledger.strangers(tmp_path)) == []
    os.mkfifo(tmp_path / "gone")
    assert list(ledger.strangers(tmp_path)) == [("commits", "a pipe or a device")]


@pytest.mark.parametrize("door", [
    lambda: am.save("x", np.ones(2)), lambda: am.sweep(doubled, a=[1.0], store="x"),
    lambda: command("run", "own.toml", "--out", "x"), lambda: command("sweep", "sweep.toml", "--out", "x"),
    lambda: command("copy", "gd_fig2", "x"),
    lambda: command("check", "gd.8", "--samples", "2", "--json", "x"),
])  # fmt: skip
def test_what_was_killed_at_a_place_is_removed_by_the_next_that_writes_there(door, here):
    dead, alive = leftover("x"), leftover("x", alive=True)
    dead.touch()
    alive.touch()
    door()
    assert not dead.exists()
    assert alive.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_full_disk_is_said_of_the_file(call, number, here, monkeypatch, capsys):
    """Of a write the system names no file, as of standard output."""

    def full(*_):
        raise OSError(number, os.strerror(number))

    class Full:
        write = full
        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *_: None  # noqa: E731

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        opened = os.fdopen
        monkeypatch.setattr(
            os, "fdopen", lambda f, mode: opened(f, mode) if mode == "rb" else (os.close(f), Full())[1]
        )
    with pytest.raises(OSError, match=os.strerror(number)) as fault:
        am.save("ck.bin", np.ones(2))
    assert fault.value.filename == "ck.bin"
    assert command("run", "own.toml", "--out", "r") == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("assocmem")]
    assert os.strerror(number) in line
    assert "one.npz" in line
    assert not os.path.exists("r")
    assert not list(here.rglob(".*-????????????????"))


def test_a_store_that_memory_cannot_hold_is_drawn_by_nobody(here, monkeypatch, capsys):
    assert command("sweep", "sweep.toml", "--out", "s.zarr") == 0
    Path("s.png").unlink()
    monkeypatch.setattr(machine, "free", lambda device=None: 16)
    capsys.readouterr()
    assert command("sweep", "sweep.toml", "--out", "s.zarr") == 0
    printed = capsys.readouterr().out
    assert "  too large to be drawn at once: 3.17e-08 GiB of values, 1.49e-08 GiB is free; " in printed
    assert not Path("s.png").exists()


def test_long_work_leaves_the_main_thread_to_signals(here, monkeypatch):
    """Python hears of a signal between two of its own steps of the main thread: not while XLA computes."""
    at, check, sweep = [], statements.check, sweeps.sweep
    noted = lambda call: lambda *a, **o: (at.append(threading.current_thread()), call(*a, **o))[1]  # noqa: E731
    monkeypatch.setattr(statements, "check", noted(check))
    monkeypatch.setattr(sweeps, "sweep", noted(sweep))
    assert command("check", "gd.8", "--samples", "2") == 0
    assert command("sweep", "sweep.toml", "--out", "s.zarr") == 0
    Store(Path("s.zarr")).chunk("y", 0).unlink()
    assert command("sweep", "verify", "s.zarr", "--repair", "--trust") == 0
    assert command("run", "sweep.toml", "--out", "r") == 0
    assert len(at) == 4
    assert threading.main_thread() not in at
