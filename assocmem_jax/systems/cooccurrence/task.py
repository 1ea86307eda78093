"""Word co-occurrence, Cooc Definition 2.1: is it y = 1, both signals present, or not?"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ... import checks
from ...tasks import AbstractClassificationTask

# Tokens 0, 1, 2 are the signals μ₁, μ₂ and the common μ₃; the rest are irrelevant.
SIGNALS = 3
# Shares of the four kinds: both signals, only μ₁, only μ₂, neither.
SHARES = (1 / 2, 1 / 6, 1 / 6, 1 / 6)
# Places that the signals and the common token take in a sample of each kind.
TAKEN = (3, 2, 2, 1)


class CooccurrenceTask(AbstractClassificationTask):
    """Samples X_i of L tokens with labels y_i = ±1; the loss is (1/n) Σ log(1 + e^{−y_i F(X_i)}), Cooc (2).

    - ``tokens``: indices in [0, d), shape (n, L). Token k is the k-th vector of the standard basis of
      R^d: any other orthonormal family is this one after a rotation that W_V, W_K, W_Q absorb.
    - ``labels``: ±1, shape (n,).
    - ``dimension``: d, the size of the vocabulary.

    Made by ``training`` (given numbers of each kind) or ``population`` (drawn from the law). No other loss:
    the reduced systems and the lemmas are of this one.
    """

    loss_units: ClassVar[str] = "nats"
    tokens: Int[Array, "n l"]
    labels: Float[Array, " n"]
    dimension: int = eqx.field(static=True)

    def __init__(self, tokens, labels, dimension: int):
        tokens = jnp.asarray(checks.array("tokens", tokens, "whole numbers of shape (n, L)"))
        (labels,) = checks.floats(labels=labels)
        checks.shaped("tokens", tokens, "indices of shape (n, L)", 2)
        if not jnp.issubdtype(tokens.dtype, jnp.integer):
            checks.refuse("tokens", "whole numbers", tokens.dtype)
        n, length = tokens.shape
        if length < 3:
            checks.refuse("L", "at least 3 (two signals and the common token)", length)
        self.dimension = checks.count("dimension", dimension, 4, "three signals and an irrelevant token")
        if labels.shape != (n,):
            checks.refuse("labels", f"of shape ({n},)", f"shape {labels.shape}")
        if checks.concrete(tokens, labels):
            known = np.asarray(tokens)
            if known.size and (known.min() < 0 or known.max() >= dimension):
                checks.refuse("tokens", f"from 0 to {dimension - 1}", f"{known.min()} to {known.max()}")
            if not np.isin(np.asarray(labels), (-1.0, 1.0)).all():
                checks.refuse("labels", "−1 or 1", np.unique(np.asarray(labels))[:4])
        self.tokens, self.labels = tokens, labels

    @classmethod
    @checks.takes(key=checks.KEY, distinct=bool)
    def training(
        cls,
        key: PRNGKeyArray,
        counts: Sequence[int] = (30, 10, 10, 10),
        length: int = 5,
        dimension: int = 64,
        *,
        n: int | None = None,
        distinct: bool = False,
    ) -> "CooccurrenceTask":
        """A training set with so many samples of each kind: both signals, only μ₁, only μ₂, neither.

        ``distinct``: every irrelevant token occurs once in the whole set, Cooc Assumption 2.3(ii). That
        needs Σ_i (irrelevant tokens of sample i) ≤ d − 3 and is refused otherwise; the paper's own
        experiment (60 samples, L = 5, d = 64) needs d ≥ 163 (docs/theory.md: cooc.45). Else they are
        drawn uniformly, with repetition.
        """
        known = checks.numbers("counts", counts, "four numbers with a positive sum")
        checks.shaped("counts", known, "four numbers with a positive sum", 1)
        counts = tuple(checks.count(f"counts[{k}]", count, 0) for k, count in enumerate(known.tolist()))
        if len(counts) != 4 or sum(counts) < 1:
            checks.refuse("counts", "four numbers with a positive sum", counts)
        if n is not None and sum(counts) != checks.count("n", n):
            checks.refuse("counts", f"of sum n = {n}", f"{counts}, of sum {sum(counts)}")
        length = checks.count("length", length, 3, "two signals and the common token")
        dimension = checks.count("dimension", dimension, 4, "three signals and an irrelevant token")
        needed = irrelevant(counts, length) + SIGNALS
        if distinct and needed > dimension:
            checks.refuse("dimension", f"at least {needed} for distinct irrelevant tokens", dimension)
        place_key, word_key = jr.split(key)
        kinds = jnp.repeat(jnp.arange(4), jnp.array(counts), total_repeat_length=sum(counts))
        shape = (sum(counts), length)
        if distinct:
            # As many words as places: those that signals overwrite are given to nobody.
            free = jnp.arange(length) >= jnp.array(TAKEN)[kinds][:, None]
            order = jnp.cumsum(free.reshape(-1)) - 1
            words = SIGNALS + jr.permutation(word_key, dimension - SIGNALS)
            words = words[jnp.clip(order, 0, dimension - SIGNALS - 1)].reshape(shape)
        else:
            words = jr.randint(word_key, shape, SIGNALS, dimension)
        return cls(_placed(place_key, kinds, words), _labels(kinds), dimension)

    @classmethod
    @checks.takes(key=checks.KEY)
    def population(
        cls, key: PRNGKeyArray, n: int, length: int = 5, dimension: int = 64
    ) -> "CooccurrenceTask":
        """n samples drawn from the law: kinds with probabilities 1/2, 1/6, 1/6, 1/6."""
        n = checks.count("n", n)
        length = checks.count("length", length, 3, "two signals and the common token")
        dimension = checks.count("dimension", dimension, 4, "three signals and an irrelevant token")
        kind_key, place_key, word_key = jr.split(key, 3)
        kinds = jnp.searchsorted(jnp.cumsum(jnp.array(SHARES)), jr.uniform(kind_key, (n,)) * (1 - 1e-12))
        words = jr.randint(word_key, (n, length), SIGNALS, dimension)
        return cls(_placed(place_key, kinds, words), _labels(kinds), dimension)

    @property
    def kinds(self) -> Int[Array, " n"]:
        """0: both signals; 1: only μ₁; 2: only μ₂; 3: neither (I₁ … I₄ of the paper)."""
        one, two = (jnp.any(self.tokens == k, axis=1) for k in (0, 1))
        return jnp.where(one & two, 0, jnp.where(one, 1, jnp.where(two, 2, 3)))

    @property
    def one_hot(self) -> Float[Array, "n l d"]:
        """X_i, one row a token."""
        return jax.nn.one_hot(self.tokens, self.dimension, dtype=self.labels.dtype)

    @property
    def score_shape(self) -> tuple[int, ...]:
        """(n,)."""
        return self.labels.shape

    @property
    def dtype(self) -> Any:
        return self.labels.dtype

    def margins(self, model) -> Float[Array, " n"]:
        """y_i F(X_i)."""
        return self.labels * model.scores(self)

    def loss(self, model) -> Float[Array, ""]:
        """Cooc (2), in nats."""
        return jnp.mean(jax.nn.softplus(-self.margins(model)))

    def error(self, model) -> Float[Array, ""]:
        """Share of samples with y F ≤ 0."""
        return jnp.mean(jnp.where(self.margins(model) > 0, 0.0, 1.0))

    def sampler(self, batch_size: int) -> Callable[[PRNGKeyArray], Int[Array, " b"]]:
        """A function of a key that draws ``batch_size`` samples of the set, with repetition."""
        batch_size = checks.count("batch_size", batch_size)
        return lambda key: jr.randint(key, (batch_size,), 0, self.labels.shape[0])

    def sampled_loss(self, model, batch) -> Float[Array, ""]:
        """Mean loss of the samples named."""
        return jnp.mean(jax.nn.softplus(-self.labels[batch] * model.scores(self, batch)))


def irrelevant(counts: Sequence[int], length: int) -> int:
    """Irrelevant tokens of a training set: Σ over kinds of count × (L − 3, L − 2, L − 2, L − 1)."""
    return sum(count * (length - taken) for count, taken in zip(counts, TAKEN))


def _labels(kinds):
    return jnp.where(kinds == 0, 1.0, -1.0)


def _placed(key, kinds, words):
    """The common token and the kind's signals at the first places, then every row shuffled."""
    first = jnp.array([[2, 0, 1], [2, 0, -1], [2, 1, -1], [2, -1, -1]])[kinds]
    head = jnp.where(first >= 0, first, words[:, :3])
    rows = jnp.concatenate([head, words[:, 3:]], axis=1)
    return jr.permutation(key, rows, axis=1, independent=True)
