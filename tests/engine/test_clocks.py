"""Flows side by side on their own clocks: against SciPy, one by one, nested, in reverse, and to the bit."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import assocmem_jax as am
import helpers
from assocmem_jax.dynamics import clocks
from assocmem_jax.sweeps import axes, tiles

N, D, T1 = 5, 7, 1e6
# 100 of the solver's tolerance: the global error of some 100 steps.
CLOSE = 1e-8


def problems(count, seed=0):
    """(inputs, outputs): random directions, so that flows take 60 to 200 steps."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(2, count, N, D))
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def learned(inputs, outputs, t1=T1, kind=am.LinearMemory, at=(), classes=N, **how):
    task = am.AssociationTask(am.laws.zipf(N), jnp.arange(N) % classes, inputs, outputs[:classes])
    flow = am.GradientFlow(t1, rtol=1e-10, **how)
    run = am.simulate(
        task, kind.zeros(task), flow, observe=[am.margins], at=jnp.asarray(at, float), throw=False
    )
    return run["margins"], run.status, run.num_steps


def by_scipy(inputs, outputs, t1=T1):
    gram_in, gram_out, p = inputs @ inputs.T, outputs @ outputs.T, np.asarray(am.laws.zipf(N))
    own = np.eye(N, dtype=bool)

    def field(s, flat):
        scores = gram_in @ flat.reshape(N, N) @ gram_out
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        wrong = np.where(own, 0, e) / e.sum(axis=1, keepdims=True)
        slopes = np.where(own, -wrong.sum(axis=1, keepdims=True), wrong)
        return (-np.exp(s) * p[:, None] * slopes).ravel()

    run = solve_ivp(field, (0, np.log1p(t1)), np.zeros(N * N), "DOP853", rtol=1e-12, atol=1e-14)
    scores = gram_in @ run.y[:, -1].reshape(N, N) @ gram_out
    return np.diagonal(scores) - np.where(own, -np.inf, scores).max(axis=1)


@functools.cache
def many(kind, count=70):
    """More flows than a tile holds: lanes are refilled."""
    return jax.jit(jax.vmap(functools.partial(learned, kind=kind)))(*problems(count))


@pytest.mark.parametrize("kind", [am.LinearMemory, am.ParticleSystem])
def test_many_flows_are_those_of_scipy(kind):
    margins, status, steps = many(kind)
    assert (status == am.Status.OK).all()
    assert steps.max() > 1.5 * np.median(steps)  # or no lane has waited for another
    for lane in (0, 33, 69):
        expected = by_scipy(*problems(70)[:, lane])
        np.testing.assert_allclose(margins[lane, -1], expected, rtol=CLOSE, atol=CLOSE)


def test_two_classes_as_margins():
    pair = problems(9)
    find = lambda kind: jax.jit(jax.vmap(functools.partial(learned, kind=kind, classes=2)))(*pair)  # noqa: E731
    margins, particles = find(am.MarginSystem), find(am.ParticleSystem)
    assert (margins[1] == am.Status.OK).all()
    np.testing.assert_allclose(margins[0], particles[0], rtol=CLOSE, atol=CLOSE)


def test_a_lane_does_not_depend_on_the_others():
    """To the bit, among as many: wherever it is, whoever was there before."""
    first = many(am.ParticleSystem)
    order = np.random.default_rng(1).permutation(70)
    shuffled = jax.jit(jax.vmap(functools.partial(learned, kind=am.ParticleSystem)))(*problems(70)[:, order])
    np.testing.assert_array_equal(shuffled[0], first[0][order])
    strangers = problems(70, 7)
    strangers[:, 50:58] = problems(70)[:, 50:58]
    beside = jax.jit(jax.vmap(functools.partial(learned, kind=am.ParticleSystem)))(*strangers)
    np.testing.assert_array_equal(beside[0][50:58], first[0][50:58])


def test_every_lane_has_its_own_times():
    """Horizons and times to observe at are data; for one token of two classes m + e^m = 1 + 2t."""
    t1 = np.array([1e-3, 1.0, 1e4, 1e12])
    at = t1[:, None] * np.array([0.25, 0.5, 0.999])
    outputs = np.eye(2)

    def run(t1, at):
        task = am.AssociationTask(jnp.ones(1), jnp.array([0]), jnp.ones((1, 1)), outputs)
        found = am.simulate(
            task, am.LinearMemory.zeros(task), am.GradientFlow(t1, rtol=1e-10), observe=[am.margins], at=at
        )
        return found.times, found["margins"][:, 0]

    times, margins = jax.jit(jax.vmap(run))(t1, at)
    np.testing.assert_allclose(times, np.concatenate([np.zeros((4, 1)), at, t1[:, None]], 1), rtol=1e-12)
    np.testing.assert_allclose(margins + np.expm1(margins), 2 * times, rtol=CLOSE, atol=1e-15)


def test_maps_inside_maps_and_what_lanes_share():
    inputs, outputs = problems(6)
    horizons = np.array([1.0, 1e3])
    grid = jax.jit(jax.vmap(lambda i, o: jax.vmap(lambda t1: learned(i, o, t1)[0])(horizons)))(
        inputs, outputs
    )
    shared = jax.jit(jax.vmap(lambda t1: learned(inputs[2], outputs[2], t1)[0]))(horizons)
    assert grid.shape == (6, 2, 2, N)
    np.testing.assert_allclose(grid[2], shared, rtol=CLOSE, atol=CLOSE)
    np.testing.assert_allclose(shared[1, -1], by_scipy(inputs[2], outputs[2], 1e3), rtol=CLOSE, atol=CLOSE)


def test_an_observable_may_read_what_is_traced():
    """A value that no argument holds: such a flow runs as it is differentiated."""
    inputs, outputs = problems(3)

    def run(inputs, outputs, level):
        task = am.AssociationTask(am.laws.zipf(N), jnp.arange(N), inputs, outputs)
        over = lambda task, model: am.margins(task, model) - level  # noqa: E731
        start = am.LinearMemory.zeros(task)
        return am.simulate(task, start, am.GradientFlow(10.0), observe={"over": over}, at=jnp.zeros(0))[
            "over"
        ]

    levels = np.array([0.0, 1.0, 2.0])
    over = jax.vmap(run)(inputs, outputs, levels)
    margins = jax.vmap(functools.partial(learned, t1=10.0))(inputs, outputs)[0]
    np.testing.assert_allclose(over, margins - levels[:, None, None], rtol=CLOSE, atol=CLOSE)


def test_alone_it_steps_as_diffrax_does():
    """The same tableau and controller: diffrax's own loop, which forward mode takes. Its first step is not
    chosen by the field but .01, so the number of steps is the same to a few."""
    inputs, outputs = problems(1)[:, 0]
    at = [0.1, 3.0, 777.0]
    run = lambda **how: learned(inputs, outputs, kind=am.ParticleSystem, at=at, **how)  # noqa: E731
    (ours, status, steps), (theirs, _, expected) = run(), run(adjoint=diffrax.ForwardMode())
    assert status == am.Status.OK
    assert abs(int(steps) - int(expected)) <= 5
    np.testing.assert_allclose(ours, theirs, rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("batched", helpers.few([True, False]))
def test_derivatives_in_reverse_mode(batched):
    """Of the margins at a time by embeddings, against forward mode through diffrax's loop."""
    inputs, outputs = problems(2, 3)
    turn = np.random.default_rng(4).normal(size=inputs.shape[1:])

    def last(shift, inputs, outputs, **how):
        margins, *_ = learned(inputs + shift * turn, outputs, 1e3, at=[5.0], **how)
        return jnp.sum(margins[1:] * jnp.arange(1, N + 1))

    forward = functools.partial(last, adjoint=diffrax.ForwardMode())
    expected = [jax.jvp(lambda s, i=i: forward(s, inputs[i], outputs[i]), (0.0,), (1.0,))[1] for i in (0, 1)]
    slope = jax.grad(last)
    if batched:
        found = jax.jit(jax.vmap(slope, (None, 0, 0)))(0.0, inputs, outputs)
    else:
        found = [slope(0.0, i, o) for i, o in zip(inputs, outputs, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("dtype", "x64"), helpers.few([(np.float64, True), (np.float32, False), (np.float32, True)])
)
def test_derivatives_in_parts(dtype, x64):
    """By all that is data at once, in parts of ten steps, against differences of the flow itself, whose
    interpolant is of order 7; of a model of float32 in float64 too."""
    rng = np.random.default_rng(2)
    scales = [rng.normal(size=shape) * 0.1 for shape in ((N, D), (N, D), (N,), (D, D))]

    def seen(shift):
        inputs, outputs, law, start = (shift * scale for scale in scales)
        law = jax.nn.softmax(jnp.log(am.laws.zipf(N)) + law)
        given = (
            jnp.asarray(a, dtype) for a in (law, problems(1)[0, 0] + inputs, problems(1)[1, 0] + outputs)
        )
        law, inputs, outputs = given
        task = am.AssociationTask(law, jnp.arange(N), inputs, outputs)
        tight = 1e-11 if x64 and dtype == np.float64 else 2e-6
        flow = am.GradientFlow(300.0 * (1 + shift), rtol=tight, atol=tight, max_steps=100, stiff=False)
        start = am.LinearMemory(jnp.asarray(start, dtype))
        run = am.simulate(
            task, start, flow, observe=[am.loss, am.error], at=jnp.asarray([2.0, 5.0]) * (1 + shift)
        )
        return jnp.append(run["loss"], run.model.weight[0, :3]), run.num_steps

    with jax.enable_x64(x64):
        steps = seen(jnp.zeros(()))[1]
        assert (25 if dtype == np.float64 and x64 else 8) < steps < 100  # of parts of ten
        slopes = jax.jit(jax.jacrev(lambda shift: seen(shift)[0]))(jnp.zeros(()))
    exact, h = (dtype, x64) == (np.float64, True), 2e-3
    dtype, x64 = np.float64, True
    near, far = (seen(k * h)[0] - seen(-k * h)[0] for k in (1, 2))
    expected = (8 * near - far) / (12 * h)
    within = 1e-11 ** (7 / 8) / h if exact else 1e-4
    np.testing.assert_allclose(slopes, expected, rtol=0, atol=within * np.abs(expected).max())


def test_the_time_of_the_end_has_a_derivative():
    """dm/dt = 2/(1 + e^m): at the end, and between, where it is of the interpolant, one order less exact."""
    task = am.AssociationTask(jnp.ones(1), jnp.array([0]), jnp.ones((1, 1)), jnp.eye(2))

    def margin(t1):
        flow = am.GradientFlow(t1, rtol=1e-10)
        run = am.simulate(task, am.LinearMemory.zeros(task), flow, observe=[am.margins], at=t1[None] / 2)
        return run["margins"][1:, 0]

    t1 = jnp.asarray(30.0)
    m, slope = margin(t1), jax.jacrev(margin)(t1)
    expected = np.array([0.5, 1]) * 2 / (1 + np.exp(m))
    np.testing.assert_allclose(slope[1], expected[1], rtol=CLOSE)
    np.testing.assert_allclose(slope[0], expected[0], rtol=1e-10 ** (6 / 8))


@pytest.mark.parametrize("kind", [am.LinearMemory, am.ParticleSystem])
def test_lanes_stop_where_their_condition_begins_to_hold(kind):
    """Each at a time of its own, against SciPy; one that holds at the start, and one that never does. What is
    observed later is the end."""
    inputs, outputs = problems(20)
    levels = np.full(20, 1.5)
    levels[3], levels[7] = -1.0, 1e3

    def run(inputs, outputs, level):
        task = am.AssociationTask(am.laws.zipf(N), jnp.arange(N), inputs, outputs)
        found = am.simulate(
            task,
            kind.zeros(task),
            am.GradientFlow(1e4, rtol=1e-10),
            observe={"least": lambda t, m: am.margins(t, m).min()},
            until=am.margin_above(level),
            at=jnp.array([1.0, 30.0, 9e3]),
            throw=False,
        )
        return found.first_hit, found.status, found["least"], found.times

    hits, status, least, times = jax.jit(jax.vmap(run))(inputs, outputs, levels)
    expected = np.full(20, int(am.Status.HIT))
    expected[7] = int(am.Status.OK)
    assert status.tolist() == expected.tolist()
    assert hits[3] == 0
    assert hits[7] == np.inf
    assert (least[3] == 0).all()
    assert (np.delete(times[:, -1], 7) == np.delete(hits, 7)).all()
    stopped = np.delete(np.arange(20), [3, 7])
    np.testing.assert_allclose(least[stopped, -1], 1.5, rtol=CLOSE)
    np.testing.assert_array_equal(least[stopped, -2], least[stopped, -1])
    for lane in (0, 5, 19):
        after, before = (
            by_scipy(inputs[lane], outputs[lane], hits[lane] * by).min() for by in (1 + CLOSE, 1 - CLOSE)
        )
        assert before < 1.5 < after
        early = by_scipy(inputs[lane], outputs[lane], 1.0).min()
        np.testing.assert_allclose(least[lane, 1], early, rtol=CLOSE, atol=CLOSE)


def test_statuses_of_lanes_beside_sound_ones():
    inputs, outputs = problems(4)
    scales = np.array([1.0, 1e160, 1.0, 1e3])  # scores beyond float64; a flow of some 80 steps

    def run(inputs, outputs, scale):
        return learned(scale * inputs, outputs, 1e3, max_steps=60)

    margins, status, steps = jax.jit(jax.vmap(run))(inputs, outputs, scales)
    kinds = [am.Status(int(s)).name for s in status]
    assert kinds == ["OK", "NON_FINITE", "OK", "STEP_LIMIT"]
    assert steps[3] == 60
    assert max(steps[0], steps[2]) < 60
    np.testing.assert_allclose(margins[2, -1], by_scipy(inputs[2], outputs[2], 1e3), rtol=CLOSE, atol=CLOSE)


def test_models_that_do_not_fit_a_tile_run_in_turn():
    """A matrix of 60 × 60 is integrated as it is; two lanes one after the other."""
    assert clocks.width(60 * 60, np.dtype("float64"), 8) == 1
    rng = np.random.default_rng(0)
    inputs, outputs = rng.normal(size=(2, 2, 12, 60)) / np.sqrt(60)

    def run(inputs, outputs, **how):
        task = am.AssociationTask(am.laws.uniform(12), jnp.arange(12), inputs, outputs)
        flow = am.GradientFlow(1e3, rtol=1e-9, **how)
        return am.simulate(task, am.LinearMemory.zeros(task), flow, observe=[am.margins], at=jnp.zeros(0))[
            "margins"
        ]

    together = jax.jit(jax.vmap(run))(inputs, outputs)
    apart = [run(i, o, adjoint=diffrax.ForwardMode()) for i, o in zip(inputs, outputs, strict=True)]
    np.testing.assert_allclose(together, apart, rtol=1e-7, atol=1e-9)


def test_a_sweep_of_flows_has_wide_tiles():
    """As flows tile their lanes themselves; and few lanes enough tiles for every core."""

    def fn(t1):
        return learned(*problems(1)[:, 0], t1)[2]

    traced = tiles.trace(fn, axes.grid({"t1": np.linspace(1, 2, 4096)}, None))
    assert [tiles.default_tile(traced, lanes, False) for lanes in (4096, 512, 511, 8)] == [256, 64, 16, 8]
