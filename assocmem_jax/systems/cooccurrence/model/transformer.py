"""The one-layer transformer of Cooc.

In the basis of the tokens all that the output needs are G(μ) = aᵀWW_Vμ and B = W_KᵀW_Q:
F(X) = Σ_l Σ_h p_lh G(x_h), p_l = softmax_h(x_hᵀBx_l/√m), Cooc (1).
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .... import checks
from ....checks import Scalar
from ....models import AbstractWeights
from ....models.attention import attention
from ..task import CooccurrenceTask


def attended(
    task: CooccurrenceTask, table: Float[Array, "d d"], width: int, samples=None
) -> Float[Array, "n l l"]:
    """p_lh, rows l the queries: softmax over h of B[x_h, x_l]/√m."""
    tokens = task.tokens if samples is None else task.tokens[samples]
    scores = table[tokens[:, None, :], tokens[:, :, None]] / np.sqrt(width)
    return attention(scores)


def output(task: CooccurrenceTask, values, table, width: int, samples=None) -> Float[Array, " n"]:
    """F(X) from G and B."""
    tokens = task.tokens if samples is None else task.tokens[samples]
    return jnp.einsum("nlh,nh->n", attended(task, table, width, samples), values[tokens])


def usual_spread(task: CooccurrenceTask, width: int) -> Scalar:
    """σ₀ = .3/√(Lm), of W_V, W_K, W_Q unless given."""
    return 0.3 / np.sqrt(task.tokens.shape[1] * width)


class CooccurrenceTransformer(AbstractWeights):
    """F(X) = Σ_l aᵀW W_V X softmax(XᵀW_KᵀW_Qx_l/√m), Cooc (1).

    ``mlp``: W, shape (m₁, m). ``value``, ``key``, ``query``: W_V, W_K, W_Q, shape (m, d). ``signs``: a, ±1,
    shape (m₁,), fixed. m is the embedding dimension ("width" here), m₁ the number of neurons.
    """

    task_type: ClassVar[type] = CooccurrenceTask
    mlp: Float[Array, "m1 m"]
    value: Float[Array, "m d"]
    key: Float[Array, "m d"]
    query: Float[Array, "m d"]
    signs: Float[Array, " m1"]

    def __init__(self, mlp, value, key, query, signs):
        mlp, value, key, query, signs = checks.floats(mlp=mlp, value=value, key=key, query=query, signs=signs)
        for name, part in (("mlp", mlp), ("value", value), ("key", key), ("query", query)):
            checks.shaped(name, part, "a matrix", 2)
            checks.finite(name, part)
        m1, m = mlp.shape
        for name, part in (("value", value), ("key", key), ("query", query)):
            if part.shape != (m, value.shape[1]):
                checks.refuse(name, f"of shape ({m}, {value.shape[1]})", f"shape {part.shape}")
        if signs.shape != (m1,):
            checks.refuse("signs", f"of shape ({m1},)", f"shape {signs.shape}")
        if checks.concrete(signs) and not np.isin(np.asarray(signs), (-1.0, 1.0)).all():
            checks.refuse("signs", "−1 or 1", np.unique(np.asarray(signs))[:4])
        self.mlp, self.value, self.key, self.query, self.signs = mlp, value, key, query, signs

    @classmethod
    @checks.takes(task=CooccurrenceTask, key=checks.KEY)
    def gaussian(
        cls,
        task: CooccurrenceTask,
        key: PRNGKeyArray,
        width: int = 128,
        neurons: int = 256,
        sigma0: Scalar | None = None,
        sigma1: Scalar | None = None,
    ) -> "CooccurrenceTransformer":
        """Cooc section 2.2: W_V, W_K, W_Q ~ N(0, σ₀²), W ~ N(0, σ₁²), a uniform on ±1.

        Unless given, σ₀ = .3/√(Lm) and σ₁ = .3/√m₁ (Condition 1 gives orders only).
        """
        width, neurons = checks.count("width", width), checks.count("neurons", neurons)
        small = usual_spread(task, width) if sigma0 is None else sigma0
        large = 0.3 / np.sqrt(neurons) if sigma1 is None else sigma1
        checks.positive("sigma0", small)
        checks.positive("sigma1", large)
        small = checks.scalar("sigma0", small).astype(task.dtype)
        large = checks.scalar("sigma1", large).astype(task.dtype)
        keys, shape = jr.split(key, 5), (width, task.dimension)
        value, at, query = (small * jr.normal(k, shape, task.dtype) for k in keys[:3])
        mlp = large * jr.normal(keys[3], (neurons, width), task.dtype)
        return cls(mlp, value, at, query, jr.rademacher(keys[4], (neurons,), task.dtype))

    @classmethod
    @checks.takes(task=CooccurrenceTask, key=checks.KEY, law=("uniform", "normal"))
    def kaiming(
        cls,
        task: CooccurrenceTask,
        key: PRNGKeyArray,
        width: int = 128,
        neurons: int = 256,
        *,
        law: str = "uniform",
        gain: Scalar = 2**0.5,
    ) -> "CooccurrenceTransformer":
        """Entries of standard deviation gain/√fan_in, uniform or normal; fan_in is d for W_V, W_K, W_Q and
        m for W.

        Cooc appendix A does not say which of the two, nor the gain; √2 is Kaiming's for ReLU.
        """
        width, neurons = checks.count("width", width), checks.count("neurons", neurons)
        checks.positive("gain", gain)
        gain = checks.scalar("gain", gain).astype(task.dtype)

        def draw(key, rows, fan_in):
            if law == "normal":
                return gain / np.sqrt(fan_in) * jr.normal(key, (rows, fan_in), task.dtype)
            bound = gain * np.sqrt(3 / fan_in)
            return bound * jr.uniform(key, (rows, fan_in), task.dtype, -1, 1)

        keys = jr.split(key, 5)
        value, at, query = (draw(k, width, task.dimension) for k in keys[:3])
        signs = jr.rademacher(keys[4], (neurons,), task.dtype)
        return cls(draw(keys[3], neurons, width), value, at, query, signs)

    @property
    def width(self) -> int:
        """m."""
        return self.mlp.shape[1]

    @property
    def values(self) -> Float[Array, " d"]:
        """G(μ) = aᵀWW_Vμ for every token."""
        return (self.signs @ self.mlp) @ self.value

    @property
    def table(self) -> Float[Array, "d d"]:
        """B = W_KᵀW_Q: entry (μ, ν) is μᵀW_KᵀW_Qν, key first."""
        return self.key.T @ self.query

    @property
    def value_gram(self) -> Float[Array, "d d"]:
        """W_VᵀW_V."""
        return self.value.T @ self.value

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None):
        return output(task, self.values, self.table, self.width, tokens)

    def trainable(self):
        return self.mlp, self.value, self.key, self.query
