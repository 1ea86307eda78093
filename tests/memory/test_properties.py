"""Properties over N, M, d, embeddings, p, η and dtype (Hypothesis)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import assocmem_jax as am
import helpers
from assocmem_jax import theory

SHAPES = st.sampled_from([(1, 2, 1, 1), (3, 4, 2, 3), (5, 3, 4, 2)])  # N, M, d, k
BOOLEANS = st.booleans()
ENTRY = st.floats(-2, 2, allow_subnormal=False)
PROBABILITY = st.floats(0.5, 0.999)
ALPHA = st.floats(-1, 1, allow_subnormal=False)
RATE = st.floats(1e-3, 100)


@st.composite
def problems(draw, soft=BOOLEANS, shapes=SHAPES):
    n, m, d, k = draw(shapes)
    weights = draw(hnp.arrays(float, n, elements=st.floats(1e-3, 1)))
    if draw(soft):
        rows = draw(hnp.arrays(float, (n, m), elements=st.floats(1e-3, 1)))
        targets = rows / rows.sum(axis=1, keepdims=True)
    else:
        targets = draw(hnp.arrays(int, n, elements=st.integers(0, m - 1)))
    arrays = [draw(hnp.arrays(float, shape, elements=ENTRY)) for shape in ((n, d), (m, k), (k, d))]
    return weights / weights.sum(), targets, *arrays


def build(problem):
    return am.AssociationTask(*problem[:4]), am.LinearMemory(problem[4])


@jax.jit
def _one_step(task, memory, rate):
    particles = am.ParticleSystem.from_memory(task, memory)
    moved = am.LinearMemory(memory.weight - rate * am.memory.weight_gradient(task, memory)).scores(task)
    slope = am.gradient(task, particles)
    return particles.values - rate * particles.tangent(task, slope).values, moved


@given(problems(), st.floats(1e-3, 5))
def test_matrix_step_is_particle_step(problem, rate):
    np.testing.assert_allclose(*_one_step(*build(problem), rate), rtol=1e-11, atol=1e-11)


@jax.jit
def _closed_and_autodiff(task, memory):
    size = memory.weight.size

    def of_weight(w):
        """The plain loss, sharing nothing with the package's."""
        logits = jax.nn.log_softmax(task.inputs @ w.T @ task.outputs.T)
        return -jnp.sum(task.probabilities[:, None] * task.conditional * logits)

    return (
        am.loss(task, memory), am.sharpness(task, memory), am.memory.weight_gradient(task, memory),
        jax.grad(of_weight)(memory.weight), am.memory.hessian(task, memory),
        jax.hessian(of_weight)(memory.weight).reshape(size, size),
    )  # fmt: skip


@pytest.mark.thorough
@given(problems())
def test_closed_gradient_and_hessian_are_autodiff(problem):
    value, top, gradient, slope, dense, expected = _closed_and_autodiff(*build(problem))
    assert float(value) == pytest.approx(helpers.loss(problem[4], *problem[:4]), rel=1e-12, abs=1e-14)
    np.testing.assert_allclose(gradient, slope, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(dense, expected, rtol=1e-9, atol=1e-12)
    assert float(top) == pytest.approx(np.linalg.eigvalsh(expected)[-1], rel=1e-8, abs=1e-12)


@pytest.mark.thorough
@given(problems(soft=st.just(False)), st.lists(st.floats(0, 3), min_size=1, max_size=8))
def test_gradients_stay_in_their_span_and_sum_to_zero(problem, rates):
    """Rows of ∂L/∂w sum to zero: Σ_j w_j/‖u_j‖² is conserved for orthogonal outputs, by descent too."""
    task, memory = build(problem)
    slope = jax.grad(lambda w: jnp.dot(task.probabilities, am.cross_entropy(w, task.targets)))(
        memory.scores(task)
    )
    np.testing.assert_allclose(slope.sum(axis=1), 0, atol=1e-14)
    m = problem[3].shape[0]
    norms = 0.5 + np.arange(m)
    orthogonal = am.AssociationTask(*problem[:3], np.diag(norms))
    weight = jnp.ones((m, problem[2].shape[1]))
    before = jnp.sum(am.LinearMemory(weight).scores(orthogonal) / norms**2, axis=1)
    for rate in rates:
        weight = weight - rate * am.memory.weight_gradient(orthogonal, am.LinearMemory(weight))
    after = jnp.sum(am.LinearMemory(weight).scores(orthogonal) / norms**2, axis=1)
    np.testing.assert_allclose(after, before, rtol=1e-12, atol=1e-12)


@given(st.floats(-8, 8), st.lists(st.floats(0, 50), min_size=1, max_size=40))
def test_descent_dominates_the_flow(m0, rates):
    """docs/theory.md: gd.8: e^m + m gains at least c Σ η, any start and schedule."""
    m, elapsed = m0, 0.0
    for rate in rates:
        m, elapsed = float(theory.orthogonal.binary_step(m, rate, 1.0)), elapsed + rate
        assert m >= float(theory.orthogonal.binary_descent_lower(elapsed, 1.0, m0)) - 1e-12 * max(1, abs(m))


def descend(alpha, p1, rate, steps):
    task = am.two_tokens(alpha, p1)
    run = am.simulate(
        task,
        am.MarginSystem.zeros(task),
        am.Descent(optax.sgd, steps, learning_rate=rate),
        observe={"gammas": am.memory.gammas},
    )
    return run.observed["gammas"], run.times


_descend = jax.jit(descend, static_argnums=3)


@given(ALPHA, PROBABILITY, RATE)
def test_descent_brackets(alpha, p1, rate):
    """Rows 19, 20: γ₂ ≥ λ(1+ηc₀p₂t), γ₁ in its interval, at all times, any α, η."""
    gamma, times = _descend(alpha, p1, rate, 300)
    low, high = theory.two_particles.descent_bracket(am.two_tokens(alpha, p1), rate, times)
    slack = 1e-11 * (1 + jnp.abs(gamma))
    assert (gamma >= low - slack).all()
    assert (gamma <= high + slack).all()


@jax.jit
def _flow(alpha, p1, t1):
    task = am.two_tokens(alpha, p1)
    flow = am.GradientFlow(t1, stiff=True)
    run = am.simulate(task, am.MarginSystem.zeros(task), flow, observe={"gammas": am.memory.gammas})
    return run.observed["gammas"], run.times, run.status


@pytest.mark.thorough  # gd.16 and gd.17: |α| ≤ .95 in every run; here |α| = 1 and t = 10¹²
@given(ALPHA, PROBABILITY, st.floats(-3, 12))
def test_flow_brackets(alpha, p1, decade):
    """Rows 16, 17: 0 ≤ γ₁ ≤ 2γ̄ and λ(1+c₀p₂t) ≤ γ₂ ≤ λ(1+c₀p₁t), at all times."""
    gamma, times, status = _flow(alpha, p1, 10.0**decade)
    assert status == am.Status.OK
    low, high = theory.two_particles.gamma_bracket(am.two_tokens(alpha, p1), times)
    slack = 1e-8 * (1 + jnp.abs(gamma))  # the tolerance of the flow, with room for its 200 saved times
    assert (gamma >= low - slack).all()
    assert (gamma <= high + slack).all()


@given(ALPHA, PROBABILITY, RATE)
def test_first_step(alpha, p1, rate):
    """Oracles E and H, Proposition 5 corrected (gd.21)."""
    gamma, _ = _descend(alpha, p1, rate, 1)
    m = jnp.stack([gamma[1, 0] + gamma[1, 1], gamma[1, 1] - gamma[1, 0]])
    np.testing.assert_allclose(
        m, theory.two_particles.first_step_margins(rate, p1, alpha, 2.0), rtol=1e-9, atol=1e-12 * rate
    )
    task = am.two_tokens(alpha, p1)
    moved = am.LinearMemory(theory.first_step.weight(rate, task))
    found = float(am.loss(task, moved))
    assert found == pytest.approx(
        float(theory.two_particles.first_step_loss(rate, p1, alpha, 2.0)), rel=1e-9, abs=1e-14
    )
    if alpha * p1 > 1 - p1:
        assert found >= float(theory.two_particles.spike_lower(rate, p1, alpha, 2.0)) * (1 - 1e-12)


@pytest.mark.thorough
@given(problems())
def test_first_step_of_any_task(problem):
    task, _ = build(problem)
    zero = am.LinearMemory.zeros(task)
    np.testing.assert_allclose(
        theory.first_step.weight(2.0, task),
        -2 * am.memory.weight_gradient(task, zero),
        rtol=1e-11,
        atol=1e-13,
    )


@given(st.floats(-1, 0.999, allow_subnormal=False), PROBABILITY, st.floats(-6, 6), st.floats(-6, 6))
def test_sharpness_of_two_particles(alpha, p1, g1, g2):
    task = am.two_tokens(alpha, p1)
    memory = am.MarginSystem.from_margins(task, jnp.array([g1 + g2, g2 - g1]))
    expected = float(theory.two_particles.sharpness((g1, g2), p1, alpha, 2.0))
    assert float(am.sharpness(task, memory)) == pytest.approx(expected, rel=1e-9)
    if abs(alpha) < 0.999:
        built = am.LinearMemory(theory.two_particles.weight((g1, g2), alpha, task.inputs, task.outputs))
        np.testing.assert_allclose(am.memory.gammas(task, built), [g1, g2], rtol=1e-9, atol=1e-9)
        assert float(am.sharpness(task, built)) == pytest.approx(expected, rel=1e-7, abs=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize("x64", [True, False])
def test_vmapped_is_looped(x64):
    """300 lanes: the same to rounding of one ulp-scale tolerance, dtype kept throughout."""
    jax.config.update("jax_enable_x64", x64)
    try:
        rng = np.random.default_rng(0)
        cases = np.stack(
            [rng.uniform(-1, 1, 300), rng.uniform(0.5, 0.99, 300), 10 ** rng.uniform(-1, 1, 300)], 1
        )
        cases = jnp.asarray(cases)
        run = jax.jit(lambda case: descend(case[0], case[1], case[2], 30)[0])
        together = np.asarray(jax.jit(jax.vmap(run))(cases))
        apart = np.stack([np.asarray(run(case)) for case in cases])
        assert together.dtype == (np.float64 if x64 else np.float32)
        eps = np.finfo(together.dtype).eps
        # Oscillating lanes amplify the last bit by at most about ηc/4 < 5 a step before they settle.
        assert np.median(np.abs(together - apart)) <= eps * 8
        np.testing.assert_allclose(together, apart, rtol=1e3 * eps, atol=2e4 * eps)
    finally:
        jax.config.update("jax_enable_x64", True)


_WATCHED = (
    am.loss,
    am.error,
    am.margins,
    am.sharpness,
    am.gradient_norm,
    am.memory.probabilities,
    am.memory.weight_gradient,
)
_all = jax.jit(lambda task, memory: [observable(task, memory) for observable in _WATCHED])


@pytest.mark.thorough
@given(problems())
def test_dtypes_do_not_drift(problem):
    """float32 in, float32 out, x64 on."""
    narrow = [np.asarray(a, np.float32) if a.dtype == float else a for a in problem]
    narrow[0] = (narrow[0] / narrow[0].sum(dtype=np.float32)).astype(np.float32)
    if narrow[1].ndim == 2:
        narrow[1] = narrow[1] / narrow[1].sum(axis=1, keepdims=True, dtype=np.float32)
    assert {str(value.dtype) for value in _all(*build([jnp.asarray(a) for a in narrow]))} == {"float32"}
