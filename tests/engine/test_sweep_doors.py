"""What ``am.sweep``, its axes and its statistics refuse, before anything is compiled or written."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import assocmem_jax as am
from helpers import refused


def same(a):
    return {"y": a}


def drawn(a, key):
    return {"y": a + jr.normal(key)}


def told(status):
    return lambda a: {"y": a, "status": status}


def named(**axes):
    return am.sweep(lambda **given: {"y": 1.0}, **axes)


def two(key, d):
    return jnp.ones(2) * d


def of(dtype):
    return lambda a: {"y": a, "z": a.astype(dtype)}


NO_STORE = [jnp.int4, jnp.uint4, jnp.int2, jnp.float8_e4m3fn, jnp.float8_e5m2, jnp.bfloat16, jnp.complex64]
REFUSED = {
    f"fn must be a function that returns real numbers, got {jnp.dtype(dtype)} in z": (
        lambda dtype=dtype: am.sweep(of(dtype), a=[1.0])
    )
    for dtype in NO_STORE
} | {
    "Integers must be between whole numbers of 32 bits, got (0, 1099511627776)": lambda: am.Integers(
        0, 2**40
    ),
    "Integers must be between whole numbers of 32 bits, got (0.5, 2)": lambda: am.Integers(0.5, 2),
    "LogUniform must be on a range that float64 can span": lambda: am.LogUniform(1e-300, 1e300),
    "Uniform must be on a range that float64 can span": lambda: am.Uniform(-1.7e308, 1.7e308),
    "Uniform must be finite numbers low < high": lambda: am.Uniform(0, 10**400),
    "a must be without masked entries": lambda: am.sweep(same, a=np.ma.masked_array([1.0, 2], mask=[0, 1])),
    "axes must be named as a store can name them": lambda: named(**{"a/b": [1.0, 2.0]}),
    "axes must be named as a store can name them: ": lambda: named(**{"a b": [1.0, 2.0]}),
    "axes must be named as a store can name them: without": lambda: named(**{"commits": [1.0, 2.0]}),
    "axes must be named as a store can name them: without spaces": lambda: named(a=[1.0, 2.0], **{"..": 3.0}),
    "fn must be a function that returns at least one number under each name, got shape (0,) in e": (
        lambda: am.sweep(lambda a: {"y": a, "e": jnp.zeros(0)}, a=[1.0])
    ),
    "fn must be a function whose status is one am.Status, got int64 of shape (2,)": (
        lambda: am.sweep(told(jnp.zeros(2, int)), a=[1.0])
    ),
    "fn must be a function whose status is one am.Status, got bool": lambda: am.sweep(told(True), a=[1.0]),
    "fn must be a function whose results are not named like statistics, got ['x_mean']": lambda: am.sweep(
        lambda a, key: {"x": a, "x_mean": a}, a=[1.0], seeds=2, reduce=am.over_seeds("mean")
    ),
    "over_seeds must be given a statistic or more, each once, got ('sd', 'sd')": lambda: am.over_seeds(
        "sd", "sd"
    ),
    "drop_bad must be True or False, got 'no'": lambda: am.over_seeds("mean", drop_bad="no"),
    "seeds must be at most 16,777,216, got 2000000000": lambda: am.sweep(drawn, a=[1.0], seeds=2 * 10**9),
    "store must be a path, got 5": lambda: am.sweep(same, a=[1.0], store=5),
    "store must be a path, got 'a\\x00b'": lambda: am.sweep(same, a=[1.0], store="a\0b"),
    "shard must be (i, n) with 0 ≤ i < n, and a store, got 5": (
        lambda: am.sweep(same, a=[1.0], store="s.zarr", shard=5)
    ),
    "units must be a dict of names and their units": lambda: am.sweep(same, a=[1.0], units=["a"]),
    "units must be of names of this sweep: a, status, y, got ['z']": (
        lambda: am.sweep(same, a=[1.0], units={"z": "s"})
    ),
    "predict must be a function that returns numbers, got 'x'": (
        lambda: am.sweep(same, a=[1.0], predict=lambda a: "x")
    ),
    "predict must be a function that returns a cost for each configuration, shape (2,) for two": (
        lambda: am.sweep(same, a=[1.0], predict=lambda a: np.ones(7))
    ),
    "measure must be a function that returns one number, got shape (2,)": (
        lambda: am.threshold(two, smallest=1, largest=9)
    ),
    "measure must be real": lambda: am.threshold(lambda key, d: 1j * d, smallest=1, largest=9),
    "measure must be a function that returns a number, got 'x'": (
        lambda: am.threshold(lambda key, d: "x", smallest=1, largest=9)
    ),
    "devices must be at most the number of devices there are": (
        lambda: am.threshold(two, smallest=1, largest=9, seeds=4096, devices=1024)
    ),
    "key must be a typed key, got 5": lambda: am.threshold(two, smallest=1, largest=9, key=5),
    "key must be one key, got (2,) of them": (
        lambda: am.threshold(two, smallest=1, largest=9, key=jr.split(jr.key(0)))
    ),
    "make_task must be a function, got 'x'": lambda: am.capacity("x", lambda task, key: task, largest=8),
    "error must be within a hundred decades of y": (
        lambda: am.power_law([1.0, 2, 4], [1.0, 2, 4], [1e-200] * 3)
    ),
    "error must be such that more points than one or two count": (
        lambda: am.power_law([1.0, 10, 100, 1000], [1.0, 10, 100, 1000], [1e-16, 10, 100, 1e-13])
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(REFUSED[message], message)
    assert not list(tmp_path.iterdir())


def test_points_that_float32_cannot_hold(float32):
    """1e300 drawn or given: infinite in float32, where it would be swept without a word."""
    many = am.sampled(4, a=am.LogUniform(1e100, 1e120))
    for axes in ({"point": many}, {"a": [1.0, 1e300]}, {"a": 1e300, "b": [1.0, 2.0]}):
        with pytest.raises(ValueError, match=r"must be (a number|numbers) that float32 can hold, got 1.*e"):
            am.sweep(lambda a, b=0.0: {"y": a + b}, **axes)


def test_a_status_that_is_none():
    """Of no name: it is not taken for the nearest one."""
    for status, outcome in ((99, 3), (-1, 3), (am.Status.OK, 1), (am.Status.DIVERGED, 2)):
        assert am.sweep(told(status), a=[1.0, 2.0]).status.values.tolist() == [outcome] * 2


def test_statistics_have_the_units_of_what_they_are_of():
    keep = am.over_seeds("mean", 0.5)
    data = am.sweep(drawn, a=[1.0], seeds=3, reduce=keep, units={"y": "m", "y_mean": "mm", "a": "s"})
    assert (data.y_quantile.units, data.y_mean.units, data.a.units) == ("m", "mm", "s")


def test_integers_reach_both_ends_of_32_bits():
    ends = am.sampled(2**12, a=am.Integers(-(2**31), 2**31 - 1)).values["a"]
    assert ends.dtype == np.int32
    assert ends.min() < -(2**31) + 2**21  # 4,096 points: one in every 2²⁰
    assert ends.max() >= 2**31 - 2**21
