"""Learning through noise: sequences, three steps, exact shares, the laws of both; refusals."""

import itertools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
import xarray as xr
from scipy import integrate
from scipy.stats import chisquare, norm

import assocmem_jax as am
from assocmem_jax.studies.config import ConfigError, load
from assocmem_jax.studies.kit import table
from assocmem_jax.systems.noise import theory
from assocmem_jax.systems.noise.statements.loops import spread
from assocmem_jax.systems.noise.studies import noise_law, noise_map
from helpers import refused

N, T, D = 5, 4, 7


def task_of(seed=0, n=N, d=D, length=T, draws=8):
    return am.TriggerTask.gaussian(n, d, jr.key(seed), length=length, draws=draws)


def plain(task):
    return [np.asarray(a, float) for a in (task.inputs, task.outputs, task.trigger)]


def seen(task, batch):
    """x_t of every sequence, one token after another, and the answers."""
    E, _, tau = plain(task)
    rows = [
        [E[z] + (t == place) * tau for t, z in enumerate(tokens)]
        for tokens, place in zip(np.asarray(batch.tokens), np.asarray(batch.places))
    ]
    return np.array(rows), np.asarray(batch.answers)


def loops(task, batches, centred):
    """The three steps as they are written, in NumPy, sequence by sequence."""
    _, U, _ = plain(task)
    data = [seen(task, batch) for batch in batches]
    middle = lambda y: U[y].mean(axis=0) if centred else U.mean(axis=0)  # noqa: E731
    X, y = data[0]
    first = np.mean([np.outer(U[a] - middle(y), x.mean(axis=0)) for x, a in zip(X, y)], axis=0)
    X, y = data[1]
    w = np.zeros(X.shape[-1])
    for x, a in zip(X, y):
        for row in x:
            w += (U[a] - middle(y)) @ first @ row * (row - x.mean(axis=0)) / X[..., 0].size
    X, y = data[2]
    last = np.mean([np.outer(U[a] - middle(y), x[np.argmax(x @ w)]) for x, a in zip(X, y)], axis=0)
    return first, w, last


def test_sequences():
    """Tokens, places and answers of 20,000 by χ² (a p-value below 1e-5 fails)."""
    task = am.TriggerTask(np.eye(N), np.eye(3), np.ones(N), [2, 0, 1, 1, 0], length=T, draws=1)
    tokens, places, answers = (np.asarray(a) for a in task.sample(jr.key(1), 20_000))
    assert chisquare(np.bincount(places, minlength=T)).pvalue > 1e-5
    for t in range(T):
        assert chisquare(np.bincount(tokens[:, t], minlength=N)).pvalue > 1e-5
    assert chisquare(np.bincount(tokens[:, 0] * N + tokens[:, 1], minlength=N * N)).pvalue > 1e-5
    assert (answers == np.array([2, 0, 1, 1, 0])[tokens[np.arange(20_000), places]]).all()


@pytest.mark.parametrize(
    ("fresh", "centred", "length"), [(False, False, 2), (True, False, T), (False, True, T)]
)
def test_three_steps_are_the_loops(fresh, centred, length):
    """With an f* that is no bijection; the same batch and three; ū over all answers and over the batch's; one
    token besides that with the trigger and three."""
    rng = np.random.default_rng(3)
    E, U, tau = (rng.normal(size=shape) for shape in ((N, D), (3, 6), (D,)))
    task = am.TriggerTask(E, U, tau, [2, 0, 1, 1, 0], length=length, draws=1)
    made = am.noise.three_steps(task, jr.key(2), 40, fresh=fresh, centred=centred)
    assert (made.sequences, made.fresh, made.centred) == (40, fresh, centred)
    keys = jr.split(jr.key(2), 3) if fresh else [jr.key(2)] * 3
    wanted = loops(task, [task.sample(key, 40) for key in keys], centred)
    for found, value in zip((made.first, made.key, made.value), wanted):
        np.testing.assert_allclose(found, value, rtol=1e-11, atol=1e-14)


def test_the_steps_are_gradients():
    """W₁ is −∂L/∂W at 0, and w is −∂L/∂w at a small W, to first order in it: 1e-6 of a step of 1e-6."""
    task = task_of()
    batch, model = task.sample(jr.key(3), 30), am.TriggerAttention.zeros(task)
    slope = jax.jit(jax.grad(lambda m: task.sampled_loss(m, batch)))
    made = am.noise.three_steps_on(task, [batch])
    np.testing.assert_allclose(-slope(model).value, made.first, rtol=1e-10, atol=1e-14)
    small = am.TriggerAttention(model.key, 1e-6 * made.first)
    np.testing.assert_allclose(
        -slope(small).key / 1e-6, made.key, rtol=1e-4, atol=1e-7 * np.abs(made.key).max()
    )


def every(task):
    """All N^T T sequences, as a batch."""
    words = np.array([[*z, t] for z in itertools.product(range(N), repeat=3) for t in range(3)], np.int32)
    tokens, places = words[:, :3], words[:, 3]
    return am.noise.Sequences(tokens, places, np.asarray(task.targets)[tokens[np.arange(len(words)), places]])


def test_the_population_and_exact_shares():
    """T = 3: all 375 sequences are the population, of which w is in closed form; shares that are counted."""
    task = task_of(1, length=3)
    batch = jax.tree.map(jnp.asarray, every(task))
    made, found = am.noise.three_steps_on(task, [batch]), eqx.filter_jit(am.noise.population_key)(task)
    np.testing.assert_allclose(found, made.key, rtol=1e-10, atol=1e-15)
    shares = eqx.filter_jit(lambda m: (am.noise.attention_right(task, m), am.noise.accuracy(task, m)))
    logits = eqx.filter_jit(lambda m: m.logits(task, batch))
    _, U, _ = plain(task)
    X, y = seen(task, batch)
    for key in np.random.default_rng(4).normal(size=(2, D)):
        model = am.TriggerAttention(key, made.value, saturated=True)
        chosen = [x[np.argmax(x @ np.asarray(key))] for x in X]
        right = [np.argmax(x @ np.asarray(key)) == t for x, t in zip(X, np.asarray(batch.places))]
        answered = [np.argmax(U @ np.asarray(made.value) @ x) == a for x, a in zip(chosen, y)]
        assert 0.1 < np.mean(right) < 1
        np.testing.assert_allclose(shares(model), [np.mean(right), np.mean(answered)], atol=1e-12)
        wanted = np.array(chosen) @ np.asarray(made.value).T @ U.T
        np.testing.assert_allclose(logits(model), wanted, atol=1e-13)


def test_softmax_attention_learns_through_the_door():
    """The loss of a batch by hand; descent on it lowers the loss; a flow runs; float32 stays float32."""
    task = task_of(2, draws=64)
    model = am.TriggerAttention.gaussian(task, jr.key(1), 0.5, beta=2.0)
    X, y = seen(task, task.data)
    _, U, _ = plain(task)
    total = 0.0
    for x, a in zip(X, y):
        weights = np.exp(2 * x @ np.asarray(model.key))
        scores = U @ np.asarray(model.value) @ (weights / weights.sum() @ x)
        total += np.log(np.exp(scores).sum()) - scores[a]
    assert float(am.loss(task, model)) == pytest.approx(total / 64, rel=1e-12)
    adam = am.Descent(optax.adam(0.1), 150)
    run = am.simulate(task, model, adam, observe={"loss": am.loss, "error": am.error}, every=50)
    assert run["loss"][-1] < 0.3 * run["loss"][0]
    assert run["error"][-1] < 0.1
    right = [float(am.noise.attention_right(task, m)) for m in (model, run.model)]
    assert right[1] > max(0.9, right[0])
    flow = am.simulate(task, model, am.GradientFlow(1.0), observe={"loss": am.loss})
    assert flow["loss"][-1] < flow["loss"][0]


def test_float32(float32):
    task = task_of()
    made = am.noise.three_steps(task, jr.key(0), 16)
    shares = am.noise.accuracy(task, made.model), am.noise.attention_right(task, made.model)
    assert {a.dtype for a in (made.first, made.key, made.value, *shares)} == {np.dtype(np.float32)}
    wanted = loops(task, [task.sample(jr.key(0), 16)] * 3, False)
    np.testing.assert_allclose(made.key, wanted[1], rtol=1e-4, atol=1e-6 * np.abs(wanted[1]).max())


def test_narrowed():
    """d of D coordinates, of length one in the mean; d may be traced."""
    task = task_of(0, n=6, d=400)
    cut = jax.jit(lambda d: task.narrowed(d))(100)
    for whole, part in zip(plain(task), plain(cut)):
        assert not part[..., 100:].any()
        np.testing.assert_allclose(part[..., :100], 2 * whole[..., :100], rtol=1e-14)
    np.testing.assert_allclose(np.sum(plain(cut)[0] ** 2, axis=1), 1, atol=5 * (2 / 100) ** 0.5)


# --- Laws -----------------------------------------------------------------------------------------


def test_one_noisy_step():
    """W₁ is the gradient step of the memory whose tokens are all pairs; recall of all of them."""
    rng = np.random.default_rng(0)
    E, U, P = (rng.normal(size=(n, 12)) / 12**0.5 for n in (9, 9, 3))
    pairs = (E[:, None] + P).reshape(-1, 12)
    task = am.AssociationTask(am.laws.uniform(27), np.repeat(np.arange(9), 3), pairs, U)
    step = -am.gradient(task, am.LinearMemory.zeros(task)).weight
    np.testing.assert_allclose(step, U.T @ (E - E.mean(axis=0)) / 9, rtol=1e-11, atol=1e-14)
    right = (pairs @ np.asarray(step).T @ U.T).argmax(axis=1) == np.repeat(np.arange(9), 3)
    assert 0 < right.mean() < 1
    assert float(am.noise.noisy_step_recall(E, U, P)) == pytest.approx(right.mean(), abs=1e-12)


@pytest.mark.parametrize(("n", "dimensions"), [(256, (64, 96, 128, 192)), (1024, (128, 256))])
def test_accuracy_of_one_noisy_step(n, dimensions):
    """Within .06 at the sizes of the claim: 3 draws of n tokens, of which each is right or wrong."""
    recall = jax.jit(am.noise.noisy_step_recall)
    for d in dimensions:
        rng = np.random.default_rng(d)
        draws = [[(rng.normal(size=(k, d)) / d**0.5) for k in (n, n, 2)] for _ in range(3)]
        found = np.mean([recall(*draw) for draw in draws])
        assert abs(found - float(theory.noisy_step_accuracy(n, d))) < 0.06, (n, d, found)


def test_the_largest_of_gaussians():
    """Quadrature against SciPy's, at the variances of the law."""
    for n, d in ((256, 64), (1024, 256)):
        right, wrong = (float(v) for v in theory.noisy_step_variances(n, d))
        wanted, _ = integrate.quad(
            lambda z, a=right, b=wrong, n=n: norm.pdf(z) * norm.cdf((1 + a**0.5 * z) / b**0.5) ** (n - 1),
            -9,
            9,
        )
        assert float(theory.noisy_step_accuracy(n, d)) == pytest.approx(wanted, abs=1e-8)


@pytest.mark.thorough
def test_dimension_is_where_attention_is_right_half_of_the_time():
    T, n = np.array([32, 128]), np.array([1024, 8192])
    for fresh in (False, True):
        d = theory.attention_dimension(256, T, n, fresh)
        np.testing.assert_allclose(theory.attention_right(256, T, d, n, fresh), 0.5, atol=1e-9)
    rise = jax.grad(lambda n: theory.attention_dimension(256.0, 128.0, n))(1024.0)
    step = theory.attention_dimension(256.0, 128.0, 1024 + 0.1) - theory.attention_dimension(
        256.0, 128.0, 1024 - 0.1
    )
    assert float(rise) == pytest.approx(float(step) / 0.2, rel=1e-4)
    claim = theory.claimed_dimension(256, np.array([64, 256]), np.array([512, 16384]))
    np.testing.assert_allclose(claim, [16, 256 * (65536 / (256 * 16384)) ** (2 / 3)], rtol=1e-12)


def test_spread_of_tokens_of_few_sequences():
    """Of fresh data, where tokens are many more than T² and sequences few: what centres leave is a tenth of all.
    Against traces of six tables, which are as far from their mean as √(1/(N d)), of which six are some 1 %."""
    n, length, d, sequences = 600, 3, 60, 50
    found = theory.spread(n, length, d, sequences, fresh=True)
    rng = np.random.default_rng(0)
    drawn = [rng.normal(size=(n, d)) / d**0.5 for _ in range(6)]
    expected = np.mean([spread(E, length, sequences, True) for E in drawn])
    assert 0.05 < float(found.centres / found.total) < 0.2
    assert float(found.total) == pytest.approx(expected, rel=0.01)


@pytest.mark.thorough
def test_signal_at_many_sequences():
    """E τᵀw = 1/(N T²) within 6 % at N = 256, T = 32, n = 32,768: 24 draws whose mean scatters by 2 %."""

    def one(key):
        task = am.TriggerTask.gaussian(256, 256, key, length=32, draws=1)
        return am.noise.three_steps(task, jr.fold_in(key, 1), 32_768).key @ task.trigger

    found = jax.jit(lambda keys: jax.lax.map(one, keys))(jr.split(jr.key(0), 24))
    assert float(found.mean()) * 256 * 32**2 == pytest.approx(1, abs=0.06)


def test_what_the_report_of_the_law_says():
    """Rows by hand: each line has the rows of its batches and length, and ratios leave out what is censored."""
    study = load(
        "noise_law", ["tokens=16", "lengths=[8, 32]", "sequences=[64, 128]", 'batches=["same", "centred"]']
    )
    names = ("batches", "length", "sequences", "d", "low", "high", "censored", "derived", "claimed")
    rows = [
        (b, T, n, 2.0 + k, 1, 30 + k, 0, 4, 8)
        for k, (b, T, n) in enumerate(itertools.product((0, 1), (8, 32), (64, 128)))
    ]
    rows[3] = (*rows[3][:6], 1, 4, 8)
    rows[4] = (*rows[4][:6], -1, 4, 8)
    assert noise_law.report(study, table(rows, *names)) == [
        "same, T = 8: d 2.0 [1, 30] (derived 4.0) at n = 64, 3.0 [1, 31] (derived 4.0) at n = 128",
        "same, T = 32: d 4.0 [1, 32] (derived 4.0) at n = 64, ≥ 5.0 [1, 33] (derived 4.0) at n = 128",
        # (2·3·4)^(1/3) = 2.884
        "same: d over the one claimed: 0.25 to 0.50, geometric mean 0.36",
        "same: d over the one derived: 0.50 to 1.00, geometric mean 0.72",
        "centred, T = 8: d ≤ 6.0 [1, 34] (derived 4.0) at n = 64, 7.0 [1, 35] (derived 4.0) at n = 128",
        "centred, T = 32: d 8.0 [1, 36] (derived 4.0) at n = 64, 9.0 [1, 37] (derived 4.0) at n = 128",
        # (7·8·9)^(1/3) = 7.958
        "centred: d over the one claimed: 0.88 to 1.12, geometric mean 0.99",
        "centred: d over the one derived: 1.75 to 2.25, geometric mean 1.99",
    ]
    for batches, kinds in (("same", (False, False)), ("fresh", (True, False)), ("centred", (False, True))):
        wanted = theory.attention_dimension(16, 8, 64, *kinds, study.target)
        assert float(noise_law.derived(study, batches, 8, 64)) == float(wanted)


# --- Refusals -------------------------------------------------------------------------------------

E, U, TAU = np.eye(4), np.eye(4), np.ones(4)
REFUSED = [
    (lambda: am.TriggerTask(E, U, TAU, length=1), "length must be at least 2, got 1; with one token there is no noise"),
    (lambda: am.TriggerTask.gaussian(4, 0, jr.key(0)), "dimension must be at least 1, got 0"),
    (lambda: am.TriggerTask.gaussian(1, 4, jr.key(0)), "tokens must be at least 2, got 1"),
    (lambda: am.TriggerTask(E, U, np.ones(3)), "trigger must be of shape (4,), as a row of inputs, got (3,)"),
    (lambda: am.TriggerTask(E, U[:3], TAU), "targets must be given where N = 4 tokens have M = 3 answers, got None"),
    (lambda: am.TriggerTask(E, U, TAU, [0, 1, 2, 4]), "targets must be between 0 and 3, got 4 at index"),
    (lambda: am.TriggerTask(E, U, TAU, [0.0] * 4), "targets must be 4 whole numbers, got float64(4,)"),
    (lambda: am.TriggerTask(E, U, TAU * np.nan), "trigger must be finite"),
    (lambda: task_of().narrowed(0), "dimension must be between 1 and 7, got 0"),
    (lambda: am.noise.three_steps(task_of(), jr.key(0), 0), "sequences must be at least 1, got 0"),
    (lambda: am.noise.three_steps(task_of(), 3, 8), "key must be a typed key, got 3"),
    (lambda: am.noise.three_steps(task_of(), jr.key(0), 8, fresh=2), "fresh must be True or False, got 2"),
    (lambda: am.noise.three_steps_on(task_of(), [task_of().data] * 2), "batches must be one or three Sequences"),
    (lambda: am.noise.population_key(am.TriggerTask(E, U, TAU, [0, 0, 1, 1])), "task must be of one token for each answer"),
    (lambda: am.noise.noisy_step_recall(E, U[:3], E), "outputs must be as many as inputs (4), at least 2, got 3"),
    (lambda: am.noise.noisy_step_recall(E, U, np.ones((2, 3))), "noise must be of shape (T, 4), got (2, 3)"),
    (lambda: am.TriggerAttention(np.ones(3), E), "key must be of shape (4,), a column of value each, got (3,)"),
    (lambda: am.noise.accuracy(task_of(), am.TriggerAttention.zeros(task_of())), "model must be of saturated attention"),
]  # fmt: skip


def test_the_law_asks_for_enough_sequences():
    """n < N, T < 2, d < 1 in a config."""
    for config, change, words in (
        ("noise_law", "sequences=[64]", "sequences must be at least tokens = 256 for the laws, got 64"),
        ("noise_law", "lengths=[1]", "lengths.0 = 1: must be greater than or equal to 2"),
        ("noise_map", "dimensions=[0, 4]", "dimensions.0 = 0: must be greater than or equal to 1"),
    ):
        with pytest.raises(ConfigError, match=re.escape(words)):
            load(config, [change])


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m.split(" must")[0] for _, m in REFUSED])
def test_refusals(call, message):
    refused(call, message)


def test_what_the_map_of_noise_says():
    study = load("noise_map", ["lengths=[4, 8]", "sequences=[16, 32]", "dimensions=[2, 6]"])
    axes = {"length": [4, 8], "sequences": [16, 32], "dimension": [2, 6]}
    right = np.arange(16.0).reshape(2, 2, 2, 2) / 16
    dims = (*axes, "seed")
    data = xr.Dataset({"attention": (dims, right), "accuracy": (dims, 1 - right)}, axes)
    # The mean of two seeds: (4T + 2n + d + ¼)/8 of the places of T, n and d.
    assert noise_map.report(study, data) == [
        "T = 4: attention right (accuracy) n = 16: 0.03 (0.97) at d = 2, 0.16 (0.84) at d = 6; "
        "n = 32: 0.28 (0.72) at d = 2, 0.41 (0.59) at d = 6",
        "T = 8: attention right (accuracy) n = 16: 0.53 (0.47) at d = 2, 0.66 (0.34) at d = 6; "
        "n = 32: 0.78 (0.22) at d = 2, 0.91 (0.09) at d = 6",
    ]


def test_above_very_many(rounding):
    """Φ^{1e8} by SciPy's log Φ; an error ε of its argument, some 5.6, counts 5.6² times."""
    n, d = 1e8, 1e5
    right = (1 + 2 / d) ** 2 - 1 + (1 + 2 / d) / d + 2 * (n - 1) / d**2
    wrong = (1 + 2 / d) * 3 / d + 1 / d**2 + 2 * (n - 2) / d**2
    power = lambda z: np.exp((n - 1) * norm.logcdf((1 + right**0.5 * z) / wrong**0.5))  # noqa: E731
    wanted, _ = integrate.quad(lambda z: norm.pdf(z) * power(z), -9, 9, epsabs=1e-11, limit=200)
    assert float(theory.noisy_step_accuracy(n, d)) == pytest.approx(wanted, abs=1e-8 + 64 * rounding)
