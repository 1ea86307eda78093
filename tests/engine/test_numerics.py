"""One root finder and one minimiser, against NumPy and SciPy."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import optimize

import helpers
from assocmem_jax.numerics import special, symmetric
from assocmem_jax.numerics.minimise import minimum
from assocmem_jax.numerics.roots import bracketed


def test_a_root_from_either_side_and_its_derivative():
    """x³ + x = a, rising, and with the bracket turned round; dx/da = 1/(3x² + 1) at the root, twice."""
    a = jnp.array([-7.0, 0.3, 1e4])
    up = lambda a: bracketed(lambda x: x**3 + x - a, jnp.full(3, -50.0), jnp.full(3, 50.0))  # noqa: E731
    down = lambda a: bracketed(lambda x: a - x**3 - x, jnp.full(3, 50.0), jnp.full(3, -50.0))  # noqa: E731
    wanted = [np.roots([1, 0, 1, -v]) for v in np.asarray(a)]
    wanted = np.array([r[np.abs(r.imag) < 1e-9][0].real for r in wanted])
    for find in (up, down):
        np.testing.assert_allclose(find(a), wanted, rtol=1e-13)
        slope = jax.jvp(find, (a,), (jnp.ones(3),))[1]
        np.testing.assert_allclose(slope, 1 / (3 * wanted**2 + 1), rtol=1e-12)
        back = jax.grad(lambda a, find=find: jnp.sum(find(a)))(a)
        np.testing.assert_allclose(back, slope, rtol=1e-13)


def test_a_root_where_nothing_moves_has_derivative_zero():
    """At the end of its bracket the residual of a flow's time is infinite: no NaN reaches the gradient."""
    find = lambda t: bracketed(lambda x: -jnp.log1p(-x) - t, jnp.zeros(()), jnp.ones(()))  # noqa: E731
    np.testing.assert_allclose(find(0.5), 1 - np.exp(-0.5), rtol=1e-14)
    np.testing.assert_allclose(jax.grad(find)(0.5), np.exp(-0.5), rtol=1e-12)
    assert np.isfinite(jax.grad(find)(800.0))


def test_a_minimum_against_scipy_and_along_what_is_not_seen():
    """Logistic losses far from the start; a direction that the function does not see keeps its coordinate."""
    rng = np.random.default_rng(0)
    for scale in (1.0, 30.0):
        rows = rng.normal(size=(40, 3)) / scale
        labels = np.where(rng.uniform(size=40) < 0.7, 1.0, -1.0)
        loss = lambda x, A=rows, y=labels: jnp.mean(jax.nn.softplus(-y * (A @ x[:3])))  # noqa: E731
        found = minimum(jax.grad(loss), jax.hessian(loss), jnp.array([0.0, 0.0, 0.0, 5.0]), 200)
        value = lambda x, A=rows, y=labels: np.mean(np.logaddexp(0, -y * (A @ x)))  # noqa: E731
        there = optimize.minimize(value, np.zeros(3), method="BFGS", options={"gtol": 1e-10}).x
        np.testing.assert_allclose(found[:3], there, atol=1e-4 * scale)
        assert np.abs(jax.grad(loss)(found)).max() < 1e-14
        assert found[3] == 5.0


def test_a_minimum_is_reached_where_a_whole_newton_step_flies_off():
    """√(1 + x²) from 3: Newton alone goes to −27."""
    loss = lambda x: jnp.sum(jnp.sqrt(1 + x**2))  # noqa: E731
    found = jax.jit(minimum, static_argnums=(0, 1))(jax.grad(loss), jax.hessian(loss), jnp.array([3.0]))
    assert abs(float(found[0])) < 1e-12


def symmetric_matrices(n, count, seed=0):
    """Of spectra from flat to steep, of full and of low rank, some of them negative definite or tiny."""
    rng = np.random.default_rng(seed)
    turns = np.linalg.qr(rng.normal(size=(count, n, n)))[0]
    values = np.exp(-rng.uniform(0, 4, (count, 1)) * rng.uniform(0, 3, (count, n)))
    values = np.where(rng.uniform(size=(count, n)) < 0.3, 0, values)
    values *= np.array([1, -1, 1e-30])[np.arange(count) % 3, None]
    return np.einsum("bij,bj,bkj->bik", turns, values, turns)


def top_values(matrices):
    """vᵀAv of the unit vectors found, beside NumPy's largest eigenvalues."""
    v = np.asarray(jax.jit(jax.vmap(symmetric.top_vector))(jnp.asarray(matrices)))
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1, rtol=1e-12)
    return np.einsum("bi,bij,bj->b", v, matrices, v), np.linalg.eigvalsh(matrices)[:, -1]


def test_top_vectors_of_many():
    """λ is off by no more than the residual; sizes on both sides of the steps and of LAPACK."""
    for n, count in ((1, 3), (2, 9), (9, 70), (25, 130), (33, 5)):
        matrices = symmetric_matrices(n, count)
        found, expected = top_values(matrices)
        assert (np.abs(found - expected) <= 1e-10 * np.abs(matrices).max(axis=(1, 2))).all()
    special = np.stack([np.eye(9), np.ones((9, 9)), np.zeros((9, 9)), np.diag([1 / 16] * 4 + [0.0] * 5)])
    np.testing.assert_allclose(*top_values(special), rtol=1e-10, atol=1e-15)


def test_a_top_vector_does_not_depend_on_its_neighbours():
    """To the bit; beside one that is not finite, which has none."""
    matrices = symmetric_matrices(25, 48)[::3]
    find = jax.jit(jax.vmap(symmetric.top_vector))
    alike = np.concatenate([matrices[:4], np.full((4, 25, 25), np.nan), matrices[8:]])
    first, second = np.asarray(find(matrices)), np.asarray(find(alike))
    np.testing.assert_array_equal(second[[*range(4), *range(8, 16)]], first[[*range(4), *range(8, 16)]])
    assert np.isnan(second[4:8]).all()


def test_most_top_vectors_need_no_lapack():
    """Or nothing is gained: of random ones all are found within the cycles."""
    matrices = jnp.asarray(np.moveaxis(symmetric_matrices(25, 64), 0, -1))
    assert np.mean(symmetric._lanes(matrices)[1]) > 0.95


def test_top_vectors_in_float32():
    helpers.run_python("""
import jax, numpy as np
from assocmem_jax.numerics.symmetric import top_vector
rng = np.random.default_rng(0)
b = rng.normal(size=(100, 20, 12)).astype(np.float32)
a = b @ np.swapaxes(b, 1, 2)
v = np.asarray(jax.jit(jax.vmap(top_vector))(a))
assert v.dtype == np.float32
value = np.einsum("bi,bij,bj->b", v, a, v) / np.sum(v**2, axis=1)
np.testing.assert_allclose(value, np.linalg.eigvalsh(a.astype(float))[:, -1], rtol=1e-5)
    """)


@pytest.mark.thorough
def test_top_vectors_of_few_directions_in_float32():
    """The recurrence grows by 1/ε for each of the others, beyond what float32 holds; none goes to LAPACK.

    Nor is a matrix of whose size 1/size is subnormal taken for zero.
    """
    helpers.run_python("""
import jax, jax.numpy as jnp, numpy as np
from assocmem_jax.numerics import symmetric
rng = np.random.default_rng(0)
for n, rank in ((5, 2), (9, 3), (16, 4), (25, 10)):
    b = rng.normal(size=(3000, n, rank))
    a = (b @ np.swapaxes(b, 1, 2)).astype(np.float32)
    assert np.mean(symmetric._lanes(jnp.moveaxis(jnp.asarray(a), 0, -1))[1]) > 0.999
    for scale in (1, 1.5e38):
        a = np.float32(scale) * (a / np.abs(a).max(axis=(1, 2), keepdims=True))
        v = np.asarray(jax.jit(jax.vmap(symmetric.top_vector))(a), float)
        np.testing.assert_allclose(np.sum(v**2, axis=1), 1, rtol=1e-5)
        value = np.einsum("bi,bij,bj->b", v, a.astype(float), v)
        np.testing.assert_allclose(value, np.linalg.eigvalsh(a.astype(float))[:, -1], rtol=1e-5)
    """)


def test_laws_of_large_counts(rounding):
    """Against mpmath: an exponent of 18 at six deviations, and JAX's own log Γ and erf, are in it."""
    with mpmath.workdps(40):
        log = lambda x: mpmath.loggamma(mpmath.mpf(float(x)) + 1)  # noqa: E731
        for n, p in ((10, 0.25), (2**20, 0.25), (2**20, 2.0**-10), (2**20, 2.0**-30), (3, 1.0), (3, 0.0)):
            middle, width = n * p, (n * p * (1 - p)) ** 0.5
            k = np.unique(np.clip(np.round(middle + width * np.linspace(-6, 6, 13)), 0, n))
            exact = [
                mpmath.exp(log(n) - log(i) - log(n - i))
                * mpmath.mpf(p) ** int(i)
                * mpmath.mpf(1 - p) ** int(n - i)
                for i in k
            ]
            np.testing.assert_allclose(special.binomial(n, k, p), np.array(exact, float), rtol=100 * rounding)
        assert not np.any(special.binomial(4, np.array([-1, 5]), 0.5))
        for mean in (2.0**-10, 3.0, 2.0**17):
            k = np.unique(np.maximum(np.round(mean + mean**0.5 * np.linspace(-6, 6, 13)), 0))
            exact = [mpmath.exp(int(i) * mpmath.log(mean) - mean - log(i)) for i in k]
            np.testing.assert_allclose(special.poisson(mean, k), np.array(exact, float), rtol=40 * rounding)
        x = np.linspace(-8, 8, 65)
        exact = np.array([mpmath.log(mpmath.ncdf(v)) for v in x], float)
        found = np.asarray(special.log_cdf(jnp.asarray(x, float)), float)
        assert (np.abs(found / exact - 1) <= (100 + x**2) * rounding).all()


def test_growth_from_starts_that_floats_do_not_hold(rounding):
    """e^{l + δ} − e^l + kδ = x by bisection in 400 digits, where rounding of l itself moves it too."""
    with mpmath.workdps(400):
        for start in (-800, -120, -40, -3, 0, 3, 39, 41, 100, 600):
            for x in (2.0**-20, 1, 50, 250, 2.0**17):
                for k in (1, 9):
                    low, high = mpmath.mpf(0), mpmath.mpf(x) / k
                    for _ in range(200):
                        middle = (low + high) / 2
                        off = mpmath.exp(start) * mpmath.expm1(middle) + k * middle - x
                        low, high = (middle, high) if off <= 0 else (low, middle)
                    found = float(special.growth_from(float(x), float(start), float(k)))
                    assert found == pytest.approx(float(low), rel=16 * rounding, abs=1e-37), (start, x, k)


def test_lanczos_in_float32_leaves_the_second_eigenvalue():
    """Of 100 random matrices the one at which r²/gap alone ended .55 % low, on the second."""
    helpers.run_python("""
import jax.numpy as jnp, numpy as np
from assocmem_jax import lanczos_top
a = np.random.default_rng(4).normal(size=(100, 150, 150)).astype(np.float32)[38]
top = lanczos_top(lambda v: a @ (a.T @ v), 150, jnp.float32)
wanted = np.linalg.eigvalsh(a.astype(float) @ a.T.astype(float))[-1]
assert top.converged and abs(float(top.value) / wanted - 1) < 1e-5, (top.value, wanted)
    """)
