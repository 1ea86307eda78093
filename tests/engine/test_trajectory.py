"""The result of a run: what it prints, converts to, carries; progress; recompilation."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import assocmem_jax as am

TASK = am.two_tokens(0.5, 0.75)
ZERO = am.LinearMemory.zeros(TASK)
WATCH = {"loss": am.loss, "margins": am.margins, "particles": am.memory.particles}


def test_to_xarray_names_axes_units_and_provenance():
    run = am.simulate(TASK, ZERO, am.Descent(optax.sgd(1.0), 5), observe=WATCH)
    data = run.to_xarray()
    assert data.loss.dims == ("time",)
    assert data.margins.dims == ("time", "token")
    assert data.particles.dims == ("time", "token", "class")
    assert data.loss.attrs["units"] == "nats"
    np.testing.assert_array_equal(data.time, run.times)
    np.testing.assert_array_equal(data.margins, run.observed["margins"])
    assert data.attrs["status"] == "OK"
    assert data.attrs["provenance_dtype"] == "float64"
    assert "jax" in data.attrs["provenance_versions"]
    batch = jax.vmap(lambda a: am.simulate(am.two_tokens(a, 0.75), ZERO, am.Descent(optax.sgd(1.0), 5)))(
        jnp.array([0.1, 0.2])
    )
    assert batch.to_xarray().sizes["batch"] == 2  # more of batches: test_records.py
    one = jax.tree.map(lambda leaf: leaf[1], batch)
    assert one.to_xarray().sizes["time"] == 6


def test_repr_tells_shapes_bytes_and_statuses():
    run = am.simulate(TASK, ZERO, am.Descent(optax.sgd(1.0), 5), observe=WATCH)
    text = repr(run)
    assert "status OK" in text
    assert "margins    float64[6, 2]" in text
    assert run.nbytes == sum(leaf.nbytes for leaf in jax.tree.leaves(run))
    total = jax.tree.map(lambda a, b: a + b, run, run)  # provenance does not stand in the way
    np.testing.assert_array_equal(total.times, 2 * run.times)


def test_traces_draws_what_was_observed():
    run = am.simulate(TASK, ZERO, am.Descent(optax.sgd(1.0), 5), observe=WATCH)
    with am.plot.paper():
        _, axes = am.plot.panels(1, 1, 2.0)
        am.plot.traces(axes[0, 0], [("a", run), ("b", run.to_xarray())], "loss", "loss (nats)")
    lines = axes[0, 0].get_lines()
    for drawn in lines:
        np.testing.assert_array_equal(drawn.get_xdata(), run.times)
        np.testing.assert_array_equal(drawn.get_ydata(), run.observed["loss"])
    assert axes[0, 0].get_ylabel() == "loss (nats)"
    assert "learning rate × step" in axes[0, 0].get_xlabel()


class _Heard(diffrax.AbstractProgressMeter):
    heard: list = eqx.field(static=True)

    def init(self):
        return jnp.zeros(())

    def step(self, state, progress):
        jax.debug.callback(lambda p: self.heard.append(float(p)), progress)
        return state

    def close(self, state):
        pass

    def __hash__(self):
        return id(self.heard)

    def __eq__(self, other):
        return self is other


class _List(list):
    __hash__ = object.__hash__  # pyright: ignore


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("dynamics", "options"),
    [
        (am.Descent(optax.sgd(1.0), 100), {}),
        (am.Descent(optax.sgd(1.0), 100), {"at": [1, 10, 50]}),
        (am.Descent(optax.sgd(1.0), 100), {"until": am.margin_above(50.0)}),
        (am.GradientFlow(100.0), {}),
    ],
)
def test_progress_reaches_one_and_changes_no_result(dynamics, options):
    """Of a descent no bit. A flow that tells progress is diffrax's, with steps of its own: each of the two is
    right to 1e-10 a step."""
    heard = _List()
    loud = am.simulate(TASK, ZERO, dynamics, progress=_Heard(heard), **options)
    jax.effects_barrier()
    assert max(heard) == pytest.approx(1)
    assert len(heard) >= 4
    quiet = am.simulate(TASK, ZERO, dynamics, **options)
    flow = isinstance(dynamics, am.GradientFlow)
    slack = 1e-10 * int(loud.num_steps + quiet.num_steps) if flow else 0
    np.testing.assert_allclose(loud.observed["loss"], quiet.observed["loss"], rtol=slack, atol=0)


def test_progress_bar(capfd):
    am.simulate(TASK, ZERO, am.Descent(optax.sgd(1.0), 50), progress=True)
    jax.effects_barrier()
    assert "100" in capfd.readouterr().err


def test_a_new_rate_does_not_recompile():
    traces = []

    def counted(task, model):
        traces.append(1)
        return am.loss(task, model)

    for rate in (0.1, 0.2, 0.3):
        am.simulate(TASK, ZERO, am.Descent(optax.sgd, 10, learning_rate=rate), observe={"loss": counted})
    first = len(traces)
    for rate in (0.4, 0.5):
        am.simulate(TASK, ZERO, am.Descent(optax.sgd, 10, learning_rate=rate), observe={"loss": counted})
    assert len(traces) == first
