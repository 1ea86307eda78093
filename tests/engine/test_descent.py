"""Descent against independent NumPy loops; its clock, its events, its ends."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am
import helpers
from assocmem_jax import theory

CONFIGS, STEPS = 25, 1000
WATCH = {"margins": am.margins, "loss": am.loss}


def numpy_run(kind, rate, problem, batches=None):
    """GD (5), (7), heavy ball and Adam, written out."""
    p, targets, inputs, outputs, weight = problem
    q = helpers.conditional(targets, len(outputs))
    weight = weight.copy()
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    seen = [helpers.margins(weight, targets, inputs, outputs)]
    for t in range(STEPS):
        if batches is None:
            g = helpers.vector_gradient(weight, p, q, inputs, outputs)
        else:
            counts = np.bincount(batches[t], minlength=len(p)) / len(batches[t])
            g = helpers.vector_gradient(weight, counts, q, inputs, outputs)
        if kind == "momentum":
            first = g + 0.9 * first
            weight -= rate * first
        elif kind == "adam":
            first = 0.9 * first + 0.1 * g
            second = 0.999 * second + 0.001 * g**2
            unbiased = first / (1 - 0.9 ** (t + 1)), second / (1 - 0.999 ** (t + 1))
            weight -= rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        else:
            weight -= rate * g
        if t % 100 == 99:
            seen.append(helpers.margins(weight, targets, inputs, outputs))
    return np.array(seen)


OPTIMIZERS = {
    "gd": optax.sgd,
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "adam": optax.adam,
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_descent_is_the_numpy_loop(kind):
    """25 random problems and rates × 1,000 steps: 1e-12 of the largest margin."""
    errors, times, rates, problems = against_the_loop(kind)
    assert max(errors) <= 1e-12
    if kind != "momentum":
        np.testing.assert_allclose(times, rates[:, None] * np.arange(0, STEPS + 1, 100), rtol=1e-7)
    if kind == "gd":  # the vectorised gradient of the loop, against the loop over tokens
        problem = problems[0]
        q = helpers.conditional(problem[1], 3)
        np.testing.assert_allclose(
            helpers.vector_gradient(problem[4], problem[0], q, *problem[2:4]),
            helpers.gradient(problem[4], *problem[:4]), rtol=1e-13, atol=1e-16,
        )  # fmt: skip


def against_the_loop(kind):
    """(error of each problem, of its largest margin; times; rates; problems)."""
    rng = np.random.default_rng(10)
    problems = [helpers.random_problem(100 + i) for i in range(CONFIGS)]
    rates = 10 ** rng.uniform(-3, -1 if kind in ("adam", "momentum") else 0, CONFIGS)
    batch = 8 if kind == "sgd" else None
    key = jr.key(3)

    @jax.jit
    @jax.vmap
    def run(rate, p, targets, inputs, outputs, weight):
        task = am.AssociationTask(p, targets, inputs, outputs)
        descent = am.Descent(OPTIMIZERS[kind], STEPS, batch, learning_rate=rate)
        out = am.simulate(task, am.LinearMemory(weight), descent, observe=WATCH, every=100, key=key)
        return out.observed["margins"], out.times

    @jax.jit
    def batches(p, targets, inputs, outputs):
        draw = am.AssociationTask(p, targets, inputs, outputs).sampler(8)
        return jax.vmap(lambda t: draw(jr.fold_in(key, t))[0])(jnp.arange(STEPS))

    found, times = run(rates, *(jnp.array(field) for field in zip(*problems)))
    errors = []
    for i, (rate, problem) in enumerate(zip(rates, problems)):
        drawn = np.asarray(batches(*map(jnp.asarray, problem[:4]))) if batch else None
        expected = numpy_run(kind, rate, problem, drawn)
        errors.append(np.abs(found[i] - expected).max() / np.abs(expected).max())
    return errors, times, rates, problems


@pytest.mark.soak
def test_descent_tends_to_the_flow_at_first_order():
    p, targets, inputs, outputs, weight = helpers.random_problem(1)
    task = am.AssociationTask(p, targets, inputs, outputs)
    memory = am.LinearMemory(weight)
    flow = am.simulate(task, memory, am.GradientFlow(4.0), observe=WATCH, at=jnp.zeros(0))
    errors, counts = [], 40 * 2 ** np.arange(5)
    for steps in counts:
        run = am.simulate(
            task, memory, am.Descent(optax.sgd, int(steps), learning_rate=4.0 / steps), observe=WATCH
        )
        assert float(run.times[-1]) == pytest.approx(4.0, rel=1e-13)
        errors.append(float(jnp.abs(run.observed["margins"][-1] - flow.observed["margins"][-1]).max()))
    measured, fit = helpers.slope(1 / counts, errors)
    assert measured == pytest.approx(1, abs=0.05)
    assert fit > 0.999


@pytest.mark.thorough
def test_a_rate_for_every_step():
    """As data: against a NumPy loop, on the clock, in reverse mode; and as optax's own schedule does it."""
    problem = helpers.random_problem(7)
    p, targets, inputs, outputs, weight = problem
    task, memory = am.AssociationTask(p, targets, inputs, outputs), am.LinearMemory(weight)
    rates = np.array([0.5, 2.0, 0.1, 3.0, 1.0])

    def final(rates):
        dynamics = am.Descent(optax.sgd, 5, learning_rate=rates)
        return am.simulate(task, memory, dynamics, observe={"W": am.memory.weights, "loss": am.loss})

    def loop(rates):
        W = weight.copy()
        for rate in rates:
            W -= rate * helpers.gradient(W, p, targets, inputs, outputs)
        return W

    run = final(jnp.asarray(rates))
    np.testing.assert_allclose(run.observed["W"][-1], loop(rates), rtol=0, atol=1e-13)
    np.testing.assert_allclose(run.times, np.concatenate([[0], np.cumsum(rates)]), rtol=1e-15)
    slope = jax.jit(jax.grad(lambda rates: final(rates).observed["loss"][-1]))(jnp.asarray(rates))
    for k in range(5):
        # Central differences at 1e-5: an error of 1e-10 times the third derivative, and rounding over 1e-5.
        ends = [loop(rates + h * np.eye(5)[k]) for h in (1e-5, -1e-5)]
        up, down = (helpers.loss(W, p, targets, inputs, outputs) for W in ends)
        assert abs(float(slope[k]) - (up - down) / 2e-5) < 1e-9
    other = am.simulate(
        task,
        memory,
        am.Descent(optax.sgd(lambda step: jnp.asarray(rates)[step]), 5),
        observe={"W": am.memory.weights},
    )
    np.testing.assert_array_equal(other.observed["W"], run.observed["W"])
    with pytest.raises(ValueError, match=r"one number, or one for each of the 5 steps, got shape \(4,\)"):
        am.Descent(optax.sgd, 5, learning_rate=rates[:4])


@pytest.mark.thorough
def test_marks():
    """every and at: the same states, initial and final included, uneven remainders too."""
    task = am.two_tokens(0.9, 0.75)
    memory = am.LinearMemory.zeros(task)
    descent = am.Descent(optax.sgd(2.0), 23)
    full = am.simulate(task, memory, descent, observe=WATCH)
    assert full.times.shape == (24,)
    for options, steps in (
        ({"every": 5}, [0, 5, 10, 15, 20, 23]),
        ({"every": 7}, [0, 7, 14, 21, 23]),
        ({"every": 23}, [0, 23]),
        ({"at": [1, 2, 4, 16]}, [0, 1, 2, 4, 16, 23]),
        ({"at": np.array([4, 10])}, [0, 4, 10, 23]),
    ):
        run = am.simulate(task, memory, descent, observe=WATCH, **options)
        assert run.steps.tolist() == steps
        np.testing.assert_array_equal(run.observed["loss"], full.observed["loss"][jnp.array(steps)])
        np.testing.assert_array_equal(run.times, full.times[jnp.array(steps)])
    nothing = am.simulate(task, memory, am.Descent(optax.sgd(2.0), 0), observe=WATCH)
    assert nothing.observed["loss"].shape == (1,)


@pytest.mark.thorough
def test_hits_of_descent_against_a_scan_of_the_record():
    """First and stable zero error of GD Figure 2, read off a NumPy loop of (17)."""
    eta, alpha, p = 10.0, 0.95, np.array([0.75, 0.25])
    m, record = np.zeros(2), []
    for _ in range(60):
        record.append(m)
        pull = p / (1 + np.exp(m))
        m = m + eta * 2 * (pull - alpha * pull[::-1])
    good = (np.array(record) > 0).all(axis=1)
    first, stable = int(good.argmax()), int(np.flatnonzero(~good).max()) + 1
    assert (first, stable) == (2, 15)
    task = am.two_tokens(alpha, 0.75)
    memory = am.LinearMemory.zeros(task)
    descent = am.Descent(optax.sgd(eta), 59)
    run = am.simulate(task, memory, descent, observe=WATCH, until=am.perfect_accuracy(None))
    assert (run.first_step, run.stable_step) == (first, stable)
    assert (run.first_hit, run.stable_hit) == (first * eta, stable * eta)
    np.testing.assert_allclose(run.observed["margins"], record, rtol=1e-12, atol=1e-14)
    stopped = am.simulate(task, memory, descent, observe=WATCH, until=am.perfect_accuracy())
    assert stopped.status == am.Status.HIT
    assert stopped.num_steps == first
    np.testing.assert_allclose(
        stopped.observed["margins"][first:], np.tile(record[first], (60 - first, 1)), rtol=1e-12
    )
    assert (stopped.times[first:] == first * eta).all()
    held = am.simulate(task, memory, descent, observe=WATCH, until=am.perfect_accuracy(hold=5))
    assert held.status == am.Status.HIT
    assert (held.first_step, held.stable_step, held.num_steps) == (first, stable, stable + 4)
    lost = am.simulate(task, memory, am.Descent(optax.sgd(eta), 14), until=am.perfect_accuracy(None))
    assert lost.first_step == 2
    assert lost.stable_step == -1
    assert np.isinf(lost.stable_hit)


def test_ends_are_statuses_and_siblings_do_not_notice():
    """Weight decay above 2/η doubles W each step: diverged; an infinite update: non-finite."""
    task = am.two_tokens(0.5, 0.75)
    start = am.LinearMemory(jnp.ones((2, 2)))

    def grow(decay, steps=1000, throw=False):
        optimizer = optax.chain(optax.add_decayed_weights(decay), optax.sgd(1.0))
        return am.simulate(
            task,
            start,
            am.Descent(optimizer, steps),
            observe={"W": am.memory.weights, "loss": am.loss},
            throw=throw,
        )

    run = grow(3.0)
    assert run.status == am.Status.DIVERGED
    assert np.isfinite(run.observed["W"]).all()
    assert np.isfinite(run.times).all()
    assert run.num_steps < 600
    assert (run.steps[-1] == run.num_steps) & (run.times[-1] == run.num_steps)
    with pytest.raises(am.SimulationError, match=r"DIVERGED.*lower the learning rate") as caught:
        grow(3.0, throw=True)
    assert caught.value.trajectory.status == am.Status.DIVERGED
    poison = optax.stateless(lambda updates, params: jax.tree.map(lambda u: u * jnp.nan, updates))
    run = am.simulate(task, start, am.Descent(poison, 3), observe={"W": am.memory.weights}, throw=False)
    assert run.status == am.Status.NON_FINITE
    np.testing.assert_array_equal(run.model.weight, start.weight)
    decays = jnp.array([0.0, 3.0, 0.1])
    together = jax.jit(jax.vmap(grow))(decays)
    assert together.status.tolist() == [am.Status.OK, am.Status.DIVERGED, am.Status.OK]
    for k in (0, 2):
        np.testing.assert_allclose(together.observed["loss"][k], grow(decays[k]).observed["loss"], rtol=1e-12)


def test_float32_does_not_stall(float32):
    """Compensated float32 tracks the flow where plain float32 has stopped (reliability.md, section 2)."""
    steps = 2_000_000
    task = am.AssociationTask(jnp.ones(1), jnp.array([0]), jnp.ones((1, 1)) / np.sqrt(2), jnp.eye(2))
    memory = am.LinearMemory.zeros(task)
    run = am.simulate(task, memory, am.Descent(optax.sgd(1.0), steps), observe=WATCH, at=[steps])
    m = np.float64(0)
    for _ in range(20_000):
        m += 1 / (1 + np.exp(m))
    # Beyond, e^m + m grows by ηc + (ηc)²/(2 e^m)…: the flow from there errs by less than 1e-6.
    expected = float(np.log(np.exp(m) + m + (steps - 20_000) - np.log(steps)))
    assert run.times.dtype == jnp.float32
    assert float(run.observed["margins"][-1, 0]) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="float32 stalls"):
        am.simulate(task, memory, am.Descent(optax.sgd(1.0), steps, compensated=False))


def test_soft_labels_edge_of_stability():
    """Oracle F: η H* just below 2 converges, just above ends in a 2-cycle."""
    q, c = 0.8, 2.0
    task = am.AssociationTask(jnp.ones(1), jnp.array([[q, 1 - q]]), jnp.ones((1, 1)), jnp.eye(2))
    start = am.LinearMemory.zeros(task)
    critical = float(theory.soft_labels.critical_rate(q, c))
    assert float(am.sharpness(task, am.LinearMemory(jnp.array([[np.log(4)], [0.0]])))) == pytest.approx(
        2 / critical, rel=1e-12
    )
    for factor, settles in ((0.95, True), (0.98, True), (1.02, False), (1.05, False)):
        run = am.simulate(
            task,
            start,
            am.Descent(optax.sgd, 4000, learning_rate=factor * critical),
            observe={"s": am.memory.particles},
        )
        m = run.observed["s"][:, 0, 0] - run.observed["s"][:, 0, 1]
        assert (abs(float(m[-1] - m[-2])) < 1e-9) is settles
        assert abs(float(m[-1] - m[-3])) < 1e-9
        expected = 0.0
        for _ in range(5):
            expected = theory.soft_labels.step(expected, factor * critical, q, c)
        assert float(m[5]) == pytest.approx(float(expected), rel=1e-12)


def test_trainable_narrows_and_freezes():
    task = am.two_tokens(0.5, 0.75)
    particles = am.ParticleSystem.zeros(task)
    run = am.simulate(task, particles, am.Descent(optax.sgd(1.0), 3))
    np.testing.assert_array_equal(run.model.alpha, particles.alpha)
    assert float(jnp.abs(run.model.values).max()) > 0
    run = am.simulate(
        task, am.LinearMemory.zeros(task), am.Descent(optax.sgd(1.0), 3), trainable=lambda m: m.weight
    )
    assert float(jnp.abs(run.model.weight).max()) > 0
