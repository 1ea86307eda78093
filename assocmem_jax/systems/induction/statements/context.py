"""The global against the context, with attention in place: Slides p. 30; Chen, Bruna, Bietti 2024."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from ....statements import at_least, at_most, equal, statement
from ....statements.claims import rounding
from ....sweeps import LogUniform, Uniform
from ...memory.model import LinearMemory
from ...memory.observe import weight_gradient
from ...memory.task import AssociationTask
from ..dynamics import time_to_overtake
from ..model import NoisyCopySystem
from ..task import NoisyCopyTask
from ..theory import context as theory

_LOGIT = Uniform(-3, 3)


def expanded(n, F, C, B):
    """W = [f | V], of NumPy or JAX, of which F, C and B are the three numbers."""
    rows = jnp.zeros((n + 1, n + 1)).at[n, 0].set(F).at[n, 1:].set(C)
    return rows.at[jnp.arange(n), jnp.arange(1, n + 1)].set(B)


def contracted(W):
    """(F, C, B) of symmetric weights: against another token."""
    return W[-1, 0] - W[0, 0], W[-1, 1] - W[1, 1], W[0, 1] - W[1, 1]


@statement(
    "context.closed",
    "feed-forward and value matrix close in three numbers",
    where="Slides p. 30 (the model); the system is not there",
    corrected="F' = (1 + 1/N)(α − p_τ), C' = (α − p_τ + p_o)/N, B' = (1 − α − p_B + p_o)/N, "
    "p = e^{F+C}, e^B, 1 over e^{F+C} + e^B + N − 1; loss −α log p_τ − (1 − α) log p_B",
    domain={"alpha": Uniform(0, 1), "F": _LOGIT, "C": _LOGIT, "B": _LOGIT},
    cases=[{"n": 4}],
    tolerance="rounding of sums over N contexts",
)
def closed(alpha, F, C, B, n):
    """f_y is pulled by the mean over o of P(y|o) − p(y), V_{y,o} by 1/N of it: for τ α − p_τ, for o 1 − α −
    p_B, for others −p_o. Weights that are the same for every o stay so, and differences of velocities are as
    said. They are linear in W, so steps of descent too."""
    task, memory = NoisyCopyTask(n, alpha), LinearMemory(expanded(n, F, C, B))
    one, q = np.eye(n + 1), alpha * np.eye(n + 1)[n] + (1 - alpha) * np.eye(n, n + 1)
    weights = AssociationTask(np.ones(n) / n, q, np.hstack([np.ones((n, 1)), np.eye(n)]), one)
    system = NoisyCopySystem(F, jnp.stack([C, B]))
    moved = system.tangent(task, jax.grad(task.loss)(system))
    slope = weight_gradient(weights, memory)
    found, within = -jnp.stack(contracted(slope)), rounding(1.0, operations=64 * n)
    rest = slope - expanded(n, *contracted(slope))
    return (
        equal(found, jnp.stack(theory.velocity(n, alpha, F, C, B)), within),
        equal(found, -jnp.stack([moved.feedforward, *moved.values]), within),
        equal(task.loss(system), weights.loss(memory), rounding(10.0, operations=64 * n)),
        equal(jnp.ptp(rest[:, 0]) + jnp.max(jnp.ptp(rest[:, 1:], axis=0)), 0.0, within),
    )


@closed.second_route
def _(alpha, F, C, B, n):
    W, moved, loss = np.asarray(expanded(n, F, C, B)), np.zeros((n + 1, n + 1)), 0.0
    for o in range(n):
        e = np.exp(W[:, 0] + W[:, 1 + o])
        q = np.zeros(n + 1)
        q[n], q[o] = alpha, 1 - alpha
        pull = (q - e / e.sum()) / n
        loss -= q @ np.log(e / e.sum()) / n
        moved[:, 0] += pull
        moved[:, 1 + o] += pull
    Z = np.exp(F + C) + np.exp(B) + n - 1
    t, b, o = np.exp(F + C) / Z, np.exp(B) / Z, 1 / Z
    speed = [(1 + 1 / n) * (alpha - t), (alpha - t + o) / n, (1 - alpha - b + o) / n]
    found, within = np.array(contracted(moved)), rounding(1.0, operations=64 * n)
    whole = -alpha * np.log(t) - (1 - alpha) * np.log(b)
    rest = moved - np.asarray(expanded(n, *found))
    spread = np.ptp(rest[:, 0]) + np.ptp(rest[:, 1:], axis=0).max()
    return (
        equal(found, np.array(speed), within),
        equal(found, np.array(speed), within),
        equal(whole, loss, rounding(10.0, operations=64 * n)),
        equal(spread, 0.0, within),
    )


@statement(
    "context.order",
    "who leads: the noise, the answer, or first the one and then the other",
    where="Slides p. 30",
    corrected="from zero weights the answer leads at all times iff α ≤ 2/(N + 3), and at none iff α ≥ ½; "
    "between, τ leads until the answer overtakes it, once. Without the feed-forward the answer "
    "leads at all times iff α < ½, and else at none",
    domain={"alpha": Uniform(0, 1), "N": LogUniform(2, 1e4), "B": LogUniform(1e-3, 20), "F": _LOGIT},
    tolerance="rounding",
)
def order(alpha, N, B, F):
    """D = B − F − C. Where D = 0, both have p, and N D' = 1 − (N + 3)α + (N + 1)p (without F: 1 − 2α), at the
    start with p = 1/(N + 1). B rises: were N B' = 1 − α − p_B + p_o = 0, p_B would fall. p rises with B, so
    D rises through 0 at once, or first at p ≥ α − (1 − 2α)/(N + 1), and never falls through it; as 2p < 1,
    never where that is ½ or more, α ≥ ½. In the end p_B = 1 − α, more than α below ½.
    """
    tied = theory.velocity(N, alpha, F, B - F, B)
    p = theory.probabilities(N, F, B - F, B)[1]
    turn = N * (tied.answer - tied.feedforward - tied.noise)
    alone = N * (tied.answer - tied.noise)
    within = rounding(N, operations=64)
    return (
        equal(turn, 1 - (N + 3) * alpha + (N + 1) * p, within),
        at_least(turn, 0.0, within, given=alpha * (N + 3) <= 2),
        at_most(turn, 0.0, within, given=alpha >= 0.5),
        equal(alone, 1 - 2 * alpha, within),
    )


@order.second_route
def _(alpha, N, B, F):
    p = np.exp(B) / (2 * np.exp(B) + N - 1)
    other = p * np.exp(-B)
    answer, noise = 1 - alpha - p + other, alpha - p + other
    feedforward = (N + 1) * (alpha - p)
    within = rounding(N, operations=64)
    turn = answer - noise - feedforward
    return (
        equal(turn, 1 - (N + 3) * alpha + (N + 1) * p, within),
        at_least(turn, 0.0, within, given=alpha * (N + 3) <= 2),
        at_most(turn, 0.0, within, given=alpha >= 0.5),
        equal(answer - noise, 1 - 2 * alpha, within),
    )


@statement(
    "context.overtaking",
    "when the answer overtakes the noise",
    where="Slides p. 30 (that it does)",
    corrected="(1 − α) t = x − 1 + (N − 1) log x − (r + log r) + O(1/N), x = α(N − 1)/(1 − 2α), "
    "r = (1 − α)/(1 − 2α): N log N/(1 − α) to leading order; without r it is off by O(1), "
    "1/(N log N) of itself",
    domain={"alpha": Uniform(0.1, 0.45), "N": LogUniform(64, 1024)},
    tolerance="50/N, found for these α (its limits for α = .1, .3, .45: 25, 16, 34), and 10⁻⁵ of t",
    status="numerical",
    second_samples=3,
    most=128,
)
def overtaking(alpha, N):
    """With p_τ = α − δ, p_o = (1 − α + δ)/(e^B + N − 1) and B' = p_o − δ/N. F + C follows log(e^B + N − 1),
    at the rate δ ≈ p_o(e^B/(e^B + N − 1) − 1/N). To leading order t = ∫ (e^B + N − 1) dB/(1 − α) to e^B = x;
    δ moves the integrand by −log r + α/(1 − 2α), and the end, where p_B = α − δ, by −1/(1 − 2α): together −(r
    + log r)."""
    time = time_to_overtake(NoisyCopyTask(N, alpha))
    law = theory.overtaking_time(N, alpha)
    r = (1 - alpha) / (1 - 2 * alpha)
    short = law + (r + jnp.log(r)) / (1 - alpha)
    return (
        equal(time, law, 50 / N + 1e-5 * law),
        at_most(time, short, 1e-5 * law),
    )


@overtaking.second_route
def _(alpha, N):
    def speed(t, y):
        e = np.exp(np.array([y[0], y[1], 0]) - max(y[0], y[1]))
        noise, answer, other = e / (e[0] + e[1] + (N - 1) * e[2])
        return [(1 + 2 / N) * (alpha - noise) + other / N, (1 - alpha - answer + other) / N]

    def passed(t, y):
        return y[1] - y[0] - (t < 1)

    event: Any = passed
    event.terminal, event.direction = True, 1
    found = solve_ivp(speed, (0, 1e6), [0, 0], "LSODA", rtol=1e-10, atol=1e-12, events=event)
    time = found.t_events[0][0]
    x, r = alpha * (N - 1) / (1 - 2 * alpha), (1 - alpha) / (1 - 2 * alpha)
    short = (x - 1 + (N - 1) * np.log(x)) / (1 - alpha)
    law = short - (r + np.log(r)) / (1 - alpha)
    return equal(time, law, 50 / N + 1e-5 * law), at_most(time, short, 1e-5 * law)


@statement(
    "context.samples",
    "how many samples either part needs, for one step",
    where="Slides p. 30",
    corrected="after a step on n samples the feed-forward says τ with probability Σ_k Bin(k; n, α) "
    "(n − k)!/N^{n−k} [x^{n−k}] (Σ_{i<k} x^i/i!)^N; of an answer, with τ left out, the value matrix knows it "
    "with probability 1 − (1 − (1 − α)/N)^n; with τ among the candidates, with P(#(o,o) > #(o,τ))",
    domain={"alpha": Uniform(0.05, 0.95)},
    cases=[{"n": 4, "N": 3}],
    most=128,
    tolerance="rounding of sums over all sequences",
)
def samples(alpha, n, N):
    """The step is f_y ∝ #y/n − 1/(N + 1), V_{y,o} ∝ Σ_{o_i = o} (1{y_i = y} − 1/(N + 1))/n: first is who was
    said most often, of all samples or of those with o. What is not τ falls on N tokens at random; of n
    samples each is (o, o) with probability (1 − α)/N."""
    drawn = np.array(list(itertools.product(range(2 * N), repeat=n)))
    contexts, noisy = drawn // 2, drawn % 2 == 1
    said = np.where(noisy, N, contexts)
    weight = jnp.prod(jnp.where(noisy, alpha, 1 - alpha) / N, axis=1)

    def loss(f, V, o, y):
        scores = f + V[:, o].T
        return -jnp.mean(jax.nn.log_softmax(scores)[jnp.arange(n), y])

    start = jnp.zeros(N + 1), jnp.zeros((N + 1, N))
    f, V = jax.vmap(lambda o, y: jax.grad(lambda s: loss(s[0], s[1], o, y))(start))(contexts, said)
    first = lambda s, k: s[:, k] < jnp.min(jnp.delete(s, k, axis=1), axis=1) - 1e-9  # noqa: E731
    column = V[:, :, 0]
    right = (
        jnp.sum(weight * first(f, N)), jnp.sum(weight * first(column[:, :N], 0)), jnp.sum(weight *
        first(column, 0))
    )  # fmt: skip
    laws = theory.says_noise(n, N, alpha), theory.recalls(n, N, alpha), theory.outvotes(n, N, alpha)
    return tuple(equal(one, other, rounding(1.0, operations=256)) for one, other in zip(right, laws))


@samples.second_route
def _(alpha, n, N):
    says, recalled, outvoted = 0.0, 0.0, 0.0
    for drawn in itertools.product(range(2 * N), repeat=n):
        p, counts, own, noise = 1.0, np.zeros(N + 1), 0, 0
        for pair in drawn:
            o, noisy = divmod(pair, 2)
            p *= (alpha if noisy else 1 - alpha) / N
            counts[N if noisy else o] += 1
            own += o == 0 and not noisy
            noise += o == 0 and noisy
        says += p * (counts[N] > counts[:N].max())
        recalled += p * (own > 0)
        outvoted += p * (own > noise)
    laws = says, 1 - (1 - (1 - alpha) / N) ** n, outvoted
    within = rounding(1.0, operations=256)
    return tuple(equal(a, b, within) for a, b in zip((says, recalled, outvoted), laws))
