"""Gradient flow against closed forms (oracles A–E), orders of convergence, extremes of time."""

from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import assocmem_jax as am
import helpers
from assocmem_jax import theory
from assocmem_jax.dynamics.stiff import ExtrapolatedEuler

PER_ORACLE = 40
WATCH = {"margins": am.margins, "scores": am.memory.particles}


@pytest.fixture(scope="module")
def solve_many():
    return solver_of_many()


def solver_of_many():
    """Problems of one shape in one compiled program for all oracles; flow at rtol 1e-10.

    Four tokens, classes and PER_ORACLE problems, in five dimensions; fewer classes are the first of them.
    """

    @partial(jax.vmap, in_axes=(0, 0, 0, 0, 0, 0, None, None))
    def solve(p, targets, inputs, outputs, weight, t1, possible, stiff):
        task = am.AssociationTask(p, targets, inputs, outputs, possible)
        flow = am.GradientFlow(t1, rtol=1e-10, stiff=stiff)
        run = am.simulate(task, am.LinearMemory(weight), flow, observe={}, at=jnp.zeros(0))
        return run.model.weight, run.status, run.num_steps

    solve = jax.jit(solve, static_argnums=7)

    def call(p, targets, inputs, outputs, weights, t1, stiff=False):
        """Final scores ⟨u_y, W e_x⟩, of which NumPy takes the margins."""
        tokens, classes = targets.shape[1], outputs.shape[1]
        room = [(0, 0), (0, 4 - tokens)]
        p, targets = np.pad(p, room), np.pad(targets, room)
        inputs = np.pad(inputs, [*room, (0, 5 - inputs.shape[2])])
        outputs = np.pad(outputs, [(0, 0), (0, 4 - classes), (0, 5 - outputs.shape[2])])
        weights = np.pad(weights, [(0, 0)] + [(0, 5 - size) for size in weights.shape[1:]])
        possible = np.arange(4) < classes
        found = solve(p, targets, inputs, outputs, weights, t1, possible, stiff)
        weight, status, steps = map(np.asarray, found)
        scores = np.einsum("bma,bad,bnd->bnm", outputs, weight, inputs)[:, :tokens, :classes]
        assert (status == am.Status.OK).all()
        assert steps.max() <= 300
        return scores

    return call


def lead(scores, targets):
    """GD (22)."""
    own = np.take_along_axis(scores, targets[..., None], 2)[..., 0]
    rivals = np.where(np.arange(scores.shape[2]) == targets[..., None], -np.inf, scores)
    return own - rivals.max(axis=2)


def judge(found, expected):
    """Relative to the largest value of each problem; thresholds of the issue."""
    found, expected = np.broadcast_arrays(found, np.asarray(expected))
    error = np.abs(found - expected).max(axis=1) / np.abs(expected).max(axis=1)
    assert error.max() <= 1e-8
    assert np.median(error) <= 1e-10


def times(rng):
    return 10 ** rng.uniform(-9, 12, PER_ORACLE)


def orthogonal(rng):
    """Random p, and four tokens at right angles of random norms, for each problem."""
    p = rng.dirichlet(np.ones(4), PER_ORACLE)
    axes = np.array([helpers.orthonormal(rng, 4, 5) for _ in p])
    return p, axes * rng.uniform(0.5, 2, (PER_ORACLE, 4, 1))


def test_binary_orthogonal_from_any_start(solve_many):
    """Oracle A: random norms, f*, p and W₀, rotated."""
    rng = np.random.default_rng(1)
    p, inputs = orthogonal(rng)
    targets = rng.integers(0, 2, (PER_ORACLE, 4))
    outputs = rng.normal(size=(PER_ORACLE, 2, 5))
    weights = rng.normal(size=(PER_ORACLE, 5, 5))
    t1 = times(rng)
    scores = solve_many(p, targets, inputs, outputs, weights, t1)
    difference = outputs[:, 0] - outputs[:, 1]
    signs = 1 - 2 * targets
    m0 = signs * np.einsum("ba,bad,bnd->bn", difference, weights, inputs)
    c = p * (inputs**2).sum(-1) * (difference**2).sum(-1)[:, None]
    judge(lead(scores, targets), theory.orthogonal.binary_margin(t1[:, None], c, m0))


def test_many_classes_from_zero(solve_many):
    """Oracle B: equinorm, equicorrelated outputs."""
    rng = np.random.default_rng(2)
    m = 4
    p, inputs = orthogonal(rng)
    targets = rng.integers(0, m, (PER_ORACLE, 4))
    rho, nu = rng.uniform(-1 / (m - 1), 0.9, PER_ORACLE), rng.uniform(0.5, 3, PER_ORACLE)
    gram = nu[:, None, None] * ((1 - rho)[:, None, None] * np.eye(m) + rho[:, None, None])
    values, vectors = np.linalg.eigh(gram)
    outputs = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
    t1 = times(rng)
    scores = solve_many(p, targets, inputs, outputs, np.zeros((PER_ORACLE, m, 5)), t1)
    kappa = p * (inputs**2).sum(-1) * (nu * (1 - rho))[:, None]
    judge(lead(scores, targets), theory.orthogonal.multiclass_margin(t1[:, None], kappa, m))


def test_many_classes_from_any_scores(solve_many):
    """Oracle C: all scores of orthonormal outputs."""
    rng = np.random.default_rng(3)
    p, inputs = orthogonal(rng)
    targets = np.zeros((PER_ORACLE, 4), int)
    outputs = np.array([helpers.orthonormal(rng, 4, 5) for _ in p])
    weights = rng.normal(size=(PER_ORACLE, 5, 5))
    t1 = times(rng)
    scores = solve_many(p, targets, inputs, outputs, weights, t1)
    start = np.einsum("bma,bad,bnd->bnm", outputs, weights, inputs)
    kappa = p * (inputs**2).sum(-1)
    closed = jax.vmap(jax.vmap(theory.orthogonal.multiclass_scores, in_axes=(None, 0, 0)))
    judge(scores.reshape(-1, 4), np.reshape(closed(t1, kappa, start), (-1, 4)))


def test_equicorrelated_tokens(solve_many):
    """Oracle D."""
    rng = np.random.default_rng(4)
    n = 4
    alpha, rho = rng.uniform(-1 / (n - 1), 0.9, (2, PER_ORACLE))
    inputs = np.asarray(jax.vmap(lambda a: am.embeddings.equicorrelated(n, a))(alpha))
    outputs = np.asarray(jax.vmap(lambda a: am.embeddings.equicorrelated(n, a))(rho))
    np.testing.assert_allclose(np.einsum("bnd,bmd->bnm", inputs, inputs)[:, 0, 1], alpha, atol=1e-14)
    p, targets = np.full((PER_ORACLE, n), 1 / n), np.tile(np.arange(n), (PER_ORACLE, 1))
    t1 = times(rng)
    scores = solve_many(p, targets, inputs, outputs, np.zeros((PER_ORACLE, n, n)), t1)
    expected = theory.equicorrelated.margin(t1, n, theory.equicorrelated.rate(alpha, rho))
    judge(lead(scores, targets), np.asarray(expected)[:, None])


def test_two_particles(solve_many):
    """Oracle E at α = −1, 0 (closed) and random α up to ±0.99 (independent integrator)."""
    rng = np.random.default_rng(5)
    alpha = np.concatenate([[-1, 0, 0], rng.uniform(-0.99, 0.99, PER_ORACLE - 3)])
    p1 = rng.uniform(0.5, 0.99, PER_ORACLE)
    t1 = times(rng)
    inputs = np.asarray(jax.vmap(am.embeddings.correlated_pair)(alpha))
    p, targets = np.stack([p1, 1 - p1], axis=1), np.tile(np.arange(2), (PER_ORACLE, 1))
    outputs, weights = np.tile(np.eye(2), (PER_ORACLE, 1, 1)), np.zeros((PER_ORACLE, 2, 2))
    scores = solve_many(p, targets, inputs, outputs, weights, t1, stiff=True)
    expected = np.array([helpers.two_particle_reference(*case) for case in zip(t1, p1, alpha)])
    np.testing.assert_allclose(expected[0], theory.two_particles.opposite_margins(t1[0], 2.0), rtol=1e-11)
    expected[0] = theory.two_particles.opposite_margins(t1[0], 2.0)
    expected[1] = theory.two_particles.independent_margins(t1[1], p1[1], 2.0)
    expected[2] = theory.two_particles.independent_margins(t1[2], p1[2], 2.0)
    judge(lead(scores, targets), expected)


@pytest.mark.thorough
def test_all_saved_times_are_accurate_not_only_the_last():
    task = am.AssociationTask(jnp.array([0.7, 0.3]), jnp.array([0, 1]), jnp.eye(2), jnp.eye(2))
    run = am.simulate(task, am.LinearMemory.zeros(task), am.GradientFlow(1e12), observe=WATCH)
    expected = theory.two_particles.independent_margins(run.times, 0.7, 2.0)
    np.testing.assert_allclose(run.observed["margins"], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.thorough
def test_stiff_problems_fall_back_and_agree():
    """Near-collinear inputs and a finite minimiser, where the explicit solver runs out of steps."""
    task = am.two_tokens(0.999, 0.75)
    watch = {"g": am.memory.gammas, "margins": am.margins}
    run = am.simulate(task, am.LinearMemory.zeros(task), am.GradientFlow(1e12), observe=watch)
    assert run.status == am.Status.OK
    assert 200 < run.num_steps <= 1200  # it lands on each of the 200 times asked for
    expected = helpers.two_particle_reference(1e12, 0.75, 0.999)
    m = np.asarray(run.observed["g"][-1]) @ np.array([[1, -1], [1, 1]])
    np.testing.assert_allclose(m, expected, rtol=1e-9)
    collinear = am.two_tokens(1.0, 0.75)
    run = am.simulate(collinear, am.LinearMemory.zeros(collinear), am.GradientFlow(1e12), observe=watch)
    np.testing.assert_allclose(run.observed["margins"][-1, 0], np.log(3), rtol=1e-10)  # oracle F
    with pytest.raises(am.SimulationError, match=r"STEP_LIMIT.*stiff=True"):
        am.simulate(
            collinear, am.LinearMemory.zeros(collinear), am.GradientFlow(1e12, stiff=False, max_steps=300)
        )


@pytest.mark.thorough
def test_soft_labels_follow_their_closed_form():
    """Oracle F, from several starts, before and at the minimum."""
    q, c = 0.7, 2.0
    task = am.AssociationTask(jnp.ones(1), jnp.array([[q, 1 - q]]), jnp.ones((1, 1)), jnp.eye(2))
    for m0 in (-3.0, 0.0, 4.0):
        start = am.LinearMemory(jnp.array([[m0 / 2], [-m0 / 2]]))
        at = jnp.array([0.1, 1.0, 5.0])
        run = am.simulate(task, start, am.GradientFlow(5.0), observe=WATCH, at=at)
        expected = theory.soft_labels.margin(run.times, q, c, m0)
        scores = run.observed["scores"][:, 0]
        np.testing.assert_allclose(scores[:, 0] - scores[:, 1], expected, rtol=1e-9, atol=1e-10)


def test_forgetting():
    """Oracle G: the flow's limit errs on the most frequent token, though a W exists that does not."""
    rows, p = np.array(theory.forgetting.SIGNED_INPUTS), jnp.array(theory.forgetting.PROBABILITIES)
    task = am.AssociationTask(p, jnp.zeros(3, int), jnp.array(rows), jnp.eye(2))
    run = am.simulate(task, am.LinearMemory.zeros(task), am.GradientFlow(1e6), observe={"error": am.error})
    v = run.model.weight[0] - run.model.weight[1]
    np.testing.assert_allclose(v, theory.forgetting.MINIMISER, atol=1e-9)
    assert float(run.observed["error"][-1]) == pytest.approx(theory.forgetting.ERROR_AT_MINIMISER, abs=1e-15)
    assert am.memory.least_error(task) == pytest.approx(theory.forgetting.LEAST_ERROR, abs=1e-15)
    assert not am.memory.max_margin(task).separable


ROOT = optx.Newton(rtol=1e-12, atol=1e-12)
# Solver, order, first of five step counts, ratio between them: inside the asymptotic range and
# above rounding, which for orders above 4 leaves little room.
ORDERS = [
    (diffrax.Euler(), 1, 256, 2),
    (diffrax.Heun(), 2, 128, 2),
    (diffrax.Bosh3(), 3, 32, 2),
    (diffrax.Tsit5(), 5, 16, 1.5),
    (diffrax.Dopri8(), 8, 32, 1.4),
    (diffrax.Kvaerno3(root_finder=ROOT), 3, 32, 2),
    (ExtrapolatedEuler(4), 4, 32, 2),
    (ExtrapolatedEuler(6), 6, 24, 1.35),
]
# A solver of each kind in `make test`.
ORDERS = [
    case if type(case[0]) in (diffrax.Tsit5, diffrax.Kvaerno3, ExtrapolatedEuler)
    else pytest.param(*case, marks=pytest.mark.thorough)
    for case in ORDERS
]  # fmt: skip
ORDERS += [
    pytest.param(*case, marks=pytest.mark.soak)
    for case in (
        (diffrax.Midpoint(), 2, 128, 2), (diffrax.Ralston(), 2, 128, 2), (diffrax.Dopri5(), 5, 24, 1.5),
        (diffrax.ImplicitEuler(root_finder=ROOT), 1, 64, 2), (diffrax.Kvaerno4(root_finder=ROOT), 4, 32, 2),
        (diffrax.Kvaerno5(root_finder=ROOT), 5, 8, 1.7),
    )
]  # fmt: skip


@pytest.mark.parametrize(("solver", "order", "first", "ratio"), ORDERS, ids=lambda v: type(v).__name__)
def test_order_of_convergence(solver, order, first, ratio):
    """Five fixed steps against oracle A; slope within 0.15 of the order."""
    measured, fit, errors = measured_order(solver, order, first, ratio)
    assert abs(measured - order) <= 0.15, (measured, errors)
    assert fit > 0.999


def measured_order(solver, order, first, ratio):
    """(slope of log error in log step, R², errors)."""
    log_time = order < 8  # in log time Dopri8 is exact to rounding before it is asymptotic
    t1, c, m0 = (100.0, 2.0, 3.0) if log_time else (40.0, 2.0, -1.0)
    task = am.AssociationTask(jnp.ones(1), jnp.array([0]), jnp.ones((1, 1)), jnp.eye(2))
    start = am.LinearMemory(jnp.array([[m0 / 2], [-m0 / 2]]))
    counts = np.rint(first * ratio ** np.arange(5))

    @jax.jit
    @jax.vmap
    def final(step):
        flow = am.GradientFlow(t1, solver=solver, step=step, log_time=log_time)
        run = am.simulate(task, start, flow, observe=WATCH, at=jnp.zeros(0))
        return run.observed["margins"][-1, 0], run.status

    # A hair more than horizon/count: no sliver of a last step.
    horizon = np.log1p(t1) if log_time else t1
    margins, status = final(horizon / counts * (1 + 1e-13))
    assert (status == am.Status.OK).all()
    errors = np.abs(np.asarray(margins) - float(theory.orthogonal.binary_margin(t1, c, m0)))
    return *helpers.slope(1 / counts, errors), errors


@pytest.mark.parametrize("t1", [1e-9, 1.0, 1e12])
def test_flow_of_any_length(t1):
    task = am.two_tokens(0.0, 0.75)
    run = am.simulate(task, am.LinearMemory.zeros(task), am.GradientFlow(t1), observe=WATCH)
    assert run.status == am.Status.OK
    assert run.times[0] == 0
    assert run.times[-1] == t1
    expected = theory.two_particles.independent_margins(run.times[-1], 0.75, 2.0)
    np.testing.assert_allclose(run.observed["margins"][-1], expected, rtol=1e-9)


@pytest.mark.thorough
def test_flow_hits():
    """First and stable zero error, by event and by watching, against the closed time of oracle A."""
    task = am.AssociationTask(jnp.ones(1), jnp.array([0]), jnp.ones((1, 1)), jnp.eye(2))
    start = am.LinearMemory(jnp.array([[-1.0], [1.0]]))
    expected = float(theory.orthogonal.binary_time(0.0, 2.0, -2.0))
    stopped = am.simulate(task, start, am.GradientFlow(1e6), until=am.perfect_accuracy())
    assert stopped.status == am.Status.HIT
    assert float(stopped.first_hit) == pytest.approx(expected, rel=1e-8)
    assert float(stopped.times[-1]) == float(stopped.first_hit)
    watched = am.simulate(task, start, am.GradientFlow(1e6), until=am.perfect_accuracy(None))
    assert watched.status == am.Status.OK
    assert float(watched.first_hit) == pytest.approx(expected, rel=1e-8)
    assert float(watched.stable_hit) == pytest.approx(expected, rel=1e-8)
    level = am.simulate(task, start, am.GradientFlow(1e6), until=am.margin_above(3.0, token=0))
    assert float(level.first_hit) == pytest.approx(
        float(theory.orthogonal.binary_time(3.0, 2.0, -2.0)), rel=1e-8
    )
    never = am.simulate(task, start, am.GradientFlow(1e3), until=am.margin_above(50.0))
    assert never.status == am.Status.OK
    assert np.isinf(never.first_hit)


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize("kind", helpers.few([bool, float, int]))
@pytest.mark.parametrize("solver", helpers.few([None, diffrax.Tsit5()]), ids=["ours", "diffrax"])
def test_a_condition_may_be_a_truth_value(solver, kind, x64):
    """Orthogonal tokens: m + e^m − 1 = 2pt, so that a margin of 1 is met at t = e/2p."""
    with jax.enable_x64(x64):
        task = am.two_tokens(0.0, 0.75)
        above = lambda task, model: am.margins(task, model)[1] - 1  # noqa: E731
        says = above if kind is float else lambda *given: (above(*given) > 0).astype(kind)
        meet = lambda hold: am.simulate(  # noqa: E731
            task, am.LinearMemory.zeros(task), am.GradientFlow(100.0, solver=solver), observe={},
            at=[], until=am.Until(says, hold),
        )  # fmt: skip
        stopped, watched = meet(1), meet(None)
        met = np.log1p(np.e / (2 * 0.25))
        error = 1e-6 * np.log(101) + (0 if x64 else 1e-4)  # ten times rtol of float32
        for run in (stopped, watched):
            np.testing.assert_allclose(np.log1p(run.first_hit), met, rtol=0, atol=error)
            assert run.first_hit == run.stable_hit
        assert (stopped.status, watched.status) == (am.Status.HIT, am.Status.OK)


@pytest.mark.parametrize("stiff", helpers.few([False, True]))
def test_traced_times_outside_a_flow_are_its_ends(stiff):
    task = am.two_tokens(0.5, 0.75)
    start, flow = am.LinearMemory.zeros(task), am.GradientFlow(10.0, stiff=stiff)
    look = lambda at: am.simulate(task, start, flow, at=at)  # noqa: E731
    found = jax.jit(look)(jnp.array([20.0, -0.5, jnp.nan, 3.0, -jnp.inf, jnp.inf]))
    known = look([3.0])
    order = [0, 0, 0, 0, 1, 2, 2, 2]
    assert found.times.tolist() == [0, 0, 0, 0, 3, 10, 10, 10]
    np.testing.assert_allclose(found["loss"], known["loss"][jnp.array(order)], rtol=1e-12)
    slope = jax.grad(lambda t: look(jnp.array([t]))["loss"][1])
    ahead, behind = (look([3.0 + h])["loss"][1] for h in (1e-4, -1e-4))
    np.testing.assert_allclose(slope(3.0), (ahead - behind) / 2e-4, rtol=1e-6)
    assert slope(-1.0) == slope(jnp.nan) == 0


def test_a_condition_that_is_zero_at_the_start():
    """From W = 0 all margins are 0, and positive at once: a hit, also where errors are raised, not NaN."""
    helpers.run_python("""
import os
os.environ.pop("EQX_ON_ERROR", None)
import assocmem_jax as am
import diffrax
task = am.two_tokens(0.0, 0.75)
for flow in (am.GradientFlow(10.0), am.GradientFlow(10.0, solver=diffrax.Tsit5())):
    run = am.simulate(task, am.MarginSystem.zeros(task), flow, until=am.perfect_accuracy())
    assert int(run.status) == am.Status.HIT
    assert 0 <= float(run.first_hit) < 1e-6  # the rounding of log time in float32
    """)


@pytest.mark.thorough
def test_layer_norm_conserves_the_norm():
    """Birth (38): ⟨W, ∇L⟩ = 0 (docs/theory.md: birth.35): flow keeps ‖W‖, descent adds η²‖∇L‖²."""
    import optax

    p, targets, inputs, outputs, weight = helpers.random_problem(7)
    task = am.AssociationTask(p, targets, inputs, outputs)
    memory = am.NormalizedMemory(weight, task)
    watch = {"norm": am.memory.weight_norm, "gradient": am.gradient_norm, "loss": am.loss}
    run = am.simulate(task, memory, am.GradientFlow(20.0), observe=watch)
    np.testing.assert_allclose(run.observed["norm"], np.linalg.norm(weight), rtol=1e-9)
    assert (np.diff(run.observed["loss"]) <= 1e-12).all()
    eta = 0.5
    run = am.simulate(task, memory, am.Descent(optax.sgd(eta), 50), observe=watch)
    grown = run.observed["norm"][:-1] ** 2 + eta**2 * run.observed["gradient"][:-1] ** 2
    np.testing.assert_allclose(run.observed["norm"][1:] ** 2, grown, rtol=1e-12)


def first_hit(level, **where):
    task, flow = am.two_tokens(0.0, 0.5), am.GradientFlow(1e6, **where)
    until = am.margin_above(level)
    return am.simulate(task, am.LinearMemory.zeros(task), flow, observe={}, until=until, at=jnp.zeros(0))


WHERE = {"ours": {}, "diffrax's": {"adjoint": diffrax.ForwardMode()}, "another": {"solver": diffrax.Tsit5()}}


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize("where", helpers.few(WHERE))
def test_a_condition_that_holds_at_the_start(where, x64):
    """A hit at once, whoever solves: no time, no step, and the start is all that is seen."""
    with jax.enable_x64(x64):
        task = am.two_tokens(0.0, 0.75)
        start = am.LinearMemory.from_margins(task, np.array([1.0, 2.0]))
        here = float(am.loss(task, start))
        flow = am.GradientFlow(10.0, **WHERE[where])
        run = am.simulate(task, start, flow, observe=[am.loss], at=[0.5, 3.0], until=am.loss_below(2 * here))
    assert run.status == am.Status.HIT
    assert run.first_hit == run.stable_hit == run.num_steps == 0
    np.testing.assert_array_equal(run.times, np.zeros(4))
    np.testing.assert_array_equal(run["loss"], np.full(4, here, run["loss"].dtype))
    np.testing.assert_array_equal(run.model.weight, start.weight)


@pytest.mark.parametrize("where", helpers.few(WHERE))
def test_crossings_of_a_batch(where):
    """m' = 1/(1 + e^m) from 0, so that m = L at t = L + e^L − 1: of any size, or never within the horizon."""
    levels = np.array([0.25, 3.0, 9.0, 40.0])
    runs = jax.vmap(partial(first_hit, **WHERE[where]))(jnp.asarray(levels))
    assert runs.status.tolist() == [int(am.Status.HIT)] * 3 + [int(am.Status.OK)]
    times = np.where(levels < 20, levels + np.expm1(levels), np.inf)
    np.testing.assert_allclose(runs.first_hit, times, rtol=1e-8)  # 100 of the solver's tolerance
    np.testing.assert_allclose(runs.times[:, -1], np.minimum(times, 1e6), rtol=1e-8)


@pytest.mark.parametrize("x64", helpers.few([True, False]))
def test_a_crossing_of_an_implicit_step(x64):
    """The same law by an explicit solver of order 3, which is taken to face a stiff problem, so that long
    steps of extrapolation go on: what ends within one is as exact as they are, and of this very margin."""
    with jax.enable_x64(x64):
        run = first_hit(9.0, solver=diffrax.Bosh3())
        assert int(run.status) == int(am.Status.HIT)
        assert run.num_steps < 200  # or they were not long
        within = 1e-8 if x64 else 2e-4  # 100 of the solver's tolerance, in either precision
        np.testing.assert_allclose(run.first_hit, 9 + np.expm1(9), rtol=within)
        task = am.two_tokens(0.0, 0.5)
        np.testing.assert_allclose(am.margins(task, run.model)[0], 9, rtol=1e-12 if x64 else 1e-6)


def test_long_steps_end_where_one_looks():
    """m + e^m − 1 = t at every time that is asked for, of the extrapolating solver from the start."""
    task, at = am.two_tokens(0.0, 0.5), jnp.geomspace(1e-2, 1e6, 9)
    flow = am.GradientFlow(1e6, solver=ExtrapolatedEuler())
    run = am.simulate(task, am.LinearMemory.zeros(task), flow, observe=[am.margins], at=at)
    m = run["margins"][:, 0]
    np.testing.assert_allclose(m + np.expm1(m), run.times, rtol=1e-8, atol=1e-10)


@pytest.mark.thorough
@pytest.mark.parametrize("where", ["ours", "another"])
def test_the_time_of_a_crossing_has_a_derivative(where):
    """dt/dL = 1 + e^L, by diffrax's adjoint, alone and in a batch; within a step of the stiff solver too."""
    slope = jax.grad(lambda level: first_hit(level, **WHERE[where]).first_hit)
    levels = np.array([0.25, 3.0, 9.0])
    np.testing.assert_allclose(jax.vmap(slope)(jnp.asarray(levels)), 1 + np.exp(levels), rtol=1e-7)
    np.testing.assert_allclose(slope(3.0), 1 + np.exp(3), rtol=1e-7)
    # One that never hits ends where it does, whatever the level.
    end = lambda level: first_hit(level, **WHERE[where]).model.weight[0, 1]  # noqa: E731
    assert jax.jit(jax.grad(end))(40.0) == 0
