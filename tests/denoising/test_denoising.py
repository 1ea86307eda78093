"""In-context denoising: laws and their Bayes answers, attention, the energy, the optimum at finite length; refusals."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import mpmath
import numpy as np
import optax
import pytest
from scipy import integrate, special, stats

import assocmem_jax as am
from assocmem_jax.numerics.special import bessel_ratio
from assocmem_jax.studies.config import ConfigError, load
from assocmem_jax.systems.denoising import theory
from helpers import refused, softmax

n, DELTA, NOISE = 6, 3, 0.7
LAWS = {
    "linear": am.denoising.LinearManifold(n, DELTA, 2.0),
    "sphere": am.denoising.Sphere(n, DELTA, 1.5),
    "clusters": am.denoising.Clusters(n, 4, 2.0, 0.3),
}
RNG = np.random.default_rng(0)
X, Q, A, B = (RNG.normal(size=shape) for shape in ((2, 5, n), (2, n), (n, n), (n, n)))


def test_bessel_ratio():
    """Against SciPy's I_ν, orders of the spheres of 1 to 64 dimensions; the derivative from the recurrence
    A' = 1 − (2ν + 1)A/x − A²."""
    x = np.array([1e-6, 0.1, 1, 7, 40, 300, 1e4])
    ratio = jax.jit(bessel_ratio)
    for nu in (-0.5, 0.0, 1.5, 31.0):
        wanted = special.ive(nu + 1, x) / special.ive(nu, x)
        np.testing.assert_allclose(ratio(nu, x), wanted, rtol=5e-11)
    slope = jax.grad(lambda y: bessel_ratio(1.5, y))(7.0)
    held = special.ive(2.5, 7) / special.ive(1.5, 7)
    assert float(slope) == pytest.approx(1 - 4 * held / 7 - held**2, rel=1e-9)


@pytest.mark.parametrize("name", LAWS)
def test_points(name):
    """L + 1 points of one sequence are in one subspace, on one sphere, or near p centres; second moments
    of 4,000 sequences' first points within 5 standard errors."""
    task = am.DenoisingTask(LAWS[name], 20, NOISE, draws=4000)
    contexts, queries, answers = (np.asarray(a) for a in task.data)
    whole = np.concatenate([contexts[0], answers[:1]])
    size = {"linear": 2.0 * DELTA, "sphere": 1.5**2, "clusters": 4 + 0.3 * n}[name]
    if name != "clusters":
        assert np.linalg.matrix_rank(whole, tol=1e-8) == DELTA
    if name == "sphere":
        np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.5, rtol=1e-10)
    for squares in (np.sum(contexts[:, 0] ** 2, axis=1), np.sum(answers**2, axis=1)):
        assert abs(squares.mean() - size) <= 5 * squares.std() / 4000**0.5 + 1e-9
    shift = (queries - answers) ** 2
    assert abs(shift.mean() - NOISE) < 5 * shift.std() / shift.size**0.5
    direction = answers / np.linalg.norm(answers, axis=1)[:, None]  # no direction is another's
    np.testing.assert_allclose(direction.T @ direction / 4000, np.eye(n) / n, atol=0.03)


def posterior(name, query):
    """E[x | x̃] by a mean over 200,000 points of the law under the density of the noise, and its error."""
    law, rng = LAWS[name], np.random.default_rng(1)
    shared = np.asarray(law.draw(jr.key(3)))
    g = rng.normal(size=(200_000, DELTA))
    if name == "linear":
        points = 2**0.5 * g @ shared.T
    elif name == "sphere":
        points = 1.5 * g / np.linalg.norm(g, axis=1)[:, None] @ shared.T
    else:
        points = shared[rng.integers(0, 4, len(g))] + 0.3**0.5 * rng.normal(size=(len(g), n))
    weights = np.exp(-np.sum((query - points) ** 2, axis=1) / (2 * NOISE))
    weights /= weights.sum()
    mean = weights @ points
    return shared, mean, np.sqrt((weights**2) @ (points - mean) ** 2)


@pytest.mark.parametrize("name", LAWS)
def test_bayes_answers(name):
    """Within five standard errors of importance sampling, in every coordinate."""
    shared, mean, error = posterior(name, Q[0])
    found = LAWS[name].answer(jnp.asarray(shared), jnp.asarray(Q[0]), NOISE)
    assert (np.abs(found - mean) <= 5 * error + 1e-9).all()
    assert error.max() < 0.02


def test_bayes_errors():
    """Of 5,000 draws, within five standard errors of what theory says; the sphere's by SciPy to 1e-9."""
    said = {
        "linear": DELTA * 2 * NOISE / (2 + NOISE),
        "sphere": float(theory.sphere_bayes(DELTA, 1.5, NOISE)),
    }
    assert float(theory.linear_bayes(DELTA, 2.0, NOISE)) == pytest.approx(said["linear"], rel=1e-14)
    for name, value in said.items():
        found = np.asarray(am.denoising.bayes_errors(LAWS[name], NOISE, jr.key(1), 5_000))
        assert abs(found.mean() - value) < 5 * found.std() / 5_000**0.5
    for rank, radius, noise in ((3, 1.5, 0.7), (8, 4.0, 1.0), (1, 3.0, 0.5)):
        found = float(theory.sphere_bayes(rank, radius, noise))
        assert found == pytest.approx(sphere_by_quadrature(rank, radius, noise), abs=1e-8)


class Alike(am.denoising.AbstractContextLaw):
    """Shares a number, and has points, that one key makes equal. ``whole``: answers x̃ + s, else s."""

    whole: bool = eqx.field(static=True)
    dimension: int = eqx.field(static=True, default=1)

    def draw(self, key):
        return jr.normal(key, (1,))

    def points(self, shared, key, count):
        return jr.normal(key, (count, 1))

    def answer(self, shared, query, noise):
        return query + shared if self.whole else shared

    def step(self, noise):
        return 1.0, 0.0, 1.0


def test_what_is_shared_the_points_and_the_noise_are_independent():
    """(s − x)² has mean 2, and (z + s)² mean σ_z² + 1, z the noise: within five standard errors. With a key in
    common it would be 0, and (σ_z + 1)²."""
    for whole, mean in ((False, 2.0), (True, 1.5)):
        found = np.asarray(am.denoising.bayes_errors(Alike(whole), 0.5, jr.key(3), 5_000))
        assert abs(found.mean() - mean) < 5 * found.std() / 5_000**0.5


def sphere_by_quadrature(rank, radius, noise):
    """Over ‖Px̃‖²/σ_z², a noncentral χ²."""
    nu, r = rank / 2 - 1, radius / noise**0.5

    def inside(s):
        ratio = special.ive(nu + 1, r * s) / special.ive(nu, r * s)
        return 2 * s * stats.ncx2.pdf(s**2, rank, r**2) * ratio**2

    return radius**2 * (1 - integrate.quad(inside, 1e-12, 20, epsabs=1e-12, limit=300)[0])


def test_attention_is_the_formula():
    """Columns of X are points: F = (1/L) W_PV X Xᵀ W_KQ x̃ and W_PV X softmax(Xᵀ W_KQ x̃), sequence by sequence."""
    linear = am.denoising.LinearAttention(A, B).denoised(X, Q)
    soft = am.denoising.SoftmaxAttention(A, B).denoised(X, Q)
    for x, q, one, other in zip(X, Q, linear, soft):
        np.testing.assert_allclose(one, A @ x.T @ x @ B @ q / 5, rtol=1e-12)
        np.testing.assert_allclose(other, A @ x.T @ softmax(x @ B @ q), rtol=1e-12)


def test_a_step_is_that_of_the_attention_memory():
    """Softmax with W = βI, the energy step, x̃ − ∇E of ``AttentionMemory`` that stores the context, and of its
    energy with κ and γ: the same to rounding. Two steps are a step of a step, and E falls."""
    beta = 0.8
    memories = [am.AttentionMemory(X[0], np.ones(5), beta, 2)]
    one = am.denoising.EnergySteps(beta)
    found = one.denoised(X, Q)
    np.testing.assert_allclose(
        found, am.denoising.SoftmaxAttention.scaled(n, beta).denoised(X, Q), rtol=1e-12
    )
    two = am.denoising.EnergySteps(beta, 2).denoised(X, Q)
    bent = am.denoising.EnergySteps(beta, keep=0.25, gain=0.5).denoised(X, Q)
    for memory, q, x, xx, y in zip(memories, jnp.asarray(Q), found, two, bent):
        np.testing.assert_allclose(x, memory.update(q[None])[0], rtol=1e-12)
        np.testing.assert_allclose(x, q - jax.grad(memory.energy)(q), rtol=1e-10)
        np.testing.assert_allclose(xx, memory.retrieve(q[None])[0], rtol=1e-12)
        assert memory.energy(xx) < memory.energy(x) < memory.energy(q)
        curved = lambda s, m=memory: m.energy(s) + (0.75 / 0.5 - 1) / 2 * s @ s  # noqa: E731
        np.testing.assert_allclose(y, q - 0.5 * jax.grad(curved)(q), rtol=1e-10)


def test_the_optimum_at_finite_length():
    """Least squares over c of 30,000 sequences in NumPy: the scale and the error within 1.5 %."""
    rank, L, s0, noise = 8, 50, 2.0, 1.0
    rng, moments = np.random.default_rng(2), []
    for _ in range(6):
        c, x = rng.normal(size=(5000, L, rank)) * s0**0.5, rng.normal(size=(5000, rank)) * s0**0.5
        q = x + noise**0.5 * rng.normal(size=x.shape)
        f = np.einsum("bli,bl->bi", c, np.einsum("bli,bi->bl", c, q)) / L
        moments.append([np.sum(f * f), np.sum(f * x), np.sum(x * x)])
    ff, fx, xx = np.sum(moments, axis=0) / 30_000
    assert float(theory.attention_scale(rank, s0, noise, L)) == pytest.approx(fx / ff, rel=0.015)
    assert float(theory.attention_error(rank, s0, noise, L)) == pytest.approx(xx - fx**2 / ff, rel=0.015)
    for c in (0.1, 0.4):
        said = float(theory.attention_error(rank, s0, noise, L, c))
        assert said == pytest.approx(xx - 2 * c * fx + c**2 * ff, rel=0.015)
    far = theory.attention_length(rank, s0, noise, 0.1)
    assert float(theory.attention_error(rank, s0, noise, far)) == pytest.approx(1.1 * 8 * 2 / 3, rel=1e-12)


def test_training():
    """Adam lowers the loss of attention and of the three numbers of the energy; what is observed is what it says."""
    task = am.DenoisingTask(LAWS["linear"], 8, NOISE, draws=64)
    rise = am.Descent(optax.adam(0.05), 20, batch_size=32)
    look = {"loss": am.loss, "scale": am.denoising.scale, "off": am.denoising.off_diagonal}
    run = am.simulate(task, am.denoising.LinearAttention(A / 9, B / 9), rise, observe=look, key=jr.key(0))
    assert run["loss"][-1] < 0.9 * run["loss"][0]
    product = A @ B / 81
    assert float(run["scale"][0]) == pytest.approx(np.trace(product) / n, rel=1e-10)
    rest = product - np.trace(product) / n * np.eye(n)
    assert float(run["off"][0]) == pytest.approx(np.sqrt(np.mean(rest**2)), rel=1e-10)
    energy = am.denoising.EnergySteps(3.0, 2)
    run = am.simulate(task, energy, rise, observe={"loss": am.loss}, key=jr.key(0))
    assert run["loss"][-1] < run["loss"][0]
    assert float(run.model.beta) != 3.0


def test_a_law_of_ones_own():
    """Two points ±v of a random v: the softmax of a long context is v tanh(βv·x̃)."""

    def twins(key, count):
        v, signs = jr.normal(key, (n,)), jr.rademacher(jr.fold_in(key, 1), (count,), float)
        return signs[:, None] * v

    task = am.DenoisingTask(twins, 4001, NOISE, draws=2)
    batch = task.data
    v = np.asarray(batch.answers)
    found = am.denoising.SoftmaxAttention.scaled(n, 0.1).denoised(batch.contexts, batch.queries)
    wanted = v * np.tanh(0.1 * np.sum(v * np.asarray(batch.queries), axis=1))[:, None]
    np.testing.assert_allclose(found, wanted, atol=0.1)
    wanted = np.mean(np.sum((np.asarray(found) - v) ** 2, axis=1))
    model = am.denoising.SoftmaxAttention.scaled(n, 0.1)
    assert float(task.loss(model)) == pytest.approx(wanted, rel=1e-12)


def test_both_precisions():
    with jax.enable_x64(False):
        law = am.denoising.Clusters(4, 3, 1.0, 0.1)
        task = am.DenoisingTask(law, 6, 0.5, draws=4)
        loss = task.loss(am.denoising.EnergySteps.bayes(law, 0.5))
        assert loss.dtype == task.dtype == jnp.float32
        assert np.isfinite(loss)


# --- Refusals -------------------------------------------------------------------------------------

D = am.denoising
REFUSED = [
    (lambda: D.LinearManifold(4, 5), "rank must be at most dimension = 4, got 5"),
    (lambda: D.LinearManifold(4, 0), "rank must be at least 1, got 0"),
    (lambda: D.LinearManifold(4, 2, 0.0), "variance must be positive and finite, got 0.0"),
    (lambda: D.Sphere(4, 5), "rank must be at most dimension = 4, got 5"),
    (lambda: D.Sphere(4, 2, -1.0), "radius must be positive and finite, got -1.0"),
    (lambda: D.Clusters(4, 0), "centres must be at least 1, got 0"),
    (lambda: D.Clusters(4, 2, variance=-1.0), "variance must be between 0 and"),
    (lambda: am.DenoisingTask(LAWS["linear"], 0), "length must be at least 1, got 0"),
    (lambda: am.DenoisingTask(LAWS["linear"], 4, 0.0), "noise must be positive and finite, got 0.0"),
    (lambda: am.DenoisingTask(LAWS["linear"], 4, np.nan), "noise must be finite"),
    (lambda: am.DenoisingTask(3, 4), "law must be a function (key, count) → points of shape (count, n), got 3"),
    (lambda: am.DenoisingTask(lambda key, count: jnp.ones(count), 4), "law must be of real points, shape (5, n), got float64(5,)"),
    (lambda: am.DenoisingTask(LAWS["linear"], 4, key=3), "key must be a typed key, got 3"),
    (lambda: D.LinearAttention(A, B[:2]), "key must be n × n, as many in both, got shape (2, 6)"),
    (lambda: D.SoftmaxAttention(A * np.nan, B), "value must be finite"),
    (lambda: D.EnergySteps(-1.0), "beta must be positive and finite, got -1.0"),
    (lambda: D.EnergySteps(1.0, 0), "steps must be at least 1, got 0"),
    (lambda: D.EnergySteps.bayes(LAWS["linear"], 0.0), "noise must be positive and finite, got 0.0"),
    (lambda: D.EnergySteps.bayes(3, 1.0), "law must be of the class AbstractContextLaw, got 3"),
    (lambda: D.bayes_errors(LAWS["linear"], 1.0, jr.key(0), 0), "draws must be at least 1, got 0"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m.split(" must")[0] for _, m in REFUSED])
def test_refusals(call, message):
    refused(call, message)


def test_configs_refuse():
    for config, change, words in (
        ("denoising_contexts", "rank=17", "rank must be at most dimension = 16, got 17"),
        ("denoising_map", "ranks=[2, 17]", "ranks must be at most dimension = 16, got 17"),
        ("denoising_contexts", "lengths=[0, 4]", "lengths.0 = 0: must be greater than or equal to 1"),
        ("denoising_trained", "noise=0.0", "noise = 0.0: must be greater than 0"),
        ("denoising_contexts", "centres=0", "centres = 0: must be greater than or equal to 1"),
    ):
        with pytest.raises(ConfigError, match=re.escape(words)):
            load(config, [change])


@pytest.mark.parametrize("noise", [2.0**-20, 2.0**-24])
def test_errors_of_little_noise(rounding, noise):
    """On a sphere that of its tangent plane, σ_z²(δ − 1), but for curvature, some δσ_z²/R² of it; of linear
    attention in mpmath."""
    for rank in (2, 3, 8, 100):
        found = float(theory.sphere_bayes(rank, 1.0, noise))
        assert found == pytest.approx(noise * (rank - 1), rel=2 * rank * noise + 100 * rounding)
    assert 0 <= float(theory.sphere_bayes(1, 1.0, noise)) <= 4 * noise * rounding
    with mpmath.workdps(40):
        for scale in (None, 0.5, 1.0):
            wide = (1 + mpmath.mpf(noise)) * (1 + mpmath.mpf(9) / 2**33)
            c = 1 / wide if scale is None else mpmath.mpf(scale)
            exact = 8 * (c**2 * wide - 2 * c + 1)
            found = float(theory.attention_error(8, 1.0, noise, 2.0**33, scale))
            assert found == pytest.approx(float(exact), rel=16 * rounding)
