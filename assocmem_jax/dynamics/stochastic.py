"""Stochastic gradient flow, GD (6): dW = −∇L(W) dt + σ_t dE_t."""

import functools
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .. import checks
from ..models import AbstractModel
from ..observe.gradient import population_gradient
from ..tasks import AbstractTask
from .base import AbstractSteps, needs_key
from .minibatch import MinibatchNoise


class _Constant(eqx.Module):
    value: Array

    def __call__(self, t):
        return self.value


class _Increments(diffrax.AbstractPath):
    """The Brownian increment of one step, drawn beforehand."""

    t0: Any
    t1: Any
    increment: Any

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        return self.increment if use_levy else self.increment.W


class _Noise(diffrax.AbstractTerm):
    """σ(t) dE_t for noise of the same shape as the state."""

    sigma: Callable
    path: _Increments

    def vf(self, t, y, args):
        return jnp.asarray(self.sigma(t))

    def contr(self, t0, t1, **kwargs):
        return self.path.evaluate(t0, t1, **kwargs)

    def prod(self, vf, control):
        return jax.tree.map(lambda c: vf * c, control)


class _Spread(diffrax.AbstractTerm):
    """Noise that is a linear map, which depends on the state, of one Brownian motion an example."""

    moved: Callable
    path: _Increments

    def vf(self, t, y, args):
        return y

    def contr(self, t0, t1, **kwargs):
        return self.path.evaluate(t0, t1, **kwargs)

    def prod(self, vf, control):
        return self.moved(vf, control)


class StochasticFlow(AbstractSteps):
    """dW = −∇L(W) dt + σ_t dE_t with E_t a Brownian motion on all entries of W, GD (6).

    - ``sigma``: σ ≥ 0, a number or a function of time. It is a standard deviation per √time (GD
      calls it the variance; docs/theory.md: gd.2). Or an ``am.MinibatchNoise``: the covariance that steps
      on minibatches have, which depends on W.
    - ``t1``: horizon. ``steps``: equal steps to it.
    - ``solver``: a diffrax SDE solver; Euler–Maruyama (strong order 1 here, as the noise is
      additive) unless given. ``diffrax.ShARK()`` has strong order 1.5. A ``MinibatchNoise`` takes
      Euler–Maruyama alone.
    - ``refine``: draw the noise of each step as the sum of this many finer ones. Runs whose
      ``steps × refine`` agree follow the same Brownian path: halve the step and compare.

    Noise is keyed by the integer step, ``fold_in(key, step · refine + j)``: no increment repeats
    however long the run (diffrax 0.7.2's UnsafeBrownianPath repeats its noise at long times).
    """

    sigma: Float[Array, ""] | Callable | MinibatchNoise
    t1: Float[Array, ""]
    steps: int = eqx.field(static=True)
    solver: diffrax.AbstractSolver
    refine: int = eqx.field(static=True)

    def __init__(
        self, sigma, t1, steps: int, *, solver: diffrax.AbstractSolver | None = None, refine: int = 1
    ):
        if not (callable(sigma) or isinstance(sigma, MinibatchNoise)):
            checks.finite("sigma", sigma)
            checks.within("sigma", sigma, 0, np.inf, "it is a standard deviation")
            sigma = checks.scalar("sigma", sigma)
        elif not isinstance(sigma, MinibatchNoise):
            checks.number_of("sigma", "time", sigma, float)
        checks.positive("t1", t1)
        self.t1 = checks.scalar("t1", t1)
        self.sigma = sigma
        self.steps = checks.count("steps", steps)
        self.refine = checks.count("refine", refine)
        checks.count("steps × refine", self.steps * self.refine)
        self.solver = diffrax.Euler() if solver is None else solver
        if isinstance(sigma, MinibatchNoise):
            if type(self.solver) is not diffrax.Euler:
                checks.refuse(
                    "solver", "diffrax.Euler() for a MinibatchNoise", type(self.solver).__name__,
                    "its noise is Itô's and does not commute",
                )  # fmt: skip
            if sigma.draws is not None and self.refine > 1:
                checks.refuse("refine", "1 where examples are drawn", self.refine, "leave draws out")
        elif solver is not None and not _suits(solver):
            known = isinstance(solver, diffrax.AbstractSolver)
            name = type(solver).__name__ if known else checks.short(solver)
            checks.refuse(
                "solver", "a diffrax solver of equations with additive noise", name,
                "for example diffrax.ShARK()",
            )  # fmt: skip

    def prepare(
        self, task: AbstractTask, combine: Callable[[Any], AbstractModel], params, key: PRNGKeyArray | None
    ):
        """(advance, initial parameters, initial inner state) for ``marching.march``."""
        path_key = needs_key(key)
        dtype = jnp.result_type(*jax.tree.leaves(params))
        t1 = self.t1.astype(dtype)
        model = combine(params)
        trained = jax.tree.map(lambda p: p is not None, params, is_leaf=lambda p: p is None)
        area = issubclass(_levy_area(self.solver), diffrax.AbstractSpaceTimeLevyArea)

        def velocity(params):
            _, gradient = population_gradient(task, combine, params)
            return jax.tree.map(jnp.negative, combine(params).tangent(task, gradient))

        sigma = self.sigma
        if isinstance(sigma, MinibatchNoise):
            count, (path_key, data_key) = sigma.normals(task, model), jr.split(path_key)
            noise = lambda key: jr.normal(key, (count,), dtype)  # noqa: E731
            drift = functools.partial(sigma.drift, velocity)

            def spread(step, path) -> diffrax.AbstractTerm:
                fresh = jr.fold_in(data_key, step)
                return _Spread(lambda params, xi: sigma.moved(task, combine, params, xi, fresh), path)

        else:
            size = sigma if callable(sigma) else _Constant(sigma.astype(dtype))
            noise = lambda key: eqx.filter(model.noise(task, key), trained)  # noqa: E731
            drift = velocity

            def spread(step, path) -> diffrax.AbstractTerm:
                return _Noise(size, path)

        def increment(step, dt):
            h = dt / self.refine

            def piece(total, j):
                w_key, h_key = jr.split(jr.fold_in(path_key, step * self.refine + j.astype(step.dtype)))
                w = jax.tree.map(lambda n: jnp.sqrt(h) * n, noise(w_key))
                levy = jax.tree.map(lambda n: jnp.sqrt(h / 12) * n, noise(h_key)) if area else None
                return _join(total, (j * h, w, levy), h), None

            zero = jax.tree.map(jnp.zeros_like, jax.eval_shape(noise, path_key))
            (_, w, levy), _ = jax.lax.scan(
                piece, (jnp.zeros((), dtype), zero, zero if area else None), jnp.arange(self.refine)
            )
            if area:
                return diffrax.SpaceTimeLevyArea(dt=dt, W=w, H=levy)
            return diffrax.BrownianIncrement(dt=dt, W=w)

        def advance(params, inner, step, time):
            # From the integer clock, so that rounding does not add up.
            end = t1 * ((step + 1).astype(dtype) / self.steps)
            dt = t1 / self.steps
            path = _Increments(t0=time, t1=end, increment=increment(step, dt))
            return _step(self.solver, drift, spread(step, path), time, time + dt, params), inner, end

        return advance, params, None


def _step(solver, drift: Callable, spread: diffrax.AbstractTerm, start, end, params):
    """The parameters after a step from ``start`` to ``end``."""
    terms = diffrax.MultiTerm(diffrax.ODETerm(lambda t, y, args: drift(y)), spread)
    state = solver.init(terms, start, end, params, None)
    return solver.step(terms, start, end, params, None, state, made_jump=False)[0]


def _suits(solver: Any) -> bool:
    """Whether a solver can make a step: one is tried, of shapes alone. It says so in too many ways to ask."""

    def tried(y):
        increment = diffrax.SpaceTimeLevyArea(dt=y["w"][0], W=y, H=y)
        noise = _Noise(lambda t: t, _Increments(t0=0.0, t1=1.0, increment=increment))
        return _step(solver, lambda y: y, noise, 0.0, 1.0, y)

    if not isinstance(solver, diffrax.AbstractSolver):
        return False
    try:
        jax.eval_shape(tried, {"w": jnp.zeros(2)})
    except Exception:
        return False
    return True


def _levy_area(solver) -> type:
    return getattr(solver, "minimal_levy_area", diffrax.AbstractBrownianIncrement)


def _join(left, right, h):
    """Chen's relation: (W, H) over two adjacent intervals, the second of length h."""
    length, w1, h1 = left
    _, w2, h2 = right
    w = jax.tree.map(jnp.add, w1, w2)
    total = length + h
    levy = None
    if h1 is not None:
        levy = jax.tree.map(
            lambda a, b, u, v: (length * (a - v / 2) + h * (b + u / 2)) / total, h1, h2, w1, w2
        )
    return total, w, levy
