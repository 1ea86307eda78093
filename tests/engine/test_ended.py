"""Studies whose runs are looked at unevenly, or diverge: axes say where, reports how many."""

import numpy as np
import pytest

import helpers
from assocmem_jax.plot import paper, save
from assocmem_jax.studies import kit
from assocmem_jax.studies.config import load
from assocmem_jax.studies.registry import entries

SMALL = {name: words for entry in entries().values() for name, words in entry.small.items()}
FORMATION = ('cases=[{label="x"}]', "length=16", "batch=4", "width=8", "held_out=6", "learning_rate=1.0")


def run(config, *words):
    study = load(config, [*SMALL[config], *words])
    return study, study.run(None)


def test_looks_are_those_of_simulate():
    for steps, every, planned in (
        (31, 10, [0, 10, 20, 30, 31]), (30, 10, [0, 10, 20, 30]), (3, 5, [0, 3]), (1, 1, [0, 1]),
    ):  # fmt: skip
        assert kit.looks(steps, every).tolist() == planned


@pytest.mark.parametrize(
    ("steps", "every"), helpers.few([(31, 10), (30, 25), (3, 5), (40, 7), (26, 4), (12, 5)])
)
def test_segments_of_any_steps_are_the_run_in_one_piece(steps, every):
    """What is left behind the last whole segment is run too, at the steps that were planned.

    Other programs round otherwise: some 5 roundings a step, 40 steps, 6e-8 each. A step moves more.
    """
    words = [*FORMATION, f"steps={steps}", f"every={every}"]
    whole = load("birth_layers", [*words, f"checkpoint_every={steps}"]).run(None)
    cut = load("birth_layers", words).run(None)
    assert cut.step.values.tolist() == [*range(0, steps, every), steps]
    np.testing.assert_allclose(cut.global_loss, whole.global_loss, rtol=1.2e-5)
    assert abs(cut.global_loss[0, 0, -1] - cut.global_loss[0, 0, -2]) > 1e-3


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(
    ("config", "words", "said"),
    helpers.few(
        [
            ("cooc_fig1_small", ["learning_rate=1e30"], "1 of 1 runs ended"),
            ("birth_fig8", ["rates=[1e30, 0.2]", "seeds=1"], "2 of 6 runs ended"),
            ("gd_fig7", ["groups.0.rates=[1e30, 0.1, 1e29]"], "2 of 3 runs ended"),
            ("hops_training", ["scale=1e30"], "6 of 6 runs ended"),
            ("denoising_trained", ["learning_rate=1e30"], "2 of 2 runs ended"),
        ],
    ),
)
def test_a_run_that_diverges_is_counted_and_leaves_the_steps_alone(config, words, said, tmp_path):
    """The first of them diverges: its steps end there, and are not those of the others."""
    study, data = run(config, *words)
    told = [line for line in study.report(data) if "before their horizon (diverged)" in line]
    assert len(told) == 1
    assert said in told[0]
    with paper():
        save(study.figure(data), tmp_path / "figure")
    assert not [line for line in study.report(run(config)[1]) if "diverged" in line]
    if "step" in data.coords:
        assert np.all(np.diff(data.step.values) > 0)
        if config != "cooc_fig1_small":  # one run: its data end where it does
            assert data.step.values[-1] == study.steps


@pytest.mark.usefixtures("float32")
def test_a_study_that_needs_the_end_of_a_run_says_in_a_line_that_it_has_none(tmp_path, capsys):
    from assocmem_jax import cli

    words = [*SMALL["facts_hallucination"], "cases.0.learning_rate=1e30"]
    told = [word for each in words for word in ("--set", each)]
    assert cli.main(["run", "facts_hallucination", *told, "--out", str(tmp_path / "out")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("assocmem: status DIVERGED at t = ")
    assert "lower the learning rate" in last
    assert len(last) <= 300
    assert not list(tmp_path.iterdir())
