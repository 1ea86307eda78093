"""Observables against NumPy loops, autodiff twins, mpmath and an independent QP solver."""

import clarabel
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.sparse as sp

import assocmem_jax as am
import helpers
from assocmem_jax import theory


@pytest.mark.parametrize("soft", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_loss_gradient_hessian_are_the_loops(soft):
    """Closed form = NumPy loop = autodiff, non-orthogonal rectangular case, f* and p(y|x)."""
    problem = p, targets, inputs, outputs, weight = helpers.random_problem(40, n=4, m=3, d=2, k=5, soft=soft)
    task, memory = am.AssociationTask(p, targets, inputs, outputs), am.LinearMemory(weight)
    of_weight = lambda w: am.loss(task, am.LinearMemory(w))  # noqa: E731
    assert float(am.loss(task, memory)) == pytest.approx(helpers.loss(weight, *problem[:4]), rel=1e-13)
    expected = helpers.gradient(weight, *problem[:4])
    np.testing.assert_allclose(am.memory.weight_gradient(task, memory), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(jax.jit(jax.grad(of_weight))(weight), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(am.gradient(task, memory).weight, expected, rtol=1e-12, atol=1e-15)
    assert float(am.gradient_norm(task, memory)) == pytest.approx(np.linalg.norm(expected), rel=1e-12)
    expected = helpers.hessian(weight, p, inputs, outputs)
    dense = jax.jit(am.memory.hessian)(task, memory)
    np.testing.assert_allclose(dense, expected, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(
        jax.jit(jax.hessian(of_weight))(weight).reshape(10, 10), expected, rtol=1e-11, atol=1e-15
    )
    operator = am.hessian_operator(task, memory)
    direction = np.random.default_rng(0).normal(size=weight.shape)
    found = operator(am.LinearMemory(direction)).weight
    np.testing.assert_allclose(found.ravel(), expected @ direction.ravel(), rtol=1e-11, atol=1e-15)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "shape", [(4, 3, 2, 2), (3, 2, 6, 5), pytest.param((12, 12, 12, 12), marks=pytest.mark.thorough)]
)
def test_sharpness_every_route(shape):
    """W side, Gram side and Lanczos (N M and k d above 128) against a dense eigensolve in NumPy."""
    n, m, d, k = shape
    p, targets, inputs, outputs, weight = helpers.random_problem(41, n=n, m=m, d=d, k=k)
    task, memory = am.AssociationTask(p, targets, inputs, outputs), am.LinearMemory(weight)
    expected = np.linalg.eigvalsh(helpers.hessian(weight, p, inputs, outputs))[-1]

    def sharpness(w):
        return am.sharpness(task, am.LinearMemory(w))

    found, slope = jax.jit(jax.value_and_grad(sharpness))(memory.weight)
    assert float(found) == pytest.approx(expected, rel=1e-9)
    particles = am.ParticleSystem.from_memory(task, memory)
    assert float(jax.jit(am.sharpness)(task, particles)) == pytest.approx(expected, rel=1e-9)
    if n < 12:  # the same route, twice the rate over four
        assert float(am.edge_of_stability(3.0)(task, memory)) == pytest.approx(1.5 * expected, rel=1e-9)
    step = 1e-5 * slope / jnp.linalg.norm(slope)
    ends = [float(jax.jit(sharpness)(weight + s * step)) for s in (1, -1)]
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float(jnp.linalg.norm(slope)), rel=1e-5)


@pytest.mark.parametrize("kind", [am.LinearMemory, am.ParticleSystem, am.MarginSystem])
def test_the_residual_of_a_direction_that_is_none(kind, monkeypatch):
    """Of the top eigenvector rounding; of another direction ‖Hv − λv‖/λ of the dense Hessian in NumPy."""
    from assocmem_jax.systems.memory.model import curvature

    m, d, k = 2 if kind is am.MarginSystem else 3, *((3, 3) if kind is am.LinearMemory else (5, 4))
    p, _, inputs, outputs, weight = helpers.random_problem(44, n=4, m=m, d=d, k=k)
    task = am.AssociationTask(p, np.arange(4) % m, inputs, outputs)
    model = (
        am.LinearMemory(weight)
        if kind is am.LinearMemory
        else kind.from_memory(task, am.LinearMemory(weight))
    )
    # ‖Av − λv‖ of a dense eigensolver is a few ε‖A‖.
    assert float(am.sharpness_residual(task, model)) <= 100 * float(jnp.finfo(jnp.float64).eps)
    exact, used = curvature.top_vector, []

    def astray(matrix):
        v = exact(matrix) + 0.1 * jnp.cos(jnp.arange(len(matrix)))
        used.append((matrix, v / jnp.linalg.norm(v)))
        return used[-1][1]

    monkeypatch.setattr(curvature, "top_vector", astray)
    found = float(am.sharpness_residual(task, model))
    ((_, u),) = used
    scores = np.asarray(outputs @ weight @ inputs.T).T
    pi = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    if kind is am.LinearMemory:
        v = np.asarray(u)
    elif kind is am.ParticleSystem:  # Σ √(p π_z) u_xz (u_z − ū_x) ⊗ e_x
        rows = np.sqrt(np.asarray(p)[:, None] * pi) * np.asarray(u).reshape(4, m)
        centred = np.asarray(outputs)[None] - (pi @ np.asarray(outputs))[:, None]
        v = np.einsum("xz,xza,xb->ab", rows, centred, np.asarray(inputs)).ravel()
    else:
        signs = 1 - 2 * (np.arange(4) % 2)
        c = np.sqrt(np.asarray(p) * pi[:, 0] * pi[:, 1]) * np.asarray(u) * signs
        v = np.outer(np.asarray(outputs)[0] - np.asarray(outputs)[1], c @ np.asarray(inputs)).ravel()
    v = v / np.linalg.norm(v)
    H = helpers.hessian(weight, p, inputs, outputs)
    value = v @ H @ v
    assert found == pytest.approx(np.linalg.norm(H @ v - value * v) / value, rel=1e-9)
    assert found > 0.01


@pytest.mark.thorough
def test_sharpness_of_layer_norm():
    p, targets, inputs, outputs, weight = helpers.random_problem(42)
    task, memory = am.AssociationTask(p, targets, inputs, outputs), am.NormalizedMemory(weight)
    dense = jax.jit(jax.hessian(lambda w: am.loss(task, am.NormalizedMemory(w))))(memory.weight)
    expected = np.linalg.eigvalsh(dense.reshape(weight.size, weight.size))[-1]
    assert float(jax.jit(am.sharpness)(task, memory)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.thorough
def test_layer_norm_gradient_is_birth_38():
    p, targets, inputs, outputs, weight = helpers.random_problem(43, soft=True)
    task, memory = am.AssociationTask(p, targets, inputs, outputs), am.NormalizedMemory(weight)
    expected = np.zeros_like(weight)
    for x in range(4):
        h = weight @ inputs[x]
        prediction = helpers.softmax(outputs @ h / np.linalg.norm(h))
        projector = np.eye(len(h)) - np.outer(h, h) / (h @ h)
        for k in range(3):
            pull = (prediction[k] - targets[x, k]) / np.linalg.norm(h)
            expected += p[x] * pull * np.outer(projector @ outputs[k], inputs[x])
    np.testing.assert_allclose(am.gradient(task, memory).weight, expected, rtol=1e-11, atol=1e-15)


@pytest.mark.thorough
def test_lanczos_on_one_hot_tokens():
    """The Krylov space is a few directions wide; common libraries return 62.85 or NaN for 0.0625."""
    n = 16
    task = am.AssociationTask(am.laws.uniform(n), jnp.arange(n), jnp.eye(n), jnp.eye(n))
    memory = am.LinearMemory.zeros(task)
    expected = float(theory.first_step.sharpness(task.probabilities, n))
    assert expected == 1 / n**2
    operator = am.hessian_operator(task, memory)
    flat = lambda v: operator(am.LinearMemory(v.reshape(n, n))).weight.ravel()  # noqa: E731
    found = am.lanczos_top(flat, n * n, jnp.float64)
    assert found.converged
    assert float(found.value) == pytest.approx(expected, rel=1e-12)
    assert float(found.residual) < 1e-12
    assert float(am.sharpness(task, memory)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize("matrix", ["zero", "identity", "minus identity", "indefinite", "random"])
def test_lanczos_on_hard_matrices(matrix):
    size = 40
    rng = np.random.default_rng(0)
    square = rng.normal(size=(size, size))
    a = {
        "zero": np.zeros((size, size)), "identity": np.eye(size), "minus identity": -np.eye(size),
        "indefinite": np.diag([3.0, -3.0] + [0.0] * (size - 2)), "random": square + square.T,
    }[matrix]  # fmt: skip
    found = am.lanczos_top(lambda v: jnp.asarray(a) @ v, size, jnp.float64)
    expected = np.linalg.eigvalsh(a)[-1]
    assert float(found.value) == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert found.converged
    assert float(jnp.linalg.norm(found.vector)) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 5])
def test_loss_is_exact_from_margin_minus_700_to_700(classes):
    """Against mpmath, 1e-14 relative; hard label and one-hot row alike."""
    for margin in (-700.0, -300.5, -17.0, -1e-3, 0.0, 1e-9, 3.0, 17.0, 40.0, 300.5, 700.0):
        scores = np.zeros(classes)
        scores[1] = margin
        with mpmath.workdps(700):
            others = (classes - 1) * mpmath.exp(-mpmath.mpf(margin))
            expected = float(mpmath.log1p(others))
        hard = am.cross_entropy(jnp.array(scores), jnp.array(1))
        soft = am.cross_entropy(jnp.array(scores), jnp.eye(classes)[1])
        assert float(hard) == pytest.approx(expected, rel=1e-14)
        assert float(soft) == pytest.approx(expected, rel=1e-14)


def test_loss_does_not_read_zero_in_float32(float32):
    for margin in (17.0, 40.0, 80.0):
        found = am.cross_entropy(jnp.array([margin, 0.0]), jnp.array(0))
        assert found.dtype == jnp.float32
        assert float(found) == pytest.approx(np.exp(-margin), rel=1e-5)  # exp of a float32 argument


def test_error_counts_ties_as_errors():
    task = am.two_tokens(0.5, 0.75)
    assert float(am.error(task, am.LinearMemory.zeros(task))) == 1
    right_once = am.LinearMemory.from_margins(task, jnp.array([2.0, -1.0]))
    assert float(am.error(task, right_once)) == 0.25
    assert float(am.error(task, am.LinearMemory.from_margins(task, jnp.array([2.0, 1e-9])))) == 0
    soft = am.AssociationTask(jnp.ones(1), jnp.array([[0.7, 0.2, 0.1]]), jnp.ones((1, 1)), jnp.eye(3))
    assert float(am.error(soft, am.LinearMemory(jnp.array([[1.0], [0.0], [0.5]])))) == pytest.approx(0.3)
    assert float(am.error(soft, am.LinearMemory(jnp.array([[0.0], [1.0], [0.5]])))) == pytest.approx(0.8)


def test_margins_13_and_22():
    p, targets, inputs, outputs, weight = helpers.random_problem(44, n=6, m=4)
    task, memory = am.AssociationTask(p, targets, inputs, outputs), am.LinearMemory(weight)
    np.testing.assert_allclose(
        am.margins(task, memory), helpers.margins(weight, targets, inputs, outputs), rtol=1e-12
    )
    pairs = np.array([[(outputs[targets[x]] - u) @ weight @ inputs[x] for u in outputs] for x in range(6)])
    np.testing.assert_allclose(am.memory.pairwise_margins(task, memory), pairs, rtol=1e-11, atol=1e-13)
    expected = helpers.softmax(inputs @ weight.T @ outputs.T)
    np.testing.assert_allclose(am.memory.probabilities(task, memory), expected, rtol=1e-12)


def clarabel_max_margin(task):
    """min ½‖w‖², G w ≥ 1, by an interior-point solver."""
    labels, m = np.asarray(task.targets), task.num_classes
    rows = [
        np.outer(task.outputs[labels[x]] - task.outputs[z], task.inputs[x]).ravel()
        for x in range(task.num_tokens) for z in range(m) if z != labels[x]
    ]  # fmt: skip
    g = sp.csc_matrix(-np.array(rows))
    size = g.shape[1]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    cones = [clarabel.NonnegativeConeT(len(rows))]
    solver = clarabel.DefaultSolver(
        sp.eye(size, format="csc"), np.zeros(size), g, -np.ones(len(rows)), cones, settings
    )
    return np.array(solver.solve().x)


def test_max_margin_against_an_interior_point_solver():
    for seed in range(5):
        p, targets, inputs, outputs, _ = helpers.random_problem(50 + seed, n=4, m=3, d=5, k=4)
        task = am.AssociationTask(p, targets, inputs, outputs)
        found, expected = am.memory.max_margin(task), clarabel_max_margin(task)
        assert found.separable
        assert found.residual < 1e-9 / found.margin
        np.testing.assert_allclose(found.direction.ravel(), expected / np.linalg.norm(expected), atol=1e-6)
        assert found.margin == pytest.approx(1 / np.linalg.norm(expected), rel=1e-6)
        pairs = np.asarray(am.memory.pairwise_margins(task, am.LinearMemory(found.direction)))
        wrong = np.arange(3) != targets[:, None]
        assert pairs[wrong].min() == pytest.approx(found.margin, rel=1e-9)
        active = (found.multipliers > 1e-9) & wrong  # complementary slackness
        np.testing.assert_allclose(pairs[active], found.margin, rtol=1e-8)
    pair = am.two_tokens(0.4, 0.7)
    f2 = np.asarray(pair.inputs[0] - pair.inputs[1])
    expected = np.outer([1, -1], f2)
    np.testing.assert_allclose(
        am.memory.max_margin(pair).direction, expected / np.linalg.norm(expected), atol=1e-12
    )


def test_inseparable_is_certified():
    inputs = np.array([[1.0, 0.0], [-0.9, 0.4], [-0.9, -0.4]])
    task = am.AssociationTask(am.laws.uniform(3), jnp.zeros(3, int), inputs, jnp.eye(2))
    found = am.memory.max_margin(task)
    assert not found.separable
    assert found.margin == 0
    assert (found.multipliers >= 0).all()
    assert found.multipliers.sum() == pytest.approx(1)
    gap = np.array([1.0, -1.0])
    certificate = sum(found.multipliers[x, 1] * np.outer(gap, inputs[x]) for x in range(3))
    np.testing.assert_allclose(certificate, 0, atol=1e-14)
    with pytest.raises(ValueError, match="separable"):
        am.memory.max_margin_components(task)


def test_components_along_and_across():
    task = am.two_tokens(0.4, 0.7)
    watch = am.memory.max_margin_components(task)
    memory = am.LinearMemory.from_margins(task, jnp.array([2.0, 1.0]))
    along, across = watch(task, memory)
    direction = np.asarray(am.memory.max_margin(task).direction)
    assert float(along) == pytest.approx(float((direction * np.asarray(memory.weight)).sum()), rel=1e-12)
    assert float(along**2 + across**2) == pytest.approx(
        float(am.memory.weight_norm(task, memory)) ** 2, rel=1e-12
    )


def test_least_error_by_brute_force():
    rng = np.random.default_rng(3)
    for _ in range(10):
        n = int(rng.integers(2, 9))
        p, targets, inputs = rng.dirichlet(np.ones(n)), rng.integers(0, 2, n), rng.normal(size=(n, 2))
        task = am.AssociationTask(p, targets, inputs, jnp.eye(2))
        angles = np.linspace(0, 2 * np.pi, 20001)
        v = np.stack([np.cos(angles), np.sin(angles)])
        brute = (p @ (((1 - 2 * targets)[:, None] * inputs) @ v <= 0)).min()
        assert am.memory.least_error(task) == pytest.approx(brute, abs=1e-12)
