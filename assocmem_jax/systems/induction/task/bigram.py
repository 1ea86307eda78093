"""In-context bigrams, Birth section 3: text of a Markov chain in which a few triggers are followed, in each
sequence, by outputs of that sequence's own."""

import itertools
import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt

from .... import checks, machine
from ....checks import Scalar
from ....models.base import Tabulates
from ....tasks import AbstractClassificationTask, cross_entropy
from ....tasks.batches import accumulated
from ....tasks.losses import lead
from .laws import checked, with_noise
from .sampling import Sequences, cut, sequences, share_cut

# Tokens that go through a model at once: on a CPU its cache decides (benchmarks/bench_induction.py), on a
# card more are no faster (benchmarks/gpu.py).
_CHUNK_TOKENS, _CHUNK_TOKENS_CARD = 2**9, 2**15
# Positions that a packed loss looks at, as shares of T: the least that is enough is taken, else all are.
# A card always looks at all: it gains nothing by less, and takes a minute to compile the branches.
_SHARES = (3 / 16, 5 / 16)
# Below this length all positions are looked at: a switch would cost more to compile than it saves.
_SHORT = 32


class BigramTask(AbstractClassificationTask):
    """z_1 ~ π_u; z_{t+1} = o_k after a trigger q_k, else ~ π_b(·|z_t). Birth section 3.

    - ``unigram``: π_u, shape (N,). ``bigram``: π_b, rows π_b(·|i), shape (N, N). A row of zeros (a token
      that nothing follows) is taken as π_u.
    - ``length``: T, the number of predictions; a sequence has T + 1 tokens.
    - ``triggers``: K triggers in each sequence, drawn from π_u one after another without replacement; or the
      tokens themselves, if fixed (``task.most_frequent(5, skip=5)`` for Birth's "rare" ones).
    - ``outputs``: law of o_k given q_k: ``"uniform"``, ``"bigram"`` (π_b) or a matrix of rows.
    - ``output_tokens``: outputs are drawn from these only (out-of-distribution tests); ``repeat=False``:
      an output is never its own trigger.
    - ``noise``: α, the probability that a trigger, each time anew, is followed by the noise token τ and not
      by its output: an additional token, the last, so that there are N + 1. Nothing else leads to it, and
      what follows it is drawn from π_u (Chen, Bruna, Bietti 2024). At 0 there is none.
    - ``loss_on``: ``"in_context"``, what follows triggers from the second occurrence on; or ``"all"``
      tokens. Mean over positions of a batch, not over sequences.
    - ``data``, ``key``: how many sequences ``loss``, ``error`` and ``margins`` are taken over, drawn once: a
      held-out set for descent on fresh batches, the training set of full-batch descent.

    The loss is the cross-entropy, and no other. Sampling is inverse-CDF on whole numbers (probabilities are
    right to 2⁻³¹), on the device, from a key.
    """

    loss_units: ClassVar[str] = "nats"
    unigram: Float[Array, " n"]
    bigram: Float[Array, "n n"]
    output_law: Float[Array, "n n"]
    noise: Float[Array, ""] | None
    fixed_triggers: Int[Array, " k"] | None
    data: Sequences
    _cuts: tuple[UInt[Array, " m"], UInt[Array, "n m"], UInt[Array, "n m"]]
    _noise_cut: UInt[Array, ""] | None
    length: int = eqx.field(static=True)
    num_triggers: int = eqx.field(static=True)
    loss_on: str = eqx.field(static=True)
    alphabet: str | None = eqx.field(static=True)

    def __init__(
        self,
        unigram,
        bigram,
        *,
        length: int = 256,
        triggers: int | Sequence[int] | Int[np.ndarray, " k"] = 5,
        outputs: str | Float[Array | np.ndarray, "n n"] = "uniform",
        output_tokens: Sequence[int] | Int[np.ndarray, " m"] | None = None,
        repeat: bool = True,
        noise: Scalar = 0.0,
        loss_on: str = "in_context",
        data: int = 128,
        key: PRNGKeyArray | None = None,
        alphabet: str | None = None,
    ):
        # Thresholds are made from the numbers given, not from their float32 copies.
        given = (
            checks.numbers("unigram", unigram).astype(float),
            checks.numbers("bigram", bigram).astype(float),
        )
        unigram, bigram = checks.floats(unigram=unigram, bigram=bigram)
        size = unigram.shape[0] if unigram.ndim == 1 else -1
        if unigram.ndim != 1 or bigram.shape != (size, size):
            checks.refuse("bigram", f"of shape (N, N) for unigram of shape {unigram.shape}", bigram.shape)
        if size < 2:
            checks.refuse("N", "at least 2 tokens", size)
        laws = checked(*given, outputs, output_tokens, repeat)
        checks.scalar("noise", noise)
        checks.within("noise", noise, 0, 1)
        self.noise = self._noise_cut = None
        if not checks.concrete(noise) or noise > 0:
            self.noise, self._noise_cut = jnp.asarray(noise, unigram.dtype), share_cut(noise)
            laws = with_noise(*laws)
        self.unigram, self.bigram, self.output_law = (jnp.asarray(law, unigram.dtype) for law in laws)
        self._cuts = tuple(cut(law) for law in laws)  # pyright: ignore[reportAttributeAccessIssue]
        self.length = checks.count("length", length, 2, "a trigger and its output")
        if hasattr(triggers, "__index__") and not np.ndim(triggers):
            self.num_triggers = checks.count("triggers", triggers)
            self.fixed_triggers = None
            known = int((laws[0] > 0).sum())
            if self.num_triggers > known:
                checks.refuse("triggers", f"at most the {known} tokens that occur", triggers)
        else:
            fixed = checks.numbers("triggers", triggers, "a number, or tokens")
            if fixed.ndim != 1 or not fixed.size or not np.issubdtype(fixed.dtype, np.integer):
                checks.refuse("triggers", "a number, or tokens", repr(triggers))
            if fixed.min() < 0 or fixed.max() >= size or len(set(fixed.tolist())) < fixed.size:
                checks.refuse("triggers", f"distinct tokens from 0 to {size - 1}", fixed.tolist())
            self.num_triggers = fixed.size
            self.fixed_triggers = jnp.asarray(fixed, jnp.int32)
        self.loss_on = checks.word("loss_on", loss_on, "in_context", "all")
        if alphabet is not None and (not isinstance(alphabet, str) or len(alphabet) != size):
            checks.refuse("alphabet", f"a string of {size} characters", checks.short(alphabet))
        if alphabet is not None and self.noise is not None:
            alphabet += next(c for c in map(chr, itertools.count(ord("τ"))) if c not in alphabet)
        self.alphabet = alphabet
        key = jr.key(0) if key is None else key
        checks.key("key", key)
        self.data = self.sample(key, checks.count("data", data))
        if checks.concrete(self.data.tokens) and not bool(jnp.any(self.weights(self.data) > 0)):
            checks.refuse(
                "data", "sequences with a position that the loss is a mean over",
                f"{data} of length {self.length} in which no trigger comes twice",
                "longer or more sequences, or loss_on='all'",
            )  # fmt: skip

    @classmethod
    def shakespeare(cls, **options: Any) -> "BigramTask":
        """N = 65 characters of Shakespeare: counts of nine plays, 1,121,752 characters (NOTICE).

        "3" is in the alphabet of "tiny Shakespeare" and not in these plays: never drawn from π_u, and
        followed by π_u where it is an output.
        """
        text = (
            resources.files("assocmem_jax.systems.induction").joinpath("shakespeare.json").read_text("utf-8")
        )
        table = json.loads(text)
        return cls._counted(np.array(table["counts"]), table["alphabet"], options)

    @classmethod
    def from_text(cls, path: str | Path, *, alphabet: str | None = None, **options: Any) -> "BigramTask":
        """Counts of a text file in UTF-8. ``alphabet``: the characters, in order; else those that occur."""
        checks.a_path("path", path)
        if not isinstance(alphabet, str | None):
            checks.refuse("alphabet", "a string, or None", checks.short(alphabet))
        text = checks.text(str(path), path)
        if not text:
            checks.refuse(str(path), "a text of at least two characters", "an empty file")
        known = "".join(sorted(set(text))) if alphabet is None else alphabet
        if alphabet is not None and (strange := sorted(set(text) - set(alphabet))):
            checks.refuse(
                str(path), "of characters in alphabet", f"{strange[0]!r} at {text.index(strange[0])}",
                "add it, or leave alphabet out",
            )  # fmt: skip
        if len(set(text)) < 2:
            checks.refuse(str(path), "a text of at least two different characters", f"only {text[0]!r}")
        place = np.zeros(max(map(ord, known)) + 1, int)
        place[[ord(c) for c in known]] = np.arange(len(known))
        tokens = place[np.frombuffer(text.encode("utf-32-le"), np.uint32)]
        counts = np.zeros((len(known), len(known)), int)
        np.add.at(counts, (tokens[:-1], tokens[1:]), 1)
        return cls._counted(counts, known, options)

    @classmethod
    def _counted(cls, counts: np.ndarray, alphabet: str, options: dict[str, Any]) -> "BigramTask":
        seen = counts.sum(axis=1)
        rows = np.where(seen[:, None] > 0, counts / np.maximum(seen, 1)[:, None], 0.0)
        return cls(seen / seen.sum(), rows, alphabet=alphabet, **options)

    @property
    def num_tokens(self) -> int:
        """N; with noise N + 1."""
        return self.unigram.shape[0]

    @property
    def noise_token(self) -> int:
        """τ, the last token of a task with noise."""
        if self.noise is None:
            checks.refuse("task", "one with a noise token", "none", "BigramTask(…, noise=0.5)")
        return self.num_tokens - 1

    @property
    def possible_triggers(self) -> Bool[Array, " n"]:
        """Which tokens can be a trigger: the fixed ones, else all that occur."""
        if self.fixed_triggers is None:
            return self.unigram > 0
        return jnp.zeros(self.num_tokens, bool).at[self.fixed_triggers].set(True)

    def most_frequent(self, count: int, skip: int = 0) -> tuple[int, ...]:
        """The tokens of rank skip + 1 … skip + count by π_u: fixed triggers."""
        count, skip = checks.count("count", count), checks.count("skip", skip, 0)
        known = self.num_tokens - (self.noise is not None)
        if count + skip > known:
            checks.refuse("count + skip", f"at most N = {known}", count + skip)
        order = np.argsort(-np.asarray(self.unigram), kind="stable")
        return tuple(order[skip : skip + count].tolist())

    def encode(self, text: str) -> Int[Array, " t"]:
        """Characters as tokens."""
        if self.alphabet is None:
            checks.refuse("task", "one with an alphabet", "none", "BigramTask.from_text")
        for at, c in enumerate(text):
            if c not in self.alphabet:
                checks.refuse("text", "of characters in the task's alphabet", f"{c!r} at {at}")
        return jnp.array([self.alphabet.index(c) for c in text], jnp.int32)

    def decode(self, tokens: Int[Array, " t"] | Int[np.ndarray, " t"]) -> str:
        """Tokens as characters."""
        if self.alphabet is None:
            checks.refuse("task", "one with an alphabet", "none", "BigramTask.from_text")
        return "".join(self.alphabet[k] for k in np.asarray(tokens).tolist())

    def laws(self) -> tuple[Array, ...]:
        """The leaves that are laws: π_u, and the rows of π_b and of the outputs."""
        return self.unigram, self.bigram, self.output_law

    def remade(self) -> "BigramTask":
        """The task with thresholds made from its laws as they are now: to rounding of their dtype."""
        cuts = tuple(cut(law) for law in self.laws())
        changed = eqx.tree_at(lambda task: task._cuts, self, cuts)
        if self.noise is None:
            return changed
        return eqx.tree_at(lambda task: task._noise_cut, changed, share_cut(self.noise))

    def sample(self, key: PRNGKeyArray, n: int) -> Sequences:
        """n sequences. Sequence i is the same for every n."""
        return sequences(
            key, n, self._cuts, self.unigram, self.num_triggers, self.fixed_triggers, self.length,
            self._noise_cut,
        )  # fmt: skip

    def weights(self, batch: Sequences) -> Float[Array, "n t"]:
        """1 at the positions that the loss is a mean over."""
        counted = jnp.ones_like(batch.in_context) if self.loss_on == "all" else batch.in_context
        return counted.astype(self.dtype)

    @property
    def score_shape(self) -> tuple[int, ...]:
        """(sequences of ``data``, T, N)."""
        return (*self.data.tokens.shape, self.num_tokens)

    @property
    def dtype(self) -> Any:
        return self.unigram.dtype

    def loss(self, model) -> Float[Array, ""]:
        """Mean cross-entropy over the loss positions of ``data``, in nats."""
        return self.sampled_loss(model, self.data)

    def error(self, model) -> Float[Array, ""]:
        """Share of the loss positions of ``data`` that are answered wrongly; a tie is wrong."""
        weights = self.weights(self.data)
        return jnp.sum(weights * (self.margins(model) <= 0)) / jnp.sum(weights)

    def margins(self, model) -> Float[Array, "n t"]:
        """Score of z_{t+1} minus the largest other, at every position of ``data``."""
        return lead(model.scores(self), self.data.targets)

    def sampler(self, batch_size: int) -> Callable[[PRNGKeyArray], Sequences]:
        """A function of a key that draws ``batch_size`` fresh sequences."""
        batch_size = checks.count("batch_size", batch_size)
        return lambda key: self.sample(key, batch_size)

    def batch_weight(self, batch: Sequences) -> Float[Array, ""]:
        """How many loss positions a batch has: what its mean divides by."""
        return jnp.sum(self.weights(batch))

    def sampled_loss(self, model, batch: Sequences) -> Float[Array, ""]:
        """Mean cross-entropy over the loss positions of a batch, a few sequences at a time."""
        weights = self.weights(batch)
        n = weights.shape[0]
        room = _CHUNK_TOKENS_CARD if machine.on_card() else _CHUNK_TOKENS
        size = min(max(1, room // self.length), n)
        # Sequences with as many loss positions side by side: a chunk looks at no more than its fullest needs.
        order = jnp.argsort(jnp.sum(weights, axis=1)) if self.loss_on == "in_context" else jnp.arange(n)
        spare = -n % size

        def chunked(a):
            a = jnp.pad(a[order], ((0, spare), (0, 0)))
            return a.reshape(1, -1, size, a.shape[1])

        chunks = tuple(chunked(a) for a in (batch.tokens, batch.targets, weights))
        tables = model.tabulated() if isinstance(model, Tabulates) else model
        total = accumulated(eqx.Partial(type(self).total_loss, self), tables, chunks, 1)
        # The mean over no position is not 0: it is no number, and has no gradient.
        count = jnp.sum(weights)
        return total / jnp.maximum(count, 1) + jnp.where(count > 0, 0.0, jnp.nan).astype(total.dtype)

    def total_loss(self, model, chunk) -> Float[Array, ""]:
        """Sum of cross-entropies over the loss positions of a chunk (tokens, targets, weights)."""
        tokens, targets, weights = chunk
        state = model.residual(tokens)

        def everywhere(state):
            losses = cross_entropy(model.logits(state), targets)
            return jnp.sum(jnp.where(weights > 0, losses, 0))

        def packed(size, state):
            # The p-th loss position of a sequence: as many places have fewer than p of them up to there.
            before = jnp.cumsum(weights, axis=1)
            at = jnp.sum(before[:, None, :] <= jnp.arange(size)[:, None], axis=2, dtype=jnp.int32)
            kept = at < self.length
            at = jnp.minimum(at, self.length - 1)
            answers = jnp.take_along_axis(targets, at, axis=1)
            return jnp.sum(jnp.where(kept, cross_entropy(model.logits(state, at), answers), 0))

        if self.loss_on == "all" or self.length < _SHORT or machine.on_card():
            return everywhere(state)
        sizes = [round(share * self.length) for share in _SHARES]
        fullest = _shared_max(jnp.max(jnp.sum(weights, axis=1)).astype(jnp.int32))
        branch = jnp.searchsorted(jnp.array(sizes, jnp.int32), fullest)
        return jax.lax.switch(branch, [*(partial(packed, size) for size in sizes), everywhere], state)


@jax.custom_batching.custom_vmap
def _shared_max(count):
    """The count itself; under vmap the largest of all lanes, so that a switch stays a switch."""
    return count


@_shared_max.def_vmap
def _(axis_size, batched, count):
    return _shared_max(jnp.max(count)), False
