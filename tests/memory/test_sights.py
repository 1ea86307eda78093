"""Slides p. 34: the recursion of batches of one, and a memory with embeddings of its own."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from scipy import stats

import assocmem_jax as am
import helpers
from assocmem_jax import theory


def test_expected_scheme_is_the_binomial_mean():
    """NumPy's loop over SciPy's binomial law; n = 60, rates from counting to saturating; to 1e-12."""
    p, n, classes = np.array([0.5, 0.3, 0.15, 0.05]), 60, 4
    for rate in (0.01, 1.0, 10.0):
        table = [0.0]
        for _ in range(n):
            table.append(table[-1] + rate * classes / (np.exp(table[-1]) + classes - 1))
        wanted = [stats.binom.pmf(np.arange(n + 1), n, x) @ np.array(table) for x in p]
        found = theory.recursion.expected(jnp.asarray(p), rate, classes, n)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        # Small rates count, large ones hold what is seen equally.
        if rate == 0.01:
            np.testing.assert_allclose(found, rate * n * p, rtol=0.1)
        if rate == 10.0:
            np.testing.assert_allclose(found / rate, 1 - (1 - p) ** n, rtol=0.02)


def test_certain_tokens_have_no_binomial_trouble():
    found = theory.recursion.expected(jnp.array([1.0, 0.0]), 1.0, 3, 5)
    q = 0.0
    for _ in range(5):
        q += 3 / (np.exp(q) + 2)
    np.testing.assert_allclose(found, [q, 0], rtol=1e-12)


def loop(weight, inputs, outputs, p, labels, rate, steps):
    """Descent of W, E and U, each by its gradient of the loss at one time: token by token."""
    W, E, U = weight.copy(), inputs.copy(), outputs.copy()
    for _ in range(steps):
        dW, dE, dU = np.zeros_like(W), np.zeros_like(E), np.zeros_like(U)
        for x, y in enumerate(labels):
            pull = p[x] * (helpers.softmax(U @ W @ E[x]) - np.eye(len(U))[y])
            dW += np.outer(U.T @ pull, E[x])
            dE[x] += W.T @ U.T @ pull
            dU += np.outer(pull, W @ E[x])
        W, E, U = W - rate * dW, E - rate * dE, U - rate * dU
    return W, E, U


def test_embeddings_learn_with_the_matrix():
    """Twenty steps of rate 1 against the loop: 64 roundings of entries of size 10, a step."""
    p, labels, E, U, W = helpers.random_problem(30, n=5, m=3, d=4, k=2)
    task = am.AssociationTask(p, labels, E, U)
    model = am.memory.EmbeddedMemory(W, E, U)
    np.testing.assert_allclose(model.scores(task), am.LinearMemory(W).scores(task), atol=1e-13)
    run = am.simulate(task, model, am.Descent(optax.sgd(1.0), 20))
    for found, wanted in zip(run.model.trainable(), loop(W, E, U, p, labels, 1.0, 20)):
        np.testing.assert_allclose(found, wanted, atol=20 * 64 * 2.0**-52 * 10)
    assert np.abs(run.model.inputs - E).max() > 0.1


def test_its_matrix_alone_is_a_linear_memory():
    p, labels, E, U, W = helpers.random_problem(31, n=4, m=3, d=4, k=3)
    task = am.AssociationTask(p, labels, E, U)
    sgd, key = am.Descent(optax.sgd(0.5), 30, 2), jr.key(1)
    alone = am.simulate(task, am.LinearMemory(W), sgd, key=key)
    model = am.memory.EmbeddedMemory(W, E, U)
    held = am.simulate(task, model, sgd, key=key, trainable=lambda m: m.weight)
    np.testing.assert_allclose(held.model.weight, alone.model.weight, atol=1e-12)
    np.testing.assert_array_equal(held.model.inputs, E)


def test_what_does_not_fit_is_one_line():
    with pytest.raises(
        ValueError, match=r"weight must be of shape \(3, 2\), as the embeddings, got shape \(2, 3\)"
    ):
        am.memory.EmbeddedMemory(np.ones((2, 3)), np.ones((4, 2)), np.ones((5, 3)))
    task = am.two_tokens(0.5, 0.75)
    wide = am.memory.EmbeddedMemory(np.ones((2, 2)), np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="model must be"):
        am.simulate(task, wide, am.Descent(optax.sgd(1.0), 1))


def test_no_more_sights_than_the_table_has():
    with pytest.raises(ValueError, match=r"largest must be at least the most sights, .* got 5 for 9"):
        theory.recursion.after(jnp.array([3, 5, 9]), 1.0, 5, 5)
    found = theory.recursion.expected(jnp.array([0.25]), 1.0, 5, 10_000)
    table = [0.0]
    for _ in range(10_000):
        table.append(table[-1] + 5 / (np.exp(table[-1]) + 4))
    np.testing.assert_allclose(found, stats.binom.pmf(np.arange(10_001), 10_000, 0.25) @ table, rtol=1e-12)
