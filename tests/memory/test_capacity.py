"""Written memories, memories of two matrices, schemes, scaling laws, and the search for N."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import mpmath
import numpy as np
import optax
import pytest

import assocmem_jax as am
import helpers

EPS = float(np.finfo(float).eps)
outer = am.theory.outer_product
scaling = am.theory.scaling


def problem(key, n, m, d, k=None, labels=None, sphere=False):
    keys = jr.split(key)
    draw = am.embeddings.sphere if sphere else am.embeddings.gaussian
    labels = jnp.arange(n) % m if labels is None else labels
    return am.AssociationTask(am.laws.zipf(n, 1.5), labels, draw(keys[0], n, d), draw(keys[1], m, k or d))


@pytest.mark.thorough
def test_written_memory_is_a_sum_of_outer_products():
    task = problem(jr.key(0), 6, 3, 5, k=4)
    q = np.random.default_rng(0).uniform(size=6)
    expected = sum(q[x] * np.outer(task.outputs[int(task.labels[x])], task.inputs[x]) for x in range(6))
    np.testing.assert_allclose(
        am.LinearMemory.outer_product(task, jnp.asarray(q)).weight, expected, atol=20 * EPS
    )
    # Many classes are added up another way.
    many = problem(jr.key(1), 80, 80, 3, labels=jnp.asarray(np.random.default_rng(1).integers(0, 80, 80)))
    expected = np.asarray(many.outputs)[np.asarray(many.labels)].T @ np.asarray(many.inputs)
    np.testing.assert_allclose(am.LinearMemory.outer_product(many).weight, expected, atol=400 * EPS)
    # Few classes and many dimensions: scores by U W first, the same numbers.
    scores = np.asarray(am.memory.particles(task, am.LinearMemory.outer_product(task)))
    full = am.LinearMemory.outer_product(task).weight
    np.testing.assert_allclose(scores, task.inputs @ full.T @ task.outputs.T, atol=20 * EPS)
    few = problem(jr.key(2), 40, 2, 30)
    memory = am.LinearMemory.outer_product(few)
    np.testing.assert_allclose(
        am.memory.particles(few, memory), few.inputs @ memory.weight.T @ few.outputs.T, atol=100 * EPS
    )


@pytest.mark.thorough
@pytest.mark.parametrize(("inputs", "outputs"), [(True, True), (False, True), (True, False)])
def test_moments_of_a_written_memory(inputs, outputs):
    """Means q 1{y = f(z)} and oracle I's variances, for q = 1 and any q: six standard errors of 40,000 draws."""
    n, m, d, draws = 5, 3, 6, 40_000
    labels, q = jnp.array([0, 1, 0, 2, 0]), jnp.array([1.0, 0.3, 2.0, 0.7, 0.0])
    kinds = {True: am.embeddings.gaussian, False: am.embeddings.sphere}

    @jax.jit
    @jax.vmap
    def scores(key):
        keys = jr.split(key)
        task = am.AssociationTask(
            am.laws.uniform(n), labels, kinds[inputs](keys[0], n, d), kinds[outputs](keys[1], m, d)
        )
        return [
            am.memory.particles(task, am.LinearMemory.outer_product(task, each)) for each in (jnp.ones(n), q)
        ]

    occurs = np.eye(m)[np.asarray(labels)]
    for each, gamma in zip((np.ones(n), np.asarray(q)), scores(jr.split(jr.key(3), draws))):
        gamma = np.asarray(gamma)
        mean, error = each[:, None] * occurs, gamma.std(axis=0) / draws**0.5
        assert (np.abs(gamma.mean(axis=0) - mean) <= 6 * error).all()
        squares = (gamma - mean) ** 2
        wanted = np.asarray(outer.noise(jnp.asarray(each), jnp.asarray(occurs), d, inputs, outputs))
        assert (np.abs(squares.mean(axis=0) - wanted) <= 6 * squares.std(axis=0) / draws**0.5).all()
    if inputs and outputs:  # and the counts of the printed form's correction
        same = occurs.sum(axis=0)
        exact = [[float(outer.variance(n, same[y], d, occurs[z, y] > 0)) for y in range(m)] for z in range(n)]
        np.testing.assert_allclose(outer.noise(jnp.ones(n), jnp.asarray(occurs), d), exact, rtol=1e-12)


@pytest.mark.thorough
def test_recall_against_independent_competitors():
    """The integral against NumPy draws of just those Gaussians; two classes against Φ(√(d/(N−1)))."""
    occurs = jnp.eye(4)[jnp.array([0, 1, 2, 3, 0])]
    q, d = jnp.array([1.0, 0.5, 0.2, 0.9, 0.4]), 7
    sigma = np.sqrt(np.asarray(outer.noise(q, occurs, d)))
    rng = np.random.default_rng(4)
    right = np.zeros(5)
    draws = 200_000
    for z in range(5):
        gamma = np.asarray(q)[z] * np.asarray(occurs)[z] + sigma[z] * rng.normal(size=(draws, 4))
        right[z] = (gamma.argmax(axis=1) == np.argmax(np.asarray(occurs)[z])).mean()
    assert np.abs(np.asarray(outer.recall(q, occurs, d)) - right).max() <= 6 * (0.25 / draws) ** 0.5
    n, d, draws = 24, 12, 4000

    @jax.jit
    @jax.vmap
    def recalled(key):
        keys = jr.split(key)
        labels = jr.randint(keys[0], (n,), 0, 2)
        task = am.AssociationTask(
            am.laws.uniform(n), labels, am.embeddings.sphere(keys[1], n, d), jnp.eye(2, d)
        )
        return 1 - am.error(task, am.LinearMemory.outer_product(task))

    found = np.asarray(recalled(jr.split(jr.key(5), draws)))
    within = 6 * found.std() / draws**0.5 + 0.4748 * 1.6 / (n - 1) ** 0.5  # Berry–Esseen, as slides.39
    assert abs(found.mean() - float(outer.binary_recall(n, d))) <= within


@pytest.mark.thorough
def test_the_first_tokens_alone():
    """first(n), padded and traced, is the task of n tokens: scores, loss, error, and a step of descent."""
    whole = problem(jr.key(6), 9, 9, 4)
    n = 5
    p = whole.probabilities[:n] / whole.probabilities[:n].sum()
    small = am.AssociationTask(p, whole.targets[:n], whole.inputs[:n], whole.outputs[:n])
    descent = am.Descent(optax.sgd, 30, learning_rate=2.0)

    @jax.jit
    def padded(n):
        task = whole.first(n)
        written = am.LinearMemory.outer_product(task)
        run = am.simulate(task, am.LinearMemory.zeros(task), descent, every=30)
        return written.weight, am.error(task, written), run.model.weight, run.observed

    weight, error, trained, observed = padded(n)
    run = am.simulate(small, am.LinearMemory.zeros(small), descent, every=30)
    np.testing.assert_allclose(weight, am.LinearMemory.outer_product(small).weight, atol=20 * EPS)
    assert float(error) == pytest.approx(
        float(am.error(small, am.LinearMemory.outer_product(small))), abs=10 * EPS
    )
    np.testing.assert_allclose(trained, run.model.weight, atol=1e-13)
    for name, values in run.observed.items():
        np.testing.assert_allclose(observed[name], values, rtol=1e-12, atol=1e-15)
    scores = np.asarray(am.memory.particles(whole.first(n), run.model))
    assert (scores[:, n:] == -np.inf).all()
    assert np.isfinite(scores[:, :n]).all()
    # Particles of the cut task move as the matrix does; what cannot know the cut refuses it.
    moved = am.simulate(whole.first(n), am.ParticleSystem.zeros(whole), descent, every=30)
    np.testing.assert_allclose(moved.observed["loss"], run.observed["loss"], rtol=1e-10)
    again = am.ParticleSystem.from_memory(whole.first(n), run.model)
    np.testing.assert_allclose(
        am.memory.particles(small, run.model), again.scores(whole.first(n))[:n, :n], atol=1e-13
    )
    for refusing in (am.memory.max_margin, am.MarginSystem.zeros):
        cut = problem(jr.key(6), 4, 2, 4).first(3)
        with pytest.raises(ValueError, match="task must be one in which every class is possible"):
            refusing(cut)
    soft = am.AssociationTask(np.full(2, 0.5), np.full((2, 2), 0.5), np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match="task must be one with labels"):
        soft.first(1)


@pytest.mark.thorough
def test_low_rank_by_hand():
    task, rank = problem(jr.key(7), 6, 4, 5), 3
    W1 = np.asarray(am.memory.LowRankMemory.gaussian(task, jr.key(8), rank).output)
    written = np.asarray(task.outputs)[np.asarray(task.labels)].T @ np.asarray(task.inputs)
    memory = am.memory.LowRankMemory.one_step(task, jr.key(8), rank)
    expected = np.asarray(task.inputs) @ (W1.T @ W1 @ written).T @ np.asarray(task.outputs).T
    np.testing.assert_allclose(am.memory.particles(task, memory), expected, atol=200 * EPS)
    # It is a gradient step on W₂ from 0: autodiff, with q = p and outputs less their mean.
    centred = am.AssociationTask(
        task.probabilities, task.targets, task.inputs, task.outputs - task.outputs.mean(axis=0)
    )
    start = am.memory.LowRankMemory(W1, np.zeros((rank, 5)))
    slope = jax.grad(lambda w: centred.loss(am.memory.LowRankMemory(W1, w)))(start.input)
    step = am.memory.LowRankMemory.one_step(centred, jr.key(8), rank, task.probabilities)
    np.testing.assert_allclose(step.input, -slope, atol=50 * EPS)


def test_factorised_memory_is_a_gram_matrix():
    """Birth appendix D, orthonormal embeddings: u_kᵀWe_l = g_k·g_l, g = √(d/2d')(V₀e + U₀ᵀu)."""
    n, d, rank = 4, 7, 3
    rng = np.random.default_rng(9)
    E, U = helpers.orthonormal(rng, n, d), helpers.orthonormal(rng, n, d)
    task = am.AssociationTask(am.laws.uniform(n), jnp.arange(n), E, U)
    memory = am.memory.LowRankMemory.factorised(task, jr.key(9), rank)
    keys = jr.split(jr.key(9))
    U0, V0 = (
        np.asarray(jr.normal(keys[0], (d, rank))) / d**0.5,
        np.asarray(jr.normal(keys[1], (rank, d))) / d**0.5,
    )
    g = (d / (2 * rank)) ** 0.5 * (E @ V0.T + U @ U0)
    np.testing.assert_allclose(am.memory.particles(task, memory), (g @ g.T).T, atol=100 * EPS)


def test_mlp_by_hand_and_as_a_gradient_step():
    task = problem(jr.key(10), 6, 4, 5)
    memory = am.memory.MLPMemory.gaussian(task, jr.key(11), 8)
    memory = eqx.tree_at(lambda m: m.bias, memory, jnp.linspace(-0.3, 0.3, 8))
    W1, W2, b = (np.asarray(v) for v in (memory.output, memory.input, memory.bias))
    loop = [
        [u @ W1.T @ np.maximum(W2 @ e + b, 0) for u in np.asarray(task.outputs)]
        for e in np.asarray(task.inputs)
    ]
    np.testing.assert_allclose(am.memory.particles(task, memory), loop, atol=50 * EPS)
    centred = am.AssociationTask(
        task.probabilities, task.targets, task.inputs, task.outputs - task.outputs.mean(axis=0)
    )
    step = am.memory.MLPMemory.one_step(centred, jr.key(12), 8, jnp.tanh, task.probabilities)
    slope = jax.grad(lambda w: centred.loss(am.memory.MLPMemory(w, step.input, None, jnp.tanh)))(
        jnp.zeros((8, 5))
    )
    np.testing.assert_allclose(8 * step.output, -slope, atol=50 * EPS)
    # One neuron a token, open only above the threshold.
    thresholded = am.memory.MLPMemory.thresholded(task.first(5), 0.4)
    expected = [
        [
            sum(u @ task.outputs[int(task.labels[x])] * max(task.inputs[x] @ e - 0.4, 0) for x in range(5))
            for u in task.outputs
        ]
        for e in task.inputs
    ]
    found = am.memory.particles(task, thresholded)
    np.testing.assert_allclose(found, np.array(expected, float), atol=50 * EPS)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 5])
def test_hermite_features_have_the_kernel_of_a_power(degree):
    """E[σ(a)σ(b)] = ρ^k for unit normals of correlation ρ, by Gauss–Hermite (exact for polynomials)."""
    x, w = np.polynomial.hermite_e.hermegauss(12)
    w = w / w.sum()
    rho, sigma = 0.6, am.memory.Hermite(degree)
    a, b = x[:, None], rho * x[:, None] + (1 - rho**2) ** 0.5 * x[None]
    kernel = (w[:, None] * w * np.asarray(sigma(jnp.asarray(a)) * sigma(jnp.asarray(b)))).sum()
    assert kernel == pytest.approx(rho**degree, abs=1e-12)


@pytest.mark.thorough
def test_two_matrices_train_and_resume_like_any_model():
    task = problem(jr.key(13), 8, 8, 6, sphere=True)
    for start in (
        am.memory.LowRankMemory.gaussian(task, jr.key(0), 4),
        am.memory.MLPMemory.gaussian(task, jr.key(0), 12),
    ):
        run = am.simulate(task, start, am.Descent(optax.adam, 150, learning_rate=0.05), every=150)
        assert run.observed["error"][-1] == 0
        assert run.observed["loss"][-1] < 0.05


def test_pairs():
    first, second = np.arange(6.0).reshape(2, 3), 10 * np.arange(9.0).reshape(3, 3)
    sums = am.embeddings.pairs(jnp.asarray(first), jnp.asarray(second))
    np.testing.assert_array_equal(sums, [a + b for a in first for b in second])


@pytest.mark.thorough
def test_schemes():
    task = problem(jr.key(14), 7, 3, 4)
    assert np.asarray(am.memory.schemes.equal(task.first(4))).tolist() == [1, 1, 1, 1, 0, 0, 0]
    np.testing.assert_array_equal(am.memory.schemes.frequency(task), task.probabilities)
    q = jnp.array([3.0, 0, 5, 3, 1, 0, 0])
    assert np.asarray(am.memory.schemes.top(q, 2.9)).tolist() == [
        1,
        0,
        1,
        0,
        0,
        0,
        0,
    ]  # the first of equal ones
    assert np.asarray(am.memory.schemes.top(q, 6)).tolist() == [1, 0, 1, 1, 1, 0, 0]  # nothing unseen
    assert np.asarray(am.memory.schemes.seen(q, 3)).tolist() == [1, 0, 1, 1, 0, 0, 0]
    counts = np.asarray(am.memory.schemes.counts(task, jr.key(1), 20_000))
    assert counts.sum() == 20_000
    spread = np.sqrt(20_000 * np.asarray(task.probabilities))
    assert (np.abs(counts - 20_000 * np.asarray(task.probabilities)) <= 6 * spread).all()
    traced = jax.jit(lambda n: am.memory.schemes.counts(task, jr.key(1), n, 64))
    tokens, _ = task.sample(jr.key(1), 64)
    np.testing.assert_array_equal(traced(40), np.bincount(np.asarray(tokens)[:40], minlength=7))


@pytest.mark.thorough
def test_the_scheme_of_a_weight():
    """Read back what was written; q = ηp after one step; orthonormal tokens follow the recursion of Slides p. 34."""
    task = problem(jr.key(15), 6, 3, 5)
    centred = am.AssociationTask(
        task.probabilities, task.targets, task.inputs, task.outputs - task.outputs.mean(axis=0)
    )
    q = jnp.linspace(0.2, 2, 6)
    written = am.LinearMemory.outer_product(centred, q)
    np.testing.assert_allclose(am.memory.scheme(task, written), q, rtol=1e-10)
    assert float(am.memory.scheme_share(task, written)) == pytest.approx(1, abs=1e-12)
    start = am.LinearMemory.gaussian(task, jr.key(16))
    moved = am.LinearMemory(start.weight + written.weight)
    np.testing.assert_allclose(am.memory.scheme(task, moved, start.weight), q, rtol=1e-10)
    assert float(am.memory.scheme_share(task, moved)) < 0.95
    assert float(am.memory.scheme_share(task, am.LinearMemory.zeros(task))) == 0
    first = am.simulate(task, am.LinearMemory.zeros(task), am.Descent(optax.sgd, 1, learning_rate=0.7))
    np.testing.assert_allclose(am.memory.scheme(task, first.model), 0.7 * task.probabilities, rtol=1e-10)
    n, m, rate, steps = 6, 4, 3.0, 25
    labels = jnp.array([0, 1, 2, 3, 0, 1])
    easy = am.AssociationTask(am.laws.zipf(n, 1.0), labels, jnp.eye(n), jnp.eye(m))
    run = am.simulate(easy, am.LinearMemory.zeros(easy), am.Descent(optax.sgd, steps, learning_rate=rate))
    gamma = rate * easy.probabilities * m / (m - 1)
    np.testing.assert_allclose(
        am.memory.scheme(easy, run.model), scaling.learned(jnp.tile(gamma, (steps, 1)), m), rtol=1e-12
    )
    loop = np.zeros(n)
    for _ in range(steps):
        loop += np.asarray(gamma) / (1 + np.exp(loop) / (m - 1))
    np.testing.assert_allclose(am.memory.scheme(easy, run.model), loop, rtol=1e-12)


def test_hutter():
    """The sum term by term; unseen mass of samples; the limit against the zeta tail in mpmath."""
    p = am.laws.zipf(50, 2.0)
    for n in (0, 1, 7, 300):
        assert float(scaling.hutter(p, n)) == pytest.approx(
            sum(float(v) * (1 - float(v)) ** n for v in p), rel=1e-12
        )
    assert scaling.hutter(p, jnp.array([1, 7])).shape == (2,)
    task = am.AssociationTask(p, jnp.zeros(50, int), jnp.eye(50), jnp.eye(2))
    draw = jax.jit(
        jax.vmap(lambda key: jnp.sum(jnp.where(am.memory.schemes.counts(task, key, 20) == 0, p, 0)))
    )
    unseen = np.asarray(draw(jr.split(jr.key(17), 4000)))
    assert abs(unseen.mean() - float(scaling.hutter(p, 20))) <= 6 * unseen.std() / 4000**0.5
    n, a = 10_000, 2.0
    z = mpmath.zeta(a)
    # Σ over all x: the first 20,000 terms, then (1 − p)^n ≈ e^{−np} with np < 2e-5: p(1 − np) to 1e-9 of the tail.
    head = sum((1 / z / x**a) * (1 - 1 / z / x**a) ** n for x in range(1, 20_001))
    tail = mpmath.zeta(a, 20_001) / z - n * mpmath.zeta(2 * a, 20_001) / z**2
    # The printed limit is the integral of the sum: off by half its last term, p ~ 1/n.
    assert float(scaling.hutter_limit(a, n)) == pytest.approx(float(head + tail), abs=1 / n)
    assert float(scaling.hutter_limit(a, 4 * n) / scaling.hutter_limit(a, n)) == pytest.approx(0.5, rel=1e-12)
    kept = np.asarray(scaling.unstored(p, np.array([0, 3, 50, 80])))
    np.testing.assert_allclose(kept, [1, 1 - float(p[:3].sum()), 0, 0], atol=1e-14)
    np.testing.assert_allclose(scaling.unstored(p, len(p) - 1), p[-1], rtol=1e-15)
    with pytest.raises(ValueError, match="kept must be at least 0, got -1"):
        scaling.unstored(p, -1)
    exponents = scaling.frequency_exponent(2.0), scaling.threshold_exponent(1.5), scaling.sample_exponent(2.0)
    assert [float(v) for v in exponents] == [0.25, 0.5, 0.5]


def test_slopes_and_their_intervals():
    """Coverage of known errors; scatter widens; a bend is told; exact points give the exact slope."""
    rng = np.random.default_rng(18)
    x = np.geomspace(10, 1000, 8)
    assert am.power_law(x, 3 * x**-1.5).slope == pytest.approx(-1.5, abs=1e-12)
    assert am.power_law(x, 3 * x**-1.5).prefactor == pytest.approx(3, rel=1e-11)
    hits, bends = [], []
    for _ in range(1000):
        y = x**-0.5 * np.exp(0.05 * rng.normal(size=8))
        fit = am.power_law(x, y, 0.05 * y)
        hits.append(fit.interval[0] <= -0.5 <= fit.interval[1])
        bends.append(abs(fit.curvature))
    assert np.mean(hits) >= 0.95 - 6 * (0.95 * 0.05 / 1000) ** 0.5
    assert np.mean(np.array(bends) > 3) < 0.02
    y = x**-0.5 * np.exp(0.5 * rng.normal(size=8))
    scattered = am.power_law(x, y, 0.01 * y)
    assert scattered.interval[1] - scattered.interval[0] > 0.2
    bent = am.power_law(x, 1 / (1 + (x / 100) ** 2), 0.01 / (1 + (x / 100) ** 2))
    assert bent.curvature < -10
    assert bent.local == pytest.approx(-1.9, abs=0.15)
    # Weighted: two precise points fix the line.
    weighted = am.power_law([1, 10, 100], [1, 5, 100], [1e-9, 5, 1e-7])
    assert weighted.slope == pytest.approx(1, abs=1e-6)


REFUSED = [
    (lambda: am.power_law([1, 2], [1, 2]), "x and y must be vectors of one length, at least 3"),
    (lambda: am.power_law([1, 2, 3], [1, 0, 2]), "x and y must be positive, got values that are not; drop them"),
    (lambda: am.power_law([1, 2, 3], [1, 1, 2], [0, 1, 1]), "error must be positive and finite, one for each y"),
    (lambda: am.memory.LowRankMemory(np.ones((2, 3)), np.ones((3, 3))), "output must be of 3 rows, as input, got 2 rows"),
    (lambda: am.memory.LowRankMemory.factorised(problem(jr.key(0), 3, 3, 4, k=5), jr.key(0), 2), "task must be of embeddings of one width (Birth appendix D), got widths 5 and 4"),
    (lambda: am.memory.MLPMemory(np.ones((2, 3)), np.ones((2, 3)), np.ones(3)), "bias must be of shape (2,), got shape (3,)"),
    (lambda: am.LinearMemory.outer_product(problem(jr.key(0), 3, 3, 4), jnp.ones(2)), "scheme must be q(x) of shape (3,), got shape (2,)"),
    (lambda: am.memory.schemes.counts(problem(jr.key(0), 3, 3, 4), jr.key(0), 9, 4), "n must be between 0 and 4, got 9"),
    (lambda: am.AssociationTask(np.ones(1), np.zeros(1, int), np.ones((1, 2)), np.ones((2, 2)), possible=np.array([True])), "possible must be 2 truth values, one a class, got bool(1,)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m.split(" must")[0] for _, m in REFUSED])
def test_refusals(call, message):
    helpers.refused(call, message)
