"""What a trigger is followed by, once attention has found it: the answer of the context, or noise."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .... import checks
from ....checks import Scalar
from ....tasks import AbstractClassificationTask
from ...memory.task import AssociationTask


class NoisyCopyTask(AbstractClassificationTask):
    """o uniform on N tokens, read by an attention that is right; y = τ with probability α, else o.

    What is left to learn of the bigram task with noise where its trigger is fixed and its induction head is
    there (Chen, Bruna, Bietti 2024): a feed-forward f ∈ R^{N+1} of the trigger and a value matrix V of o, in
    orthonormal embeddings, with logits f_y + V_{y,o} of N + 1 classes. ``associations`` is the task of these
    weights; ``am.induction.NoisyCopySystem`` are the three numbers that they close in.

    - ``tokens``: N ≥ 2; it need not be whole, and may be an axis of a sweep. ``noise``: α in [0, 1].

    Margins and error are those of the answer, against τ and the other tokens: with
    ``until=am.perfect_accuracy()`` a run stops where the answer overtakes τ.
    """

    loss_units: ClassVar[str] = "nats"
    tokens: Float[Array, ""]
    noise: Float[Array, ""]

    def __init__(self, tokens: Scalar, noise: Scalar):
        tokens, noise = checks.floats(
            tokens=checks.number("tokens", tokens), noise=checks.number("noise", noise)
        )
        if checks.concrete(tokens) and tokens < 2:
            checks.refuse("tokens", "at least 2", tokens)
        checks.within("noise", noise, 0, 1)
        self.tokens, self.noise = tokens, noise

    @property
    def dtype(self) -> Any:
        return self.noise.dtype

    @property
    def score_shape(self) -> tuple[int, ...]:
        """Scores of τ, of the answer and of each other token: the same for every o."""
        return (1, 3)

    def log_probabilities(self, model: Any) -> Float[Array, " 3"]:
        """log p of τ, of the answer and of each of the N − 1 other tokens."""
        (scores,) = model.scores(self)
        return scores - jax.nn.logsumexp(scores + jnp.log(jnp.stack([1.0, 1.0, self.tokens - 1])))

    def loss(self, model: Any) -> Float[Array, ""]:
        """−α log p(τ) − (1 − α) log p(o)."""
        noise, answer, _ = self.log_probabilities(model)
        return -self.noise * noise - (1 - self.noise) * answer

    def margins(self, model: Any) -> Float[Array, " 1"]:
        """Score of the answer minus that of τ or of another token, whichever is larger."""
        (scores,) = model.scores(self)
        return (scores[1] - jnp.maximum(scores[0], scores[2]))[None]

    def error(self, model: Any) -> Float[Array, ""]:
        """1 while the answer does not lead; a tie is an error."""
        return jnp.mean(self.margins(model) <= 0, dtype=self.dtype)

    def sampler(self, batch_size: int) -> Callable:
        return _of_the_population()

    def sampled_loss(self, model: Any, batch: Any) -> Float[Array, ""]:
        return _of_the_population()

    def associations(self) -> AssociationTask:
        """The same for weights: inputs (1, e_o), W = [f | V] of shape (N + 1, N + 1), class N is τ."""
        if not checks.concrete(self) or self.tokens != jnp.round(self.tokens):
            checks.refuse("tokens", "a whole number that is known, for weights", self.tokens)
        n = int(self.tokens)
        copied = np.hstack([np.eye(n), np.zeros((n, 1))])
        targets = (1 - self.noise) * copied + self.noise * np.eye(n + 1)[n]
        inputs = np.hstack([np.ones((n, 1)), np.eye(n)])
        return AssociationTask(np.ones(n, self.dtype) / n, targets, inputs, np.eye(n + 1))


def _of_the_population() -> Any:
    checks.refuse(
        "batch_size", "None: this task is its population", "a batch",
        "train a LinearMemory on task.associations()",
    )  # fmt: skip
