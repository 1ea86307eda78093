"""What becomes of sweeps that fail: configurations, workers, memory, arguments."""

import concurrent.futures as futures
import functools
import multiprocessing
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import assocmem_jax as am
from assocmem_jax import machine as memory
from assocmem_jax.sweeps import plan, run
from swept import ALPHAS, RATES, digest, noisy, trained, unlucky

# ---------------------------------------------------------------- what fails


def test_statuses_tell_what_became_of_a_configuration():
    task = am.two_tokens(0.5, 0.75)
    memory = am.LinearMemory.zeros(task)

    def decayed(rate):
        optimizer = lambda r: optax.chain(optax.add_decayed_weights(3.0), optax.sgd(r))  # noqa: E731
        return am.simulate(task, memory, am.Descent(optimizer, 800, learning_rate=rate), every=800)

    data = am.sweep(decayed, rate=[0.1, 1e3])
    assert data.status.values.tolist() == [am.Outcome.OK, am.Outcome.DIVERGED]
    assert data.status.attrs["flag_meanings"].split()[2] == "diverged"
    nan = am.sweep(lambda a: {"x": jnp.log(a)}, a=[-1.0, 0.0, 1.0])
    assert nan.status.values.tolist() == [am.Outcome.NON_FINITE, am.Outcome.OK, am.Outcome.OK]


def test_a_configuration_that_raises_is_set_apart(tmp_path):
    clean = am.sweep(lambda a: {"x": 2 * a}, a=np.arange(100.0), tile=8)
    for store in (None, tmp_path / "s"):
        data = am.sweep(unlucky, a=np.arange(100.0), tile=8, chunk=40, store=store)
        assert np.flatnonzero(data.status != am.Outcome.OK).tolist() == [13]
        assert int(data.status[13]) == am.Outcome.FAILED
        assert np.isnan(data.x[13])
        rest = np.delete(np.arange(100), 13)
        np.testing.assert_array_equal(data.x[rest], clean.x[rest])
    assert "unlucky" in am.sweep(unlucky, a=np.arange(20.0)).attrs["failures"][0]
    with pytest.raises(
        am.SweepError, match=r"fails in more than 64 configurations of one task; the last: .*always"
    ):
        am.sweep(lambda a: eqx.error_if(a, a >= 0, "always", on_error="raise"), a=np.arange(200.0))


def test_a_slow_lane_does_not_hold_the_others():
    """Loop iterations are counted inside: the tile of the slow lane runs them, the others do not."""
    worked = []

    def fn(n):
        def body(carry):
            jax.debug.callback(lambda: worked.append(1))
            return carry[0] + 1, carry[1] + 1.0

        return {"x": jax.lax.while_loop(lambda c: c[0] < n, body, (0, 0.0))[1]}

    slow = np.full(64, 2)
    slow[5] = 500
    slow[60] = 400
    for predict, most in ((None, 8 * 2 + 900), (lambda n: n, 8 * 2 + 500)):
        worked.clear()
        data = am.sweep(fn, n=slow, tile=8, predict=predict)
        jax.effects_barrier()
        np.testing.assert_array_equal(data.x, slow)
        # A batched while loop calls the callback for each of its eight lanes.
        assert len(worked) / 8 <= most


def test_too_large_a_program_is_refused_before_it_runs(monkeypatch):
    ran = []

    def fn(a):
        jax.debug.callback(lambda: ran.append(1))
        return {"x": jnp.sin(jnp.arange(20_000.0) * a).sum()}

    go = functools.partial(am.sweep, fn, a=np.linspace(0, 1, 2000), tile=512)
    monkeypatch.setattr(memory, "free", lambda device=None: 20_000_000)
    with pytest.raises(MemoryError) as refused:
        go()
    text = str(refused.value)
    assert "\n" not in text
    assert not ran
    tile, chunk = (int(text.rpartition(name)[2].split(",")[0]) for name in ("tile=", "chunk="))
    go(tile=tile, chunk=chunk)  # what is suggested fits
    monkeypatch.setattr(memory, "free", lambda device=None: 1000)
    with pytest.raises(ValueError, match="store must be a directory, got None for a result of"):
        go()


def test_the_memory_estimate_is_of_the_right_size():
    points = am.sweeps.axes.grid({"a": np.linspace(0, 1, 4096)}, None)
    made = plan.prepare(lambda a: {"x": jnp.arange(100.0) * a}, points, tile=64, chunk=4096)
    by_tile, by_box = plan.program(made).bytes_needed
    result = 4096 * (100 * 8 + 1)  # float64 results and a status byte, twice: the device's and the host's
    assert 2 * result <= by_box <= 2.1 * result
    assert by_tile <= 2.2 * result


# ---------------------------------------------------------------- executors


@pytest.mark.thorough
def test_workers_write_and_the_store_is_the_truth(tmp_path):
    go = functools.partial(am.sweep, trained, learning_rate=RATES, alpha=ALPHAS, tile=8, chunk=10)
    with futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        data = go(store=tmp_path / "s", executor=pool)
        assert digest(data) == digest(go())
        with pytest.raises(am.SweepError, match=r"task 0: .*define fn at the top level of a module"):
            am.sweep(lambda a: a, a=[1.0, 2.0], store=tmp_path / "t", executor=pool)


class Deaf(futures.Executor):
    """An executor whose workers die the first ``deaths`` times that task 1 is tried."""

    def __init__(self, deaths):
        self.deaths = deaths
        self.tried = []

    def submit(self, fn, *arguments):
        future = futures.Future()
        path, run_, task = arguments[0], *arguments[-2:]
        self.tried.append(task)
        if task == 1 and self.deaths:
            self.deaths -= 1
            run.Store(run.Path(path)).begin(task, run_)  # it began, and was never heard of again
            future.set_exception(RuntimeError("KilledWorker"))
        else:
            future.set_result(fn(*arguments))
        return future


@pytest.mark.parametrize("deaths", [1, 3])
def test_a_dead_workers_task_is_tried_again_then_quarantined(tmp_path, monkeypatch, deaths):
    alone = []
    monkeypatch.setattr(
        run,
        "_in_process",
        lambda made, store, task, lanes: alone.append(task) or plan.program(made).run(task, lanes),
    )
    executor = Deaf(deaths)
    data = am.sweep(
        trained, learning_rate=RATES, alpha=ALPHAS, tile=8, chunk=10, store=tmp_path / "s", executor=executor
    )
    assert (data.status == am.Outcome.OK).all()
    assert executor.tried.count(1) == (2 if deaths == 1 else 3)  # then it is the driver's
    assert executor.tried.count(0) == executor.tried.count(2) == 1  # what is committed is not computed again
    assert alone == ([1] if deaths == 3 else [])


# ---------------------------------------------------------------- refusals


def two(a, b):
    return a + b


REFUSED = [
    (dict(fn=3, a=[1.0]), "fn must be a function of scalars, got 3"),
    (dict(a=[1.0]), r"axes must be given for every parameter of .*two, got none for \['b'\]"),
    (dict(a=[1.0], b=[1.0], c=2.0), r"axes must be parameters of .*two: \['a', 'b'\], got \['c'\]"),
    (dict(a=[], b=1.0), "a must be a vector of numbers"),
    (dict(a=[[1.0]], b=1.0), r"a must be a vector of numbers \(an axis\), or a number, got float64 of shape \(1, 1\)"),
    (dict(a=["x"], b=1.0), "a must be a vector of numbers"),
    (dict(a=[1.0, np.nan], b=1.0), r"a must be finite, got nan at index \[1\]"),
    (dict(a=1.0, b=1.0), "axes must be at least one vector of values"),
    (dict(a=[1.0], b=2**40), "b must be within 32-bit integers"),
    (dict(a=[1.0], b=1.0, seeds=3), "fn must be a function with a parameter key, as seeds are given"),
    (dict(fn=noisy, learning_rate=[1.0]), "seeds must be given, as fn takes a key, got None; seeds=1"),
    (dict(fn=noisy, learning_rate=[1.0], seeds=[1, 1]), r"seeds must be a number of seeds, or distinct seeds"),
    (dict(fn=noisy, learning_rate=[1.0], seeds=0), "seeds must be at least 1"),
    (dict(a=[1.0], b=1.0, tile=0), "tile must be at least 1"),
    (dict(a=[1.0], b=1.0, chunk=-1), "chunk must be at least 1"),
    (dict(a=[1.0], b=1.0, reduce="mean"), r"reduce must be am.over_seeds\(…\), got 'mean'"),
    (dict(a=[1.0], b=1.0, reduce=am.over_seeds("mean")), "seeds must be given with reduce"),
    (dict(a=[1.0], b=1.0, executor=futures.ThreadPoolExecutor()), "store must be given with an executor"),
    (dict(a=[1.0], b=1.0, executor="dask", store="x"), "executor must be a concurrent.futures.Executor"),
    (dict(a=[1.0], b=1.0, shard=(0, 2)), r"shard must be \(i, n\) with 0 ≤ i < n, and a store"),
    (dict(a=[1.0], b=1.0, shard=(2, 2), store="x"), r"shard must be \(i, n\)"),
    (dict(a=[1.0], b=1.0, predict=3), "predict must be a function of the parameters"),
    (dict(a=np.arange(2.0**16), b=np.arange(2.0**16)), "axes must be of fewer than 2³¹ configurations"),
    (dict(fn=lambda key: key, key=[1.0]), "axes must be free of the names key and seed"),
    (dict(a=am.zipped(b=[1.0]), c=am.zipped(a=[1.0])), "a must be the name of a dimension or of a parameter, got both"),
    (dict(a=[1.0], c=am.zipped(a=[1.0], b=[1.0])), r"axes must be of parameters that appear once, got \['a'\]"),
    (dict(fn=lambda a: "text", a=[1.0]), "fn must be a function that returns arrays, got str in its result"),
    (dict(fn=lambda a: {}, a=[1.0]), "fn must be a function that returns at least one array"),
    (dict(fn=lambda a: a + 1j, a=[1.0]), "fn must be a function that returns real numbers"),
    (dict(fn=lambda a: {"a": a}, a=[1.0]), r"fn must be a function whose results .* not named like an axis, got \['a'\]"),
    (dict(fn=lambda token: {"margins": token * jnp.ones(2)}, token=[1.0]), r"not named like an axis, got \['token'\]"),
    (dict(fn=lambda a: jax.random.key(0), a=[1.0]), "fn must be a function that returns real numbers"),
    (dict(fn=lambda n: jnp.ones(n), n=[1, 2]), "fn must be traceable, got .*; axes arrive as traced scalars"),
    (dict(fn=lambda a: a if a > 0 else -a, a=[1.0]), "fn must be traceable, got TracerBoolConversionError"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_refusals_are_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, TypeError), match=message) as refused:
        am.sweep(**({"fn": two} | arguments))
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: am.zipped(), "zipped must be given at least one parameter"),
        (lambda: am.zipped(a=[1.0], b=[1.0, 2.0]), "zipped must be of parameters of one length"),
        (lambda: am.sampled(4), "sampled must be given at least one law"),
        (lambda: am.sampled(0, a=am.Uniform(0, 1)), "n must be at least 1"),
        (lambda: am.sampled(4, a=(0, 1)), "a must be a Uniform, LogUniform or Integers"),
        (lambda: am.sampled(4, method="grid", a=am.Uniform(0, 1)), "method must be 'sobol' or 'random'"),
        (lambda: am.Uniform(1, 0), "Uniform must be finite numbers low < high"),
        (lambda: am.LogUniform(0, 1), "LogUniform must be finite numbers low < high, both positive"),
        (lambda: am.over_seeds(), "over_seeds must be given a statistic"),
        (lambda: am.over_seeds("median"), "over_seeds must be of"),
        (lambda: am.over_seeds(1.5), "over_seeds must be between 0 and 1"),
    ],
)
def test_parts_refuse_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_pool_that_forks_is_refused(tmp_path):
    """JAX's threads do not survive a fork: the pool would hang."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool,
        pytest.raises(ValueError, match="executor must be a pool that starts its processes anew"),
    ):
        am.sweep(lambda a: {"twice": 2 * a}, a=[1.0, 2.0], store=tmp_path / "s.zarr", executor=pool)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"overwrite": "no", "store": "s.zarr"}, "overwrite must be True or False, got 'no'"),
        ({"repair": 1, "store": "s.zarr"}, "repair must be True or False, got 1"),
        ({"progress": "yes"}, "progress must be True or False or None, got 'yes'"),
        ({"overwrite": True}, "store must be given with overwrite, got None"),
        ({"repair": True}, "store must be given with repair, got None"),
        ({"config": "{}"}, "config must be the text that a store keeps, with a store, got '{}'"),
        ({"config": 5, "store": "s.zarr"}, "config must be the text that a store keeps, with a store, got 5"),
    ],
)
def test_what_an_option_says_is_looked_at_before_a_store_is(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    am.sweep(lambda a: {"y": 2 * a}, a=[1.0, 2.0], store="s.zarr")
    with pytest.raises(ValueError, match=re.escape(words)):
        am.sweep(lambda a: {"y": 3 * a}, a=[1.0, 2.0], **options)
    assert am.open_store("s.zarr").y.values.tolist() == [2, 4]


def test_a_mean_over_seeds_of_one_point():
    """No axis is left: a number each."""
    fn = lambda a, key: {"x": a + 0 * jax.random.normal(key)}  # noqa: E731
    data = am.sweep(fn, a=1.0, seeds=2, reduce=am.over_seeds("mean"))
    assert data.x_mean.shape == ()
    assert float(data.x_mean) == 1
