"""One minimiser, of convex functions of a few unknowns: Newton's method."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def minimum(
    slope: Callable[[Array], Array],
    curvature: Callable[[Array], Array],
    start: Float[Array, " n"],
    iterations: int = 100,
) -> Float[Array, " n"]:
    """x where ``slope`` vanishes, from ``start``: Newton steps, none longer than one.

    Where ``curvature`` is singular (directions that the function does not see) the step is of least norm, so
    that x stays as it was along them. Works under ``jit`` and ``vmap``; not for functions without a minimum.
    """

    def step(_, x):
        moved = jnp.linalg.lstsq(curvature(x), slope(x), rcond=1e-12)[0]
        return x - moved / jnp.maximum(1.0, jnp.linalg.norm(moved))

    return jax.lax.fori_loop(0, iterations, step, jnp.asarray(start))
