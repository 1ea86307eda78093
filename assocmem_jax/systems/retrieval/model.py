"""Memories that retrieve by descending an energy: Hopfield nets, dense memories, attention (Slides p. 5).

Each is one scalar function of a state, ``energy``; ``update`` moves a state down it. What retrieval ends in
is the model's ``scores``, one row a cue of a ``RetrievalTask``.
"""

import math
from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ... import checks
from ...checks import Scalar
from ...models.base import AbstractWeights
from .task import RetrievalTask


class AbstractEnergyMemory(AbstractWeights):
    """An energy E(x) of a state x ∈ R^d and an update down it; a retrieval is ``steps`` updates."""

    task_type: ClassVar[type] = RetrievalTask
    steps: eqx.AbstractVar[int]

    @abstractmethod
    def energy(self, state: Float[Array, " d"]) -> Float[Array, ""]:
        """E(x)."""

    @abstractmethod
    def update(self, states: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """Each state after one update."""

    def retrieve(self, states: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """Each state after ``steps`` updates."""
        return jax.lax.fori_loop(0, self.steps, lambda _, x: self.update(x), states)

    def path(self, states: Float[Array, "b d"]) -> Float[Array, "t b d"]:
        """The states before, between and after the updates: shape (steps + 1, b, d)."""
        last, before = jax.lax.scan(lambda x, _: (self.update(x), x), states, length=self.steps)
        return jnp.concatenate([before, last[None]])

    def scores(self, task: RetrievalTask, tokens: Int[Array, " b"] | None = None):
        return self.retrieve(task.cues if tokens is None else task.cues[tokens])


def _weighted(patterns, weights) -> tuple[Array, Array]:
    patterns, weights = checks.floats(patterns=patterns, weights=weights)
    checks.shaped("patterns", patterns, "a matrix, one row a pattern", 2)
    if weights.shape != patterns.shape[:1]:
        checks.refuse("weights", f"of shape ({patterns.shape[0]},)", f"shape {weights.shape}")
    checks.finite("patterns", patterns)
    checks.within("weights", weights, 0, float(jnp.finfo(weights.dtype).max))
    return patterns, weights


def signs(
    images: Float[Array | np.ndarray, "n *pixels"], threshold: Scalar | None = None
) -> Float[Array, "n d"]:
    """Images (or any numbers) as patterns of ±1, one row each: +1 above the threshold, −1 elsewhere.

    ``threshold``: halfway between the smallest and the largest number unless given.
    """
    (known,) = checks.floats(images=images)
    if known.ndim < 2:
        checks.refuse("images", "an array with one image a row", f"shape {known.shape}")
    checks.finite("images", known)
    level = (known.min() + known.max()) / 2 if threshold is None else checks.scalar("threshold", threshold)
    checks.finite("threshold", level)
    return jnp.where(known > level, 1.0, -1.0).astype(known.dtype).reshape(known.shape[0], -1)


def _binary(name: str, patterns: Array, stored: Array) -> None:
    """Refuse states that are not ±1, if they are known: their energies and overlaps mean nothing."""
    if checks.concrete(patterns, stored):
        wrong = (np.abs(np.asarray(patterns)) != 1) & (np.asarray(stored) != 0)[:, None]
        if wrong.any():
            found = np.asarray(patterns)[tuple(np.argwhere(wrong)[0])]
            checks.refuse(
                name, "of entries ±1", f"{found:g}", "am.retrieval.signs(images, threshold) makes them"
            )


def _kept_sign(field: Array, states: Array) -> Array:
    """sign(h), and the bit as it is where h = 0, which costs no energy."""
    return jnp.where(field == 0, states, jnp.sign(field))


class HopfieldNetwork(AbstractEnergyMemory):
    """E(x) = −½ xᵀWx over x ∈ {±1}^d; x ← sign(Wx) = sign(−∇E) (Hopfield 1982; Slides p. 5, without the ½).

    - ``weight``: W, symmetric with a zero diagonal, shape (d, d): only then does flipping one bit to the
      sign of its field never raise E.
    - ``asynchronous``: an update is d single flips, in order, each seeing those before it: E never rises.
      All at once (the default) it can, and can end in a cycle of two.
    """

    weight: Float[Array, "d d"]
    steps: int = eqx.field(static=True)
    asynchronous: bool = eqx.field(static=True)

    def __init__(self, weight, steps: int = 20, asynchronous: bool = False):
        (weight,) = checks.floats(weight=weight)
        if weight.ndim != 2 or weight.shape[0] != weight.shape[1]:
            checks.refuse("weight", "a square matrix", f"shape {weight.shape}")
        if checks.concrete(weight):
            known = np.asarray(weight)
            checks.finite("weight", known)
            if np.diagonal(known).any():
                checks.refuse(
                    "weight", "of zero diagonal", f"up to {np.abs(np.diagonal(known)).max():g} there"
                )
            if (off := np.abs(known - known.T).max()) > 0:
                checks.refuse("weight", "symmetric", f"entries that differ by {off:g}", "take (W + Wᵀ)/2")
        self.weight = weight
        self.steps, self.asynchronous = checks.count("steps", steps), asynchronous

    @classmethod
    @checks.takes(task=RetrievalTask)
    def hebb(cls, task: RetrievalTask, steps: int = 20, asynchronous: bool = False) -> "HopfieldNetwork":
        """W = Σ_μ ξ_μ ξ_μᵀ/d without its diagonal, over the stored patterns, which are ±1."""
        _binary("patterns", task.patterns, task.stored)
        _binary("cues", task.cues, task.stored)
        patterns = task.patterns * task.stored[:, None]
        weight = patterns.T @ patterns / patterns.shape[1]
        return cls(weight - jnp.diag(jnp.diagonal(weight)), steps, asynchronous)

    @property
    def num_parameters(self) -> int:
        """d(d − 1)/2 couplings: W is symmetric, of zero diagonal."""
        return self.weight.shape[0] * (self.weight.shape[0] - 1) // 2

    def energy(self, state: Float[Array, " d"]) -> Float[Array, ""]:
        return -jnp.dot(state, self.weight @ state) / 2

    def field(self, states: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """h = Wx = −∇E(x)."""
        return states @ self.weight

    def update(self, states: Float[Array, "b d"]) -> Float[Array, "b d"]:
        if not self.asynchronous:
            return _kept_sign(self.field(states), states)

        def flip(i, states):
            bit = states[:, i]
            return states.at[:, i].set(_kept_sign(states @ self.weight[:, i], bit))

        return jax.lax.fori_loop(0, states.shape[1], flip, states)

    def trainable(self):
        return (self.weight,)


class AbstractSeparation(eqx.Module):
    """F of a dense memory: how sharply its energy tells patterns apart. Its argument is ξ·x/d ∈ [−1, 1]."""

    @abstractmethod
    def __call__(self, z: Array) -> Array:
        """F(z)."""

    @abstractmethod
    def differences(self, z: Array, h: float, stored: Array | None = None) -> tuple[Array, Array]:
        """F(z) − F(z − h) and F(z + h) − F(z); with ``stored``, which patterns are, each row divided by the
        largest |F(z)| of those."""


class Power(AbstractSeparation):
    """F(z) = z^k."""

    degree: int = eqx.field(static=True)

    def __call__(self, z: Array) -> Array:
        return z**self.degree

    def differences(self, z: Array, h: float, stored: Array | None = None) -> tuple[Array, Array]:
        if stored is None:
            here = self(z)
            return here - self(z - h), self(z + h) - here
        # As exp(k log(|z|/scale)): a quotient slightly above one overflows only where nothing else counts.
        scale = jnp.max(jnp.abs(z), axis=1, keepdims=True, where=stored, initial=0)
        unit = jnp.where(scale > 0, scale, 1)
        top = math.log(float(jnp.finfo(z.dtype).max)) / 4

        def power(x):
            size = jnp.abs(x) / unit
            grown = jnp.exp(jnp.minimum(self.degree * jnp.log(jnp.where(size > 0, size, 1)), top))
            sign = jnp.sign(x) if self.degree % 2 else 1
            return jnp.where(size > 0, sign * grown, 0)

        here = power(z)
        return here - power(z - h), power(z + h) - here


class Exponential(AbstractSeparation):
    """F(z) = e^{d(z − 1)}."""

    dimension: int = eqx.field(static=True)

    def __call__(self, z: Array) -> Array:
        return jnp.exp(self.dimension * (z - 1))

    def differences(self, z: Array, h: float, stored: Array | None = None) -> tuple[Array, Array]:
        if stored is not None:
            largest = jnp.max(z, axis=1, keepdims=True, where=stored, initial=-1)
            z = 1 + jnp.where(stored, z - largest, -jnp.inf)
        here, move = self(z), self.dimension * h
        return -math.expm1(-move) * here, math.expm1(move) * here


class DenseMemory(AbstractEnergyMemory):
    """E(x) = −Σ_μ c_μ F(ξ_μ·x/d) over x ∈ {±1}^d (Krotov and Hopfield 2016; Demircigil et al. 2017).

    ``separation`` F(z) = z^k or e^{d(z−1)}: the energies of Slides p. 5, Σ(ξ·x)^k and Σexp(ξ·x), divided by
    d^k and e^d so that they do not overflow; no update changes. ``weights`` c: 1 for a stored pattern, 0 for
    one that is not.

    An update sets every bit to the one of lower energy, the others held: x_i ← sign(E(x_i=−1) − E(x_i=+1)),
    all bits at once. With F = z² this is ``HopfieldNetwork.hebb``: the diagonal adds the same to both.
    """

    patterns: Float[Array, "n d"]
    weights: Float[Array, " n"]
    separation: AbstractSeparation
    steps: int = eqx.field(static=True)

    def __init__(self, patterns, weights, separation: AbstractSeparation, steps: int = 1):
        self.patterns, self.weights = _weighted(patterns, weights)
        _binary("patterns", self.patterns, self.weights)
        self.separation, self.steps = separation, checks.count("steps", steps)

    @classmethod
    @checks.takes(task=RetrievalTask)
    def polynomial(cls, task: RetrievalTask, degree: int, steps: int = 1) -> "DenseMemory":
        """F(z) = z^k, k ≥ 2."""
        _binary("cues", task.cues, task.stored)
        return cls(task.patterns, task.stored, Power(checks.count("degree", degree, 2)), steps)

    @classmethod
    @checks.takes(task=RetrievalTask)
    def exponential(cls, task: RetrievalTask, steps: int = 1) -> "DenseMemory":
        """F(z) = e^{d(z − 1)}."""
        _binary("cues", task.cues, task.stored)
        return cls(task.patterns, task.stored, Exponential(task.patterns.shape[1]), steps)

    def energy(self, state: Float[Array, " d"]) -> Float[Array, ""]:
        return -jnp.dot(self.weights, self.separation(self.patterns @ state / state.shape[0]))

    def field(self, states: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """E(x_i = −1) − E(x_i = +1), for every bit.

        With o = ξ·x, setting bit i leaves o or moves it by −2 where ξ_i x_i = 1, by +2 where it is −1. So the
        difference is Σ c ξ_i (F(o) − F(o−2)) over the first kind plus Σ c ξ_i (F(o+2) − F(o)) over the
        second: two products with ξ, not one for each bit.
        """
        return self._differences(states, scaled=False)

    def _differences(self, states: Array, scaled: bool) -> Float[Array, "b d"]:
        """``field``; or, ``scaled``, each state's times a positive number that makes its largest term one."""
        d = states.shape[1]
        overlap = states @ self.patterns.T / d
        stored = self.weights[None] != 0 if scaled else None
        fall, rise = (self.weights[None] * f for f in self.separation.differences(overlap, 2 / d, stored))
        lean = jnp.sum(fall - rise, axis=1, keepdims=True)
        return ((fall + rise) @ self.patterns + states * lean) / 2

    def update(self, states: Float[Array, "b d"]) -> Float[Array, "b d"]:
        # Only signs count: relative to the largest term nothing underflows, for any d and k.
        return _kept_sign(self._differences(states, scaled=True), states)

    def trainable(self):
        return (self.patterns,)


class AttentionMemory(AbstractEnergyMemory):
    """E(x) = ½‖x‖² − β⁻¹ log Σ_μ c_μ e^{βξ_μ·x} (Ramsauer et al. 2020): attention is one step down it.

    The sum is that of the exponential ``DenseMemory``; the logarithm makes its gradient a softmax:
    x − ∇E(x) = Ξᵀ softmax(βΞx), attention with keys and values ξ_μ. E never rises (its ½‖x‖² is convex, the
    rest concave: the step is that of the concave-convex procedure).
    """

    patterns: Float[Array, "n d"]
    weights: Float[Array, " n"]
    beta: Float[Array, ""]
    steps: int = eqx.field(static=True)

    def __init__(self, patterns, weights, beta: Scalar, steps: int = 1):
        self.patterns, self.weights = _weighted(patterns, weights)
        beta = checks.scalar("beta", beta)
        checks.positive("beta", beta.astype(self.patterns.dtype))
        self.beta, self.steps = beta.astype(self.patterns.dtype), checks.count("steps", steps)

    @classmethod
    @checks.takes(task=RetrievalTask)
    def store(cls, task: RetrievalTask, beta: Scalar, steps: int = 1) -> "AttentionMemory":
        """The patterns of a task, at inverse temperature β."""
        return cls(task.patterns, task.stored, beta, steps)

    def energy(self, state: Float[Array, " d"]) -> Float[Array, ""]:
        total = jax.nn.logsumexp(self.beta * (self.patterns @ state), b=self.weights)
        return jnp.dot(state, state) / 2 - total / self.beta

    def update(self, states: Float[Array, "b d"]) -> Float[Array, "b d"]:
        # x − ∇E(x), of which the difference cancels where x is large.
        seen = jnp.where(self.weights > 0, jnp.log(jnp.where(self.weights > 0, self.weights, 1)), -jnp.inf)
        return jax.nn.softmax(self.beta * states @ self.patterns.T + seen[None], axis=1) @ self.patterns

    def trainable(self):
        return (self.patterns,)
