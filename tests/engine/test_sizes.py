"""Sizes that tasks and models tell of themselves, where no two of their sizes are equal."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am
from assocmem_jax.tasks.batches import mean_loss
from helpers import refused

KEY = jr.key(0)
COOC = dict(task=am.CooccurrenceTask([[0, 1, 3], [0, 2, 4]], [1.0, -1.0], 7))
CLOUD = am.CooccurrenceTransformer(np.ones((3, 5)), np.ones((5, 7)), np.ones((5, 7)), np.ones((5, 7)), np.ones(3))  # fmt: skip
BIGRAM = dict(unigram=np.ones(4) / 4, bigram=np.ones((4, 4)) / 4, length=6, triggers=1, data=3, loss_on="all")
FACTS = am.FactualTask(np.array([[0, 2, 4], [1, 3, 5]]), 2, length=7, noise=4, draws=3)
HEADS = {name: np.ones((2, 3, 4)) for name in ("query", "key", "value", "output")}
# name: what is made, and what it says of itself
SAID = {
    "association": (lambda: am.AssociationTask(np.ones(3) / 3, [0, 1, 3], np.ones((3, 2)), np.ones((4, 5))),
                    dict(num_tokens=3, num_classes=4, score_shape=(3, 4), soft=False)),
    "soft labels": (lambda: am.AssociationTask([1.0], np.ones((1, 2)) / 2, np.ones((1, 3)), np.ones((2, 5))),
                    dict(num_tokens=1, num_classes=2, score_shape=(1, 2), soft=True)),
    "bigrams": (lambda: am.BigramTask(**BIGRAM), dict(num_tokens=4, score_shape=(3, 6, 4))),
    "bigrams with noise": (lambda: am.BigramTask(**BIGRAM, noise=0.5),
                           dict(num_tokens=5, noise_token=4, score_shape=(3, 6, 5))),
    "copies": (lambda: am.induction.NoisyCopyTask(5, 0.5), dict(score_shape=(1, 3))),
    "facts": (lambda: FACTS, dict(subjects=2, relations=3, num_answers=6, num_tokens=2 + 3 + 4 + 1,
                                  score_shape=(2 * 3 * 3, 6), symmetric=True)),
    "hops": (lambda: am.HopTask(np.tile(np.arange(3), (4, 1)), draws=2),
             dict(num_values=3, num_hops=4, num_levels=3, score_shape=(2, 3, 4, 3, 3))),
    "triggers": (lambda: am.TriggerTask(np.ones((3, 5)), np.ones((4, 6)), np.ones(5), length=7, draws=2),
                 dict(num_tokens=3, num_answers=4, score_shape=(2, 4))),
    "denoising": (lambda: am.DenoisingTask(am.denoising.LinearManifold(5, 2), 4, draws=3), dict(dimension=5)),
    "words": (lambda: COOC["task"], dict(score_shape=(2,))),
    "patterns": (lambda: am.RetrievalTask(np.ones((3, 4))), dict(score_shape=(3, 4))),
    "a transformer": (lambda: am.Transformer.initial(5, 6, KEY, width=8, layers=3, heads=2), dict(num_heads=6)),
    "hops of a transformer": (lambda: am.HopTransformer(np.eye(4), np.ones((2, 6, 6))), dict(num_layers=3)),
    "facts of a transformer": (
        lambda: am.FactualTransformer(np.ones((10, 4)), np.ones((6, 4)), **HEADS),
        {"token_logits.shape": (10, 6)}),
    "facts of attention": (lambda: am.LinearAttentionRecall(np.ones(10), np.ones((6, 10))),
                           {"token_logits.shape": (10, 6)}),
    "words of a transformer": (
        lambda: CLOUD,
        {"width": 5, "values.shape": (7,), "table.shape": (7, 7), "value_gram.shape": (7, 7)}),
    "words of products": (
        lambda: am.cooccurrence.CooccurrenceSystem.from_transformer(CLOUD),
        {"width": 5, "neurons": 3, "values.shape": (7,), "energy.shape": (), "key_gram.shape": (7, 7)}),
    "words of six products": (
        lambda: am.cooccurrence.SixVariableSystem.from_transformer(CLOUD),
        {"width": 5, "values.shape": (7,), "neuron_values.shape": (3, 7), "neuron_gram.shape": (3, 3)}),
    "words of two heads": (
        lambda: am.cooccurrence.CooccurrenceHeads.gaussian(**COOC, key=KEY, heads=2, width=5, neurons=3,
                                                           sigma0=0.1, sigma1=0.1),
        {"width": 5, "head_tables.shape": (2, 7, 7), "head_values.shape": (2, 7), "values.shape": (7,)}),
    "words of two layers": (
        lambda: am.cooccurrence.CooccurrenceLayers.from_transformer(CLOUD),
        {"width": 5, "first_table.shape": (7, 7), "first_values.shape": (7,), "values.shape": (7,)}),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_sizes(name):
    make, said = SAID[name]
    made, found = make(), {}
    for words in said:
        found[words] = made
        for word in words.split("."):
            found[words] = getattr(found[words], word)
    assert {words: value if not hasattr(value, "item") else value.item() for words, value in found.items()} == said  # fmt: skip
    if hasattr(made, "dtype"):
        assert made.dtype == jnp.float64


def test_shares_of_facts_and_of_kinds():
    """p(s) p(r), with laws of both and of one; which sample is of which kind; which trigger may be one."""
    task = am.FactualTask(FACTS.facts, 2, length=3, noise=0, relations_law=[0.5, 0.25, 0.25], draws=1)
    np.testing.assert_allclose(task.pair_probabilities, np.tile([0.25, 0.125, 0.125], (2, 1)), rtol=1e-15)
    assert not task.symmetric
    kinds = am.CooccurrenceTask(
        [[1, 0, 2], [0, 3, 2], [2, 1, 3], [3, 2, 3]], [1.0, -1.0, -1.0, -1.0], 4
    ).kinds
    assert kinds.tolist() == [0, 1, 2, 3]
    assert am.BigramTask(**BIGRAM | {"triggers": [2]}).possible_triggers.tolist() == [
        False,
        False,
        True,
        False,
    ]


PATTERNS = am.RetrievalTask(np.array([[1.0, -1, 1, 1], [1, 1, -1, 2], [-1, 1, 3, 1]]))
WEIGHTS = [np.random.default_rng(0).normal(size=shape) for shape in ((3, 5), (5, 7), (5, 7), (5, 7))]
MEANS = {  # batches of one array, of two, of three
    "patterns": (PATTERNS, am.AttentionMemory(PATTERNS.patterns, np.ones(3), 0.5)),
    "words": (COOC["task"], am.CooccurrenceTransformer(*WEIGHTS, np.ones(3))),
    "association": (am.two_tokens(0.5, 0.5), am.LinearMemory(np.array([[1.0, 2], [3, -4]]))),
    "denoising": (
        am.DenoisingTask(am.denoising.LinearManifold(5, 2), 4, draws=3),
        am.denoising.EnergySteps(0.5),
    ),
}


@pytest.mark.parametrize("name", MEANS)
def test_a_batch_is_as_many_as_its_examples(name):
    """In parts of two the mean of five examples is their mean: two, two and one, of which each weighs the same."""
    task, model = MEANS[name]
    batch = task.sampler(5)(jr.key(1))
    whole = float(task.sampled_loss(model, batch))
    each = [
        float(task.sampled_loss(model, jax.tree.map(lambda a, k=k: a[k : k + 1], batch))) for k in range(5)
    ]
    assert np.ptp(each) > 1e-3 * abs(whole)
    assert whole == pytest.approx(np.mean(each), rel=1e-12)
    for size in (None, 2, 5, 9):
        assert float(mean_loss(task, model, batch, size)) == pytest.approx(whole, rel=1e-12)
    first = jax.tree.map(lambda a: a[:1], batch)
    assert float(mean_loss(task, model, first, None)) == pytest.approx(each[0], rel=1e-12)


def test_means_over_none_and_over_one():
    """Nothing to take a mean over is 0; one is itself: losses of kinds of samples, losses and accuracy of what a
    head can know."""
    model = am.CooccurrenceTransformer(*WEIGHTS, np.ones(3))
    task = am.CooccurrenceTask([[1, 0, 2], [0, 3, 2]], [1.0, -1.0], 7)
    each = np.log1p(np.exp(-np.asarray(am.margins(task, model))))
    np.testing.assert_allclose(am.cooccurrence.kind_losses(task, model), [*each, 0, 0], rtol=1e-14)
    plain = am.Transformer.initial(5, 4, KEY, width=4, layers=1)
    seen = set()
    for seed in range(12):
        task = am.BigramTask(**BIGRAM | dict(length=4, data=1, key=jr.key(seed)), noise=0.5)
        data, scores = task.data, np.asarray(plain.scores(task), float)
        losses = (
            np.log(np.exp(scores).sum(axis=-1))
            - np.take_along_axis(scores, np.asarray(data.targets)[..., None], -1)[..., 0]
        )
        right = scores.argmax(axis=-1) == np.asarray(data.targets)
        told = {
            am.induction.in_context_loss: (losses, data.in_context), am.induction.in_context_accuracy: (right, data.in_context),
            am.induction.answer_loss: (losses, data.answers), am.induction.answer_accuracy: (right, data.answers),
            am.induction.global_loss: (losses, np.asarray(data.occurrence) == 0),
        }  # fmt: skip
        for observable, (values, counted) in told.items():
            counted = np.asarray(counted, bool)
            seen.add(min(int(counted.sum()), 2))
            wanted = values[counted].mean() if counted.any() else 0
            assert float(observable(task, plain)) == pytest.approx(float(wanted), rel=1e-12, abs=1e-15)
    assert seen == {0, 1, 2}


SCORES = {
    "particles": lambda: (am.two_tokens(0.5, 0.75), am.ParticleSystem),
    "margins": lambda: (am.two_tokens(0.5, 0.75), am.MarginSystem),
    "copies": lambda: (am.induction.NoisyCopyTask(5, 0.5), am.induction.NoisyCopySystem),
}


@pytest.mark.parametrize("name", SCORES)
def test_models_of_scores_have_no_optimizer_of_weights(name):
    """Adam and relative rates are of weights, and so is sharpness but for what finds its own: refused of what says
    that it holds none."""
    task, kind = SCORES[name]()
    model = kind.zeros(task)
    assert not model.weight_space
    refused(lambda: am.simulate(task, model, am.Descent(optax.adam(0.1), 1)), "optimizer must be ")
    slow = am.GradientFlow(0.1, relative_rates=((lambda m: m.trainable()[0], 0.5),))
    refused(lambda: am.simulate(task, model, slow), "relative_rates must be ")
    if name == "copies":
        refused(lambda: am.sharpness(task, model), "model must be ")
