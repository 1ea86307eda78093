"""k-hop composition (Slides p. 17; Wang et al. 2025): permutations hidden and permutations in context."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ... import checks
from ...tasks import AbstractClassificationTask, cross_entropy, laws
from ...tasks.losses import lead


class Hops(NamedTuple):
    """A batch: σ of every sequence, and the number of hops that each is asked for, as its logarithm."""

    contexts: Int[Array, "b k n"]
    levels: Int[Array, " b"]


@runtime_checkable
class Composes(Protocol):
    """one with holdings(contexts); log-probabilities of what every token holds, after 1, 2, 4, … hops"""

    def holdings(self, contexts: Int[Array, "b k n"]) -> Float[Array, "b levels k n n"]: ...


class HopTask(AbstractClassificationTask):
    """f = σ_{i+k′−1} π_{i+k′−1} … σ_i π_i (x), indices mod k, of all i and x at once: k′ hops.

    π_1 … π_k are hidden: the same in all sequences, to be learned. σ_1 … σ_k are uniform permutations drawn
    anew in every sequence, of k N tokens: token (i, x) carries σ_i(x). The answer at token (i, x) is f,
    one of N values.

    - ``hidden``: π, whole numbers of shape (k, N), each row a permutation; k a power of two, as hops double
      from layer to layer.
    - ``weights``: law of k′ over 1, 2, 4, …, k; all k hops unless given. It is data: a ``Curriculum`` of it
      goes from few hops to many.
    - ``draws``, ``key``: ``loss``, ``error`` and ``margins`` are of so many contexts drawn once, each asked
      for every k′ and weighed by the law; ``sample`` draws fresh ones, each with one k′.

    The answer for k′ hops is what a token holds after log₂ k′ + 1 layers (after the last of them for k): the
    mixture trains lower layers on shorter hops. The loss is the cross-entropy in nats, the mean over tokens.

        >>> task = am.HopTask.random(values=4, hops=4, key=jax.random.key(0))
        >>> am.error(task, am.HopTransformer.written(task, beta=8.0))  # 0: see am.theory.hops.exact_from
    """

    loss_units: ClassVar[str] = "nats"
    hidden: Int[Array, "k n"]
    weights: Float[Array, " levels"]
    data: Int[Array, "draws k n"]

    def __init__(self, hidden, weights=None, *, draws: int = 64, key: PRNGKeyArray | None = None):
        given = jnp.asarray(checks.array("hidden", hidden, "permutations, whole numbers of shape (k, N)"))
        checks.shaped("hidden", given, "permutations, of shape (k, N)", 2)
        k, n = given.shape
        if not jnp.issubdtype(given.dtype, jnp.integer) or n < 2:
            checks.refuse("hidden", "of whole numbers, at least two values", f"{given.dtype}{given.shape}")
        levels = level_of(k) + 1
        if checks.concrete(given) and (np.sort(np.asarray(given), axis=1) != np.arange(n)).any():
            checks.refuse("hidden", f"permutations of 0 … {n - 1}, one a row", np.asarray(given).tolist())
        self.hidden = given.astype(jnp.int32)
        if weights is None:
            weights = np.eye(levels)[-1]
        (self.weights,) = checks.floats(weights=weights)
        if self.weights.shape != (levels,):
            hops = ", ".join(str(2**level) for level in range(levels))
            checks.refuse("weights", f"{levels} numbers, for {hops} hops", f"shape {self.weights.shape}")
        checks.finite("weights", self.weights)
        laws.check("weights", self.weights)
        key = jr.key(0) if key is None else key
        checks.key("key", key)
        self.data = _contexts(key, checks.count("draws", draws), k, n)

    @classmethod
    @checks.takes(key=checks.KEY)
    def random(cls, values: int, hops: int, key: PRNGKeyArray, weights=None, *, draws: int = 64) -> "HopTask":
        """N = ``values``, k = ``hops``; π uniform permutations."""
        n, k = checks.count("values", values, 2), checks.count("hops", hops)
        one, other = jr.split(key)
        return cls(_contexts(one, 1, k, n)[0], weights, draws=draws, key=other)

    @property
    def num_hops(self) -> int:
        """k."""
        return self.hidden.shape[0]

    @property
    def num_values(self) -> int:
        """N."""
        return self.hidden.shape[1]

    @property
    def num_levels(self) -> int:
        """log₂ k + 1: how many k′ there are."""
        return self.weights.shape[0]

    @property
    def score_shape(self) -> tuple[int, ...]:
        """(contexts of ``data``, log₂ k + 1, k, N, N)."""
        k, n = self.hidden.shape
        return (len(self.data), self.num_levels, k, n, n)

    @property
    def dtype(self) -> Any:
        return self.weights.dtype

    def laws(self) -> tuple[Array, ...]:
        """The leaf that is a law: of k′."""
        return (self.weights,)

    def answers(self, contexts: Int[Array, "b k n"]) -> Int[Array, "b levels k n"]:
        """1, 2, 4, …, k hops from every token."""
        k = self.num_hops
        found = [jnp.take_along_axis(contexts, self.hidden[None], axis=2)]
        for level in range(self.num_levels - 1):
            half = found[-1]
            found.append(jnp.take_along_axis(jnp.roll(half, -(2**level) % k, axis=1), half, axis=2))
        return jnp.stack(found, axis=1)

    def loss(self, model: Composes) -> Float[Array, ""]:
        """Σ_k′ p(k′) × mean cross-entropy of k′ hops over the tokens of ``data``, in nats."""
        losses = cross_entropy(model.holdings(self.data), self.answers(self.data))
        return jnp.dot(self.weights, jnp.mean(losses, axis=(0, 2, 3)))

    def margins(self, model: Composes) -> Float[Array, "draws levels k n"]:
        """Log-probability of the right answer minus the largest other."""
        return lead(model.holdings(self.data), self.answers(self.data))

    def error(self, model: Composes) -> Float[Array, ""]:
        """Σ_k′ p(k′) × share of tokens answered wrongly; a tie is wrong."""
        return jnp.dot(self.weights, jnp.mean(~(self.margins(model) > 0), axis=(0, 2, 3), dtype=self.dtype))

    def sample(self, key: PRNGKeyArray, n: int) -> Hops:
        """n fresh sequences, each with its k′."""
        return self.sampler(n)(key)

    def sampler(self, batch_size: int) -> Callable[[PRNGKeyArray], Hops]:
        """A function of a key that draws ``batch_size`` fresh sequences, on the device."""
        n, pick = checks.count("batch_size", batch_size), laws.drawer(self.weights)

        def draw(key: PRNGKeyArray) -> Hops:
            one, other = jr.split(key)
            return Hops(_contexts(one, n, *self.hidden.shape), pick(other, n))

        return draw

    def sampled_loss(self, model: Composes, batch: Hops) -> Float[Array, ""]:
        """Mean cross-entropy of a batch, each sequence at its own k′."""
        place = batch.levels[:, None, None, None]
        held = jnp.take_along_axis(model.holdings(batch.contexts), place[..., None], axis=1)[:, 0]
        right = jnp.take_along_axis(self.answers(batch.contexts), place, axis=1)[:, 0]
        return jnp.mean(cross_entropy(held, right))


def level_of(hops: int) -> int:
    """log₂ k; refused where k is no power of two."""
    hops = checks.count("hops", hops)
    if hops & (hops - 1):
        checks.refuse("hops", "a power of two: a layer doubles what the last has made", hops)
    return hops.bit_length() - 1


@eqx.filter_jit
def _contexts(key: PRNGKeyArray, count: int, k: int, n: int) -> Int[Array, "count k n"]:
    """Uniform permutations."""
    rows = jax.vmap(lambda one: jr.permutation(one, n))(jr.split(key, count * k))
    return rows.reshape(count, k, n).astype(jnp.int32)
