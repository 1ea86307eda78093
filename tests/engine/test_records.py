"""What becomes of a trajectory: Datasets and files, two runs joined, a table, a picture."""

import jax
import numpy as np
import optax
import pytest
import xarray as xr

import assocmem_jax as am

TASK = am.two_tokens(0.5, 0.75)
START = am.MarginSystem.zeros(TASK)
WATCH = {"loss": am.loss, "margins": am.margins}


def descend(rate, steps=6, **options):
    return am.simulate(
        TASK, START, am.Descent(optax.sgd, steps, learning_rate=rate), observe=WATCH, **options
    )


ONE = descend(1.0, resumable=True)
MANY = jax.vmap(lambda rate: descend(rate, throw=False))(np.array([0.5, 1.0, 2.0]))


def test_a_batch_is_a_dataset_with_its_times():
    data = MANY.to_xarray("rate")
    assert data.loss.dims == ("rate", "record")
    assert data.margins.dims == ("rate", "record", "token")
    np.testing.assert_array_equal(data.time.values, np.arange(7) * np.array([[0.5], [1.0], [2.0]]))
    np.testing.assert_array_equal(data.step.values[2], np.arange(7))
    assert data.status.values.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(data.loss.values, MANY["loss"])
    np.testing.assert_allclose(
        data.loss.values[1], ONE["loss"], 4 * np.finfo(float).eps
    )  # lanes sum otherwise
    assert data.loss.units == "nats"
    same = jax.tree.map(lambda a: np.stack([a, a]), ONE)
    assert same.to_xarray().loss.dims == ("batch", "time")
    assert same.to_xarray().time.dims == ("time",)
    two = jax.tree.map(lambda a: np.stack([a, a]), same)
    assert two.to_xarray().loss.dims == ("batch_0", "batch_1", "time")
    for wrong in (("a", "b"), "time", ()):
        with pytest.raises(ValueError, match="batch must be 1 different names"):
            MANY.to_xarray(wrong)


@pytest.mark.parametrize("run", [ONE, MANY], ids=["one", "batch"])
def test_every_format_takes_it(run, tmp_path):
    data = run.to_xarray()
    data.to_netcdf(tmp_path / "run.nc")
    data.to_zarr(tmp_path / "run.zarr", consolidated=False)
    for again in (
        xr.load_dataset(tmp_path / "run.nc"),
        xr.open_zarr(tmp_path / "run.zarr", consolidated=False, chunks=None).load(),
    ):
        assert again.equals(data)
        assert set(again.attrs) == set(data.attrs)
    frame = data.to_dataframe()
    frame.to_csv(tmp_path / "run.csv")
    rows = (tmp_path / "run.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + data.margins.size
    assert {"loss", "margins"} <= set(rows[0].split(","))


def test_a_resumed_run_is_joined_to_the_whole_one():
    rest = descend(1.0, steps=4, resume=ONE, resumable=True)
    whole = am.concat(ONE, rest)
    once = descend(1.0, steps=10)
    for name in ("loss", "margins", "times", "steps"):
        np.testing.assert_array_equal(whole[name], once[name])
    assert int(whole.num_steps) == int(once.num_steps)


@pytest.mark.thorough
def test_a_run_that_begins_where_another_ended_is_counted_on():
    """The flow is autonomous: to t = 3 and on for 5 is to t = 8, hits included, to the solver's tolerance."""

    def flow(start, t1):
        return am.simulate(
            TASK,
            start,
            am.GradientFlow(t1),
            at=np.array([t1 / 2]),
            observe=WATCH,
            until=am.loss_below(0.2, hold=None),
        )

    first = flow(START, 3.0)
    assert np.isinf(first.first_hit)
    whole, once = am.concat(first, flow(first.model, 8.0)), flow(START, 11.0)
    np.testing.assert_allclose(whole.times, [0, 1.5, 3, 7, 11])
    np.testing.assert_allclose(whole["loss"][-1], once["loss"][-1], rtol=1e-8)
    assert 3 < float(once.first_hit) < 11
    np.testing.assert_allclose(whole.first_hit, once.first_hit, rtol=1e-5)
    np.testing.assert_allclose(whole.stable_hit, once.stable_hit, rtol=1e-5)
    assert (whole.steps == -1).all()
    # What holds from the first run on stays hit there.
    longer = am.concat(once, flow(once.model, 3.0))
    assert float(longer.first_hit) == float(once.first_hit)
    assert float(longer.stable_hit) == float(once.stable_hit)
    assert int(longer.num_steps) > int(once.num_steps)


def test_batches_are_joined_lane_by_lane():
    more = jax.vmap(lambda rate, model: am.simulate(
        TASK, model, am.Descent(optax.sgd, 4, learning_rate=rate), observe=WATCH, throw=False
    ))(np.array([0.5, 1.0, 2.0]), MANY.model)  # fmt: skip
    whole = am.concat(MANY, more)
    np.testing.assert_array_equal(whole.steps[2], np.arange(11))
    np.testing.assert_array_equal(whole.times[2], 2.0 * np.arange(11))
    np.testing.assert_allclose(whole["loss"][1], descend(1.0, steps=10)["loss"], rtol=1e-14)


def test_what_is_no_continuation_is_refused():
    later = am.simulate(
        TASK, ONE.model, am.Descent(optax.sgd, 2, learning_rate=1.0), observe={"loss": am.loss}
    )
    for second, words in (
        (ONE, "a continuation, which begins where"),
        (later, "a run with the observables of first"),
        (MANY, "a batch of shape"),
    ):
        with pytest.raises(ValueError, match=f"second must be {words}"):
            am.concat(ONE, second)


def test_observables_by_name_and_a_table():
    np.testing.assert_array_equal(ONE["loss"], ONE.observed["loss"])
    with pytest.raises(ValueError, match="name must be one of times, steps, loss, margins, got 'los'"):
        ONE["los"]
    table = ONE._repr_html_()
    assert table.count("<tr>") == 4
    assert "<td>margins</td><td>time, token</td><td>7 × 2</td><td>float64</td>" in table
    assert "0.6931" in table
    assert "batch, time" in MANY._repr_html_()
    assert isinstance(jax.jit(lambda run: [run._repr_html_()] and run["loss"])(ONE), jax.Array)


def test_a_run_draws_itself():
    loss, margins = ONE.plot().axes
    assert [line.get_label() for line in margins.lines] == ["token 0", "token 1"]
    np.testing.assert_array_equal(margins.lines[1].get_ydata(), ONE["margins"][:, 1])
    assert (loss.get_ylabel(), loss.get_xlabel()) == ("loss (nats)", "time  (learning rate × step)")
    assert loss.get_legend() is None
    (alone,) = MANY.plot("margins", x="step", log=True).axes
    assert len(alone.lines) == 6
    assert alone.get_yscale() == "log"
    assert alone.get_xlabel() == "step"
    crowd = jax.tree.map(lambda a: np.repeat(np.asarray(a), 10, axis=0), MANY)
    (many,) = crowd.plot("margins").axes
    assert [text.get_text() for text in many.get_legend().get_texts()] == ["token 0", "token 1"]
    assert many.get_title() == "30 batch × 2 token"
    with pytest.raises(ValueError, match="names must be observables that lines can show, of loss, margins"):
        ONE.plot("W")
    with pytest.raises(ValueError, match="x must be 'time' or 'step'"):
        ONE.plot(x="epoch")
