"""Every public callable, called right; then with each argument replaced by what it is not.

Run: python tests/engine/malformed.py. Prints what is neither refused in one line nor a sound result. A test
runs it in a process without the type hook, as users are.
"""

import enum
import inspect
import os
import sys
import tempfile
import types
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import assocmem_jax as am
from assocmem_jax.systems import wings

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script, too
import surface

KEY = jax.random.key(0)
TASK = am.two_tokens(0.5, 0.75)
START = am.LinearMemory.zeros(TASK)
SGD = am.Descent(optax.sgd(1.0), 3)
CUES = am.RetrievalTask.binary(KEY, 3, 8)
FACTS = am.FactualTask.balanced(4, 2, 2, KEY, noise=2, length=5)
RECALL = am.LinearAttentionRecall.constant(FACTS)
PLACE = tempfile.mkdtemp()
GIVEN = dict(task=TASK, model=START)
MARKED = am.TriggerTask(np.eye(3), np.eye(3), np.ones(3), length=3, draws=2)
WORDS = am.CooccurrenceTask.training(KEY, (2, 1, 1, 1), 4, 9)
READER = am.CooccurrenceTransformer.gaussian(WORDS, KEY, 3, 2, 0.1, 0.1)
TEXT = am.BigramTask(np.ones(3) / 3, np.ones((3, 3)) / 3, length=12, triggers=1, data=2, loss_on="all")
HEAD = am.InductionTransformer.gaussian(TEXT, KEY, 4)
RUN = am.simulate(TASK, START, SGD)
# Calls that are right, in full: (function, arguments).
CALLS = {
    "AssociationTask": (am.AssociationTask, dict(probabilities=[0.5, 0.5], targets=[0, 1], inputs=np.eye(2), outputs=np.eye(2), possible=np.ones(2, bool))),
    "two_tokens": (am.two_tokens, dict(alpha=0.5, p1=0.75, loss=am.losses.squared)),
    "losses.LabelSmoothed": (am.losses.LabelSmoothed, dict(strength=0.1)),
    "LinearMemory": (am.LinearMemory, dict(weight=np.eye(2))),
    "NormalizedMemory": (am.NormalizedMemory, dict(weight=np.eye(2), task=TASK)),
    "LinearMemory.zeros": (am.LinearMemory.zeros, dict(task=TASK)),
    "LinearMemory.gaussian": (am.LinearMemory.gaussian, dict(task=TASK, key=KEY, scale=1.0)),
    "LinearMemory.outer_product": (am.LinearMemory.outer_product, dict(task=TASK, scheme=np.ones(2))),
    "LinearMemory.from_margins": (am.LinearMemory.from_margins, dict(task=TASK, margins=np.ones(2))),
    "LinearMemory.from_plane": (am.LinearMemory.from_plane, dict(task=TASK, gamma=np.ones(2))),
    "ParticleSystem.zeros": (am.ParticleSystem.zeros, dict(task=TASK)),
    "MarginSystem.from_margins": (am.MarginSystem.from_margins, dict(task=TASK, margins=np.ones(2))),
    "Curriculum": (am.Curriculum, dict(where=lambda task: task.probabilities, knots=[0, 2], values=[[0.5, 0.5], [0.9, 0.1]], linear=True)),
    "GradientFlow": (am.GradientFlow, dict(t1=2.0, rtol=1e-4, atol=1e-6, log_time=True, stiff=False, max_steps=50, relative_rates=())),
    "memory.EmbeddedMemory": (am.memory.EmbeddedMemory, dict(weight=np.eye(2), inputs=np.eye(2), outputs=np.eye(2))),
    "memory.EmbeddedMemory.gaussian": (am.memory.EmbeddedMemory.gaussian, dict(task=TASK, key=KEY, scale=1.0)),
    "cooccurrence.CooccurrenceLayers": (am.cooccurrence.CooccurrenceLayers, dict(last=am.CooccurrenceTransformer(np.ones((2, 3)), np.ones((3, 4)), np.ones((3, 4)), np.ones((3, 4)), np.ones(2)), first_value=np.eye(4), first_key=np.ones((3, 4)), first_query=np.ones((3, 4)))),
    "cooccurrence.CooccurrenceLayers.gaussian": (am.cooccurrence.CooccurrenceLayers.gaussian, dict(task=am.CooccurrenceTask.training(KEY, (2, 1, 1, 1), 4, 9), key=KEY, width=3, neurons=2, sigma0=0.1, sigma1=0.1)),
    "cooccurrence.CooccurrenceLayers.from_transformer": (am.cooccurrence.CooccurrenceLayers.from_transformer, dict(model=am.CooccurrenceTransformer(np.ones((2, 3)), np.ones((3, 4)), np.ones((3, 4)), np.ones((3, 4)), np.ones(2)))),
    "cooccurrence.CooccurrenceHeads.gaussian": (am.cooccurrence.CooccurrenceHeads.gaussian, dict(task=am.CooccurrenceTask.training(KEY, (2, 1, 1, 1), 4, 9), key=KEY, heads=2, width=3, neurons=2, sigma0=0.1, sigma1=0.1)),
    "GradientFlow step": (am.GradientFlow, dict(t1=2.0, step=0.1)),
    "Descent": (am.Descent, dict(optimizer=optax.sgd, steps=3, batch_size=2, learning_rate=0.1, compensated=False, thaw=(), relative_rates=(), curriculum=None, microbatch=1, devices=1)),
    "StochasticFlow": (am.StochasticFlow, dict(sigma=0.1, t1=1.0, steps=3)),
    "MinibatchNoise": (am.MinibatchNoise, dict(learning_rate=0.1, batch_size=2, draws=4, second_order=True)),
    "StochasticFlow of minibatches": (am.StochasticFlow, dict(sigma=am.MinibatchNoise(0.1, 2), t1=1.0, steps=3)),
    "perfect_accuracy": (am.perfect_accuracy, dict(hold=1)),
    "margin_above": (am.margin_above, dict(level=1.0, token=0, hold=1)),
    "loss_below": (am.loss_below, dict(level=0.1, hold=1)),
    "Until": (am.Until, dict(condition=lambda t, m: 1.0, hold=1)),
    "simulate": (am.simulate, dict(task=TASK, model=START, dynamics=SGD, observe=None, every=1, until=None, key=KEY, trainable=None, throw=True, progress=False, resumable=False, resume=None)),
    "simulate at": (am.simulate, dict(task=TASK, model=START, dynamics=SGD, at=[1, 2])),
    "in_segments": (am.in_segments, dict(run=lambda previous, steps: am.simulate(TASK, START, am.Descent(optax.sgd(1.0), steps), resume=previous, resumable=True), steps=2, every=1, path=None, about=None, progress=False)),
    "laws.uniform": (am.laws.uniform, dict(n=3)),
    "laws.zipf": (am.laws.zipf, dict(n=3, exponent=1.0)),
    "laws.imbalance": (am.laws.imbalance, dict(p1=0.5)),
    "laws.normalized": (am.laws.normalized, dict(weights=[1, 2, 3])),
    "embeddings.one_hot": (am.embeddings.one_hot, dict(n=2, d=3)),
    "embeddings.orthonormal": (am.embeddings.orthonormal, dict(key=KEY, n=2, d=3)),
    "embeddings.sphere": (am.embeddings.sphere, dict(key=KEY, n=2, d=3)),
    "embeddings.gaussian": (am.embeddings.gaussian, dict(key=KEY, n=2, d=3)),
    "embeddings.correlated_pair": (am.embeddings.correlated_pair, dict(alpha=0.5)),
    "embeddings.equicorrelated": (am.embeddings.equicorrelated, dict(n=3, alpha=0.5, d=4)),
    "embeddings.from_gram": (am.embeddings.from_gram, dict(gram=np.eye(2), d=2)),
    "loss": (am.loss, GIVEN), "error": (am.error, GIVEN), "margins": (am.margins, GIVEN),
    "gradient": (am.gradient, GIVEN), "gradient_norm": (am.gradient_norm, GIVEN), "sharpness": (am.sharpness, GIVEN),
    "memory.gammas": (am.memory.gammas, GIVEN), "memory.weights": (am.memory.weights, GIVEN),
    "memory.max_margin": (am.memory.max_margin, dict(task=TASK)),
    "memory.least_error": (am.memory.least_error, dict(task=TASK)),
    "truncated": (am.truncated, dict(model=START, where="weight", rank=1)),
    "singular_values": (am.singular_values, dict(where="weight")), "soft_rank": (am.soft_rank, dict(where="weight")),
    "induction.NoisyCopyTask": (am.induction.NoisyCopyTask, dict(tokens=5, noise=0.3)),
    "induction.NoisyCopySystem.zeros": (am.induction.NoisyCopySystem.zeros, dict(task=am.induction.NoisyCopyTask(5, 0.3))),
    "induction.time_to_overtake": (am.induction.time_to_overtake, dict(task=am.induction.NoisyCopyTask(5, 0.3))),
    "edge_of_stability": (am.edge_of_stability, dict(learning_rate=0.1)),
    "RetrievalTask": (am.RetrievalTask, dict(patterns=np.eye(2), cues=np.eye(2), probabilities=[0.5, 0.5], radius=1.0)),
    "RetrievalTask.binary": (am.RetrievalTask.binary, dict(key=KEY, n=2, d=3, flips=0.1)),
    "RetrievalTask.spherical": (am.RetrievalTask.spherical, dict(key=KEY, n=2, d=3, noise=0.1, radius=0.5)),
    "HopfieldNetwork": (am.HopfieldNetwork, dict(weight=np.zeros((2, 2)), steps=2, asynchronous=False)),
    "HopfieldNetwork.hebb": (am.HopfieldNetwork.hebb, dict(task=CUES, steps=2, asynchronous=False)),
    "DenseMemory.polynomial": (am.DenseMemory.polynomial, dict(task=CUES, degree=3, steps=1)),
    "DenseMemory.exponential": (am.DenseMemory.exponential, dict(task=CUES, steps=1)),
    "AttentionMemory": (am.AttentionMemory, dict(patterns=np.eye(2), weights=np.ones(2), beta=1.0, steps=1)),
    "retrieval.signs": (am.retrieval.signs, dict(images=np.eye(2), threshold=0.5)),
    "BigramTask": (am.BigramTask, dict(noise=0.5, unigram=np.ones(3) / 3, bigram=np.ones((3, 3)) / 3, length=12, triggers=1, outputs="uniform", output_tokens=None, repeat=True, loss_on="all", data=2, key=KEY, alphabet=None)),
    "FactualTask": (am.FactualTask, dict(facts=[[0, 2], [1, 3]], answers=2, noise=2, length=5, subjects_law=[0.5, 0.5], relations_law=[0.5, 0.5], mentions=(1, 1), draws=2, key=KEY)),
    "FactualTask.balanced": (am.FactualTask.balanced, dict(subjects=4, relations=2, answers=2, key=KEY)),
    "LinearAttentionRecall": (am.LinearAttentionRecall, dict(attention=np.ones(7), table=np.ones((4, 7)))),
    "LinearAttentionRecall.constant": (am.LinearAttentionRecall.constant, dict(task=FACTS, start=1.0)),
    "LinearAttentionRecall.gaussian": (am.LinearAttentionRecall.gaussian, dict(task=FACTS, key=KEY, scale=1.0)),
    "factual.FactualSystem.constant": (am.factual.FactualSystem.constant, dict(task=FACTS, start=1.0, relations=None)),
    "factual.relation_loss": (am.factual.relation_loss, dict(task=FACTS, model=RECALL)),
    "TriggerTask": (am.TriggerTask, dict(inputs=np.eye(3), outputs=np.eye(3), trigger=np.ones(3), targets=[0, 2, 1], length=3, draws=2, key=KEY)),
    "TriggerTask.gaussian": (am.TriggerTask.gaussian, dict(tokens=3, dimension=3, key=KEY, length=3, draws=2)),
    "TriggerAttention": (am.TriggerAttention, dict(key=np.ones(3), value=np.eye(3), beta=1.0, saturated=False)),
    "noise.three_steps": (am.noise.three_steps, dict(task=MARKED, key=KEY, sequences=3, fresh=False, centred=False)),
    "noise.noisy_step_recall": (am.noise.noisy_step_recall, dict(inputs=np.eye(3), outputs=np.eye(3), noise=np.eye(3))),
    "HopTask": (am.HopTask, dict(hidden=[[0, 1], [1, 0]], weights=[0.5, 0.5], draws=2, key=KEY)),
    "HopTask.random": (am.HopTask.random, dict(values=2, hops=2, key=KEY, weights=[0.5, 0.5], draws=2)),
    "HopTransformer": (am.HopTransformer, dict(first=np.eye(4), later=np.ones((1, 6, 6)))),
    "HopTransformer.written": (am.HopTransformer.written, dict(task=am.HopTask([[0, 1], [1, 0]]), beta=8.0)),
    "HopTransformer.gaussian": (am.HopTransformer.gaussian, dict(task=am.HopTask([[0, 1], [1, 0]]), key=KEY, layers=2, scale=0.1)),
    "hops.least_weights": (am.hops.least_weights, dict(task=am.HopTask([[0, 1], [1, 0]]), model=am.HopTransformer.written(am.HopTask([[0, 1], [1, 0]]), 8.0))),
    "DenoisingTask": (am.DenoisingTask, dict(law=am.denoising.Sphere(4, 2, 1.0), length=3, noise=0.5, draws=2, key=KEY)),
    "denoising.LinearManifold": (am.denoising.LinearManifold, dict(dimension=4, rank=2, variance=1.0)),
    "denoising.Sphere": (am.denoising.Sphere, dict(dimension=4, rank=2, radius=1.0)),
    "denoising.Clusters": (am.denoising.Clusters, dict(dimension=4, centres=2, radius=1.0, variance=0.1)),
    "denoising.LinearAttention": (am.denoising.LinearAttention, dict(value=np.eye(2), key=np.eye(2))),
    "denoising.LinearAttention.scaled": (am.denoising.LinearAttention.scaled, dict(dimension=2, scale=0.5)),
    "denoising.EnergySteps": (am.denoising.EnergySteps, dict(beta=1.0, steps=2)),
    "denoising.bayes_errors": (am.denoising.bayes_errors, dict(law=am.denoising.Sphere(4, 2, 1.0), noise=0.5, key=KEY, draws=2)),
    "threshold": (am.threshold, dict(measure=lambda key, d: 0.1 * d, target=0.5, smallest=1, largest=9, rising=True, trials=2, seeds=2, level=0.9, resolution=0.1, together=None, devices=1)),
    "power_law": (am.power_law, dict(x=[1.0, 2, 4, 8], y=[1.0, 2, 4, 8.1], error=None, level=0.9)),
    "sweep": (am.sweep, dict(fn=lambda a: 2 * a, a=[1.0, 2.0], seeds=None, tile=None, chunk=None, progress=False)),
    "lanczos_top": (am.lanczos_top, dict(matvec=lambda v: 2 * v, size=3, dtype=jnp.float32, rtol=1e-4, max_iterations=20, basis_size=4)),
    "Uniform": (am.Uniform, dict(low=0.0, high=1.0)),
    "save": (am.save, dict(path=f"{PLACE}/b", tree={"a": np.ones(2)})),
    "load": (am.load, dict(path=f"{PLACE}/a", like={"a": np.ones(2)})),
    "open_store": (am.open_store, dict(path=f"{PLACE}/none.zarr")),
    "AssociationTask all": (am.AssociationTask, dict(probabilities=[0.5, 0.5], targets=[0, 1], inputs=np.eye(2), outputs=np.eye(2), loss=am.losses.squared, names=())),
    "AssociationTask.from_pairs": (am.AssociationTask.from_pairs, dict(pairs=[("a", "b"), ("c", "d")], counts=[1, 2], embeddings=None, outputs=None, dimension=3, key=KEY, loss=am.losses.squared)),
    "AttentionMemory.store": (am.AttentionMemory.store, dict(task=CUES, beta=1.0, steps=1)),
    "BigramTask.from_text": (am.BigramTask.from_text, dict(path=__file__, alphabet=None, length=8, triggers=1)),
    "BigramTask.shakespeare": (am.BigramTask.shakespeare, dict(length=8, triggers=1, data=4, loss_on="all")),
    "CooccurrenceTask": (am.CooccurrenceTask, dict(tokens=WORDS.tokens, labels=WORDS.labels, dimension=9)),
    "CooccurrenceTask.training": (am.CooccurrenceTask.training, dict(key=KEY, counts=(2, 1, 1, 1), length=4, dimension=9, n=5, distinct=False)),
    "CooccurrenceTask.population": (am.CooccurrenceTask.population, dict(key=KEY, n=4, length=4, dimension=9)),
    "CooccurrenceTransformer": (am.CooccurrenceTransformer, dict(mlp=np.ones((2, 3)), value=np.ones((3, 4)), key=np.ones((3, 4)), query=np.ones((3, 4)), signs=np.ones(2))),
    "CooccurrenceTransformer.gaussian": (am.CooccurrenceTransformer.gaussian, dict(task=WORDS, key=KEY, width=3, neurons=2, sigma0=0.1, sigma1=0.1)),
    "CooccurrenceTransformer.kaiming": (am.CooccurrenceTransformer.kaiming, dict(task=WORDS, key=KEY, width=3, neurons=2, law="normal", gain=1.0)),
    "cooccurrence.CooccurrenceHeads": (am.cooccurrence.CooccurrenceHeads, dict(mlp=np.ones((2, 3)), value=np.ones((2, 3, 4)), key=np.ones((2, 3, 4)), query=np.ones((2, 3, 4)), signs=np.ones(2))),
    "cooccurrence.CooccurrenceSystem.from_transformer": (am.cooccurrence.CooccurrenceSystem.from_transformer, dict(model=READER)),
    "cooccurrence.SixVariableSystem.from_transformer": (am.cooccurrence.SixVariableSystem.from_transformer, dict(model=READER)),
    "cooccurrence.scores_moved": (lambda model, level, hold: am.simulate(WORDS, READER, SGD, until=am.cooccurrence.scores_moved(model, level, hold), throw=False), dict(model=READER, level=0.1, hold=1)),
    "DenseMemory": (am.DenseMemory, dict(patterns=2 * np.eye(2) - 1, weights=np.ones(2), separation=jnp.exp, steps=1)),
    "Descent of Adam": (am.Descent, dict(optimizer=optax.adam, steps=3, learning_rate=lambda step: 0.1, b1=0.9)),
    "FactualTask.random": (am.FactualTask.random, dict(subjects=4, relations=2, answers=2, key=KEY, length=5, noise=1)),
    "FactualTask.injective": (am.FactualTask.injective, dict(subjects=4, relations=2, answers=4, key=KEY, draws=4)),
    "FactualTask.balanced draws": (am.FactualTask.balanced, dict(subjects=4, relations=2, answers=2, key=KEY, draws=4)),
    "FactualTransformer": (am.FactualTransformer, dict(embedding=np.ones((7, 2)), unembedding=np.ones((4, 2)), query=np.ones((1, 2, 2)), key=np.ones((1, 2, 2)), value=np.ones((1, 2, 2)), output=np.ones((1, 2, 2)), inner=np.ones((3, 2)), outer=np.ones((3, 2)), bias=np.ones(3), activation=jax.nn.relu)),
    "FactualTransformer.gaussian": (am.FactualTransformer.gaussian, dict(task=FACTS, key=KEY, d=4, heads=2, head_width=2, mlp=4, draw=am.embeddings.gaussian)),
    "FactualTransformer.constructed": (am.FactualTransformer.constructed, dict(task=FACTS, key=KEY, d=4, heads=2, head_width=2, beta=4.0, pseudo_inverse=False, draw=am.embeddings.sphere)),
    "FactualTransformer.constructed_mlp": (am.FactualTransformer.constructed_mlp, dict(task=FACTS, key=KEY, d=4, heads=2, head_width=2, memory=lambda task, key: am.memory.MLPMemory.thresholded(task), beta=4.0, pseudo_inverse=False, draw=am.embeddings.sphere)),
    "GradientFlow solver": (lambda solver, adjoint: am.simulate(TASK, START, am.GradientFlow(1.0, solver=solver, adjoint=adjoint)), dict(solver=None, adjoint=None)),
    "InductionTransformer": (am.InductionTransformer, dict(embedding=np.ones((3, 2)), positions=np.ones((12, 2)), unembedding=np.ones((3, 2)), output1=np.eye(2), value1=np.eye(2), value2=np.eye(2), key1=np.eye(2), key2=np.eye(2), output2=np.eye(2), feedforward=np.eye(2), scaled=True)),
    "InductionTransformer.gaussian": (am.InductionTransformer.gaussian, dict(task=TEXT, key=KEY, width=4, layers=2, feedforward=True, trained=1.0, scaled=False)),
    "InductionTransformer.published": (am.InductionTransformer.published, dict(task=TEXT, key=KEY, width=4, layers=2, feedforward=True, positions="random", tied=False)),
    "InductionTransformer constructed": (HEAD.constructed, dict(task=TEXT, boost=1.0, global_bigrams=False)),
    "induction.NoisyCopySystem": (am.induction.NoisyCopySystem, dict(feedforward=np.zeros(2), values=np.zeros(1))),
    "induction.ablated": (am.induction.ablated, dict(model=HEAD, head=0, tokens=TEXT.data.tokens)),
    "induction.patched": (am.induction.patched, dict(model=HEAD, head=0, like=HEAD)),
    "Integers": (am.Integers, dict(low=0, high=5)),
    "LogUniform": (am.LogUniform, dict(low=1.0, high=5.0)),
    "MarginSystem": (am.MarginSystem, dict(margins=np.ones(2), kernel=np.eye(2))),
    "MarginSystem.zeros": (am.MarginSystem.zeros, dict(task=TASK)),
    "MarginSystem.from_memory": (am.MarginSystem.from_memory, dict(task=TASK, memory=START)),
    "ParticleSystem": (am.ParticleSystem, dict(values=np.eye(2), alpha=np.eye(2), beta=np.eye(2))),
    "ParticleSystem.from_memory": (am.ParticleSystem.from_memory, dict(task=TASK, memory=START)),
    "NormalizedMemory.gaussian": (am.NormalizedMemory.gaussian, dict(task=TASK, key=KEY, scale=1.0)),
    "SlurmExecutor": (am.SlurmExecutor, dict(executor=types.SimpleNamespace(submit=1, batch=1), seconds=1.0, patience=1.0)),
    "StochasticFlow solver": (lambda sigma, solver, refine: am.simulate(TASK, START, am.StochasticFlow(sigma, 1.0, 3, solver=solver, refine=refine), key=KEY), dict(sigma=lambda t: 0.1 * t, solver=None, refine=1)),
    "Transformer.initial": (am.Transformer.initial, dict(num_tokens=4, length=8, key=KEY, width=8, layers=1, heads=2, hidden=4, feedforward="relu", norm=True, positions="learned", tied=False, dtype=float)),
    "TriggerAttention.gaussian": (am.TriggerAttention.gaussian, dict(task=MARKED, key=KEY, scale=1.0, beta=1.0)),
    "TriggerAttention.zeros": (am.TriggerAttention.zeros, dict(task=MARKED, beta=1.0)),
    "over_seeds": (lambda what, drop_bad: am.over_seeds(what, drop_bad=drop_bad), dict(what="mean", drop_bad=False)),
    "memory.EmbeddedMemory.zeros": (am.memory.EmbeddedMemory.zeros, dict(task=TASK)),
    "memory.Hermite": (am.memory.Hermite, dict(degree=2)),
    "memory.LowRankMemory": (am.memory.LowRankMemory, dict(output=np.eye(2), input=np.eye(2))),
    "memory.LowRankMemory.gaussian": (am.memory.LowRankMemory.gaussian, dict(task=TASK, key=KEY, rank=2)),
    "memory.LowRankMemory.one_step": (am.memory.LowRankMemory.one_step, dict(task=TASK, key=KEY, rank=2, scheme=np.ones(2))),
    "memory.LowRankMemory.factorised": (am.memory.LowRankMemory.factorised, dict(task=TASK, key=KEY, rank=2)),
    "memory.MLPMemory": (am.memory.MLPMemory, dict(output=np.eye(2), input=np.eye(2), bias=np.ones(2), activation=jax.nn.relu)),
    "memory.MLPMemory.gaussian": (am.memory.MLPMemory.gaussian, dict(task=TASK, key=KEY, width=2, activation=jax.nn.relu)),
    "memory.MLPMemory.one_step": (am.memory.MLPMemory.one_step, dict(task=TASK, key=KEY, width=2, activation=jax.nn.relu, scheme=np.ones(2))),
    "memory.MLPMemory.thresholded": (am.memory.MLPMemory.thresholded, dict(task=TASK, threshold=0.5, activation=jax.nn.relu)),
    "memory.max_margin_components": (am.memory.max_margin_components, dict(task=TASK)),
    "memory.real_words": (am.memory.real_words, dict(n=2, names=("a", "b"), vectors=np.eye(2), counts=[1, 2])),
    "memory.schemes.counts": (am.memory.schemes.counts, dict(task=TASK, key=KEY, n=3, largest=5)),
    "memory.schemes.equal": (am.memory.schemes.equal, dict(task=TASK)),
    "memory.schemes.frequency": (am.memory.schemes.frequency, dict(task=TASK)),
    "memory.schemes.seen": (am.memory.schemes.seen, dict(scheme=np.ones(3), times=2)),
    "memory.schemes.top": (am.memory.schemes.top, dict(scheme=np.ones(3), k=2)),
    "memory.scheme": (am.memory.scheme, dict(**GIVEN, start=np.zeros((2, 2)))),
    "memory.scheme_share": (am.memory.scheme_share, dict(**GIVEN, start=np.ones((2, 2)))),
    "memory.time_to_perfect": (am.memory.time_to_perfect, dict(task=TASK, learning_rate=1.0, steps=5, stable=False, memory=START)),
    "factual.FactualSystem": (am.factual.FactualSystem, dict(subject_attention=1.0, subject_gap=1.0, relation_attention=1.0, relation_gap=1.0)),
    "factual.FactualSystem.from_weights": (am.factual.FactualSystem.from_weights, dict(task=FACTS, model=RECALL)),
    "denoising.EnergySteps all": (am.denoising.EnergySteps, dict(beta=1.0, steps=2, keep=0.0, gain=1.0)),
    "denoising.EnergySteps.bayes": (am.denoising.EnergySteps.bayes, dict(law=am.denoising.Sphere(4, 2, 1.0), noise=0.5)),
    "denoising.SoftmaxAttention": (am.denoising.SoftmaxAttention, dict(value=np.eye(2), key=np.eye(2))),
    "denoising.SoftmaxAttention.scaled": (am.denoising.SoftmaxAttention.scaled, dict(dimension=2, scale=0.5)),
    "noise.population_key": (am.noise.population_key, dict(task=MARKED)),
    "noise.three_steps_on": (am.noise.three_steps_on, dict(task=MARKED, batches=[MARKED.sampler(3)(KEY)], centred=False)),
    "induction.head_effects": (am.induction.head_effects, dict(task=TEXT, model=HEAD, mean=False)),
    "induction.memory": (am.induction.memory, dict(task=TEXT, model=HEAD, name="key2")),
    "induction.memory_margins": (am.induction.memory_margins, dict(task=TEXT, model=HEAD, name="key2")),
    "induction.one_step_recall": (am.induction.one_step_recall, dict(task=TEXT, model=HEAD, batch=None)),
    "capacity": (am.capacity, dict(make_task=lambda key, n: am.AssociationTask(am.laws.uniform(n), np.arange(n), *2 * [am.embeddings.sphere(key, n, 4)]), make_model=lambda task, key: am.LinearMemory.outer_product(task), target=0.9, largest=8, smallest=2, seeds=2, key=KEY, measure=lambda task, model: 1 - task.error(model), level=0.9, resolution=0.1, together=None, devices=1, progress=False)),
    "threshold all": (am.threshold, dict(measure=lambda key, d: 0.1 * d, smallest=1, largest=9, key=KEY, progress=False)),
    "concat": (am.concat, dict(first=RUN, second=am.simulate(TASK, RUN.model, SGD))),
    "to_xarray": (RUN.to_xarray, dict(batch=())),
    "cross_entropy": (am.cross_entropy, dict(scores=np.eye(2), targets=np.eye(2))),
    "losses.score_gradient": (am.losses.score_gradient, dict(scores=np.eye(2), targets=np.arange(2))),
    "hessian_operator": (am.hessian_operator, GIVEN), "sharpness_residual": (am.sharpness_residual, GIVEN), "bits_per_parameter": (am.bits_per_parameter, GIVEN),
    "num_parameters": (am.num_parameters, dict(model=START)),
    "lanczos_top key": (am.lanczos_top, dict(matvec=lambda v: 2 * v, size=3, dtype=jnp.float32, key=KEY)),
    "observable": (am.observable, dict(axes=("a",), units="1", task=object, model=object)),
    "sampled": (am.sampled, dict(n=4, method="sobol", seed=0, a=am.Uniform(0, 1))),
    "zipped": (am.zipped, dict(a=[1.0, 2.0])),
    "save about": (lambda path, tree, about: am.save(path, tree, about=about), dict(path=f"{PLACE}/c", tree={"a": np.ones(2)}, about={"x": 1})),
    "sweep all": (am.sweep, dict(fn=lambda a, c, key: 2.0 * a, a=[1.0, 2.0], b=am.sampled(2, c=am.Uniform(0, 1)), seeds=2, reduce=am.over_seeds("mean"), predict=None, units=None, executor=None, shard=None, progress=False)),
    "sweep store": (lambda store, repair, overwrite, config: am.sweep(lambda a: 2 * a, a=[1.0, 2.0], store=store, repair=repair, overwrite=overwrite, config=config), dict(store=f"{PLACE}/s.zarr", repair=False, overwrite=True, config="x")),
    "embeddings.centred": (am.embeddings.centred, dict(rows=np.eye(2))),
    "embeddings.normalised": (am.embeddings.normalised, dict(rows=np.eye(2))),
    "embeddings.whitened": (am.embeddings.whitened, dict(rows=np.ones((3, 2)) + np.arange(6).reshape(3, 2) ** 2)),
    "embeddings.pairs": (am.embeddings.pairs, dict(first=np.eye(2), second=np.eye(2))),
    "embeddings.gram": (am.embeddings.gram, dict(rows=np.eye(2))),
    "check": (lambda which, samples, seed, show: am.check(which, samples=samples, seed=seed, show=show), dict(which="gd.8", samples=2, seed=0, show=None)),
}  # fmt: skip
for claim in (am.equal, am.at_most, am.at_least):
    CALLS[claim.__name__] = (
        lambda left, right, within, given, claim=claim: claim(left, right, within, given).excess(),
        dict(left=1.0, right=2.0, within=0.1, given=True),
    )
# Public callables with no row of their own, and why.
NO_ROW = {
    "what the engine makes, and users read": "Capacity Claim Example MaxMargin OverSeeds Patched PowerLaw Report"
    " Statement Tally ThreeSteps Threshold TokenLoss TokenLoss.held Trajectory Transformer Verdict"
    " CooccurrenceSystem SixVariableSystem",
    "parts of losses, laws and products, which get what was looked at at the door": "hinge squared is_label lead"
    " name_of below digits drawer uniforms norm product written_out",
    "for those who write statements, whose tests they are": "statement shrink",
}  # fmt: skip


def public() -> dict[str, set[str]]:
    """Public classes, their constructors and functions → their arguments. What is observed has a task and a
    model, which every observable asks for (test_house.py): only more arguments count."""
    found: dict = {}
    for cls in surface.classes().values():
        if not (issubclass(cls, tuple | Exception | enum.Enum) or cls.__name__.startswith("Abstract")):
            found[cls.__name__] = cls
            makers = inspect.getmembers(cls, inspect.ismethod)
            own = {f"{cls.__name__}.{name}": make for name, make in makers if not name.startswith("_")}
            found |= {name: make for name, make in own.items() if make.__func__.__qualname__ == name}
    rooms = (
        am,
        am.losses,
        am.laws,
        am.embeddings,
        *(getattr(am, name) for name in wings()),
        am.memory.schemes,
    )
    for room in rooms:
        prefix = "schemes." if room is am.memory.schemes else ""
        for name, function in inspect.getmembers(room, inspect.isfunction):
            if function.__module__.startswith("assocmem_jax") and name[0] != "_":
                found.setdefault(prefix + name, function)
    asked = {}
    for name, call in found.items():
        arguments = inspect.signature(call).parameters.values()
        many = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        asked[name] = {a.name for a in arguments if a.kind not in many}
        asked[name] -= {"task", "model"} if hasattr(call, "axes") else set()
    return {name: arguments for name, arguments in asked.items() if arguments}


def unlisted() -> set[str]:
    """Public callables, and arguments of them, that no row above has."""
    rows: dict[str, set[str]] = {}
    for row, (_, arguments) in CALLS.items():
        room, _, name = row.split()[0].partition(".")
        rows.setdefault(name if name and room.islower() else row.split()[0], set()).update(arguments)
    left = {name: given - rows.get(name, set()) for name, given in public().items()}
    kept = {name for names in NO_ROW.values() for name in names.split()}
    stale = {f"{name}: is in NO_ROW for nothing" for name in kept if not left.get(name)}
    return stale | {f"{name}({', '.join(sorted(a))})" for name, a in left.items() if a and name not in kept}


WRONG = {
    "None": None, "str": "x", "nan": float("nan"), "inf": float("inf"), "negative": -1, "complex": 1 + 2j,
    "huge": 1e300, "whole": 2**40, "list": [0.5, "x"], "ragged": [[1], [1, 2]], "object": object(), "bool": True,
    "shape": np.ones((3, 2, 2)), "empty": np.zeros((0,)), "nans": np.full((2, 2), np.nan), "dict": {"a": 1},
    "big-endian": np.eye(2, dtype=">f8"), "masked": np.ma.masked_array(np.eye(2), mask=np.eye(2)), "date": np.datetime64("2026-01-01"),
    "other task": am.RetrievalTask.binary(KEY, 2, 4), "wide": am.LinearMemory(np.ones((3, 3))),
}  # fmt: skip


def main() -> int:
    warnings.simplefilter("ignore")
    os.chdir(PLACE)  # "x" is a path, too
    faults = count = 0
    for name, (function, arguments) in CALLS.items():
        am.save(f"{PLACE}/a", {"a": np.ones(2)})
        if name not in ("open_store", "check"):
            function(**arguments)  # right as it is
        for argument in arguments:
            for kind, wrong in WRONG.items():
                count += 1
                try:
                    function(**arguments | {argument: wrong})
                except (ValueError, am.SimulationError, am.SweepError, am.StoreError, MemoryError) as fault:
                    words = str(fault)
                    ours = getattr(fault, "refused", False) or type(fault) is not ValueError
                    sound = ours and "\n" not in words and len(words) <= 400
                    why = words.splitlines()[0] if words else repr(fault)
                except BaseException as fault:
                    sound, why = (
                        False,
                        f"{type(fault).__name__}: {str(fault).splitlines()[0] if str(fault) else ''}",
                    )
                else:
                    continue
                if not sound:
                    faults += 1
                    print(f"{name}({argument}={kind}): {why[:150]}")
    print(f"{count - faults} of {count} malformed calls are refused in one line, or sound")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
