"""What a shell gives to a command: its environment, its streams, a working directory that is gone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assocmem_jax import machine, progress

COMMAND = Path(sys.executable).with_name("assocmem")
OWN = """
from assocmem_jax.studies.study import Study


class Own(Study):
    title = "Own"

    def run(self, scratch):
        import sys
        import xarray as xr
        from assocmem_jax.progress import bar

        print("said")
        with bar(1, unit="part") as shown:
            shown.update(1)
        return xr.Dataset({"y": ("x", [1.0, 2.0])})

    def report(self, data):
        return []

    def figure(self, data):
        from assocmem_jax import plot

        return plot.panels(1, 1, 2.4, plot.COLUMN)[0]
"""


@pytest.fixture
def shell(tmp_path):
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "own.toml").write_text('study = "own.py:Own"\n', encoding="utf-8")

    def said(words, **asked):
        command = words.replace("assocmem", str(COMMAND))
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=os.environ | asked, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return said


@pytest.mark.parametrize(
    ("words", "asked", "reason"),
    [
        ("assocmem run own.toml", {"JAX_PLATFORMS": "nothing"}, "Unable to initialize backend 'nothing'"),
        ("assocmem check gd.8 --samples 2", {"JAX_PLATFORMS": "cuda"}, "there is no such device; look"),
        ("assocmem check --list", {"JAX_ENABLE_X64": "bogus"}, "invalid truth value 'bogus'"),
        ("assocmem run gd_fig2", {"TQDM_MININTERVAL": "abc"}, "could not convert string to float: 'abc'"),
    ],
)
def test_what_the_environment_asks_and_is_not_there_is_one_line(words, asked, reason, shell, tmp_path):
    if "cuda" in asked.values() and machine.on_card():
        pytest.skip("a card is there")
    code, out, err = shell(words, **asked)
    *before, last = err.splitlines()
    assert (code, out) == (2, "")
    assert last.startswith(f"assocmem: JAX cannot start: {reason}")
    assert all(line.startswith("running ") for line in before)
    assert not [*tmp_path.glob("results/*")]


@pytest.mark.parametrize("asked", ["²", "9" * 5000, "-1", "x", ""])
def test_cores_that_slurm_does_not_say(asked, monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    every = machine.cores()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", asked)
    assert machine.cores() == every


def test_streams_that_are_closed(shell, tmp_path):
    """All three: what is opened next would be 0, 1 or 2, where XLA prints."""
    assert shell("assocmem list >&-") == (0, "", "")
    assert shell("assocmem run own.toml --out r <&- >&- 2>&-") == (0, "", "")
    assert json.loads((tmp_path / "r" / "provenance.json").read_text(encoding="utf-8"))["complete"]
    code, out, _ = shell("assocmem run own.toml --out r 2>&-")
    assert (code, out.splitlines()[-1]) == (0, "figure: r/figure.png")
    assert (shell("assocmem run nothing >&- 2>&-")) == (2, "", "")


def test_progress_where_standard_error_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert not progress.watched()
    with progress.bar(1, unit="part") as shown:
        shown.update(1)


def test_a_working_directory_that_is_gone(shell, tmp_path):
    gone = "mkdir d; cd d; rmdir ../d; "
    code, out, err = shell(f"{gone} assocmem check nosuch:foo")
    assert (code, out) == (1, "")
    assert err == "assocmem: the working directory is not there any more: cd to one that is\n"
    code, out, err = shell(f"{gone} assocmem run gd_fig2")
    assert (code, out) == (1, "")
    assert err.startswith("assocmem: results/gd_fig2-")
    assert err.endswith(": cannot be written: No such file or directory\n")
    code, _, err = shell(f"{gone} assocmem run {tmp_path}/own.toml --out {tmp_path}/r")
    assert code == 0
    assert "Traceback" not in err
