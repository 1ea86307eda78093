"""Sweeps: what they compute, that cutting does not change a bit, what becomes of what fails."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
import xarray as xr

import assocmem_jax as am
from assocmem_jax.sweeps import plan, tiles
from helpers import numpy_steps_to_perfect, random_problem
from swept import ALPHAS, RATES, digest, noisy, reversed_cost, steps, trained

# ---------------------------------------------------------------- steps to perfect accuracy


SIZES = [(1, 2, 2), (2, 2, 2), (4, 2, 4), (8, 2, 9), (2, 2, 300), (9, 2, 9), (3, 3, 4)]


@pytest.mark.parametrize(("n", "m", "d"), SIZES)
def test_steps_to_perfect_agree_with_a_numpy_loop(n, m, d):
    count = 32 if n == 2 else 8
    problems = [random_problem(seed, n, m, d, d)[:4] for seed in range(count)]
    rates = np.geomspace(0.03, 30, count)

    @jax.jit
    @jax.vmap
    def run(p, targets, inputs, outputs, rate):
        task = am.AssociationTask(p, targets, inputs, outputs)
        return [am.time_to_perfect(task, rate, 70, stable=stable) for stable in (True, False)]

    watched, stopped = run(*map(np.stack, zip(*problems)), rates)
    if (
        d == 2 == n
    ):  # beside lanes that hit at once there are some that do so blocks later, and some that never do
        assert watched.first_step.min() == -1
        assert ((watched.first_step > 0) & (watched.first_step <= 32)).any()
        assert (watched.first_step > 32).any()
    for k, (problem, rate) in enumerate(zip(problems, rates)):
        first, kept = numpy_steps_to_perfect(*problem, rate, 70)
        assert (int(watched.first_step[k]), int(watched.stable_step[k])) == (first, kept)
        assert (int(stopped.first_step[k]), int(stopped.stable_step[k])) == (first, first)
        assert int(watched.status[k]) == am.Status.OK
        assert int(stopped.status[k]) == (am.Status.HIT if first >= 0 else am.Status.OK)


def test_steps_to_perfect_from_a_memory_and_at_the_ends():
    task = am.two_tokens(0.5, 0.75)
    good = am.LinearMemory.from_margins(task, jnp.array([2.0, 3.0]))
    assert am.time_to_perfect(task, 0.1, 40, memory=good)[:2] == (0, 0)
    assert am.time_to_perfect(task, 0.1, 0)[:2] == (-1, -1)
    tight = am.two_tokens(0.99, 0.999)
    good = am.LinearMemory.from_margins(tight, jnp.array([2.0, 3.0]))
    # Met at the start, lost by the first step: m₂ falls by 2η α p₁ σ(−2) = 118.
    assert am.time_to_perfect(tight, 500.0, 3, memory=good)[:2] == (0, -1)
    assert int(am.time_to_perfect(task, 1e308, 5).status) == am.Status.NON_FINITE


def test_steps_to_perfect_go_on_where_simulate_ends(float32):
    """Rates that are powers of two: both are step for step the same until a margin is beyond √max = 1.8e19,
    where ``simulate`` has diverged. These are as NumPy's float64 has them, which is far from its own limit."""
    task = am.two_tokens(0.5, 0.75)
    for rate in (2.0**40, 2.0**60, 2.0**70, 2.0**83):
        found = am.time_to_perfect(task, rate, 10)
        run = am.simulate(
            task, am.MarginSystem.zeros(task), am.Descent(optax.sgd, 10, learning_rate=rate),
            observe=[am.margins], until=am.perfect_accuracy(None), throw=False,
        )  # fmt: skip
        ended = rate > 2**64
        assert run.status == (am.Status.DIVERGED if ended else am.Status.OK)
        if not ended:
            assert (found.first_step, found.stable_step) == (run.first_step, run.stable_step)
        inputs, outputs = (np.asarray(a, float) for a in (task.inputs, task.outputs))
        by_hand = numpy_steps_to_perfect(np.array([0.75, 0.25]), np.arange(2), inputs, outputs, rate, 10)
        assert (int(found.first_step), int(found.stable_step)) == by_hand
        assert found.status == am.Status.OK


def test_steps_to_perfect_refuse_what_float32_cannot_hold(float32):
    with pytest.raises(ValueError, match="steps must be at most 100000 in float32, got 200000; use float64"):
        am.time_to_perfect(am.two_tokens(0.5, 0.75), 0.1, 200_000)


# ---------------------------------------------------------------- axes


def test_every_point_is_what_fn_gives_there():
    data = am.sweep(trained, learning_rate=RATES, alpha=ALPHAS, units={"loss": "nats"})
    assert data.loss.dims == ("learning_rate", "alpha")
    assert data.loss.attrs["units"] == "nats"
    for i, j in [(0, 0), (5, 4), (2, 3)]:
        # One descent in float64 of 20 steps: batched and single differ by rounding only.
        assert float(data.loss[i, j]) == pytest.approx(float(trained(RATES[i], ALPHAS[j])["loss"]), rel=1e-13)
    np.testing.assert_array_equal(data.learning_rate, RATES)
    assert (data.status == am.Outcome.OK).all()


def test_axes_may_be_zipped_sampled_or_fixed():
    data = am.sweep(steps, pair=am.zipped(alpha=[0.5, 0.9], p1=[0.6, 0.9]), learning_rate=1.0)
    assert data.first_step.dims == ("pair",)
    assert data.alpha.dims == data.p1.dims == ("pair",)
    assert float(data.learning_rate) == 1.0
    for k, (alpha, p1) in enumerate([(0.5, 0.6), (0.9, 0.9)]):
        assert int(data.first_step[k]) == int(steps(1.0, alpha, p1).first_step)
    laws = {"learning_rate": am.LogUniform(0.1, 10), "alpha": am.Uniform(0.5, 1)}
    for method in ("sobol", "random"):
        data = am.sweep(steps, point=am.sampled(64, method=method, seed=3, **laws), p1=[0.7, 0.8])
        assert data.first_step.dims == ("point", "p1")
        assert data.learning_rate.min() >= 0.1
        assert data.alpha.max() <= 1
        below = (np.log10(data.learning_rate.values) < 0).mean()
        # Sobol: 64 points put 32 in either half, exactly; random: within 4.5 standard deviations.
        assert below == 0.5 if method == "sobol" else abs(below - 0.5) < 4.5 * 0.5 / 8
    again = am.sampled(64, method="random", seed=3, **laws)
    np.testing.assert_array_equal(again.values["alpha"], data.alpha)


def test_integers_and_booleans_keep_their_kind():
    data = am.sweep(lambda n, flag: {"sum": n + 1, "not": ~flag}, n=[1, 2], flag=[True, False])
    assert data["sum"].dtype == np.int32
    np.testing.assert_array_equal(data["not"], [[False, True]] * 2)


def test_results_are_named():
    nested = am.sweep(lambda a: {"x": {"y": a, "z": jnp.ones(3)}}, a=[1.0, 2.0])
    assert nested["x.z"].dims == ("a", "x.z_0")
    assert am.sweep(lambda a: a + 1, a=[1.0, 2.0])["value"].values.tolist() == [2, 3]
    task = am.two_tokens(0.5, 0.75)
    memory = am.LinearMemory.zeros(task)
    descent = functools.partial(am.Descent, optax.sgd, 4)
    path = am.sweep(
        lambda rate: am.simulate(task, memory, descent(learning_rate=rate), observe={"margins": am.margins}),
        rate=[0.5, 1.0],
    )
    assert path.margins.dims == ("rate", "at", "token")
    np.testing.assert_allclose(path.times[1], [0, 1, 2, 3, 4])


@pytest.mark.thorough
def test_a_gradient_flow_and_noise_run_through_the_same_call():
    def flow(alpha, t1):
        task = am.two_tokens(alpha, 0.75)
        flow = am.GradientFlow(t1=t1, max_steps=20)
        return am.simulate(
            task, am.MarginSystem.zeros(task), flow, observe={"m": am.margins}, at=jnp.zeros(0)
        )

    data = am.sweep(flow, alpha=[0.0], t1=[1.0, 1e6])
    assert data.status.values.tolist() == [[am.Outcome.OK, am.Outcome.STEP_LIMIT]]
    # α = 0: two tokens apart, GD Theorem 2 with c = 2p(x).
    exact = [float(am.theory.orthogonal.binary_margin(1.0, 2 * p)) for p in (0.75, 0.25)]
    np.testing.assert_allclose(data.m[0, 0, -1], exact, rtol=1e-8)

    def sgd(learning_rate, key):
        task = am.two_tokens(0.9, 0.75)
        descent = am.Descent(optax.sgd, 10, 4, learning_rate=learning_rate)
        run = am.simulate(task, am.LinearMemory.zeros(task), descent, key=key, every=10)
        return {"loss": run.observed["loss"][-1]}

    data = am.sweep(sgd, learning_rate=[0.1, 1.0], seeds=3)
    assert data.loss.dims == ("learning_rate", "seed")
    key = jr.fold_in(jr.key(2), 1)  # seed 2, configuration 1
    assert float(data.loss[1, 2]) == pytest.approx(float(sgd(1.0, key)["loss"]), rel=1e-13)
    assert len(np.unique(data.loss)) == 6


# ---------------------------------------------------------------- same tile, same bits


def test_cutting_and_ordering_change_no_bit(tmp_path):
    go = functools.partial(am.sweep, trained, learning_rate=RATES, alpha=ALPHAS, tile=8)
    whole = digest(go())
    assert digest(go(chunk=1)) == whole
    assert digest(go(chunk=7)) == whole
    assert digest(go(predict=reversed_cost)) == whole
    assert digest(go(store=tmp_path / "a", chunk=5)) == whole
    for i in (1, 0):
        part = go(store=tmp_path / "b", chunk=10, shard=(i, 2))
    assert digest(part) == whole


ELSEWHERE = """
import sys; sys.path[:0] = {tests!r}
import jax; jax.config.update("jax_enable_x64", True); jax.config.update("jax_num_cpu_devices", 2)
import test_sweeps as t
assert len(jax.devices()) == 2
print(t.digest(t.am.sweep(t.trained, learning_rate=t.RATES, alpha=t.ALPHAS, tile=8, chunk=9)))
"""


@pytest.mark.thorough
def test_two_devices_in_another_process_give_the_same_bits():
    code = ELSEWHERE.format(tests=[str(Path(__file__).parents[k]) for k in (0, 1)])
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == digest(am.sweep(trained, learning_rate=RATES, alpha=ALPHAS, tile=8))


def test_one_trace_and_one_compilation_whatever_the_size():
    traces, builds = [], []

    def fn(a, b):
        traces.append(1)
        return {"c": jnp.sin(a) * b}

    def listen(name, seconds, **_):
        if name == "/jax/core/compile/backend_compile_duration":
            builds.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        am.sweep(fn, a=np.linspace(0, 1, 50), b=np.linspace(0, 1, 41), chunk=100)
        once = len(builds)
        am.sweep(fn, a=np.linspace(2, 3, 50), b=np.linspace(0, 1, 41), chunk=100)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(traces) == 1
    assert once <= 2
    assert len(builds) == once  # other values, the same program


def test_the_identity_knows_what_fn_has_captured():
    def make(scale, table):
        inside = jax.jit(lambda a: jnp.sum(jnp.asarray(table) * a))
        return lambda a: {"x": scale * inside(a)}

    points = am.sweeps.axes.grid({"a": [1.0, 2.0]}, None)
    table = np.arange(5.0)
    digests = {
        tiles.trace(make(scale, values), points).digest
        for scale, values in [(2.0, table), (2.0, table.copy()), (3.0, table), (2.0, table**2)]
    }
    assert len(digests) == 3  # the first two are the same function
    drawn = lambda key: lambda a: a + jr.normal(key)  # noqa: E731
    keys = [jr.key(0), jr.key(0), jr.key(1)]
    assert len({tiles.trace(drawn(key), points).digest for key in keys}) == 2
    assert am.sweep(drawn(keys[0]), a=[1.0]).value[0] == 1 + jr.normal(keys[0])


@pytest.mark.thorough
def test_the_identity_is_the_same_in_every_process():
    """Whatever Python's hashes are: a set that is looped over while tracing would make another program."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import assocmem_jax as am; from swept import ALPHAS, RATES, digest, trained; from assocmem_jax.sweeps import tiles\n"
        "print(tiles.trace(trained, am.sweeps.axes.grid({'learning_rate': [1.0], 'alpha': [0.5]}, None)).digest)"
    )
    tests, digests = str(Path(__file__).parents[1]), set()
    for seed in range(5):
        env = os.environ | {"PYTHONHASHSEED": str(seed)}
        done = subprocess.run(
            [sys.executable, "-c", code, tests], capture_output=True, text=True, env=env, cwd=tests
        )
        digests.add(done.stdout)
    # A terminal, in which JAX prints in colours: mpiexec makes one for its workers.
    driver, terminal = os.openpty()
    with os.fdopen(driver, "rb") as shown:
        subprocess.run([sys.executable, "-c", code, tests], stdout=terminal, cwd=tests, check=True)
        os.close(terminal)
        digests.add(shown.readline().decode().replace("\r\n", "\n"))
    assert len(digests) == 1, digests
    assert done.stdout, done.stderr


def test_the_tile_can_be_measured():
    data = am.sweep(lambda a: {"b": jnp.exp(a)}, a=np.linspace(0, 1, 100), tile="measure")
    told = json.loads(data.attrs["sweep"])
    assert set(told["tile_measured"]) == {str(t) for t in plan.trials()[0]}
    assert str(told["tile"]) == min(told["tile_measured"], key=told["tile_measured"].get)


def test_the_default_tile_keeps_the_loop_in_cache():
    points = am.sweeps.axes.grid({"learning_rate": RATES, "alpha": np.linspace(0, 1, 2000)}, None)
    traced = tiles.trace(steps, points)
    # Two margins, four kernel entries, the slack of a loop counter: float64, and two int32 results.
    assert 8 * 6 + 2 * 4 <= traced.state_bytes <= 8 * 6 + 6 * 4
    tile = tiles.default_tile(traced, 12_000, card=False)
    assert tile * traced.state_bytes <= tiles.TILE_BYTES < 2 * tile * traced.state_bytes
    assert tiles.default_tile(traced, 3, card=False) == 4
    wide = tiles.default_tile(traced, 10**9, card=True)
    assert wide * traced.state_bytes <= 32 * 2**20 < 2 * wide * traced.state_bytes


# ---------------------------------------------------------------- statistics over seeds


def test_statistics_over_seeds_are_those_of_numpy():
    what = am.over_seeds("mean", "sd", "min", "max", 0.0, 0.25, 0.5, 1.0)
    every = am.sweep(noisy, learning_rate=RATES, seeds=8)
    for chunk in (None, 2):
        data = am.sweep(noisy, learning_rate=RATES, seeds=8, reduce=what, chunk=chunk)
        assert data.x_quantile.dims == ("learning_rate", "quantile")
        assert data.y_quantile.dims == ("learning_rate", "quantile", "y_0")
        assert (data.seeds_ok == 8).all()
        for name in "xy":
            seen = every[name].values
            np.testing.assert_allclose(data[f"{name}_mean"], seen.mean(axis=1), rtol=1e-14)
            np.testing.assert_allclose(data[f"{name}_sd"], seen.std(axis=1, ddof=1), rtol=1e-13)
            np.testing.assert_array_equal(data[f"{name}_min"], seen.min(axis=1))
            np.testing.assert_array_equal(data[f"{name}_max"], seen.max(axis=1))
            for level in (0.0, 0.25, 0.5, 1.0):
                exact = np.quantile(seen, level, axis=1, method="inverted_cdf")
                np.testing.assert_array_equal(data[f"{name}_quantile"].sel(quantile=level), exact)


def test_seeds_that_went_wrong_are_neither_dropped_nor_averaged():
    def fn(scale, key):
        x = jr.uniform(key)
        return {"x": jnp.where(x > scale, jnp.nan, x)}

    every = am.sweep(fn, scale=[0.5, 2.0], seeds=12)
    bad = int((every.status[0] != am.Outcome.OK).sum())
    assert 0 < bad < 12
    data = am.sweep(fn, scale=[0.5, 2.0], seeds=12, reduce=am.over_seeds("mean", 0.5))
    assert data.seeds_ok.values.tolist() == [12 - bad, 12]
    assert data.status.values.tolist() == [am.Outcome.NON_FINITE, am.Outcome.OK]
    assert np.isnan(data.x_mean[0])
    assert np.isnan(data.x_quantile[0, 0])
    assert float(data.x_mean[1]) == pytest.approx(float(every.x[1].mean()))
    rest = am.sweep(fn, scale=[0.5, 2.0], seeds=12, reduce=am.over_seeds("mean", 1.0, drop_bad=True))
    assert float(rest.x_mean[0]) == pytest.approx(np.nanmean(every.x[0]))
    assert float(rest.x_quantile[0, 0]) == np.nanmax(every.x[0])


def test_never_is_infinite_in_a_quantile():
    def fn(a, key):
        return {"hit": jnp.where(jr.uniform(key) < a, 3.0, jnp.inf)}

    data = am.sweep(fn, a=[0.0, 1.0], seeds=5, reduce=am.over_seeds(0.5))
    assert data.hit_quantile.values.ravel().tolist() == [np.inf, 3.0]
    with pytest.raises(
        ValueError, match="first_step must be real-valued to be reduced over seeds, got int32"
    ):
        am.sweep(lambda a, key: steps(a, 0.9), a=[1.0], seeds=2, reduce=am.over_seeds("mean"))


# ---------------------------------------------------------------- figures


def test_any_two_axes_make_a_figure():
    data = am.sweep(steps, learning_rate=RATES, alpha=ALPHAS, p1=[0.6, 0.9])
    with am.plot.paper():
        figure = am.plot.heatmap(data, x="alpha", y="learning_rate", facet="p1", levels=4)
        shown = [ax for ax in figure.axes if ax.get_title()]
        assert [ax.get_title() for ax in shown] == ["p1 = 0.6", "p1 = 0.9"]
        assert shown[0].get_yscale() == "log"
        assert shown[0].get_xscale() == "linear"
        image = shown[1].collections[0]
        seen = np.ma.filled(image.get_array().astype(float), np.nan)
        wanted = data.first_step.sel(p1=0.9).values.astype(float)
        np.testing.assert_allclose(seen, np.log10(np.where(wanted < 0, np.nan, wanted)))  # never is not −1
        assert [t.get_text() for legend in figure.legends for t in legend.get_texts()] == ["no value"]
        with pytest.raises(
            ValueError,
            match=r"first_step must be over \['learning_rate', 'alpha'\] only, got also over \['p1'\]",
        ):
            am.plot.heatmap(data, x="alpha", y="learning_rate")
        with pytest.raises(ValueError, match="x, y and facet must be among the axes"):
            am.plot.heatmap(data, x="beta", y="learning_rate")


def test_a_dataset_opens_without_this_package(tmp_path):
    am.sweep(steps, learning_rate=RATES, alpha=ALPHAS, p1=0.8, store=tmp_path / "s")
    plain = xr.open_zarr(tmp_path / "s", chunks=None, consolidated=False)
    assert plain.first_step.sel(alpha=0.75).dims == ("learning_rate",)
    assert float(plain.p1) == 0.8
    assert plain.attrs["function"] == "swept.steps"
