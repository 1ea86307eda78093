"""Results of somebody else's: read as data. Nothing they name is run, nothing outside of them is touched."""

import json
import os
import shutil
import socket
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import assocmem_jax as am
from assocmem_jax import cli, files, named
from assocmem_jax.sweeps import ledger
from assocmem_jax.sweeps.store import Store

MINE = """
from pathlib import Path

from assocmem_jax import plot
from assocmem_jax.studies.study import Study

Path("ran").touch()


def fn(a):
    return {"y": a * a}


class Own(Study):
    title = "Own"

    def run(self, scratch):
        import xarray as xr
        return xr.Dataset({"y": ("x", [1.0, 2.0])})

    def report(self, data):
        return ["fine"]

    def figure(self, data):
        figure, axes = plot.panels(1, 1, 2.4, plot.COLUMN)
        plot.line(axes[0, 0], [0.0, 1.0], data.y)
        return figure
"""


def command(*arguments):
    return cli.main([*map(str, arguments)])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store and a result whose configs name a file beside them."""
    place = tmp_path_factory.mktemp("made")
    here = os.getcwd()
    os.chdir(place)
    try:
        Path("mine.py").write_text(MINE, encoding="utf-8")
        sweep = 'study = "sweep"\nfunction = "mine.py:fn"\nchunk = 2\n[axes.a]\nvalues = [1.0, 2.0, 3.0]\n'
        Path("sweep.toml").write_text(sweep, encoding="utf-8")
        Path("own.toml").write_text('study = "mine.py:Own"\n', encoding="utf-8")
        assert command("sweep", "sweep.toml", "--out", "s.zarr") == 0
        assert command("run", "own.toml", "--out", "r") == 0
        Path("ran").unlink()
    finally:
        os.chdir(here)
    return place


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    place = tmp_path / "here"
    shutil.copytree(made, place)
    monkeypatch.chdir(place)
    # Another folder is another file: its module has not been imported yet.
    return place


def test_code_that_a_result_names_is_run_only_if_trusted(here, capsys):
    Store(Path("s.zarr")).chunk("y", 0).unlink()
    capsys.readouterr()
    assert command("sweep", "verify", "s.zarr", "--repair") == 2
    foreign = "is not this package's: nothing of it was run; --trust runs it"
    assert capsys.readouterr().err == f"assocmem: 'mine.py:fn' {foreign} (s.zarr)\n"
    assert command("figure", "r") == 2
    assert capsys.readouterr().err == f"assocmem: 'mine.py:Own' {foreign} (r)\n"
    assert not Path("ran").exists()
    assert command("sweep", "verify", "s.zarr", "--repair", "--trust") == 0
    assert Path("ran").exists()
    assert command("figure", "r", "--trust") == 0
    np.testing.assert_array_equal(am.open_store("s.zarr").y, [1, 4, 9])


def test_a_name_of_this_package_opens_no_folder(here, monkeypatch):
    """Or what lies beside a result is imported in the place of matplotlib."""
    Path("x.toml").write_text(
        'study = "assocmem_jax.studies.user:UserSweep"\nfunction = "mine.py:fn"\naxes.a.values = [1.0]\n',
        encoding="utf-8",
    )
    assert command("run", "x.toml", "--out", "x") == 0
    apart = [place for place in sys.path if place not in ("", str(here))]
    monkeypatch.setattr(sys, "path", list(apart))
    assert command("figure", "x") == 0
    assert sys.path == apart


@pytest.mark.parametrize(
    "name",
    [
        "os:getcwd",
        "assocmem_jax.files:os",
        "assocmem_jaxx:f",
        "./assocmem_jax.py:f",
        "assocmem_jax.py:f",
        "assocmem_jax.evil.py:f",
        "assocmem_jax./evil.py:f",
        "assocmem_jax.x/../evil.py:f",
    ],
)
def test_no_name_leads_out_of_the_package(name):
    with named.untrusted("s"), pytest.raises(named.NamedError, match="nothing of it was run"):
        named.named(name)


def test_what_is_ours_needs_no_trust():
    with named.untrusted("s"):
        assert named.named("assocmem_jax.files:checksum") is files.checksum


def resealed(path, change):
    record = ledger.unsealed(path)
    change(record)
    path.write_text(ledger.sealed(record), encoding="utf-8")


def link_out(store):
    chunk = store.chunk("y", 0)
    chunk.unlink()
    chunk.symlink_to("/dev/zero")
    return "y/c/0: a link out of the store"


def folder_out(store):
    outside = store.path.parent / "outside"
    shutil.move(store.path / "y", outside)
    (store.path / "y").symlink_to(outside)
    return "y/c/0: a link out of the store"


def pipe(store):
    chunk = store.chunk("y", 0)
    chunk.unlink()
    os.mkfifo(chunk)
    return "y/c/0: unreadable (no regular file)"


def names_outside(store):
    def change(record):
        record["files"]["../../etc/passwd"] = [0, "x"]

    resealed(store.commits / "manifest.json", change)
    return "commits/manifest.json: corrupt (its files)"


def names_a_device(store):
    def change(record):
        record["files"]["/dev/zero"] = [0, "x"]

    resealed(store.record(0), change)
    return "commits/00000000.json: corrupt (its files)"


def names_another_chunk(store):
    def change(record):
        record["files"] = {name.replace("c/0", "c/1"): about for name, about in record["files"].items()}

    resealed(store.record(0), change)
    return "commits/00000000.json: corrupt (names what is no chunk of this task)"


def names_a_neighbour(store):
    def change(record):
        record["files"] = {f"{name}/1": about for name, about in record["files"].items()}

    resealed(store.record(0), change)
    return "commits/00000000.json: corrupt (names what is no chunk of this task)"


def is_of_another_task(store):
    shutil.copy(store.record(1), store.record(0))
    return "commits/00000000.json: corrupt (no record of this task)"


def counts_in_words(store):
    resealed(store.record(0), lambda record: record.update(outcomes={"ok": "many"}))
    return "commits/00000000.json: corrupt (no record of this task)"


def of_no_task(store):
    shutil.copy(store.record(1), store.record(11))
    return "commits/00000011.json: there is no task 11 of 2"


def deep(store):
    store.record(0).write_text("[" * 10**5, encoding="utf-8")
    return "commits/00000000.json: corrupt (checksum)"


def a_list(store):
    (store.commits / "complete.json").write_text("[]", encoding="utf-8")
    return "commits/complete.json: corrupt (checksum)"


def no_plan(store):
    resealed(store.commits / "manifest.json", lambda record: record["attributes"].update(sweep="{}"))
    return "commits/manifest.json: corrupt (its plan)"


DAMAGES = [link_out, folder_out, pipe, names_outside, names_a_device, names_another_chunk, names_a_neighbour,
           is_of_another_task, counts_in_words, of_no_task, deep, a_list, no_plan]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_store_is_not_trusted_too_far(damage, here, capsys):
    said = damage(Store(Path("s.zarr")))
    capsys.readouterr()
    assert command("sweep", "verify", "s.zarr") == 3
    err = capsys.readouterr().err
    assert f"s.zarr: {said}\n" in err
    assert command("sweep", "status", "s.zarr") in (0, 3)
    assert "of 2 tasks committed" in capsys.readouterr().out
    assert command("sweep", "verify", "s.zarr", "--repair", "--trust") == 0, capsys.readouterr().err
    np.testing.assert_array_equal(am.open_store("s.zarr").y, [1, 4, 9])
    assert not [p for p in here.rglob("*") if p.is_symlink()]


@pytest.mark.parametrize("plan", ["{}", "[" * 10**5, '{"shape": [3], "box": [0]}', "7", "tasks without end"])
def test_a_store_without_a_plan(plan, here, capsys):
    store = Store(Path("s.zarr"))
    if plan == "tasks without end":  # 2·10⁹, which no memory can count one by one
        plan = json.dumps(store.plan | {"shape": [40000, 50000], "box": [1, 1]})
    resealed(store.commits / "manifest.json", lambda record: record["attributes"].update(sweep=plan))
    group = json.loads(Path("s.zarr/zarr.json").read_text(encoding="utf-8"))
    group["attributes"]["sweep"] = plan
    Path("s.zarr/zarr.json").write_text(json.dumps(group), encoding="utf-8")
    for ask in ("verify", "status"):
        assert command("sweep", ask, "s.zarr") == 3
        said = capsys.readouterr().err
        assert "commits/manifest.json: corrupt (its plan); zarr.json: corrupt (its plan)" in said
        assert len(said.splitlines()) == 1


def test_a_sweep_draws_no_chunk_that_is_damaged(here, capsys):
    chunk = Store(Path("s.zarr")).chunk("y", 0)
    chunk.write_bytes(chunk.read_bytes()[:5])
    capsys.readouterr()
    assert command("sweep", "sweep.toml", "--out", "s.zarr") == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("assocmem: s.zarr: cannot be read as Zarr: ")
    assert line.endswith("; `assocmem sweep verify s.zarr --repair` mends it")


def test_a_store_has_no_more_tasks_than_a_folder_has_files(here, monkeypatch):
    from assocmem_jax.sweeps import plan

    monkeypatch.setattr(plan, "MOST_TASKS", 2)
    with pytest.raises(
        ValueError, match=r"^chunk must be such that there are at most 2 tasks, got 3 of them"
    ):
        am.sweep(lambda a: {"y": a}, a=[1.0, 2.0, 3.0], chunk=1, store="new.zarr")
    assert not Path("new.zarr").exists()


def test_nothing_is_written_through_a_link(here, capsys):
    """A sweep that goes on: its chunk is a link to a file that is not the store's."""
    Path("precious").write_text("kept", encoding="utf-8")
    store = Store(Path("s.zarr"))
    link_out(store)
    store.chunk("y", 0).unlink()
    store.chunk("y", 0).symlink_to(here / "precious")
    store.record(0).unlink()
    capsys.readouterr()
    assert command("sweep", "sweep.toml", "--out", "s.zarr") == 3
    assert "y/c/0 is a link out of the store: nothing is written through it" in capsys.readouterr().err
    assert Path("precious").read_text(encoding="utf-8") == "kept"


def test_what_a_figure_replaces(here):
    Path("precious").write_text("kept", encoding="utf-8")
    Path("r/figure.png").unlink()
    Path("r/figure.png").symlink_to(here / "precious")
    assert command("figure", "r", "--trust") == 0
    assert Path("precious").read_text(encoding="utf-8") == "kept"
    assert not Path("r/figure.png").is_symlink()


def test_escape_codes_do_not_reach_the_terminal(here, capsys):
    def change(record):
        record["failures"] = {"0": "\x1b]0;owned\x07\x1b[2J"}

    resealed(Store(Path("s.zarr")).record(0), change)
    assert command("sweep", "status", "s.zarr") == 0
    printed = capsys.readouterr().out
    assert "failed: task 0, lane 0: \\x1b]0;owned\\x07\\x1b[2J" in printed
    assert "\x1b" not in printed


def pickled(place):
    """A Zarr v2 array whose filter is a pickle: under numcodecs before 0.16.6 reading it runs code."""
    array = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "fill_value": None, "order": "C",
             "compressor": None, "filters": [{"id": "pickle", "protocol": 5}]}  # fmt: skip
    shutil.rmtree(place)
    (place / "y").mkdir(parents=True)
    (place / ".zgroup").write_text('{"zarr_format": 2}', encoding="utf-8")
    (place / "y" / ".zarray").write_text(json.dumps(array), encoding="utf-8")
    return "is of Zarr format 2"


def with_another_codec(place):
    file = next(place.rglob("y/zarr.json"))
    about = json.loads(file.read_text(encoding="utf-8"))
    about["codecs"].append({"name": "numcodecs.pickle", "configuration": {}})
    file.write_text(json.dumps(about), encoding="utf-8")
    return "names the codec 'numcodecs.pickle'"


def of_objects(place):
    file = next(place.rglob("y/zarr.json"))
    about = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(about | {"data_type": "object"}), encoding="utf-8")
    return "has values of type 'object'"


def of_a_terabyte(place):
    file = next(place.rglob("y/zarr.json"))
    about = json.loads(file.read_text(encoding="utf-8"))
    grid = {"name": "regular", "configuration": {"chunk_shape": [10**12]}}
    file.write_text(json.dumps(about | {"shape": [10**12], "chunk_grid": grid}), encoding="utf-8")
    return "is too large to be read at once"


def described(place, **changed):
    file = next(place.rglob("y/zarr.json"))
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | changed), encoding="utf-8")
    return "cannot be read as Zarr"


def of_chunks_of_nothing(place):
    return described(place, chunk_grid={"name": "regular", "configuration": {"chunk_shape": [0]}})


def of_halves(place):
    return described(place, data_type="float16", fill_value=0.0)


def cut_in_half(place):
    chunk = place / "y" / "c" / "0"
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])
    return "cannot be read as Zarr"


def a_folder_for_a_chunk(place):
    (place / "y" / "c" / "0").unlink()
    (place / "y" / "c" / "0").mkdir()
    return "y/c/0 is a directory, no chunk"


def provenance(change):
    """What the result says of itself, changed."""
    path = Path("r/provenance.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    change(found)
    path.write_text(json.dumps(found), encoding="utf-8")


AT_ONCE = [pickled, with_another_codec, of_objects, a_folder_for_a_chunk]
WHEN_READ = [of_a_terabyte, of_chunks_of_nothing, of_halves, cut_in_half]


@pytest.mark.parametrize("change", AT_ONCE + WHEN_READ)
def test_arrays_of_others_are_numbers_and_words(change, here, capsys):
    provenance(lambda found: found.pop("files"))  # nobody knows what was written
    said = change(Path("r/data.zarr"))
    capsys.readouterr()
    assert command("figure", "r", "--trust") == 3
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    if change in AT_ONCE:
        with pytest.raises(am.StoreError, match=said):
            am.open_store("r/data.zarr")


def gone(place):
    (place / "y" / "c" / "0").unlink()


def one_bit(place):
    chunk = place / "y" / "c" / "0"
    chunk.write_bytes(bytes([chunk.read_bytes()[0] ^ 1]) + chunk.read_bytes()[1:])


def another_config(place):
    file = place.parent / "config.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"seed": 0', '"seed": 1'), encoding="utf-8")


@pytest.mark.parametrize("change", [a_folder_for_a_chunk, cut_in_half, gone, one_bit, another_config])
def test_a_result_is_drawn_of_what_was_written(change, here, capsys):
    change(Path("r/data.zarr"))
    before = Path("r/figure.png").stat().st_mtime_ns
    capsys.readouterr()
    assert command("figure", "r", "--trust") == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "assocmem: r/" + ("config.json" if change is another_config else "data.zarr/y/c/0")
    )
    assert line.endswith("with --force computes it again")
    assert Path("r/figure.png").stat().st_mtime_ns == before


@pytest.mark.parametrize("data", [{}, {"y": ("x", [1.0])}, {"y": (("x", "z"), np.ones((3, 2)))}])
def test_data_of_others_that_cannot_be_drawn(data, here, capsys):
    provenance(lambda found: found.pop("files"))
    shutil.rmtree("r/data.zarr")
    xr.Dataset(data).to_zarr("r/data.zarr", zarr_format=3, consolidated=False)
    capsys.readouterr()
    assert command("figure", "r", "--trust") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("assocmem: r/figure.png: cannot be drawn of these data: ")


@pytest.mark.parametrize(
    "said",
    ["[1]", '{"complete": true}', "[" * 10**5, '{"complete": true, "config_hash": 1, "report": []}', 5, [1],
     None, os.mkfifo, lambda path: os.symlink("/dev/zero", path)],
)  # fmt: skip
def test_a_result_that_says_nonsense_of_itself_is_none(said, here, capsys):
    path = Path("r/provenance.json")
    if callable(said):
        path.unlink()
        said(path)
    elif isinstance(said, str):
        path.write_text(said, encoding="utf-8")
    else:
        provenance(lambda found: found.update(report=said))
    capsys.readouterr()
    for ask in (("figure", "r", "--trust"), ("run", "own.toml", "--out", "r")):
        assert command(*ask) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "r is not a result of" in line or "r exists and is not a result" in line


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_a_config_is_a_file(put, here, capsys):
    Path("r/config.json").unlink()
    put("r/config.json")
    assert command("figure", "r", "--trust") == 2
    assert command("show", "r/config.json") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.endswith("r/config.json: cannot be read: no regular file") for line in lines)


def test_words_and_times_come_back(tmp_path):
    data = xr.Dataset(
        {"y": ("x", np.arange(3.0))},
        {"x": np.arange(3), "w": ("x", np.array(["a", "bc", "ü"], object))},
        {"n": 1},
    )
    data.to_zarr(tmp_path / "d.zarr", zarr_format=3, consolidated=False)
    xr.testing.assert_identical(am.open_store(tmp_path / "d.zarr").load(), data)


def test_the_umask_holds_and_no_host_is_named(made, tmp_path, monkeypatch):
    shutil.copy(made / "mine.py", tmp_path)
    shutil.copy(made / "sweep.toml", tmp_path)
    shutil.copy(made / "own.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o077)
    try:
        assert command("sweep", "sweep.toml", "--out", "s.zarr") == 0
        assert command("run", "own.toml", "--out", "r") == 0
    finally:
        os.umask(before)
    written = [p for top in ("s.zarr", "r", "s.png") for p in (tmp_path / top, *(tmp_path / top).rglob("*"))]
    assert len(written) > 20
    assert not [p for p in written if stat.S_IMODE(p.stat().st_mode) & 0o077]
    text = b"".join(p.read_bytes() for p in written if p.suffix == ".json")
    for secret in (socket.gethostname(), str(Path.home()) + "/", str(tmp_path)):
        assert secret.encode() not in text
