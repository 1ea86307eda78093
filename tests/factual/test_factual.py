"""Factual recall: the law of texts, linear attention, its reduced system, exact times, refusals."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from scipy.stats import chisquare

import assocmem_jax as am
from assocmem_jax.systems.factual import theory
from helpers import refused

S, R, D = 4, 2, 2
LAWS = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.7, 0.3])
SEEN = ("relation_loss", "subject_loss", "accuracy", "relation_accuracy", "probability_right")
SEEN += ("subject_recall", "relation_recall", "balancedness")


def random_model(task, seed=0):
    rng = np.random.default_rng(seed)
    v, A = rng.normal(size=task.num_tokens), rng.normal(size=(task.num_answers, task.num_tokens))
    return am.LinearAttentionRecall(v, A)


# --- Texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mentions", [(1, 1), (3, 1)])
def test_the_law_of_texts(mentions):
    """Tokens, places, noise and laws of 40,000 texts by χ² (a p-value below 1e-5 fails)."""
    task = am.FactualTask.random(
        S, R, D, jr.key(0), noise=5, length=9, subjects_law=LAWS[0], relations_law=LAWS[1],
        mentions=mentions,
    )  # fmt: skip
    tokens, answers = (np.asarray(part) for part in jax.jit(task.sampler(40_000))(jr.key(1)))
    assert (tokens[:, -1] == S + R + 5).all()
    text = tokens[:, :-1]
    subject, relation = text < S, (text >= S) & (text < S + R)
    assert (subject.sum(axis=1) == mentions[0]).all()
    assert (relation.sum(axis=1) == mentions[1]).all()
    s, r = (np.where(at, text, 0).max(axis=1) for at in (subject, relation))
    assert (answers == np.asarray(task.facts)[s, r - S]).all()
    for found, law in zip((s, r - S), LAWS):
        assert chisquare(np.bincount(found), 40_000 * law).pvalue > 1e-5
    for at in (subject, relation):
        assert chisquare(at.sum(axis=0)).pvalue > 1e-5
    pairs = np.argmax(subject, axis=1) * 8 + np.argmax(relation, axis=1)
    assert len(set(pairs.tolist())) == (56 if mentions == (1, 1) else 40)
    noise = text[~(subject | relation)] - S - R
    assert noise.min() >= 0
    assert chisquare(np.bincount(noise, minlength=5)).pvalue > 1e-5
    # Tokens that share a random word are independent.
    both = np.stack([np.where(subject | relation, -1, text - S - R)[:, k] for k in (0, 4)])
    kept = (both >= 0).all(axis=0)
    assert chisquare(np.bincount(both[0, kept] * 5 + both[1, kept], minlength=25)).pvalue > 1e-5


def test_facts():
    """Balanced: S/D subjects an answer; injective: no answer twice; all in their block; other keys differ."""
    bare = {"noise": 0, "length": 3, "draws": 1}
    balanced, other = (np.asarray(am.FactualTask.balanced(12, 3, 4, jr.key(k), **bare).facts) for k in (0, 1))
    assert (np.bincount(balanced.ravel(), minlength=12) == 3).all()
    assert (balanced // 4 == np.arange(3)).all()
    assert (balanced != other).any()
    injective = np.asarray(am.FactualTask.injective(5, 3, 7, jr.key(0), **bare).facts)
    assert all(len(set(column)) == 5 for column in injective.T)
    assert (injective // 7 == np.arange(3)).all()
    random = np.asarray(am.FactualTask.random(4000, 2, 4, jr.key(0), **bare).facts)
    assert chisquare(np.bincount(random.ravel(), minlength=8)).pvalue > 1e-5


def test_the_population_loss_is_a_sum_over_all_texts():
    """draws="all" against every text written out, place by place; all observables, and a symmetric sample."""
    noise, length = 3, 5
    task = am.FactualTask.random(
        S, R, D, jr.key(3), noise=noise, length=length, subjects_law=LAWS[0], relations_law=LAWS[1],
        draws="all",
    )  # fmt: skip
    model = random_model(task)
    v, A, facts = (np.asarray(a) for a in (model.attention, model.table, task.facts))
    wanted = dict.fromkeys(("loss", *SEEN[:5]), 0.0)
    for s, r, fill in itertools.product(range(S), range(R), itertools.product(range(noise), repeat=2)):
        p = LAWS[0][s] * LAWS[1][r] / noise**2
        text = [s, S + r, *(S + R + token for token in fill), S + R + noise]
        scores = np.sum([v[z] * A[:, z] for z in text], axis=0)
        q = np.exp(scores) / np.exp(scores).sum()
        block, answer = q[r * D : (r + 1) * D].sum(), q[facts[s, r]]
        top = int(np.argmax(scores))
        wanted["loss"] -= p * np.log(answer)
        wanted["relation_loss"] -= p * np.log(block)
        wanted["subject_loss"] -= p * np.log(answer / block)
        wanted["accuracy"] += p * (top == facts[s, r])
        wanted["relation_accuracy"] += p * (top // D == r)
        wanted["probability_right"] += p * answer
    watch = {"loss": am.loss} | {name: getattr(am.factual, name) for name in SEEN}
    seen = jax.jit(lambda m: {name: look(task, m) for name, look in watch.items()})(model)
    for name, value in wanted.items():
        assert abs(float(seen[name]) - value) <= 1e-13 * (1 + abs(value)), name
    hits = [A[r * D : (r + 1) * D, s].argmax() + r * D == facts[s, r] for s in range(S) for r in range(R)]
    assert float(seen["subject_recall"]) == np.mean(hits)
    points = [
        A[:, S + r].reshape(R, D)[r].min() > np.delete(A[:, S + r].reshape(R, D), r, 0).max()
        for r in range(R)
    ]
    assert float(seen["relation_recall"]) == np.mean(points)
    assert np.allclose(seen["balancedness"], v**2 - (A**2).sum(axis=0), rtol=1e-14, atol=1e-13)
    # Mean over as many draws as there are texts: the same law.
    sampled = am.FactualTask(
        task.facts, D, noise=noise, length=length, subjects_law=LAWS[0], relations_law=LAWS[1], draws=20_000
    )  # fmt: skip
    each = np.asarray(sampled.weights)
    assert abs(each.sum() - 1) < 1e-12
    assert abs(float(sampled.loss(model)) - wanted["loss"]) < 0.03


def test_gradient_of_a_batch():
    """(softmax − one-hot) carried to v and A by hand."""
    task = am.FactualTask.random(S, R, D, jr.key(0), noise=3, length=6)
    model, batch = random_model(task), task.sample(jr.key(1), 7)
    slope = jax.jit(jax.grad(lambda m: task.sampled_loss(m, batch)))(model)
    v, A = np.asarray(model.attention), np.asarray(model.table)
    dv, dA = np.zeros_like(v), np.zeros_like(A)
    for text, answer in zip(np.asarray(batch.tokens), np.asarray(batch.answers)):
        scores = np.sum([v[z] * A[:, z] for z in text], axis=0)
        pull = np.exp(scores) / np.exp(scores).sum() - np.eye(len(A))[answer]
        for z in text:
            dv[z] += A[:, z] @ pull / 7
            dA[:, z] += v[z] * pull / 7
    np.testing.assert_allclose(slope.attention, dv, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(slope.table, dA, rtol=1e-12, atol=1e-14)


# --- The reduced system ---------------------------------------------------------------------------


def exact(sizes, times, start, mentions=(1, 1)):
    """(subject loss, relation loss) by SciPy on dm/dt = μκ√(μ²α⁴ + 4cm²)/(e^m + n − 1), for each half."""
    from scipy.integrate import solve_ivp

    S, R, D = sizes
    losses = []
    for n, c, kappa, mu in (
        (D, R * (1 - 1 / D), D / (S * R), mentions[0]),
        (R, D * (1 - 1 / R), 1 / D, mentions[1]),
    ):
        speed = lambda t, m, n=n, c=c, k=kappa, mu=mu: (  # noqa: E731
            mu * k * np.sqrt(mu**2 * start**4 + 4 * c * m**2) / (np.exp(m) + n - 1)
        )
        found = solve_ivp(speed, (0, times[-1]), [0.0], "DOP853", times, rtol=1e-12, atol=1e-16)
        losses.append(np.log1p((n - 1) * np.exp(-found.y[0])))
    return losses


@pytest.mark.parametrize(
    ("sizes", "noise", "length", "start", "t1", "mentions"),
    [
        ((8, 3, 4), 3, 6, 0.03, 250.0, (1, 1)),
        pytest.param((4, 8, 2), 2, 5, 0.1, 300.0, (1, 1), marks=pytest.mark.thorough),
        pytest.param((6, 2, 3), 20, 9, 0.2, 60.0, (3, 2), marks=pytest.mark.thorough),
    ],
)
def test_the_full_flow_is_the_reduced_one(sizes, noise, length, start, t1, mentions):
    """To 1e-7 at three sizes with noise and EOS: weights, reduced system, SciPy, quadrature; conserved."""
    task = am.FactualTask.balanced(
        *sizes, jr.key(1), noise=noise, length=length, draws=2, mentions=mentions
    )  # fmt: skip
    model = am.LinearAttentionRecall.constant(task, start)
    watch = {"relation": am.factual.relation_loss, "subject": am.factual.subject_loss}
    watch |= {"balance": am.factual.balancedness}
    flow = am.GradientFlow(t1)
    run = am.simulate(task, model, flow, observe=watch, at=np.linspace(0, t1, 21))
    times = np.asarray(run.times)
    wanted = exact(sizes, times, start, mentions)
    halves = theory.subjects(*sizes, mentions[0]), theory.relations(*sizes, mentions[1])
    for name, half, values in zip(("subject", "relation"), halves, wanted):
        np.testing.assert_allclose(run.observed[name], values, rtol=0, atol=1e-7)
        closed = theory.loss(half, theory.margin(half, times, start))
        np.testing.assert_allclose(closed, values, rtol=0, atol=1e-8)
    assert min(values[-1] for values in wanted) < 0.1
    drift = np.abs(run.observed["balance"] - run.observed["balance"][0])
    assert drift.max() <= 1e-8
    rest = np.asarray(run.model.table)[:, sizes[0] + sizes[1] :]
    np.testing.assert_allclose(rest, start, rtol=1e-9)
    end = am.factual.FactualSystem.from_weights(task, run.model)
    if mentions == (1, 1) and sizes[0] == 8:
        system = am.factual.FactualSystem.constant(task, start)
        reduced = am.simulate(task, system, flow, observe=watch, at=np.linspace(0, t1, 21))
        for name in ("subject", "relation"):
            np.testing.assert_allclose(reduced.observed[name], run.observed[name], rtol=0, atol=1e-7)
        np.testing.assert_allclose(reduced.observed["balance"], start**2, rtol=0, atol=1e-9)
        np.testing.assert_allclose(jax.tree.leaves(end), jax.tree.leaves(reduced.model), rtol=1e-7)


def test_descent_closes_too_and_sgd_is_near_it():
    """Momentum: the weights and the four numbers to rounding. SGD of batch 512: within .05 throughout."""
    task = am.FactualTask.balanced(4, 3, 2, jr.key(1), noise=3, length=6, draws=1)
    model, system = (
        am.LinearAttentionRecall.constant(task, 0.05),
        am.factual.FactualSystem.constant(task, 0.05),
    )
    descent = am.Descent(optax.sgd, 120, learning_rate=0.5, momentum=0.5)
    watch = {"loss": am.loss}
    full, reduced = (am.simulate(task, m, descent, observe=watch).observed["loss"] for m in (model, system))
    np.testing.assert_allclose(full, reduced, rtol=0, atol=1e-12)
    assert full[-1] < 0.1
    sampled = am.simulate(
        task, model, am.Descent(optax.sgd, 120, 512, learning_rate=0.5, momentum=0.5), observe=watch,
        key=jr.key(0),
    ).observed["loss"]  # fmt: skip
    assert np.abs(sampled - reduced).max() < 0.05
    assert np.abs(sampled - reduced).max() > 1e-6


# --- Times ----------------------------------------------------------------------------------------


def test_times_are_those_of_mpmath():
    """The quadrature to 1e-12 over sizes, starts and levels; its inverse; the total; the plateau."""
    import mpmath as mp

    with mp.workdps(25):
        for sizes, start, mu in (
            ((16, 4, 8), 1e-5, 1),
            ((16, 4, 8), 1e-20, 1),
            ((8, 32, 8), 1e-2, 2),
            ((2, 2, 2), 3.0, 1),
        ):
            for half in (theory.subjects(*sizes, mu), theory.relations(*sizes, mu)):
                n, c, kappa, _ = (mp.mpf(float(x)) for x in half)
                for level in (0.1, 1e-4):
                    m = mp.log((n - 1) / mp.expm1(level))
                    epsilon = mu * mp.mpf(start) ** 2 / (2 * mp.sqrt(c))
                    w = mp.asinh(m / epsilon)
                    ends = [0, *(w - k for k in (20, 8, 4, 2, 1, 0.5) if w > k), w]
                    integral = mp.quad(lambda u, e=epsilon: mp.expm1(e * mp.sinh(u)), ends)
                    t = float((n * w + integral) / (2 * mu * kappa * mp.sqrt(c)))
                    found = theory.fall_time(half, level, start)
                    assert abs(float(found) / t - 1) < 2e-12
                    assert abs(float(theory.margin(half, found, start)) / float(m) - 1) < 1e-9


def test_the_values_of_record():
    """docs/results.md: times of the flow; which half is first; plateaus."""
    one, other = theory.subjects(16, 4, 8), theory.relations(16, 4, 8)
    for start, relation, total in ((1e-5, 190.8450, 497.7752), (1e-2, 100.6024, 262.6501)):
        assert abs(float(theory.fall_time(other, 0.1, start)) - relation) < 1e-4
        found = float(theory.total_fall_time(one, other, 0.1, start))
        assert abs(found - total) < 1e-4
        losses = [float(theory.loss(half, theory.margin(half, found, start))) for half in (one, other)]
        assert abs(sum(losses) - 0.1) < 1e-9
    assert theory.relation_first(16, 4, 8) > 0 > theory.relation_first(8, 32, 8)
    height, begin, end = theory.plateau(8, 32, 8, 1e-5)
    np.testing.assert_allclose([height, begin, end], [np.log(32), 727.6211, 1065.3390], rtol=1e-6)
    assert float(theory.plateau(16, 4, 8, 1e-5, mentions=(3.0, 1.0)).end) < 195
    # Differentiable: how the end of the plateau moves with log α, −1/λ.
    slope = jax.grad(lambda x: theory.plateau(16, 4, 8, jnp.exp(x)).end)(jnp.log(1e-8))
    np.testing.assert_allclose(slope, -1 / theory.escape_rate(one), rtol=1e-6)


def test_times_in_float32(float32):
    for half, t in ((theory.subjects(16, 4, 8), 496.72170), (theory.relations(16, 4, 8), 190.84498)):
        assert abs(float(theory.fall_time(half, 0.1, 1e-5)) / t - 1) < 1e-5
        # Of a start whose square float32 does not hold: late by log(1e15)/λ.
        late = t + float(np.log(1e15) / theory.escape_rate(half))
        found = float(theory.fall_time(half, 0.1, 1e-20))
        assert abs(found / late - 1) < 1e-5
        assert abs(float(theory.loss(half, theory.margin(half, found, 1e-20))) / 0.1 - 1) < 1e-3
        low, high = theory.fall_bracket(half, 0.1, 1e-20)
        assert low < found < high


# --- Refusals -------------------------------------------------------------------------------------


def test_refusals():
    key, facts = jr.key(0), np.array([[0, 2], [1, 3]])
    task = am.FactualTask.random(4, 2, 2, key, noise=2, length=5)
    balanced = am.FactualTask.balanced(4, 2, 2, key, noise=2, length=5)
    system, halves = am.factual.FactualSystem.constant, am.factual.FactualSystem.from_weights
    batches = am.Descent(optax.sgd, 2, 8, learning_rate=0.1)
    cases = [
        (lambda: am.FactualTask.balanced(15, 4, 8, key), "answers must be a divisor of subjects = 15"),
        (lambda: am.FactualTask.injective(9, 4, 8, key), "answers must be at least subjects = 9"),
        (lambda: am.FactualTask.balanced(16, 4, 8, 0), "key must be a typed key"),
        (lambda: am.FactualTask(facts, 2, length=2), "length must be at least 3"),
        (lambda: am.FactualTask(facts, 2, length=4, mentions=(3, 1)), "length must be at least 5"),
        (lambda: am.FactualTask(facts, 2, mentions=3), "mentions must be two whole numbers"),
        (lambda: am.FactualTask(facts, 2, noise=0), "noise must be at least 1 for texts of length 32"),
        (lambda: am.FactualTask(facts, 3), "facts[0, 1] must be in the block of its relation, 3 to 5"),
        (lambda: am.FactualTask(facts[0], 2), "facts must be of shape (S, R)"),
        (lambda: am.FactualTask(facts * 1.0, 2), "facts must be whole numbers"),
        (lambda: am.FactualTask(facts, 2, draws="some"), "draws must be a whole number"),
        (lambda: am.FactualTask(facts, 2, draws="all"), "draws must be a number, or such that"),
        (lambda: am.FactualTask(facts, 2, subjects_law=LAWS[0]), "subjects_law must be of shape (2,)"),
        (lambda: am.FactualTask(facts, 2, relations_law=np.ones(2)), "relations_law must be summing"),
        (lambda: am.LinearAttentionRecall(np.ones(3), np.ones((4, 2))), "attention must be of shape (2,)"),
        (lambda: am.LinearAttentionRecall.constant(task, 0), "start must be positive"),
        (lambda: system(task), "task must be of balanced facts"),
        (lambda: halves(balanced, random_model(balanced)), "model must be symmetric"),
        (lambda: am.simulate(balanced, system(balanced), batches, key=key), "batch_size must be None"),
        (lambda: am.factual.subject_recall(balanced, system(balanced)), "model must be one with token_"),
    ]  # fmt: skip
    for call, message in cases:
        refused(call, message)
