"""λ(y), the root of e^m + m = y, the two real branches of Lambert's W, and laws that do not cancel.

The first are not in JAX. Derivatives are exact (``custom_jvp``), of all orders.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, log_ndtr, ndtr, xlogy
from jaxtyping import Array, Float

Real = Float[Array, "..."]


def _float(x) -> Array:
    return jnp.asarray(x, jnp.result_type(x, float) if not hasattr(x, "dtype") else None)


@jax.custom_jvp
def _lam(y: Array) -> Array:
    # From above for y ≥ 1: log y ≥ λ(y), and e^m + m is convex, so Newton descends monotonically.
    m = jnp.where(y >= 1, jnp.log(jnp.maximum(y, 1)), y)
    for _ in range(6):
        e = jnp.exp(m)
        m = m - (e + (m - y)) / (1 + e)
    return jnp.where(y == jnp.inf, jnp.inf, m)


@_lam.defjvp
def _(primals, tangents):
    (y,), (dy,) = primals, tangents
    m = _lam(y)
    return m, jax.nn.sigmoid(-m) * dy


def lam(y) -> Real:
    """λ(y): the real m with e^m + m = y, for all real y; the logarithm of Wright's omega.

    GD (29) writes it as y − W₀(e^y), which overflows in floats from y ≈ 710 and loses digits long
    before (docs/theory.md: gd.7). Error below 1e-15·max(1, |m|) in float64 for y in [−800, 1e300].
    λ'(y) = 1/(1 + e^m).
    """
    return _lam(_float(y))


def exponential_root(y, k) -> Real:
    """The real m with e^m + k m = y, k > 0: log k + λ(y/k − log k)."""
    y, k = _float(y), _float(k)
    return jnp.log(k) + lam(y / k - jnp.log(k))


def growth(x, a: Any = 1.0, k: Any = 1.0) -> Real:
    """The δ with a (e^δ − 1) + k δ = x, a, k > 0: how far a margin has moved.

    ``log(k/a) + λ(x/k + a/k − log(k/a))``, then two Newton steps on the equation as written, so that
    small moves keep full relative precision (1 + x does not, for x far below 1).
    """
    x, a, k = _float(x), _float(a), _float(k)
    shift = jnp.log(k / a)
    delta = shift + lam((x + a) / k - shift)
    for _ in range(2):
        # Divided by e^δ where that is large, so that nothing overflows.
        small = jnp.minimum(delta, 0)
        scale = jnp.exp(-jnp.maximum(delta, 0))
        residual = a * (jnp.exp(small) - scale) + (k * delta - x) * scale
        residual = jnp.where(jnp.abs(delta) < 1, (a * jnp.expm1(delta) + k * delta - x) * scale, residual)
        delta = delta - residual / (a * jnp.exp(small) + k * scale)
    return delta


def growth_from(x, start, k: Any = 1.0) -> Real:
    """The same for a = e^start, which floats need not hold."""
    x, start, k = jnp.broadcast_arrays(_float(x), _float(start), _float(k))
    shift = jnp.log(k) - start
    near = jnp.minimum(start, 40)  # beyond, e^δ alone moves: k δ is less than the rounding of x
    delta = jnp.where(
        start < 40,
        shift + lam(x / k + jnp.exp(near) / k - shift),
        jnp.log1p(x * jnp.exp(-start / 2) * jnp.exp(-start / 2)),
    )
    for _ in range(2):
        top = jnp.maximum(start + jnp.maximum(delta, 0), 0)
        grown, before, rest = jnp.exp(start + delta - top), jnp.exp(start - top), jnp.exp(-top / 2)
        moved = jnp.where(jnp.abs(delta) < 1, before * jnp.expm1(delta), grown - before)
        delta = delta - (moved + (k * delta - x) * rest * rest) / (grown + k * rest * rest)
    return delta


def _halley(w: Array, x: Array, steps: int) -> Array:
    """Halley's iteration on w e^w = x; where w is −1 it stays."""
    for _ in range(steps):
        e = jnp.exp(w)
        f = w * e - x
        near = jnp.abs(w + 1) < 1e-150
        slope = jnp.where(near, 1, e * (w + 1) - (w + 2) * f / jnp.where(near, 1, 2 * w + 2))
        w = jnp.where(near | (slope == 0), w, w - f / jnp.where(slope == 0, 1, slope))
    return w


def _branch_start(x: Array, sign: float) -> tuple[Array, Array]:
    """The series of W at −1/e in p = ±√(2(1 + e x)); and 1 + e x, computed without cancellation."""
    if x.dtype == jnp.float64:
        # e = e1 + e2 + e3 and x = x1 + x2, short enough that e1·x1 and 1 + e1·x1 are exact.
        e1, e2, e3 = 2.7182818055152893, 2.294375592871966e-08, 1.113147273821939e-24
        # Not a conversion to float32 and back, which XLA may leave out (on a card it does).
        x1 = jax.lax.reduce_precision(x, 11, 23)
        x2 = x - x1
        gap = (1 + e1 * x1) + (e1 * x2 + e2 * x1) + (e2 * x2 + e3 * x)
    else:
        gap = (1 + jnp.asarray(jnp.e, x.dtype) * x) + jnp.asarray(8.2548404e-08, x.dtype) * x
    p = sign * jnp.sqrt(2 * jnp.maximum(gap, 0))
    tail = 11 / 72 + p * (-43 / 540 + p * (769 / 17280 - p * 221 / 8505))
    return -1 + p * (1 + p * (-1 / 3 + p * tail)), gap


def _slope(w: Array, x: Array) -> Array:
    """W'(x) = e^{−W}/(1 + W); infinite at the branch point."""
    return jnp.exp(-w) / (1 + w)


@jax.custom_jvp
def _w0(x: Array) -> Array:
    series, gap = _branch_start(x, 1.0)
    big = jnp.maximum(x, 1)
    log = jnp.log(big)
    # Beyond 3, W = e^{λ(log x)}, since w + log w = log x: it cannot overflow.
    start = jnp.where(x < -0.3, series, jnp.log1p(jnp.maximum(x, -0.3)))
    safe = jnp.where((x > 3) | (gap < 0), 0.5, x)
    w = _halley(jnp.where(x > 3, 0.35, start), safe, 6)
    w_big = jnp.exp(_lam(log))
    w = jnp.where(x > 3, w_big, w)
    w = jnp.where(jnp.abs(gap) < 3e-5, series, w)
    return jnp.where(gap < -4 * jnp.finfo(x.dtype).eps, jnp.nan, jnp.where(x == jnp.inf, jnp.inf, w))


@_w0.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    w = _w0(x)
    return w, _slope(w, x) * dx


def lambert_w0(x) -> Real:
    """W₀(x): the root w ≥ −1 of w e^w = x, for x ≥ −1/e; NaN below. W₀' = e^{−W}/(1 + W)."""
    return _w0(_float(x))


@jax.custom_jvp
def _wm1(x: Array) -> Array:
    series, gap = _branch_start(x, -1.0)
    inside = (x < 0) & (gap >= -4 * jnp.finfo(x.dtype).eps)
    safe = jnp.where(inside, x, -0.2)
    # w = −1 − √(2u) − u·…, u = −1 − log(−x): within 1% on the whole branch (Chatzigeorgiou 2013).
    u = jnp.maximum(-1 - jnp.log(-safe), 0)
    start = -1 - jnp.sqrt(2 * u) - u * 5 / 6
    # Newton on w + log(−w) = log(−x), which cannot underflow.
    w = jnp.minimum(start, -1 - 1e-12)
    for _ in range(6):
        w = w - (w + jnp.log(-w) - jnp.log(-safe)) / (1 + 1 / w)
        w = jnp.minimum(w, -1 - 1e-12)
    w = jnp.where(safe < -0.3, _halley(series, safe, 6), w)
    w = jnp.where(jnp.abs(gap) < 3e-5, series, w)
    return jnp.where(inside, w, jnp.nan)


@_wm1.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    w = _wm1(x)
    return w, _slope(w, x) * dx


def lambert_wm1(x) -> Real:
    """W₋₁(x): the root w ≤ −1 of w e^w = x, for −1/e ≤ x < 0; NaN outside."""
    return _wm1(_float(x))


def log1p_ratio(y, r) -> Real:
    """−log(1 − r y)/r, and y where r is 0."""
    z = r * y
    small = jnp.abs(z) < 1e-5
    return y * jnp.where(small, 1 + z / 2 + z**2 / 3, -jnp.log1p(-z) / jnp.where(small, 1, z))


# --- Laws that do not cancel ------------------------------------------------------------------------


def log_cdf(x) -> Real:
    """log Φ(x), to its own precision on both sides: Φ^n of large n is e^{n log Φ}."""
    above = jnp.log1p(-ndtr(-jnp.abs(x)))
    return jnp.where(x > 0, above, log_ndtr(x))


def factorial_excess(n) -> Real:
    """log n! − n log n + n, about ½ log 2πn: what is left of log n! where the rest is subtracted by hand."""
    n = _float(n)
    small, large = jnp.minimum(n, 16), jnp.maximum(n, 16)
    y = 1 / large**2
    tail = 1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188)))
    series = jnp.log(2 * jnp.pi * large) / 2 + tail / large
    return jnp.where(n < 16, gammaln(small + 1) - xlogy(small, small) + small, series)


def _apart(k, mean) -> Real:
    """k log(k/mean) − k + mean ≥ 0: what a count of k loses in log-probability to one at its mean."""
    some, usual = jnp.where(k > 0, k, 1), jnp.where(k > 0, mean, 1)
    off = (some - usual) / (some + usual)  # log(k/mean) is 2 artanh of it
    near = jnp.abs(off) < 0.1
    series = jnp.polyval(jnp.asarray([1 / (2 * j + 1) for j in range(8, 0, -1)], off.dtype), off**2)
    close = (some - usual) * off + 2 * some * off**3 * series
    far = some * jnp.log(some / jnp.where(near, 1, usual)) - (some - usual)
    return jnp.where(k > 0, jnp.where(near, close, far), mean)


def binomial(n, k, p) -> Real:
    """P(Bin(n, p) = k), by Loader's deviances: factorials of large n cancel in floats."""
    n, k, p = _float(n), _float(k), _float(p)
    inside = jnp.clip(k, 0, n)
    log = factorial_excess(n) - factorial_excess(inside) - factorial_excess(n - inside)
    log = log - _apart(inside, n * p) - _apart(n - inside, n * (1 - p))
    return jnp.where(k == inside, jnp.exp(log), 0)


def poisson(mean, k) -> Real:
    """P(Poisson(mean) = k)."""
    k = _float(k)
    return jnp.exp(-factorial_excess(k) - _apart(k, mean))


# Orders above the asked one at which the recurrence starts; it forgets its start like Π A².
_ORDERS = 128


def bessel_ratio(order, x) -> Real:
    """A_ν(x) = I_{ν+1}(x)/I_ν(x) of modified Bessel functions, for ν ≥ −1/2 and x ≥ 0; below 1.

    A_{μ−1} = x/(2μ + x A_μ) downwards from μ = ν + 128, where A is taken to second order from its equation
    A' = 1 − (2μ + 1)A/x − A². Relative error below 2e-11 in
    float64, to x = 1e5; derivatives by the same recurrence.
    """
    nu, x = _float(order), _float(x)
    a = nu + _ORDERS + 0.5
    s = jnp.sqrt(a**2 + x**2)
    start = x / (s + a) * (1 - a / (2 * s**2))
    step = lambda k, A: x / (2 * (nu + _ORDERS - k) + x * A)  # noqa: E731
    return jax.lax.fori_loop(0, _ORDERS, step, start)
