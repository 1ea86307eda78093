"""One root finder and one minimiser, against NumPy and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

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
