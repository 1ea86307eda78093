"""Noise of finite width, Slides p. 18, 29–30: one step; three, their signal, floor and width."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ....statements import at_least, at_most, equal, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ....sweeps import LogUniform
from ....tasks.embeddings import gaussian
from .. import observe, theory
from ..model import TriggerAttention, noisy_step_recall, population_key, three_steps, three_steps_on
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
    domain={"seed": SEEDS},
    cases=[{"n": 3, "length": 3, "d": 4}],
    tolerance="rounding of sums over all sequences",
    most=32,
    second_samples=2,
)
def population(seed, n, length, d):
    """W₁ = Σ ũ_y e_yᵀ/(N T), the rest of a sequence being the same for all y. Given y, Σ_t (x_t − x̄)(x_t −
    x̄)ᵀ is (1 − 1/T)(e_y − ē + τ)(e_y − ē + τ)ᵀ plus what does not depend on y, which Σ_y ũ_y = 0 takes
    away."""
    task = TriggerTask.gaussian(n, d, jr.key(seed), length=length, draws=1)
    z, t = loops.every(n, length)
    batch = Sequences(jnp.asarray(z), jnp.asarray(t), jnp.asarray(z[np.arange(len(z)), t]))
    w = three_steps_on(task, [batch]).key * n * length**2
    return equal(w, population_key(task) * n * length**2, rounding(9.0, operations=1024))


@population.second_route
def _(seed, n, length, d):
    task = TriggerTask.gaussian(n, d, jr.key(seed), length=length, draws=1)
    E, U, tau = (np.asarray(rows) for rows in (task.inputs, task.outputs, task.trigger))
    w = loops.key(E, U, tau, [loops.every(n, length)] * 2) * n * length**2
    closed, V, F = np.zeros(d), U - U.mean(axis=0), E - E.mean(axis=0)
    for y, k in np.ndindex(n, n):
        closed += V[y] @ V[k] * (F[y] + tau) * ((F[y] + tau) @ F[k]) / n
    return equal(w, (1 - 1 / length) * closed, rounding(9.0, operations=1024))


_TRIALS = 1000
_SIGNAL = {"n": 3, "length": 3, "d": 4, "sequences": 5}


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
    domain={"seed": SEEDS},
    cases=[_SIGNAL],
    counterexample={"seed": 0} | _SIGNAL,
    tolerance="six standard errors of 1,000 trials",
    most=2,
    second_samples=1,
)
def signal(seed, n, length, d, sequences):
    """Moments of Gaussians, term by term: s_it pairs sequences i and j; j ≠ i are independent, and give the
    w of the population; j = i gives E Σ_t (x̄·x_t) τ·(x_t − x̄)."""

    def learned(key, fresh):
        task = TriggerTask.gaussian(n, d, key, length=length, draws=1)
        return three_steps(task, jr.fold_in(key, 1), sequences, fresh=fresh).key @ task.trigger

    keys, claims, printed = jr.split(jr.key(seed), _TRIALS), [], []
    for fresh in (False, True):
        found = jax.vmap(lambda key, fresh=fresh: learned(key, fresh))(keys)
        mean, error = jnp.mean(found), 6 * jnp.std(found) / _TRIALS**0.5
        claims.append(equal(mean, theory.signal(n, length, d, sequences, fresh), error))
        printed.append(equal(mean, 1 / (n * length**2), error))
    return {"printed": tuple(printed), "corrected": tuple(claims)}


@signal.second_route
def _(seed, n, length, d, sequences):
    rng, claims, trials = np.random.default_rng(seed), [], _TRIALS
    for fresh in (False, True):
        found = []
        for _ in range(trials):
            E, U, tau = loops.gaussian(rng, n, n, 1, d=d)
            one, other = (loops.batch(rng, n, length, sequences) for _ in range(2))
            found.append(loops.key(E, U, tau[0], (one, other if fresh else one)) @ tau[0])
        pairs = (1 - 1 / length) * (1 + 1 / d) / n
        alone = (1 - 1 / length) * (1 + 2 / d) + (length - 1) * (1 - 1 / n) / d
        closed = pairs if fresh else (1 - 1 / sequences) * pairs + alone / sequences
        error = 6 * np.std(found) / trials**0.5
        claims.append(equal(np.mean(found), (1 - 1 / n) * closed / length**2, error))
    return tuple(claims)


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


_SIZES = {"n": 48, "length": 16, "d": 16, "sequences": 256}


@statement(
    "noise.attention",
    "how noisy the key is, and how often it finds the trigger",
    where="not on the slides",
    corrected="e_vᵀw is Gaussian over tokens, of the variance of am.theory.noise.Spread; P(attention "
    "right) = E_z Φ((m + √(v_τ + v) z)/√v)^{T−1}: the same sequences and fresh ones",
    status="numerical",
    domain={"seed": SEEDS},
    cases=[_SIZES | {"batches": k} for k in range(2)],
    tolerance="±.1 of a probability and 25 % of a variance, over 32 learners: leading orders at N = 48",
    most=4,
    second_samples=2,
)
def attention(seed, n, length, d, sequences, batches):
    """w = C W₁ᵀq + (1/n)Σ (C_i − C) W₁ᵀũ_i, C_i the covariance of x within a sequence, W₁ = q mᵀ + signal +
    noise, m = ē + τ/T. Each product has a variance; traces of powers of S are those of Marchenko and
    Pastur."""
    fresh = batches == 1

    def one(key):
        task = TriggerTask.gaussian(n, d, key, length=length, draws=1)
        made = three_steps(task, jr.fold_in(key, 1), sequences, fresh=fresh)
        scores = task.inputs @ made.key * n * length**2
        return jnp.var(scores), observe.attention_right(task, made.model)

    spread, right = (jnp.mean(x) for x in jax.lax.map(one, jr.split(jr.key(seed), 32)))
    sizes = n, length, d, sequences, fresh
    law = theory.key_scores(*sizes)[2]
    return equal(spread, law, 0.25 * law), equal(right, theory.attention_right(*sizes), 0.1)


@attention.second_route
def _(seed, n, length, d, sequences, batches):
    rng, spread, right = np.random.default_rng(seed), [], []
    for _ in range(32):
        E, U, (tau,) = loops.gaussian(rng, n, n, 1, d=d)
        one, other = (loops.batch(rng, n, length, sequences) for _ in range(2))
        w = loops.key(E, U, tau, (one, other if batches == 1 else one))
        spread.append(np.var(E @ w) * (n * length**2) ** 2)
        right.append(loops.right(E, tau, w, length))
    mean, wide, narrow = (float(x) for x in theory.key_scores(n, length, d, sequences, batches == 1))
    law = loops.largest(mean, wide + narrow, narrow, length - 1)
    return equal(np.mean(spread), narrow, 0.25 * narrow), equal(np.mean(right), law, 0.1)


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
    reason="of N = 256, T = 32 … 256, n = 1,024 … 16,384 the ratio is 1.5 to 4.1 (docs/results.md); fresh "
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
