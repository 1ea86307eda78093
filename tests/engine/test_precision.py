"""Every dynamics and model at float32 as well: x64 off, as users run it, and float32 tasks where x64 is on."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import assocmem_jax as am
import helpers

MODELS = {
    "memory": lambda task: am.LinearMemory.gaussian(task, jax.random.key(1), 0.3),
    "particles": lambda task: am.ParticleSystem.from_memory(task, MODELS["memory"](task)),
    "margins": lambda task: am.MarginSystem.from_memory(task, MODELS["memory"](task)),
    "layer norm": lambda task: am.NormalizedMemory.gaussian(task, jax.random.key(1), 1.0),
}
DYNAMICS = {
    "flow": am.GradientFlow(20.0),
    "descent": am.Descent(optax.sgd(0.5), 40),
    "adam": am.Descent(optax.adam(0.05), 40),
    "minibatch": am.Descent(optax.sgd(0.5), 40, 8),
    "noise": am.StochasticFlow(0.0, 20.0, 40),
}


def task_of(dtype, seed=0):
    p, targets, inputs, outputs, _ = helpers.random_problem(seed, n=3, m=2, d=4, k=3)
    # The same numbers at both precisions: those that float32 holds.
    p, inputs, outputs = (np.float32(a).astype(dtype) for a in (p, inputs, outputs))
    return am.AssociationTask(am.laws.normalized(p), targets, inputs, outputs)


def end(task, model, dynamics):
    at = jnp.zeros(0) if isinstance(dynamics, am.GradientFlow) else [dynamics.steps]
    run = am.simulate(task, model, dynamics, observe=[am.loss, am.margins], at=at, key=jax.random.key(0))
    assert run.status == am.Status.OK
    assert run.times.dtype == run.observed["loss"].dtype == task.dtype
    assert float(run.times[-1]) == pytest.approx(20.0 if dynamics is not DYNAMICS["adam"] else 2.0, rel=1e-6)
    return {name: np.asarray(value[-1], float) for name, value in run.observed.items()}


# In `make test` one of each kind; the rest of the table, which compiles as long again, in `make soak`.
TABLE = [
    pytest.param(m, d, marks=() if m == "memory" or (m, d) == ("margins", "descent") else pytest.mark.soak)
    for m in MODELS
    for d in DYNAMICS
]


@pytest.mark.parametrize(("model", "dynamics"), TABLE)
def test_float32_is_float64_to_its_rounding(model, dynamics):
    """Forty updates that contract: each adds ε of scores below ten, 40 · 10 · 6e-8; the flow is as its rtol."""
    if dynamics == "adam" and model in ("particles", "margins"):
        with pytest.raises(ValueError, match="optimizer must be linear"):
            end(task_of(np.float64), MODELS[model](task_of(np.float64)), DYNAMICS[dynamics])
        return
    if dynamics == "minibatch":  # another number of random bits: other batches
        narrow = end(task_of(np.float32), MODELS[model](task_of(np.float32)), DYNAMICS[dynamics])
        assert np.isfinite(narrow["margins"]).all()
        return
    exact, task = task_of(np.float64), task_of(np.float32)
    start = MODELS[model](task)
    wide_start = jax.tree.map(
        lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, start
    )
    narrow, wide = end(task, start, DYNAMICS[dynamics]), end(exact, wide_start, DYNAMICS[dynamics])
    tolerance = 1e-4 if dynamics == "flow" else 40 * 10 * 6e-8
    np.testing.assert_allclose(narrow["margins"], wide["margins"], atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(narrow["loss"], wide["loss"], atol=tolerance, rtol=tolerance)


@pytest.mark.thorough
def test_with_x64_off():
    """In a process of its own, without the type hook: everything a user meets first, against exact numbers."""
    helpers.run_python("""
import jax, jax.numpy as jnp, numpy as np, optax, assocmem_jax as am
assert not jax.config.jax_enable_x64
task = am.two_tokens(.95, .75)
run = am.simulate(task, am.MarginSystem.zeros(task), am.GradientFlow(500.), until=am.perfect_accuracy())
assert run.status == am.Status.HIT
assert abs(float(run.first_hit) / 52.11666 - 1) < 1e-4, run.first_hit  # rtol 1e-5 a step
for model in (am.LinearMemory, am.ParticleSystem, am.MarginSystem):
    run = am.simulate(am.two_tokens(0., .75), model.zeros(am.two_tokens(0., .75)), am.GradientFlow(1e6))
    exact = am.theory.two_particles.independent_margins(1e6, .75, 2.)
    got = am.margins(am.two_tokens(0., .75), run.model)
    assert np.abs(np.asarray(got) / np.asarray(exact) - 1).max() < 1e-3, (model, got, exact)
def one_step(a):
    t = am.two_tokens(a, .75)
    return am.simulate(t, am.LinearMemory.zeros(t), am.Descent(optax.sgd(1.), 1)).observed["loss"][-1]
slopes = jax.vmap(jax.grad(one_step))(jnp.array([-1., 0., 1.]))
assert np.abs(slopes[jnp.array([0, 2])] - np.array([.100853, .1875])).max() < 1e-6, slopes
for call, words in (
    (lambda: am.GradientFlow(1e39), "t1 must be"), (lambda: am.loss_below(1e-50), "level must be"),
    (lambda: am.Descent(optax.sgd, 3, learning_rate=1e40), "learning_rate must be"),
    (lambda: am.Descent(optax.sgd, 3, learning_rate=1e-50), "learning_rate must be"),
    (lambda: am.GradientFlow(1e-39), "t1 must be"),
    (lambda: am.simulate(task, am.LinearMemory.zeros(task), am.GradientFlow(3e38)), "t1 must be"),
    (lambda: am.AttentionMemory(np.eye(2), np.ones(2), 1e-50), "beta must be"),
    (lambda: am.two_tokens(jnp.float16(.5), jnp.float16(.5)), "alpha must be of float32 or float64"),
    (lambda: am.LinearMemory(jnp.zeros((2, 2), jnp.bfloat16)), "weight must be of float32 or float64"),
):
    try: call()
    except ValueError as fault: assert str(fault).startswith(words) and "\\n" not in str(fault), fault
    else: raise AssertionError(words)
""")


TINY = float(np.finfo(np.float32).tiny)


def test_numbers_of_a_dynamics_are_those_of_the_task():
    """Where x64 is on and the task is float32: what float32 cannot hold is refused, not infinite."""
    task = task_of(np.float32)
    start = am.LinearMemory.zeros(task)
    for dynamics, name in (
        (am.GradientFlow(1e39), "t1"),
        (am.Descent(optax.sgd, 3, learning_rate=1e40), "learning_rate"),
        (am.Descent(optax.sgd, 3, learning_rate=1e-50), "learning_rate"),
        (am.Descent(optax.sgd, 3, learning_rate=0.9 * TINY), "learning_rate"),
        (am.GradientFlow(0.9 * TINY), "t1"),
        (am.StochasticFlow(0.1, 1e-39, 3), "t1"),
    ):
        helpers.refused(
            lambda d=dynamics: am.simulate(task, start, d), f"{name} must be a number that float32"
        )
    helpers.refused(lambda: am.simulate(task, start, am.GradientFlow(3e38)), "t1 must be between 0 and")
    # The least that is normal is moved by: XLA makes 0 of what is below.
    assert am.simulate(task, start, am.Descent(optax.sgd, 1, learning_rate=1.01 * TINY)).times[-1] > 0


@pytest.mark.parametrize("outputs", [np.eye(3), np.eye(3) - 1 / 3], ids=["I", "centred"])
@pytest.mark.parametrize(
    "model",
    [am.LinearMemory, pytest.param(am.ParticleSystem, marks=pytest.mark.thorough)],
    ids=["memory", "particles"],
)
def test_a_flow_stays_at_a_finite_minimiser(model, outputs):
    """Margins ln 5/3 and ln 5/2 at t = 10¹²: rounding along what the scores do not see is not let grow."""
    task = am.AssociationTask([1.0], [[0.5, 0.3, 0.2]], [[1.0, 0.0]], outputs)
    run = am.simulate(task, model.zeros(task), am.GradientFlow(1e12), at=jnp.zeros(0))
    assert run.status == am.Status.OK
    assert run.num_steps <= 300
    found = am.memory.pairwise_margins(task, run.model)[0]
    np.testing.assert_allclose(found, [0, np.log(5 / 3), np.log(5 / 2)], atol=1e-9)
    if model is am.LinearMemory and outputs[0, 0] == 1:  # at 200 times: as many steps as where nothing stalls
        assert am.simulate(task, model.zeros(task), am.GradientFlow(1e12)).num_steps <= 1200


KINDS = ["", "duplicates", "d < N", "scale 30", "collinear", "collinear scale 30", "collinear duplicates",
         "duplicates d < N scale 30"]  # fmt: skip


def soft_problem(rng, kind):
    """(p, q, E, U, W₀): four tokens of three soft labels in four dimensions."""
    p, q = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(3), 4)
    inputs, outputs = rng.normal(size=(4, 4)) / 2, rng.normal(size=(3, 3)) / np.sqrt(3)
    if "d < N" in kind:
        span = helpers.orthonormal(rng, rng.integers(1, 4), 4)
        inputs = inputs @ span.T @ span
    if "collinear" in kind:
        inputs[1] = rng.choice([1, -1, 2]) * inputs[0] + 10 ** rng.uniform(-3, -1) * inputs[1]
    if "duplicates" in kind:
        inputs[3] = inputs[2]
    return p, q, inputs, outputs, rng.normal(size=(3, 4)) * (30 if "scale 30" in kind else 1)


def minimum(p, q, inputs, outputs):
    """(centred scores where the loss is least, their error, least curvature of W there), by Newton's method.

    On the directions that gradients have, in units that even out how far apart the embeddings are.
    """
    bases = []
    for rows in (outputs - outputs.mean(axis=0), inputs):
        _, sizes, turn = np.linalg.svd(rows)
        bases.append((rows @ turn[sizes > 1e-10].T / sizes[sizes > 1e-10], sizes[sizes > 1e-10]))
    (y, b), (x, a) = bases
    units, features = np.outer(b, a).ravel(), np.einsum("mi,nj->nmij", y, x).reshape(4, 3, -1)
    loss = lambda w: p @ -(q * np.log(helpers.softmax(features @ w))).sum(axis=1)  # noqa: E731
    w = np.zeros(len(units))
    for _ in range(100):
        found = helpers.softmax(features @ w)
        mean = np.einsum("nm,nmi->ni", found, features)
        hessian = np.einsum("n,nm,nmi,nmj->ij", p, found, features, features) - (mean.T * p) @ mean
        step = np.linalg.solve(hessian, np.einsum("n,nm,nmi->i", p, found - q, features))
        part = next((s for s in 0.5 ** np.arange(30) if loss(w - s * step) <= loss(w)), 1)
        w = w - part * step
    return features @ w, np.abs(step).max(), np.linalg.eigvalsh(hessian * np.outer(units, units))[0]


@pytest.mark.thorough
def test_flows_end_at_finite_minimisers():
    """200 random ones, of which rounding made hundreds to thousands of steps, against Newton's method."""
    off, steps = distance_from_minimisers()
    assert steps.max() <= 300
    assert np.abs(off).max() <= 1e-8


def distance_from_minimisers():
    """(centred scores of 200 flows less those of their minimisers, steps taken)."""
    rng = np.random.default_rng(1)
    problems, ends, times = [], [], []
    while len(problems) < 200:
        problem = soft_problem(rng, KINDS[len(problems) % len(KINDS)])
        scores, error, curvature = minimum(*problem[:4])
        if curvature * 1e12 > 1e3 and error < 1e-10:  # at t = 10¹² nothing is left of the way
            problems.append(problem)
            ends.append(scores)
            times.append(min(1e12, 1e3 / curvature * 10 ** rng.uniform(0, 12)))

    @jax.jit
    @jax.vmap
    def solve(p, q, inputs, outputs, weight, t1):
        task = am.AssociationTask(p, q, inputs, outputs)
        flow = am.GradientFlow(t1, stiff=True, max_steps=301)
        run = am.simulate(task, am.LinearMemory(weight), flow, observe={}, at=jnp.zeros(0))
        return run.model.weight, run.status, run.num_steps

    arrays = [np.stack(a) for a in zip(*problems)]
    weights, status, steps = map(np.asarray, solve(*arrays, np.array(times)))
    assert (status == am.Status.OK).all()
    found = np.einsum("bma,bad,bnd->bnm", arrays[3], weights, arrays[2])
    return found - found.mean(axis=2, keepdims=True) - np.array(ends), steps


@pytest.mark.thorough
@pytest.mark.parametrize("model", [am.LinearMemory, am.ParticleSystem, am.MarginSystem])
def test_graded_coordinates_are_of_the_same_flow(model):
    """Three Euler steps, which a linear change of coordinates leaves as they are, and their derivatives.

    With a duplicate, two inputs 10⁻³ apart, d > N and p = 0, where what does not move has a derivative.
    """
    rng = np.random.default_rng(0)
    inputs, p, labels = rng.normal(size=(4, 5)), np.array([0.4, 0.3, 0.3, 0.0]), np.array([0, 1, 1, 0])
    inputs[1], inputs[3] = inputs[0] + 1e-3 * inputs[1], inputs[2]
    at = (p, inputs, rng.normal(size=(2, 4)), rng.normal(size=(4, 5)))
    seen = rng.normal(
        size=(4, 5) if model is am.LinearMemory else (4, 2) if model is am.ParticleSystem else 4
    )

    def end(graded, p, inputs, outputs, weight):
        task = am.AssociationTask(p, labels, inputs, outputs)
        start = am.LinearMemory(weight)
        start = start if model is am.LinearMemory else model.from_memory(task, start)
        if graded:
            y, downhill, back = start.graded(task)
            for _ in range(3):
                y = y - 0.3 * downhill(y)
            start = back(y)
        else:
            start = am.simulate(task, start, am.Descent(optax.sgd(0.3), 3), observe={}).model
        return jnp.sum(seen * start.trainable()[0])

    graded, plain = (
        jax.jit(jax.value_and_grad(lambda *x, g=g: end(g, *x), argnums=(0, 1, 2, 3)))(*at)
        for g in (True, False)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), graded, plain)


def test_names_are_part_of_a_sweep(tmp_path):
    first = am.sweep(lambda a: {"loss": 2 * a}, a=[1.0, 2.0])
    second = am.sweep(lambda a: {"error": 2 * a}, a=[1.0, 2.0])
    assert first["loss"].values.tolist() == second["error"].values.tolist() == [2.0, 4.0]
    am.sweep(lambda a: {"loss": 2 * a}, a=[1.0, 2.0], store=tmp_path / "s.zarr")
    with pytest.raises(ValueError, match="store must be of this sweep"):
        am.sweep(lambda a: {"error": 2 * a}, a=[1.0, 2.0], store=tmp_path / "s.zarr")
    for name in ("time", "step", "seed", "commits", ".hidden", "a"):
        with pytest.raises(ValueError, match="fn must be a function whose results"):
            am.sweep(lambda a, name=name: {name: 2 * a}, a=[1.0, 2.0])


@pytest.mark.thorough
def test_a_law_sums_to_one_and_what_has_probability_zero_is_never_drawn(monkeypatch):
    words = np.random.default_rng(0).zipf(1.3, 50_257).astype(float)
    p = am.laws.normalized(words.astype(np.float32))
    assert p.dtype == jnp.float32
    assert abs(np.asarray(p, float).sum() - 1) < 1e-6
    for wrong in (p * 0.955, p * 0, p * (1 + 1e-3)):
        helpers.refused(
            lambda w=wrong: am.AssociationTask(
                w, np.zeros(50_257, int), np.ones((50_257, 1), np.float32), np.eye(2, dtype=np.float32)
            ),
            "probabilities must be summing to one",
        )
    for dtype in (np.float32, np.float64):
        targets = np.array([[0.0, 0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]], dtype)
        task = am.AssociationTask(
            np.array([1.0, 0.0], dtype), targets, np.eye(2, dtype=dtype), np.eye(5, dtype=dtype)
        )
        tokens, labels = task.sample(jax.random.key(0), 10**6)
        assert (tokens == 0).all()
        counts = np.bincount(labels, minlength=5)
        assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
        assert abs(counts[1] / 10**6 - 0.5) < 5 * 0.5e-3  # five standard errors
        for end, label in ((0.0, 1), (1.0, 3)):  # the ends of what a uniform can round to
            with monkeypatch.context() as patch:
                patch.setattr(am.laws, "uniforms", lambda key, n, dtype, end=end: jnp.full(n, end, dtype))
                tokens, labels = task.sample(jax.random.key(0), 2)
            assert tokens.tolist() == [0, 0]
            assert labels.tolist() == [label, label]


def test_soft_targets_with_impossible_classes():
    task = am.AssociationTask([1.0], [[0.5, 0.5, 0.0]], [[1.0]], np.eye(3), np.array([True, True, False]))
    run = am.simulate(task, am.LinearMemory.zeros(task), am.Descent(optax.sgd(1.0), 2))
    np.testing.assert_allclose(run.observed["loss"], np.log(2), rtol=1e-14)
    helpers.refused(
        lambda: am.AssociationTask(
            [1.0], [[0.5, 0.3, 0.2]], [[1.0]], np.eye(3), np.array([True, True, False])
        ),
        "targets must be 0 where a class is not possible",
    )


def test_least_error_of_inputs_on_few_lines_against_all_directions():
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 7200, endpoint=False) + 1.2345e-4
    v = np.stack([np.cos(angles), np.sin(angles)])
    for _ in range(200):
        base, n = rng.normal(size=(rng.integers(1, 4), 2)), rng.integers(1, 7)
        inputs = base[rng.integers(0, len(base), n)] * rng.choice([-3.0, -1, 0.1, 0, 1, 3, 7], n)[:, None]
        labels, p = rng.integers(0, 2, n), am.laws.normalized(rng.dirichlet(np.ones(n)))
        wrong = (1 - 2 * labels)[:, None] * (inputs @ v) <= 0
        expected = (np.asarray(p) @ wrong).min()
        task = am.AssociationTask(p, labels, inputs, np.eye(2))
        assert am.memory.least_error(task) == pytest.approx(expected, abs=1e-12)
    pair = [[0.6247731550168207, -0.7808063170661004], [3 * 0.6247731550168207, 3 * -0.7808063170661004]]
    task = am.AssociationTask([0.6, 0.4], [0, 1], pair, np.eye(2))
    assert am.memory.least_error(task) == 0.4


@pytest.mark.parametrize("scale", [1e-20, 1e-5, 1e-3, 1e5])
def test_max_margin_in_any_unit(scale):
    inputs = np.array([[1, 0.5], [0.5, 1]])
    task = am.AssociationTask([0.5, 0.5], [0, 1], scale * inputs, scale * np.eye(2))
    found = am.memory.max_margin(task)
    assert found.separable
    assert found.margin == pytest.approx(0.5 * scale**2, rel=1e-12)
    rebuilt = sum(
        found.multipliers[x, z] * np.outer(scale * (np.eye(2)[x] - np.eye(2)[z]), scale * inputs[x])
        for x in range(2) for z in range(2)
    )  # fmt: skip
    np.testing.assert_allclose(rebuilt * found.margin, found.direction, rtol=1e-10)


@pytest.mark.thorough
@pytest.mark.parametrize("scale", [1e-160, 1e160])
def test_lanczos_of_an_operator_of_any_size(scale):
    diagonal = jnp.arange(1.0, 51.0)
    top = am.lanczos_top(lambda v: scale * diagonal * v, 50, jnp.float64)
    assert top.converged
    assert float(top.value) / scale == pytest.approx(50.0, rel=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize(("d", "degree"), [(200, None), (2000, None), (200, 50), (200, 300)])
def test_dense_memories_do_not_underflow(d, degree):
    """One update against energies in whole numbers: every bit of lower energy, whatever the size of F."""
    task = am.RetrievalTask.binary(jax.random.key(d), 5, d, 0.3 if d == 200 else 0.2)
    memory = am.DenseMemory.exponential(task) if degree is None else am.DenseMemory.polynomial(task, degree)
    found = np.asarray(memory.update(task.cues))
    patterns, cues = (np.asarray(a).astype(int).tolist() for a in (task.patterns, task.cues))
    from fractions import Fraction

    growth = Fraction(738905609893065, 10**14)  # e², so that e^{o} = growth^{o/2} up to a common factor
    force = (lambda o: growth ** ((o - d) // 2)) if degree is None else (lambda o: o**degree)
    for cue, end in zip(cues[:2], found):
        overlaps = [sum(a * b for a, b in zip(pattern, cue)) for pattern in patterns]
        for i in range(0, d, 37):
            lean = 0
            for pattern, overlap in zip(patterns, overlaps):
                rest = overlap - pattern[i] * cue[i]
                lean += force(rest + pattern[i]) - force(rest - pattern[i])
            assert (lean > 0) == (end[i] > 0)
    assert float(task.error(memory)) == 0


@pytest.mark.thorough
@pytest.mark.parametrize("degree", [None, 300])
def test_patterns_that_are_not_stored_set_no_scale(degree):
    """A cue beside one that is not stored, d = 2,000: as in the memory of those that are."""
    task = am.RetrievalTask.binary(jax.random.key(3), 5, 2000)
    made = (
        am.DenseMemory.exponential if degree is None else lambda task: am.DenseMemory.polynomial(task, degree)
    )
    known = am.RetrievalTask(task.patterns[:2])
    np.testing.assert_array_equal(made(task.first(2)).update(task.cues), made(known).update(task.cues))
    assert (made(known).update(task.cues)[2:] != task.cues[2:]).any()


def test_the_opposite_of_a_pattern_is_drawn_to_it():
    """Every bit of −ξ is of lower energy turned, where e^{d(z − 1)} is below every number of float64."""
    pattern = np.sign(np.random.default_rng(0).normal(size=(1, 2000)))
    task = am.RetrievalTask(pattern, -pattern)
    np.testing.assert_array_equal(am.DenseMemory.exponential(task).update(task.cues), pattern)


@pytest.mark.thorough
def test_patterns_are_signs_and_attention_does_not_cancel():
    digits = np.random.default_rng(0).integers(0, 256, (4, 8, 8))
    helpers.refused(
        lambda: am.DenseMemory.polynomial(am.RetrievalTask(digits.reshape(4, -1) / 255.0), 2),
        "cues must be of entries ±1",
    )
    helpers.refused(
        lambda: am.HopfieldNetwork.hebb(am.RetrievalTask(digits.reshape(4, -1) > 127.5)),
        "patterns must be of entries ±1",
    )
    task = am.RetrievalTask(am.retrieval.signs(digits))
    assert task.patterns.shape == (4, 64)
    np.testing.assert_array_equal(task.patterns, np.where(digits.reshape(4, -1) > 127.5, 1, -1))
    assert float(task.error(am.DenseMemory.exponential(task))) == 0
    memory = am.AttentionMemory.store(am.RetrievalTask.spherical(jax.random.key(0), 4, 8), 2.0)
    for size in (1.0, 1e6, 1e12):
        weights = np.exp(2 * size * (s := np.asarray(memory.patterns) @ np.ones(8)) - (2 * size * s).max())
        expected = weights / weights.sum() @ np.asarray(memory.patterns)
        np.testing.assert_allclose(memory.update(size * jnp.ones((1, 8)))[0], expected, rtol=1e-10)


@pytest.mark.thorough
def test_one_sided_derivatives_at_the_ends():
    pairs = lambda E: jnp.sum(E @ E.T) - jnp.trace(E @ E.T)  # noqa: E731
    for n in (2, 4):
        for alpha in (1.0, 0.0, -1 / (n - 1)):
            slope = jax.grad(lambda a, n=n: pairs(am.embeddings.equicorrelated(n, a)))(alpha)
            assert float(slope) == pytest.approx(n * (n - 1), rel=1e-12)
    for gram in (
        np.ones((2, 2)),
        np.eye(3),
        np.eye(2) * [[1], [0]],
        helpers.random_problem(1)[2] @ helpers.random_problem(1)[2].T,
    ):
        turn = np.random.default_rng(0).normal(size=gram.shape)
        square = lambda G: (lambda E: E @ E.T)(am.embeddings.from_gram(G))  # noqa: E731
        _, moved = jax.jvp(square, (jnp.asarray(gram),), (jnp.asarray(turn + turn.T),))
        np.testing.assert_allclose(moved, turn + turn.T, atol=1e-10)
    task = am.two_tokens(0.5, 0.7)
    still = jax.grad(lambda W: am.memory.weight_norm(task, am.LinearMemory(W)))(jnp.zeros((2, 2)))
    np.testing.assert_array_equal(still, 0)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "setting", ["jax_numpy_rank_promotion='raise'", "jax_numpy_dtype_promotion='strict'"]
)
def test_whatever_rules_of_promotion_the_caller_has_set(setting):
    name, _, value = setting.partition("=")
    helpers.run_python(f"""
import jax, numpy as np, optax
jax.config.update("{name}", {value})
import assocmem_jax as am
for targets in ([0, 1], [[.3, .7], [.6, .4]]):
    task = am.AssociationTask([.5, .5], targets, np.eye(2), np.eye(2))
    start = am.LinearMemory.gaussian(task, jax.random.key(0))
    for dynamics in (am.Descent(optax.adam, 3, 2, learning_rate=.1), am.StochasticFlow(.1, 1., 3)):
        run = am.simulate(task, start, dynamics, observe=[am.loss, am.error, am.sharpness], key=jax.random.key(0))
        assert run.status == am.Status.OK
cues = am.RetrievalTask.binary(jax.random.key(0), 3, 8, .1)
am.loss(cues, am.DenseMemory.exponential(cues)), am.error(cues, am.AttentionMemory.store(cues, 1.))
am.BigramTask.shakespeare(length=16, data=2, loss_on="all")
""")


QUADRATURES = {
    "sphere": lambda: am.theory.denoising.sphere_bayes(3, 1.0, 0.5),
    "noisy step": lambda: am.theory.noise.noisy_step_accuracy(20, 30),
    "attention": lambda: am.theory.noise.attention_dimension(16, 32, 100),
    "facts": lambda: am.theory.factual.time(am.theory.factual.subjects(4, 3, 2), 2.0, 0.1),
}


@pytest.mark.parametrize("name", QUADRATURES)
def test_precisions_take_turns_in_one_process(name):
    """A constant of NumPy that a program of JAX holds has one precision for ever: it cannot be a module's."""
    found = {x64: [] for x64 in (True, False)}
    for x64 in (False, True, False, True):
        with jax.enable_x64(x64):
            found[x64].append(QUADRATURES[name]())
    assert [[value.dtype for value in values] for values in found.values()] == [
        [np.float64] * 2,
        [np.float32] * 2,
    ]
    assert found[True][0] == found[True][1]
    np.testing.assert_allclose(found[False], found[True], rtol=1e-4)


def test_what_stopped_a_run_crosses_processes():
    import pickle

    decay = optax.chain(optax.add_decayed_weights(3.0), optax.sgd(1.0))
    task = am.two_tokens(0.5, 0.75)
    with pytest.raises(am.SimulationError) as caught:
        am.simulate(
            task, am.LinearMemory(np.ones((2, 2))), am.Descent(decay, 1000), observe=[am.loss], at=[1000]
        )
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert int(again.trajectory.status) == am.Status.DIVERGED
