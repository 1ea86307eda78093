"""When linear attention learns which half of a fact: Slides p. 20–23; Nichani, Lee, Bietti 2025.

From equal entries α of v (docs/theory.md: facts.reduced) subjects and relations are learned apart, each by

    v = α cosh θ, √c x = α sinh θ, so that m = μ v x = ε sinh 2θ, ε = μα²/(2√c), and θ' = μκ√c/(e^m + n − 1),

with n = D, c = R(1 − 1/D), κ = D/(S R) for subjects, n = R, c = D(1 − 1/R), κ = 1/D for relations; μ is how
often the token is in a text. So every time is a quadrature, of any sizes, which need not be whole numbers:

    λ t = θ + (1/n) ∫ (e^m − 1) dθ,  λ = μκ√c/n.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...numerics.roots import bracketed

Real = Float[Array, "..."]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)


class Half(NamedTuple):
    """What is learned apart: n classes, c, κ, and μ mentions in a text."""

    classes: Real
    coupling: Real
    rate: Real
    mentions: Real


def subjects(S, R, D, mentions=1.0) -> Half:
    """Which of the D answers of a relation: learned in the values of subjects."""
    S, R, D, mu = _real(S, R, D, mentions)
    return Half(D, R * (1 - 1 / D), D / (S * R), mu)


def relations(S, R, D, mentions=1.0) -> Half:
    """Which of the R blocks: learned in the values of relations. S does not enter."""
    _, R, D, mu = _real(S, R, D, mentions)
    return Half(R, D * (1 - 1 / R), 1 / D, mu)


def escape_rate(half: Half) -> Real:
    """λ = μκ√c/n, of log m/2 and of log x while m is small: √((1 − 1/D)/R)/S of subjects, √((1 − 1/R)/D)/R of
    relations."""
    return half.mentions * half.rate * jnp.sqrt(half.coupling) / half.classes


def relation_first(S, R, D) -> Float[Array, "..."]:
    """S²(R − 1) − R²(D − 1): as α → 0 relations are learned first iff it is positive (facts.order)."""
    S, R, D = _real(S, R, D)
    return S**2 * (R - 1) - R**2 * (D - 1)


def loss(half: Half, margin) -> Real:
    """log(1 + (n − 1)e^{−m}), in nats."""
    return jnp.log1p((half.classes - 1) * jnp.exp(-jnp.asarray(margin)))


def margin_of_loss(half: Half, level) -> Real:
    """m at which the loss of a half is ``level``, between 0 and log n."""
    return jnp.log((half.classes - 1) / jnp.expm1(level))


def time(half: Half, margin, start) -> Real:
    """When the margin of a half is m ≥ 0, from v = α = ``start``; right to 1e-12 (float32: 1e-5)."""
    return _reached(half, _angle(half, margin, start), jnp.asarray(margin), start)


def _reached(half: Half, w, margin, start) -> Real:
    """When the angle is w = 2θ and the margin ε sinh w."""
    # The integrand e^{ε sinh w} − 1 falls from the end like e^{−(w_end − w)}, over lengths of 1/(1 + m):
    # w = w_end − sinh(σ)/(1 + m), nodes of Gauss and Legendre in σ.
    steep = 1 + margin[..., None]
    last = jnp.arcsinh(w[..., None] * steep)
    sinh, cosh = _hyperbolic(last * (1 + jnp.asarray(_NODES, w.dtype)) / 2)
    epsilon, log = (part[..., None] for part in _epsilon(half, start))
    m = _margin(epsilon, log, jnp.maximum(w[..., None] - sinh / steep, 0), lambda w: _hyperbolic(w)[0])
    integral = jnp.sum(jnp.asarray(_WEIGHTS, w.dtype) * jnp.expm1(m) * cosh * last / (2 * steep), axis=-1)
    return (w + integral / half.classes) / (2 * escape_rate(half))


def fall_time(half: Half, level, start) -> Real:
    """When the loss of a half has fallen to ``level``."""
    return time(half, margin_of_loss(half, level), start)


def fall_bracket(half: Half, level, start) -> tuple[Real, Real]:
    """θ ≤ λ t ≤ θ + 1/(2(e^ℓ − 1)), θ = ½ asinh(m/ε), for the fall to ℓ: as α → 0, λ t ~ log(1/α).

    (e^m − 1)/√(ε² + m²) ≤ (e^m − 1)/m ≤ e^m, so that ∫ (e^m − 1) dθ ≤ (e^m − 1)/2 ≤ n/(2(e^ℓ − 1)).
    """
    theta = _angle(half, margin_of_loss(half, level), start) / 2
    late, rate = 1 / (2 * jnp.expm1(level)), escape_rate(half)
    return theta / rate, (theta + late) / rate


def margin(half: Half, t, start) -> Real:
    """m at time t of the flow: the inverse of ``time``."""
    t, start = jnp.asarray(t), jnp.asarray(start)
    epsilon = _epsilon(half, start)
    # m ≤ ε sinh 2λt; and what is left of that when e^m alone slows it.
    high = 2 * escape_rate(half) * t
    high = jnp.minimum(high, _angle(half, 500.0, start))
    late = lambda w: _reached(half, w, _margin(*epsilon, w), start) - t  # noqa: E731
    angle = bracketed(late, jnp.zeros_like(high), high * 1.01, 80)
    return _margin(*epsilon, angle)


def total_fall_time(one: Half, other: Half, level, start) -> Real:
    """When the losses of two halves together have fallen to ``level``."""
    level = jnp.asarray(level)

    def late(share):
        return fall_time(other, (1 - share) * level, start) - fall_time(one, share * level, start)

    share = bracketed(late, jnp.zeros_like(level), jnp.ones_like(level))
    return fall_time(one, share * level, start)


class Plateau(NamedTuple):
    """Between two falls of the loss: its height in nats, its beginning and its end; none if end < begin."""

    height: Real
    begin: Real
    end: Real


def plateau(S, R, D, start, level=0.1, mentions=(1.0, 1.0)) -> Plateau:
    """The plateau: from when the half that is learned first has a loss of ``level`` to when the other has
    lost as much of its own. Its height is log D where relations come first, log R where subjects do.

    ``mentions``: of the subject and of the relation in a text.
    """
    halves = subjects(S, R, D, mentions[0]), relations(S, R, D, mentions[1])
    falls = [fall_time(half, level, start) for half in halves]
    ours = falls[0] < falls[1]
    left = Half(*(jnp.where(ours, other, one) for one, other in zip(*halves)))
    height = jnp.log(left.classes)
    return Plateau(height, jnp.minimum(*falls), fall_time(left, height - level, start))


def _real(*numbers) -> list[Array]:
    return [jnp.asarray(x, float) for x in numbers]


def _epsilon(half: Half, start) -> tuple[Real, Real]:
    """ε and its logarithm; where ε is below e^−60, it is 1: floats may not hold it."""
    unit = half.mentions / (2 * jnp.sqrt(half.coupling))
    log = jnp.log(unit) + 2 * jnp.log(start)
    return jnp.where(log < -60, 1, unit * jnp.asarray(start) ** 2), log


def _angle(half: Half, margin, start) -> Real:
    """w ≥ 0 with m = ε sinh w."""
    epsilon, log = _epsilon(half, start)
    margin = jnp.asarray(margin)
    above = jnp.log(jnp.where(margin > 0, margin, 1)) - log
    far = jnp.where(above < 20, jnp.arcsinh(jnp.exp(jnp.minimum(above, 20))), above + jnp.log(2.0))
    return jnp.where(log < -60, jnp.where(margin > 0, far, 0), jnp.arcsinh(margin / epsilon))


def _margin(epsilon, log, w, sinh=jnp.sinh) -> Real:
    """ε sinh w."""
    near = jnp.where(log < -60, 0, w)
    return jnp.where(log < -60, -jnp.exp(log + w) * jnp.expm1(-2 * w) / 2, epsilon * sinh(near))


def _hyperbolic(x) -> tuple[Real, Real]:
    """(sinh x, cosh x) from one exponential: four times as fast, right to rounding of cosh."""
    up = jnp.exp(x)
    return (up - 1 / up) / 2, (up + 1 / up) / 2
