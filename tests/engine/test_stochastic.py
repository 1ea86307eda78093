"""Stochastic flow, GD (6): orders of convergence, law of the noise, its keys."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import assocmem_jax as am
import helpers

PATHS = 400


@functools.cache
def ends(solver, steps, refine, sigma=1.0, t1=1.0, paths=PATHS):
    """Final W of many paths; runs with the same steps × refine share their Brownian paths."""
    task = am.two_tokens(0.5, 0.75)
    start = am.LinearMemory.zeros(task)
    flow = am.StochasticFlow(sigma, t1, steps, solver=solver, refine=refine)

    def one(key):
        return am.simulate(task, start, flow, observe={}, key=key, every=steps).model.weight

    return np.asarray(jax.jit(jax.vmap(one))(jr.split(jr.key(1), paths)))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("solver", "order"),
    [(diffrax.Euler(), 1.0), pytest.param(diffrax.ShARK(), 1.5, marks=pytest.mark.soak)],
)
def test_strong_and_weak_order(solver, order):
    """Additive noise of size one against a gradient below one: E|W_h − W| and |E φ(W_h) − E φ(W)|.

    Euler–Maruyama: strong 1 (the noise is additive), weak 1. ShARK: strong 1.5.
    """
    (strong, fit), (weak, weak_fit) = measured_orders(solver)
    assert strong == pytest.approx(order, abs=0.1)
    assert fit > 0.999
    if order == 1:
        assert weak == pytest.approx(1, abs=0.15)
        # A mean of 400 paths: 15 % of a weak error is noise (strong error / 20), of four in octaves: .15²/.6.
        assert weak_fit > 1 - 0.15**2 / (1.25 * np.log(2) ** 2)


def measured_orders(solver):
    """(strong order, R²), (weak order, R²)."""
    finest, counts = 512, np.array([4, 8, 16, 32])
    reference = ends(diffrax.ShARK(), finest, 1)
    runs = [ends(solver, int(n), finest // int(n)) for n in counts]
    strong = [np.linalg.norm(run - reference, axis=(1, 2)).mean() for run in runs]
    # Same paths: the difference of means has far less noise than either mean.
    weak = [abs(np.mean(run - reference, axis=0)).max() for run in runs]
    return helpers.slope(1 / counts, strong), helpers.slope(1 / counts, weak)


def test_noise_alone_is_brownian():
    """No signal (inputs of norm 1e-12): increments are N(0, σ² dt), independent, to five standard errors."""
    sigma, t1, steps, paths = 0.7, 3.0, 6, 4000
    task = am.AssociationTask(jnp.ones(1), jnp.array([0]), 1e-12 * jnp.ones((1, 2)), jnp.eye(2))
    flow = am.StochasticFlow(sigma, t1, steps)
    zero, watch = am.LinearMemory.zeros(task), {"W": am.memory.weights}

    def one(key):
        return am.simulate(task, zero, flow, observe=watch, key=key).observed["W"]

    w = np.asarray(jax.jit(jax.vmap(one))(jr.split(jr.key(2), paths))).reshape(paths, steps + 1, 4)
    increments = np.diff(w, axis=1).reshape(paths, -1) / (sigma * np.sqrt(t1 / steps))
    n = paths
    assert np.abs(increments.mean(axis=0)).max() < 5 / np.sqrt(n)
    assert np.abs(increments.var(axis=0) - 1).max() < 5 * np.sqrt(2 / n)
    correlation = np.corrcoef(increments.T) - np.eye(increments.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(n)
    assert np.abs((increments**4).mean(axis=0) - 3).max() < 5 * np.sqrt(96 / n)


def test_refined_noise_sums():
    """refine changes the step, not the path: with no drift, coarse and fine ends are the same."""
    task = am.AssociationTask(jnp.ones(1), jnp.array([0]), 1e-12 * jnp.ones((1, 2)), jnp.eye(2))
    finals = [
        am.simulate(
            task, am.LinearMemory.zeros(task), am.StochasticFlow(1.0, 1.0, n, refine=64 // n), key=jr.key(0)
        ).model.weight
        for n in (4, 64)
    ]
    np.testing.assert_allclose(*finals, rtol=1e-12)


def test_increments_are_distinct_at_late_times():
    """At t = 10⁶, dt = 10⁻³ (step 10⁹): 2,000 increments, 2,000 values. Keyed by time they repeat."""
    task = am.AssociationTask(jnp.ones(1), jnp.array([0]), 1e-12 * jnp.ones((1, 1)), jnp.eye(2))
    steps = 1_000_002_000
    flow = am.StochasticFlow(1.0, steps * 1e-3, steps)
    memory = am.LinearMemory.zeros(task)
    advance, _, inner = flow.prepare(task, lambda part: part, memory, jr.key(0))
    first = 1_000_000_000

    def one(step):
        params, _, time = advance(memory, inner, step, step.astype(float) * 1e-3)
        return params.weight, time

    moved, times = jax.jit(jax.vmap(one))(jnp.arange(first, first + 2000, dtype=jnp.int32))
    assert times[0] == pytest.approx(1e6, rel=1e-8)
    assert len(np.unique(np.asarray(moved))) == 4000
    np.testing.assert_allclose(np.diff(times), 1e-3, rtol=1e-6)


@pytest.mark.thorough
def test_without_noise_it_is_the_flow():
    p, targets, inputs, outputs, weight = helpers.random_problem(3)
    task = am.AssociationTask(p, targets, inputs, outputs)
    quiet = am.simulate(
        task, am.LinearMemory(weight), am.StochasticFlow(0.0, 2.0, 400, solver=diffrax.Heun()), key=jr.key(0)
    )
    flow = am.simulate(task, am.LinearMemory(weight), am.GradientFlow(2.0))
    np.testing.assert_allclose(quiet.model.weight, flow.model.weight, rtol=1e-4, atol=1e-6)
    assert float(quiet.times[-1]) == 2.0


def test_runs_repeat_and_keys_matter():
    task = am.two_tokens(0.5, 0.75)
    flow = am.StochasticFlow(1.0, 1.0, 20)
    a, b, c = (
        am.simulate(task, am.LinearMemory.zeros(task), flow, key=jr.key(k)).model.weight for k in (0, 0, 1)
    )
    np.testing.assert_array_equal(a, b)
    assert (a != c).all()
