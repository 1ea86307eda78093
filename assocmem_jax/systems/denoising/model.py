"""Attention that denoises a query by its context, and the energy that its step descends."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import checks
from ...checks import Scalar
from ...models import AbstractWeights
from ..retrieval.model import AttentionMemory
from .task import AbstractContextLaw, DenoisingTask


class AbstractDenoiser(AbstractWeights):
    """An answer to a query, from the points of its context."""

    task_type: ClassVar[type] = DenoisingTask

    @abstractmethod
    def denoised(self, contexts: Float[Array, "b l n"], queries: Float[Array, "b n"]) -> Float[Array, "b n"]:
        """F(X, x̃) of every sequence."""


def _squares(value, key) -> tuple[Array, Array]:
    value, key = checks.floats(value=value, key=key)
    for name, weight in {"value": value, "key": key}.items():
        if weight.ndim != 2 or weight.shape[0] != weight.shape[1] or weight.shape != value.shape:
            checks.refuse(name, "n × n, as many in both", f"shape {weight.shape}")
        checks.finite(name, weight)
    return value, key


def _identities(dimension: int, scale: Scalar) -> tuple[Array, Array]:
    eye = jnp.eye(checks.count("dimension", dimension))
    return eye, checks.number("scale", scale) * eye


class LinearAttention(AbstractDenoiser):
    """F = (1/L) W_PV X Xᵀ W_KQ x̃, the points the columns of X. Both weights are trained."""

    value: Float[Array, "n n"]
    key: Float[Array, "n n"]

    def __init__(self, value, key):
        self.value, self.key = _squares(value, key)

    @classmethod
    def scaled(cls, dimension: int, scale: Scalar) -> "LinearAttention":
        """W_PV = I, W_KQ = cI. On a linear manifold at length L the best c is
        ``am.theory.denoising.attention_scale``."""
        return cls(*_identities(dimension, scale))

    def denoised(self, contexts, queries):
        seen = jnp.einsum("bln,bn->bl", contexts, queries @ self.key.T)
        return jnp.einsum("bl,bln->bn", seen, contexts) @ self.value.T / contexts.shape[1]

    def trainable(self):
        return self.value, self.key


class SoftmaxAttention(AbstractDenoiser):
    """F = W_PV X softmax(Xᵀ W_KQ x̃). Both weights are trained."""

    value: Float[Array, "n n"]
    key: Float[Array, "n n"]

    def __init__(self, value, key):
        self.value, self.key = _squares(value, key)

    @classmethod
    def scaled(cls, dimension: int, scale: Scalar) -> "SoftmaxAttention":
        """W_PV = I, W_KQ = βI: one step of ``EnergySteps``."""
        return cls(*_identities(dimension, scale))

    def denoised(self, contexts, queries):
        weights = jax.nn.softmax(jnp.einsum("bln,bn->bl", contexts, queries @ self.key.T), axis=1)
        return jnp.einsum("bl,bln->bn", weights, contexts) @ self.value.T

    def trainable(self):
        return self.value, self.key


class EnergySteps(AbstractDenoiser):
    """``steps`` of x ← κx + γ Xᵀ softmax(βXx) from x̃: descent of rate γ on
    (1 − κ)/(2γ) ‖x‖² − β⁻¹ log Σ e^{βx_i·x}.

    κ = 0, γ = 1 (``keep``, ``gain``) is ``am.AttentionMemory`` that stores the context: the same energy, the
    same update. β, κ and γ are trained.
    """

    beta: Float[Array, ""]
    keep: Float[Array, ""]
    gain: Float[Array, ""]
    steps: int = eqx.field(static=True)

    def __init__(self, beta: Scalar, steps: int = 1, *, keep: Scalar = 0.0, gain: Scalar = 1.0):
        beta, keep, gain = checks.floats(beta=beta, keep=keep, gain=gain)
        for name, held in {"beta": beta, "keep": keep, "gain": gain}.items():
            checks.shaped(name, held, "one number", 0)
            checks.finite(name, held)
        checks.positive("beta", beta)
        self.beta, self.keep, self.gain = beta, keep, gain
        self.steps = checks.count("steps", steps)

    @classmethod
    @checks.takes(law=AbstractContextLaw)
    def bayes(cls, law: AbstractContextLaw, noise: Scalar) -> "EnergySteps":
        """The step that is Bayes as L → ∞: ``law.step(noise)``."""
        noise = checks.number("noise", noise)
        checks.positive("noise", noise)
        beta, keep, gain = law.step(noise)
        return cls(beta, keep=keep, gain=gain)

    def denoised(self, contexts, queries):
        def one(context, query):
            memory = AttentionMemory(context, jnp.ones(len(context), context.dtype), self.beta)
            step = lambda _, x: self.keep * x + self.gain * memory.update(x)  # noqa: E731
            return jax.lax.fori_loop(0, self.steps, step, query[None])[0]

        return jax.vmap(one)(contexts, queries)

    def trainable(self):
        return self.beta, self.keep, self.gain
