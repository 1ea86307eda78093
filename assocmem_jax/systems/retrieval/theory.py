"""How many random ±1 patterns an energy holds (Slides p. 5; Hopfield 1982; Krotov and Hopfield 2016)."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlog1py
from jaxtyping import Array, Float

from ...numerics.special import binomial, factorial_excess

Real = Float[Array, "..."]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def bit_error(load, overlap=1.0) -> Real:
    """½ erfc(m/√(2 N/d)): a bit wrong after one update of a Hebb network, N, d → ∞ with N/d = ``load``.

    ``overlap``: m of the cue, 1 − 2 × the share of flipped bits.
    """
    return jax.scipy.special.erfc(overlap / jnp.sqrt(2 * jnp.asarray(load, float))) / 2


def stored_bit_error(n, d) -> Real:
    """The same from a stored pattern, exactly, for W without diagonal: P(S < −(d−1)).

    S is a sum of (N−1)(d−1) fair signs: ξ_i h_i d = (d − 1) + S, where given the pattern and ξ_i^μ the terms
    ξ_i^μ ξ_j^μ ξ_i ξ_j, over j ≠ i and the other μ, are independent. A field of 0 leaves the bit right.
    """
    n, d = jnp.asarray(n, float), jnp.asarray(d, float)
    # S = 2B − K < −(d−1)  ⇔  B ≤ b, where K − 2b = h is d + 1, or d if S is odd: of large K no difference
    # is taken. P(B ≤ b) = (K − b) P(B = b) ∫₀¹ (1 − u²)^b (1 − u)^{h−1} du.
    h = d + 1 - jnp.mod(n, 2) * jnp.mod(d - 1, 2)
    trials = jnp.maximum((n - 1) * (d - 1), h)
    most = (trials - h) / 2
    y = h / trials
    small = jnp.minimum(y, 0.5)
    far = jnp.where(
        y < 0.5,
        jnp.log1p(-(small**2)) / 2 + small * jnp.arctanh(small),
        (xlog1py(1 - y, -y) + (1 + y) * jnp.log1p(y)) / 2,
    )
    pick = factorial_excess(trials) - factorial_excess(most) - factorial_excess(most + h)
    # The integrand is e^{−40} and less where b u² + (h − 1) u ≥ 40.
    end = jnp.minimum(80 / (h - 1 + jnp.sqrt((h - 1) ** 2 + 160 * most)), 1)[..., None]
    u = end * (1 + jnp.asarray(_NODES, h.dtype)) / 2
    inside = jnp.exp(most[..., None] * jnp.log1p(-(u**2)) + (h[..., None] - 1) * jnp.log1p(-u))
    tail = (
        (most + h)
        * jnp.exp(pick - trials * far)
        * jnp.sum(inside * end / 2 * jnp.asarray(_WEIGHTS, h.dtype), axis=-1)
    )
    return jnp.where((n - 1) * (d - 1) >= h, tail, 0.0)


def crosstalk_bit_error(n, d: int, separation: Callable) -> Real:
    """A bit of a stored pattern wrong after one update of E = −Σ F(ξ·x/d): crosstalk taken as Gaussian.

    Its variance is exact: (N−1) E[(F((c+1)/d) − F((c−1)/d))²] with c a sum of d−1 signs, enumerated;
    the signal is F(1) − F(1 − 2/d). For F = z² and d → ∞ it is ``bit_error``.
    """
    heads = jnp.arange(d, dtype=float)
    weights = binomial(d - 1.0, heads, 0.5)
    c = 2 * heads - (d - 1)
    spread = jnp.sum(weights * (separation((c + 1) / d) - separation((c - 1) / d)) ** 2)
    signal = separation(jnp.asarray(1.0)) - separation(jnp.asarray(1 - 2 / d))
    return jax.scipy.stats.norm.cdf(-signal / jnp.sqrt((jnp.asarray(n, float) - 1) * spread))


def stable(bit_error, d) -> Real:
    """(1 − ε)^d: all d bits right, taken as independent."""
    return jnp.exp(d * jnp.log1p(-bit_error))


def couplings(d: int, degree: int) -> int:
    """How many numbers the field of one bit has in Σ_μ (ξ·x)^k: a coefficient for each product of k − 1,
    k − 3, … of the other d − 1 bits. ``degree`` 0: the exponential, which has every product, 2^{d−1}."""
    if degree == 0:
        return 2 ** (d - 1)
    return sum(math.comb(d - 1, j) for j in range(degree - 1, -1, -2))
