"""The association task of GD section 1 and Birth Lemma 1: tokens x ~ p, answers y ~ p(y|x)."""

from collections.abc import Callable, Collection
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from .... import checks
from ....checks import Scalar
from ....numerics import information
from ....tasks import AbstractClassificationTask, cross_entropy, embeddings, laws
from ....tasks.batches import accumulated
from ....tasks.losses import TokenLoss, lead
from . import passes
from .pairs import arrays

Names = tuple[tuple[str, tuple[str, ...]], ...]
Batch = tuple[Int[Array, " b"], Int[Array, " b"]]


@runtime_checkable
class ScoresTokens(Protocol):
    """one with scores(task, tokens=None); a score for every class, for all tokens or for those named"""

    def scores(self, task: "AssociationTask", tokens: Int[Array, " b"] | None = None) -> Array: ...


class AssociationTask(AbstractClassificationTask):
    """Tokens x ∈ [N] with law p(x) and embedding e_x; answers y ∈ [M] with embedding u_y.

    - ``probabilities``: p(x), shape (N,), summing to one.
    - ``targets``: f*(x) as integers in [0, M), shape (N,); or a full conditional p(y|x), shape
      (N, M), rows summing to one (soft labels, Birth Lemma 1).
    - ``inputs``: E, rows e_x, shape (N, d). ``outputs``: U, rows u_y, shape (M, k); k = d in the
      papers, but a rectangular W costs nothing.
    - ``possible``: which classes can be answered, shape (M,); the scores of the others are −∞. All of them
      unless given. See ``first``.
    - ``names``: axis → names, (("token", …), ("class", …)), for Datasets and pictures; see ``from_pairs``.
    - ``loss``: ℓ, a function (scores, target) -> number of one token, the cross-entropy unless given; see
      ``am.losses``. Sharpness, Hessian, minibatches and flows are of it; what holds under cross-entropy alone
      refuses another. Kept as ``token_loss``.

    The model's logits are u_yᵀ W e_x (GD (10); GD (8) and its appendix A print the transpose).
    Embeddings belong to the task: they are frozen. Values are checked when they are known, and
    refused with ``ValueError``; shapes are always checked.
    """

    probabilities: Float[Array, " n"]
    targets: Int[Array, " n"] | Float[Array, "n m"]
    inputs: Float[Array, "n d"]
    outputs: Float[Array, "m k"]
    possible: Bool[Array, " m"] | None
    token_loss: TokenLoss
    names: Names = eqx.field(static=True)

    def __init__(
        self,
        probabilities,
        targets,
        inputs,
        outputs,
        possible=None,
        loss: Callable = cross_entropy,
        names: Names = (),
    ):
        targets = jnp.asarray(_labels(targets))
        soft = targets.ndim == 2
        if soft:
            p, inputs, outputs, targets = checks.floats(
                probabilities=probabilities, inputs=inputs, outputs=outputs, targets=targets
            )
        else:
            p, inputs, outputs = checks.floats(probabilities=probabilities, inputs=inputs, outputs=outputs)
        checks.shaped("probabilities", p, "a vector p(x), one entry a token", 1)
        checks.shaped("inputs", inputs, "a matrix, one row a token", 2)
        checks.shaped("outputs", outputs, "a matrix, one row a class", 2)
        n, m = p.shape[0], outputs.shape[0]
        if inputs.shape[0] != n:
            checks.refuse("inputs", f"of {n} rows, one for each probability", f"{inputs.shape[0]} rows")
        if n < 1 or inputs.shape[1] < 1 or outputs.shape[1] < 1:
            checks.refuse(
                "inputs and outputs",
                "of at least one row and one dimension",
                f"shapes {inputs.shape} and {outputs.shape}",
            )
        if m < 2:
            checks.refuse("outputs", "of at least two rows (classes)", f"{m}")
        for name, value in (("probabilities", p), ("inputs", inputs), ("outputs", outputs)):
            checks.finite(name, value)
        laws.check("probabilities", p)
        if soft:
            if targets.shape != (n, m):
                checks.refuse("targets", f"p(y|x) of shape ({n}, {m})", f"shape {targets.shape}")
            checks.finite("targets", targets)
            laws.check("targets", targets, "each row of targets")
        else:
            if targets.shape != (n,):
                checks.refuse(
                    "targets", f"of shape ({n},), or ({n}, {m}) for p(y|x)", f"shape {targets.shape}"
                )
            if not jnp.issubdtype(targets.dtype, jnp.integer):
                checks.refuse("targets", "whole numbers (or a matrix p(y|x))", targets.dtype)
            if checks.concrete(targets):
                known = np.asarray(targets)
                if known.min() < 0 or known.max() >= m:
                    bad = int(np.argmax((known < 0) | (known >= m)))
                    checks.refuse("targets", f"labels from 0 to {m - 1}", f"{known[bad]} at token {bad}")
        if possible is not None:
            possible = jnp.asarray(checks.array("possible", possible, f"{m} truth values, one a class"))
            if possible.shape != (m,) or possible.dtype != bool:
                checks.refuse(
                    "possible", f"{m} truth values, one a class", f"{possible.dtype}{possible.shape}"
                )
            if (
                soft
                and checks.concrete(targets, possible)
                and (np.asarray(targets)[:, ~np.asarray(possible)] > 0).any()
            ):
                checks.refuse("targets", "0 where a class is not possible", "a positive probability there")
        self.token_loss = TokenLoss.held(loss, m, p.dtype)
        if possible is not None:
            self.token_loss.refuse_infinite(m, p.dtype)
        self.probabilities, self.targets, self.inputs, self.outputs = p, targets, inputs, outputs
        self.possible = possible
        required = "pairs (axis, names)"
        for pair in checks.listed("names", names, required):
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
                checks.refuse("names", required, checks.short(pair))
            known, size = pair[1], {"token": n, "class": m}.get(pair[0])
            if size is not None and len(checks.listed("names", known, required)) != size:
                checks.refuse("names", f"{size} of axis {pair[0]!r}", len(known))
        self.names = names

    @classmethod
    @checks.takes(key=checks.KEY)
    def from_pairs(
        cls,
        pairs: Any,
        counts: Any = None,
        *,
        embeddings: Any = None,
        outputs: Any = None,
        dimension: int | None = None,
        key: PRNGKeyArray | None = None,
        loss: Callable = cross_entropy,
    ) -> "AssociationTask":
        """An association task from pairs of names, ``[("France", "Paris"), …]`` or a mapping.

        - ``counts``: how often each pair occurs, once unless given: p(x) is the share of x, and a token with
          several answers has p(y|x) (soft labels).
        - ``embeddings``: of the distinct tokens, in the order in which they come first: an array, a ``.npy``
          or a ``.safetensors`` file with a row each, a mapping word → vector, or a text file of lines "word
          number number …". Unless given, drawn by ``key`` on the sphere of ``dimension`` (as many as tokens).
        - ``outputs``: the same of the distinct answers; orthonormal (U = I) unless given.

        Names are kept (``task.names``): Datasets and pictures of runs have them.

            task = am.AssociationTask.from_pairs([("France", "Paris"), ("Italy", "Rome")], counts=[3, 1])
            run = am.simulate(task, am.LinearMemory.zeros(task), am.GradientFlow(10.0), observe=[am.margins])
            run.to_xarray().margins.sel(token="Italy")
        """
        return cls(**arrays(pairs, counts, embeddings, outputs, dimension, key), loss=loss)

    @property
    def score_shape(self) -> tuple[int, int]:
        """(N, M)."""
        return self.num_tokens, self.num_classes

    @property
    def dtype(self):
        return self.probabilities.dtype

    @property
    def num_tokens(self) -> int:
        """N."""
        return self.inputs.shape[0]

    @property
    def num_classes(self) -> int:
        """M."""
        return self.outputs.shape[0]

    def laws(self) -> tuple[Array, ...]:
        """The leaves that are laws: p(x), and the rows of p(y|x)."""
        return (self.probabilities, self.targets) if self.soft else (self.probabilities,)

    @property
    def soft(self) -> bool:
        """Whether answers are drawn from p(y|x) rather than given by f*."""
        return self.targets.ndim == 2

    @property
    def labels(self) -> Int[Array, " n"]:
        """f*(x); for soft labels, the most probable answer."""
        return jnp.argmax(self.targets, axis=1) if self.soft else self.targets

    @property
    def conditional(self) -> Float[Array, "n m"]:
        """p(y|x) as a matrix, whichever way the task was given."""
        if self.soft:
            return self.targets
        return jax.nn.one_hot(self.targets, self.num_classes, dtype=self.probabilities.dtype)

    def first(self, n: int | Int[Array, ""]) -> "AssociationTask":
        """The first n tokens only, in arrays of the same shape: n may be traced.

        A search over n is then one program. p is the law given that x is among them, and only their answers
        are possible. Later tokens have probability 0 and the answer of the first: what is computed of them is
        without meaning.
        """
        if self.soft:
            checks.refuse(
                "task", "one with labels f*(x)", "soft labels", "first(n) needs to know the answers"
            )
        checks.within("n", n, 1, self.num_tokens)
        kept = jnp.arange(self.num_tokens) < n
        p, loss = jnp.where(kept, self.probabilities, 0), self.token_loss.whole
        possible = jnp.zeros(self.num_classes, bool).at[self.targets].max(kept)
        targets = jnp.where(kept, self.targets, self.targets[0])
        return AssociationTask(p / p.sum(), targets, self.inputs, self.outputs, possible, loss, self.names)

    @property
    def unrestricted(self) -> "AssociationTask":
        """The same with every class possible."""
        return AssociationTask(
            self.probabilities,
            self.targets,
            self.inputs,
            self.outputs,
            loss=self.token_loss.whole,
            names=self.names,
        )

    def refuse_restricted(self, remedy: str) -> None:
        """Refuse a task in which some class is not possible, for what would not know it."""
        if self.possible is not None:
            checks.refuse("task", "one in which every class is possible", "one cut by first(n)", remedy)

    def needs_cross_entropy(self, what: str, remedy: str = "") -> None:
        """Refuse a task of another loss, for what holds under cross-entropy alone."""
        if not self.token_loss.is_cross_entropy:
            checks.refuse("loss", f"cross-entropy for {what}", self.token_loss.name, remedy)

    @property
    def loss_units(self) -> str:
        """Nats, for the cross-entropy and what says so."""
        return self.token_loss.units

    def logits(self, hidden: Float[Array, "b k"]) -> Float[Array, "b m"]:
        """u_yᵀ h for every class; −∞ for those that are not possible."""
        return self.answerable(embeddings.product(hidden, self.outputs.T))

    def answerable(self, scores: Float[Array, "b m"]) -> Float[Array, "b m"]:
        """The scores, with −∞ for classes that are not possible."""
        return scores if self.possible is None else jnp.where(self.possible, scores, -jnp.inf)

    def loss(self, model: ScoresTokens) -> Float[Array, ""]:
        """Population loss L(W) = Σ_x p(x) ℓ(W; x), GD (2); in nats for the cross-entropy."""
        tokens, weights = passes.chunks(self)
        if tokens is None:
            return jnp.dot(self.probabilities, self.token_loss.values(model.scores(self), self.targets))
        return accumulated(eqx.Partial(AssociationTask._share, self), model, (tokens, weights), 1)

    def _share(self, model: ScoresTokens, chunk: tuple[Array, Array]) -> Float[Array, ""]:
        """What a chunk (tokens, their probabilities) adds to the loss."""
        tokens, weights = chunk
        return jnp.dot(weights, self.token_loss.values(model.scores(self, tokens), self.targets[tokens]))

    def margins(self, model: ScoresTokens) -> Float[Array, " n"]:
        """GD (22)."""
        return self.looked(model, ("margins",))["margins"]

    def error(self, model: ScoresTokens) -> Float[Array, ""]:
        """Σ_x p(x) Σ_y p(y|x) 1{y is not the only top class}."""
        return self.looked(model, ("error",))["error"]

    def looked(self, model: ScoresTokens, names: Collection[str]) -> dict[str, Array]:
        """Those of "loss", "error" and "margins" that are asked for, of one pass over the tokens: a few at a
        time where a table of all scores would be large."""

        def of(scores: Array, targets: Array) -> dict[str, Array]:
            found = {}
            if "loss" in names:
                found["loss"] = self.token_loss.values(scores, targets)
            if "margins" in names:
                found["margins"] = lead(scores, jnp.argmax(targets, axis=1) if self.soft else targets)
            if "error" in names:
                top = jnp.argmax(scores, axis=1) if self.soft else targets
                sole = lead(scores, top) > 0
                share = jnp.take_along_axis(targets, top[:, None], axis=1)[:, 0] if self.soft else 1
                # As a sum over the wrong, so that zero error reads exactly 0.
                found["error"] = 1 - jnp.where(sole, share, 0).astype(self.dtype)
            return found

        tokens, _ = passes.chunks(self)
        if tokens is None:
            found = of(model.scores(self), self.targets)
        else:
            each = jax.lax.map(lambda some: of(model.scores(self, some), self.targets[some]), tokens[0])
            found = {name: values.reshape(-1)[: self.num_tokens] for name, values in each.items()}
        means = {name: jnp.dot(self.probabilities, found[name]) for name in found if name != "margins"}
        return found | means

    def recalled_bits(self, model: ScoresTokens) -> Float[Array, ""]:
        """Bits that right answers tell of f*: ``theory.information.recalled``, among the maps that give each
        answer to as many tokens as f* does, whatever p(x); tokens of probability 0 are not stored."""
        if self.soft:
            checks.refuse("task", "one with labels f*(x)", "soft labels", "bits are of a map")
        stored = self.probabilities > 0
        counts = jax.ops.segment_sum(stored.astype(self.dtype), self.labels, self.num_classes)
        n, m = jnp.sum(stored), jnp.sum(counts > 0)
        recall = jnp.sum(stored & (self.margins(model) > 0)) / n
        return information.recalled(information.arranged(counts), n, m, recall)

    @property
    def examples(self) -> tuple[Batch, Array]:
        """All pairs (x, y) and their probabilities p(x) p(y|x): N of them, or N M for soft labels.

        A pair of probability 0 is replaced by the token's likeliest, whose loss has a derivative.
        """
        n, m = self.num_tokens, self.num_classes
        if not self.soft:
            return (jnp.arange(n), self.targets), self.probabilities
        tokens, answers = jnp.repeat(jnp.arange(n), m), jnp.tile(jnp.arange(m), n)
        labels = jnp.where(self.targets.ravel() > 0, answers, self.labels[tokens])
        return (tokens, labels), (self.probabilities[:, None] * self.targets).ravel()

    def sampler(self, batch_size: int) -> Callable[[PRNGKeyArray], Batch]:
        """A function of a key that draws ``batch_size`` pairs (x, y), i.i.d., on the device.

        Inverse CDF (``laws.drawer``): nothing of probability 0 is drawn.
        """
        batch_size = checks.count("batch_size", batch_size)
        tokens_of = laws.drawer(self.probabilities)
        rows = jnp.cumsum(self.targets, axis=1) if self.soft else None

        def draw(key: PRNGKeyArray) -> Batch:
            token_key, label_key = jr.split(key)
            tokens = tokens_of(token_key, batch_size)
            if rows is None:
                return tokens, self.targets[tokens]
            level = laws.uniforms(label_key, batch_size, rows.dtype) * rows[tokens, -1]
            # Only what is possible, whatever rounding does to the sums; past them all, the last that is.
            possible = self.targets[tokens] > 0
            above = possible & (rows[tokens] > level[:, None])
            last = possible.shape[1] - 1 - jnp.argmax(possible[:, ::-1], axis=1)
            return tokens, jnp.where(above.any(axis=1), jnp.argmax(above, axis=1), last)

        return draw

    def sample(self, key: PRNGKeyArray, n: int) -> Batch:
        """n pairs (x, y) drawn i.i.d. from p(x) p(y|x)."""
        return self.sampler(n)(key)

    def sampled_loss(self, model: ScoresTokens, batch: Batch) -> Float[Array, ""]:
        """The mean of ℓ over a minibatch: an unbiased estimate of ``loss``.

        GD below (6) prints a sum over the batch, which is |B| times this (docs/theory.md: gd.2).
        """
        tokens, labels = batch
        return jnp.mean(self.token_loss.values(model.scores(self, tokens), labels))


def _labels(targets: Any) -> Any:
    """Labels as JAX can hold them: those past 2³¹ would wrap."""
    given = checks.array("targets", targets, "labels, or p(y|x)")
    if checks.concrete(given) and np.issubdtype(given.dtype, np.integer) and np.asarray(given).size:
        known = np.asarray(given)
        if known.max() >= 2**31 or known.min() < -(2**31):
            checks.refuse("targets", "labels below 2³¹", f"{known.max()}")
    return given


def two_tokens(alpha: Scalar, p1: Scalar, loss: Callable = cross_entropy) -> AssociationTask:
    """Two α-correlated unit inputs, f*(x) = x, U = I: GD section 4.2, with c = ‖u₁−u₂‖² = 2.

    ``alpha``: ⟨e₁, e₂⟩ ∈ [−1, 1]. ``p1``: probability of the first token. ``loss``: see ``AssociationTask``.
    """
    inputs = embeddings.correlated_pair(alpha)
    outputs = jnp.eye(2, dtype=inputs.dtype)
    return AssociationTask(laws.imbalance(p1), jnp.arange(2), inputs, outputs, loss=loss)
