"""Hopfield networks, dense memories and attention, against NumPy loops, enumeration and exact laws."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from scipy import stats

import assocmem_jax as am
import helpers
from assocmem_jax.systems.retrieval.model import Exponential, Power

EPS = float(np.finfo(float).eps)


def signs(rng, *shape):
    return rng.choice([-1.0, 1.0], shape)


def hebb_loop(patterns):
    n, d = patterns.shape
    weight = np.zeros((d, d))
    for mu in range(n):
        for i in range(d):
            for j in range(d):
                weight[i, j] += patterns[mu, i] * patterns[mu, j] / d if i != j else 0
    return weight


def test_hebb_and_its_energy_against_loops():
    rng = np.random.default_rng(0)
    patterns = signs(rng, 4, 7)
    task = am.RetrievalTask(patterns, probabilities=[0.5, 0.25, 0.25, 0])  # the last is not stored
    network = am.HopfieldNetwork.hebb(task)
    weight = hebb_loop(patterns[:3])
    np.testing.assert_allclose(network.weight, weight, atol=8 * EPS)
    x = signs(rng, 7)
    energy = -sum(weight[i, j] * x[i] * x[j] for i in range(7) for j in range(i))
    assert float(network.energy(jnp.asarray(x))) == pytest.approx(energy, abs=50 * EPS)
    # The field is minus the slope of the one energy.
    y = jnp.asarray(rng.normal(size=7))
    np.testing.assert_allclose(network.field(y[None])[0], -jax.grad(network.energy)(y), atol=50 * EPS)


def random_network(seed, d=9, **options):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(d, d))
    return am.HopfieldNetwork(w + w.T - np.diag(np.diagonal(w + w.T)), **options), signs(rng, 6, d)


@pytest.mark.parametrize("seed", range(5))
def test_asynchronous_energy_never_increases(seed):
    """Any symmetric W without diagonal, flip by flip against a loop."""
    network, states = random_network(seed, steps=4, asynchronous=True)
    path = np.asarray(network.path(jnp.asarray(states)))
    weight, loop, energies = np.asarray(network.weight), states.copy(), []
    for step in range(4):
        for i in range(9):
            loop[:, i] = np.sign(loop @ weight[:, i])
            energies.append([-x @ weight @ x / 2 for x in loop])
        np.testing.assert_array_equal(path[step + 1], loop)
    assert np.diff(energies, axis=0).max() <= 100 * EPS
    seen = np.asarray(jax.vmap(jax.vmap(network.energy))(path))
    assert np.diff(seen, axis=0).max() <= 100 * EPS
    assert np.diff(seen, axis=0).min() < -0.1  # it does descend
    np.testing.assert_array_equal(network.retrieve(jnp.asarray(states)), path[-1])


def test_all_at_once_can_cycle():
    network = am.HopfieldNetwork(np.array([[0.0, -1], [-1, 0]]), steps=3)
    np.testing.assert_array_equal(network.path(jnp.ones((1, 2)))[:, 0, 0], [1, -1, 1, -1])
    # A field of zero leaves a bit alone.
    idle = am.HopfieldNetwork(np.zeros((2, 2)), steps=1)
    np.testing.assert_array_equal(idle.retrieve(jnp.array([[1.0, -1.0]])), [[1.0, -1.0]])


def test_one_step_bit_error():
    """The exact law by SciPy's binomial; the model within six standard errors; ½erfc within Berry–Esseen."""
    theory = am.theory.hopfield
    for n, d in ((20, 100), (7, 31), (1, 5), (60, 200), (3, 4), (2, 5), (3, 2), (4, 2)):
        trials = (n - 1) * (d - 1)
        wrong = sum(stats.binom.pmf(b, trials, 0.5) for b in range(trials + 1) if 2 * b - trials < -(d - 1))
        assert float(theory.stored_bit_error(n, d)) == pytest.approx(wrong, rel=1e-10, abs=1e-15)
        if n > 1:
            moved = abs(stats.norm.cdf(-(((d - 1) / (n - 1)) ** 0.5)) - stats.norm.cdf(-((d / n) ** 0.5)))
            within = 0.4748 / trials**0.5 + moved
            assert abs(float(theory.bit_error(n / d)) - wrong) <= within
    n, d, draws = 20, 100, 400

    @jax.jit
    def share(key):
        task = am.RetrievalTask.binary(key, n, d)
        return jnp.mean(am.HopfieldNetwork.hebb(task).update(task.patterns[:1]) != task.patterns[:1])

    found = np.asarray(jax.lax.map(share, jr.split(jr.key(0), draws)))
    assert abs(found.mean() - float(theory.stored_bit_error(n, d))) <= 6 * found.std() / draws**0.5
    # A cue with a share f of its bits flipped has overlap 1 − 2f.
    assert float(theory.bit_error(0.2, 0.8)) == pytest.approx(stats.norm.cdf(-0.8 / 0.2**0.5), rel=1e-12)


def test_images_are_signs_about_the_middle_of_their_range():
    """By hand: of 1 … 9 the middle is 5, which is no higher than itself; that of all images, not of one."""
    images = np.array([[[1.0, 5.0], [5.1, 9.0]], [[2.0, 3.0], [4.9, 6.0]]])
    np.testing.assert_array_equal(am.retrieval.signs(images), [[-1, -1, 1, 1], [-1, -1, -1, 1]])
    np.testing.assert_array_equal(am.retrieval.signs(images, 2.0), [[-1, 1, 1, 1], [-1, 1, 1, 1]])


@pytest.mark.parametrize("separation", [Power(2), Power(3), Power(4), Exponential(6)])
def test_dense_updates_compare_two_energies(separation):
    """Every bit at every corner of a cube: E(x_i = −1) − E(x_i = +1), from the energy alone."""
    rng = np.random.default_rng(1)
    d, patterns, weights = 6, signs(rng, 5, 6), np.array([1.0, 1, 0.5, 0, 1])
    memory = am.DenseMemory(patterns, weights, separation)
    law = {2: lambda z: z**2, 3: lambda z: z**3, 4: lambda z: z**4}.get(
        getattr(separation, "degree", 0), lambda z: np.exp(d * (z - 1))
    )

    def energy(x):
        return -sum(c * law(float(xi @ x) / d) for c, xi in zip(weights, patterns))

    corners = jnp.array(list(itertools.product([-1.0, 1.0], repeat=d)))
    np.testing.assert_allclose(
        jax.vmap(memory.energy)(corners), [energy(x) for x in np.asarray(corners)], atol=30 * EPS
    )
    gaps = np.empty(corners.shape)
    for k, x in enumerate(np.asarray(corners)):
        for i in range(d):
            low, high = x.copy(), x.copy()
            low[i], high[i] = -1, 1
            gaps[k, i] = energy(low) - energy(high)
    np.testing.assert_allclose(memory.field(corners), gaps, atol=200 * EPS)
    moved = np.asarray(memory.update(corners))
    sure = np.abs(gaps) > 1e-10
    np.testing.assert_array_equal(moved[sure], np.sign(gaps)[sure])


@pytest.mark.thorough
def test_degree_two_is_a_hopfield_network():
    task = am.RetrievalTask.binary(jr.key(2), 6, 25, flips=0.2)  # odd d: N even, no field is zero
    dense, network = am.DenseMemory.polynomial(task, 2, steps=3), am.HopfieldNetwork.hebb(task, steps=3)
    states = jr.rademacher(jr.key(3), (40, 25), float)
    sure = np.abs(np.asarray(network.field(states))) > 1e-10
    np.testing.assert_array_equal(
        np.asarray(dense.update(states))[sure], np.asarray(network.update(states))[sure]
    )
    np.testing.assert_array_equal(am.retrieval.overlaps(task, dense), task.overlaps(dense))
    # Energies differ by constants: −Σ(ξ·x/d)² = (2/d) E_Hebb − N/d on the cube.
    both = [np.asarray(jax.vmap(m.energy)(states)) for m in (dense, network)]
    np.testing.assert_allclose(both[0], 2 / 25 * both[1] - 6 / 25, atol=100 * EPS)


def attention(queries, patterns, beta):
    scores = beta * queries @ patterns.T
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) @ patterns


@pytest.mark.thorough
@pytest.mark.parametrize("beta", [0.5, 4.0, 50.0])
def test_attention_is_a_step_down_the_energy(beta):
    task = am.RetrievalTask.spherical(jr.key(4), 40, 12, noise=0.1)
    memory = am.AttentionMemory.store(task, beta, steps=6)
    X, cues = np.asarray(task.patterns), np.asarray(task.cues)
    assert np.abs(np.asarray(memory.update(task.cues)) - attention(cues, X, beta)).max() <= 1e-13
    path = memory.path(task.cues)
    energies = np.asarray(jax.vmap(jax.vmap(memory.energy))(path))
    assert np.diff(energies, axis=0).max() <= 100 * EPS * max(1, 1 / beta)
    first = 0.5 * cues[0] @ cues[0] - np.log(np.exp(beta * X @ cues[0]).sum()) / beta
    assert energies[0, 0] == pytest.approx(first, abs=100 * EPS)
    # What is not stored is not attended to.
    few = am.AttentionMemory.store(task.first(7), beta)
    assert np.abs(np.asarray(few.update(task.cues)) - attention(cues, X[:7], beta)).max() <= 1e-13
    alone = 0.5 * cues[0] @ cues[0] - np.log(np.exp(beta * X[:7] @ cues[0]).sum()) / beta
    assert float(few.energy(task.cues[0])) == pytest.approx(alone, abs=100 * EPS)


def test_attention_in_float32(float32):
    task = am.RetrievalTask.spherical(jr.key(4), 40, 12, noise=0.1)
    with jax.default_matmul_precision("highest"):  # a card's own float32 products are TF32
        moved = np.asarray(am.AttentionMemory.store(task, 8.0).update(task.cues), float)
    exact = attention(np.asarray(task.cues, float), np.asarray(task.patterns, float), 8.0)
    assert moved.dtype == float
    assert np.abs(moved - exact).max() <= 1e-6


def test_what_a_retrieval_task_reads_off():
    rng = np.random.default_rng(5)
    patterns, ends = signs(rng, 3, 8), signs(rng, 3, 8)
    ends[0] = patterns[0]
    ends[1] = patterns[1] * np.where(np.arange(8) == 2, -1, 1)

    class Fixed(eqx.Module):
        ends: jax.Array

        def scores(self, task, tokens=None):
            return self.ends if tokens is None else self.ends[tokens]

    p = np.array([0.5, 0.3, 0.2])
    task, model = am.RetrievalTask(patterns, probabilities=p), Fixed(jnp.asarray(ends))
    wrong = (patterns != ends).sum(axis=1)
    np.testing.assert_allclose(task.margins(model), 1 - 2 * np.sqrt(wrong), atol=10 * EPS)
    np.testing.assert_allclose(task.overlaps(model), 1 - wrong / 4, atol=10 * EPS)
    assert float(task.error(model)) == pytest.approx(0.5, abs=10 * EPS)
    assert float(task.loss(model)) == pytest.approx(4 * p @ wrong / 8, abs=10 * EPS)
    lax = am.RetrievalTask(patterns, probabilities=p, radius=2.1)  # one wrong bit is at distance 2
    assert float(lax.error(model)) == pytest.approx(0.2, abs=10 * EPS)
    flipped = am.RetrievalTask.binary(jr.key(0), 50, 200, flips=0.1)
    share = np.mean(np.asarray(flipped.cues != flipped.patterns))
    assert abs(share - 0.1) <= 6 * (0.09 / 10_000) ** 0.5
    batch = jax.jit(task.sampler(4000))(jr.key(1))
    counts = np.bincount(np.asarray(batch), minlength=3) / 4000
    assert np.abs(counts - p).max() <= 6 * (0.25 / 4000) ** 0.5
    assert float(task.sampled_loss(model, batch)) == pytest.approx(4 * counts @ wrong / 8, rel=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["hopfield", "cubic", "exponential", "attention"])
def test_the_first_patterns_alone(kind):
    """first(n) in padded arrays is the task of n patterns."""
    whole = am.RetrievalTask.binary(jr.key(6), 12, 10, flips=0.1)
    small = am.RetrievalTask(whole.patterns[:5], whole.cues[:5])
    build = {
        "hopfield": am.HopfieldNetwork.hebb,
        "cubic": lambda task: am.DenseMemory.polynomial(task, 3),
        "exponential": am.DenseMemory.exponential,
        "attention": lambda task: am.AttentionMemory.store(task, 0.7),
    }[kind]
    padded = jax.jit(
        lambda n: (lambda task: (build(task).scores(task), am.loss(task, build(task))))(whole.first(n))
    )
    scores, loss = padded(5)
    np.testing.assert_allclose(scores[:5], build(small).scores(small), atol=100 * EPS)
    assert float(loss) == pytest.approx(float(am.loss(small, build(small))), abs=100 * EPS)


def test_attention_trains_through_the_one_door():
    task = am.RetrievalTask.spherical(jr.key(7), 6, 4, noise=0.3)
    start = am.AttentionMemory(task.cues, np.ones(6), 5.0)  # it knows the noisy ones
    run = am.simulate(task, start, am.Descent(optax.sgd, 40, learning_rate=2.0), every=40)
    assert run.observed["loss"][-1] < 0.7 * run.observed["loss"][0]


@pytest.mark.thorough
def test_crosstalk_of_a_dense_memory():
    """The variance by enumeration in NumPy; for F = z² the closed form Φ(−√((d−1)/(N−1)))."""
    theory = am.theory.hopfield
    for n, d in ((9, 80), (3, 10), (200, 1000)):
        expected = stats.norm.cdf(-(((d - 1) / (n - 1)) ** 0.5))
        assert float(theory.crosstalk_bit_error(n, d, lambda z: z**2)) == pytest.approx(expected, rel=1e-9)
    d, n = 9, 30
    spread = 0.0
    for bits in itertools.product([-1, 1], repeat=d - 1):
        c = sum(bits)
        spread += (((c + 1) / d) ** 3 - ((c - 1) / d) ** 3) ** 2 / 2 ** (d - 1)
    expected = stats.norm.cdf(-(1 - (1 - 2 / d) ** 3) / ((n - 1) * spread) ** 0.5)
    assert float(theory.crosstalk_bit_error(n, d, lambda z: z**3)) == pytest.approx(expected, rel=1e-10)
    assert float(theory.stable(0.01, 50)) == pytest.approx(0.99**50, rel=1e-12)


REFUSED = [
    (lambda: am.HopfieldNetwork(np.eye(3)), "weight must be of zero diagonal, got up to 1 there"),
    (lambda: am.HopfieldNetwork(np.array([[0.0, 1], [2, 0]])), "weight must be symmetric, got entries that differ by 1"),
    (lambda: am.HopfieldNetwork(np.zeros((2, 3))), "weight must be a square matrix, got shape (2, 3)"),
    (lambda: am.DenseMemory.polynomial(am.RetrievalTask(np.ones((2, 3))), 1), "degree must be at least 2, got 1"),
    (lambda: am.DenseMemory(np.ones((2, 3)), np.ones(3), Power(2)), "weights must be of shape (2,), got shape (3,)"),
    (lambda: am.AttentionMemory.store(am.RetrievalTask(np.ones((2, 3))), 0.0), "beta must be positive and finite, got 0.0"),
    (lambda: am.RetrievalTask(np.ones(3)), "patterns must be a matrix, one row a pattern, got an array of shape (3,)"),
    (lambda: am.RetrievalTask(np.ones((2, 3)), np.ones((3, 3))), "cues must be of the shape of patterns, (2, 3), got shape (3, 3)"),
    (lambda: am.RetrievalTask(np.ones((2, 3)), probabilities=[0.5, 0.6]), "probabilities must be summing to one, got 1.1; divide by the sum"),
    (lambda: am.RetrievalTask(np.ones((2, 3)), radius=0), "radius must be positive and finite, got 0"),
    (lambda: am.RetrievalTask.binary(jr.key(0), 2, 3, flips=1.5), "flips must be between 0 and 1, got 1.5"),
    (lambda: am.RetrievalTask(np.ones((2, 3))).first(3), "n must be between 1 and 2, got 3"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m.split(" must")[0] for _, m in REFUSED])
def test_refusals(call, message):
    helpers.refused(call, message)


@pytest.mark.parametrize(("n", "d"), [(1380, 10_000), (13_800, 100_000), (30_001, 100_000), (7, 31), (3, 4)])
def test_the_error_of_many_bits(rounding, n, d):
    """SciPy's law of 1e4 to 3e9 signs, right to 1e-11; an exponent (d/N)/2 below 8 is in it."""
    trials = (n - 1) * (d - 1)
    wrong = stats.binom.cdf(-(-(trials - d + 1) // 2) - 1, trials, 0.5)
    found = float(am.theory.hopfield.stored_bit_error(n, d))
    assert found == pytest.approx(wrong, rel=1e-11 + 40 * rounding)


def test_a_pattern_of_zeros_has_no_overlap():
    task = am.RetrievalTask(jnp.array([[0.0, 0.0], [1.0, -1.0]]))
    found = am.retrieval.overlaps(task, am.AttentionMemory(task.patterns, jnp.ones(2), 50.0))
    np.testing.assert_allclose(found, [0, 1], atol=1e-12)
