"""Closed forms against mpmath, SciPy, their own differential equations, and planted misprints."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from assocmem_jax import theory


def root_of(y):
    """e^m + m = y by bisection in 60 digits."""
    with mpmath.workdps(60):
        y = mpmath.mpf(float(y))
        low, high = min(y, mpmath.mpf(0)) - 1, mpmath.log(max(y, 2)) + 1
        high = max(high, y) if y < 1 else high
        for _ in range(260):
            middle = (low + high) / 2
            low, high = (middle, high) if mpmath.exp(middle) + middle < y else (low, middle)
        return low


def test_lam_on_its_whole_range():
    ys = np.concatenate(
        [np.linspace(-800, 10, 60), np.logspace(-12, 300, 60), [1.0, 0.0, np.e, 709.0, 711.0]]
    )
    found = np.asarray(theory.lam(ys))
    for y, m in zip(ys, found):
        expected = root_of(y)
        assert abs(mpmath.mpf(float(m)) - expected) <= 1e-15 * max(1, abs(expected))
    # The product-log form that GD (29) prints has lost it here (gd.7).
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(711 - float(np.exp(711.0)))
    assert np.isnan(theory.lam(np.nan))
    assert theory.lam(np.inf) == np.inf


@pytest.mark.parametrize("y", [-30.0, -1.0, 0.0, 1.0, 5.0, 1e6])
def test_lam_derivatives(y):
    m = float(theory.lam(y))
    assert float(jax.grad(theory.lam)(y)) == pytest.approx(1 / (1 + np.exp(m)), rel=1e-14)
    e = np.exp(m)
    assert float(jax.grad(jax.grad(theory.lam))(y)) == pytest.approx(-e / (1 + e) ** 3, rel=1e-12)


def test_lambert_branches():
    near = -1 / np.e + np.logspace(-16, -1.2, 40)
    for branch, function, xs in (
        (0, theory.lambert_w0, np.concatenate([near, np.linspace(-0.3, 4, 30), np.logspace(0, 300, 30)])),
        (-1, theory.lambert_wm1, np.concatenate([near, -np.logspace(-300, -0.6, 50)])),
    ):
        found = np.asarray(jax.jit(function)(xs))
        with mpmath.workdps(60):
            expected = [mpmath.lambertw(mpmath.mpf(float(x)), branch).real for x in xs]
        for x, w, exact in zip(xs, found, expected):
            assert abs(mpmath.mpf(float(w)) - exact) <= 5e-14 * abs(exact), x
        slope = jax.jit(jax.vmap(jax.grad(function)))(xs[5:])
        np.testing.assert_allclose(slope, np.exp(-found[5:]) / (1 + found[5:]), rtol=1e-12)
    for x in (-0.37, -1.0, np.nan):
        assert np.isnan(theory.lambert_w0(x))
    for x in (-0.37, 0.0, 0.1, np.nan):
        assert np.isnan(theory.lambert_wm1(x))
    assert float(jax.grad(theory.lambert_w0)(0.0)) == 1
    h = 1e-6
    central = (float(theory.lambert_w0(0.5 + h)) - float(theory.lambert_w0(0.5 - h))) / (2 * h)
    assert float(jax.grad(theory.lambert_w0)(0.5)) == pytest.approx(central, rel=1e-9)


def test_growth_and_exponential_root():
    rng = np.random.default_rng(0)
    for _ in range(60):
        a, k, x = 10 ** rng.uniform(-3, 3), rng.integers(1, 9), 10 ** rng.uniform(-14, 14)
        delta = float(theory.growth(x, a, float(k)))
        with mpmath.workdps(50):
            d = mpmath.mpf(delta)
            residual = a * mpmath.expm1(d) + int(k) * d - mpmath.mpf(float(x))
            error = residual / (a * mpmath.exp(d) + int(k))
        assert abs(error) <= 2e-14 * abs(delta)
        m = float(theory.exponential_root(x, float(k)))
        assert np.exp(m) + k * m == pytest.approx(x, rel=1e-12, abs=1e-13)


def check_ode(solution, velocity, ts, rtol=1e-7):
    """d(solution)/dt by autodiff equals the velocity at the solution."""
    both = jax.jit(lambda t: jax.jvp(solution, (t,), (jnp.ones(()),)))
    for t in ts:
        value, slope = both(jnp.asarray(t))
        np.testing.assert_allclose(slope, velocity(value), rtol=rtol)


def test_binary_closed_forms_satisfy_their_equation():
    c, m0 = 1.7, -2.0
    solution = lambda t: theory.orthogonal.binary_margin(t, c, m0)  # noqa: E731
    assert float(solution(0.0)) == m0
    check_ode(solution, lambda m: c / (1 + jnp.exp(m)), [0.0, 0.3, 40.0, 1e8], 1e-12)
    assert float(theory.orthogonal.binary_time(solution(12.3), c, m0)) == pytest.approx(12.3, rel=1e-13)
    # GD (29) as printed, where floats allow it.
    y = c * 2.0 + np.exp(m0) + m0
    assert float(solution(2.0)) == pytest.approx(y - float(mpmath.lambertw(mpmath.exp(y)).real), rel=1e-13)


@pytest.mark.thorough
def test_multiclass_closed_forms_satisfy_their_equations():
    kappa, m = 0.8, 5
    solution = lambda t: theory.orthogonal.multiclass_margin(t, kappa, m)  # noqa: E731
    check_ode(solution, lambda v: m * kappa / (jnp.exp(v) + m - 1), [0.0, 1.0, 1e6], 1e-12)
    w0 = jnp.array([0.3, -1.0, 2.0, 0.5])

    def scores(t):
        return theory.orthogonal.multiclass_scores(t, kappa, w0, 2)

    def velocity(w):
        return kappa * (jnp.eye(4)[2] - jax.nn.softmax(w))

    check_ode(scores, velocity, [0.1, 3.0, 1e5], 1e-9)
    np.testing.assert_allclose(scores(0.0), w0, atol=1e-12)
    total, gaps = theory.orthogonal.multiclass_invariants(
        jax.vmap(scores)(jnp.array([0.0, 1.0, 50.0])), np.ones(4), 2
    )
    np.testing.assert_allclose(total, total[0], rtol=1e-12)
    np.testing.assert_allclose(gaps, np.tile(gaps[0], (3, 1)), atol=1e-12)
    level = theory.orthogonal.multiclass_scores(7.0, kappa, jnp.zeros(4), 2)
    expected = theory.orthogonal.multiclass_margin(7.0, kappa, 4)
    np.testing.assert_allclose(level[2] - level[0], expected, rtol=1e-12)
    n, kd = 4, 0.3
    check_ode(
        lambda t: theory.equicorrelated.margin(t, n, kd),
        lambda v: kd / (jnp.exp(v) + n - 1),
        [0.0, 2.0, 1e7],
        1e-12,
    )


def test_invariants_need_the_norms():
    """Row 11: orthogonal u of norms² (1, 1, 4); corrected invariants hold, the printed one drifts."""
    squares = np.array([1.0, 1.0, 4.0])

    def field(t, w):
        e = np.exp(w - w.max())
        return squares * (np.eye(3)[0] - e / e.sum())

    w = solve_ivp(field, (0, 1), np.zeros(3), rtol=1e-12, atol=1e-14).y.T
    total, gaps = theory.orthogonal.multiclass_invariants(w, np.sqrt(squares), 0)
    np.testing.assert_allclose(total, 0, atol=1e-10)
    np.testing.assert_allclose(gaps, np.tile(gaps[0], (len(w), 1)), atol=1e-10)
    printed = np.exp(-w[:, 1]) - np.exp(-w[:, 2])
    assert printed[-1] == pytest.approx(-1.062, abs=5e-4)


def test_soft_labels_satisfy_their_equation():
    q, c = 0.7, 1.3
    for m0 in (-4.0, 0.0, 3.0):
        solution = lambda t, m0=m0: theory.soft_labels.margin(t, q, c, m0)  # noqa: E731
        check_ode(solution, lambda m: c * (q - jax.nn.sigmoid(m)), [0.05, 1.0, 8.0], 1e-8)
    assert float(theory.soft_labels.minimum(q)) == pytest.approx(np.log(7 / 3))
    assert float(theory.soft_labels.curvature(q, c)) == pytest.approx(c * 0.21)


def test_two_particles_equations_agree():
    """γ of (18) and margins of (17) are one system; the printed (19) is twice too fast (gd.15)."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        gamma, p1, alpha, c = rng.normal(size=2), rng.uniform(0.5, 1), rng.uniform(-1, 1), rng.uniform(0.5, 3)
        m = jnp.array([gamma[0] + gamma[1], gamma[1] - gamma[0]])
        dm = theory.two_particles.margin_velocity(m, p1, alpha, c)
        dg = theory.two_particles.velocity(jnp.asarray(gamma), p1, alpha, c)
        np.testing.assert_allclose(dg, [(dm[0] - dm[1]) / 2, (dm[0] + dm[1]) / 2], rtol=1e-12, atol=1e-15)
        printed = (1 - alpha) * (p1 / (1 + np.exp(m[0])) + (1 - p1) / (1 + np.exp(m[1]))) * c
        assert float(dg[1]) == pytest.approx(printed / 2, rel=1e-12)


def test_constants():
    m = mpmath.findroot(
        lambda m: mpmath.diff(lambda v: (mpmath.e**v + v - 1) * mpmath.log1p(mpmath.e**-v), m), 2.5
    )
    best = (mpmath.e**m + m - 1) * mpmath.log1p(mpmath.e**-m)
    assert pytest.approx(float(best), rel=1e-15) == theory.orthogonal.LOSS_CONSTANT
    np.testing.assert_allclose(theory.forgetting.stationarity(theory.forgetting.MINIMISER), 0, atol=1e-15)


@pytest.mark.thorough
def test_printed_theorem_2_is_false_and_ours_holds():
    """gd.8, gd.9: the descent bound and the loss bound fail where docs/theory.md says they do."""
    # Margin bound: fails at t = 1 iff ηc < 2.5129.
    for a, fails in ((2.512, True), (2.513, False)):
        assert bool(a / 2 < np.log(a + 1)) is fails
    ct = np.logspace(-2, 4, 4000)
    loss = np.log1p(np.exp(-np.asarray(theory.orthogonal.binary_margin(ct, 1.0))))
    crossed = ct[loss > 1 / ct]
    assert crossed[0] == pytest.approx(4.889, rel=3e-3)
    assert ct[np.argmax(loss * ct)] == pytest.approx(14.03, rel=5e-3)
    assert (loss <= theory.orthogonal.binary_loss_rate(ct, jnp.ones(1), jnp.ones(1)) * (1 + 1e-14)).all()
    np.testing.assert_allclose(
        loss, theory.orthogonal.binary_loss_upper(ct, jnp.ones(1), jnp.ones(1)), rtol=1e-12
    )
    m, worst = 0.0, 0.0
    for t in range(1, 400):
        m += 1 / (1 + np.exp(m))
        worst = max(worst, t * np.log1p(np.exp(-m)))
        assert m >= float(theory.orthogonal.binary_descent_lower(t, 1.0)) - 1e-12
        assert m <= float(theory.orthogonal.binary_descent_upper(t, 1.0, 1.0)) + 1e-12
    assert worst == pytest.approx(1.0158, abs=2e-4)
    gap = theory.orthogonal.logarithm_gap(ct)
    np.testing.assert_allclose(gap, np.log(ct) - np.asarray(theory.lam(ct)), atol=1e-14)
    assert float(theory.orthogonal.logarithm_gap(0.5)) == pytest.approx(-0.427, abs=5e-4)
    assert float(theory.orthogonal.logarithm_gap(1 + np.e)) == pytest.approx(np.log(1 + 1 / np.e), rel=1e-12)


@pytest.mark.parametrize("a", [0.01, 0.1, 0.4, 1.0])
def test_the_bracket_of_descent_is_tight_at_its_first_step(a):
    """From 0, m₁ = a/2. In y = e^m + m the lower bound is low by a²/8 + O(a³), the upper one high by a³/24.

    e^{a/2} − 1 − a/2 = Σ_{k≥2} (a/2)^k/k!, of which the upper bound a + a² e^{a/2}/8 keeps more by
    Σ_{k≥3} (a/2)^k (k(k−1)/2 − 1)/k!; its terms after the first are at most those of a³/24 e^{a/2}.
    """
    y = lambda m: np.expm1(float(m)) + float(m)  # noqa: E731
    assert float(theory.orthogonal.binary_step(0.0, a / 1.7, 1.7)) == pytest.approx(a / 2, rel=1e-15)
    above = y(theory.orthogonal.binary_descent_upper(1, a / 1.7, 1.7)) - y(a / 2)
    below = y(a / 2) - y(theory.orthogonal.binary_descent_lower(a / 1.7, 1.7))
    assert a**3 / 24 - 1e-15 <= above <= a**3 / 24 * np.exp(a / 2) + 1e-15
    assert a**2 / 8 - 1e-15 <= below <= a**2 / 8 * np.exp(a / 2) + 1e-15


@pytest.mark.parametrize("rate", [1e-3, 1.0, 30.0, 1e6])
@pytest.mark.parametrize(("p1", "alpha", "c"), [(0.75, 0.95, 3.0), (0.9, 0.2, 0.5)])
def test_the_first_spike_is_as_high_as_its_bound(rate, p1, alpha, c):
    """L(W₁) = Σ p_i log(1 + e^{−m_i}), m₁ > 0 > m₂: above p₂|m₂|, which is the bound, by log 2 at most."""
    m = rate * c / 2 * np.array([p1 - alpha * (1 - p1), (1 - p1) - alpha * p1])
    assert m[0] > 0 > m[1]
    loss = float(np.dot([p1, 1 - p1], np.logaddexp(0, -m)))
    bound = float(theory.two_particles.spike_lower(rate, p1, alpha, c))
    rounding = 8 * np.finfo(float).eps * loss
    assert -rounding <= loss - bound <= np.log(2) + rounding
    assert float(theory.two_particles.first_step_loss(rate, p1, alpha, c)) == pytest.approx(loss, rel=1e-14)


# --- Ends of what floats hold ---------------------------------------------------------------------


def test_margins_from_far_starts(rounding):
    """Of 1 from m₀: 1 further where e^{m₀} is nothing, e^{−m₀} where it is all; both but for some e^{−100}.

    Upper bounds of descent in mpmath, m = log(1 + x − m) of x above e^{200}.
    """
    orthogonal = theory.orthogonal
    for m0 in (100.0, -200.0, 745.0, -745.0):
        moved = 1 if m0 < 0 else np.exp(-m0)
        for found in (
            orthogonal.binary_margin(1.0, 1.0, m0),
            orthogonal.tightest_descent_lower(1.0, 1.0, m0),
        ):
            assert float(found) == pytest.approx(m0 + moved, rel=4 * rounding)
    with mpmath.workdps(40):
        for steps, a in ((10, 400), (1, 79), (1, 81), (10, 3000)):
            m = mpmath.log(steps * (a + mpmath.mpf(a) ** 2 * mpmath.exp(mpmath.mpf(a) / 2) / 8))
            m = mpmath.log(mpmath.exp(m) + 1 - m)
            assert float(orthogonal.binary_descent_upper(steps, float(a), 1.0)) == pytest.approx(
                float(m), rel=4 * rounding
            )
    assert orthogonal.binary_descent_upper(0, 400.0, 1.0) == 0
    firsts = orthogonal.multiclass_descent_upper(
        jnp.array([1, 2, 10]), jnp.array([50.0, 90.0, 1000.0]), 1.0, 5
    )
    np.testing.assert_allclose(firsts, [50, 90, 1000], rtol=4 * rounding)
    # A token that is far from known moves by ηM/(M − 1), of the answer alone by η.
    assert float(orthogonal.multiclass_step(-100.0, 1.0, 1.0, 5)) == -98.75
    assert float(theory.recursion.approximate_step(-100.0, 1.0, 4.0)) == -99


@pytest.mark.parametrize(
    ("start", "label", "t"),
    [((50, 50, 0), 0, 1.0), ((0, -60, 0), 0, 1.0), ((0, 1, 2), 0, 2.0**-10), ((-200, 0, 3), 0, 100.0),
     ((100, 0, -300), 1, 150.0), ((0, 1, 2, -1), 2, 0.0),
     pytest.param(tuple(np.arange(-96, 96) / 32), 7, 20.0, marks=pytest.mark.thorough)],
)  # fmt: skip
def test_scores_from_far_starts(rounding, start, label, t):
    """Of one token, by SciPy's DOP853 to 1e-11; rounding of the scores themselves is in it."""
    own = np.eye(len(start))[label]

    def field(_, w):
        e = np.exp(w - w.max())
        return own - e / e.sum()

    start = np.array(start, float)
    wanted = solve_ivp(field, (0, t), start, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1] if t else start
    found = theory.orthogonal.multiclass_scores(t, 1.0, jnp.asarray(start, float), label)
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=4 * rounding * (4 + np.abs(start).max()))


def test_soft_labels_up_to_certain_ones(rounding):
    """Time by mpmath's quadrature; q = 1 is the binary margin, q below ½ that of 1 − q turned round."""
    soft = theory.soft_labels
    near = 1 - 2.0**-17
    for t, q, m0 in (
        (1, near, 0),
        (1, 0.75, 60),
        (2, 0.125, 3),
        (3, 1.0, -100),
        (1, 1.0, 0),
        (2, 2.0**-30, 1),
    ):
        found = float(soft.margin(float(t), q, 1.0, float(m0)))
        with mpmath.workdps(30):
            taken = mpmath.quad(lambda m, q=q: 1 / (q - 1 / (1 + mpmath.exp(-m))), [m0, found])
        speed = abs(q - 1 / (1 + np.exp(-found)))
        assert abs(float(taken) - t) * speed <= 16 * rounding * max(1, abs(m0)), (t, q, m0)
    assert float(soft.margin(1.0, 0.0, 1.0)) == -float(soft.margin(1.0, 1.0, 1.0))
    slopes = [float(jax.grad(lambda q: soft.margin(1.0, q, 1.0))(q)) for q in (1 - 2.0**-10, 1.0)]
    assert slopes[0] == pytest.approx(slopes[1], rel=2.0**-10)
    # No cycle, no multiplier but the 1 of its birth.
    np.testing.assert_array_equal(
        soft.balanced_multiplier(soft.balanced_cycle(jnp.array([4.0, 8.0]), 1.0)), 1
    )


def test_no_number_of_steps_suffices_for_what_is_never_drawn():
    found = theory.two_particles.fewest_steps(1.0, jnp.array([0.5, 0.0, -0.5]))
    np.testing.assert_array_equal(found, [-1, -1, 1])
