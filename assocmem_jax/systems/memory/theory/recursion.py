"""Batches of one, orthonormal embeddings: what every further sight of a token adds to its q (Slides p. 34).

W = Σ_x q(x) (u_{f(x)} − ū) e_xᵀ from W₀ = 0, and when x is drawn its q, which is its margin, moves by

    f(q) = q + γM/(e^q + M − 1),

whatever else was drawn: ``orthogonal.multiclass_step`` with κ = 1. So q(x) depends on how often x was seen.
"""

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ....numerics.special import binomial
from .orthogonal import multiclass_step

Real = Float[Array, "..."]


def approximate_step(q, rate, wrong) -> Real:
    """q + γ/(1 + e^q/m), m = ``wrong`` other classes: the score of the answer if the others stay at 0.

    SGD has exactly M/m times that gain, M = m + 1, at every q: it also lowers the others. So the recursion is
    exact for SGD with γM/m in place of γ, and short by a share 1/M of every step as it stands.
    """
    q = jnp.asarray(q)
    fall = jnp.exp(jnp.minimum(-q, 60))  # below −60 the step no longer depends on q
    return q + rate * fall * wrong / (1 + wrong * fall)


def after(sights: Int[Array, "*n"], rate, classes, largest: int) -> Float[Array, "*n"]:
    """f applied ``sights`` times to 0; ``largest`` bounds them."""
    if (
        not isinstance(sights, jax.core.Tracer)
        and not 0 <= np.min(sights) <= (most := np.max(sights)) <= largest
    ):
        raise ValueError(
            f"largest must be at least the most sights, and those at least 0, got {largest} for {most}"
        )

    def step(q, _):
        return (following := multiclass_step(q, rate, 1.0, classes)), following

    zero = jnp.zeros((), jnp.result_type(float, rate))
    _, rest = jax.lax.scan(step, zero, None, length=largest)
    return jnp.append(zero[None], rest)[sights]


def expected(probabilities: Float[Array, " n"], rate, classes, samples: int) -> Float[Array, " n"]:
    """E q(x) after ``samples`` steps: the mean of ``after`` over the binomial law of the sights of x."""
    table = after(jnp.arange(samples + 1), rate, classes, samples)
    sights = jnp.arange(samples + 1)
    mean = lambda p: jnp.dot(binomial(samples, sights, p), table)  # noqa: E731
    return jax.lax.map(mean, jnp.asarray(probabilities))
