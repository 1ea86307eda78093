"""Memories of two matrices: low rank W₁ᵀW₂, and an MLP W₁ᵀσ(W₂e + b) (Slides p. 9; Birth appendix D).

Sizes as everywhere: logits u_yᵀ h with h ∈ R^k, inputs e_x ∈ R^d, and m the rank or the width.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .... import checks
from ....checks import Scalar
from ....models.base import AbstractWeights
from ....tasks.embeddings import product
from ..task import AssociationTask, schemes
from .linear import outer_product, rows


def _pair(output, inner) -> tuple[Array, Array]:
    output, inner = checks.floats(output=output, inner=inner)
    for name, weight in (("output", output), ("input", inner)):
        checks.shaped(name, weight, "a matrix, one row for each of the m inner dimensions", 2)
        checks.finite(name, weight)
    if output.shape[0] != inner.shape[0]:
        checks.refuse("output", f"of {inner.shape[0]} rows, as input", f"{output.shape[0]} rows")
    return output, inner


class LowRankMemory(AbstractWeights):
    """Logits u_yᵀ W₁ᵀ W₂ e_x: ``output`` W₁ of shape (m, k), ``input`` W₂ of shape (m, d), rank at most m.

    A key-query or output-value pair of a transformer. Slides p. 9: N ≈ md associations for m ≤ d.
    """

    task_type: ClassVar[type] = AssociationTask
    output: Float[Array, "m k"]
    input: Float[Array, "m d"]

    def __init__(self, output, input):
        self.output, self.input = _pair(output, input)

    @classmethod
    @checks.takes(task=AssociationTask, key=checks.KEY)
    def gaussian(cls, task: AssociationTask, key: PRNGKeyArray, rank: int) -> "LowRankMemory":
        """Entries N(0, 1/m) and N(0, 1/d)."""
        rank = checks.count("rank", rank)
        keys, (k, d) = jr.split(key), (task.outputs.shape[1], task.inputs.shape[1])
        dtype = task.dtype
        return cls(
            jr.normal(keys[0], (rank, k), dtype) / math.sqrt(rank),
            jr.normal(keys[1], (rank, d), dtype) / math.sqrt(d),
        )

    @classmethod
    @checks.takes(task=AssociationTask, key=checks.KEY)
    def one_step(
        cls, task: AssociationTask, key: PRNGKeyArray, rank: int, scheme: Float[Array, " n"] | None = None
    ) -> "LowRankMemory":
        """Random W₁ (entries N(0, 1/m)) and W₂ = W₁ Σ_x q(x) u_{f(x)} e_xᵀ: one step on W₂ from 0.

        ``scheme``: q, as in ``LinearMemory.outer_product``.
        """
        output = cls.gaussian(task, key, rank).output
        return cls(output, output @ outer_product(task, scheme))

    @classmethod
    @checks.takes(task=AssociationTask, key=checks.KEY)
    def factorised(cls, task: AssociationTask, key: PRNGKeyArray, rank: int) -> "LowRankMemory":
        """Birth appendix D: W = (d/2d')UV, U = U₀ + Σ u(V₀e)ᵀ, V = V₀ + Σ (U₀ᵀu)eᵀ, with N(0, 1/d) start.

        For orthonormal embeddings and f = id the scores are g_kᵀg_l exactly (docs/theory.md: birth.34).
        """
        rank = checks.count("rank", rank)
        (k, d), dtype = (task.outputs.shape[1], task.inputs.shape[1]), task.dtype
        if k != d:
            checks.refuse("task", "of embeddings of one width (Birth appendix D)", f"widths {k} and {d}")
        keys = jr.split(key)
        U0 = jr.normal(keys[0], (k, rank), dtype) / math.sqrt(d)
        V0 = jr.normal(keys[1], (rank, d), dtype) / math.sqrt(d)
        memory = outer_product(task)
        U, V = U0 + memory @ V0.T, V0 + U0.T @ memory
        scale = math.sqrt(d / (2 * rank))
        return cls(scale * U.T, scale * V)

    def scores(self, task, tokens: Int[Array, " b"] | None = None):
        return task.logits(product(product(rows(task, tokens), self.input.T), self.output))

    def trainable(self):
        return (self.output, self.input)


class Hermite(eqx.Module):
    """He_k(z)/√k!, the probabilists' polynomial, orthonormal under N(0, 1): E[σ(a)σ(b)] = E[ab]^k.

    The activation of the one-step MLP of Slides p. 9 (kernel regime; k ≈ log N/log d).
    """

    degree: int = eqx.field(static=True)

    def __call__(self, z: Array) -> Array:
        before, here = jnp.ones_like(z), z
        if self.degree == 0:
            return before
        for k in range(1, self.degree):
            before, here = here, z * here - k * before
        return here / math.sqrt(math.factorial(self.degree))


class MLPMemory(AbstractWeights):
    """Logits u_yᵀ W₁ᵀ σ(W₂e_x + b): ``output`` W₁ (m, k), ``input`` W₂ (m, d), ``bias`` b (m,).

    ``activation``: σ, ReLU unless given; ``Hermite(k)`` for the kernel construction. With inputs that are
    sums e_i + ẽ_j (``embeddings.pairs``) it is the multi-input memory of Slides p. 9.
    """

    task_type: ClassVar[type] = AssociationTask
    output: Float[Array, "m k"]
    input: Float[Array, "m d"]
    bias: Float[Array, " m"]
    activation: Callable = eqx.field(static=True)

    def __init__(self, output, input, bias=None, activation: Callable = jax.nn.relu):
        self.output, self.input = _pair(output, input)
        width = self.input.shape[0]
        given = jnp.zeros(width) if bias is None else checks.floats(bias=bias)[0]
        self.bias = given.astype(self.input.dtype)
        if self.bias.shape != (width,):
            checks.refuse("bias", f"of shape ({width},)", f"shape {self.bias.shape}")
        checks.a_function("activation", activation, "a function of an array")
        self.activation = activation

    @classmethod
    @checks.takes(task=AssociationTask, key=checks.KEY)
    def gaussian(
        cls, task: AssociationTask, key: PRNGKeyArray, width: int, activation: Callable = jax.nn.relu
    ) -> "MLPMemory":
        """Entries N(0, 1/m) and N(0, 1/d), no bias."""
        start = LowRankMemory.gaussian(task, key, checks.count("width", width))
        return cls(start.output, start.input, None, activation)

    @classmethod
    @checks.takes(task=AssociationTask, key=checks.KEY, activation=Callable)
    def one_step(
        cls,
        task: AssociationTask,
        key: PRNGKeyArray,
        width: int,
        activation: Callable = jax.nn.relu,
        scheme: Float[Array, " n"] | None = None,
    ) -> "MLPMemory":
        """Random W₂ (entries N(0, 1), so that W₂e = O(1)) and W₁ = (1/m) Σ_x q(x) σ(W₂e_x) u_{f(x)}ᵀ.

        One step on W₁ from 0. Scores are Σ_x q(x) κ(e_x, e_z) u_yᵀu_{f(x)}, κ of m random features.
        """
        width = checks.count("width", width)
        inner = jr.normal(key, (width, task.inputs.shape[1]), task.dtype)
        features = activation(task.inputs @ inner.T)
        return cls(outer_product(task, scheme, features).T / width, inner, None, activation)

    @classmethod
    @checks.takes(task=AssociationTask)
    def thresholded(
        cls, task: AssociationTask, threshold: Scalar = 0.5, activation: Callable = jax.nn.relu
    ) -> "MLPMemory":
        """F(h) = Σ_x u_{f(x)} σ(e_xᵀh − b), one neuron a stored token (Birth appendix D, MLP blocks)."""
        bias = jnp.full(task.num_tokens, -checks.number("threshold", threshold).astype(task.dtype))
        return cls(task.outputs[task.labels] * schemes.equal(task)[:, None], task.inputs, bias, activation)

    def scores(self, task, tokens: Int[Array, " b"] | None = None):
        hidden = self.activation(product(rows(task, tokens), self.input.T) + self.bias)
        return task.logits(product(hidden, self.output))

    def trainable(self):
        return (self.output, self.input, self.bias)
