"""The search for the largest N at which a share of the memories still answers all."""

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


def test_few_tokens_without_an_error_are_no_certainty():
    """All right at every N: with 4 seeds × N tokens, N < 90 cannot tell .99 from 1.

    2.0 ≈ t·√(p(1−p)/4N)/(1−p).
    """
    found = am.capacity(
        make_coin,
        no_model,
        0.99,
        largest=60,
        seeds=4,
        measure=lambda task, model: 1.0 + 0 * toss(task, model),
    )
    assert (found.status, found.size, found.interval) == ("above", 60, (0.0, np.inf))


class Coin(eqx.Module):
    """A task whose recall at N is drawn about 1/(1 + (N/100)²), spread .02: half at N = 100."""

    key: jax.Array
    n: jax.Array

    def first(self, n):
        return Coin(self.key, n)


def toss(task, model):
    size = jnp.asarray(task.n, float)
    return 1 / (1 + (size / 100) ** 2) + 0.02 * jr.normal(jr.fold_in(task.key, task.n))


def noisy(task, model):
    """The same with a spread of .15 over seeds, far above the floor of N × seeds fair coins."""
    return toss(task, model) + 0.15 * jr.normal(task.key)


def make_coin(key, n):
    return Coin(key, jnp.asarray(n))


def no_model(task, key):
    return None


def test_search_finds_a_known_crossing():
    found = am.capacity(make_coin, no_model, 0.5, largest=1000, seeds=400, measure=toss)
    assert found.status == "ok"
    assert found.interval[0] <= 100 <= found.interval[1]
    assert abs(found.size - 100) < 2  # spread .001 of the mean over a slope of .005 an N
    assert found.bracket[1] - found.bracket[0] <= 1
    assert found.recall.shape == (len(found.sizes), 400)
    np.testing.assert_array_equal(found.sizes, np.unique(found.sizes))
    assert str(found).startswith("Capacity(N = ")
    assert str(found).endswith(f", recall 0.5, 400 seeds, {len(found.sizes)} sizes tried)")
    above = am.capacity(make_coin, no_model, 0.5, largest=60, seeds=4, measure=toss)
    assert (above.status, above.size, above.interval[1]) == ("above", 60, np.inf)
    assert above.interval[0] <= 60
    below = am.capacity(make_coin, no_model, 0.5, largest=1000, smallest=300, seeds=4, measure=toss)
    assert (below.status, below.size, below.interval[0]) == ("below", 300, 0)


@pytest.mark.thorough
def test_a_search_ends_between_neighbouring_numbers():
    """At a resolution below rounding the bracket is as narrow as numbers are: it went on for ever."""
    found = am.threshold(
        lambda key, d: d / (d + 10.0), smallest=1.0, largest=1000.0, seeds=4, resolution=1e-18
    )
    low, high = found.bracket
    assert high == np.nextafter(low, np.inf)
    assert abs(low - 10) < 1e-12


def test_intervals_cover():
    """95 % intervals of 300 searches hold the truth; six standard errors below .95, and not by being idle."""
    runs = [
        am.capacity(make_coin, no_model, 0.5, largest=1000, seeds=8, measure=noisy, key=jr.key(k))
        for k in range(300)
    ]
    hits = np.mean([r.interval[0] <= 100 <= r.interval[1] for r in runs])
    assert hits >= 0.95 - 6 * (0.95 * 0.05 / 300) ** 0.5
    # Student's 2.36 × .15/√8 = .125 each way, over a slope of .005 an N.
    assert np.median([r.interval[1] - r.interval[0] for r in runs]) < 1.5 * 2 * 0.125 / 0.005


def written(task, key):
    return am.LinearMemory.outer_product(task)


@pytest.mark.thorough
@pytest.mark.parametrize("together", [None, 7])
def test_two_answers_fit_where_the_closed_form_says(together):
    """Unit inputs, orthonormal outputs: Φ(√(d/(N−1))) = .99 at N = 1 + d/2.326²."""
    d = 128

    def make(key, n):
        keys = jr.split(key)
        labels = jr.randint(keys[0], (n,), 0, 2)
        return am.AssociationTask(
            am.laws.uniform(n), labels, am.embeddings.sphere(keys[1], n, d), jnp.eye(2, d)
        )

    found = am.capacity(make, written, largest=60, seeds=100, together=together)
    expected = 1 + d / stats.norm.ppf(0.99) ** 2
    # .4748·1.6/√23 of Berry–Esseen is too wide to be of use in the tail; its density there is near the
    # normal's.
    assert found.interval[0] <= expected <= found.interval[1]
    assert found.size == pytest.approx(expected, rel=0.15)


@pytest.mark.thorough
def test_trained_memories_fit_more():
    def make(key, n):
        keys = jr.split(key)
        draw = am.embeddings.sphere
        return am.AssociationTask(am.laws.uniform(n), jnp.arange(n), draw(keys[0], n, 6), draw(keys[1], n, 6))

    adam = am.Descent(optax.adam, 200, learning_rate=0.3)

    def trained(task, key):
        run = am.simulate(task, am.LinearMemory.zeros(task), adam, observe={}, every=200, throw=False)
        return run.model

    few = am.capacity(make, written, 0.9, largest=24, seeds=20)
    many = am.capacity(make, trained, 0.9, largest=40, seeds=20)
    assert many.interval[0] > 2 * few.interval[1]


@pytest.mark.thorough
def test_seeds_over_devices():
    code = """
import jax; jax.config.update("jax_num_cpu_devices", 2)
import jax.random as jr, numpy as np
import assocmem_jax as am
def make(key, n):
    k = jr.split(key)
    inputs, outputs = am.embeddings.sphere(k[0], n, 16), am.embeddings.sphere(k[1], 2, 16)
    return am.AssociationTask(am.laws.uniform(n), jax.numpy.arange(n) % 2, inputs, outputs)
written = lambda task, key: am.LinearMemory.outer_product(task)
one, two = (am.capacity(make, written, .9, largest=30, seeds=6, devices=n) for n in (1, 2))
assert np.array_equal(one.sizes, two.sizes)
assert np.allclose(one.recall, two.recall, atol=1e-6), (one, two)
"""
    helpers.run_python(code)


REFUSED = [
    (lambda: am.capacity(make_coin, no_model, 1.0, largest=9), "target must be between 0 and 1, got 1.0"),
    (lambda: am.capacity(make_coin, no_model, largest=1), "largest must be at least 3, got 1"),
    (lambda: am.capacity(make_coin, no_model, largest=9, seeds=1), "seeds must be at least 2, got 1; an interval needs two"),
    (lambda: am.capacity(make_coin, no_model, largest=9, level=0.0), "level must be between 0 and 1, got 0.0"),
    (lambda: am.capacity(make_coin, no_model, largest=9, seeds=3, devices=2), "seeds must be a multiple of devices = 2, got 3"),
    (lambda: am.capacity(make_coin, no_model, largest=9, measure=lambda t, m: jnp.asarray(jnp.nan)), "measure must be finite, got nan at N = 2, seed 0"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m.split(" must")[0] for _, m in REFUSED])
def test_refusals_of_a_search(call, message):
    helpers.refused(call, message)
