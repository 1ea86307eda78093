"""One root finder: bracketed, to the last bit, with its derivative by the implicit function theorem."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def bracketed(
    residual: Callable[[Array], Array], start: Array, end: Array, iterations: int = 200
) -> Float[Array, "..."]:
    """x between ``start`` and ``end`` with residual(x) = 0, entry by entry.

    ``residual`` is at most 0 at ``start`` and above 0 (or not a number) at ``end``, whichever is larger, and
    changes sign once. Bisection; the result is the middle of the last interval. Whatever ``residual`` closes
    over may be differentiated: dx = −∂residual/∂residual′, at the root; 0 where the slope is 0 or infinite.
    """
    fixed = jax.lax.stop_gradient

    def halve(_, ends):
        a, b = ends
        middle = (a + b) / 2
        before = residual(middle) <= 0
        return jnp.where(before, middle, a), jnp.where(before, b, middle)

    a, b = jax.lax.fori_loop(0, iterations, halve, (fixed(start), fixed(end)))
    root = fixed((a + b) / 2)
    slope = fixed(jax.jvp(residual, (root,), (jnp.ones_like(root),))[1])
    known = jnp.isfinite(slope) & (slope != 0)
    # The double where: no derivative is taken where there is none.
    left = residual(jnp.where(known, root, fixed(start)))
    moved = jnp.where(known, (left - fixed(left)) / jnp.where(known, slope, 1), 0)
    return root - moved
