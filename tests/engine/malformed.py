"""Every public callable, called right; then with each argument replaced by what it is not.

Run: python tests/engine/malformed.py. Prints what is neither refused in one line nor a sound result. A test
runs it in a process without the type hook, as users are.
"""

import os
import sys
import tempfile
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax

import assocmem_jax as am

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
    "check": (lambda samples, seed: am.check("gd.8", samples=samples, seed=seed), dict(samples=2, seed=0)),
}  # fmt: skip
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
                    sound = "\n" not in words and len(words) <= 400
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
