"""Ends of what is taken, at every door: the last that is, and the first that is refused."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am
from assocmem_jax.theory import information
from helpers import refused

KEY, SGD, EYE = jr.key(0), optax.sgd(1.0), np.eye(2)
TASK = am.two_tokens(0.5, 0.75)
START = am.LinearMemory.zeros(TASK)
EPS, TINY = float(np.finfo(float).eps), float(np.finfo(float).tiny)
TWO = np.ones(2) / 2
FACTS = np.array([[0, 2], [1, 3]])
UP = np.array([1.0, 2.0, 4.0])
PI = [[0, 1], [1, 0]]
HOPS = am.HopTask(PI, draws=1)
HEADS = dict(embedding=np.ones((5, 3)), unembedding=np.ones((4, 3)), **{n: np.ones((1, 2, 3)) for n in ("query", "key", "value", "output")})  # fmt: skip


def run(dynamics, model=START, **options):
    return lambda: am.simulate(TASK, model, dynamics, **options)


def bigram(triggers=1, data=3, length=3, unigram=TWO, loss_on="all", **options):
    table = np.ones((len(unigram), len(unigram))) / len(unigram)
    return lambda: am.BigramTask(
        unigram, table, triggers=triggers, data=data, length=length, loss_on=loss_on, **options
    )


def facts(**options):
    return lambda: am.FactualTask(FACTS, 2, **dict(noise=2, length=4, draws=1) | options)


def trigger(n=2, m=2, d=1, **options):
    return lambda: am.TriggerTask(
        np.ones((n, d)), np.ones((m, d)), np.ones(d), **dict(length=2, draws=1) | options
    )


def words(n, counts=(2, 1, 0)):
    return lambda: am.memory.real_words(n, names=["a", "b", "c"], vectors=np.eye(3), counts=list(counts))


def curriculum(knots, values=None, where=lambda task: task.probabilities):
    values = np.tile(TWO, (len(knots), 1)) if values is None else values
    return lambda: am.Curriculum(where, knots, values)


def searched(**options):
    given = dict(measure=lambda key, d: d / 8, smallest=1, largest=7, seeds=2, trials=1) | options
    return lambda: am.threshold(given.pop("measure"), **given)


def network(low=0.0, skew=0.0):
    return lambda: am.HopfieldNetwork(np.array([[low, 1.0], [1.0 + skew, low]]))


def sweep(**axes):
    return lambda: am.sweep(lambda a, **_: a, **axes)


def transformer(width, heads):
    return lambda: am.Transformer.initial(2, 3, KEY, width=width, layers=1, heads=heads, positions="rotary")


# name: what is taken, what is refused, the line
ENDS = {
    "updates": (lambda: am.Descent(SGD, 2**31 - 1), lambda: am.Descent(SGD, 2**31), "steps must be below 2³¹"),
    "no update": (lambda: am.Descent(SGD, 0), lambda: am.Descent(SGD, -1), "steps must be at least 0, got -1"),
    "rates of a schedule": (lambda: am.Descent(optax.sgd, 2, learning_rate=np.array([0.0, 1.0])), lambda: am.Descent(optax.sgd, 2, learning_rate=np.array([-1e-9, 1.0])), "learning_rate must be between 0 and"),
    "one rate a step": (lambda: am.Descent(optax.sgd, 2, learning_rate=np.array([1.0, 1.0])), lambda: am.Descent(optax.sgd, 3, learning_rate=np.array([1.0, 1.0])), "learning_rate must be one number, or one for each of the 3 steps"),
    "batches of devices": (lambda: am.Descent(SGD, 1, 3, devices=1), lambda: am.Descent(SGD, 1, devices=2), "microbatch and devices must be left out without batch_size, got (None, 2)"),
    "devices": (lambda: am.Descent(SGD, 1, 3, devices=len(jax.devices())), lambda: am.Descent(SGD, 1, 60, devices=len(jax.devices()) + 1), "devices must be at most the"),
    "steps looked at": (run(am.Descent(SGD, 2), at=[0, 2]), run(am.Descent(SGD, 2), at=[0, 3]), "at must be steps from 0 to 2, got 0 to 3"),
    "first step looked at": (run(am.Descent(SGD, 2), at=[0]), run(am.Descent(SGD, 2), at=[-1]), "at must be steps from 0 to 2, got -1 to -1"),
    "examples of minibatch noise": (lambda: am.MinibatchNoise(0.1, 2, draws=2), lambda: am.MinibatchNoise(0.1, 2, draws=1), "draws must be at least 2, got 1"),
    "refined minibatch noise": (lambda: am.StochasticFlow(am.MinibatchNoise(0.1, 2, draws=2), 1.0, 2, refine=1), lambda: am.StochasticFlow(am.MinibatchNoise(0.1, 2, draws=2), 1.0, 2, refine=2), "refine must be 1 where examples are drawn, got 2"),
    "solver of minibatch noise": (lambda: am.StochasticFlow(am.MinibatchNoise(0.1, 2), 1.0, 2, solver=diffrax.Euler()), lambda: am.StochasticFlow(am.MinibatchNoise(0.1, 2), 1.0, 2, solver=diffrax.Heun()), "solver must be diffrax.Euler() for a MinibatchNoise"),
    "least rate": (lambda: am.Descent(optax.sgd, 1, learning_rate=TINY), lambda: am.Descent(optax.sgd, 1, learning_rate=0.9 * TINY), "learning_rate must be a number that float64 can hold"),
    "least horizon": (lambda: am.GradientFlow(TINY), lambda: am.GradientFlow(0.9 * TINY), "t1 must be a number that float64 can hold"),
    "least noise": (lambda: am.StochasticFlow(TINY, 1.0, 1), lambda: am.StochasticFlow(0.9 * TINY, 1.0, 1), "sigma must be a number that float64 can hold"),
    "least level": (lambda: am.margin_above(-TINY), lambda: am.margin_above(-0.9 * TINY), "level must be a number that float64 can hold"),
    "no noise": (lambda: am.StochasticFlow(0.0, 1.0, 1), lambda: am.StochasticFlow(-1e-9, 1.0, 1), "sigma must be between 0 and inf"),
    "steps of a path": (lambda: am.StochasticFlow(1.0, 1.0, 2**15, refine=2**15), lambda: am.StochasticFlow(1.0, 1.0, 2**15, refine=2**16), "steps × refine must be below 2³¹"),
    "end of a flow": (run(am.GradientFlow(0.1), at=[0.1 * (1 + 0.5e-12)]), run(am.GradientFlow(0.1), at=[0.1 * (1 + 4e-12)]), "at must be times from 0 to 0.1"),
    "start of a flow": (run(am.GradientFlow(0.1), at=[0.0]), run(am.GradientFlow(0.1), at=[-1e-12]), "at must be times from 0 to 0.1"),
    "tolerance of a flow": (lambda: am.GradientFlow(1.0, rtol=10 * EPS).tolerances(jnp.float64), lambda: am.GradientFlow(1.0, rtol=9.9 * EPS).tolerances(jnp.float64), "rtol must be at least 2.2e-15 in float64"),
    "condition of a flow": (run(am.GradientFlow(0.1), until=am.loss_below(0.1, hold=1)), run(am.GradientFlow(0.1), until=am.loss_below(0.1, hold=2)), "until.hold must be 1 or None for a flow, got 2"),
    "hold": (lambda: am.perfect_accuracy(1), lambda: am.perfect_accuracy(0), "hold must be at least 1, got 0"),
    "token": (run(am.Descent(SGD, 1), until=am.margin_above(9.0, token=1)), run(am.Descent(SGD, 1), until=am.margin_above(9.0, token=2)), "token must be one of the 2 tokens, got 2"),
    "token 0": (lambda: am.margin_above(1.0, token=0), lambda: am.margin_above(1.0, token=-1), "token must be at least 0, got -1"),
    "frozen leaves": (lambda: am.Descent(SGD, 1, relative_rates=((lambda m: m.weight, 0.0),)), lambda: am.Descent(SGD, 1, relative_rates=((lambda m: m.weight, -1e-9),)), "relative_rates"),
    "knots": (curriculum([0, 1]), curriculum([1, 1]), "knots must be increasing, got [1, 1]"),
    "first knot": (curriculum([0, 2**31 - 1]), curriculum([-1, 2]), "knots must be between 0 and 2.14748e+09, got"),
    "last knot": (curriculum([0, 2**31 - 1]), curriculum([0, 2**31]), "knots must be between 0 and 2.14748e+09, got"),
    "whole knots": (curriculum([0.0, 1.0]), curriculum([0.0, 1.5]), "knots must be a vector of steps (whole numbers)"),
    "values of knots": (curriculum([0, 1]), curriculum([0, 1], TWO[None]), "values must be one for each of the 2 knots, got shape (1, 2)"),
    "one value a knot": (curriculum([0], [1.0]), curriculum([0], 1.0), "values must be one for each of the 1 knots, got shape ()"),
    "rank 0": (lambda: am.truncated(START, "weight", 0), lambda: am.truncated(START, "weight", -1), "rank must be at least 0, got -1"),
    "whole rank": (lambda: am.truncated(START, "weight", 2), lambda: am.truncated(START, "weight", 3), "rank must be at most 2, the least dimension of what is cut, got 3"),
    "whole rank of JAX": (lambda: am.truncated(START, "weight", jnp.array(2)), lambda: am.truncated(START, "weight", jnp.array(3)), "rank must be between 0 and 2, got 3"),
    "basis of Lanczos": (lambda: am.lanczos_top(lambda v: 2 * v, 9, jnp.float64, basis_size=4), lambda: am.lanczos_top(lambda v: 2 * v, 9, jnp.float64, basis_size=3), "basis_size must be at least 4, got 3"),
    "range of a search": (searched(), searched(smallest=7), "largest must be above smallest = 7, got 7"),
    "seeds of a search": (searched(), searched(seeds=1), "seeds must be at least 2, got 1; an interval needs two"),
    "trials of a search": (searched(trials=1), searched(trials=0.9), "trials must be at least 1, got 0.9"),
    "target above 0": (searched(target=1e-9), searched(target=0.0), "target must be between 0 and 1, got 0.0"),
    "target below 1": (searched(target=1 - 1e-9), searched(target=1.0), "target must be between 0 and 1, got 1.0"),
    "level above 0": (searched(level=1e-9), searched(level=0.0), "level must be between 0 and 1, got 0.0"),
    "level below 1": (searched(level=1 - 1e-9), searched(level=1.0), "level must be between 0 and 1, got 1.0"),
    "points of a law": (lambda: am.power_law(UP, UP), lambda: am.power_law(UP[:2], UP[:2]), "x and y"),
    "level of a law": (lambda: am.power_law(UP, UP, level=1e-9), lambda: am.power_law(UP, UP, level=0.0), "level must be between 0 and 1"),
    "level of a law below 1": (lambda: am.power_law(UP, UP, level=1 - 1e-9), lambda: am.power_law(UP, UP, level=1.0), "level must be between 0 and 1"),
    "places of a law": (lambda: am.power_law([1, 1, 2], UP), lambda: am.power_law([1, 1, 1], UP), "x"),
    "places of a longer law": (lambda: am.power_law([1, 1, 2, 3], [1, 2, 3, 4]), lambda: am.power_law([1, 1, 2, 2], [1, 2, 3, 4]), "x"),
    "whole numbers of an axis": (sweep(a=np.array([2**31 - 1])), sweep(a=np.array([2**31])), "a must be within 32-bit integers"),
    "negative numbers of an axis": (sweep(a=np.array([-(2**31)])), sweep(a=np.array([-(2**31) - 1])), "a must be within 32-bit integers"),
    "seed 0": (lambda: am.sweep(lambda a, key: a, a=[1.0], seeds=[0, 1]), lambda: am.sweep(lambda a, key: a, a=[1.0], seeds=[-1, 1]), "seeds must be at least 0, got -1"),
    "distinct seeds": (lambda: am.sweep(lambda a, key: a, a=[1.0], seeds=1), lambda: am.sweep(lambda a, key: a, a=[1.0], seeds=[1, 1]), "seeds must be a number of seeds, or distinct seeds"),
    "counts of bits": (lambda: information.maps(1, 1), lambda: information.maps(0, 1), "tokens must be between 1 and inf, got 0"),
    "answers of an injection": (lambda: information.injective(2, 2), lambda: information.injective(2, 1), "answers must be at least tokens, got 1 answers for 2 tokens"),
    "a coin": (lambda: information.entropy(np.array([0.0, 1.0])), lambda: information.entropy(1 + 1e-9), "p must be between 0 and 1"),
    "a coin above 0": (lambda: information.entropy(0.0), lambda: information.entropy(-1e-9), "p must be between 0 and 1"),
    "none of an answer": (lambda: information.arranged(np.array([0, 1])), lambda: information.arranged(np.array([-1, 1])), "counts must be between 0 and inf"),
    "recall 1": (lambda: information.recalled(1.0, 2, 2, 1.0), lambda: information.recalled(1.0, 2, 2, 1 + 1e-9), "recall must be between 0 and 1"),
    "recall 0": (lambda: information.recalled(0.0, 2, 2, 0.0), lambda: information.recalled(1.0, 2, 2, -1e-9), "recall must be between 0 and 1"),
    "no bits": (lambda: information.recalled(0.0, 2, 2, 1.0), lambda: information.recalled(-1e-9, 2, 2, 1.0), "bits must be between 0 and inf"),
    "wrong bits": (lambda: information.completed(1, 1, 0.5, 1.0), lambda: information.completed(1, 1, 0.5, 1 + 1e-9), "wrong must be between 0 and 1"),
    "no wrong bits": (lambda: information.completed(1, 1, 0.5, 0.0), lambda: information.completed(1, 1, 0.5, -1e-9), "wrong must be between 0 and 1"),
    "one of two tokens": (lambda: am.two_tokens(1.0, 1.0), lambda: am.two_tokens(1.0, 1 + 1e-9), "p1 must be between 0 and 1"),
    "the other of two tokens": (lambda: am.two_tokens(-1.0, 0.0), lambda: am.two_tokens(-1.0, -1e-9), "p1 must be between 0 and 1"),
    "cosine": (lambda: am.two_tokens(-1.0, 0.5), lambda: am.two_tokens(-1 - 1e-9, 0.5), "alpha must be between -1 and 1"),
    "as many dimensions": (lambda: am.embeddings.one_hot(3, 3), lambda: am.embeddings.one_hot(3, 2), "d must be at least n = 3, got 2"),
    "smoothing": (lambda: am.losses.LabelSmoothed(1.0), lambda: am.losses.LabelSmoothed(1 + 1e-9), "strength must be between 0 and 1"),
    "no smoothing": (lambda: am.losses.LabelSmoothed(0.0), lambda: am.losses.LabelSmoothed(-1e-9), "strength must be between 0 and 1"),
    "classes": (lambda: am.AssociationTask(TWO, [0, 1], EYE, EYE), lambda: am.AssociationTask(TWO, [0, 0], EYE, EYE[:1]), "outputs must be of at least two rows"),
    "one token": (lambda: am.AssociationTask([1.0], [0], EYE[:1], EYE), lambda: am.AssociationTask(np.ones(0), np.zeros(0, int), EYE[:0], EYE), ""),
    "first tokens": (lambda: TASK.first(1), lambda: TASK.first(0), "n must be between 1 and 2, got 0"),
    "all tokens": (lambda: TASK.first(2), lambda: TASK.first(3), "n must be between 1 and 2, got 3"),
    "samples of a scheme": (lambda: am.memory.schemes.counts(TASK, KEY, 0, 2), lambda: am.memory.schemes.counts(TASK, KEY, 3, 2), "n must be between 0 and 2, got 3"),
    "none of a scheme": (lambda: am.memory.schemes.top(TASK.probabilities, 0), lambda: am.memory.schemes.top(TASK.probabilities, -1e-9), "k must be between 0 and inf"),
    "words": (words(2), words(1), "n must be at least 2, got 1"),
    "words that occur": (words(2), words(3), "n must be at most 2, the words that occur, got 3"),
    "two words that occur": (words(None), words(None, (2, 0, 0)), "counts must be above 0 for two words at least, got 1 such words"),
    "answers of pairs": (lambda: am.AssociationTask.from_pairs([("a", "x"), ("b", "y")]), lambda: am.AssociationTask.from_pairs([("a", "x"), ("b", "x")]), "pairs must be of at least two different answers"),
    "counts of pairs": (lambda: am.AssociationTask.from_pairs([("a", "x"), ("a", "y"), ("b", "y")], [0, 1, 1]), lambda: am.AssociationTask.from_pairs([("a", "x"), ("b", "y")], [0, 1]), "counts must be above 0 for some answer of every token, got 0 for 'a'"),
    "steps to perfect": (lambda: am.time_to_perfect(TASK, 1.0, 0), lambda: am.time_to_perfect(TASK, 1.0, -1), "steps must be at least 0, got -1"),
    "tokens of a chain": (bigram(), bigram(unigram=np.ones(1)), "N must be at least 2 tokens, got 1"),
    "length of a chain": (bigram(length=2), bigram(length=1), "length must be at least 2, got 1; a trigger and its output"),
    "noise of a chain": (bigram(noise=1.0), bigram(noise=1 + 1e-9), "noise must be between 0 and 1"),
    "no noise of a chain": (bigram(noise=0.0), bigram(noise=-1e-9), "noise must be between 0 and 1"),
    "triggers that occur": (bigram(triggers=1, unigram=np.array([1.0, 0.0])), bigram(triggers=2, unigram=np.array([1.0, 0.0])), "triggers must be at most the 1 tokens that occur, got 2"),
    "fixed triggers": (bigram(triggers=[0, 1]), bigram(triggers=[0, 2]), "triggers must be distinct tokens from 0 to 1, got [0, 2]"),
    "first fixed trigger": (bigram(triggers=[0]), bigram(triggers=[-1]), "triggers must be distinct tokens from 0 to 1, got [-1]"),
    "distinct triggers": (bigram(triggers=[1, 0]), bigram(triggers=[1, 1]), "triggers must be distinct tokens from 0 to 1, got [1, 1]"),
    "sum of a law": (bigram(unigram=TWO * (1 + 1e-6)), bigram(unigram=TWO * (1 + 2e-6)), "unigram must be of sum 1, got 1.000002"),  # (8 + √2) 2⁻²³ = 1.12e-6
    "outputs of a chain": (bigram(output_tokens=[1]), bigram(output_tokens=[2]), "output_tokens must be tokens from 0 to 1"),
    "first output": (bigram(output_tokens=[0]), bigram(output_tokens=[-1]), "output_tokens must be tokens from 0 to 1"),
    "outputs but a trigger": (bigram(output_tokens=[0, 1], repeat=False), bigram(output_tokens=[1], repeat=False), "output_tokens must be more than a trigger itself with repeat=False"),
    "outputs of any size": (bigram(outputs=np.zeros((2, 2))), bigram(outputs=np.array([[-1e-9, 1], [1, 1]])), "outputs must be a non-negative matrix"),
    "letters": (bigram(alphabet="ab"), bigram(alphabet="abc"), "alphabet must be a string of 2 characters"),
    "frequent tokens": (lambda: bigram()().most_frequent(1, 1), lambda: bigram()().most_frequent(2, 1), "count + skip must be at most N = 2, got 3"),
    "frequent tokens but noise": (lambda: bigram(noise=0.5)().most_frequent(2), lambda: bigram(noise=0.5)().most_frequent(3), "count + skip must be at most N = 2, got 3"),
    "tokens copied": (lambda: am.induction.NoisyCopyTask(2, 1.0), lambda: am.induction.NoisyCopyTask(1.99, 1.0), "tokens must be at least 2, got 1.99"),
    "noise of copies": (lambda: am.induction.NoisyCopyTask(2, 0.0), lambda: am.induction.NoisyCopyTask(2, 1 + 1e-9), "noise must be between 0 and 1"),
    "tokens with a trigger": (trigger(), trigger(n=1), "inputs must be of at least two tokens, two answers and one dimension, got (1, 2, 1)"),
    "answers to a trigger": (trigger(), trigger(m=1, targets=[0, 0]), "inputs must be of at least two tokens, two answers and one dimension, got (2, 1, 1)"),
    "dimension of a trigger": (trigger(), trigger(d=0), "inputs must be of at least two tokens, two answers and one dimension, got (2, 2, 0)"),
    "length with a trigger": (trigger(length=2), trigger(length=1), "length must be at least 2, got 1"),
    "as many answers": (trigger(n=2, m=3), trigger(n=3, m=2), "targets must be given where N = 3 tokens have M = 2 answers"),
    "answers in range": (trigger(targets=[1, 0]), trigger(targets=[2, 0]), "targets must be between 0 and 1, got 2"),
    "first answer": (trigger(targets=[0, 0]), trigger(targets=[-1, 0]), "targets must be between 0 and 1, got -1"),
    "triggers of Gaussians": (lambda: am.TriggerTask.gaussian(2, 1, KEY, length=2, draws=1), lambda: am.TriggerTask.gaussian(1, 1, KEY, length=2, draws=1), "tokens must be at least 2, got 1"),
    "as narrow": (lambda: trigger()().narrowed(1), lambda: trigger()().narrowed(2), "dimension must be between 1 and 1, got 2"),
    "noisy inputs": (lambda: am.noise.noisy_step_recall(EYE, EYE, EYE[:1]), lambda: am.noise.noisy_step_recall(EYE[:1], EYE[:1], EYE), "outputs must be as many as inputs (1), at least 2, got 1"),
    "noise of inputs": (lambda: am.noise.noisy_step_recall(EYE, EYE, EYE[:1]), lambda: am.noise.noisy_step_recall(EYE, EYE, EYE[:0]), "noise must be of shape (T, 2), got (0, 2)"),
    "batches of three steps": (lambda: am.noise.three_steps_on(trigger()(), [trigger()().data]), lambda: am.noise.three_steps_on(trigger()(), []), "batches must be one or three Sequences"),
    "values of hops": (lambda: am.HopTask(PI, draws=1), lambda: am.HopTask([[0], [0]], draws=1), "hidden must be of whole numbers, at least two values"),
    "one hop": (lambda: am.HopTask.random(2, 1, KEY, draws=1), lambda: am.HopTask.random(2, 0, KEY, draws=1), "hops must be at least 1, got 0"),
    "layers of hops": (lambda: am.HopTransformer.gaussian(HOPS, KEY, layers=2), lambda: am.HopTransformer.gaussian(HOPS, KEY, layers=1), "layers must be at least 2, got 1"),
    "dimensions of a manifold": (lambda: am.denoising.LinearManifold(2, 2), lambda: am.denoising.LinearManifold(2, 3), "rank must be at most dimension = 2, got 3"),
    "dimensions of a sphere": (lambda: am.denoising.Sphere(2, 2), lambda: am.denoising.Sphere(2, 3), "rank must be at most dimension = 2, got 3"),
    "clusters of points": (lambda: am.denoising.Clusters(1, 1, 1.0, 0.0), lambda: am.denoising.Clusters(1, 1, 1.0, -1e-9), "variance must be between 0 and"),
    "length of a context": (lambda: am.DenoisingTask(am.denoising.Sphere(1, 1), 1, draws=1), lambda: am.DenoisingTask(am.denoising.Sphere(1, 1), 0, draws=1), "length must be at least 1, got 0"),
    "flipped bits": (lambda: am.RetrievalTask.binary(KEY, 1, 1, flips=1.0), lambda: am.RetrievalTask.binary(KEY, 1, 1, flips=1 + 1e-6), "flips must be between 0 and 1"),
    "no flipped bits": (lambda: am.RetrievalTask.binary(KEY, 1, 1, flips=0.0), lambda: am.RetrievalTask.binary(KEY, 1, 1, flips=-1e-9), "flips must be between 0 and 1"),
    "no noise of cues": (lambda: am.RetrievalTask.spherical(KEY, 1, 1, noise=0.0), lambda: am.RetrievalTask.spherical(KEY, 1, 1, noise=-1e-9), "noise must be between 0 and"),
    "first pattern": (lambda: am.RetrievalTask(EYE).first(1), lambda: am.RetrievalTask(EYE).first(0), "n must be between 1 and 2, got 0"),
    "all patterns": (lambda: am.RetrievalTask(EYE).first(2), lambda: am.RetrievalTask(EYE).first(3), "n must be between 1 and 2, got 3"),
    "degree of an energy": (lambda: am.DenseMemory.polynomial(am.RetrievalTask.binary(KEY, 2, 3), 2), lambda: am.DenseMemory.polynomial(am.RetrievalTask.binary(KEY, 2, 3), 1), "degree must be at least 2, got 1"),
    "weights of patterns": (lambda: am.AttentionMemory(EYE, [0.0, 1.0], 1.0), lambda: am.AttentionMemory(EYE, [-1e-9, 1.0], 1.0), "weights must be between 0 and"),
    "images": (lambda: am.retrieval.signs(np.ones((1, 2))), lambda: am.retrieval.signs(np.ones(2)), "images must be an array with one image a row"),
    "a diagonal": (network(), network(low=1e-300), "weight must be of zero diagonal"),
    "a symmetric matrix": (network(), network(skew=1e-15), "weight must be symmetric"),
    "words of a sample": (lambda: am.CooccurrenceTask([[0, 1, 3]], [1.0], 4), lambda: am.CooccurrenceTask([[0, 1]], [1.0], 4), "L must be at least 3"),
    "words there are": (lambda: am.CooccurrenceTask([[0, 1, 3]], [1.0], 4), lambda: am.CooccurrenceTask([[0, 1, 4]], [1.0], 4), "tokens must be from 0 to 3, got 0 to 4"),
    "first word": (lambda: am.CooccurrenceTask([[0, 0, 0]], [1.0], 4), lambda: am.CooccurrenceTask([[-1, 0, 0]], [1.0], 4), "tokens must be from 0 to 3, got -1 to 0"),
    "an irrelevant word": (lambda: am.CooccurrenceTask([[0, 1, 2]], [1.0], 4), lambda: am.CooccurrenceTask([[0, 1, 2]], [1.0], 3), "dimension must be at least 4, got 3"),
    "one sample": (lambda: am.CooccurrenceTask.training(KEY, (0, 0, 0, 1), 3, 4), lambda: am.CooccurrenceTask.training(KEY, (0, 0, 0, 0), 3, 4), "counts must be four numbers with a positive sum"),
    "length of a sample": (lambda: am.CooccurrenceTask.population(KEY, 1, 3, 4), lambda: am.CooccurrenceTask.population(KEY, 1, 2, 4), "length must be at least 3, got 2"),
    "dimension of a sample": (lambda: am.CooccurrenceTask.population(KEY, 1, 3, 4), lambda: am.CooccurrenceTask.population(KEY, 1, 3, 3), "dimension must be at least 4, got 3"),
    "dimension of a training set": (lambda: am.CooccurrenceTask.training(KEY, (1, 0, 0, 0), 3, 4), lambda: am.CooccurrenceTask.training(KEY, (1, 0, 0, 0), 3, 3), "dimension must be at least 4, got 3"),
    "length of a training set": (lambda: am.CooccurrenceTask.training(KEY, (1, 0, 0, 0), 3, 4), lambda: am.CooccurrenceTask.training(KEY, (1, 0, 0, 0), 2, 4), "length must be at least 3, got 2"),
    "distinct words": (lambda: am.CooccurrenceTask.training(KEY, (0, 1, 1, 1), 3, 7, distinct=True), lambda: am.CooccurrenceTask.training(KEY, (0, 1, 1, 1), 3, 6, distinct=True), "dimension must be at least 7 for distinct irrelevant tokens, got 6"),
    "texts without noise": (facts(length=3, noise=0), facts(length=4, noise=0), "noise must be at least 1 for texts of length 4, got 0; or length=3"),
    "length of a text": (facts(length=3), facts(length=2), "length must be at least 3: subject, relation and EOS, got 2"),
    "length of a text of more": (facts(length=5, mentions=(2, 2)), facts(length=4, mentions=(2, 2)), "length must be at least 5: subject, relation and EOS, got 4"),
    "one mention": (facts(mentions=(1, 1)), facts(mentions=(0, 1)), "mentions[0] must be at least 1, got 0"),
    "answers of a block": (facts(), lambda: am.FactualTask([[0, 2], [1, 4]], 2, noise=2, length=4), "facts[1, 1] must be in the block of its relation, 2 to 3, got 4"),
    "facts that are injective": (lambda: am.FactualTask.injective(2, 1, 2, KEY, length=3), lambda: am.FactualTask.injective(3, 1, 2, KEY, length=3), "answers must be at least subjects = 3 for injective facts, got 2"),
    "first subjects": (lambda: facts()().first(1), lambda: facts()().first(0), "subjects must be between 1 and 2, got 0"),
    "first relations": (lambda: facts()().first(2, 2), lambda: facts()().first(2, 3), "relations must be between 1 and 2, got 3"),
    "texts enumerated": (facts(noise=20, length=7, draws="all"), facts(noise=300, length=6, draws="all"), "draws must be a number, or such that there are at most 1000000 texts"),
    "no MLP": (lambda: am.FactualTransformer.gaussian(facts()(), KEY, 2, 1, 1, 0), lambda: am.FactualTransformer.gaussian(facts()(), KEY, 2, 1, 1, -1), "mlp must be at least 0, got -1"),
    "halves of an MLP": (lambda: am.FactualTransformer(**HEADS, inner=np.ones((1, 3)), outer=np.ones((1, 3))), lambda: am.FactualTransformer(**HEADS, inner=np.ones((1, 3))), "inner and outer must be given together"),
    "bias of an MLP": (lambda: am.FactualTransformer(**HEADS, inner=np.ones((1, 3)), outer=np.ones((1, 3)), bias=np.ones(1)), lambda: am.FactualTransformer(**HEADS, bias=np.ones(1)), "inner and outer must be given together"),
    "half of an MLP": (lambda: am.FactualTransformer(**HEADS), lambda: am.FactualTransformer(**HEADS, outer=np.ones((1, 3))), "inner and outer must be given together"),
    "rotations": (transformer(4, 2), transformer(2, 2), "width / heads must be even, got 1"),
    "heads": (transformer(4, 2), transformer(4, 3), "heads must be a divisor of width = 4, got 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_what_is_just_inside_is_taken_and_what_is_just_outside_is_not(name):
    taken, beyond, line = ENDS[name]
    taken()
    refused(beyond, line)


def cooc(counts, n=None):
    return lambda: am.CooccurrenceTask.training(KEY, counts, 3, 9, n=n)


def curves(*values):
    where = lambda task: (task.probabilities, task.inputs)  # noqa: E731
    return run(am.Descent(SGD, 1, curriculum=am.Curriculum(where, [0], values)))


def named(*names):
    return lambda: am.AssociationTask(TWO, [0, 1], EYE, EYE, names=(("token", names),))


LAWS, PLACES = TWO[None], EYE[None]
# What must be one size exactly: what is taken, one fewer, one more, the line
SIZES = {
    "samples": (cooc((1, 1, 0, 0), 2), cooc((1, 0, 0, 0), 2), cooc((1, 1, 1, 0), 2), "counts must be of sum n = 2"),
    "kinds of samples": (cooc((1, 0, 0, 0)), cooc((1, 0, 0)), cooc((1, 0, 0, 0, 0)), "counts must be four numbers"),
    "leaves of a curriculum": (curves(LAWS, PLACES), curves(LAWS), curves(LAWS, PLACES, PLACES), "values must be a tuple of 2"),
    "rows of a step": (lambda: am.noise.noisy_step_recall(np.eye(3), np.eye(3), np.eye(3)), lambda: am.noise.noisy_step_recall(np.eye(3), np.eye(3)[:2], np.eye(3)), lambda: am.noise.noisy_step_recall(np.eye(3)[:2], np.eye(3), np.eye(3)), "outputs must be as many as inputs"),
    "an alphabet": (bigram(alphabet="ab"), bigram(alphabet="a"), bigram(alphabet="abc"), "alphabet must be a string of 2 characters"),
    "names of tokens": (named("a", "b"), named("a"), named("a", "b", "c"), "names must be 2 of axis 'token'"),
    "a pair": (lambda: am.AssociationTask.from_pairs([("a", "b"), ("c", "d")], dimension=2, key=KEY), lambda: am.AssociationTask.from_pairs([("a",), ("c", "d")], dimension=2, key=KEY), lambda: am.AssociationTask.from_pairs([("a", "b", "c"), ("c", "d")], dimension=2, key=KEY), "pairs[0] must be (token, answer)"),
    "embeddings of one width": (lambda: am.memory.LowRankMemory.factorised(TASK, KEY, 1), lambda: am.memory.LowRankMemory.factorised(am.AssociationTask(TWO, [0, 1], np.ones((2, 3)), EYE), KEY, 1), lambda: am.memory.LowRankMemory.factorised(am.AssociationTask(TWO, [0, 1], EYE, np.ones((2, 3))), KEY, 1), "task must be of embeddings of one width"),
    "tokens of the plane": (lambda: am.memory.gammas(TASK, START), lambda: am.memory.gammas(am.AssociationTask([1.0], [0], EYE[:1], EYE), START), lambda: am.memory.gammas(am.AssociationTask(np.ones(3) / 3, [0, 1, 1], np.ones((3, 2)), EYE), START), "task must be of two tokens and two classes"),
    "a schedule": (lambda: am.Descent(optax.sgd, 2, learning_rate=np.ones(2)), lambda: am.Descent(optax.sgd, 2, learning_rate=np.ones(1)), lambda: am.Descent(optax.sgd, 2, learning_rate=np.ones(3)), "learning_rate must be one number, or one for each of the 2 steps"),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_what_must_be_of_one_size_is_neither_smaller_nor_larger(name):
    taken, *others, line = SIZES[name]
    taken()
    for other in others:
        refused(other, line)
