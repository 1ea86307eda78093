"""What studies of denoising make of their numbers, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import assocmem_jax as am
from assocmem_jax.studies.config import load
from assocmem_jax.systems.denoising.studies import (
    context_lengths,
    denoising_map,
    energy_descent,
    measure,
    trained,
)
from assocmem_jax.systems.denoising.task import drawn


def test_errors_are_those_of_each_sequence(monkeypatch):
    """Chunks of 3 sequences of 4 · 5 numbers: 7 sequences are of 3 chunks, 2 of the last; NumPy's sums."""
    monkeypatch.setattr(measure, "_CHUNK", 3 * 4 * 5 + 1)
    law, key = am.denoising.LinearManifold(5, 2, 1.5), jax.random.key(3)
    models = [am.denoising.LinearAttention.scaled(5, c) for c in (0.5, 0.2)]
    found = measure.errors(law, 4, 0.7, models, key, 7)
    assert found.shape == (2, 7)
    for k, one in enumerate(jax.random.split(key, 3)):
        batch = drawn(law, jnp.asarray(0.7), 4, one, 3)
        contexts, queries, answers = (np.asarray(v, float) for v in batch)
        for row, c in zip(found, (0.5, 0.2)):
            mean = np.einsum("bld,bd->bl", contexts, queries)[:, None] @ contexts / contexts.shape[1]
            wanted = ((c * mean[:, 0] - answers) ** 2).sum(1)
            # 40 products a number: 40 eps of numbers of size 10² at most.
            np.testing.assert_allclose(row[3 * k : 3 * k + 3], wanted[: 7 - 3 * k], rtol=1e-9)


def test_both_laws_have_one_variance():
    study = load("denoising_map", [])
    every = measure.laws(study, 4)
    assert every["sphere"].radius ** 2 == pytest.approx(4 * study.variance, rel=1e-12)
    assert (every["linear"].rank, every["linear"].variance) == (4, study.variance)
    v, s = study.variance, 0.5
    model, bayes = denoising_map._best(study, every["linear"], s, 4, 32)
    assert isinstance(model, am.denoising.LinearAttention)
    assert float(bayes) == pytest.approx(4 * v * s / (v + s), rel=1e-6)
    assert isinstance(denoising_map._best(study, every["sphere"], s, 4, 32)[0], am.denoising.SoftmaxAttention)


def test_what_the_map_says():
    study = load("denoising_map", ["ranks=[2, 4]", "lengths=[8, 16]", "noises=[0.5, 2.0]"])
    axes = {"noise": [0.5, 2.0], "length": [8, 16], "rank": [2, 4]}
    data = xr.Dataset({"ratio": (("law", *axes), 1 + np.arange(16.0).reshape(2, 2, 2, 2) / 8)}, axes)
    lines = denoising_map.report(study, data)
    assert len(lines) == 8
    # ratio[law, noise, length, rank]: 1 + (8 law + 4 noise + 2 length + rank)/8.
    assert lines[0] == "linear, σ_z² = 0.5, δ = 2: error over Bayes 1.000 at L = 8, 1.250 at L = 16"
    assert lines[5] == "sphere, σ_z² = 0.5, δ = 4: error over Bayes 2.125 at L = 8, 2.375 at L = 16"
    assert lines[6] == "sphere, σ_z² = 2, δ = 2: error over Bayes 2.500 at L = 8, 2.750 at L = 16"


def test_what_lengths_of_contexts_say():
    study = load("denoising_contexts", ["lengths=[8, 16]"])
    shape = (3, 2, 3)
    numbers = np.arange(18.0).reshape(shape)
    data = xr.Dataset(
        {"error": (("law", "length", "model"), numbers), "half": (("law", "length", "model"), numbers / 8),
         "bayes": ("law", [0.5, 0.25, 0.125])}, {"length": [8, 16]},
    )  # fmt: skip
    lines = context_lengths.report(study, data)
    assert len(lines) == 2 + 2 + 3  # κ and γ for clusters only
    assert (
        lines[0]
        == "linear, linear attention: error 0.000 ± 0.000 at L = 8, 3.000 ± 0.375 at L = 16; Bayes 0.500"
    )
    assert lines[3] == "sphere, softmax: error 7.000 ± 0.875 at L = 8, 10.000 ± 1.250 at L = 16; Bayes 0.250"
    assert lines[6].startswith("clusters, softmax, κ and γ: error 14.000 ± 1.750 at L = 8, 17.000")
    assert lines[6].endswith("Bayes 0.125")


def test_weights_that_do_not_know_the_length():
    study = load("denoising_contexts", [])
    law = measure.laws(study, study.rank)["linear"]
    linear, softmax, steps = context_lengths._models(study, law)
    c = 1 / (study.variance + study.noise)
    x = jax.random.normal(jax.random.key(0), (1, 3, study.dimension))
    out = linear.denoised(x, x[:, 0])
    wanted = c * np.einsum("bld,bd->bl", x, x[:, 0])[:, None] @ np.asarray(x) / 3
    np.testing.assert_allclose(out, wanted[:, 0], rtol=1e-5)
    assert isinstance(softmax, am.denoising.SoftmaxAttention)
    assert isinstance(steps, am.denoising.EnergySteps)


def test_what_more_steps_say():
    study = load("denoising_energy", ["lengths=[8]", "steps=[1, 2]", "betas=[0.5, 1.0, 2.0]"])
    errors = [[[3.0, 1.0, 2.0], [5.0, 6.0, 4.0]]]
    numbers = np.arange(12.0).reshape(1, 2, 2, 3) / 4
    names = ("length", "steps", "learned")
    data = xr.Dataset(
        {"error": (("length", "steps", "beta"), errors), "half": (("length", "steps", "beta"), np.array(errors) / 8),
         "learned_error": (names, [[[0.5, 0.25], [0.75, 1.0]]]), "learned_half": (names, [[[0.125] * 2, [0.0625] * 2]]),
         "learned_numbers": ((*names, "number"), numbers)},
        {"length": [8], "steps": [1, 2], "beta": [0.5, 1.0, 2.0]},
    )  # fmt: skip
    lines = energy_descent.report(study, data)
    v, s, r = study.variance, study.noise, study.rank
    bayes = energy_descent._bayes(study)
    assert lines[0] == f"L = 8, 1 step: least error 1.000 ± 0.125 at βσ_z² = 1; Bayes {bayes:.3f}"
    assert lines[3] == f"L = 8, 2 steps: least error 4.000 ± 0.500 at βσ_z² = 2; Bayes {bayes:.3f}"
    assert lines[2] == (
        "  β, kept and gain learned: error 0.250 ± 0.125; βσ_z² = 0.750, kept 1.000, gain 1.250"
    )
    linear = load("denoising_energy", ["law='linear'"])
    assert energy_descent._bayes(linear) == pytest.approx(r * v * s / (v + s), rel=1e-6)
    assert energy_descent._bayes(load("denoising_energy", ["law='sphere'"])) != energy_descent._bayes(linear)


def test_what_training_says():
    """The best scaled identity of c = 1/((σ₀² + σ²)(1 + (δ + 1)/L)), in the mean over seeds at the end."""
    study = load("denoising_trained", ["lengths=[8, 32]"])
    one = np.zeros((2, 2, 3))
    one[1, :, -1] = 0.5, 1.0
    data = xr.Dataset(
        {name: (("length", "seed", "time"), one * k) for name, k in (("loss", 1), ("scale", 2), ("off_diagonal", 4))}
        | {"status": (("length", "seed"), np.zeros((2, 2)))},
        {"length": [8, 32], "time": [0, 1, 2]},
    )  # fmt: skip
    lines = trained.report(study, data)
    v, s, r = study.variance, study.noise, study.rank
    c = 1 / ((v + s) * (1 + (r + 1) / 32))
    assert lines[0].startswith("L = 8: loss 0.000 (best cI ")
    assert lines[1].startswith("L = 32: loss 0.750 (best cI ")
    assert (
        f"Bayes {r * v * s / (v + s):.3f}); diagonal 1.5000 (c* {c:.4f}), the rest 3.0000 (rms)" in lines[1]
    )
