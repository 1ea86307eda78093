"""The command, as a user runs it; results on disk; figures."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import xarray as xr
from matplotlib.image import imread

from assocmem_jax import cli, plot
from assocmem_jax.studies.registry import entries
from assocmem_jax.systems import configs
from figures import faults
from small import FEW, KEPT, apart, digest


def run(*arguments):
    """As a process of its own would: the precision that a study asks for is not that of the next test."""
    try:
        return cli.main([str(a) for a in arguments])
    finally:
        jax.config.update("jax_enable_x64", True)


def options(name):
    return [word for item in FEW[name] for word in ("--set", item)]


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved while a test runs."""
    seen, save = [], plot.save
    monkeypatch.setattr(plot, "save", lambda figure, stem: seen.append(figure) or save(figure, stem))
    return seen


# Half a minute or more to compile: in soak.
SLOW = (
    "birth_fig8", "birth_fig10", "context_truncation", "cooc_phase_one", "cooc_rates", "denoising_contexts",
    "denoising_map", "facts_constructed",
    "facts_hallucination", "facts_map", "facts_parameters", "gd_fig4", "noise_law", "real_words", "slides_optimizers", "schedule", "bifurcation",
    "theory_refuted",
)  # fmt: skip


def _small():
    """One config of a study among the examples; the others, and a few that are slow to compile, in soak."""
    for entry in entries().values():
        for k, name in enumerate(entry.small):
            few = k == 0 and name not in SLOW
            yield pytest.param(name, marks=pytest.mark.examples if few else pytest.mark.soak)


@pytest.mark.parametrize("name", [*_small()])
def test_each_study_leaves_a_whole_result(name, tmp_path, capsys, figures):
    out = tmp_path / "result"
    assert run("run", name, "--out", out, *options(name)) == 0
    printed = capsys.readouterr().out
    assert str(out / "figure.png") in printed
    assert {p.name for p in out.iterdir()} == {
        "config.json",
        "provenance.json",
        "data.zarr",
        "figure.png",
        "figure.pdf",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["result"]  # nothing left beside it
    provenance = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["complete"]
    assert {"jax", "assocmem_jax"} <= set(provenance["versions"])
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert provenance["dtype"] == config["precision"]
    data = xr.open_zarr(out / "data.zarr", consolidated=False, chunks=None)
    assert data.attrs["config_hash"] == provenance["config_hash"]
    assert all(
        np.isfinite(data[v]).all()
        for v in data.data_vars
        if v
        not in (
            "minimal_sharpness",
            "balance",
            "minimiser",
            "learned_rate",
            "margin_constant",
            "margin_learned",
            # lengths that were not tried
            "found_margin",
            "law",
            # an interval with an open end
            "high",
            # infinite where there are fewer dimensions than tokens
            "condition",
            # one layer has no W_K¹
            "recall_key1",
            "recall_key1_early",
        )
    )
    image = imread(out / "figure.png")
    assert image.shape[1] > 500
    assert image[..., :3].std() > 0.05  # something is drawn
    with plot.paper():
        assert faults(figures[0]) == []
    # The same bytes again from the data alone, without running, whichever precision JAX is at.
    before = (out / "figure.pdf").read_bytes()
    with jax.enable_x64(provenance["dtype"] != "float64"):
        assert cli.main(["figure", str(out)]) == 0
    assert (out / "figure.pdf").read_bytes() == before


@pytest.mark.soak
def test_numbers_beyond_print(tmp_path, capsys):
    """The doubling is at 2/H*; the loss bound is crossed at ct = 4.889; a schedule takes 2 steps, not 10."""
    small = ["--set", "rates=12", "--set", "kept=16", "--set", "transient=1000"]
    assert run("run", "bifurcation", "--out", tmp_path / "b", *small) == 0
    printed = capsys.readouterr().out
    thresholds = [float(part.split()[0]) for part in printed.split("period doubles at η = ")[1:]]
    assert len(thresholds) == 3
    assert abs(np.array(thresholds) - 1).max() < 1e-3
    sharp = [float(part.split(";")[0]) for part in printed.split("H* = ")[1:]]
    np.testing.assert_allclose(sharp[:2], [2 * 0.25, 2 * 0.21], rtol=1e-6)  # cqr
    assert run("run", "theory_refuted", "--out", tmp_path / "r") == 0
    printed = capsys.readouterr().out
    assert abs(float(printed.split("at ct = ")[1].split(";")[0]) - 4.889) < 0.005
    assert "γ₁(1) = 4.8750, printed γ_max = 2.7993" in printed
    few = ["--set", "constants=300", "--set", "longest=2", "--set", "iterations=200", "--set", "starts=8"]
    assert run("run", "schedule", "--out", tmp_path / "s", *few) == 0
    first = capsys.readouterr().out.split("p₁ = 0.95: ")[1].splitlines()[0]
    assert first.startswith("best constant rate 10 steps")  # the least that beyond.1 allows
    assert first.endswith("learned 2 steps")


@pytest.mark.soak
@pytest.mark.parametrize("name", FEW)
def test_each_study_gives_what_it_gave(name, tmp_path, capsys):
    """Of its seed, on this processor and with these versions: where they are others, so may rounding be, and
    what chaos makes of it. For a release, and for mutants (small.py)."""
    assert run("run", name, "--out", str(tmp_path / "r"), *options(name)) == 0
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert apart(digest(tmp_path / "r"), kept[name], name) == []


def test_every_config_has_its_numbers_kept():
    assert list(json.loads(KEPT.read_text(encoding="utf-8"))) == list(FEW)


def test_numbers_that_are_others_are_seen():
    """Of a digest: a number, where it stands, one fewer, a word, the last digit but one."""
    kept = {
        "precision": "float64",
        "numbers": {"x": [4, 2.5, 2.7, 0.5]},
        "said": ["x = 2.50 at 1e-03, n = 3"],
    }
    said = lambda line: kept | {"said": [line]}  # noqa: E731
    found = lambda *x: kept | {"numbers": {"x": list(x)}}  # noqa: E731
    for same in (kept, said("x = 2.51 at 1e-03, n = 3"), found(4, 2.5 + 2e-6, 2.7, 0.5)):
        assert apart(same, kept) == []
    for other in (
        said("x = 2.52 at 1e-03, n = 3"), said("y = 2.50 at 1e-03, n = 3"), said("x = 2.50 at 1e-02, n = 3"),
        said("x = 2.50 at 1e-03, n = 4"), said("x = 2.5 at 1e-03, n = 3"), kept | {"said": []},
        found(4, 2.5 + 4e-6, 2.7, 0.5), found(4, 2.5, 2.7, 0.6), found(3, 2.5, 2.7, 0.5),
        kept | {"numbers": {}},
    ):  # fmt: skip
        assert len(apart(other, kept)) == 1, other


def test_figure_2_numbers(tmp_path, capsys, figures):
    """GD Figure 2 against a NumPy loop of (17), and L(W₁) = 1.163 ≥ 1.156 of Proposition 5."""
    out = tmp_path / "r"
    assert run("run", "gd_fig2", "--out", out, "--set", "resolution=4") == 0
    data = xr.open_zarr(out / "data.zarr", consolidated=False, chunks=None).load()
    p, alpha = np.array([0.75, 0.25]), 0.95
    for k, eta in enumerate((10.0, 1.0)):
        m, losses, errors = np.zeros(2), [], []
        for _ in range(36):
            losses.append(p @ np.log1p(np.exp(-m)))
            errors.append(p @ (m <= 0))
            pull = p / (1 + np.exp(m))
            m = m + 2 * eta * (pull - alpha * pull[::-1])
        np.testing.assert_allclose(data.loss[k], losses, rtol=1e-11)
        np.testing.assert_allclose(data.error[k], errors, atol=1e-15)
    assert float(data.loss[0, 1]) == pytest.approx(1.163, abs=5e-4)
    assert float(data.loss[0, 1]) >= 10 * (0.95 * 0.75 - 0.25) * 0.25
    assert data.first_step.values.tolist() == [2, 52]
    assert data.stable_step.values.tolist() == [15, 52]
    printed = capsys.readouterr().out
    assert "zero error first at t = 2, for good at t = 15" in printed
    with plot.paper():
        assert faults(figures[0]) == []
    assert data.errors.shape == (16, 16)  # four times as fine as the loss
    assert len(figures[0].legends) == 1


@pytest.mark.examples
def test_a_damaged_checkpoint_is_one_line(tmp_path, capsys, monkeypatch):
    """A run goes on from checkpoints beside its place; one that is cut short is named, with what to do."""
    config, few = "birth_layers", [*options("birth_layers"), "--set", 'cases=[{label="one", layers=1}]']
    # After the run, before its result.
    monkeypatch.setattr("assocmem_jax.commands.run._describe", lambda study, seconds: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("run", config, "--out", tmp_path / "r", *few)
    monkeypatch.undo()
    (scratch,) = tmp_path.iterdir()
    for file in scratch.iterdir():
        file.write_bytes(file.read_bytes()[:-9])
    capsys.readouterr()
    assert run("run", config, "--out", tmp_path / "r", *few) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "is cut short" in said
    assert said.endswith("to begin again")


@pytest.mark.thorough
def test_rerun_skips_force_runs_and_other_configs_refuse(tmp_path, capsys):
    config, out = "gd_fig2", tmp_path / "r"
    few = options("gd_fig2")
    assert run("run", config, "--out", out, *few) == 0
    stamp = (out / "provenance.json").stat().st_mtime_ns
    capsys.readouterr()
    assert run("run", config, "--out", out, *few) == 0
    printed = capsys.readouterr()
    assert "already there" in printed.out
    assert "zero error" in printed.out
    assert (out / "provenance.json").stat().st_mtime_ns == stamp
    assert run("run", config, "--out", out, *few, "--set", "steps=30") == 2
    assert "holds another config" in capsys.readouterr().err
    assert run("run", config, "--out", out, *few, "--set", "steps=30", "--force") == 0
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["steps"] == 30
    assert [p.name for p in tmp_path.iterdir()] == ["r"]
    # A result's own config.json runs again to the same data.
    assert run("run", out / "config.json", "--out", tmp_path / "again") == 0
    a, b = (
        xr.open_zarr(tmp_path / d / "data.zarr", consolidated=False, chunks=None).load()
        for d in ("r", "again")
    )
    assert a.identical(b)


def test_a_directory_that_is_no_result_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years", encoding="utf-8")
    for force in ([], ["--force"]):
        assert run("run", "gd_fig2", "--out", tmp_path / "mine", *force) == 2
        assert "is not a result" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text(encoding="utf-8") == "years"
    assert run("figure", tmp_path / "mine") == 2


def raising(fault):
    def fail(*_, **__):
        raise fault

    return fail


def test_a_failing_run_leaves_nothing_half_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(xr.Dataset, "to_zarr", raising(OSError("disk full")))
    assert run("run", "gd_fig2", "--out", tmp_path / "r", *options("gd_fig2")) == 1
    assert capsys.readouterr().err.endswith(f"assocmem: {tmp_path / 'r'}: cannot be written: disk full\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (OSError("disk full"), "cannot be written: disk full"),
        (KeyError("x"), "cannot be drawn of these data: KeyError: 'x' (test_cli.py:"),
    ],
)
def test_a_failing_figure_loses_no_run(fault, said, tmp_path, monkeypatch, capsys):
    """All else of the result is there, and the same command draws what is missing."""
    out = tmp_path / "r"
    with monkeypatch.context() as patch:
        patch.setattr(plot, "save", raising(fault))
        assert run("run", "gd_fig2", "--out", out, *options("gd_fig2")) == 1
    (_, line) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"assocmem: {out / 'figure.png'}: {said}")
    assert line.endswith(f"; all else is kept: `assocmem figure {out}` draws it")
    assert {p.name for p in tmp_path.rglob("*.*")} >= {"config.json", "provenance.json", "data.zarr"}
    monkeypatch.setattr("assocmem_jax.commands.run.interruptible", None)  # nothing is computed again
    assert run("run", "gd_fig2", "--out", out, *options("gd_fig2")) == 0
    assert (out / "figure.png").is_file()


def test_a_failing_report_loses_no_run(tmp_path, monkeypatch, capsys):
    out = tmp_path / "r"
    monkeypatch.setattr("assocmem_jax.systems.memory.studies.loss_spikes.report", raising(KeyError("x")))
    assert run("run", "gd_fig2", "--out", out, *options("gd_fig2")) == 1
    (_, line) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"assocmem: {out}: has no report: KeyError: 'x' (test_cli.py:")
    assert line.endswith("; all else is kept")
    assert (out / "figure.png").is_file()
    assert run("figure", out) == 0


def test_list_help_and_usage(capsys):
    assert run("list") == 0
    run("list")
    printed = capsys.readouterr().out
    assert all(name in printed for name in entries())
    assert run("--help") == 0
    assert run("--version") == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "the following arguments are required: COMMAND (`assocmem --help`)"),
        (["fly"], "argument COMMAND: invalid choice: 'fly'"),
        (["run"], "the following arguments are required: config (`assocmem run --help`)"),
        (["run", "gd_fig2", "a\nb\x1b[2J"], "unrecognized arguments: a\\nb\\x1b[2J (`assocmem --help`)"),
        (["check", "--samples", "9" * 5000], "argument --samples: invalid int value: '999"),
        (
            ["sweep", "status", "here.zarr", "--devices", "two"],
            "argument --devices: invalid int value: 'two'",
        ),
        (["completion", "tcsh"], "argument shell: invalid choice: 'tcsh'"),
    ],
)
def test_an_argument_that_cannot_be_taken_is_one_line(arguments, line, capsys):
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    (said,) = printed.err.splitlines()
    assert said.startswith(f"assocmem: {line}")
    assert said.endswith("--help`)")
    assert len(said) <= 300
    assert not printed.out


def test_help_is_quick():
    """0.1 s on an idle machine; here the best of five of the processor's time, while others share the cores."""
    command = [str(Path(sys.executable).parent / "assocmem"), "--help"]
    best = np.inf
    for _ in range(5):
        began = sum(os.times()[2:4])  # of children
        subprocess.run(command, capture_output=True, check=True)
        best = min(best, sum(os.times()[2:4]) - began)
    assert best < 0.2


def test_default_place_names_config_and_hash(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("run", "gd_fig2", *options("gd_fig2")) == 0
    (made,) = os.listdir("results")
    assert made.startswith("gd_fig2-")


COMMAND = Path(sys.executable).with_name("assocmem")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
def test_any_terminal(encoding):
    """What it cannot show is shown as an escape; nothing ends in a traceback."""
    env = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([COMMAND, "list"], capture_output=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    done.stdout.decode(encoding)


def test_readers_that_leave_and_devices_that_are_full():
    done = subprocess.run(f"{COMMAND} list | head -c 1", shell=True, capture_output=True, check=False)
    assert done.stderr == b""
    with open("/dev/full", "w") as full:
        done = subprocess.run([COMMAND, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "assocmem: standard output cannot be written: No space left on device\n"


def test_a_byte_order_mark_and_the_name_of_a_result(tmp_path):
    from assocmem_jax.commands.common import place
    from assocmem_jax.studies.config import load

    text = configs()["gd_fig2"].read_text(encoding="utf-8")
    (tmp_path / "my-study").mkdir()
    path = tmp_path / "my-study" / "config.toml"
    path.write_text(text, encoding="utf-8-sig")
    study = load(path)
    assert place(path, study).name == f"my-study-{study.hash()[:8]}"
    result = tmp_path / f"my-study-{study.hash()[:8]}"
    assert place(result / "config.json", study).name == result.name


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_figure_is_drawn_at_the_precision_of_its_study(precision, tmp_path):
    """Whichever JAX is at: a figure may compute, and is the same in another process."""
    from matplotlib.figure import Figure

    from assocmem_jax.commands.common import draw

    found = []
    figure = lambda data: (found.append(str(jax.numpy.ones(1).dtype)), Figure((1, 1)))[1]  # noqa: E731
    for x64 in (True, False):
        with jax.enable_x64(x64):
            draw(SimpleNamespace(precision=precision, figure=figure), None, tmp_path / "figure")
    assert found == [precision] * 2
