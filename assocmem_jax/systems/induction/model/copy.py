"""The global against the context, in three numbers."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .... import checks
from ....models import AbstractModel
from ..task import NoisyCopyTask


class NoisyCopySystem(AbstractModel):
    """What feed-forward and value matrix hold of τ and of the answer, from zero or any symmetric weights.

    With F = f_τ − f_j, C = V_{τ,o} − V_{j,o}, B = V_{o,o} − V_{j,o} (j any other token), and probabilities
    p_τ, p_B, p_o = e^{F+C}/Z, e^B/Z, 1/Z of τ, the answer and each other token, Z = e^{F+C} + e^B + N − 1,

        F' = (1 + 1/N)(α − p_τ),  C' = (α − p_τ + p_o)/N,  B' = (1 − α − p_B + p_o)/N.

    They are linear in f and V, so the flow of the population loss closes, and descent by any optimizer that
    is linear in the gradients (docs/theory.md: context.closed). ``values``: (C, B). Without a feed-forward:
    ``simulate(…, trainable=lambda m: m.values)``.

        task = am.induction.NoisyCopyTask(64, noise=0.3)
        am.simulate(task, am.induction.NoisyCopySystem.zeros(task), am.GradientFlow(1e3))
    """

    weight_space: ClassVar[bool] = False
    task_type: ClassVar[type] = NoisyCopyTask
    feedforward: Float[Array, ""]
    values: Float[Array, " 2"]

    @classmethod
    @checks.takes(task=NoisyCopyTask)
    def zeros(cls, task: NoisyCopyTask) -> "NoisyCopySystem":
        """f = 0, V = 0."""
        return cls(jnp.zeros((), task.dtype), jnp.zeros(2, task.dtype))

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None) -> Float[Array, "1 3"]:
        """(F + C, B, 0): τ, the answer, each other token."""
        return jnp.stack([self.feedforward + self.values[0], self.values[1], jnp.zeros_like(self.values[0])])[
            None
        ]

    def trainable(self):
        return self.feedforward, self.values

    def tangent(self, task: Any, gradient: "NoisyCopySystem") -> "NoisyCopySystem":
        # f_τ moves against N others; V_{τ,o} and V_{o,o} against the same N − 1.
        f, v = gradient.feedforward, gradient.values
        return type(self)(
            None if f is None else (1 + 1 / task.tokens) * f,  # pyright: ignore[reportArgumentType]
            None if v is None else (v + jnp.sum(v) / (task.tokens - 1)) / task.tokens,  # pyright: ignore[reportArgumentType]
        )

    def noise(self, task: Any, key: Any) -> Any:
        checks.refuse(
            "dynamics", "a flow or a descent for a reduced system", "a StochasticFlow",
            "train a LinearMemory on task.associations()",
        )  # fmt: skip
