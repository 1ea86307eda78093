"""A search for where a share crosses a target: rising, falling, whole, real, and what is out of reach."""

import math

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import assocmem_jax as am
from helpers import refused


def rises(key, d):
    """1/(1 + (50/d)²), half at d = 50, spread .02 over seeds."""
    d = jnp.asarray(d, float)
    return d**2 / (d**2 + 2500) + 0.02 * jr.normal(key)


def falls(key, rate):
    return 1 - rises(key, 1000 * rate)


def tossed(key, d):
    """A success or none, with probability 1/(1 + (50/d)²)."""
    return jnp.where(jr.uniform(key) < d**2 / (d**2 + 2500.0), 1.0, 0.0)


def test_a_share_that_rises_and_one_that_falls():
    """d = 50 in whole numbers, a rate of .05 in real ones, d = 100 at a target of .8: .001 of the mean of 400
    seeds over a slope of .01 a unit of d."""
    whole = am.threshold(rises, smallest=4, largest=400, seeds=400, trials=math.inf)
    assert whole.status == "ok"
    assert abs(whole.value - 50) < 1
    assert whole.bracket[1] - whole.bracket[0] == 1
    assert whole.values.dtype.kind == "i"
    real = am.threshold(falls, smallest=1e-3, largest=1.0, rising=False, seeds=400, trials=math.inf)
    assert abs(real.value - 0.05) < 1e-3
    assert 0 < real.bracket[1] / real.bracket[0] - 1 <= 0.01
    high = am.threshold(rises, 0.8, smallest=4, largest=400, seeds=400, trials=math.inf)
    assert abs(high.value - 100) < 2
    for found, true in ((whole, 50), (real, 0.05), (high, 100)):
        low, most = found.interval
        assert low <= true <= most
        assert most / low < 1.12
        np.testing.assert_array_equal(found.values, np.unique(found.values))
        assert found.measured.shape == (len(found.values), 400)
    assert str(whole).startswith("Threshold(")


def test_what_lies_outside():
    above = am.threshold(rises, smallest=4, largest=20, seeds=8, trials=math.inf)
    assert (above.status, above.value, above.interval[1]) == ("above", 20, math.inf)
    assert str(above).startswith("Threshold(≥ 20")
    below = am.threshold(rises, smallest=200, largest=400, seeds=8, trials=math.inf)
    assert (below.status, below.value, below.interval[0]) == ("below", 200, 0)


def test_seeds_that_agree_are_no_certainty():
    """All of 4 seeds right from d = 1 on: of tosses, 1 is not told from .9; of what is exact, it is."""
    sure = lambda key, d: 1.0 + 0.0 * d  # noqa: E731
    toss, exact = (am.threshold(sure, 0.9, smallest=1, largest=8, seeds=4, trials=n) for n in (1, math.inf))
    assert (toss.status, toss.interval) == ("below", (0.0, math.inf))
    assert (exact.status, exact.interval) == ("below", (0.0, 1.0))


@pytest.mark.thorough
def test_intervals_of_tosses_cover():
    """95 % intervals of 300 searches over tosses hold 50; six standard errors below .95."""
    runs = [am.threshold(tossed, smallest=4, largest=400, seeds=24, key=jr.key(k)) for k in range(300)]
    hits = np.mean([run.interval[0] <= 50 <= run.interval[1] for run in runs])
    assert hits >= 0.95 - 6 * (0.95 * 0.05 / 300) ** 0.5


REFUSED = [
    (lambda: am.threshold(rises, smallest=0, largest=9), "smallest must be positive and finite, got 0"),
    (lambda: am.threshold(rises, smallest=1, largest="x"), "largest must be"),
    (lambda: am.threshold(rises, smallest=9, largest=9), "largest must be above smallest = 9, got 9"),
    (lambda: am.threshold(rises, 1.0, smallest=1, largest=9), "target must be between 0 and 1, got 1.0"),
    (lambda: am.threshold(rises, smallest=1, largest=9, trials=0), "trials must be at least 1, got 0"),
    (lambda: am.threshold(rises, smallest=1, largest=9, seeds=1), "seeds must be at least 2, got 1"),
    (lambda: am.threshold(rises, smallest=1, largest=9, rising=2), "rising must be True or False, got 2"),
    (lambda: am.threshold(None, smallest=1, largest=9), "measure must be a function (key, value) -> number"),
    (
        lambda: am.threshold(lambda key, d: jnp.nan * d, smallest=1, largest=9),
        "measure must be finite, got nan at value = 1, seed 0",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m.split(" must")[0] for _, m in REFUSED])
def test_refusals(call, message):
    refused(call, message)
