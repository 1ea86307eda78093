"""What a statement asserts of one problem: two sides, a relation, and what rounding may add."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .. import checks

EPS = 2.0**-52


class Claim(eqx.Module):
    """``left`` relation ``right``, to ``within``, entry by entry, where ``given`` holds.

    Made by ``equal``, ``at_most`` and ``at_least``, of JAX or NumPy arrays alike.
    """

    left: Any
    right: Any
    within: Any
    given: Any
    relation: str = eqx.field(static=True)

    def excess(self) -> np.ndarray:
        """By how much it is broken, beyond ``within`` where positive: NaN breaks it, −∞ where it does
        not apply. On the host."""
        left, right, given = (np.asarray(side) for side in (self.left, self.right, self.given))
        left, right, given = np.broadcast_arrays(left, right, given)
        with np.errstate(invalid="ignore"):
            gap = np.subtract(left, right, dtype=float)
            gap = {"=": np.abs(gap), "≤": gap, "≥": -gap}[self.relation]
        gap = np.where(left == right, 0.0, gap)
        return np.where(given, np.where(np.isnan(gap), np.inf, gap), -np.inf)


def rounding(*sizes: Any, operations: float | int = 64) -> Any:
    """``operations`` roundings of a number of that size (or of one, if larger): n ε (1 + max |size|)."""
    largest = sum(abs(size) for size in sizes) if sizes else 0.0
    return operations * EPS * (1 + largest)


def control(*sizes: Any, rtol: float = 1e-10, steps: int = 200) -> Any:
    """Error of a flow of a convex loss: it contracts, so that local errors (rtol a step) only add up."""
    return steps * rtol * (1 + sum(abs(size) for size in sizes))


def amplified(rate: Any, sharpness: Any, size: Any, operations: float | int = 64) -> Any:
    """Rounding along a descent: an error of a step is multiplied by at most max(1, ηλ − 1) at the next.

    ``sharpness``: λ at every step, on the last axis; returns a bound for every step.
    """
    growth = jnp.cumprod(jnp.maximum(1.0, rate * sharpness - 1), axis=-1)
    steps = jnp.arange(1, growth.shape[-1] + 1)
    return operations * EPS * (1 + size) * steps * growth


def _claim(relation: str, left: Any, right: Any, within: Any, given: Any) -> Claim:
    if isinstance(left, bool) or getattr(left, "dtype", None) == jnp.bool_:
        left, right, within = left * 1.0, right * 1.0, 0.5
    for name, side in (("left", left), ("right", right)):
        checks.array(name, side)
    given = given if isinstance(given, bool) else checks.array("given", given, "True where it holds")
    return Claim(left, right, rounding(right) if within is None else within, given, relation)


def equal(left: Any, right: Any, within: Any = None, given: Any = True) -> Claim:
    """left = right to ``within`` (unless given, 64 roundings of the right side); truth values too."""
    return _claim("=", left, right, within, given)


def at_most(left: Any, right: Any, within: Any = None, given: Any = True) -> Claim:
    """left ≤ right + within, entry by entry."""
    return _claim("≤", left, right, within, given)


def at_least(left: Any, right: Any, within: Any = None, given: Any = True) -> Claim:
    """left ≥ right − within, entry by entry."""
    return _claim("≥", left, right, within, given)
