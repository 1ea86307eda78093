"""In-context denoising: Bayes errors, what one step is in a long context, and what a short one costs."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from ....statements import at_most, equal, statement
from ....statements.claims import rounding
from ....sweeps import LogUniform, Uniform
from .. import theory
from ..model import LinearAttention
from ..task import Clusters, LinearManifold, Sphere
from . import loops


@statement(
    "denoising.length",
    "what a context of finite length costs linear attention",
    where="Slides p. 5; not on them",
    corrected="linear manifold of rank δ, W_PV W_KQ = cI, any L ≥ 1: E‖F − x‖² = δ(c²σ₀⁴(σ₀² + σ_z²)(1 + "
    "(δ + 1)/L) − 2cσ₀⁴ + σ₀²); least at c* = 1/((σ₀² + σ_z²)(1 + (δ + 1)/L)), where it is σ₀²δ(1 − σ₀²c*). "
    "It is (1 + ε) times Bayes at L = (δ + 1)(σ₀²/(σ_z² ε) − 1)",
    domain={
        "variance": LogUniform(0.2, 5),
        "noise": LogUniform(0.2, 5),
        "scale": Uniform(0, 1),
        "excess": LogUniform(1e-3, 1e-2),
    },
    cases=[{"rank": 1, "length": 1}, {"rank": 1, "length": 3}, {"rank": 2, "length": 1}],
    tolerance="rounding: Gauss–Hermite's three nodes for each coordinate, exact to degree 5",
    most=32,
    second_samples=2,
)
def length_of_context(variance, noise, scale, excess, rank, length):
    """F = cSx̃ with S = σ₀² U Ŝ Uᵀ, LŜ Wishart of L degrees: E Ŝ = I, E Ŝ² = (1 + (δ + 1)/L) I. A parabola in
    c."""
    nodes, weights = loops.hermite(rank * (length + 2))
    points = nodes.reshape(-1, length + 2, rank)
    contexts, x = jnp.sqrt(variance) * points[:, :length], jnp.sqrt(variance) * points[:, -2]
    query = x + jnp.sqrt(noise) * points[:, -1]
    best = theory.attention_scale(rank, variance, noise, length)

    def error(c):
        model = LinearAttention(jnp.eye(rank), c * jnp.eye(rank))
        return jnp.dot(weights, jnp.sum((model.denoised(contexts, query) - x) ** 2, axis=1))

    size = 100 * rank * variance * (1 + variance + noise)
    near = rounding(size, operations=64)
    far = theory.attention_length(rank, variance, noise, excess)
    return (
        equal(error(scale), theory.attention_error(rank, variance, noise, length, scale), near),
        equal(error(best), theory.attention_error(rank, variance, noise, length), near),
        at_most(theory.attention_error(rank, variance, noise, length), error(scale), near),
        equal(
            theory.attention_error(rank, variance, noise, far),
            (1 + excess) * theory.linear_bayes(rank, variance, noise),
            near,
        ),
    )


@length_of_context.second_route
def _(variance, noise, scale, excess, rank, length):
    error = lambda c: loops.attention_error(rank, length, variance, noise, c)  # noqa: E731
    at0, at1, at2 = error(0.0), error(1.0), error(2.0)  # a parabola through three points
    bend, slope = (at2 - 2 * at1 + at0) / 2, (4 * at1 - at2 - 3 * at0) / 2
    least = at0 - slope**2 / (4 * bend)
    near = rounding(100 * rank * variance * (1 + variance + noise), operations=1024)
    bayes = rank / (1 / variance + 1 / noise)
    r = excess * noise / (variance - excess * noise)
    long = rank * variance * (1 - variance / ((variance + noise) * (1 + r)))
    return (
        equal(error(scale), at0 + slope * scale + bend * scale**2, near),
        equal(error(-slope / (2 * bend)), least, near),
        at_most(least, error(scale), near),
        equal(long, (1 + excess) * bayes, near),
    )


@statement(
    "denoising.sphere",
    "Bayes on a sphere",
    where="Slides p. 5 (Smart, Bietti, Sengupta 2025)",
    corrected="E‖E[x | x̃] − x‖² = R²(1 − E A²), A = I_{δ/2}(κ)/I_{δ/2−1}(κ), κ = R‖Px̃‖/σ_z²",
    domain={"radius": Uniform(0.3, 2), "noise": LogUniform(0.5, 4)},
    cases=[{"rank": 1}, {"rank": 2}],
    tolerance="1e-8, of quadratures",
    most=8,
    second_samples=2,
)
def sphere(radius, noise, rank):
    """The posterior mean is R A(κ) along Px̃ (von Mises–Fisher), and the error R² less its mean square."""
    turns = np.arange(128) * np.pi / 64
    unit = np.array([[1.0], [-1.0]]) if rank == 1 else np.stack([np.cos(turns), np.sin(turns)], 1)
    z = np.linspace(-8, 8, 81)
    grid = np.stack(np.meshgrid(*[z] * rank), axis=-1).reshape(-1, rank)
    weights = np.exp(-np.sum(grid**2, axis=1) / 2)
    query = radius * unit[0] + jnp.sqrt(noise) * grid
    mean = radius * jax.nn.softmax(radius * query @ unit.T / noise, axis=1) @ unit
    found = radius**2 - jnp.dot(weights / weights.sum(), jnp.sum(mean**2, axis=1))
    return equal(found, theory.sphere_bayes(rank, radius, noise), 1e-8)


@sphere.second_route
def _(radius, noise, rank):
    z = np.linspace(-8, 8, 161)
    grid = np.stack(np.meshgrid(*[z] * rank), axis=-1).reshape(-1, rank)
    weights = np.exp(-np.sum(grid**2, axis=1) / 2)
    query = noise**0.5 * grid + radius * np.eye(rank)[0]
    length = np.sqrt(np.sum(query**2, axis=1))
    x, nu = radius * length / noise, rank / 2 - 1
    along = special.ive(nu + 1, x) / special.ive(nu, x) * query[:, 0] / length
    return equal(
        radius**2 * (1 - np.average(along, weights=weights)), loops.sphere_bayes(rank, radius, noise), 1e-8
    )


@statement(
    "denoising.one-step",
    "one step of attention is Bayes in a long context",
    where="Slides p. 5 (Smart, Bietti, Sengupta 2025)",
    corrected="κx̃ + γ Xᵀ softmax(βXx̃) is, as L → ∞, with β = 1/(σ₀² + σ_z²) (linear), 1/σ_z² (sphere), "
    "κ = 0, γ = 1; for clusters β = 1/(s₀ + σ_z²), b = s₀β, γ = 1 − b, κ = b²: there attention alone is too "
    "far by bμ̄, and is Bayes only where s₀ = 0",
    domain={"phase": Uniform(1, 6), "noise": LogUniform(0.3, 3), "variance": LogUniform(0.2, 2)},
    tolerance="rounding",
)
def one_step(phase, noise, variance):
    """The softmax of L → ∞ points is ∇ log E e^{βx·x̃}/β: exponential families tilt. For N(0, σ₀²) it is
    βσ₀²x̃, on the sphere in R³ R(coth κ − 1/κ) along Px̃, for clusters a softmax of μ plus βs₀x̃."""
    rows = jnp.cos(phase * jnp.arange(1.0, 26.0) ** 2).reshape(5, 5)
    query, basis = rows[0], jnp.linalg.qr(rows[1:4].T)[0]
    centres = rows[1:] / jnp.sqrt(jnp.sum(rows[1:] ** 2, axis=1, keepdims=True))
    cases = (
        (
            LinearManifold(5, 3, variance),
            basis,
            lambda y: variance * jnp.sum((basis.T @ y) ** 2) / 2,
        ),
        (
            Sphere(5, 3, 2.0),
            basis,
            lambda y: _log_sinhc(2 * jnp.sqrt(jnp.sum((basis.T @ y) ** 2))),
        ),
        (
            Clusters(5, 4, 1.0, variance),
            centres,
            lambda y: jax.nn.logsumexp(centres @ y) + variance * jnp.dot(y, y) / 2,
        ),
    )
    near, right, bayes, attended = rounding(2.0, operations=1024), [], [], query
    for law, shared, log in cases:
        beta, keep, gain = law.step(noise)
        attended = jax.grad(log)(beta * query)
        right.append(keep * query + gain * attended)
        bayes.append(law.answer(shared, query, noise))
    b = variance / (variance + noise)
    middle = attended - b * query
    return equal(jnp.stack(right), jnp.stack(bayes), near), equal(attended - bayes[-1], b * middle, near)


def _log_sinhc(x):
    """log(sinh x/x), x > 0."""
    return x + jnp.log(-jnp.expm1(-2 * x) / (2 * x))


@one_step.second_route
def _(phase, noise, variance):
    rows = loops.rows(phase, 5, 5)
    query, subspace = rows[0], rows[1:4]
    centres = rows[1:] / np.linalg.norm(rows[1:], axis=1, keepdims=True)
    inside = subspace.T @ np.linalg.solve(subspace @ subspace.T, subspace @ query)
    size, whole, b = np.linalg.norm(inside), variance + noise, variance / (variance + noise)
    linear = np.linalg.solve(np.eye(5) / variance + np.eye(5) / noise, inside / noise)
    ball = 2 * (1 / np.tanh(2 * size / noise) - noise / (2 * size)) * inside / size
    density = np.exp(-np.sum((query - centres) ** 2, axis=1) / (2 * whole))
    parts = (noise * centres + variance * query) / whole
    tilt = np.exp(centres @ query / whole)
    attended = tilt @ centres / tilt.sum() + b * query
    middle, told = tilt @ centres / tilt.sum(), density @ parts / density.sum()
    near = rounding(2.0, operations=1024)
    found = np.stack([b * inside, ball, b**2 * query + (1 - b) * attended])
    return equal(found, np.stack([linear, ball, told]), near), equal(attended - told, b * middle, near)
