"""Under a transformation no value is known: what every door looks at where it can, it takes there as it is."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am
from assocmem_jax.theory import information

KEY, EYE, HALF = jr.key(0), np.eye(2), np.ones(2) / 2
TASK = am.two_tokens(0.5, 0.75)
START = am.LinearMemory.zeros(TASK)
FACTS = am.FactualTask(np.array([[0, 2], [1, 3]]), 2, length=4, noise=2, draws=1)
PM = np.array([[1.0, -1, 1], [1, 1, -1]])
COOC = [np.ones((2, 3)), np.ones((3, 4)), np.ones((3, 4)), np.ones((3, 4)), np.ones(2)]
HEADS = [np.ones((7, 3)), np.ones((4, 3)), *[np.ones((1, 2, 3))] * 4]
WHERE = lambda task: task.probabilities  # noqa: E731

# name: a function of arrays, and arrays that are right
TRACED = {
    "AssociationTask": (am.AssociationTask, HALF, np.arange(2), EYE, EYE),
    "AssociationTask of soft labels": (am.AssociationTask, HALF, EYE, EYE, EYE),
    "AssociationTask of some classes": (lambda c: am.AssociationTask(HALF, np.arange(2), EYE, EYE, possible=c), np.ones(2, bool)),
    "AssociationTask.first": (TASK.first, 1),
    "two_tokens": (am.two_tokens, 0.5, 0.75),
    "LabelSmoothed": (am.losses.LabelSmoothed, 0.5),
    "laws.normalized": (am.laws.normalized, np.array([1.0, 2])),
    "laws.imbalance": (am.laws.imbalance, 0.75),
    "embeddings.equicorrelated": (lambda alpha: am.embeddings.equicorrelated(3, alpha), 0.5),
    "embeddings.correlated_pair": (am.embeddings.correlated_pair, 0.5),
    "embeddings.from_gram": (am.embeddings.from_gram, EYE),
    "embeddings.normalised": (am.embeddings.normalised, EYE),
    "schemes.counts": (lambda n: am.memory.schemes.counts(TASK, KEY, n, 3), 2),
    "schemes.top": (lambda k: am.memory.schemes.top(TASK.probabilities, k), 1.0),
    "LinearMemory": (am.LinearMemory, EYE),
    "LinearMemory.outer_product": (lambda q: am.LinearMemory.outer_product(TASK, q), HALF),
    "LinearMemory.from_margins": (lambda m: am.LinearMemory.from_margins(TASK, m), HALF),
    "LinearMemory.from_plane": (lambda g: am.LinearMemory.from_plane(TASK, g), HALF),
    "LinearMemory.gaussian": (lambda scale: am.LinearMemory.gaussian(TASK, KEY, scale), 0.1),
    "MarginSystem.from_margins": (lambda m: am.MarginSystem.from_margins(TASK, m), HALF),
    "NormalizedMemory": (lambda w: am.NormalizedMemory(w, TASK), EYE),
    "EmbeddedMemory": (am.memory.EmbeddedMemory, EYE, EYE, EYE),
    "truncated": (lambda rank: am.truncated(START, "weight", rank), 1),
    "time_to_perfect": (lambda rate: am.time_to_perfect(TASK, rate, 9), 1.0),
    "Descent": (lambda rate: am.Descent(optax.sgd, 3, learning_rate=rate), 0.1),
    "Descent of rates": (lambda rates: am.Descent(optax.sgd, 3, learning_rate=rates), np.ones(3)),
    "Descent that thaws": (lambda step: am.Descent(optax.sgd(0.1), 3, thaw=((lambda m: m.weight, step),)), 1),
    "Descent of relative rates": (lambda f: am.Descent(optax.sgd(0.1), 3, relative_rates=((lambda m: m.weight, f),)), 0.5),
    "GradientFlow": (am.GradientFlow, 2.0),
    "times of a flow": (lambda at: am.simulate(TASK, START, am.GradientFlow(2.0, step=0.5), at=at).times, np.array([1.0])),
    "StochasticFlow": (lambda sigma, t1: am.StochasticFlow(sigma, t1, 3), 0.1, 1.0),
    "MinibatchNoise": (lambda rate: am.MinibatchNoise(rate, 2), 0.1),
    "Curriculum": (lambda knots, values: am.Curriculum(WHERE, knots, values), np.arange(2), np.tile(HALF, (2, 1))),
    "a run with a curriculum": (lambda values: am.simulate(TASK, START, am.Descent(optax.sgd(0.1), 2, curriculum=am.Curriculum(WHERE, [0, 1], values))).status, np.tile(HALF, (2, 1))),
    "margin_above": (am.margin_above, 0.1),
    "loss_below": (am.loss_below, 0.1),
    "edge_of_stability": (am.edge_of_stability, 0.1),
    "information.entropy": (information.entropy, 0.5),
    "information.injective": (information.injective, 2, 3),
    "information.arranged": (information.arranged, np.arange(3)),
    "information.recalled": (information.recalled, 3.0, 2, 2, 0.5),
    "information.completed": (information.completed, 2, 3, 0.5, 0.1),
    "RetrievalTask": (am.RetrievalTask, PM, PM, HALF),
    "RetrievalTask.binary": (lambda flips: am.RetrievalTask.binary(KEY, 2, 3, flips=flips), 0.1),
    "RetrievalTask.spherical": (lambda noise: am.RetrievalTask.spherical(KEY, 2, 3, noise=noise), 0.1),
    "RetrievalTask.first": (am.RetrievalTask(PM).first, 1),
    "bits of patterns": (lambda p: am.RetrievalTask(p).recalled_bits(am.AttentionMemory(p, HALF, 1.0)), PM),
    "retrieval.signs": (am.retrieval.signs, PM),
    "HopfieldNetwork": (am.HopfieldNetwork, np.array([[0.0, 1], [1, 0]])),
    "HopfieldNetwork.hebb": (lambda p: am.HopfieldNetwork.hebb(am.RetrievalTask(p)), PM),
    "DenseMemory.polynomial": (lambda p: am.DenseMemory.polynomial(am.RetrievalTask(p), 2), PM),
    "DenseMemory.exponential": (lambda p: am.DenseMemory.exponential(am.RetrievalTask(p)), PM),
    "AttentionMemory": (am.AttentionMemory, PM, HALF, 1.0),
    "CooccurrenceTask": (lambda tokens, labels: am.CooccurrenceTask(tokens, labels, 4), np.array([[0, 1, 3]]), np.ones(1)),
    "CooccurrenceTransformer": (am.CooccurrenceTransformer, *COOC),
    "scores_moved": (lambda level: am.cooccurrence.scores_moved(am.CooccurrenceTransformer(*COOC), level), 0.1),
    "NoisyCopyTask": (am.induction.NoisyCopyTask, 5.0, 0.5),
    "time_to_overtake": (lambda n, a: am.induction.time_to_overtake(am.induction.NoisyCopyTask(n, a)), 5.0, 0.4),
    "FactualTask": (lambda facts: am.FactualTask(facts, 2, length=4, noise=2, draws=1), np.array([[0, 2], [1, 3]])),
    "FactualTask of laws": (lambda p, q: am.FactualTask(FACTS.facts, 2, length=4, noise=2, draws=1, subjects_law=p, relations_law=q), HALF, HALF),
    "FactualTask.first": (FACTS.first, 1, 2),
    "LinearAttentionRecall": (am.LinearAttentionRecall, np.ones(7), np.ones((4, 7))),
    "FactualSystem.from_weights": (lambda v, A: am.factual.FactualSystem.from_weights(FACTS, am.LinearAttentionRecall(v, A)), np.ones(7), np.ones((4, 7))),
    "FactualTransformer": (am.FactualTransformer, *HEADS),
    "TriggerTask": (lambda e, u, t, y: am.TriggerTask(e, u, t, y, length=2, draws=1), EYE, EYE, HALF, np.arange(2)),
    "TriggerTask.narrowed": (am.TriggerTask(EYE, EYE, HALF, length=2, draws=1).narrowed, 1),
    "TriggerAttention": (am.TriggerAttention, HALF, EYE, 1.0),
    "three_steps": (lambda key: am.noise.three_steps(am.TriggerTask(EYE, EYE, HALF, length=2, draws=1), key, 3), KEY),
    "population_key": (lambda y: am.noise.population_key(am.TriggerTask(EYE, EYE, HALF, y, length=2, draws=1)), np.arange(2)),
    "noisy_step_recall": (am.noise.noisy_step_recall, EYE, EYE, EYE),
    "HopTask": (lambda hidden, p: am.HopTask(hidden, p, draws=1), np.array([[0, 1], [1, 0]]), HALF),
    "HopTransformer": (am.HopTransformer, np.eye(4), np.ones((1, 6, 6))),
    "HopTransformer.written": (lambda beta: am.HopTransformer.written(am.HopTask([[0, 1], [1, 0]], draws=1), beta), 2.0),
    "DenoisingTask": (lambda s, noise: am.DenoisingTask(am.denoising.LinearManifold(2, 1, s), 2, noise, draws=1), 1.0, 0.5),
    "Clusters": (lambda r, s: am.denoising.Clusters(2, 2, r, s), 1.0, 0.0),
    "EnergySteps": (lambda beta, keep: am.denoising.EnergySteps(beta, keep=keep), 1.0, 0.5),
    "LinearAttention": (am.denoising.LinearAttention, EYE, EYE),
}  # fmt: skip


@pytest.mark.parametrize("name", TRACED)
def test_values_that_are_not_known_are_taken(name):
    function, *arrays = TRACED[name]
    taken = eqx.filter_eval_shape(function, *map(jnp.asarray, arrays))
    assert any(
        eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(taken)
    )
