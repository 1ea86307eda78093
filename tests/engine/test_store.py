"""The store: nothing lost, nothing computed twice, nothing wrong unnoticed."""

import functools
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import assocmem_jax as am
import killed
from assocmem_jax import cli
from assocmem_jax.sweeps import plan, run
from assocmem_jax.sweeps import store as store_module
from assocmem_jax.sweeps.store import Store
from swept import reversed_cost, steps, trained

CONFIG = "gd_fig3"
AXES = dict(learning_rate=np.geomspace(0.1, 10, 6), alpha=np.linspace(0.5, 1, 5))
go = functools.partial(am.sweep, trained, **AXES, tile=8, chunk=5)


def files(store):
    """Every file that creation or a commit wrote."""
    return sorted(p for p in store.rglob("*") if p.is_file())


def contents(store):
    """The bytes of all data (commits say when and where, and so differ)."""
    return {str(p.relative_to(store)): p.read_bytes() for p in files(store) if "commits" not in p.parts}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "whole"
    go(store=path)
    return path


@pytest.fixture
def copy(whole, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(whole, path)
    return path


def count_computed(monkeypatch):
    computed = []
    original = run.compute
    monkeypatch.setattr(run, "compute", lambda *a: computed.append(a[2]) or original(*a))
    return computed


def test_a_store_is_what_memory_would_hold(whole):
    data, memory = am.open_store(whole), am.sweep(trained, **AXES, tile=8)
    xr.testing.assert_identical(data.drop_attrs(), memory.drop_attrs())
    assert data.attrs["identity"] == memory.attrs["identity"]
    assert data.status.attrs == memory.status.attrs
    assert Store(whole).verify() == ([], set(), 6, 6)
    assert len(list(whole.glob("loss/c/*/*"))) == 6  # one chunk a task


def test_interrupted_anywhere_it_goes_on(whole, tmp_path, monkeypatch):
    path = tmp_path / "s"
    for last in (0, 2, 3):

        def failing(learning_rate, alpha, last=last):
            if learning_rate[0] > AXES["learning_rate"][last] * 1.01:
                raise KeyboardInterrupt
            return learning_rate

        with pytest.raises(KeyboardInterrupt):
            go(store=path, predict=failing)
        done = Store(path).committed()
        assert set(range(last + 1)) <= done < set(range(6))
        assert not list(path.glob("commits/*.try-*"))  # an interruption is not a death
        partial = am.open_store(path)
        pending = np.unique(np.nonzero(partial.status.values == am.Outcome.PENDING)[0])
        assert set(pending) == set(range(6)) - done
        assert np.isnan(partial.loss.values[sorted(pending)]).all()
    computed = count_computed(monkeypatch)
    go(store=path)
    assert set(computed) == set(range(6)) - done  # only what was lacking
    assert len(computed) == len(set(computed))
    assert contents(path) == contents(whole)
    computed.clear()
    go(store=path)
    assert computed == []


def test_a_killed_attempt_leaves_a_mark_and_no_harm(whole, copy):
    store = Store(copy)
    for task in (2, 4):
        store.record(task).unlink()
        store.begin(task, f"run{task}")
    (copy / "commits" / "complete.json").unlink()
    store.chunk("loss", 2).unlink()  # killed before it was written,
    store.chunk("loss", 4).write_bytes(b"half")  # or while it was
    (store.chunk("loss", 2).parent / "x.partial").write_bytes(b"left over")
    assert store.verify().faults == []
    assert store.verify().committed == 4
    go(store=copy)
    left = contents(copy)
    left = {name: data for name, data in left.items() if not name.endswith("partial")}
    assert left == contents(whole)
    assert not list(copy.glob("commits/*.try-*"))
    record = json.loads(store.record(2).read_text(encoding="utf-8"))
    assert record["deaths"] == 1


def damage(path, how, rng):
    data = bytearray(path.read_bytes())
    if how == "flip":
        at = int(rng.integers(len(data)))
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
    elif how == "truncate":
        path.write_bytes(data[: int(rng.integers(len(data)))])
    else:
        path.unlink()


@pytest.mark.parametrize(("how", "times"), [("flip", 100), ("truncate", 50), ("delete", 20)])
def test_every_damage_is_found_by_name(copy, how, times):
    assert named_alone(copy, how, times) == times
    assert Store(copy).verify().faults == []


def named_alone(copy, how, times):
    """Of so many damages of a store, mended one by one: how many are named, and nothing else with them."""
    rng = np.random.default_rng(times)
    store, sound = Store(copy), 0
    candidates = files(copy)
    for _ in range(times):
        path = candidates[int(rng.integers(len(candidates)))]
        kept = path.read_bytes()
        damage(path, how, rng)
        found = store.verify()
        named = [fault.partition(":")[0] for fault in found.faults]
        of_task = "c" in path.parts and path.parts[path.parts.index("c") - 1] in ("loss", "status")
        sound += named == [str(path.relative_to(copy))] and (not of_task or len(found.damaged) == 1)
        path.write_bytes(kept)
    return sound


def test_repair_computes_only_what_is_damaged(whole, copy, monkeypatch):
    store = Store(copy)
    store.chunk("loss", 1).write_bytes(b"")
    store.chunk("status", 4).unlink()
    store.record(5).write_text("{}", encoding="utf-8")
    (copy / "loss" / "zarr.json").unlink()
    (copy / "alpha" / "c" / "0").write_bytes(b"no number")
    (copy / "commits" / "manifest.json").write_text("nonsense", encoding="utf-8")
    assert len(store.verify().faults) == 4  # the two files of creation are not known to be wrong
    computed = count_computed(monkeypatch)
    go(store=copy, repair=True)
    assert sorted(computed) == [1, 4, 5]
    assert store.verify().faults == []
    assert contents(copy) == contents(whole)


def test_other_sweeps_are_refused(whole, tmp_path):
    other = dict(AXES, alpha=AXES["alpha"] + 1e-9 * (1 - AXES["alpha"]))
    for change, differs in (
        (dict(alpha=other["alpha"]), "values of its axes"),
        (dict(alpha=AXES["alpha"][:4]), "shape"),
        (dict(tile=16), "tile"),
    ):
        with pytest.raises(
            ValueError, match=f"store must be of this sweep, got .*, which differs in .*{differs}.*overwrite"
        ):
            am.sweep(trained, **(AXES | dict(store=whole, tile=8) | change))
    with pytest.raises(ValueError, match="which differs in function_digest"):
        am.sweep(lambda learning_rate, alpha: trained(learning_rate, alpha / 2), **AXES, store=whole)
    with pytest.raises(am.StoreError, match="is not the store of a sweep"):
        go(store=tmp_path, overwrite=True)
    assert tmp_path.exists()
    replaced = tmp_path / "s"
    shutil.copytree(whole, replaced)
    with pytest.raises(ValueError, match="axes must be given for every parameter"):
        am.sweep(trained, learning_rate=[1.0], store=replaced, overwrite=True)
    assert contents(replaced) == contents(whole)  # a refused sweep replaces nothing
    data = am.sweep(trained, learning_rate=[1.0], alpha=[0.5], store=replaced, overwrite=True)
    assert data.loss.shape == (1, 1)


def test_a_chunk_full_of_never_is_a_result(tmp_path):
    """Every value is the fill value: it is written all the same, as absence means pending."""
    data = am.sweep(steps, learning_rate=[0.1, 1.0], alpha=1.0, store=tmp_path / "s")
    assert (data.first_step == -1).all()
    assert (tmp_path / "s" / "first_step" / "c" / "0").exists()
    assert Store(tmp_path / "s").verify().faults == []


def test_predicted_costs_and_units_are_not_part_of_the_identity(whole, copy):
    (copy / "commits" / "complete.json").unlink()
    Store(copy).record(3).unlink()
    go(store=copy, predict=reversed_cost)
    assert contents(copy) == contents(whole)


FULL = """
import resource, sys; sys.path.insert(0, {tests!r})
import jax; jax.config.update("jax_enable_x64", True)
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import assocmem_jax as am, numpy as np
def fn(a): return {{"x": jax.numpy.sin(a * jax.numpy.arange(4000.0))}}
def limit(a):
    if a[0] >= 3: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    return a
try: am.sweep(fn, a=np.arange(6.0) + np.pi / 10, chunk=1, store={store!r}, predict=limit)
except am.StoreError as fault: print(fault)
"""


def test_a_full_disk_is_one_line_and_a_valid_store(tmp_path):
    """A limit on file sizes stands in for a full disk: the write fails half way, with an OSError."""
    path = tmp_path / "s"
    code = FULL.format(tests=str(Path(__file__).parents[1]), store=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    (line,) = done.stdout.splitlines()
    assert "File too large; " in line
    assert "tasks are committed: make room (or the store writable) and run the same sweep again" in line
    found = Store(path).verify()
    assert found.faults == []
    assert 0 < found.committed < 6
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def attempts(store, monkeypatch, *marks):
    """(run, process, task) that began and were never heard of again."""
    for name, process, task in marks:
        monkeypatch.setattr(store_module, "_PROCESS", process)
        store.begin(task, name)


def test_a_death_in_company_is_held_against_no_task(copy, monkeypatch):
    store = Store(copy)
    begin = functools.partial(attempts, store, monkeypatch)
    begin(*((name, f"{name}{task}", task) for name in "abc" for task in (1, 2)))
    assert [store.tries(1), store.deaths(1), store.deaths(2, "d")] == [3, 0, 0]
    # In the run that goes on, each process died by itself.
    assert [store.deaths(1, "a"), store.deaths(2, "c")] == [1, 1]
    store.settle()
    store.give_up(1)
    assert [store.tries(2), store.deaths(2), store.deaths(2, "a")] == [
        3,
        0,
        0,
    ]  # 1 was there, and is committed
    begin(("d", "p", 2), ("d", "q", 2), ("e", "r", 2))
    assert [store.deaths(2, "f"), store.deaths(2, "d")] == [3, 3]  # alone, twice in one run
    begin(("g", "p", 3), ("g", "p", 4))
    assert [store.deaths(3, "g"), store.deaths(4)] == [0, 0]  # threads of one process
    (copy / "commits" / "stranger.try-1").write_bytes(b"\xff \xff")
    (copy / "commits" / "00000003.try-2").write_bytes(b"\xff")
    store.settle()
    assert [store.tries(3), store.deaths(3)] == [2, 0]


@pytest.mark.parametrize(
    ("marks", "apart", "deaths"),
    [
        # Two marks alone, then three; five in company, then six.
        ([(name, "p", 1) for name in "ab"], [], 2),
        ([(name, "p", 1) for name in "abc"], [1], 3),
        ([(name, "p", task) for name in "abcde" for task in (1, 3)], [], 0),
        ([(name, "p", task) for name in "abcdef" for task in (1, 3)], [1, 3], 0),
    ],
)
def test_when_a_task_is_set_apart(copy, whole, monkeypatch, marks, apart, deaths):
    store, set_apart = Store(copy), []
    for task in (0, 1, 3):
        store.record(task).unlink()
    (copy / "commits" / "complete.json").unlink()
    attempts(store, monkeypatch, *marks)
    monkeypatch.setattr(
        run,
        "_in_process",
        lambda made, store, task, lanes: set_apart.append(task) or plan.program(made).run(task, lanes),
    )
    computed = count_computed(monkeypatch)
    go(store=copy)
    assert set_apart == apart
    begun = sorted({task for _, _, task in marks})
    assert computed[: len(begun)] == begun  # what was begun is tried before the others, one after another
    assert json.loads(store.record(1).read_text(encoding="utf-8"))["deaths"] == deaths
    assert contents(copy) == contents(whole)
    assert not list(copy.glob("commits/*.try-*"))


def test_a_store_that_cannot_be_written_is_one_line(copy, monkeypatch, tmp_path):
    Store(copy).record(3).unlink()
    (copy / "commits" / "complete.json").unlink()

    def refuse(*arguments, **options):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(
        am.StoreError, match="copy: Read-only file system; 5 of 6 tasks are committed"
    ) as refused:
        go(store=copy)
    assert "\n" not in str(refused.value)
    monkeypatch.setattr(run, "create", refuse)
    with pytest.raises(am.StoreError, match="new: Read-only file system; 0 of 6 tasks are committed"):
        go(store=tmp_path / "new")


def test_two_that_create_at_once_share_one_store(tmp_path, monkeypatch):
    """The second to create finds the first's store in its place and goes on with it."""
    path = tmp_path / "s"
    original = os.rename

    def late(source, target):
        monkeypatch.setattr(os, "rename", original)
        go(store=path)
        return original(source, target)

    monkeypatch.setattr(os, "rename", late)
    data = go(store=path)
    assert (data.status == am.Outcome.OK).all()
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


# ---------------------------------------------------------------- the command


SMALL = ["--set", "learning_rate.log=[0.1, 10.0, 4]", "--set", "alpha.linear=[0.5, 1.0, 3]",
         "--set", "imbalance.log=[0.5, 1.0, 2]", "--set", "steps=50", "--set", "chunk=9"]  # fmt: skip


def command(*arguments):
    return cli.main(["sweep", *map(str, arguments)])


@pytest.mark.thorough
def test_the_command_shards_resumes_verifies_and_repairs(tmp_path, capsys):
    out = tmp_path / "fig.zarr"
    assert command(CONFIG, *SMALL, "--out", out, "--shard", "1/2") == 0
    assert "pending" in capsys.readouterr().out
    assert command("status", out) == 0
    assert "2 of 4 tasks committed" in capsys.readouterr().out
    assert command("verify", out) == 0
    assert command(CONFIG, *SMALL, "--out", out, "--shard", "0/2", "--resume") == 0
    printed = capsys.readouterr().out
    assert "4 of 4 tasks committed" in printed
    assert f"figure: {tmp_path / 'fig.png'}" in printed
    assert (tmp_path / "fig.pdf").exists()
    assert "lanes: 36 ok" in printed
    before = contents(out)
    chunk = Store(out).chunk("first_step", 2)
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert command("verify", out) == 3
    faults = capsys.readouterr().err.splitlines()
    assert str(chunk.relative_to(out)) in faults[0]
    assert "1 of 4 tasks are damaged" in faults[1]
    assert command("verify", out, "--repair") == 0
    assert "repaired: 1 of 4 tasks" in capsys.readouterr().out
    assert contents(out) == before
    assert command("verify", out) == 0
    # Another config of the same name is refused, unless forced.
    other = [*SMALL[:-3], "steps=51", *SMALL[-2:]]
    assert command(CONFIG, *other, "--out", out) == 2
    assert "which differs in function_digest" in capsys.readouterr().err
    assert command(CONFIG, *other, "--out", out, "--force") == 0


USER = """
study = "sweep"
function = "mine:{function}"
seeds = 4
reduce = ["mean", 0.5]
units = {{ y = "nats" }}

[axes.a]
linear = [0.0, 1.0, 3]

[sampled.point]
n = 5
laws = {{ b = {{ log_uniform = [1.0, 2.0] }}, c = {{ uniform = [0.0, 1.0] }} }}

[fixed]
d = 2.0
"""
MINE = """
import jax.random as jr

def fn(a, b, c, d, key):
    return {"y": a + b + c + d + 0 * jr.normal(key)}
"""


def test_any_function_can_be_swept_from_a_config(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("mine.py").write_text(MINE, encoding="utf-8")
    Path("user.toml").write_text(USER.format(function="fn"), encoding="utf-8")
    assert command("user.toml", "--out", "s.zarr") == 0
    data = am.open_store("s.zarr")
    assert data.y_mean.dims == ("a", "point")
    assert data.y_quantile.dims == ("a", "point", "quantile")
    np.testing.assert_allclose(data.y_mean, data.a + data.b + data.c + 2, rtol=1e-14)
    assert Path("s.png").exists()
    capsys.readouterr()
    for function, said in (("gn", "mine has no 'gn'"), ("x:y", "function")):
        Path("user.toml").write_text(USER.format(function=function), encoding="utf-8")
        assert command("user.toml", "--out", "t.zarr") == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gd_fig1",), "gd.landscape is not a sweep; assocmem run runs it"),
        ((CONFIG, "--shard", "2/2"), "--shard must be I/N with 0 ≤ I < N, got '2/2'"),
        ((CONFIG, "--shard", "one"), "--shard must be I/N"),
        ((CONFIG, "--shard", f"0/{'9' * 5000}"), "--shard must be I/N"),
        ((CONFIG, "--devices", "0"), "--devices must be from 1 to 1024, got 0"),
        ((CONFIG, "--devices", "9" * 20), "--devices must be from 1 to 1024, got 99999999999999999999"),
        (("status", "nowhere"), "nowhere: no such store"),
        (("verify", "nowhere"), "nowhere: no such store"),
        (("verify",), "sweep verify takes one store"),
        ((CONFIG, CONFIG), "sweep takes one config"),
        ((CONFIG, "--set", "alpha.log=[0.5, 1.0, 3]"), "alpha: must have one of values, linear and log, got linear and log"),
    ],
)  # fmt: skip
def test_the_command_refuses_in_one_line(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_tasks_of_a_plan_cover_the_grid_once():
    for shape in [(), (1,), (7,), (3, 5), (4, 1, 6), (2, 3, 4, 5)]:
        for most in (1, 2, 5, 7, 30, 1000):
            cut = am.sweeps.axes.blocks(shape, most)
            seen = np.zeros(shape, int)
            for task in cut:
                seen[cut.region(task)] += 1
            assert (seen == 1).all()
            assert np.prod(cut.box) <= most
    assert plan.LARGEST_BOX < 2**31


@pytest.mark.parametrize("name", ["p(x)", "η", "loss:train", "a b"])
def test_any_name_and_any_number_of_ones_own(name, tmp_path):
    """What a sweep may be called and given is what a store may say: sound, and gone on from."""
    sweep = functools.partial(am.sweep, lambda a, flag, k: {name: a * flag * k}, a=np.linspace(0, 1, 3))
    for _ in range(2):
        data = sweep(flag=True, k=2, store=tmp_path / "s")
    np.testing.assert_allclose(data[name], [0, 1, 2])
    assert Store(tmp_path / "s").verify() == ([], set(), 1, 1)


@pytest.mark.usefixtures("uncached")
def test_killed_in_the_middle_it_is_resumed_to_the_same_bytes(tmp_path, capsys):
    """One SIGKILL; test_kills.py has twenty, on every engine."""
    killed.here(tmp_path / "whole")
    before, sound = killed.killed_and_resumed(tmp_path / "killed", killed.fingerprint(tmp_path / "whole"))
    assert 1 <= before < len(list((tmp_path / "whole").glob("commits/[0-9]*.json"))) == 24
    assert sound
