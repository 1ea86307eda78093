"""Learning through noise, Slides p. 29–30: one token of a sequence bears a trigger; its answer is asked."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ... import checks
from ...checks import Scalar
from ...tasks import AbstractClassificationTask, cross_entropy, laws
from ...tasks.losses import lead


class Sequences(NamedTuple):
    """``tokens`` z_1 … z_T of shape (n, T), the ``places`` t* of the trigger and the ``answers`` f*(z_t*),
    (n,)."""

    tokens: Int[Array, "n t"]
    places: Int[Array, " n"]
    answers: Int[Array, " n"]


@runtime_checkable
class Answers(Protocol):
    """one with scores(task, tokens=None) and logits(task, batch); build it from this task"""

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None) -> Float[Array, "b m"]:
        """Logits of the sequences of ``task.data`` (of those named)."""
        ...

    def logits(self, task: Any, batch: Sequences) -> Float[Array, "n m"]:
        """Logits of the M answers, for each sequence."""
        ...


class TriggerTask(AbstractClassificationTask):
    """z_1 … z_T uniform on N tokens, t* uniform; x_t = e_{z_t} + 1{t = t*} τ; the answer is f*(z_t*).

    Slides p. 29–30. All other tokens are noise that attention must learn to leave out.

    - ``inputs``: E, shape (N, d); ``trigger``: τ, shape (d,); ``outputs``: U, shape (M, d').
    - ``targets``: f*, whole numbers in [0, M), one a token; the identity unless given (N ≤ M).
    - ``length``: T, at least 2: with one token there is no noise.
    - ``draws``, ``key``: the loss is the mean over so many sequences drawn once; ``sample`` draws fresh ones.

    The loss is the cross-entropy in nats. No model here knows where a token stands.
    """

    loss_units: ClassVar[str] = "nats"
    inputs: Float[Array, "n d"]
    outputs: Float[Array, "m k"]
    trigger: Float[Array, " d"]
    targets: Int[Array, " n"]
    data: Sequences
    length: int = eqx.field(static=True)

    def __init__(
        self,
        inputs,
        outputs,
        trigger,
        targets=None,
        *,
        length: int = 32,
        draws: int = 1024,
        key: PRNGKeyArray | None = None,
    ):
        inputs, outputs, trigger = checks.floats(inputs=inputs, outputs=outputs, trigger=trigger)
        checks.shaped("inputs", inputs, "E of shape (N, d)", 2)
        checks.shaped("outputs", outputs, "U of shape (M, d')", 2)
        if trigger.shape != inputs.shape[1:]:
            checks.refuse("trigger", f"of shape {inputs.shape[1:]}, as a row of inputs", trigger.shape)
        (N, d), M = inputs.shape, len(outputs)
        if min(N, M) < 2 or d < 1:
            checks.refuse("inputs", "of at least two tokens, two answers and one dimension", (N, M, d))
        for name, value in {"inputs": inputs, "outputs": outputs, "trigger": trigger}.items():
            checks.finite(name, value)
        if targets is None:
            if N > M:
                checks.refuse("targets", f"given where N = {N} tokens have M = {M} answers", None)
            targets = np.arange(N)
        targets = jnp.asarray(checks.array("targets", targets, "whole numbers"))
        if targets.shape != (N,) or not jnp.issubdtype(targets.dtype, jnp.integer):
            checks.refuse("targets", f"{N} whole numbers", f"{targets.dtype}{targets.shape}")
        checks.within("targets", targets, 0, M - 1)
        self.inputs, self.outputs, self.trigger = inputs, outputs, trigger
        self.targets = targets.astype(jnp.int32)
        self.length = checks.count("length", length, 2, "with one token there is no noise")
        key = jr.key(0) if key is None else key
        checks.key("key", key)
        self.data = _drawn(key, self.targets, checks.count("draws", draws), self.length)

    @classmethod
    @checks.takes(key=checks.KEY)
    def gaussian(
        cls, tokens: int, dimension: int, key: PRNGKeyArray, *, length: int = 32, draws: int = 1024
    ) -> "TriggerTask":
        """E, U (as many answers as tokens) and τ with entries N(0, 1/d); f* the identity, which loses
        nothing: any bijection is this one with other names."""
        N, d = checks.count("tokens", tokens, 2), checks.count("dimension", dimension)
        rows = jr.normal(key, (2 * N + 1, d)) / np.sqrt(d)
        data = jr.fold_in(key, 1)
        return cls(rows[:N], rows[N:-1], rows[-1], length=length, draws=draws, key=data)

    def narrowed(self, dimension: Scalar | int) -> "TriggerTask":
        """The first ``dimension`` coordinates of every embedding, scaled by √(D/d), in arrays of the same
        shape: of ``gaussian``, a task of that dimension. The number may be traced, so that a search over d is
        one program. Data stay."""
        width = min(self.inputs.shape[1], self.outputs.shape[1])
        checks.within("dimension", dimension, 1, width)

        def cut(rows):
            kept = jnp.arange(rows.shape[-1]) < dimension
            return jnp.where(kept, rows * jnp.sqrt(rows.shape[-1] / dimension).astype(rows.dtype), 0)

        where = lambda task: (task.inputs, task.outputs, task.trigger)  # noqa: E731
        return eqx.tree_at(where, self, tuple(map(cut, where(self))))

    @property
    def num_tokens(self) -> int:
        """N."""
        return self.inputs.shape[0]

    @property
    def num_answers(self) -> int:
        """M."""
        return self.outputs.shape[0]

    @property
    def score_shape(self) -> tuple[int, int]:
        """(sequences of ``data``, M)."""
        return len(self.data.answers), self.num_answers

    @property
    def dtype(self) -> Any:
        return self.inputs.dtype

    def loss(self, model: Answers) -> Float[Array, ""]:
        """Mean cross-entropy over ``data``, in nats."""
        return jnp.mean(cross_entropy(model.scores(self), self.data.answers))

    def margins(self, model: Answers) -> Float[Array, " n"]:
        """Score of the right answer minus the largest other, for every sequence of ``data``."""
        return lead(model.scores(self), self.data.answers)

    def error(self, model: Answers) -> Float[Array, ""]:
        """Share of ``data`` whose right answer has not the largest score; a tie is an error."""
        return jnp.mean(jnp.where(self.margins(model) > 0, 0.0, 1.0), dtype=self.dtype)

    def sample(self, key: PRNGKeyArray, n: int) -> Sequences:
        """n fresh sequences."""
        return self.sampler(n)(key)

    def sampler(self, batch_size: int) -> Callable[[PRNGKeyArray], Sequences]:
        """A function of a key that draws ``batch_size`` fresh sequences, on the device."""
        n = checks.count("batch_size", batch_size)
        return lambda key: _drawn(key, self.targets, n, self.length)

    def sampled_loss(self, model: Answers, batch: Sequences) -> Float[Array, ""]:
        """Mean cross-entropy of a batch."""
        return jnp.mean(cross_entropy(model.logits(self, batch), batch.answers))


def _drawn(key, targets, n: int, length: int) -> Sequences:
    one, other = jr.split(key)
    tokens = laws.digits(one, n, length, len(targets))
    places = laws.below(other, (n,), length)
    return Sequences(tokens, places, targets[marked(tokens, places)])


def marked(tokens: Int[Array, "n t"], places: Int[Array, " n"]) -> Int[Array, " n"]:
    """z_t*."""
    return jnp.take_along_axis(tokens, places[:, None], axis=1)[:, 0]
