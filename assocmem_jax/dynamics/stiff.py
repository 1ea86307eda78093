"""A stiff solver for tight tolerances on few unknowns."""

import itertools
from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree


class ExtrapolatedEuler(diffrax.AbstractAdaptiveSolver):
    """Linearly implicit Euler, extrapolated in the step (Deuflhard's SEULEX, fixed order).

    For n = 1…k, n steps of (1 − h/n · J) δ = h/n · f(t_next, y); Aitken–Neville on the k results;
    the last two of the bottom row give the error. Order k, stable on nearly all of the left half
    plane, one Jacobian a step and no Newton iteration to fail. At rtol 1e-10 it needs tens of
    steps where diffrax's Kvaerno5 needs thousands, which is why it is here: gradient flow in log
    time turns stiff near collinear inputs and at finite minimisers.

    Rounding is amplified by the weights of the extrapolation, 4·10⁴ in all for ten columns. So with
    ``least``, for unknowns that are all of one kind, the error is given in units of the largest of them
    (of ``least``, if that is larger): one that passes through 0 is not asked for what rounding of the others
    hides. Without, it is the error as it is.

    The dense output is linear: make it step on the times that are wanted
    (``diffrax.ClipStepSizeController``), as ``GradientFlow`` does. Its state is where the last step began:
    (t, y).
    """

    columns: int = eqx.field(static=True, default=10)
    least: float | None = eqx.field(static=True, default=None)

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms):
        return self.columns

    def init(self, terms, t0, t1, y0, args):
        return t0, y0

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        start, unravel = ravel_pytree(y0)
        h = t1 - t0

        def field(t, flat):
            return ravel_pytree(terms.vf(t, unravel(flat), args))[0]

        # At the end of the step: in log time the field grows like e^s, and the larger Jacobian damps.
        jacobian = jax.jacfwd(lambda flat: field(t1, flat))(start)
        identity = jnp.eye(start.size, dtype=start.dtype)

        def sweep(n):
            part = h / n
            factors = jax.scipy.linalg.lu_factor(identity - part * jacobian)

            def step(i, moved):
                slope = part * field(t0 + jnp.minimum(i + 1, n) * part, start + moved)
                return moved + jnp.where(i < n, jax.scipy.linalg.lu_solve(factors, slope), 0)

            # A fixed trip count keeps reverse mode; increments, not states, are extrapolated, so
            # that rounding is relative to the move.
            return jax.lax.fori_loop(0, self.columns, step, jnp.zeros_like(start))

        # Side by side, in one factorisation: XLA runs independent ones at the same time, and under a vmap
        # of more than a hundred lanes jaxlib 0.10's then wait for each other's threads for ever.
        row = list(jax.vmap(sweep)(jnp.arange(1, self.columns + 1)))
        last = row[-1]
        for order in range(1, self.columns):
            last = row[-1]
            row = [b + (b - a) * (i + 1) / order for i, (a, b) in enumerate(itertools.pairwise(row))]
        end, error = start + row[0], jnp.abs(row[0] - last)
        if self.least is not None:
            error = error / jnp.maximum(jnp.max(jnp.abs(jnp.stack([start, end]))), self.least)
        y1, error = unravel(end), unravel(error)
        dense = dict(y0=y0, y1=y1)
        return y1, error, dense, (t0, y0), diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)
