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

    At a stationary point of a gradient flow rounding in the field, times 1 + t, is all that is left, and
    extrapolation amplifies it. So where ``args`` is the projection onto the directions that the field can
    have, and every one of them has decayed (by e^{−50} since t = 0), a step goes to the stationary point
    itself, by Newton's method, and stays there: the field vanishes there at all times.

    The dense output is linear: make it step on the times that are wanted
    (``diffrax.ClipStepSizeController``), as ``GradientFlow`` does.
    """

    columns: int = eqx.field(static=True, default=10)

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms):
        return self.columns

    def init(self, terms, t0, t1, y0, args):
        return None

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
                slope = part * field(t0 + (i + 1) * part, start + moved)
                return moved + jax.scipy.linalg.lu_solve(factors, slope)

            # A fixed trip count keeps reverse mode; increments, not states, are extrapolated, so
            # that rounding is relative to the move.
            return jax.lax.fori_loop(0, n, step, jnp.zeros_like(start))

        settled, rest = None, start
        if args is not None:
            reach = jax.vmap(lambda flat: ravel_pytree(args(unravel(flat)))[0])(identity)
            settled, rest = _stationary(lambda flat: field(t1, flat), start, jacobian, reach)

        row = [sweep(n) for n in range(1, self.columns + 1)]
        last = row[-1]
        for order in range(1, self.columns):
            last = row[-1]
            row = [b + (b - a) * (i + 1) / order for i, (a, b) in enumerate(itertools.pairwise(row))]
        end, error = start + row[0], jnp.abs(row[0] - last)
        if settled is not None:
            end, error = jnp.where(settled, rest, end), jnp.where(settled, 0, error)
        y1, error = unravel(end), unravel(error)
        dense = dict(y0=y0, y1=y1)
        return y1, error, dense, None, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


def _stationary(field, start, jacobian, reach):
    """(whether all that can move has decayed, where the field vanishes), by three steps of Newton's."""
    identity = jnp.eye(start.size, dtype=start.dtype)
    # In log time a direction of curvature λ decays at the rate λ(1 + t), by e^{−λt} since the start.
    left = jnp.linalg.norm(jnp.linalg.solve(identity - jacobian, reach))
    pull = jacobian - (identity - reach)
    factors = jax.scipy.linalg.lu_factor(pull)
    point = start
    for _ in range(3):
        point = point - jax.scipy.linalg.lu_solve(factors, field(point))
    near = jnp.max(jnp.abs(point - start)) <= 1e-5 * (1 + jnp.max(jnp.abs(start)))
    return near & (left <= 1 / 50), point
