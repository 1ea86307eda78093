"""Which half of a fact is learned first, when, and for how long the model hallucinates: Slides p. 20–23."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ....statements import at_least, at_most, equal, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ....sweeps import LogUniform, Uniform
from .. import theory
from ..model import FactualSystem, LinearAttentionRecall
from ..task import FactualTask
from . import loops

_SMALL = [{"S": 4, "R": 3, "D": 2}, {"S": 6, "R": 2, "D": 3}]
_SIZES = {"S": LogUniform(2, 1e4), "R": LogUniform(2, 1e3), "D": LogUniform(2, 1e3)}
# Starts so small that only rates decide, as far as doubles go.
_TINY = 1e-100


def drawn(seed, S, R, D) -> tuple[FactualTask, LinearAttentionRecall]:
    """Facts at random, not balanced, under random laws, with noise; weights of size one."""
    keys = jr.split(jr.key(seed), 5)
    laws = [jax.nn.softmax(jr.normal(key, (n,))) for key, n in zip(keys[:2], (S, R))]
    task = FactualTask.random(
        S, R, D, keys[2], noise=2, length=6, subjects_law=laws[0], relations_law=laws[1], draws=1
    )
    shape = task.num_answers, task.num_tokens
    return task, LinearAttentionRecall(jr.normal(keys[3], shape[1:]), jr.normal(keys[4], shape))


def plain_problem(seed, S, R, D):
    """The same in NumPy: v, A, and the arguments of ``loops.loss``."""
    task, model = drawn(seed, S, R, D)
    counts = np.bincount(np.asarray(task.data.tokens[0]), minlength=task.num_tokens).astype(float)
    counts[: S + R] = 0
    noise = counts, S, task.mentions
    facts, p = np.asarray(task.facts), np.asarray(task.pair_probabilities)
    return np.asarray(model.attention), np.asarray(model.table), facts, p, noise


@statement(
    "facts.conserved",
    "each token keeps its balance",
    where="not on the slides",
    corrected="d/dt (v_z² − Σ_a A_{a,z}²) = 0 under the flow, for any facts, laws, weights and noise; "
    "η²(v̇_z² − Σ_a Ȧ_{a,z}²) under a step of descent",
    domain={"seed": SEEDS, "rate": LogUniform(1e-2, 10)},
    cases=_SMALL,
    tolerance="rounding of sums over S R texts of products of three",
)
def conserved(seed, rate, S, R, D):
    """Scores know v_z and A_{·,z} by their product only: v_z ∂L/∂v_z = Σ_a A_{a,z} ∂L/∂A_{a,z}, both the
    derivative along the scale of the column."""
    task, model = drawn(seed, S, R, D)
    slope = jax.grad(lambda m: task.loss(m))(model)
    v, A, dv, dA = model.attention, model.table, slope.attention, slope.table
    balance = lambda v, A: v**2 - jnp.sum(A**2, axis=0)  # noqa: E731
    step = balance(v - rate * dv, A - rate * dA) - balance(v, A)
    within = rounding((1 + rate) ** 2 * (1 + balance(v, 1j * A).real), operations=256)
    flow = v * dv - jnp.sum(A * dA, axis=0)
    return equal(flow, 0.0, within), equal(step, rate**2 * balance(dv, dA), within)


@conserved.second_route
def _(seed, rate, S, R, D):
    v, A, *problem = plain_problem(seed, S, R, D)
    dv, dA = loops.slopes(v, A, *problem)
    balance = lambda v, A: v**2 - np.sum(A**2, axis=0)  # noqa: E731
    step = balance(v - rate * dv, A - rate * dA) - balance(v, A)
    within = rounding((1 + rate) ** 2 * (1 + v**2 + np.sum(A**2, axis=0)), operations=256)
    flow = v * dv - np.sum(A * dA, axis=0)
    return equal(flow, 0.0, within), equal(step, rate**2 * balance(dv, dA), within)


def expanded(task: FactualTask, system: FactualSystem, level, noise) -> LinearAttentionRecall:
    """Weights of which a system is the halves: A = level + x or y where an answer is one's own."""
    S, R = task.facts.shape
    own = jnp.sum(jax.nn.one_hot(task.facts, task.num_answers), axis=1)
    block = jnp.repeat(jnp.eye(R), task.answers, axis=1)
    rest = task.num_tokens - S - R
    rows = level + jnp.concatenate([system.subject_gap * own, system.relation_gap * block])
    rows = jnp.concatenate([rows, jnp.full((rest, task.num_answers), noise)])
    v = jnp.concatenate([
        jnp.full(S, system.subject_attention), jnp.full(R, system.relation_attention), jnp.full(rest, noise)
    ])  # fmt: skip
    return LinearAttentionRecall(v, rows.T)


_HALF = {"v_s": LogUniform(0.05, 3), "x": Uniform(-2, 2), "v_r": LogUniform(0.05, 3), "y": Uniform(-2, 2)}


@statement(
    "facts.reduced",
    "linear attention closes in four numbers",
    where="Slides p. 20–21 (the model); the system is not there",
    corrected="balanced facts, uniform laws, equal entries of subjects, of relations and of noise: x' = "
    "μv_s D/(SR(e^m + D − 1)), v_s' = μx(D − 1)/(S(e^m + D − 1)), m = μv_s x; y' = μv_r/(D(e^m + R − 1)), "
    "v_r' = μy(R − 1)/(R(e^m + R − 1)), m = μv_r y; noise and EOS at rest; loss log(1 + (D − 1)e^{−m_s}) + "
    "log(1 + (R − 1)e^{−m_r})",
    domain=_HALF | {"level": Uniform(-1, 1), "noise": Uniform(-1, 1), "seed": SEEDS},
    cases=[case | {"mentions": mu} for case, mu in zip(_SMALL, (1, 2))],
    tolerance="rounding of sums over S R texts",
)
def reduced(v_s, x, v_r, y, level, noise, seed, S, R, D, mentions):
    """Scores are μ_s v_s x 1{a ∈ a*(s,·)} + μ_r v_r y 1{a ∈ A_r}: p is p(block) times p(a | block).
    Over r, A_{·,s} is pulled by 1 − p(own) on R answers, by −1/(D − 1) of it on the others; over s, by
    balance, A_{·,r} by 1 − p(block) on D answers, by −1/(R − 1) of it on the rest."""
    task = FactualTask.balanced(
        S, R, D, jr.key(seed), noise=2, length=7, draws=2, mentions=(mentions, 1)
    )  # fmt: skip
    system = FactualSystem(v_s, x, v_r, y)
    model = expanded(task, system, level, noise)
    value, slope = jax.value_and_grad(lambda m: task.loss(m))(model)
    moved = system.tangent(task, jax.grad(lambda m: task.loss(m))(system))
    zero = jnp.zeros(())
    whole = expanded(task, moved, zero, zero)
    # A moves by gaps of mean zero: own answers up, the others down by as much in all.
    table = whole.table - jnp.mean(whole.table, axis=0)
    within = rounding(9.0, operations=1024)
    return (
        equal(slope.attention, whole.attention, within), equal(slope.table, table, within),
        equal(value, task.loss(system), within),
    )  # fmt: skip


@reduced.second_route
def _(v_s, x, v_r, y, level, noise, seed, S, R, D, mentions):
    facts = plain_facts(seed, S, R, D)
    V, Q = S + R + 3, R * D
    own = np.zeros((V, Q))
    for s, r in np.ndindex(S, R):
        own[s, facts[s, r]] = 1
        own[S + r, r * D : (r + 1) * D] = 1
    v = np.concatenate([np.full(S, v_s), np.full(R, v_r), np.full(3, noise)])
    A = np.concatenate([level + x * own[:S], level + y * own[S : S + R], np.full((3, Q), noise)]).T
    # All answers get the same from noise: how much of it there is does not matter.
    counts = np.zeros(V)
    p = np.full((S, R), 1 / (S * R))
    problem = facts, p, (counts, S, (mentions, 1))
    dv, dA = loops.slopes(v, A, *problem)
    one, other = loops.halves(S, R, D, (mentions, 1))
    m, k = mentions * v_s * x, v_r * y
    pull_s, pull_r = 1 / (np.exp(m) + D - 1), 1 / (np.exp(k) + R - 1)
    gaps = np.zeros(V)
    gaps[:S], gaps[S : S + R] = mentions * one[2] * v_s * pull_s, other[2] * v_r * pull_r
    table = -(own - own.mean(axis=1, keepdims=True)) * gaps[:, None]
    along = np.zeros(V)
    along[:S], along[S : S + R] = mentions * x * (D - 1) / S * pull_s, y * (R - 1) / R * pull_r
    losses = np.log1p((D - 1) * np.exp(-m)) + np.log1p((R - 1) * np.exp(-k))
    within = rounding(9.0, operations=1024)
    found = loops.loss(v, A, *problem)
    return equal(dv, -along, within), equal(dA, table.T, within), equal(found, losses, within)


def plain_facts(seed, S, R, D):
    """The facts of a problem, in NumPy."""
    return np.asarray(FactualTask.balanced(S, R, D, jr.key(seed), noise=2, length=7, draws=2).facts)


@statement(
    "facts.times",
    "when a half has learned, exactly",
    where="not on the slides",
    corrected="v = α cosh θ, √c x = α sinh θ, m = ε sinh 2θ, ε = μα²/(2√c); μκ√c t = nθ + ∫(e^m − 1)dθ with "
    "(n, c, κ) = (D, R(1 − 1/D), D/(SR)) of subjects, (R, D(1 − 1/R), 1/D) of relations; and θ ≤ λt ≤ θ + "
    "1/(2(e^ℓ − 1)) for the fall to a loss ℓ, λ = μκ√c/n",
    domain=_SIZES | {"start": LogUniform(1e-12, 3), "level": LogUniform(1e-4, 0.6), "mu": Uniform(1, 5)},
    tolerance="1e-11, that of 40 nodes; 1e-9 of the slope dt/dm",
)
def times(S, R, D, start, level, mu):
    """v v' = c x x', so v² − cx² = α²: θ' = μκ√c/(e^m + n − 1), m' = μκ√(μ²α⁴ + 4cm²)/(e^m + n − 1). Bracket:
    ∫ (e^m − 1) dθ = ½ ∫ (e^m − 1)/√(ε² + m²) dm ≤ ½ ∫ e^m dm, and e^m − 1 ≤ n/(e^ℓ − 1)."""
    claims = []
    for half in (theory.subjects(S, R, D, mu), theory.relations(S, R, D, mu)):
        m = theory.margin_of_loss(half, level)
        t, slow = jax.jvp(lambda m, half=half: theory.time(half, m, start), (m,), (jnp.ones(()),))
        n, c, kappa, _ = half
        speed = mu * kappa * jnp.sqrt(mu**2 * start**4 + 4 * c * m**2) / (jnp.exp(m) + n - 1)
        rate = theory.escape_rate(half)
        low, high = (rate * end for end in theory.fall_bracket(half, level, start))
        claims += [
            equal(slow * speed, 1.0, 1e-9), at_least(rate * t, low, 1e-11 * low),
            at_most(rate * t, high, 1e-11 * high),
        ]  # fmt: skip
    return tuple(claims)


@times.second_route
def _(S, R, D, start, level, mu):
    claims = []
    for half in loops.halves(S, R, D, (mu, mu)):
        m, rate = loops.margin_of_loss(half, level), loops.rate(half)
        t = loops.time(half, m, start)
        low, high = (rate * end for end in loops.bracket(half, level, start))
        near = m * (1 + 1e-4), m * (1 - 1e-4)
        slow = (loops.time(half, near[0], start) - loops.time(half, near[1], start)) / (2e-4 * m)
        claims += [
            equal(slow * loops.speed(half, m, start), 1.0, 1e-5), at_least(rate * t, low, 1e-11 * low),
            at_most(rate * t, high, 1e-11 * high),
        ]  # fmt: skip
    return tuple(claims)


@statement(
    "facts.order",
    "which half is learned first",
    where="Slides p. 21–22",
    printed="relations are learned first: the model answers at random within A_r before it knows its facts",
    corrected="as α → 0, relations first iff S²(R − 1) > R²(D − 1), subjects first iff <; with μ mentions of "
    "the subject, iff S²(R − 1) > μ²R²(D − 1). At finite α, times as in facts.times",
    verdict="false",
    reason="the slides show (16, 4, 8); at (8, 32, 8) subjects come first, and the model that does not know "
    "yet answers with a fact of the right subject and another relation",
    domain=_SIZES | {"mu": Uniform(1, 5)},
    counterexample={"S": 8, "R": 32, "D": 8, "mu": 1},
    tolerance="truth values, where the brackets of facts.times are apart at α = 1e-100",
)
def order(S, R, D, mu):
    """θ/λ ≤ t ≤ (θ + const)/λ with θ ~ log(1/α): the larger λ is first, λ_s = μ√((1 − 1/D)/R)/S against
    λ_r = √((1 − 1/R)/D)/R. Squared, λ_r > λ_s iff S²(R − 1) > μ²R²(D − 1)."""
    level = 0.1
    halves = theory.subjects(S, R, D, mu), theory.relations(S, R, D)
    one, other = (theory.fall_time(half, level, _TINY) for half in halves)
    (a, b), (c, d) = (theory.fall_bracket(half, level, _TINY) for half in halves)
    first, apart = theory.relation_first(S / mu, R, D) > 0, (b < c) | (d < a)
    return {
        "printed": equal(other < one, True, given=apart),
        "corrected": (
            equal(other < one, first, given=apart),
            equal(theory.escape_rate(halves[1]) > theory.escape_rate(halves[0]), first, given=apart),
        ),
    }


@order.second_route
def _(S, R, D, mu):
    halves = loops.halves(S, R, D, (mu, 1))
    (a, b), (c, d) = (loops.bracket(half, 0.1, _TINY) for half in halves)
    apart = bool(b < c or d < a)
    first = bool((S / mu) ** 2 * (R - 1) > R**2 * (D - 1))
    return (
        equal(bool(d < a), first, given=apart),
        equal(bool(loops.rate(halves[1]) > loops.rate(halves[0])), first, given=apart),
    )


@statement(
    "facts.plateau",
    "how high the plateau is, and how long",
    where="Slides p. 21–22",
    printed="the loss waits at log D, the model knowing relations only",
    corrected="at log D where relations are first, at log R where subjects are, from when the first half has "
    "a loss of ℓ to when the other has lost ℓ: within ℓ of that height throughout; its length is (1/λ_late − "
    "1/λ_early) log(1/α) + O(1), with the O(1) bracketed by facts.times",
    verdict="false",
    reason="log D is the slides' case; at (8, 32, 8) it is log 32",
    domain=_SIZES | {"start": LogUniform(1e-12, 1e-2), "at": Uniform(0, 1)},
    counterexample={"S": 8.0, "R": 32.0, "D": 8.0, "start": 1e-5, "at": 0.5},
    tolerance="of the inverse of the quadrature, 1e-8",
)
def plateau(S, R, D, start, at):
    """Both losses fall; between the two times the one is in [0, ℓ], the other within ℓ of its start log n.
    Times lie in their brackets, and θ = ½ asinh(m/ε) = log(1/α) + O(1)."""
    level = 0.1
    halves = theory.subjects(S, R, D), theory.relations(S, R, D)
    found = theory.plateau(S, R, D, start, level)
    t = found.begin + at * (found.end - found.begin)
    total = sum(theory.loss(half, theory.margin(half, t, start)) for half in halves)
    there = (found.end > found.begin) & (D > 1.3) & (R > 1.3)
    return {
        "printed": at_most(jnp.abs(total - jnp.log(D)), level, 1e-8, given=there),
        "corrected": at_most(jnp.abs(total - found.height), level, 1e-8, given=there),
    }


@plateau.second_route
def _(S, R, D, start, at):
    level, halves = 0.1, loops.halves(S, R, D)
    falls = [loops.time(half, loops.margin_of_loss(half, level), start) for half in halves]
    late = halves[0] if falls[1] < falls[0] else halves[1]
    height = np.log(late[0])
    begin, end = min(falls), loops.time(late, loops.margin_of_loss(late, height - level), start)
    total = sum(loops.loss_at(half, begin + at * (end - begin), start) for half in halves)
    return at_most(np.abs(total - height), level, 1e-8, given=bool(end > begin))


@statement(
    "facts.mentions",
    "say the subject more often, and nothing is hallucinated",
    where="not on the slides",
    corrected="a token that is in each text μ times learns μ times as fast, from a start √μ times as large: "
    "T(μ, α) = T(1, √μ α)/μ. So from small starts μ > λ_r/λ_s = (S/R)√((R − 1)/(D − 1)) mentions of the "
    "subject undo relation-first learning: 3 for (16, 4, 8)",
    domain=_SIZES | {"start": LogUniform(1e-12, 3), "level": LogUniform(1e-4, 0.6), "mu": Uniform(1, 8)},
    tolerance="1e-11: that of 40 nodes",
)
def mentions(S, R, D, start, level, mu):
    """Scores hold μ v_z A_z: with w = √μ v, B = √μ A they are those of one mention, and both move μ times as
    fast. So λ is multiplied by μ, and facts.order has μ²."""
    one, more = theory.subjects(S, R, D), theory.subjects(S, R, D, mu)
    slow, fast = theory.fall_time(one, level, jnp.sqrt(mu) * start), theory.fall_time(more, level, start)
    needed = S / R * jnp.sqrt((R - 1) / (D - 1))
    relation = theory.escape_rate(theory.relations(S, R, D))
    ratio = relation / theory.escape_rate(one)
    return equal(mu * fast, slow, 1e-11 * slow), equal(ratio, needed, rounding(needed))


@mentions.second_route
def _(S, R, D, start, level, mu):
    (one, relation), (more, _) = loops.halves(S, R, D), loops.halves(S, R, D, (mu, 1))
    m = loops.margin_of_loss(one, level)
    slow, fast = loops.time(one, m, np.sqrt(mu) * start), loops.time(more, m, start)
    needed = S / R * np.sqrt((R - 1) / (D - 1))
    return (
        equal(mu * fast, slow, 1e-10 * slow),
        equal(loops.rate(relation) / loops.rate(one), needed, rounding(needed)),
    )
