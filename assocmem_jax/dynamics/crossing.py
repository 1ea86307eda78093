"""Where a flow meets a condition."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array


class Crossing(optx.AbstractRootFinder):
    """Where a condition of a flow rises above 0 within its last step, by bisection.

    Unlike ``optx.Bisection`` it may be 0 where the step begins; only the interval has to become small, as
    rounding keeps a condition of large terms from it; and a lane of a batch without crossing, whose function
    diffrax makes 0 at the end of the step, ends there.
    """

    rtol: float
    atol: float
    norm: Callable = eqx.field(static=True, default=jnp.abs)

    def init(self, fn, y, args, options, f_struct, aux_struct, tags):
        return _Bracket(jnp.asarray(options["lower"], y.dtype), jnp.asarray(options["upper"], y.dtype))

    def step(self, fn, y, args, options, state, tags):
        value, aux = fn(y, args)
        lower = jnp.where(value > 0, state.lower, y)
        upper = jnp.where(value > 0, y, state.upper)
        return lower + (upper - lower) / 2, _Bracket(lower, upper), aux

    def terminate(self, fn, y, args, options, state, tags):
        return state.upper - state.lower < self.atol + self.rtol * jnp.abs(y), optx.RESULTS.successful

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        return y, aux, {}


class _Bracket(NamedTuple):
    lower: Array
    upper: Array
