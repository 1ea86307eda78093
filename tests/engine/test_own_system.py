"""A system of a user's own, in one file, through every door; and what their code raises."""

import json
import re
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
import xarray as xr

import assocmem_jax as am
from assocmem_jax import cli, named
from assocmem_jax.tasks.batches import mean_loss

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "own_system.py"
own = named.module(str(FILE))


def run(*arguments):
    return cli.main([str(a) for a in arguments])


def test_the_page_prints_the_file():
    page = (ROOT / "docs" / "your_own_system.md").read_text(encoding="utf-8")
    assert FILE.read_text(encoding="utf-8") in page
    assert FILE.with_suffix(".toml").read_text(encoding="utf-8") in page


def test_a_study_of_ones_own_runs_and_is_drawn_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    few = ["--set", "steps=20", "--set", "ratios=[0.5, 2.0]"]
    assert run("run", FILE.with_suffix(".toml"), "--out", tmp_path / "r", *few) == 0
    assert "ratio 0.5: loss" in capsys.readouterr().out
    before = (tmp_path / "r" / "figure.pdf").read_bytes()
    assert run("figure", tmp_path / "r") == 2
    assert "nothing of it was run; --trust runs it" in capsys.readouterr().err
    assert run("figure", tmp_path / "r", "--trust") == 0
    assert (tmp_path / "r" / "figure.pdf").read_bytes() == before
    data = xr.open_zarr(tmp_path / "r" / "data.zarr", consolidated=False, chunks=None)
    # Against a NumPy loop.
    A, U, V = (np.asarray(part) for part in own.drawn(0, 4, 4, 6))
    U, V = 0.1 * U, 0.1 * V
    for step in range(21):
        G = U @ V - A
        np.testing.assert_allclose(data.loss[1, step], np.sum(G**2) / 2, rtol=1e-12)
        U, V = U - 0.1 * G @ V.T, V - 0.05 * U.T @ G


def test_a_study_beside_its_config_and_what_is_refused(tmp_path, monkeypatch, capsys):
    """The file is found beside the config too; a faulty name or file is one line that says which."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "mine"
    place.mkdir()
    (place / "one.py").write_text(
        FILE.read_text(encoding="utf-8").replace("own.balance", "other.balance"), "utf-8"
    )
    (place / "config_of_mine.toml").write_text('study = "one.py:Timescales"\nsteps = 3\n', encoding="utf-8")
    assert run("run", place / "config_of_mine.toml", "--out", tmp_path / "r") == 0
    (place / "broken.py").write_text("x = 1\ny = x / 0\n", encoding="utf-8")
    (place / "half.py").write_text(
        "from assocmem_jax.studies.study import Study\nclass Half(Study):\n    title = 'half'\n",
        encoding="utf-8",
    )
    capsys.readouterr()
    for study, words in (
        ("one.py:Nothing", "one.py has no 'Nothing'"),
        ("one.py:drawn", "must be a subclass of assocmem_jax.studies.study.Study"),
        ("absent.py:Study", "no such file"),
        ("broken.py:Study", "ZeroDivisionError: division by zero (broken.py:2)"),
        ("half.py:Half", "must have the methods figure, report, run"),
        ("no.such.module:Study", "ModuleNotFoundError"),
    ):
        (place / "bad.toml").write_text(f'study = "{study}"\n', encoding="utf-8")
        assert run("run", place / "bad.toml") == 2
        said = capsys.readouterr().err
        assert words in said
        assert len(said.splitlines()) == 1
    # A key that the user's schema does not know.
    (place / "bad.toml").write_text('study = "one.py:Timescales"\nstep = 3\n', encoding="utf-8")
    assert run("run", place / "bad.toml") == 2
    assert "unknown key; did you mean 'steps'?" in capsys.readouterr().err


def test_one_file_is_one_module():
    assert named.named(f"{FILE}:Teacher") is own.Teacher
    assert named.module(str(FILE)) is own


@pytest.mark.thorough
def test_a_task_without_margins(tmp_path):
    """Only the loss is observed unless asked; margins, error and their events are refused in one line."""
    A, U, V = own.drawn(1, 3, 2, 4)
    task, model = own.Teacher(A), own.TwoLayers(U, V)
    run = am.simulate(task, model, am.Descent(optax.sgd(0.1), 2))
    assert list(run.observed) == ["loss"]
    stochastic = am.Descent(optax.sgd(0.1), 3, 8)
    assert am.simulate(task, model, stochastic, key=jr.key(0)).observed["loss"].shape == (4,)
    assert am.simulate(task, model, am.GradientFlow(1.0)).observed["loss"][-1] < task.loss(model)
    assert float(am.sharpness(task, model)) > 0
    for call in (
        lambda: am.simulate(task, model, stochastic, observe={"m": am.margins}, key=jr.key(0)),
        lambda: am.simulate(task, model, am.Descent(optax.sgd(0.1), 2), until=am.perfect_accuracy()),
        lambda: am.error(task, model),
    ):
        with pytest.raises(ValueError, match="task must be a AbstractClassificationTask") as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.thorough
def test_ones_own_dynamics_is_watched_stopped_and_differentiated():
    A, U, V = own.drawn(2, 3, 3, 3)
    task, model = own.Teacher(A), own.TwoLayers(U, V)
    run = am.simulate(task, model, own.TwoTimescales(40, 0.1, 0.1), every=20, until=am.loss_below(0.5))
    assert am.Status(int(run.status)).name in ("OK", "HIT")
    same = am.simulate(task, model, am.Descent(optax.sgd(0.1), 40), every=20, until=am.loss_below(0.5))
    np.testing.assert_allclose(run.model.product, same.model.product, rtol=1e-12)
    np.testing.assert_allclose(run.times, same.times, rtol=1e-12)

    def end(rate):
        return am.simulate(task, model, own.TwoTimescales(10, rate, 0.1)).observed["loss"][-1]

    slope = (end(0.1 + 1e-6) - end(0.1 - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.grad(end)(0.1), slope, rtol=1e-6)
    wild = am.simulate(task, model, own.TwoTimescales(200, 1e3, 1e3), throw=False)
    assert am.Status(int(wild.status)).name in ("DIVERGED", "NON_FINITE")
    with pytest.raises(ValueError, match="resume must be for a Descent only, got a TwoTimescales"):
        am.simulate(task, model, own.TwoTimescales(2, 0.1, 0.1), resumable=True)


class Faulty(am.AbstractWeights):
    weight: jax.Array
    fault: type = eqx.field(static=True)

    def scores(self, task, tokens=None):
        raise self.fault("mine")

    def trainable(self):
        return (self.weight,)


@pytest.mark.parametrize("fault", [AttributeError, TypeError, ZeroDivisionError])
def test_what_a_users_class_raises_reaches_them(fault):
    task = am.two_tokens(0.5, 0.7)
    with pytest.raises(fault) as caught:
        am.simulate(task, Faulty(jnp.zeros((2, 2)), fault), am.Descent(optax.sgd(0.1), 1))
    assert caught.value.args == ("mine",)

    def look(task, model):
        raise fault("looking")

    with pytest.raises(fault) as caught:
        am.simulate(task, am.LinearMemory.zeros(task), am.Descent(optax.sgd(0.1), 1), observe={"x": look})
    assert caught.value.args == ("looking",)


def test_a_model_of_another_task_is_one_line():
    task = am.two_tokens(0.5, 0.7)
    _, U, V = own.drawn(1, 3, 2, 4)
    for model, words in (
        (own.TwoLayers(U, V), "another kind of task"),
        (am.HopfieldNetwork(jnp.zeros((2, 2))), "another kind of task"),
        (am.LinearMemory(jnp.zeros((2, 2))), None),
    ):
        if words is None:
            am.simulate(task, model, am.Descent(optax.sgd(0.1), 1))
            continue
        with pytest.raises(ValueError, match=words) as caught:
            am.simulate(task, model, am.Descent(optax.sgd(0.1), 1))
        assert "\n" not in str(caught.value)

    class Bare(am.AbstractWeights):
        task_type: ClassVar[type] = object
        weight: jax.Array

        def trainable(self):
            return (self.weight,)

    with pytest.raises(ValueError, match=r"model must be one with scores\(task, tokens=None\), got a Bare"):
        am.simulate(task, Bare(jnp.zeros(2)), am.Descent(optax.sgd(0.1), 1))


@pytest.mark.thorough
def test_an_observable_says_its_axes_units_and_whom_it_is_for():
    task = am.two_tokens(0.5, 0.7)
    watch = {"L": am.loss, "mine": am.margins, "plain": lambda task, model: model.weight}
    run = am.simulate(task, am.LinearMemory.zeros(task), am.Descent(optax.sgd(0.1), 2), observe=watch)
    data = run.to_xarray()
    assert data.L.attrs["units"] == "nats"
    assert data.mine.dims == ("time", "token")  # by the function, not by the name it is given
    assert data.plain.dims == ("time", "plain_0", "plain_1")
    particles = am.ParticleSystem.zeros(task)
    for observe in (am.memory.weights, am.memory.plane, am.memory.weight_norm):
        with pytest.raises(
            ValueError, match="model must be one that holds W, got ParticleSystem; use LinearMemory"
        ):
            observe(task, particles)
    text = am.BigramTask(jnp.ones(3) / 3, jnp.ones((3, 3)) / 3, length=8, triggers=1, data=4)
    plain = am.Transformer.initial(3, 4, jr.key(0), 4, dtype=text.dtype)
    for observe, model in ((am.induction.recall_output2, plain), (am.induction.margins_key1, plain)):
        with pytest.raises(ValueError, match="model must be a InductionTransformer"):
            observe(text, model)
    with pytest.raises(ValueError, match="task must be a BigramTask"):
        am.induction.in_context_loss(task, plain)


# --- Optimizers with hyper-parameters as data -----------------------------------------------------


@pytest.mark.thorough
def test_any_keyword_of_an_optimizer_is_data():
    """Momentum and β swept, differentiated (against central differences) and batched in one compilation."""
    task = am.two_tokens(0.9, 0.7)
    traced = 0

    def rule(learning_rate, momentum, decay=0.0, nesterov=False):
        nonlocal traced
        traced += 1
        chain = (
            optax.add_decayed_weights(decay),
            optax.sgd(learning_rate, momentum=momentum, nesterov=nesterov),
        )
        return optax.chain(*chain)

    def end(momentum, decay=0.0):
        descent = am.Descent(rule, 12, learning_rate=0.5, momentum=momentum, decay=decay, nesterov=True)
        return am.simulate(task, am.LinearMemory.zeros(task), descent, observe={"L": am.loss}).observed["L"][
            -1
        ]

    values = [float(end(m)) for m in (0.1, 0.5, 0.9)]
    once = traced
    assert float(end(0.3)) not in values
    assert traced == once  # another number, the same program
    np.testing.assert_allclose(jax.jit(jax.vmap(end))(jnp.array([0.1, 0.5, 0.9])), values, rtol=1e-12)
    slope = (end(0.5 + 1e-6) - end(0.5 - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.grad(end)(0.5), slope, rtol=1e-6)
    # The same as the factory called with numbers.
    ready = am.Descent(optax.sgd(0.5, momentum=0.5, nesterov=True), 12)
    other = am.simulate(task, am.LinearMemory.zeros(task), ready, observe={"L": am.loss}).observed["L"][-1]
    np.testing.assert_allclose(end(0.5), other, rtol=1e-12)
    grid = am.sweep(lambda beta: end(beta), beta=np.array([0.1, 0.5, 0.9]), progress=False)
    np.testing.assert_allclose(grid["value"], values, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: am.Descent(optax.sgd, 3, learning_rate=0.1, momentun=0.9), "momentun must be one of the keywords of sgd"),
        (lambda: am.Descent(optax.sgd(0.1), 3, momentum=0.9), "momentum must be left out with a ready optimizer"),
        (lambda: am.Descent(optax.sgd, 3, learning_rate=0.1, momentum=np.nan), "momentum must be finite, got nan"),
        (lambda: am.Descent(optax.sgd(0.1), 3, microbatch=2), "microbatch and devices must be left out without batch_size"),
        (lambda: am.Descent(optax.sgd(0.1), 3, 8, microbatch=0), "microbatch must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_refused_in_one_line(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


# --- How a batch is computed ----------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_microbatches_of_any_task(size):
    """The same value, gradient (in the model and in the task) and descent, cut or whole."""
    rng = np.random.default_rng(0)
    E, U = rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    make = lambda E: am.AssociationTask(np.ones(5) / 5, np.arange(5) % 3, E, U)  # noqa: E731
    memory = am.LinearMemory(rng.normal(size=(4, 4)))
    batch = make(E).sample(jr.key(0), 8)
    whole = jax.value_and_grad(lambda W, E: make(E).sampled_loss(am.LinearMemory(W), batch), argnums=(0, 1))
    cut = jax.value_and_grad(lambda W, E: mean_loss(make(E), am.LinearMemory(W), batch, size), argnums=(0, 1))
    for a, b in zip(jax.tree.leaves(whole(memory.weight, E)), jax.tree.leaves(cut(memory.weight, E))):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    one, other = (
        am.simulate(
            make(E), memory, am.Descent(optax.sgd(0.5), 4, 8, microbatch=m), key=jr.key(1)
        ).model.weight
        for m in (None, size)
    )
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


# --- Provenance -----------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_trajectory_says_where_it_comes_from():
    task = am.two_tokens(0.5, 0.7)
    descent = am.Descent(optax.sgd, 3, 4, learning_rate=0.25, momentum=0.5)
    run = am.simulate(task, am.LinearMemory.zeros(task), descent, key=jr.key(7))
    said = run.provenance
    assert said["method"] == "Descent"
    assert "steps=3" in said["dynamics"]
    assert "0.25" in said["dynamics"]
    assert "batch_size=4" in said["dynamics"]
    assert said["key"].endswith("[0, 7]")
    assert said["dtype"] == "float64"
    assert {"assocmem_jax", "jax", "equinox", "diffrax", "optax"} <= set(said["versions"])
    flow = am.simulate(task, am.LinearMemory.zeros(task), am.GradientFlow(2.0))
    assert flow.provenance["method"] == "GradientFlow"
    assert "Dopri8" in flow.provenance["dynamics"]
    assert flow.provenance["key"] is None
    json.dumps(dict(said))
    assert re.search(r"wall_time", str(said))
