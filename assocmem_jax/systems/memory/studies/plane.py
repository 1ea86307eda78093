"""What the planes of GD Figures 1 to 5 share.

Planes show γ = (u₁−u₂)ᵀW f on two orthonormal f: learned tokens of class 1 lie on its positive side.
In Figures 1–2, f lies along e₁±e₂; in Figures 4–5, γ is the printed (21), (u₂−u₁)ᵀW f on the standard
basis. (GD prints two signs and factors for γ: docs/theory.md: gd.23.)
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import assocmem_jax as am

from ....numerics.minimise import minimum
from .schemas import Plane


def on_plane(task, observable, x, y, sign: float = 1.0):
    """An observable at W = Δu γᵀ/‖Δu‖² for γ on the grid: shape (len(y), len(x))."""
    return _mapped(observable)(task, x, y, sign)


def finer(axis):
    """Points four times as fine: the 0-1 loss jumps where the loss is smooth."""
    return jnp.linspace(axis[0], axis[-1], 4 * len(axis))


@functools.cache
def _mapped(observable):
    """Compiled once for each observable and shape: the task is an argument, not part of the program."""

    def at(task, gx, gy, sign):
        return observable(task, am.LinearMemory.from_plane(task, sign * jnp.stack([gx, gy])))

    return jax.jit(jax.vmap(jax.vmap(at, (None, 0, None, None)), (None, None, 0, None)))


def minimiser(task):
    """The memory at the minimum of L over the plane; None if the task is separable (no minimum)."""
    if am.memory.max_margin(task).separable:
        return None
    loss = lambda gamma: am.loss(task, am.LinearMemory.from_plane(task, gamma))  # noqa: E731
    found = jax.jit(minimum, static_argnums=(0, 1))(jax.grad(loss), jax.hessian(loss), np.zeros(2))
    return am.LinearMemory.from_plane(task, found)


def facing(task, model):
    """γ = (u₁−u₂)ᵀW f: the printed (21) with the sign of (18)."""
    return -am.memory.plane(task, model)


def left(path, window) -> int:
    """How many points of a path, γ of shape (t, 2), are outside of a window."""
    x0, x1, y0, y1 = window
    inside = (path >= [x0, y0]) & (path <= [x1, y1])
    return int((~inside.all(axis=1)).sum())


def hits(part, horizon: int) -> str:
    first, stable = int(part.first_step), int(part.stable_step)
    if first < 0:
        return f"not within {horizon} steps"
    if stable < 0:
        return f"first at t = {first}, not stable within {horizon}"
    return f"first at t = {first}, for good at t = {stable}"


def plane_task(panel: Plane):
    n = len(panel.inputs)
    law = am.laws.zipf(n, panel.zipf_exponent)
    return am.AssociationTask(law, jnp.arange(1, n + 1) % 2, jnp.array(panel.inputs), jnp.eye(2))


def plane_grid(panel: Plane, resolution: int):
    x0, x1, y0, y1 = panel.window
    return jnp.linspace(x0, x1, resolution), jnp.linspace(y0, y1, resolution)
