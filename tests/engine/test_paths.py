"""Paths of users: names that are too long, folders that may not be read, places where nothing can be put."""

import ast
import os
from pathlib import Path

import pytest

import assocmem_jax as am
from assocmem_jax import checks, files
from assocmem_jax.commands.common import place
from assocmem_jax.studies.config import load
from users import command, put

LONG = "n" * 256


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, [1.0])
    return tmp_path


# What a user says of a path PATH, and the code that it ends in.
SAID = [
    ("show PATH", 2), ("run PATH", 2), ("copy PATH", 2), ("schema PATH.py:X", 2), ("sweep PATH", 2),
    ("figure PATH", 2), ("sweep status PATH", 2), ("sweep verify PATH", 2), ("sweep verify PATH --repair", 2),
    ("run own.toml --out PATH", 2), ("run own.toml --out PATH/x", 2), ("sweep sweep.toml --out PATH", 2),
    ("copy gd_fig2 PATH", 1), ("copy gd_fig2 PATH/x", 1), ("check gd.8 --json PATH", 2),
    ("check gd.8 --json PATH/x", 2), ("check --from PATH.py", 2), ("check PATH.py:x", 2),
    ("run context_truncation --set checkpoint='PATH'", 2), ("run gd_fig2 --set study='PATH.py:X'", 2),
]  # fmt: skip


def refused_in_one_line(words, code, path, capsys):
    before = sorted(Path().rglob("*"))
    assert command(*words.replace("PATH", str(path)).split()) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert len(err) <= 301
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(("words", "code"), SAID)
def test_a_name_that_is_too_long_is_one_line(words, code, here, capsys):
    refused_in_one_line(words, code, LONG, capsys)


@pytest.mark.parametrize(("words", "code"), SAID)
def test_a_folder_that_may_not_be_read_is_one_line(words, code, here, capsys, monkeypatch):
    """For root every folder is open: what the system would say to others is said by a stand-in."""
    shut = str(here / "shut")

    def closed(call):
        def ask(path, *more, **options):
            name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
            if os.path.abspath(name).startswith(f"{shut}/") or (call.__name__ == "scandir" and name == shut):
                raise PermissionError(13, "Permission denied", name)
            return call(path, *more, **options)

        return ask

    for name in ("stat", "lstat", "open", "mkdir", "scandir", "listdir", "access"):
        monkeypatch.setattr(os, name, closed(getattr(os, name)))
    Path("shut").mkdir()
    refused_in_one_line(words, code, "shut/x", capsys)


@pytest.mark.parametrize("length", [210, 255])
def test_a_name_may_be_as_long_as_names_are(length, here, capsys):
    """What is written first beside it and moved there has a name of its own, which is no longer."""
    name = "m" * (length - 4) + "ü·"
    assert len(os.fsencode(name)) == length
    assert command("run", "own.toml", "--out", name) == 0
    assert command("run", "own.toml", "--out", name, "--force") == 0
    assert sorted(os.listdir(name)) == [
        "config.json", "data.zarr", "figure.pdf", "figure.png", "provenance.json",
    ]  # fmt: skip
    assert command("check", "gd.8", "--samples", "2", "--json", f"{name[:-2]}.j") == 0
    store = name[: -len("ü·.zarr")] + ".zarr"
    assert command("sweep", "sweep.toml", "--out", store) == 0
    assert sorted(p.name for p in here.iterdir() if p.name[0] == ".") == []


def test_of_two_long_names_hidden_ones_differ():
    one, two = (Path("x" * 250 + ending) for ending in "ab")
    assert files.hidden(one, ".z") != files.hidden(two, ".z")
    assert files.hidden(Path("a/short"), ".z") == Path("a/.short.z")


def test_a_figure_that_has_no_room_is_said_before_the_sweep(here, capsys):
    Path("q.png").mkdir()
    for out, said in (("q.zarr", "q.png is a directory"), ("q" * 253, "File name too long")):
        assert command("sweep", "sweep.toml", "--out", out) in (1, 2)
        assert said in capsys.readouterr().err
        assert not Path(out).exists()


@pytest.mark.parametrize("out", [".zarr", "x/.zarr", ".", "..", "x/..", "/", "..zarr", "x/...zarr"])
def test_a_store_has_a_name_beside_which_its_figure_goes(out, here, capsys):
    Path("x").mkdir()
    before = sorted(Path().rglob("*"))
    assert command("sweep", "sweep.toml", "--out", out) == 2
    assert capsys.readouterr().err == (
        f"assocmem: --out must have a name, beside which its figure goes, got {Path(out)}\n"
    )
    assert sorted(Path().rglob("*")) == before


def test_names_need_not_be_text(here, capsys):
    """Bytes of a path are what the system says; UTF-8 is a habit."""
    folder = Path(os.fsdecode(b"d\xff"))
    folder.mkdir()
    for name in ("own.py", "own.toml"):
        (folder / name).write_bytes(Path(name).read_bytes())
    os.chdir(folder)
    assert command("run", "own.toml", "--out", os.fsdecode(b"r\xff")) == 0
    assert capsys.readouterr().out.endswith("figure: r\\udcff/figure.png\n")


def test_a_link_to_itself_is_no_config(here, capsys):
    Path("gd_fig2").symlink_to("gd_fig2")
    assert command("show", "gd_fig2") == 0
    study = load("gd_fig2")
    assert place("gd_fig2", study) == Path("results") / f"gd_fig2-{study.hash()[:8]}"


def test_a_sweep_over_a_link_replaces_the_link(here, capsys):
    assert command("sweep", "sweep.toml", "--out", "real.zarr") == 0
    Path("link.zarr").symlink_to("real.zarr")
    assert command("sweep", "sweep.toml", "--out", "link.zarr", "--force") == 0
    assert not Path("link.zarr").is_symlink()
    assert float(am.open_store("real.zarr").y[0]) == float(am.open_store("link.zarr").y[0]) == 1


@pytest.mark.parametrize("place", ["nowhere/x", "/proc/x", "file/x", "folder", "pipe", "."])
def test_where_no_report_can_be_put_nothing_is_checked(place, here, capsys):
    Path("file").touch()
    Path("folder").mkdir()
    os.mkfifo("pipe")
    assert command("check", "gd.8", "--samples", "2", "--json", place) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"assocmem: --json {place}: cannot be written: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["~/r", "~", "ab::c/r", "http::r", "file:/r"])
def test_a_path_is_what_the_system_makes_of_it(name, here, monkeypatch, capsys):
    """No home is put for ``~``, no protocol found in ``::``: not where data are written, nor where read."""
    Path("home").mkdir()
    monkeypatch.setenv("HOME", str(here / "home"))
    am.sweep(lambda a: {"y": a + 8}, a=[1.0], store=here / f"home/{name.removeprefix('~/')}.zarr")
    before = sorted(Path("home").rglob("*"))
    assert command("run", "own.toml", "--out", name) == 0
    assert os.path.isfile(f"{here}/{name}/data.zarr/zarr.json")
    assert command("figure", name, "--trust") == 0
    store = f"{name}.zarr"
    assert command("sweep", "sweep.toml", "--out", store) == 0
    assert command("sweep", "verify", store) == 0
    data = am.open_store(store)
    monkeypatch.chdir("/")
    assert float(data.y[0]) == 1
    monkeypatch.chdir(here)
    assert sorted(Path("home").rglob("*")) == before


def test_words_are_read_of_a_file(here):
    os.mkfifo("pipe")
    with pytest.raises(ValueError, match=r"^names must be a file that can be read, got a pipe or a device$"):
        checks.text("names", "pipe")


def test_a_config_from_the_shell(here, capsys):
    """``assocmem show <(sed … sweep.toml)``: the end of a pipe, by the name that a shell gives it."""
    ends = os.pipe()
    os.write(ends[1], Path("sweep.toml").read_bytes())
    os.close(ends[1])
    assert command("show", f"/dev/fd/{ends[0]}") == 0
    os.close(ends[0])
    piped = capsys.readouterr().out
    assert command("show", "sweep.toml") == 0
    assert piped.splitlines()[1:] == capsys.readouterr().out.splitlines()[1:]


def test_paths_of_users_are_asked_about_by_os_path():
    """``Path.exists`` and its like raise where a name is too long or a folder shut; ``os.path`` says no."""
    package, found = Path(am.__file__).parent, []
    for path in [*package.glob("*.py"), *package.glob("commands/*.py"), *package.rglob("studies/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args
            if named and node.func.attr in ("exists", "is_file", "is_dir"):
                found.append(f"{path.relative_to(package)}: {ast.unparse(node)}")
    # Of entries of a folder that was opened.
    assert sorted(found) == ["files.py: entry.is_dir()", "files.py: f.is_file()"]
