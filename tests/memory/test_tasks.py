"""Laws, embeddings, losses over batches, sampling."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats

import assocmem_jax as am
import helpers


def test_laws():
    np.testing.assert_allclose(am.laws.uniform(4), 0.25)
    expected = np.arange(1, 6) ** -1.5
    np.testing.assert_allclose(am.laws.zipf(5, 1.5), expected / expected.sum(), rtol=1e-14)
    np.testing.assert_allclose(am.laws.zipf(5, -400.0)[-1], 1, rtol=1e-12)
    np.testing.assert_allclose(am.laws.imbalance(0.7), [0.7, 0.3])
    slope = jax.grad(lambda a: am.laws.zipf(5, a)[0])(1.5)
    ends = [float(am.laws.zipf(5, 1.5 + h)[0]) for h in (1e-6, -1e-6)]
    assert float(slope) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-8)


@pytest.mark.thorough
def test_embeddings():
    key = jr.key(0)
    gram = am.embeddings.orthonormal(key, 3, 5)
    np.testing.assert_allclose(gram @ gram.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(am.embeddings.sphere(key, 50, 7), axis=1), 1, rtol=1e-14)
    entries = np.asarray(am.embeddings.gaussian(key, 300, 100))
    assert entries.var() == pytest.approx(1 / 100, rel=5 * np.sqrt(2 / 30000))
    for alpha in (-1.0, -0.3, 0.0, 0.95, 1.0):
        pair = am.embeddings.correlated_pair(alpha)
        np.testing.assert_allclose(pair @ pair.T, [[1, alpha], [alpha, 1]], atol=1e-15)
        np.testing.assert_allclose((pair[0] + pair[1])[1], 0, atol=1e-15)
    for alpha in (-1 / 3, 0.0, 0.5, 1.0):
        rows = am.embeddings.equicorrelated(4, alpha, 6)
        assert rows.shape == (4, 6)
        np.testing.assert_allclose(rows @ rows.T, (1 - alpha) * np.eye(4) + alpha, atol=1e-14)
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(5, 2))
    rows = am.embeddings.from_gram(factor @ factor.T, 3)
    np.testing.assert_allclose(rows @ rows.T, factor @ factor.T, atol=1e-13)
    assert am.embeddings.one_hot(3, 4).tolist() == np.eye(3, 4).tolist()


def test_mean_over_all_batches_is_the_population_gradient():
    """GD (7), gd.2: the mean over a batch is unbiased; enumerated over every batch of two."""
    p, targets, inputs, outputs, weight = helpers.random_problem(60, n=3, m=3, soft=True)
    task = am.AssociationTask(p, targets, inputs, outputs)
    pairs = [(x, y, p[x] * targets[x, y]) for x in range(3) for y in range(3)]

    def batch_gradient(x, y):
        return jax.grad(lambda w: task.sampled_loss(am.LinearMemory(w), (x, y)))(weight)

    x, y = (
        jnp.array(v) for v in zip(*[((a[0], b[0]), (a[1], b[1])) for a, b in itertools.product(pairs, pairs)])
    )
    chance = np.array([a[2] * b[2] for a, b in itertools.product(pairs, pairs)])
    mean = np.einsum("b,bij->ij", chance, jax.vmap(batch_gradient)(x, y))
    np.testing.assert_allclose(
        mean, helpers.gradient(weight, p, targets, inputs, outputs), rtol=1e-11, atol=1e-15
    )


def chi_squared(counts, p):
    expected = counts.sum() * p
    assert expected.min() > 5
    return stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), len(p) - 1)


@pytest.mark.parametrize("soft", [False, True])
def test_sampling_passes_chi_squared_and_the_test_can_fail(soft):
    draws = 2_000_000
    p, targets, inputs, outputs, _ = helpers.random_problem(61, n=6, m=4, soft=soft)
    task = am.AssociationTask(p, targets, inputs, outputs)
    x, y = (np.asarray(v) for v in jax.jit(lambda k: task.sample(k, draws))(jr.key(5)))
    joint = p[:, None] * helpers.conditional(targets, 4)
    counts = np.zeros((6, 4))
    np.add.at(counts, (x, y), 1)
    if soft:
        assert chi_squared(counts.ravel(), joint.ravel()) > 1e-4
    else:
        assert (y == targets[x]).all()
        assert chi_squared(counts.sum(axis=1), p) > 1e-4
    biased = 0.99 * p + 0.01 / 6
    assert chi_squared(counts.sum(axis=1), biased) < 1e-6  # one per cent of bias is seen


@pytest.mark.thorough
def test_rare_tokens_keep_their_rate_in_float32(float32):
    """4,095 tokens of p = 2⁻²⁶, below a float32 uniform's grid of 2⁻²³: how many draws, how many tokens."""
    n, rare = 4096, 2.0**-26
    p = np.full(n, rare)
    p[0] = 1 - rare * (n - 1)
    task = am.AssociationTask(jnp.asarray(p, jnp.float32), jnp.zeros(n, int), jnp.ones((n, 1)), jnp.eye(2))
    draws, rounds = 1 << 22, 8

    @jax.jit
    def draw(key):
        return jnp.zeros(n, int).at[task.sample(key, draws)[0]].add(1)

    counts = np.asarray(sum(draw(jr.fold_in(jr.key(1), i)) for i in range(rounds)))[1:]
    expected = rounds * draws * rare * (n - 1)
    assert counts.sum() == pytest.approx(expected, abs=5 * np.sqrt(expected))
    hit = 1 - np.exp(-rounds * draws * rare)
    assert (counts > 0).sum() == pytest.approx(hit * n, abs=5 * np.sqrt(n * hit * (1 - hit)))


@pytest.mark.thorough
def test_soft_one_hot_is_hard():
    p, targets, inputs, outputs, weight = helpers.random_problem(62)
    hard = am.AssociationTask(p, targets, inputs, outputs)
    soft = am.AssociationTask(p, np.eye(3)[targets], inputs, outputs)
    memory = am.LinearMemory(weight)
    for observable in (am.loss, am.error, am.margins, am.sharpness, am.memory.weight_gradient):
        np.testing.assert_allclose(observable(hard, memory), observable(soft, memory), rtol=1e-12, atol=1e-15)
