"""Derivatives of a whole training run: against central differences and closed forms."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am
import helpers
from assocmem_jax import theory

WATCH = {"margins": am.margins}


def final_margin(parameters, dynamics, token=1, model=am.LinearMemory, key=None):
    """Of two tokens, as a function of (rate, α, p₁, W₀)."""
    rate, alpha, p1, weight = (parameters[k] for k in ("rate", "alpha", "p1", "weight"))
    task = am.two_tokens(alpha, p1)
    start = am.LinearMemory(weight)
    start = start if model is am.LinearMemory else model.from_memory(task, start)
    run = am.simulate(task, start, dynamics(rate), observe=WATCH, key=key)
    return run.observed["margins"][-1, token]


CASES = {
    "descent": lambda rate: am.Descent(optax.sgd, 200, learning_rate=rate),
    "momentum": lambda rate: am.Descent(lambda r: optax.sgd(r, momentum=0.8), 100, learning_rate=rate),
    "adam": lambda rate: am.Descent(optax.adam, 100, learning_rate=rate),
    "sgd": lambda rate: am.Descent(optax.sgd, 100, 8, learning_rate=rate),
    "flow": lambda rate: am.GradientFlow(rate * 20, rtol=1e-13, atol=1e-15),
    "stochastic": lambda rate: am.StochasticFlow(rate / 10, 5.0, 100),
}


@pytest.mark.thorough
@pytest.mark.parametrize("case", CASES)
def test_reverse_mode_is_central_differences(case):
    """d(final margin)/d(rate, α, p₁, W₀) within 1e-6."""
    for slope, expected in slopes_and_differences(case):
        # Central differences err by h²·f‴/6 ≈ 1e-10 and rounding/h ≈ 1e-10.
        assert slope == pytest.approx(expected, rel=1e-6, abs=1e-7)


def slopes_and_differences(case):
    """(in reverse mode, by central differences) for each number."""
    parameters = {"rate": 0.7, "alpha": 0.6, "p1": 0.7, "weight": jnp.array([[0.1, -0.2], [0.3, 0.2]])}
    if case == "adam":
        parameters["rate"] = 0.02
    parameters = jax.tree.map(jnp.asarray, parameters)
    model = am.MarginSystem if case == "flow" else am.LinearMemory
    function = jax.jit(lambda q: final_margin(q, CASES[case], model=model, key=jr.key(0)))
    gradient = jax.jit(jax.grad(lambda q: final_margin(q, CASES[case], model=model, key=jr.key(0))))(
        parameters
    )
    leaves, structure = jax.tree.flatten(parameters)
    slopes = jax.tree.leaves(gradient)
    h = 1e-5
    for i, leaf in enumerate(leaves):
        for at in np.ndindex(leaf.shape):
            if case == "sgd" and i == list(sorted(parameters)).index("p1"):
                continue  # p₁ also decides what is drawn, which has no derivative
            ends = [
                float(function(structure.unflatten([*leaves[:i], leaf.at[at].add(s * h), *leaves[i + 1 :]])))
                for s in (1, -1)
            ]
            expected = (ends[0] - ends[1]) / (2 * h)
            yield float(slopes[i][at]), expected


@pytest.mark.thorough
def test_derivatives_of_closed_forms():
    """Oracle A under the flow, one step of descent (oracle E): within 1e-8."""

    def flow(p1, m0):
        parameters = {
            "rate": 5.0,
            "alpha": 0.0,
            "p1": p1,
            "weight": m0 * jnp.array([[0.5, 0.5], [-0.5, -0.5]]),
        }
        return final_margin(
            parameters, lambda rate: am.GradientFlow(20 * rate), token=0, model=am.MarginSystem
        )

    def exact(p1, m0):
        e1 = am.embeddings.correlated_pair(0.0)[0]
        return theory.orthogonal.binary_margin(100.0, 2 * p1, m0 * jnp.sum(e1))

    found = jax.jit(jax.grad(flow, (0, 1)))(0.7, 0.4)
    root, slopes = jax.jit(jax.value_and_grad(exact, (0, 1)))(0.7, 0.4)
    np.testing.assert_allclose(found, slopes, rtol=1e-8)
    assert float(slopes[0]) == pytest.approx(2 * 100 / (1 + np.exp(float(root))), rel=1e-12)

    def descent(rate, alpha, p1):
        parameters = {"rate": rate, "alpha": alpha, "p1": p1, "weight": jnp.zeros((2, 2))}
        return final_margin(parameters, lambda rate: am.Descent(optax.sgd, 1, learning_rate=rate))

    found = jax.jit(jax.grad(descent, (0, 1, 2)))(10.0, 0.95, 0.75)
    # m₂ = η (p₂ − α p₁) at c = 2.
    np.testing.assert_allclose(found, [0.25 - 0.95 * 0.75, -10 * 0.75, -10 * (1 + 0.95)], rtol=1e-8)


@pytest.mark.soak
def test_flow_derivative_in_time_is_the_velocity():
    p, targets, inputs, outputs, weight = helpers.random_problem(31)
    task = am.AssociationTask(p, targets, inputs, outputs)

    def scores(t1):
        return am.simulate(
            task, am.LinearMemory(weight), am.GradientFlow(t1), observe={"W": am.memory.weights}
        ).model.weight

    value, slope = jax.jit(scores)(2.0), jax.jit(jax.jacrev(scores))(2.0)
    expected = -helpers.gradient(np.asarray(value), p, targets, inputs, outputs)
    np.testing.assert_allclose(slope, expected, rtol=1e-7, atol=1e-9)


def test_reverse_mode_memory_grows_like_the_square_root():
    """10⁴ steps: far below one stored state a step."""
    task = am.two_tokens(0.5, 0.75)
    steps, state = 10_000, 4 * 8

    def last(weight):
        run = am.simulate(
            task, am.LinearMemory(weight), am.Descent(optax.sgd(0.1), steps), observe={"loss": am.loss}
        )
        return run.observed["loss"][-1]

    compiled = jax.jit(jax.grad(last)).lower(jnp.zeros((2, 2))).compile()
    used = compiled.memory_analysis().temp_size_in_bytes
    # Observables (loss, time, step) are kept for all steps; states for 2√steps of them.
    assert used < steps * (8 + 8 + 4 + 8) * 3 + 60 * np.sqrt(steps) * state
    assert used < steps * 4 * state


@pytest.mark.thorough
def test_no_nan_at_the_edges():
    """Ties, zeros, saturation: values and derivatives stay finite."""
    task = am.two_tokens(0.0, 0.75)
    for observable in (am.loss, am.error, am.sharpness, am.gradient_norm):
        function = lambda w, f=observable: f(task, am.LinearMemory(w))  # noqa: E731
        both = jax.jit(jax.value_and_grad(function))
        for margin in (0.0, 1.0, 40.0, 700.0, -700.0):
            value, slope = both(margin * jnp.eye(2))
            assert np.isfinite(value)
            assert np.isfinite(slope).all() or observable is am.gradient_norm
    soft = am.AssociationTask(jnp.ones(1), jnp.array([[1.0, 0.0]]), jnp.ones((1, 1)), jnp.eye(2))
    for margin in (0.0, 40.0, 700.0, -700.0):
        slope = jax.grad(lambda w: soft.loss(am.LinearMemory(w)))(jnp.array([[margin], [0.0]]))
        expected = -1 / (1 + np.exp(margin)) if margin < 700 else -np.exp(-margin)
        np.testing.assert_allclose(slope[0, 0], expected, rtol=1e-12)


@pytest.mark.soak
def test_reverse_mode_through_the_stiff_solver():
    """dγ₂/dα at α = 0.999, t = 10¹² against central differences of an independent integrator."""

    def gamma2(alpha):
        task = am.two_tokens(alpha, 0.75)
        flow = am.GradientFlow(1e12, stiff=True)
        run = am.simulate(
            task, am.MarginSystem.zeros(task), flow, observe={"g": am.memory.gammas}, at=jnp.zeros(0)
        )
        return run.observed["g"][-1, 1]

    h = 1e-5
    ends = [helpers.two_particle_reference(1e12, 0.75, 0.999 + s * h).mean() for s in (1, -1)]
    # γ₂ ~ log(1 − α): the third derivative 2/(1−α)³ leaves h²/3·10⁹ = 0.03 of 322; Richardson removes it.
    half = [helpers.two_particle_reference(1e12, 0.75, 0.999 + s * h / 2).mean() for s in (1, -1)]
    coarse, fine = (ends[0] - ends[1]) / (2 * h), (half[0] - half[1]) / h
    expected = (4 * fine - coarse) / 3
    assert float(jax.jit(jax.grad(gamma2))(0.999)) == pytest.approx(expected, rel=1e-6)
