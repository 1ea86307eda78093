"""The simplified two-layer transformer of Birth section 4.2, in which an induction head forms."""

from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .... import checks
from ....checks import Scalar
from ....models import AbstractSequenceModel, HasHeads
from ....models.attention import attention, causal, unnormalised
from ....models.transformer import sinusoidal
from ..task import BigramTask


class InductionTransformer(AbstractSequenceModel):
    """Two attention layers without MLP; three d × d matrices are trained, the rest stays random. Birth 4.2.

    With x_t = w_E(z_t) + p_t:

    - x¹_t = x_t + Σ_{s≤t} σ(x_tᵀ W_K¹ x_s)_s Φ₁x_s, Φ₁ = W_O¹W_V¹ (or x¹ = x with one layer)
    - h_t = x¹_t + W_O² W_V² Σ_{s≤t} σ(x¹_tᵀ W_K² x¹_s)_s x¹_s
    - logits = W_U (h_t + W_F h_t)

    Scores are query-left, as in (7) and section 4.2; the lemmas of appendix B are key-left (docs/theory.md:
    birth.29a). ``scaled`` divides them by √d, as the published experiments do and the paper does not.

    ``embedding`` (N, d), ``positions`` (T, d), ``unembedding`` (N, d), ``output1``, ``value1``, ``value2``
    are frozen; ``key1``, ``key2``, ``output2`` and, if there is one, ``feedforward`` are trained.
    ``key1=None``: one layer. ``published`` and ``gaussian`` draw one; ``constructed`` has (7)–(8).

    Computed from tables (``tabulated``): a frozen layer-1 query, key or value is a row for each token plus a
    row for each position; W_O²W_V² acts after the average; only rows of the causal triangle (in blocks) are
    touched.
    """

    task_type: ClassVar[type] = BigramTask
    embedding: Float[Array, "n d"]
    positions: Float[Array, "t d"]
    unembedding: Float[Array, "n d"]
    output1: Float[Array, "d d"]
    value1: Float[Array, "d d"]
    value2: Float[Array, "d d"]
    key1: Float[Array, "d d"] | None
    key2: Float[Array, "d d"]
    output2: Float[Array, "d d"]
    feedforward: Float[Array, "d d"] | None
    scaled: bool = eqx.field(static=True)

    def __init__(
        self,
        embedding,
        positions,
        unembedding,
        output1,
        value1,
        value2,
        key1,
        key2,
        output2,
        feedforward=None,
        *,
        scaled: bool = True,
    ):
        (embedding, positions, unembedding, output1, value1, value2, key2, output2) = checks.floats(
            embedding=embedding,
            positions=positions,
            unembedding=unembedding,
            output1=output1,
            value1=value1,
            value2=value2,
            key2=key2,
            output2=output2,
        )
        checks.shaped("embedding", embedding, "a matrix, one row a token", 2)
        checks.shaped("positions", positions, "a matrix, one row a position", 2)
        size, d = embedding.shape
        optional = (("key1", key1), ("feedforward", feedforward))
        key1, feedforward = (
            None if w is None else checks.floats(**{name: w})[0].astype(key2.dtype) for name, w in optional
        )
        shapes = {
            "positions": (positions, (positions.shape[0], d)), "unembedding": (unembedding, (size, d)),
            "output1": (output1, (d, d)), "value1": (value1, (d, d)), "value2": (value2, (d, d)),
            "key1": (key1, (d, d)), "key2": (key2, (d, d)), "output2": (output2, (d, d)),
            "feedforward": (feedforward, (d, d)),
        }  # fmt: skip
        for name, (part, shape) in shapes.items():
            if part is not None and part.shape != shape:
                checks.refuse(name, f"of shape {shape}", f"shape {part.shape}")
        self.embedding, self.positions, self.unembedding = embedding, positions, unembedding
        self.output1, self.value1, self.value2 = output1, value1, value2
        self.key1, self.key2, self.output2, self.feedforward = key1, key2, output2, feedforward
        self.scaled = checks.truth("scaled", scaled)

    @classmethod
    @checks.takes(
        task=BigramTask, key=checks.KEY, feedforward=bool, tied=bool, positions=("random", "sinusoidal")
    )
    def published(
        cls,
        task: BigramTask,
        key: PRNGKeyArray,
        width: int = 128,
        *,
        layers: int = 2,
        feedforward: bool = False,
        positions: str = "random",
        tied: bool = False,
    ) -> "InductionTransformer":
        """Start of the published experiments: w_E, p ~ N(0, 1), matrices uniform on ±d^{−½}, scores/√d.

        ``positions``: "random" or "sinusoidal". ``tied``: w_U = w_E/√d.
        """
        bound = 1 / np.sqrt(checks.count("width", width))
        uniform = lambda key, rows: jr.uniform(key, (rows, width), task.dtype, -bound, bound)  # noqa: E731
        model = cls._drawn(task, key, width, layers, feedforward, 1.0, uniform, uniform, True)
        if positions == "sinusoidal":
            places = sinusoidal(task.length, width, task.dtype)
            model = eqx.tree_at(lambda m: m.positions, model, places)
        if tied:
            model = eqx.tree_at(lambda m: m.unembedding, model, model.embedding * bound)
        return model

    @classmethod
    @checks.takes(task=BigramTask, key=checks.KEY, feedforward=bool, scaled=bool)
    def gaussian(
        cls,
        task: BigramTask,
        key: PRNGKeyArray,
        width: int = 128,
        *,
        layers: int = 2,
        feedforward: bool = False,
        trained: Scalar = 1.0,
        scaled: bool = False,
    ) -> "InductionTransformer":
        """Start as printed in Birth section 4.1: every entry N(0, 1/d), no 1/√d in the scores.

        ``trained`` multiplies the matrices that are trained (0: the zero start of appendix B).
        """
        spread, trained = 1 / np.sqrt(checks.count("width", width)), checks.number("trained", trained)
        normal = lambda key, rows: spread * jr.normal(key, (rows, width), task.dtype)  # noqa: E731
        small = lambda key, rows: trained.astype(task.dtype) * normal(key, rows)  # noqa: E731
        return cls._drawn(task, key, width, layers, feedforward, spread, normal, small, scaled)

    @classmethod
    def _drawn(cls, task, key, width, layers, feedforward, spread, frozen, trained, scaled):
        if checks.count("layers", layers) > 2:
            checks.refuse("layers", "1 or 2", layers)
        keys = jr.split(key, 10)
        embedding = spread * jr.normal(keys[0], (task.num_tokens, width), task.dtype)
        positions = spread * jr.normal(keys[1], (task.length, width), task.dtype)
        output1, value1, value2 = (frozen(k, width) for k in keys[3:6])
        key1 = trained(keys[6], width) if layers == 2 else None
        last = trained(keys[9], width) if feedforward else None
        return cls(
            embedding, positions, frozen(keys[2], task.num_tokens), output1, value1, value2,
            key1, trained(keys[7], width), trained(keys[8], width), last, scaled=scaled,
        )  # fmt: skip

    @checks.takes(task=BigramTask, global_bigrams=bool)
    def constructed(
        self,
        task: BigramTask,
        *,
        boost: Scalar = 1.0,
        global_bigrams: bool = False,
    ) -> "InductionTransformer":
        """The same frozen parts with the memories of Birth (7), scores multiplied by ``boost``; with
        ``global_bigrams``, W_F of (8), triggers left out where they are fixed.

        (8) needs π_b > 0; where it is 0 the log is taken of the smallest positive float.
        """
        E, P, U = self.embedding, self.positions, self.unembedding
        boost = checks.number("boost", boost).astype(E.dtype)
        among = task.possible_triggers
        remapped = E @ self.phi1.T
        key1 = None if self.key1 is None else boost * P[1:].T @ P[:-1]
        feedforward = self.feedforward
        if global_bigrams:
            log = jnp.log(jnp.maximum(task.bigram, jnp.finfo(task.dtype).tiny))
            free = jnp.ones(task.num_tokens) if task.fixed_triggers is None else 1.0 - among
            feedforward = jnp.einsum("ij,jd,ie,i->de", log, U, E, free)
        return type(self)(
            E, P, U, self.output1, self.value1, self.value2, key1,
            boost * (E * among[:, None]).T @ remapped, U.T @ (E @ self.value2.T), feedforward,
            scaled=self.scaled,
        )  # fmt: skip

    @property
    def phi1(self) -> Float[Array, "d d"]:
        """Φ₁ = W_O¹ W_V¹."""
        return self.output1 @ self.value1

    @property
    def phi2(self) -> Float[Array, "d d"]:
        """Φ₂ = W_O² W_V²."""
        return self.output2 @ self.value2

    @property
    def width(self) -> int:
        """d."""
        return self.embedding.shape[1]

    @property
    def _scale(self) -> float:
        return 1 / np.sqrt(self.width) if self.scaled else 1.0

    def inputs(self, tokens: Int[Array, "n t"]) -> Float[Array, "n t d"]:
        """x_t = w_E(z_t) + p_t."""
        return self.embedding[tokens] + self.positions[: tokens.shape[1]]

    def residual(self, tokens: Int[Array, "n t"]) -> Float[Array, "n t d"]:
        """x¹: what the second layer reads."""
        return self.tabulated().residual(tokens)

    def logits(
        self, state: Float[Array, "n t d"], at: Int[Array, "n p"] | None = None
    ) -> Float[Array, "n p m"]:
        """Scores of the next token at the positions ``at`` (all unless given), from ``residual``."""
        return self.tabulated().logits(state, at)

    def tabulated(self) -> "_Tables":
        """See ``Tabulates``."""
        E, P, U = self.embedding, self.positions, self.unembedding
        read = U if self.feedforward is None else U + U @ self.feedforward
        first = None
        if self.key1 is not None:
            key = self._scale * self.key1
            first = (E @ key, P @ key, E @ self.phi1.T, P @ self.phi1.T)
        return _Tables(E, P, first, self._scale * self.key2.T, read, read @ self.phi2)

    @property
    def num_heads(self) -> int:
        """One a layer."""
        return 1 if self.key1 is None else 2

    def attention(self, tokens: Int[Array, "n t"]) -> Float[Array, "n layers t t"]:
        """Attention weights of both layers, row t the query."""
        return self.patched(tokens, {})[1]

    def patched(
        self, tokens: Int[Array, "n t"], maps: Mapping[int, Float[Array, "... #t #t"]]
    ) -> tuple[Float[Array, "n t m"], Float[Array, "n layers t t"]]:
        """Scores at all positions, and attention of both layers, where those in ``maps``, from 0, attend with
        these weights instead of their own."""
        x, found = self.inputs(tokens), []

        def attended(x, key):
            own = attention(jnp.einsum("ntd,de,nse->nts", x, self._scale * key, x), causal=True)
            given = jnp.asarray(maps.get(len(found), own), own.dtype)
            found.append(jnp.broadcast_to(given, own.shape))
            return found[-1] @ x

        if self.key1 is not None:
            x = x + attended(x, self.key1) @ self.phi1.T
        h = x + attended(x, self.key2) @ self.phi2.T
        h = h if self.feedforward is None else h + h @ self.feedforward.T
        return h @ self.unembedding.T, jnp.stack(found, axis=1)

    def trainable(self):
        kept = (self.output2, self.key2, self.key1, self.feedforward)
        return tuple(w for w in kept if w is not None)


class _Tables(eqx.Module):
    """The model as a row for each token and one for each position: what is the same in all sequences."""

    embedding: Float[Array, "n d"]
    positions: Float[Array, "t d"]
    # Of layer 1: queries and values, of tokens and of positions.
    first: tuple[Float[Array, "n d"], Float[Array, "t d"], Float[Array, "n d"], Float[Array, "t d"]] | None
    key2: Float[Array, "d d"]  # transposed: its slope is then a product without transposition
    read: Float[Array, "m d"]
    read_mixed: Float[Array, "m d"]

    def residual(self, tokens: Int[Array, "n t"]) -> Float[Array, "n t d"]:
        length = tokens.shape[1]
        x = self.embedding[tokens] + self.positions[:length]
        if self.first is None:
            return x
        query, query_at, value, value_at = self.first
        # Positions are looked up too: the derivative of a broadcast is a slow sum over sequences.
        places = jnp.broadcast_to(jnp.arange(length), tokens.shape)
        return x + causal(query[tokens] + query_at[places], x, value[tokens] + value_at[:length])

    def logits(
        self, state: Float[Array, "n t d"], at: Int[Array, "n p"] | None = None
    ) -> Float[Array, "n p m"]:
        own = state if at is None else jax.vmap(lambda x, p: x[p])(state, at)
        queries = jnp.einsum("npd,ed->npe", own, self.key2)
        if at is None:
            mixed = causal(queries, state, state)
        else:
            scores = jnp.einsum("npd,ntd->npt", queries, state)
            seen = jnp.arange(state.shape[1]) <= at[..., None]
            weights = unnormalised(scores, seen)
            mixed = jnp.einsum("npt,ntd->npd", weights, state) / jnp.sum(weights, axis=-1, keepdims=True)
        return own @ self.read.T + mixed @ self.read_mixed.T


class Patched(AbstractSequenceModel):
    """A model some of whose heads attend as they are told, and no longer by themselves.

    ``heads``: head → a model that it attends like, or one attention map for all sequences. Made by
    ``patched`` and ``ablated``. What is trained is what the model trains.
    """

    model: Any
    heads: dict[int, Any]

    @property
    def num_heads(self) -> int:
        """Of the model."""
        return self.model.num_heads

    def residual(self, tokens: Int[Array, "n t"]) -> Float[Array, "n t m"]:
        """Scores already: which part of a model a head belongs to is its own affair."""
        return self.patched(tokens, {})[0]

    def logits(
        self, state: Float[Array, "n t m"], at: Int[Array, "n p"] | None = None
    ) -> Float[Array, "n p m"]:
        return state if at is None else jnp.take_along_axis(state, at[..., None], axis=1)

    def attention(self, tokens: Int[Array, "n t"]) -> Float[Array, "n heads t t"]:
        return self.patched(tokens, {})[1]

    def patched(
        self, tokens: Int[Array, "n t"], maps: Mapping[int, Float[Array, "... #t #t"]]
    ) -> tuple[Float[Array, "n t m"], Float[Array, "n heads t t"]]:
        """See ``HasHeads``."""
        told = {
            head: like.attention(tokens)[:, head] if isinstance(like, HasHeads) else like
            for head, like in self.heads.items()
        }
        return self.model.patched(tokens, {**told, **maps})

    def trainable(self):
        return self.model.trainable()


def patched(model: Any, head: int, like: Any) -> Patched:
    """The model whose head ``head``, counted as in ``model.attention``, attends like that of another model,
    or by a map of shape (T, T), the same one for every sequence.

    Example: ``am.induction.patched(late, 0, early)``, ``am.induction.patched(late, 0, attention_of_a_text)``.
    """
    _has_head("model", model, head)
    if isinstance(like, eqx.Module):
        _has_head("like", like, head)
        return Patched(model, {head: like})
    weights = checks.array("like", like, "a model or a map")
    checks.shaped("like", weights, "a model or a map of shape (T, T)", 2)
    return Patched(model, {head: weights})


def _has_head(argument, model, head):
    if not isinstance(model, HasHeads):
        checks.refuse(argument, "one whose heads can attend elsewhere", type(model).__name__)
    checks.within("head", checks.count("head", head, 0), 0, model.num_heads - 1)


def ablated(model: Any, head: int, tokens: Int[Array, "n t"] | None = None) -> Patched:
    """The model without its head ``head``, counted as in ``model.attention``: it writes nothing.

    With ``tokens``: mean ablation, it attends everywhere as it does on average over these sequences.

    Example: ``am.induction.in_context_loss(task, am.induction.ablated(model, 0))``.
    """
    silent = patched(model, head, jnp.zeros((1, 1)))
    if tokens is None:
        return silent
    tokens = jnp.asarray(checks.array("tokens", tokens, "whole numbers of shape (n, T)"))
    if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
        checks.refuse("tokens", "whole numbers of shape (n, T)", f"{tokens.dtype} of shape {tokens.shape}")
    return patched(model, head, jnp.mean(model.attention(tokens)[:, head], axis=0))
