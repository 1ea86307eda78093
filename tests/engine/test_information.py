"""Bits of maps and of right answers, against enumeration and sums over all outcomes."""

import itertools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import assocmem_jax as am

bits = am.theory.information


def test_bits_of_maps_count_them():
    """log₂ of how many maps enumeration finds."""
    every = list(itertools.product(range(3), repeat=4))
    assert float(bits.maps(4, 3)) == pytest.approx(math.log2(len(every)), rel=1e-12)
    whole = list(itertools.permutations(range(5), 3))
    assert float(bits.injective(3, 5)) == pytest.approx(math.log2(len(whole)), rel=1e-12)
    like = [f for f in every if [f.count(y) for y in range(3)] == [2, 1, 1]]
    assert float(bits.arranged([2, 1, 1])) == pytest.approx(math.log2(len(like)), rel=1e-12)
    # Two relations of two answers, four subjects: facts of each block apart.
    block = [f for f in itertools.product(range(2), repeat=4) if sum(f) == 2]
    assert float(bits.facts(4, 2, 2, every=True)) == pytest.approx(2 * math.log2(len(block)), rel=1e-12)
    assert float(bits.facts(4, 2, 2)) == 8


def mutual(laws, ends, right):
    """I(f; g) of maps f drawn from ``laws`` and g among ``ends``, summed over all pairs: each answer is right
    with probability ``right``, else any other of three."""
    each = lambda f, g: np.prod([right if x == y else (1 - right) / 2 for x, y in zip(f, g)])  # noqa: E731
    joint = np.array([[each(f, g) for g in ends] for f in laws]) / len(laws)
    return np.sum(joint * np.log2(joint / (joint.sum(0) * joint.sum(1)[:, None])))


def test_right_answers_tell_what_a_symmetric_channel_does():
    """The bound is met where any map may be and errors are symmetric; of bijections it is below."""
    every = list(itertools.product(range(3), repeat=2))
    exact = mutual(every, every, 0.7)
    assert float(bits.recalled(bits.maps(2, 3), 2, 3, 0.7)) == pytest.approx(exact, rel=1e-12)
    whole, ends = list(itertools.permutations(range(3))), list(itertools.product(range(3), repeat=3))
    assert 0 < float(bits.recalled(math.log2(6), 3, 3, 0.9)) < mutual(whole, ends, 0.9)
    # Chance and less tell nothing, everything right tells all of it.
    told = bits.recalled(bits.maps(5, 4), 5, 4, np.array([0, 0.1, 0.25, 1]))
    np.testing.assert_array_equal(told, [0, 0, 0, 10])


def test_bits_of_a_memory():
    """A matrix on orthonormal tokens, all right and one wrong; patterns beyond their cues."""
    n = 8
    task = am.AssociationTask(am.laws.zipf(n, 2.0), jnp.arange(n), jnp.eye(n), jnp.eye(n))
    whole, bits_of_all = am.LinearMemory(jnp.eye(n)), math.log2(math.factorial(n))
    assert float(am.bits_per_parameter(task, whole)) == pytest.approx(bits_of_all / 64, rel=1e-12)
    # The likeliest token is one of eight all the same.
    wrong = am.LinearMemory(jnp.eye(n).at[0, 0].set(-1))
    left = -1 / 8 * math.log2(1 / 8) - 7 / 8 * math.log2(7 / 8) + 1 / 8 * math.log2(7)
    told = float(am.bits_per_parameter(task, wrong))
    assert told == pytest.approx((bits_of_all - 8 * left) / 64, rel=1e-12)
    # The first two of them, cut off under jit: log₂ 2! bits.
    cut = jax.jit(lambda n: am.bits_per_parameter(task.first(n), whole))
    assert float(cut(2)) == pytest.approx(1 / 64, rel=1e-12)
    patterns = np.array([[1.0, 1, 1, 1, -1, -1, -1, -1]])
    cues = patterns * np.array([-1.0, 1, 1, 1, 1, 1, 1, 1])
    cued = am.RetrievalTask(patterns, cues)
    network = am.HopfieldNetwork.hebb(cued)
    told = 8 * -(1 / 8 * math.log2(1 / 8) + 7 / 8 * math.log2(7 / 8))
    assert am.num_parameters(network) == 28
    assert float(am.bits_per_parameter(cued, network)) == pytest.approx(told / 28, rel=1e-12)
    assert float(am.bits_per_parameter(am.RetrievalTask(patterns), network)) == 0


def test_couplings_of_a_dense_energy():
    """Rank of the field of one bit, as a function of the others and the pattern: all corners of a cube."""
    for d, degree in ((4, 2), (5, 3), (5, 4), (4, 5)):
        corners = np.array(list(itertools.product([-1.0, 1.0], repeat=d - 1)))
        overlap = corners @ corners.T
        field = (overlap + 1) ** degree - (overlap - 1) ** degree
        assert np.linalg.matrix_rank(field) == am.theory.hopfield.couplings(d, degree)
    assert np.linalg.matrix_rank(np.exp(corners @ corners.T)) == am.theory.hopfield.couplings(4, 0)


def test_what_has_no_bits_is_refused():
    soft = am.AssociationTask([1.0], [[0.5, 0.5]], jnp.eye(1), jnp.eye(2))
    refused = {
        "task must be one with labels": lambda: am.bits_per_parameter(soft, am.LinearMemory.zeros(soft)),
        "task must be one that is a map": lambda: am.bits_per_parameter(None, am.LinearMemory.zeros(soft)),
        "model must be a AbstractWeights": lambda: am.bits_per_parameter(
            am.two_tokens(0.5, 0.5), am.ParticleSystem.zeros(am.two_tokens(0.5, 0.5))
        ),
        "patterns must be ±1": lambda: am.bits_per_parameter(
            (task := am.RetrievalTask(np.full((1, 2), 0.5))), am.AttentionMemory.store(task, 1.0)
        ),
        "recall must be between 0 and 1": lambda: bits.recalled(1.0, 2, 2, 1.5),
        "answers must be at least tokens": lambda: bits.injective(3, 2),
        "tokens must be between 1 and inf": lambda: bits.maps(0, 2),
    }
    for words, call in refused.items():
        with pytest.raises(ValueError, match=words):
            call()


def test_bits_of_large_maps(rounding):
    """Where factorials cancel, against mpmath."""
    with mpmath.workdps(40):
        log = lambda x: mpmath.loggamma(mpmath.mpf(float(x)) + 1) / mpmath.log(2)  # noqa: E731
        for n, m in ((10, 1e4), (10, 1e8), (1e3, 1e5), (1e4, 1e4), (1, 1)):
            exact = float(log(m) - log(m - n))
            assert float(bits.injective(n, m)) == pytest.approx(exact, rel=16 * rounding, abs=16 * rounding)
        for counts in ([1e7, 5], [5, 1e8], [999_999, 1], [20, 30, 40], [0, 7]):
            exact = float(log(sum(counts)) - sum(log(c) for c in counts))
            found = float(bits.arranged(np.array(counts, float)))
            assert found == pytest.approx(exact, rel=16 * rounding, abs=16 * rounding)
        for n, m in ((1e6, 2), (1e6, 1e6), (8, 1)):
            exact = float(log(n) - m * log(n / m))
            assert float(bits.balanced(n, m)) == pytest.approx(exact, rel=16 * rounding, abs=16 * rounding)
        p = mpmath.mpf(2) ** -30
        exact = -(p * mpmath.log(p, 2) + (1 - p) * mpmath.log(1 - p, 2))
        assert float(bits.entropy(2.0**-30)) == pytest.approx(float(exact), rel=16 * rounding)


def test_a_network_of_one_bit_holds_nothing():
    """It has no coupling: no number, and no bit."""
    task = am.RetrievalTask(jnp.array([[1.0]]), jnp.array([[-1.0]]))
    assert float(am.bits_per_parameter(task, am.HopfieldNetwork(jnp.zeros((1, 1))))) == 0
