"""The study ``sweep``: names that stand once, seeds that are heard, and JAX's setting of what is drawn."""

import concurrent.futures as futures
import hashlib
import json
import tomllib
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import assocmem_jax as am
from assocmem_jax import cli
from assocmem_jax.studies.config import ConfigError, load_text
from assocmem_jax.sweeps.axes import grid
from assocmem_jax.sweeps.store import Store
from assocmem_jax.systems.cooccurrence.studies import phase_one

AXES = dict(a=[1.0, 2.0])


def drawn(a, key):
    return {"y": a + jax.random.uniform(key)}


def split(a, key):
    return {"y": a + jax.random.key_data(jax.random.split(key)[0])[0] % 4096}


def expected(fn, seeds):
    """Key by key, outside of any sweep."""
    keys = [[jax.random.fold_in(jax.random.key(seed), k) for seed in seeds] for k in range(2)]
    return np.array([[fn(a, key)["y"] for key in row] for a, row in zip(AXES["a"], keys)])


def study(words):
    return load_text(json.dumps(tomllib.loads(f'study = "sweep"\nfunction = "f.py:fn"\n{words}')), "x")


TWICE = [
    ("a", "axes.a.values=[1.0]\nfixed.a=2.0"),
    ("a", "axes.a.values=[1.0]\nsampled.a={n=2,laws={b={uniform=[0.0,1.0]}}}"),
    ("b", "sampled.a={n=2,laws={b={uniform=[0.0,1.0]}}}\nfixed.b=1"),
    ("a", "sampled.a={n=2,laws={b={uniform=[0.0,1.0]}}}\nfixed.a=1"),
    ("b", "sampled.a={n=2,laws={b={uniform=[0.0,1.0]}}}\nsampled.c={n=2,laws={b={uniform=[0.0,1.0]}}}"),
    ("a", "axes.a.values=[1.0]\nsampled.c={n=2,laws={a={uniform=[0.0,1.0]}}}"),
]


@pytest.mark.parametrize(("name", "words"), TWICE)
def test_a_name_stands_once(name, words):
    with pytest.raises(ConfigError, match=f"must be named once, got {name} more than once"):
        study(words)


def test_a_dimension_may_have_the_name_of_its_one_law():
    """As a vector of a cartesian axis has: ``am.sweep`` takes it."""
    study("sampled.a={n=2,laws={a={uniform=[0.0,1.0]}}}")


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    ("seed", "seeds"), [(0, [0, 1]), (7, [14, 15]), (2**30, [0, 1]), (2**32 - 1, [2**31 - 2, 2**31 - 1])]
)
def test_keys_are_those_of_the_seed(seed, seeds, precision, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("f.py").write_text(
        'import jax\n\n\ndef drawn(a, key):\n    return {"y": a + jax.random.uniform(key)}\n',
        encoding="utf-8",
    )
    Path("x.toml").write_text(
        f'study = "sweep"\nfunction = "f.py:drawn"\nseeds = 2\nseed = {seed}\nprecision = "{precision}"\n'
        "axes.a.values = [1.0, 2.0]\n", encoding="utf-8",
    )  # fmt: skip
    try:
        assert cli.main(["sweep", "x.toml", "--out", "s.zarr"]) == 0
        data = am.open_store("s.zarr")
        assert data.seed.values.tolist() == seeds
        np.testing.assert_array_equal(data.y, expected(drawn, seeds))
    finally:
        jax.config.update("jax_enable_x64", True)


def test_phase_one_hears_its_seed(monkeypatch):
    monkeypatch.setattr(phase_one.am, "sweep", lambda fn, **options: options["seeds"])
    found = [
        phase_one.times(SimpleNamespace(seed=seed, seeds=3, c0=(1.0,), c1=(1.0,)), None) for seed in range(3)
    ]
    assert found == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.fixture
def older():
    """How keys were split, and numbers drawn, before JAX 0.5; set and reset at will."""
    yield lambda on: jax.config.update("jax_threefry_partitionable", not on)
    jax.config.update("jax_threefry_partitionable", True)


class Inline(futures.Executor):
    """A worker that was told nothing of JAX's settings."""

    def submit(self, fn, *arguments):
        jax.config.update("jax_threefry_partitionable", True)
        future = futures.Future()
        future.set_result(fn(*arguments))
        jax.config.update("jax_threefry_partitionable", False)
        return future


@pytest.mark.parametrize("fn", [drawn, split])
def test_a_store_is_of_the_setting_that_its_numbers_were_drawn_at(fn, older, tmp_path):
    now = am.sweep(fn, **AXES, seeds=2, store=tmp_path / "now")
    np.testing.assert_array_equal(now.y, expected(fn, [0, 1]))
    older(True)
    with pytest.raises(ValueError, match="which differs in threefry_partitionable; choose another directory"):
        am.sweep(fn, **AXES, seeds=2, store=tmp_path / "now")
    then = am.sweep(fn, **AXES, seeds=2, store=tmp_path / "then")
    np.testing.assert_array_equal(then.y, expected(fn, [0, 1]))
    assert not (then.y == now.y).any()
    far = am.sweep(fn, **AXES, seeds=2, store=tmp_path / "far", executor=Inline())
    np.testing.assert_array_equal(far.y, then.y)
    older(False)
    with pytest.raises(ValueError, match="which differs in threefry_partitionable"):
        am.sweep(fn, **AXES, seeds=2, store=tmp_path / "then")


def test_of_the_default_setting_the_identity_says_nothing(older, tmp_path):
    """Stores of earlier versions are gone on from; so is one that draws nothing, at either setting."""
    am.sweep(drawn, **AXES, seeds=2, store=tmp_path / "s")
    plan = Store(tmp_path / "s").plan
    parts = (plan["function_digest"], grid(AXES, 2).digest(), plan["tile"], None, "float64")
    assert plan["identity"] == hashlib.sha256(repr(parts).encode()).hexdigest()
    assert "threefry_partitionable" not in plan
    fn = lambda a: {"y": 2 * a}  # noqa: E731
    am.sweep(fn, **AXES, store=tmp_path / "t")
    older(True)
    am.sweep(fn, **AXES, store=tmp_path / "t")
