"""Noise of finite width, Slides p. 18, 29–30: one step; three, their signal, floor and width."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ....statements import at_least, at_most, equal, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ....sweeps import LogUniform, Uniform
from ....tasks.embeddings import gaussian
from .. import observe, theory
from ..model import TriggerAttention, noisy_step_recall, population_key, three_steps_on
from ..task import Sequences, TriggerTask
from . import loops

_DRAWS = 24


@statement(
    "noise.one-step",
    "one step on noisy inputs",
    where="Slides p. 18",
    corrected="x = e_y + p_t, W₁ ∝ Σ u_k(e_k − ē)ᵀ: accuracy ≈ E_z Φ((1 + √v_c z)/√v_w)^{N−1}, v_c = "
    "(1 + 2/d)² − 1 + (1 + 2/d)/d + 2(N − 1)/d², v_w = (1 + 2/d)2/d + (1 + 2/d)/d + 1/d² + 2(N − 2)/d²",
    status="numerical",
    domain={"seed": SEEDS},
    cases=[{"n": 128, "d": 48}],
    tolerance="±.06, of scores that are nearly Gaussian and nearly independent",
    most=4,
    second_samples=2,
)
def one_step(seed, n, d):
    """Score of the right answer: |u|²(|e|² + e·p) + Σ_{k≠y} u_y·u_k e_k·(e_y + p); of a wrong one the same
    sum, with |u_j|² e_j·(e_y + p) and u_j·u_y|e_y|² in it. Means 1 and 0; variances of products of
    Gaussians."""

    def recall(key):
        rows = gaussian(key, 2 * n + 2, d)
        return noisy_step_recall(rows[:n], rows[n : 2 * n], rows[2 * n :])

    found = jnp.mean(jax.lax.map(recall, jr.split(jr.key(seed), _DRAWS)))
    return equal(found, theory.noisy_step_accuracy(n, d), 0.06)


@one_step.second_route
def _(seed, n, d):
    rng, right = np.random.default_rng(seed), []
    for _ in range(_DRAWS):
        E, U, P = loops.gaussian(rng, n, n, 2, d=d)
        W = U.T @ (E - E.mean(axis=0))
        right += [np.mean((U @ W @ (E + p).T).argmax(axis=0) == np.arange(n)) for p in P]
    a = 1 + 2 / d
    wide, narrow = a**2 - 1 + a / d + 2 * (n - 1) / d**2, 3 * a / d + 1 / d**2 + 2 * (n - 2) / d**2
    return equal(np.mean(right), loops.largest(1.0, wide, narrow, n - 1), 0.06)


@statement(
    "noise.population",
    "what two steps see without noise",
    where="not on the slides",
    corrected="as n → ∞, for every E, U, τ: w = (1 − 1/T)/(N T²) · (1/N) Σ_{y,y'} (u_y − ū)ᵀ(u_y' − ū) "
    "(e_y − ē + τ)(e_y − ē + τ)ᵀ(e_y' − ē)",
    domain={"phase": Uniform(0, 6)},
    cases=[{"n": 3, "length": 3, "d": 4}],
    tolerance="rounding of sums over all sequences",
    most=32,
    second_samples=2,
)
def population(phase, n, length, d):
    """W₁ = Σ ũ_y e_yᵀ/(N T), the rest of a sequence being the same for all y. Given y, Σ_t (x_t − x̄)(x_t −
    x̄)ᵀ is (1 − 1/T)(e_y − ē + τ)(e_y − ē + τ)ᵀ plus what does not depend on y, which Σ_y ũ_y = 0 takes
    away."""
    E, U, tau = _rows(phase, n, d)
    z, t = loops.every(n, length)
    y = z[np.arange(len(z)), t]
    task = TriggerTask(E, U, tau, length=length, draws=1)
    batch = Sequences(jnp.asarray(z), jnp.asarray(t), jnp.asarray(y))
    w = three_steps_on(task, [batch]).key * n * length**2
    return equal(w, population_key(task) * n * length**2, rounding(9.0, operations=1024))


def _rows(phase, n, d):
    """E, U and τ, of entries in [−1, 1] that are in no order."""
    rows = jnp.cos(phase * jnp.arange(1.0, (2 * n + 1) * d + 1) ** 2).reshape(-1, d)
    return rows[:n], rows[n:-1], rows[-1]


@population.second_route
def _(phase, n, length, d):
    rows = np.cos(phase * np.arange(1.0, (2 * n + 1) * d + 1) ** 2).reshape(-1, d)
    E, U, tau = rows[:n], rows[n:-1], rows[-1]
    w = loops.key(E, U, tau, [loops.every(n, length)] * 2) * n * length**2
    closed, V, F = np.zeros(d), U - U.mean(axis=0), E - E.mean(axis=0)
    for y, k in np.ndindex(n, n):
        closed += V[y] @ V[k] * (F[y] + tau) * ((F[y] + tau) @ F[k]) / n
    return equal(w, (1 - 1 / length) * closed, rounding(9.0, operations=1024))


_SIGNAL = [
    {"n": 2, "length": 2, "d": 1, "sequences": 2},
    {"n": 2, "length": 3, "d": 2, "sequences": 1},
]


@statement(
    "noise.signal",
    "how much of the trigger two steps learn",
    where="Slides p. 29–30",
    printed="E τᵀw = 1/(N T²)",
    corrected="E τᵀw = (1 − 1/N)(1 − 1/T)(1 + 1/d)/(N T²) with fresh sequences; with the same (1 − 1/n) "
    "of that plus (1 − 1/N)/(n T²) · ((1 − 1/T)(1 + 2/d) + (T − 1)(1 − 1/N)/d). Exact at any size",
    verdict="false",
    reason="right as N, T, d and n/N grow; with the same sequences a part of relative size (N/n)(1 + T/d) "
    "is a sequence's own",
    cases=_SIGNAL,
    counterexample=_SIGNAL[0],
    tolerance="rounding: all batches, and Gauss–Hermite's three nodes for each coordinate, exact to degree 5",
)
def signal(n, length, d, sequences):
    """Moments of Gaussians, term by term: s_it pairs sequences i and j; j ≠ i are independent, and give the
    w of the population; j = i gives E Σ_t (x̄·x_t) τ·(x_t − x̄). E (u_y − ū)ᵀ(u_y' − ū) is that of
    orthonormal u."""
    nodes, weights = loops.hermite((n + 1) * d)
    every, t = loops.every(n, length)
    draws = np.array([*np.ndindex(*[len(t)] * sequences)])  # batches, of sequences by number
    y = every[np.arange(len(t)), t]
    whole = Sequences(jnp.asarray(every), jnp.asarray(t), jnp.asarray(y))
    batches = jax.tree.map(lambda a: a[draws], whole)

    def learned(rows):
        task = TriggerTask(rows[:n], jnp.eye(n), rows[n], length=length, draws=1)
        same = jax.vmap(lambda batch: three_steps_on(task, [batch]).key @ task.trigger)(batches)
        return jnp.mean(same), three_steps_on(task, [whole]).key @ task.trigger

    found = jax.vmap(learned)(jnp.asarray(nodes.reshape(-1, n + 1, d) / d**0.5))
    same, fresh = (jnp.dot(weights, x) for x in found)
    closed = [theory.signal(n, length, d, sequences, kind) for kind in (False, True)]
    return {
        "printed": equal(same, 1 / (n * length**2)),
        "corrected": (equal(same, closed[0]), equal(fresh, closed[1])),
    }


@signal.second_route
def _(n, length, d, sequences):
    nodes, weights = loops.hermite((n + 1) * d)
    z, t = loops.every(n, length)
    draws, same, fresh = [*np.ndindex(*[len(t)] * sequences)], 0.0, 0.0
    for rows, weight in zip(nodes.reshape(-1, n + 1, d) / d**0.5, weights):
        E, tau = rows[:n], rows[n]
        learned = lambda at, E=E, tau=tau: loops.key(E, np.eye(n), tau, [(z[at], t[at])] * 2) @ tau  # noqa: E731
        same += weight * np.mean([learned(np.array(at)) for at in draws])
        fresh += weight * learned(np.arange(len(t)))
    pairs = (1 - 1 / length) * (1 + 1 / d) / n
    alone = (1 - 1 / length) * (1 + 2 / d) + (length - 1) * (1 - 1 / n) / d
    scale = (1 - 1 / n) / length**2
    mixed = (1 - 1 / sequences) * pairs + alone / sequences
    return equal(same, scale * mixed), equal(fresh, scale * pairs)


@statement(
    "noise.floor",
    "what is left without noise",
    where="Slides p. 29–30",
    printed="without noise, attention needs d ≫ √N",
    corrected="scores u_yᵀW₁e_z of wrong pairs have the spread √N/d of a right one, but the key averages "
    "over N answers: e_vᵀw spreads by 1/√d of τᵀw, and attention is right with probability E_z Φ(√d + √3 "
    "z)^{T−1}, whatever N",
    verdict="false",
    reason="√N/d is of the value matrix after one step; the key needs d ≫ log T",
    status="numerical",
    domain={"seed": SEEDS},
    cases=[{"n": 400, "d": 10, "length": 16}],
    counterexample={"seed": 0, "n": 400, "d": 10, "length": 16},
    tolerance="24 % of a variance over 24 × 8 × 400 pairs, to terms in 1/d; ±.08 of a probability",
    most=2,
    second_samples=1,
)
def floor(seed, n, d, length):
    """w = τ + (terms of relative size 1/d) in the units of noise.population: e_v·τ has variance 1/d, |τ|²
    2/d."""

    def one(key):
        task = TriggerTask.gaussian(n, d, key, length=length, draws=1)
        U = task.outputs - jnp.mean(task.outputs, axis=0)
        scores = U[:8] @ (U.T @ task.inputs) @ task.inputs.T
        wrong = jnp.where(jnp.eye(8, n, dtype=bool), 0, scores)
        model = TriggerAttention(population_key(task) * n * length**2, jnp.zeros((d, d)))
        return jnp.sum(wrong**2) / (8 * (n - 1)), observe.attention_right(task, model)

    spread, right = (jnp.mean(x) for x in jax.lax.map(one, jr.split(jr.key(seed), _DRAWS)))
    law = theory.attention_right(n, length, d, 1e12)
    floor = theory.score_floor(n, d) ** 2 * (1 + 2 * d / n)
    return {
        "printed": at_most(right, 0.5, given=d**2 < n),
        "corrected": (equal(spread, floor, 0.24 * floor), equal(right, law, 0.08)),
    }


@floor.second_route
def _(seed, n, d, length):
    rng, spread, right = np.random.default_rng(seed), [], []
    for _ in range(_DRAWS):
        E, U, (tau,) = loops.gaussian(rng, n, n, 1, d=d)
        V, F = U - U.mean(axis=0), E - E.mean(axis=0)
        scores = V[:8] @ V.T @ E @ E.T
        spread.append((scores**2)[~np.eye(8, n, dtype=bool)].mean())
        weights = np.sum((F + tau) * (V @ (V.T @ F)), axis=1)
        right.append(loops.right(E, tau, weights @ (F + tau), length))
    law, floor = loops.largest(1 + 1 / d, 3 * (1 + 1 / d) ** 2 / d, 1 / d, length - 1), n / d**2 + 2 / d
    return equal(np.mean(spread), floor, 0.24 * floor), equal(np.mean(right), law, 0.08)


_SIZES = {"n": 96, "length": 48, "d": 32, "sequences": 384}


@statement(
    "noise.attention",
    "how noisy the key is, and how often it finds the trigger",
    where="not on the slides",
    corrected="e_vᵀw is Gaussian over tokens, of the variance of am.theory.noise.Spread; P(attention "
    "right) = E_z Φ((m + √(v_τ + v) z)/√v)^{T−1}: the same sequences and fresh ones",
    status="numerical",
    domain={"seed": SEEDS},
    cases=[_SIZES],
    tolerance="±.15 of a probability and 35 % of a variance, over 32 learners: leading orders at N = 96",
    most=2,
    second_samples=1,
)
def attention(seed, n, length, d, sequences):
    """w = C W₁ᵀq + (1/n)Σ (C_i − C) W₁ᵀũ_i, C_i the covariance of x within a sequence, W₁ = q mᵀ + signal +
    noise, m = ē + τ/T. Each product has a variance; traces of powers of S are those of Marchenko and
    Pastur."""

    def one(key):
        task = TriggerTask.gaussian(n, d, key, length=length, draws=1)
        keys = jnp.stack(_keys(task, key, sequences)) * n * length**2
        right = lambda w: observe.attention_right(task, TriggerAttention(w, jnp.zeros((d, d))))  # noqa: E731
        return jnp.var(keys @ task.inputs.T, axis=1), jax.vmap(right)(keys)

    found = (jnp.mean(x, axis=0) for x in jax.lax.map(one, jr.split(jr.key(seed), 32)))
    sizes = n, length, d, sequences, np.array([False, True])
    law, chance = theory.key_scores(*sizes)[2], theory.attention_right(*sizes)
    spread, right = found
    return equal(spread, law, 0.35 * law), equal(right, chance, 0.15)


def _keys(task, key, sequences):
    """w of the same sequences in both steps, and of fresh ones."""
    both = task.sample(jr.fold_in(key, 1), 2 * sequences)
    one, other = (jax.tree.map(lambda a, at=at: a[at::2], both) for at in (0, 1))
    return three_steps_on(task, [one]).key, three_steps_on(task, [one, other, other]).key


@attention.second_route
def _(seed, n, length, d, sequences):
    rng, found = np.random.default_rng(seed), []
    for _ in range(32):
        E, U, (tau,) = loops.gaussian(rng, n, n, 1, d=d)
        one, other = (loops.batch(rng, n, length, sequences) for _ in range(2))
        for fresh, two in ((False, one), (True, other)):
            w = n * length**2 * loops.key(E, U, tau, (one, two))
            law = loops.spread(E, length, sequences, fresh)
            found.append([np.var(E @ w), law, loops.right(E, tau, w, length), tau @ w])
    found = np.reshape(found, (32, 2, 4))
    spread, law, right, own = np.mean(found, axis=0).T
    wide = np.var(found[..., 3], axis=0)
    chance = [loops.largest(m, v + s, s, length - 1) for m, v, s in zip(own, wide, spread)]
    return equal(spread, law, 0.35 * law), equal(right, np.array(chance), 0.15)


@statement(
    "noise.law",
    "the width that attention needs",
    where="Slides p. 29–30",
    printed="d ∝ (T²/N) min{1, (N²/(T n))^{2/3}}, with one constant",
    corrected="that is the term of answers that are not equally frequent alone, |q|²S ē against τᵀw = (1 "
    "+ N T/(n d))/(N T²): d solves n d^{3/2}/(√N T²) + √(N d)/T = g, which is within a factor 4 of g²T²/N "
    "or (g √N T²/n)^{2/3}, whichever is smaller. At N = 256 other terms count, most where T is small; "
    "with ū of the batch this one is 0",
    verdict="false",
    reason="of N = 256, T = 32 … 256, n = 1,024 … 16,384 the ratio is 1.5 to 6 (docs/results.md); fresh "
    "sequences have |q|²/√d in its place",
    domain={"T": LogUniform(32, 256), "n": LogUniform(1024, 16384), "g": LogUniform(0.5, 8)},
    counterexample={"T": 32.0, "n": 16384.0, "g": 2.0},
    tolerance="25 % of the ratio at T = 128, n = 4,096; brackets to rounding",
    most=32,
    second_samples=2,
)
def law(T, n, g):
    """Both terms grow with d. Where one of them is g, the sum is more; at a quarter of that d they are at
    most g/8 and g/2. g is what the largest of T − 1 Gaussians asks for."""
    N = 256.0
    ends = lambda g: jnp.minimum(g**2 * T**2 / N, (g * N**0.5 * T**2 / n) ** (2 / 3))  # noqa: E731
    at = lambda d: n * d**1.5 / (N**0.5 * T**2) + (N * d) ** 0.5 / T  # noqa: E731
    T2, n2 = jnp.stack([T, jnp.asarray(128.0)]), jnp.stack([n, jnp.asarray(4096.0)])
    ratio, middle = theory.attention_dimension(N, T2, n2) / theory.claimed_dimension(N, T2, n2)
    return {
        "printed": equal(ratio, middle, 0.25 * middle),
        "corrected": (
            at_least(at(ends(g)), g), at_most(at(ends(g) / 4), g),
            equal(ends(1.0), theory.claimed_dimension(N, T, n)),
        ),
    }  # fmt: skip


@law.second_route
def _(T, n, g):
    N = 256.0
    ends = lambda g: min(g**2 * T**2 / N, (g**2 * N * T**4 / n**2) ** (1 / 3))  # noqa: E731
    at = lambda d: np.sqrt(n**2 * d**3 / (N * T**4)) + np.sqrt(N * d / T**2)  # noqa: E731
    claim = T**2 / N * min(1.0, np.cbrt((N**2 / (T * n)) ** 2))
    return at_least(at(ends(g)), g), at_most(at(ends(g) / 4), g), equal(ends(1.0), claim)
