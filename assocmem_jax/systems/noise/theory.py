"""What noise of finite width leaves of a step, and of three: Slides p. 18, 29–30. Derived in docs/theory.md.

Key scores after three steps, in units of 1/(N T²): with γ = d/N, q the mean of u_y − ū over a batch (|q|² ≈
1/n, as answers are not equally frequent in it), and S the covariance of the rows of E (tr S² = (1 + γ)/d,
d² tr S³ = 1 + 3γ + γ², d³ tr S⁴ = 1 + 6γ + 6γ² + γ³), e_vᵀw varies over tokens v by the terms of ``Spread``,
and τᵀw has a mean and a variance of its own. Attention is right where a Gaussian of these is above T − 1.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...numerics.roots import bracketed
from ...numerics.special import log_cdf

Real = Float[Array, "..."]
Flag = Any  # True, False, or an array of them
# The rule of equal steps converges like e^{−(2π/h)²/2} for a smooth function under a Gaussian.
_NODES = np.linspace(-8, 8, 129)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()


def noisy_step_variances(N, d) -> tuple[Real, Real]:
    """(v_c, v_w): variances of the right and of a wrong score after one noisy step, of means 1 and 0."""
    N, d = _real(N, d)
    right = 4 * (1 + 1 / d) / d + (1 + 2 / d) / d + 2 * (N - 1) / d**2
    wrong = (1 + 2 / d) * 2 / d + (1 + 2 / d) / d + 1 / d**2 + 2 * (N - 2) / d**2
    return right, wrong


def noisy_step_accuracy(N, d) -> Real:
    """E_z Φ((1 + √v_c z)/√v_w)^{N−1}: the right score above N − 1 others, all Gaussian and independent."""
    right, wrong = noisy_step_variances(N, d)
    return _largest(1.0, right, wrong, jnp.asarray(N) - 1)


def signal(N, T, d, n, fresh: Flag = False) -> Real:
    """E τᵀw, exactly, for T ≥ 2 and any d and n; 1/(N T²) as N, T, d and n/N grow.

    (1 − 1/N)(1 − 1/T)(1 + 1/d)/(N T²) of pairs of sequences; with the same batch 1 − 1/n of that, and of a
    sequence with itself (1 − 1/N)/(n T²) · ((1 − 1/T)(1 + 2/d) + (T − 1)(1 − 1/N)/d).
    """
    N, T, d, n = _real(N, T, d, n)
    pairs = (1 - 1 / T) * (1 + 1 / d) / N
    alone = (1 - 1 / T) * (1 + 2 / d) + (T - 1) * (1 - 1 / N) / d
    whole = jnp.where(fresh, pairs, (1 - 1 / n) * pairs + alone / n)
    return (1 - 1 / N) * whole / T**2


class Spread(NamedTuple):
    """Terms of the variance of e_vᵀw over tokens v, in units of 1/(N T²)².

    - ``trigger``: e_v has something of τ. All that is left as n → ∞.
    - ``frequencies``: |q|² S ē, of answers that are not equally frequent; with fresh batches q_A · q_B, √d
      smaller. The claimed law is this one against the mean.
    - ``values``: the noise of W₁, read by q. ``classes``: its signal, read by q.
    - ``products``: noise of the one batch times noise of the other. ``mixed``: noise times signal.
    - ``centres``: q in W₁, times noise.
    """

    trigger: Real
    frequencies: Real
    values: Real
    classes: Real
    products: Real
    mixed: Real
    centres: Real

    @property
    def total(self) -> Real:
        return sum(self[1:], self[0])


def spread(N, T, d, n, fresh: Flag = False, centred: Flag = False) -> Spread:
    """Variance of e_vᵀw over tokens, to leading order in 1/T, 1/d, 1/N and 1/n, at any d/N.

    ``centred``: ū is the mean over the batch, so that q = 0.
    """
    N, T, d, n = _real(N, T, d, n)
    g = d / N
    third, fourth = 1 + 3 * g + g**2, 1 + 6 * g + 6 * g**2 + g**3
    on = jnp.where(centred, 0.0, 1.0)
    own = on * jnp.where(fresh, 0.0, 1.0)
    near, far = 1 + own * N / n, own * N * T / n  # along τ, along S τ
    return Spread(
        trigger=near**2 / d + 2 * near * far * (1 + g) / d**2 + far**2 * third / d**3,
        frequencies=on * N * T**4 / (n**2 * d**3) * third * jnp.where(fresh, (1 + g) / d, 1.0),
        values=on * N**2 * T**3 / (n**2 * d**4) * (1 + g) * fourth,
        classes=on * N * T**2 / (n * d**4) * (1 + g) * fourth,
        products=(N * T / n) ** 2 * ((1 + g) / d) ** 3,
        mixed=3 * N * T / (n * d**3) * (1 + g) ** 3,
        centres=on * N * T**3 / (n**2 * d**3) * (1 + g) ** 2 * (1 + N / T**2),
    )


def key_scores(N, T, d, n, fresh: Flag = False, centred: Flag = False) -> tuple[Real, Real, Real]:
    """(mean of τᵀw, its variance, variance of e_vᵀw over tokens), in units of 1/(N T²) and its square."""
    parts = spread(N, T, d, n, fresh, centred)
    N, T, d, n = _real(N, T, d, n)
    # 1 − 1/N and 1 − 1/T are factors of all scores, which the terms leave out.
    mean = signal(N, T, d, n, jnp.asarray(fresh) | centred) * N * T**2 / ((1 - 1 / N) * (1 - 1 / T))
    g, on = d / N, jnp.where(centred, 0.0, 1.0)
    reach = (1 / d + 1 / T) ** 2  # of τ through C = S + ττᵀ/T, where e_v has S alone
    own = 2 * mean**2 / d + N * T / (n * d**2) * (1 + g) ** 2
    of_q = (
        N * T**4 / (n**2 * d) * reach * jnp.where(fresh, (1 + g) / d, 1.0)
        + N**2 * T**3 / (n**2 * d**2) * reach * (1 + g)
        + N * T**2 / (n * d**2) * reach * (1 + g)
        + T**2 / (n * d**2) * (1 + N / T**2)
    )
    return mean, own + on * of_q + parts.products + parts.mixed + parts.centres, parts.total


def attention_right(N, T, d, n, fresh: Flag = False, centred: Flag = False) -> Real:
    """P(the trigger has the largest score) in the mean over embeddings and data."""
    mean, wide, narrow = key_scores(N, T, d, n, fresh, centred)
    return _largest(mean, wide + narrow, narrow, jnp.asarray(T) - 1)


@jax.jit
def attention_dimension(N, T, n, fresh: Flag = False, centred: Flag = False, target=0.5) -> Real:
    """d at which attention is right with probability ``target``; a real number, between 1 and 1e6.

    >>> am.theory.noise.attention_dimension(256, 128, 4096)  # 31.0; with centred=True 10.6
    """
    N, T, n, target = jnp.broadcast_arrays(*_real(N, T, n, target))
    short = lambda log_d: attention_right(N, T, jnp.exp(log_d), n, fresh, centred) - target  # noqa: E731
    return jnp.exp(bracketed(short, jnp.zeros_like(N), jnp.full_like(N, jnp.log(1e6)), 48))


def claimed_dimension(N, T, n) -> Real:
    """(T²/N) min{1, (N²/(T n))^{2/3}}, to which the d of attention is claimed to be proportional."""
    N, T, n = _real(N, T, n)
    return T**2 / N * jnp.minimum(1.0, (N**2 / (T * n)) ** (2 / 3))


def score_floor(N, d) -> Real:
    """√N/d: spread of the scores u_yᵀW₁e_z of wrong pairs as n → ∞, relative to a right one."""
    N, d = _real(N, d)
    return jnp.sqrt(N) / d


def _largest(mean, wide, narrow, others) -> Real:
    """P(a Gaussian of that mean and variance ``wide`` is above so many of variance ``narrow``)."""
    nodes = jnp.asarray(_NODES, float)
    at = (jnp.asarray(mean)[..., None] + jnp.sqrt(wide)[..., None] * nodes) / jnp.sqrt(narrow)[..., None]
    return jnp.exp(jnp.asarray(others)[..., None] * log_cdf(at)) @ jnp.asarray(_WEIGHTS, at.dtype)


def _real(*numbers) -> list[Array]:
    return [jnp.asarray(x, float) for x in numbers]
