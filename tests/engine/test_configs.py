"""The configs that come with the package, at the command: by name, listed, shown, copied, completed."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from assocmem_jax import cli
from assocmem_jax.studies.config import load
from assocmem_jax.studies.registry import entries
from assocmem_jax.systems import configs


@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    """What the command prints, run in an empty folder; its code."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = cli.main(list(words))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_every_config_and_study_has_a_line(said):
    code, out, _ = said("list")
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  "))
    assert set(lines) == {*configs(), *entries()}
    assert lines["gd_fig2"] == "GD Figure 2: loss spikes. Two tokens, full-batch descent from W = 0."


def test_a_config_is_shown_key_by_key(said):
    code, out, _ = said("show", "gd_fig2")
    assert code == 0
    assert "# ⟨e₁, e₂⟩ (a number ≥ -1 and ≤ 1)\nalpha = 0.95\n" in out
    assert "(a whole number ≥ 1; 35 unless given)\nsteps = 35\n" in out
    code, out, err = said("show", "gd_fgi2")
    assert (code, out) == (2, "")
    assert err == (
        "gd_fgi2: cannot be read: No such file or directory, and no config of that name comes with the "
        "package; did you mean 'gd_fig2'?\n"
    )


def test_a_copy_is_the_same_config_with_a_schema_beside_it(said, tmp_path):
    code, out, _ = said("copy", "gd_fig4")
    assert code == 0
    copy = tmp_path / "gd_fig4.toml"
    assert out.splitlines()[-1] == "assocmem run gd_fig4.toml"
    first, rest = copy.read_text(encoding="utf-8").split("\n", 1)
    assert first == "#:schema ./assocmem.schema.json"
    assert rest == configs()["gd_fig4"].read_text(encoding="utf-8")
    assert (tmp_path / "assocmem.schema.json").read_text(encoding="utf-8") == said("schema")[
        1
    ].rstrip() + "\n"
    assert load(copy).hash() == load("gd_fig4").hash()
    code, _, err = said("copy", "gd_fig4")
    assert (code, err) == (2, "assocmem: gd_fig4.toml exists: choose another place\n")
    assert said("copy", "gd_fig4", "other/mine.toml")[0] == 0
    assert load("other/mine.toml").hash() == load("gd_fig4").hash()
    assert said("copy", "gd_fig9")[0] == 2


def test_the_schema_takes_every_config_and_refuses_what_the_loader_does(said):
    code, out, _ = said("schema")
    assert code == 0
    validator = jsonschema.Draft202012Validator(json.loads(out))
    for path in configs().values():
        validator.validate(tomllib.loads(path.read_text(encoding="utf-8")))
    good = tomllib.loads(configs()["gd_fig2"].read_text(encoding="utf-8"))
    for wrong in ({"alpha": 2.0}, {"alhpa": 0.5}, {"p1": "x"}, {"study": "gd.fig2"}, {"learning_rates": []}):
        assert not validator.is_valid(good | wrong), wrong
    own = {"study": "mine.py:Study", "anything": 1}
    assert validator.is_valid(own)
    one = jsonschema.Draft202012Validator(json.loads(said("schema", "gd.loss_spikes")[1]))
    assert one.is_valid(good)
    assert not one.is_valid(good | {"alpha": 2.0})
    assert said("schema", "gd.spikes") == (
        2, "", "assocmem: 'gd.spikes' is not a study; did you mean 'gd.loss_spikes'?\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["s"], ["schema", "show", "sweep"]),
        (["run", "gd_fig1"], ["gd_fig1"]),
        (["sweep", "v"], ["verify"]),
        (["run", "--f"], ["--force"]),
        (["run", "gd_fig2", "--set", "s"], ["seed=", "steps="]),
        (["run", "gd_fig4", "--set", "sgd.s"], ["sgd.start=", "sgd.steps="]),
        (["run", "gd_fig4", "--set", "panels.2.n"], ["panels.2.name="]),
        (["schema", "cooc"], ["cooc.phase_one", "cooc.rates", "cooc.two_phases"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["run", "none.toml", "--set", ""], []),
        (["nothing", "--"], []),
    ],
)
def test_what_a_shell_offers(said, words, offered):
    assert said("complete", *words)[1].splitlines() == offered


def test_a_shell_runs_nothing_to_offer(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text("open('ran', 'w').close()\nclass Own: pass\n", encoding="utf-8")
    for name, text in (("own.toml", 'study = "own.py:Own"\n'), ("config.json", '{"study": "own:Own"}')):
        Path(name).write_text(text, encoding="utf-8")
        for command in ("run", "show", "sweep"):
            assert said("complete", command, name, "--set", "") == (0, "", "")
    assert not Path("ran").exists()


def test_the_scripts_of_shells(said):
    for shell in ("bash", "zsh", "fish"):
        code, out, _ = said("completion", shell)
        assert code == 0
        assert "assocmem complete" in out
