"""The transformer of Slides p. 17 for k hops: what holds exactly, and from which β it is right."""

import jax
import jax.numpy as jnp
import numpy as np

from ....statements import at_least, at_most, equal, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ....sweeps import LogUniform, Uniform
from ....tasks.losses import lead
from .. import theory
from ..model import HopTransformer
from ..observe import hop_accuracy, least_weights
from ..task import HopTask
from . import loops

_SIZES = [{"n": 4, "k": 2}, {"n": 4, "k": 4}, {"n": 3, "k": 8}]


def _task(seed, n: int, k: int) -> HopTask:
    return HopTask.random(n, k, jax.random.key(seed), draws=4)


def _drawn(seed, n: int, k: int):
    task = _task(seed, n, k)
    return np.asarray(task.hidden), np.asarray(task.data)


@statement(
    "hops.first",
    "what the first layer reads, and where the second looks",
    where="k hops of Slides p. 17, scores of size β, any π and σ; not on them",
    corrected="layer 1 holds the right value with (e^β + k − 1)/Z and each wrong one with k/Z, "
    "Z = e^β + kN − 1; "
    "layer 2 has weight e^β/(e^β + k − 1) · 1/(1 + (N − 1)e^{−β(e^β − 1)/Z}) on the right token, always",
    domain={"seed": SEEDS, "beta": LogUniform(0.1, 12)},
    cases=_SIZES,
    tolerance="rounding of a softmax over kN ≤ 24 tokens, whose scores are known to 12 ε",
    most=256,
    second_samples=8,
)
def first(seed, beta, n, k):
    """Each value is carried once in each of k steps, so k times; the right token has e^β, all others 1.
    Scores of layer 2 are a sum over step and input, and so its weights a product."""
    task = _task(seed, n, k)
    model = HopTransformer.written(task, beta)
    held = jnp.exp(model.holdings(task.data)[:, 0])
    right = jnp.take_along_axis(held, task.answers(task.data)[:, 0][..., None], axis=-1)
    wrong = (jnp.sum(held, axis=-1, keepdims=True) - right) / (n - 1)
    total = jnp.exp(beta) + k * n - 1
    gap = beta * jnp.expm1(beta) / total
    weight = 1 / (1 + (k - 1) * jnp.exp(-beta)) / (1 + (n - 1) * jnp.exp(-gap))
    far = rounding(1.0, operations=512)
    worst = lambda values, goal: jnp.max(jnp.abs(values - goal))  # noqa: E731
    return (
        equal(worst(right, (jnp.exp(beta) + k - 1) / total), 0.0, far),
        equal(worst(wrong, k / total), 0.0, far),
        equal(least_weights(task, model)[1], weight, far),
    )


@first.second_route
def _(seed, beta, n, k):
    hidden, contexts = _drawn(seed, n, k)
    total, off = np.exp(beta) + k * n - 1, np.zeros(2)
    least = np.inf
    for sigma in contexts:
        held, weights = loops.forward(hidden, sigma, beta)
        for i in range(k):
            for x in range(n):
                right = loops.hops(hidden, sigma, i, x, 1)
                for value, share in enumerate(held[0][i, x]):
                    goal = np.exp(beta) + k - 1 if value == right else k
                    off[int(value != right)] = max(off[int(value != right)], abs(share - goal / total))
                least = min(least, weights[1][i, x, (i + 1) % k, right])
    far = rounding(1.0, operations=512)
    apart = (np.exp(beta) - 1) / total
    weight = np.exp(beta) / (np.exp(beta) + k - 1) / (1 + (n - 1) * np.exp(-beta * apart))
    return equal(off[0], 0.0, far), equal(off[1], 0.0, far), equal(least, weight, far)


@statement(
    "hops.construction",
    "from which β the written transformer is right",
    where="k hops of Slides p. 17, any π and σ; printed without β",
    corrected="the bounds of am.theory.hops.written hold after every layer; all answers are right for β ≥ "
    "exact_from(N, k): 2.51 at (4, 4), 4.75 at (8, 8), 5.42 at (5, 16); any β > 0 for k ≤ 2",
    domain={"seed": SEEDS, "beta": Uniform(0.2, 12)},
    cases=_SIZES,
    tolerance="rounding; truth values",
    most=256,
    second_samples=8,
)
def construction(seed, beta, n, k):
    """A mean of what tokens hold: monotone in each. Its lead of y over y′ is the same mean of leads d, with
    one law over inputs in every step: one input has d ≥ D, one d ≥ −G, others d ≥ −s, and Σ d ≥ −e, so that
    the least weight of an input counts for e alone. Induction over layers: [q̲, q̄], [r̲, r̄], D and e."""
    task = _task(seed, n, k)
    model = HopTransformer.written(task, beta)
    last = theory.written(n, k, beta)[-1]
    held = jnp.exp(model.holdings(task.data)[:, -1])
    answers = task.answers(task.data)[:, -1]
    right = jnp.take_along_axis(held, answers[..., None], axis=-1)
    far = rounding(1.0, operations=1024)
    start = theory.exact_from(n, k)
    # A tie at the start is decided by rounding.
    sound = beta >= start + 0.01
    return (
        at_least(jnp.min(right), last.right_low, far),
        at_most(jnp.max(right), last.right_high, far),
        at_least(jnp.min(lead(held, answers)), last.lead_low, far),
        at_least(least_weights(task, model)[-1], last.weight_low, far),
        equal(jnp.min(hop_accuracy(task, model)), 1.0, given=sound),
    )


@construction.second_route
def _(seed, beta, n, k):
    hidden, contexts = _drawn(seed, n, k)
    last = loops.layers(n, k, beta)[-1]
    least, most, weight, spare, right_all = np.inf, -np.inf, np.inf, np.inf, True
    for sigma in contexts:
        held, weights = loops.forward(hidden, sigma, beta)
        half = 2 ** (len(held) - 2)
        for i in range(k):
            for x in range(n):
                right = loops.hops(hidden, sigma, i, x, k)
                least, most = min(least, held[-1][i, x, right]), max(most, held[-1][i, x, right])
                way = loops.hops(hidden, sigma, i, x, half)
                weight = min(weight, weights[-1][i, x, (i + half) % k, way])
                spare = min(spare, held[-1][i, x, right] - np.delete(held[-1][i, x], right).max())
                for level, values in enumerate(held):
                    best = loops.hops(hidden, sigma, i, x, 2**level)
                    right_all &= values[i, x, best] > np.delete(values[i, x], best).max()
    far = rounding(1.0, operations=1024)
    sound = beta >= loops.start(n, k) + 0.01
    return (
        at_least(least, last[0], far),
        at_most(most, last[1], far),
        at_least(spare, last[5], far),
        at_least(weight, last[4], far),
        equal(float(right_all), 1.0, given=sound),
    )
