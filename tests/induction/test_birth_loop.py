"""The third implementation (tests/birth_loop.py): its gradient, its sampler, and our step against it."""

import jax.random as jr
import numpy as np
import pytest

import assocmem_jax as am
import birth_loop
from assocmem_jax.systems.induction.studies.formation import optimizer

N, T, D, BATCH = 6, 9, 7, 4
LAW = np.random.default_rng(0).dirichlet(np.ones(N), size=N)


def parts(**options):
    return birth_loop.start(np.random.default_rng(1), N, T, D, trained=3.0, dtype=np.float64, **options)


def mean_loss(parts, tokens, weights):
    each, _ = birth_loop.losses(birth_loop.forward(parts, tokens[:, :-1])[0], tokens[:, 1:])
    return np.sum(weights * each) / np.sum(weights)


def test_its_gradient_is_that_of_its_loss():
    """Central differences along a random direction of each matrix, ε = 1e-5: errors ε², 1e-16/ε."""
    rng = np.random.default_rng(2)
    tokens, weights = rng.integers(0, N, (BATCH, T + 1)), rng.integers(0, 2, (BATCH, T))
    model = parts()
    _, _, slopes = birth_loop.gradients(model, tokens, weights)
    assert set(slopes) == {"key1", "key2", "output2", "feedforward"}
    for name, slope in slopes.items():
        way = rng.normal(size=(D, D))
        ahead, behind = (
            mean_loss(model | {name: model[name] + e * way}, tokens, weights) for e in (1e-5, -1e-5)
        )
        assert (ahead - behind) / 2e-5 == pytest.approx(np.sum(slope * way), rel=1e-6, abs=1e-9)


def test_its_text_is_birth_s():
    """Row by row: one output a trigger, counted from 1; never the trigger itself where that is asked."""
    text = birth_loop.Text(LAW.mean(0), LAW, (2, 4), T, repeat=False)
    tokens, occurrence = text.draw(np.random.default_rng(3), 500)
    after = {2: [], 4: []}
    for row, seen in zip(tokens, occurrence):
        for k in after:
            places = np.nonzero(row[:-1] == k)[0]
            assert (seen[places] == 1 + np.arange(len(places))).all()
            assert len(set(row[places + 1])) <= 1
            after[k].extend(row[places[:1] + 1])
        assert (seen[(row[:-1] != 2) & (row[:-1] != 4)] == 0).all()
    for k, answers in after.items():
        shares = np.bincount(answers, minlength=N) / len(answers)
        assert shares[k] == 0
        np.testing.assert_allclose(np.delete(shares, k), 0.2, atol=4 * np.sqrt(0.16 / len(answers)))


def test_our_steps_are_its_steps():
    """Losses and all trained matrices along two steps of momentum with decay, on the same batches: 1e-12."""
    task = am.BigramTask(LAW.mean(0), LAW, length=T, triggers=2, data=BATCH, loss_on="all")
    theirs, velocity = parts(), {}
    model = am.InductionTransformer(**theirs)
    run = am.simulate(task, model, am.Descent(optimizer, 2, BATCH, learning_rate=0.5), key=jr.key(4))

    def row(batch):
        return np.concatenate([batch.tokens, batch.targets[:, -1:]], axis=1)

    found = [mean_loss(theirs, row(task.data), np.ones((BATCH, T)))]
    for step in range(2):
        slopes = birth_loop.gradients(
            theirs, row(task.sample(jr.fold_in(jr.key(4), step), BATCH)), np.ones((BATCH, T))
        )[2]
        theirs, velocity = birth_loop.step(theirs, velocity, slopes, 0.5)
        found.append(mean_loss(theirs, row(task.data), np.ones((BATCH, T))))
    np.testing.assert_allclose(run.observed["loss"], found, rtol=1e-12)
    for name in velocity:
        assert np.abs(theirs[name] - np.asarray(getattr(model, name))).max() > 1e-3
        np.testing.assert_allclose(getattr(run.model, name), theirs[name], atol=1e-12)
