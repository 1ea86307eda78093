"""Noise with the covariance of minibatches, GD (6)–(7): its covariance, its order, what it is not for."""

import itertools

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
import scipy.linalg

import assocmem_jax as am
import helpers


def the_same(params):
    return params


def covariance(p, targets, inputs, outputs, weight):
    """Cov of the gradient of one example (x, y) ~ p(x) p(y|x), pair by pair in NumPy."""
    q = helpers.conditional(targets, len(outputs))
    mean = helpers.gradient(weight, p, targets, inputs, outputs).ravel()
    total = -np.outer(mean, mean)
    for x, y in itertools.product(range(len(p)), range(len(outputs))):
        one = helpers.gradient(weight, np.ones(1), np.array([y]), inputs[[x]], outputs).ravel()
        total += p[x] * q[x, y] * np.outer(one, one)
    return total


def columns(noise, task, memory, key=None):
    """What each ξ_i moves, one a column: the increment is linear in them."""
    count = noise.normals(task, memory)
    each = jax.jacobian(lambda xi: noise.moved(task, the_same, memory, xi, key).weight)(jnp.zeros(count))
    return np.asarray(each).reshape(-1, count)


@pytest.mark.parametrize("soft", helpers.few([True, False]))
def test_its_covariance_is_that_of_a_minibatch(soft):
    """A Aᵀ = (η/B) Cov(g) entry by entry, to 100 roundings of the largest."""
    problem = helpers.random_problem(20, n=5, m=4, d=3, k=6, soft=soft)
    task, memory = am.AssociationTask(*problem[:4]), am.LinearMemory(problem[4])
    A = columns(am.MinibatchNoise(0.3, 2), task, memory)
    wanted = 0.3 / 2 * covariance(*problem)
    np.testing.assert_allclose(A @ A.T, wanted, atol=100 * 2.0**-52 * np.abs(wanted).max())
    # The same minus nothing: the second moment of g is another matrix.
    mean = helpers.gradient(problem[4], *problem[:4]).ravel()
    assert np.abs(0.15 * np.outer(mean, mean)).max() > 1e-3 * np.abs(wanted).max()


def focal(scores, target):
    """Has no derivative where its answer is impossible: ∞ times 0."""
    log_p = jnp.sum(jnp.where(target > 0, jax.nn.log_softmax(scores), 0) * target)
    return -((1 - jnp.exp(log_p)) ** 2) * log_p


def test_pairs_that_are_never_drawn_are_no_infinity():
    """p(y|x) = 0 at a class that is not possible: its loss is infinite, its share nothing."""
    q, possible = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]), np.array([True, True, False])
    p, E, U, zero = np.array([0.4, 0.6]), np.eye(2), np.eye(3), am.LinearMemory(np.zeros((3, 2)))
    noise = am.MinibatchNoise(1.0, 1)
    A = columns(noise, am.AssociationTask(p, q, E, U, possible), zero)
    wanted = covariance(p, q[:, :2], E, U[:2], np.zeros((3, 2)))  # the third class without its score
    np.testing.assert_allclose(A @ A.T, wanted, atol=1e-15)
    A = columns(noise, am.AssociationTask(p, q, E, U, possible, loss=focal), zero)
    assert np.isfinite(A).all()
    assert np.linalg.norm(A) > 0.1


def test_drawn_examples_have_that_covariance_on_average():
    """The mean of A Aᵀ over 4,000 draws, to five standard errors of each entry; rank at most draws − 1."""
    problem = helpers.random_problem(21, n=4, m=3, d=2, k=3)
    task, memory = am.AssociationTask(*problem[:4]), am.LinearMemory(problem[4])
    noise, n = am.MinibatchNoise(0.3, 2, draws=3), 4000

    def product(key):
        move = lambda xi: noise.moved(task, the_same, memory, xi, key).weight.ravel()  # noqa: E731
        A = jax.jacobian(move)(jnp.zeros(3))
        return A @ A.T

    found = np.asarray(jax.jit(jax.vmap(product))(jr.split(jr.key(5), n)))
    error = found.std(axis=0) / np.sqrt(n) + 1e-15
    assert (np.abs(found.mean(axis=0) - 0.15 * covariance(*problem)) < 5 * error).all()
    assert np.linalg.matrix_rank(found[0], tol=1e-12) <= 2


# One weight: a token at 1 and one at −.6, both of class 0. The first wants m > 0, the second m < 0.
P, SIDE, T = np.array([0.6, 0.4]), np.array([1.0, -0.6]), 2.0
LINE = am.AssociationTask(P, np.zeros(2, int), SIDE[:, None], np.eye(2))


def phi(m):
    """Test functions: the loss, and the square of the margin kept bounded."""
    return np.stack([P @ np.logaddexp(0, -SIDE[:, None] * m), np.tanh(m) ** 2])


def descended(rate):
    """E φ(m_T) of SGD with batches of one, over all 2^(T/η) of them."""
    m, weight = np.zeros(1), np.ones(1)
    for _ in range(round(T / rate)):
        pulls = [m + 2 * rate * s / (1 + np.exp(s * m)) for s in SIDE]
        m, weight = np.concatenate(pulls), np.concatenate([p * weight for p in P])
    return phi(m) @ weight


def diffused(noise, rate, nodes=141, width=14.0):
    """E φ(m_T) of the diffusion with the package's drift and noise: Kolmogorov's backward equation at
    Chebyshev points. At the ends, which it does not reach, there is drift inwards alone."""
    j = np.arange(nodes)
    x = np.cos(np.pi * j / (nodes - 1))
    c = np.where((j == 0) | (j == nodes - 1), 2.0, 1.0) * (-1.0) ** j
    D = np.outer(c, 1 / c) / (x[:, None] - x + np.eye(nodes))
    D, m = (D - np.diag(D.sum(axis=1))) / width, width * x

    def coefficients(m):
        memory = am.LinearMemory(jnp.stack([m, -m])[:, None] / 2)
        velocity = lambda w: jax.tree.map(jnp.negative, am.gradient(LINE, w))  # noqa: E731
        gap = lambda w: w.weight[0, 0] - w.weight[1, 0]  # noqa: E731
        spread = jax.jacobian(lambda xi: gap(noise.moved(LINE, the_same, memory, xi)))(jnp.zeros(2))
        return gap(noise.drift(velocity, memory)), jnp.sum(spread**2)

    b, square = map(np.asarray, jax.jit(jax.vmap(coefficients))(jnp.asarray(m)))
    square = np.where((j == 0) | (j == nodes - 1), 0, square)
    generator = b[:, None] * D + square[:, None] / 2 * (D @ D)
    values = scipy.linalg.expm(T * generator) @ phi(m).T
    return values[nodes // 2]  # m = 0 is the middle node


@pytest.mark.parametrize(("second", "order"), [(False, 1), (True, 2)])
def test_weak_order_in_the_learning_rate(second, order):
    """E φ(diffusion) − E φ(SGD) = η^k (a + bη + O(η²)), k = 1, or 2 with the second-order drift; no sampling.

    a from (½, ¼) and from (¼, ⅛): apart by the third order, a few hundredths; by half of a, were k one less.
    Of the loss the first-order term nearly cancels here (a sign changes at η ≈ .4): at k = 1 only tanh²m.
    """
    rates = np.array([0.5, 0.25, 0.125])
    noises = [am.MinibatchNoise(rate, 1, second_order=second) for rate in rates]
    gaps = [diffused(noise, rate) - descended(rate) for noise, rate in zip(noises, rates)]
    scaled = np.array(gaps) / rates[:, None] ** order
    early, late = 2 * scaled[1] - scaled[0], 2 * scaled[2] - scaled[1]
    chosen = slice(None) if second else slice(1, None)
    np.testing.assert_allclose(early[chosen], late[chosen], rtol=0.1)
    assert (np.abs(late[chosen]) > 0.01).all()


def sampled(dynamics, paths):
    """φ at the end of many runs from m = 0, one row a test function."""
    start = am.LinearMemory(jnp.zeros((2, 1)))

    def one(key):
        run = am.simulate(LINE, start, dynamics, observe={}, key=key, every=dynamics.steps)
        return run.model.weight[0, 0] - run.model.weight[1, 0]

    return phi(np.asarray(jax.jit(jax.vmap(one))(jr.split(jr.key(3), paths))))


@pytest.mark.parametrize("paths", [10_000, pytest.param(200_000, marks=pytest.mark.soak)])
def test_runs_have_these_laws(paths):
    """η = ½: flows against Kolmogorov's equation, SGD against all its batches; to five standard errors, and
    for flows the bias of Euler–Maruyama, which is what halving the step moves (same paths)."""
    noise = am.MinibatchNoise(0.5, 1)
    fine = sampled(am.StochasticFlow(noise, T, 64), paths)
    coarse = sampled(am.StochasticFlow(noise, T, 32, refine=2), paths)
    error = 5 * fine.std(axis=1) / np.sqrt(paths)
    bias = np.abs((fine - coarse).mean(axis=1))
    assert (bias < 0.02).all()
    assert (np.abs(fine.mean(axis=1) - diffused(noise, 0.5)) < error + bias).all()
    batches = sampled(am.Descent(optax.sgd(0.5), 4, 1), paths)
    error = 5 * batches.std(axis=1) / np.sqrt(paths)
    assert (np.abs(batches.mean(axis=1) - descended(0.5)) < error).all()
    # The two laws are told apart: that is the order-one gap in η.
    assert (fine.mean(axis=1) - batches.mean(axis=1))[1] < -0.03


def test_noise_stays_in_the_span_of_the_examples():
    """Isotropic noise moves every entry of W; this one only along (u_j − u_k) ⊗ e_x: rounding of 50 steps."""
    problem = helpers.random_problem(22, n=2, m=3, d=5, k=6)
    task, memory = am.AssociationTask(*problem[:4]), am.LinearMemory(problem[4])
    E, U = problem[2], problem[3]
    span = np.stack([np.outer(U[j] - U[0], e).ravel() for e in E for j in (1, 2)])
    basis = np.linalg.svd(span, full_matrices=False)[2]
    aside = []
    for sigma in (am.MinibatchNoise(0.5, 1), 0.3):
        run = am.simulate(task, memory, am.StochasticFlow(sigma, 5.0, 50), key=jr.key(0))
        moved = np.asarray(run.model.weight - memory.weight).ravel()
        aside.append(np.linalg.norm(moved - basis.T @ (basis @ moved)))
        assert np.linalg.norm(moved) > 0.1
    assert aside[0] < 1e-13
    assert aside[1] > 0.3


def test_what_it_is_not_for_is_one_line():
    task, noise = am.two_tokens(0.5, 0.75), am.MinibatchNoise(0.1, 4)
    bigrams = am.TriggerTask(np.eye(3), np.eye(3), np.ones(3), length=3, draws=2)
    attention = am.TriggerAttention(np.ones(3), np.eye(3), beta=1.0)
    facts = am.FactualTask.balanced(4, 2, 2, jr.key(0), noise=2, length=5)
    products = am.factual.FactualSystem.constant(facts, start=1.0)
    text = am.BigramTask(np.ones(3) / 3, np.ones((3, 3)) / 3, length=12, triggers=1, data=2, key=jr.key(0))
    for call, words in (
        (lambda: am.MinibatchNoise(0.0, 4), "learning_rate must be positive and finite, got 0.0"),
        (lambda: am.MinibatchNoise(0.1, 0), "batch_size must be at least 1, got 0"),
        (lambda: am.MinibatchNoise(0.1, 1, draws=1), "draws must be at least 2, got 1"),
        (
            lambda: am.StochasticFlow(noise, 1.0, 3, solver=diffrax.Heun()),
            "solver must be diffrax.Euler() for a MinibatchNoise, got Heun; its noise",
        ),
        (
            lambda: am.StochasticFlow(noise, 1.0, 3, solver=diffrax.ItoMilstein()),
            "solver must be diffrax.Euler()",
        ),
        (
            lambda: am.StochasticFlow(am.MinibatchNoise(0.1, 4, draws=8), 1.0, 3, refine=2),
            "refine must be 1 where examples are drawn, got 2; leave draws out",
        ),
        (
            lambda: noise.normals(bigrams, attention),
            "draws must be given for a task that does not list its examples, got None; Mini",
        ),
        (
            lambda: noise.normals(facts, products),
            "dynamics must be a flow or a descent for a reduced system",
        ),
        (lambda: noise.normals(text, attention), "task must be one whose batch loss is a mean over examples"),
    ):
        with pytest.raises(ValueError, match="must be") as refused:
            call()
        assert words in str(refused.value)
    # Drawn examples: any task with a sampler.
    drawn = am.StochasticFlow(am.MinibatchNoise(0.1, 4, draws=8), 1.0, 2)
    run = am.simulate(bigrams, attention, drawn, key=jr.key(0), observe={})
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.model.trainable()))
    assert am.simulate(task, am.LinearMemory.zeros(task), drawn, key=jr.key(0)).status == 0
