"""The global against the context: the noise token, the closed system and its times, samples of one step."""

import hashlib

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from scipy import integrate, stats
from scipy.integrate import solve_ivp
from scipy.stats import chisquare

import assocmem_jax as am
from helpers import refused

theory = am.theory.context
P = np.array([0.4, 0.3, 0.2, 0.1])
Q = np.array([[0.1, 0.2, 0.3, 0.4], [1.0, 0, 0, 0], [0, 0.5, 0, 0.5], [0.25, 0.25, 0.25, 0.25]])
ALPHA = 0.3


# --- The noise token ------------------------------------------------------------------------------


def noisy(**options):
    usual = {"length": 12, "data": 1, "triggers": 2, "noise": ALPHA, "loss_on": "all"}
    return am.BigramTask(P, Q, **usual | options)


@pytest.fixture(scope="module")
def task():
    """72,000 tokens, so that one program draws what most tests look at."""
    return noisy(data=6000)


def test_streams_without_noise_are_as_they_were():
    """Bits of sequences drawn before there was a noise token."""
    seen = hashlib.sha256()
    for options in ({"triggers": 2}, {"triggers": (3, 1), "repeat": False}):
        task = am.BigramTask(P, Q, length=8, data=9, noise=0, loss_on="all", **options)
        for leaf in jax.tree.leaves(task.data):
            seen.update(np.asarray(leaf).tobytes())
        assert (np.asarray(task.data.answers) == np.asarray(task.data.in_context)).all()
    assert seen.hexdigest() == "bc7ccccbe71295106c9694769edde9a9a1b9bdee9d2c2e71daa44cf2e930cc9e"
    assert task.num_tokens == 4


def test_the_law_of_noise(task):
    """χ² at 10⁻⁴: τ follows triggers with probability α, each time anew, and nothing else; π_u follows τ;
    outputs and first tokens are never τ; what can be copied, by a loop."""
    batch = jax.tree.map(np.asarray, task.data)
    tokens, targets, tau = batch.tokens, batch.targets, task.noise_token
    assert tau == 4 == task.num_tokens - 1
    at = (tokens[:, :, None] == batch.triggers[:, None, :]).any(axis=2)
    assert (batch.outputs < tau).all()
    assert (tokens[:, 0] < tau).all()
    assert (targets[~at] < tau).all()
    noise = targets == tau
    for before in (np.ones_like(at[:, 2:]), at[:, :-2] & noise[:, :-2], at[:, :-2] & ~noise[:, :-2]):
        drawn = noise[:, 2:][at[:, 2:] & before]
        wanted = drawn.size * np.array([ALPHA, 1 - ALPHA])
        assert chisquare([drawn.sum(), (~drawn).sum()], wanted).pvalue > 1e-4
    after = np.bincount(targets[tokens == tau], minlength=4)
    assert chisquare(after, after.sum() * P).pvalue > 1e-4
    rows = zip(tokens[:99], targets, batch.triggers, batch.outputs, np.asarray(task.data.answers))
    for row, nexts, triggers, outputs, seen in rows:
        said = set()
        for token, following, can in zip(row.tolist(), nexts.tolist(), seen.tolist()):
            mine = dict(zip(triggers.tolist(), outputs.tolist())).get(token)
            assert can == (following == mine and token in said)
            said |= {token} if following == mine else set()


class Table(am.AbstractSequenceModel):
    """Scores of the next token by the present one."""

    table: jax.Array

    def residual(self, tokens):
        return self.table[tokens]

    def logits(self, state, at=None):
        return state if at is None else jnp.take_along_axis(state, at[..., None], axis=1)

    def attention(self, tokens):
        raise NotImplementedError

    def trainable(self):
        return (self.table,)


def test_observables_of_noise_by_a_loop(task):
    table = np.random.default_rng(0).normal(size=(5, 5))
    watch = [am.induction.answer_accuracy, am.induction.answer_loss, am.induction.noise_loss]
    found = jax.jit(lambda m: [look(task, m) for look in watch])(Table(jnp.asarray(table)))
    data = jax.tree.map(np.asarray, task.data)
    right, answers, noise = [], [], []
    can_copy = np.asarray(task.data.answers)
    for row, nexts, times, can in zip(data.tokens, data.targets, data.occurrence, can_copy):
        for token, following, time, copied in zip(row, nexts, times, can):
            scores = table[token]
            surprise = np.log(np.exp(scores).sum()) - scores[following]
            if copied:
                right.append(following == np.argmax(scores))
                answers.append(surprise)
            if time >= 2 and following == 4:
                noise.append(surprise)
    np.testing.assert_allclose(found, [np.mean(right), np.mean(answers), np.mean(noise)], rtol=1e-12)


def test_noise_beside_an_alphabet():
    task = noisy(alphabet="τabc")
    assert task.decode(np.array([task.noise_token])) == "υ"
    np.testing.assert_array_equal(task.bigram[-1], task.unigram)
    assert len(task.most_frequent(4)) == 4
    refused(lambda: task.most_frequent(5), "count + skip must be at most N = 4")


# --- The closed system ----------------------------------------------------------------------------


def full(N, alpha):
    """d(f, V)/dt of the population loss, in NumPy: W of shape (N + 1, N + 1), f its first column."""
    q = np.hstack([(1 - alpha) * np.eye(N), np.full((N, 1), alpha)]).T

    def speed(W):
        scores = W[:, :1] + W[:, 1:]
        p = np.exp(scores - scores.max(axis=0))
        pull = (q - p / p.sum(axis=0)) / N
        return np.hstack([pull.sum(axis=1, keepdims=True), pull])

    return speed


def three(W):
    return np.array([W[-1, 0] - W[0, 0], W[-1, 2] - W[0, 2], W[1, 2] - W[0, 2]])


def numbers(task, model):
    return jnp.append(model.feedforward, model.values)


@pytest.mark.parametrize("feedforward", [True, False])
def test_the_full_flow_and_descent_are_those_of_three_numbers(feedforward):
    """Weights by SciPy to 1e-6, descent with momentum by a loop to 1e-12; from the right side of the crossing
    on."""
    N, alpha, t1 = 6, 0.35, 120.0
    task = am.induction.NoisyCopyTask(N, alpha)
    system, speed = am.induction.NoisyCopySystem.zeros(task), full(N, alpha)
    free = np.ones((N + 1, N + 1))
    free[:, 0] = feedforward
    at = np.linspace(0, t1, 13)
    exact = solve_ivp(
        lambda t, y: (free * speed(y.reshape(N + 1, N + 1))).ravel(), (0, t1), np.zeros((N + 1) ** 2),
        "DOP853", at, rtol=1e-11, atol=1e-13,
    ).y.T.reshape(-1, N + 1, N + 1)  # fmt: skip
    trained = None if feedforward else lambda m: m.values
    watch = {"numbers": numbers, "margin": am.margins, "answer": am.induction.answer_probability}
    run = am.simulate(task, system, am.GradientFlow(t1), observe=watch, at=at, trainable=trained)
    np.testing.assert_allclose(run["numbers"], [three(W) for W in exact], rtol=0, atol=1e-6)
    scores = [W[:, 0] + W[:, 1] for W in exact]
    np.testing.assert_allclose(run["answer"], [np.exp(s)[0] / np.exp(s).sum() for s in scores], atol=1e-6)
    led = np.asarray(run["margin"])[:, 0] > 0
    assert led[1:].all() == (not feedforward)
    assert led[-1]
    if not feedforward:
        return
    steps = am.simulate(
        task, system, am.Descent(optax.sgd, 30, learning_rate=1.5, momentum=0.5), observe={}
    )  # fmt: skip
    W, kept = np.zeros((N + 1, N + 1)), np.zeros((N + 1, N + 1))
    for _ in range(30):
        kept = 0.5 * kept + speed(W)
        W = W + 1.5 * kept
    np.testing.assert_allclose(numbers(task, steps.model), three(W), rtol=0, atol=1e-12)


def test_the_task_of_weights_is_the_same():
    """``associations`` through the door: loss of descent to rounding."""
    task = am.induction.NoisyCopyTask(5, 0.3)
    weights, descent = task.associations(), am.Descent(optax.sgd, 12, learning_rate=2.0)
    memory = am.simulate(weights, am.LinearMemory.zeros(weights), descent, observe=[am.loss])
    system = am.simulate(task, am.induction.NoisyCopySystem.zeros(task), descent, observe=[am.loss])
    np.testing.assert_allclose(memory["loss"], system["loss"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        three(np.asarray(memory.model.weight)), numbers(task, system.model), atol=1e-13
    )


# --- Times ----------------------------------------------------------------------------------------


def crossing(N, alpha, passed):
    """Of the two numbers (F + C, B), by SciPy."""

    def speed(t, y):
        p = shares(N, y)
        return [(1 + 2 / N) * (alpha - p[0]) + p[2] / N, (1 - alpha - p[1] + p[2]) / N]

    def event(t, y):
        return passed(shares(N, y)) - (t < 1e-6)

    event.terminal, event.direction = True, 1
    return solve_ivp(speed, (0, 1e6), [0, 0], "LSODA", rtol=1e-10, atol=1e-12, events=event).t_events[0][0]


def shares(N, y):
    e = np.exp(np.array([*y, 0.0]) - max(*y, 0))
    return e / (e[0] + e[1] + (N - 1) * e[2])


POINTS = [(16, 0.2), (24.5, 0.3), (64, 0.1), (64, 0.45), (256, 0.3), (512, 0.45)]


def test_when_the_answer_overtakes():
    """SciPy to 1e-5; the law from both sides, right to O(1/N) with r and not without; never, and at once."""
    N, alpha = np.array(POINTS).T
    edges = np.array([[16, 2 / 19 - 1e-9], [64, 0.01], [64, 0.5], [8, 0.9]]).T
    both = np.hstack([[N, alpha], edges])
    time = jax.jit(jax.vmap(lambda N, a: am.induction.time_to_overtake(am.induction.NoisyCopyTask(N, a))))
    found = np.asarray(time(*both))
    exact = np.array([crossing(n, a, lambda p: p[1] - p[0]) for n, a in POINTS])
    np.testing.assert_allclose(found[: len(N)], exact, rtol=1e-5)
    assert found[len(N) :].tolist() == [0, 0, np.inf, np.inf]
    law = np.asarray(theory.overtaking_time(*both))
    assert law[len(N) :].tolist() == [0, 0, np.inf, np.inf]
    large = N >= 64
    assert (np.abs(law[: len(N)] - exact)[large] < 50 / N[large]).all()
    assert (np.abs(law[: len(N)] - exact)[large] > 5 / N[large]).all()
    r = (1 - alpha) / (1 - 2 * alpha)
    short = law[: len(N)] + (r + np.log(r)) / (1 - alpha)
    assert (short > exact).all()
    scaled = ((short / exact - 1) * N * np.log(N))[large]
    assert (scaled > 1.5).all()
    assert (scaled < 4).all()


@pytest.mark.thorough
def test_the_flow_stops_where_it_overtakes():
    task = am.induction.NoisyCopyTask(16, 0.2)
    run = am.simulate(
        task, am.induction.NoisyCopySystem.zeros(task), am.GradientFlow(1e3), observe={},
        until=am.perfect_accuracy()
    )  # fmt: skip
    np.testing.assert_allclose(run.first_hit, crossing(16, 0.2, lambda p: p[1] - p[0]), rtol=1e-6)


def test_how_much_faster_the_noise_is_learned():
    """Half of either limit: SciPy within 1 %; their ratio over Nα/(1 − α) goes slowly to 1 from above."""
    for N, alpha in ((64, 0.3), (512, 0.3), (512, 0.45)):
        halves = (0, alpha / 2), (1, (1 - alpha) / 2)
        exact = [crossing(N, alpha, lambda p, k=k, to=to: p[k] - to) for k, to in halves]
        np.testing.assert_allclose(theory.half_times(N, alpha), exact, rtol=0.01)
        assert 1 < exact[1] / exact[0] / (N * alpha / (1 - alpha)) < 1.8
    slopes = theory.velocity(64, 0.3, 0.0, 0.0, 0.0)
    np.testing.assert_allclose(slopes.feedforward / slopes.answer, theory.head_start(64, 0.3), rtol=1e-12)


# --- Samples --------------------------------------------------------------------------------------


def test_samples_of_one_step():
    """20,000 sets of samples for N = 64, α = ½: within five standard errors; exact where n = 2."""
    N, rng, trials = 64, np.random.default_rng(1), 20_000
    sizes = np.array([2, 5, 12, 90])
    laws = np.array(
        [theory.says_noise(sizes, N, 0.5), theory.recalls(sizes, N, 0.5), theory.outvotes(sizes, N, 0.5)]
    )
    np.testing.assert_allclose(laws[0, 0], 0.25, rtol=1e-12)
    for column, n in zip(laws.T, sizes):
        contexts, noise = rng.integers(0, N, (trials, n)), rng.random((trials, n)) < 0.5
        counts = np.zeros((trials, N))
        np.add.at(counts, (np.arange(trials)[:, None].repeat(n, 1), contexts), ~noise)
        own, other = ((contexts == 0) & ~noise).sum(axis=1), ((contexts == 0) & noise).sum(axis=1)
        found = (noise.sum(axis=1) > counts.max(axis=1)).mean(), (own > 0).mean(), (own > other).mean()
        assert (np.abs(found - column) < 5 * np.sqrt(column * (1 - column) / trials) + 1e-9).all(), n


def test_samples_in_float32(float32):
    sizes = np.array([5, 200])
    np.testing.assert_allclose(theory.says_noise(sizes, 64, 0.5), [0.798004, 1.0], atol=1e-3)
    np.testing.assert_allclose(theory.outvotes(sizes, 64, 0.5), [0.037278, 0.381575], atol=1e-4)


# --- Refusals -------------------------------------------------------------------------------------


def test_refusals():
    task = am.induction.NoisyCopyTask(5, 0.3)
    plain = am.BigramTask(P, Q, length=2, triggers=1, data=1, loss_on="all")
    system = am.induction.NoisyCopySystem.zeros(task)
    cases = [
        (lambda: noisy(noise=1.2), "noise must be between 0 and 1"),
        (lambda: am.BigramTask(P, Q, noise=-0.1), "noise must be between 0 and 1"),
        (lambda: am.BigramTask(P, Q, noise=np.nan), "noise must be between 0 and 1"),
        (lambda: plain.noise_token, "task must be one with a noise token"),
        (lambda: am.induction.noise_loss(plain, Table(jnp.zeros((4, 4)))), "task must be one with a noise"),
        (lambda: noisy(triggers=(4,)), "triggers must be distinct tokens from 0 to 3"),
        (lambda: am.induction.NoisyCopyTask(1, 0.3), "tokens must be at least 2"),
        (lambda: am.induction.NoisyCopyTask(5, 1.3), "noise must be between 0 and 1"),
        (lambda: am.induction.NoisyCopyTask(5.5, 0.3).associations(), "tokens must be a whole number"),
        (lambda: am.induction.NoisyCopySystem.zeros(plain), "task must be of the class NoisyCopyTask"),
        (lambda: am.induction.time_to_overtake(plain), "task must be of the class NoisyCopyTask"),
        (
            lambda: am.simulate(task, system, am.Descent(optax.sgd, 2, 8, learning_rate=0.1), key=jr.key(0)),
            "batch_size must be None",
        ),
        (lambda: am.simulate(task, system, am.StochasticFlow(0.1, 1.0, 2), key=jr.key(0)), "dynamics must"),
    ]
    for call, message in cases:
        refused(call, message)


# --- The study of a model of one's own -------------------------------------------------------------


@pytest.mark.thorough
def test_truncation_of_a_model_of_ones_own(tmp_path, monkeypatch):
    """``own`` and ``checkpoint``: what the study says is what is seen of the model cut by hand."""
    from assocmem_jax.studies.config import load

    (tmp_path / "mine.py").write_text(OWN, encoding="utf-8")
    task = noisy(data=40)
    table = np.random.default_rng(2).normal(size=(5, 5)).astype(task.dtype)
    am.save(tmp_path / "mine.ckpt", Table(jnp.asarray(table)))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(CONFIG, encoding="utf-8")
    study = load("mine.toml")
    data = study.run(None)
    for place, rank in enumerate((0, 2, 5)):
        less = am.truncated(Table(jnp.asarray(table)), "table", rank)
        for name in ("answer_accuracy", "noise_loss"):
            wanted = getattr(am.induction, name)(task, less)
            np.testing.assert_allclose(data[f"{name}0"].values[0, place], wanted, rtol=1e-12)
    assert np.isnan(data["noise_loss0"].values[0, 3])
    with am.plot.paper():
        assert study.figure(data).axes
    assert len(study.report(data)) == 5
    with pytest.raises(Exception, match="no such file"):
        load("mine.toml", ['checkpoint="none"'])


CONFIG = """
study = "context.truncation"
precision = "float64"
own = "mine.py:made"
checkpoint = "mine.ckpt"
matrices = {table = "table"}
ranks = [0, 2, 5, 9]
"""
OWN = """
import jax, jax.numpy as jnp, numpy as np
import assocmem_jax as am

P = np.array([0.4, 0.3, 0.2, 0.1])
Q = np.array([[0.1, 0.2, 0.3, 0.4], [1.0, 0, 0, 0], [0, 0.5, 0, 0.5], [0.25, 0.25, 0.25, 0.25]])


class Table(am.AbstractSequenceModel):
    table: jax.Array

    def residual(self, tokens):
        return self.table[tokens]

    def logits(self, state, at=None):
        return state

    def attention(self, tokens):
        raise NotImplementedError

    def trainable(self):
        return (self.table,)


def made():
    task = am.BigramTask(P, Q, length=12, data=40, triggers=2, noise=0.3, loss_on="all")
    return task, Table(jnp.zeros((5, 5)))
"""


def test_the_law_of_many_samples(rounding):
    """Sums over SciPy's laws."""
    n, N, alpha = 1000, 20, 0.25
    c = np.arange(n + 1)
    wins = stats.binom.sf(c // 2, c, 1 - alpha)
    wanted = np.dot(stats.binom.pmf(c, n, 1 / N), wins)
    assert float(theory.outvotes(np.array([n]), N, alpha)[0]) == pytest.approx(
        wanted, rel=1e-12 + 60 * rounding
    )


@pytest.mark.thorough
def test_the_law_of_more_samples(rounding):
    found = float(theory.outvotes(np.array([10_000]), 20.0, 0.3)[0])
    assert found == pytest.approx(1, rel=1e-10 + 60 * rounding)


def test_half_times_at_the_ends(rounding):
    """1/(1 + 2/N) ∫ dx/(α − p), x = log u, p = u/(u + N), from 0 to p = α/2; 0 where p starts above."""
    for alpha in (0.25, 0.96875, 1.0):
        x = np.log(alpha * 65 / (2 - alpha))
        slow = lambda v, a=alpha: 1 / (a - np.exp(v) / (np.exp(v) + 65))  # noqa: E731
        wanted = integrate.quad(slow, 0, x, epsabs=1e-12)[0] / (1 + 2 / 65)
        found = float(theory.half_times(65.0, alpha)[0])
        assert found == pytest.approx(wanted, rel=1e-10 + 16 * rounding), alpha
    np.testing.assert_array_equal(theory.half_times(65.0, np.array([0.01, 1 / 66, 2 / 66]))[0][:2], 0)
