"""Tasks that the statements are about, and how they are run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ....dynamics import Descent, GradientFlow, Trajectory, simulate
from ....models import AbstractModel
from ....tasks import embeddings, laws
from ..model import LinearMemory
from ..task import AssociationTask

FLOW = "local error of the flow (rtol 1e-10, at most 200 steps) added up: a convex loss contracts"
STEPS = "rounding of each step, times max(1, ηλ − 1) at every later one"


class Draw(NamedTuple):
    """A random memory problem: p, labels, p(y|x), E, U, W; no two vectors orthogonal."""

    p: Any
    labels: Any
    q: Any
    E: Any
    U: Any
    W: Any


def draw(seed, n: int, m: int, d: int, k: int) -> Draw:
    """p log-normal, f* and p(y|x) uniform, embeddings of norm about one, W standard normal."""
    keys = jr.split(jr.key(seed), 6)
    return Draw(
        jax.nn.softmax(jr.normal(keys[0], (n,))),
        jr.randint(keys[1], (n,), 0, m),
        jax.nn.softmax(jr.normal(keys[2], (n, m))),
        jr.normal(keys[3], (n, d)) / np.sqrt(d),
        jr.normal(keys[4], (m, k)) / np.sqrt(k),
        jr.normal(keys[5], (k, d)),
    )


def drawn(seed, *sizes: int) -> Draw:
    """The same problem in NumPy, for the second route: it shares the numbers, not the code."""
    return Draw(*(np.asarray(part) for part in draw(seed, *sizes)))


def pair(alpha, p1, c=2.0) -> AssociationTask:
    """Two tokens of cosine α, f*(x) = x, ‖u₁−u₂‖² = c: GD section 4.2."""
    outputs = jnp.sqrt(jnp.asarray(c, float) / 2) * jnp.eye(2)
    return AssociationTask(laws.imbalance(p1), jnp.arange(2), embeddings.correlated_pair(alpha), outputs)


def single(c=2.0, q=None) -> AssociationTask:
    """One token of two classes, p ‖e‖² ‖u₁−u₂‖² = c; P(y=1) = q, or f* = 1."""
    outputs = jnp.sqrt(jnp.asarray(c, float) / 2) * jnp.eye(2)
    targets = jnp.zeros(1, int) if q is None else jnp.stack([q, 1 - q])[None]
    return AssociationTask(jnp.ones(1), targets, jnp.ones((1, 1)), outputs)


def at_margin(m, c=2.0) -> LinearMemory:
    """The memory of ``single`` whose margin is m."""
    return LinearMemory(jnp.stack([m, -m])[:, None] / 2 / jnp.sqrt(jnp.asarray(c, float) / 2))


def descend(
    task: AssociationTask, model: AbstractModel, rate, steps: int, at: Any = None, **observe: Callable
) -> Trajectory:
    """Gradient descent at a rate, or at one rate a step, observed at every step, or at those named."""
    dynamics = Descent(optax.sgd, steps, learning_rate=rate)
    return simulate(task, model, dynamics, observe=observe, at=at, throw=False)


def flow(task: AssociationTask, model: AbstractModel, t, at=None, **observe: Callable) -> Trajectory:
    """Gradient flow to time t, observed at the times ``at`` (0 and t come with them)."""
    at = jnp.reshape(t, (1,)) if at is None else at
    return simulate(task, model, GradientFlow(t1=t), observe=observe, at=at, throw=False)
