"""Softmax attention read at EOS, with an MLP or none (Slides p. 20–22; Nichani, Lee, Bietti 2025)."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .... import checks
from ....checks import Scalar
from ....models import AbstractWeights
from ....models.attention import attention
from ....tasks import embeddings
from ...memory.model import MLPMemory
from ...memory.task import AssociationTask
from ..task import FactualTask

# (key, n, d) → n rows of R^d, as am.embeddings.sphere.
Draw = Callable[[PRNGKeyArray, int, int], Array]
# (pairs and their answers, key) → what stores them.
Memory = Callable[[AssociationTask, PRNGKeyArray], MLPMemory]


def one_neuron_a_fact(pairs: AssociationTask, key: PRNGKeyArray) -> MLPMemory:
    """ReLUs that open where an input has more than ¾ of their pair: (e_s + e_r)/√2 has ½ of one that shares
    s or r."""
    return MLPMemory.thresholded(pairs, 0.75)


class FactualTransformer(AbstractWeights):
    """Logits u_aᵀ (h + W₁ᵀ σ(W₂ h + b)) with h = Σ_i W_O^iᵀ W_V^i Σ_t α^i_t e_{z_t}, over heads i, and
    α^i = softmax_t(e_{z_t}ᵀ W_K^iᵀ W_Q^i e_EOS).

    Tokens e_z and answers u_a are frozen. As in the paper there are no positions, no 1/√d_h, and nothing goes
    past the attention: e_EOS would add the same to the scores of every text.

    - ``embedding`` (V, d), ``unembedding`` (R D, d).
    - ``query``, ``key``, ``value``, ``output``: (H, d_h, d). ``inner`` W₂ and ``outer`` W₁: (m, d), and
      ``bias`` (m,) or none; without ``inner`` there is no MLP.

    ``am.num_parameters`` is 4 H d_h d, + 2 m d with an MLP, + m if that has biases. ``gaussian`` draws one,
    ``constructed`` and ``constructed_mlp`` write one down.
    """

    task_type: ClassVar[type] = FactualTask
    embedding: Float[Array, "v d"]
    unembedding: Float[Array, "a d"]
    query: Float[Array, "h e d"]
    key: Float[Array, "h e d"]
    value: Float[Array, "h e d"]
    output: Float[Array, "h e d"]
    inner: Float[Array, "m d"] | None
    outer: Float[Array, "m d"] | None
    bias: Float[Array, " m"] | None
    activation: Callable = eqx.field(static=True)

    def __init__(
        self,
        embedding,
        unembedding,
        query,
        key,
        value,
        output,
        inner=None,
        outer=None,
        bias=None,
        activation: Callable = jax.nn.relu,
    ):
        given = {"query": query, "key": key, "value": value, "output": output}
        given |= {"embedding": embedding, "unembedding": unembedding}
        mlp = {"inner": inner, "outer": outer, "bias": bias}
        given |= {name: weight for name, weight in mlp.items() if weight is not None}
        if (inner is None) != (outer is None) or (inner is None and bias is not None):
            checks.refuse(
                "inner and outer", "given together, or neither of them nor bias", "one without other"
            )
        known = dict(zip(given, checks.floats(**given)))
        checks.shaped("query", known["query"], "of shape (H, d_h, d)", 3)
        heads = known["query"].shape
        rows = lambda name: (known[name].shape[0], heads[2]) if known[name].ndim else ()  # noqa: E731
        width = rows("inner") if inner is not None else ()
        shapes = {"key": heads, "value": heads, "output": heads, "inner": width, "outer": width}
        shapes |= {name: rows(name) for name in ("embedding", "unembedding")} | {"bias": width[:1]}
        for name, weight in known.items():
            if weight.shape != shapes.get(name, heads):
                checks.refuse(name, f"of shape {shapes[name]}", f"shape {weight.shape}")
            checks.finite(name, weight)
        self.embedding, self.unembedding = known["embedding"], known["unembedding"]
        self.query, self.key = known["query"], known["key"]
        self.value, self.output = known["value"], known["output"]
        self.inner, self.outer, self.bias = (known.get(name) for name in mlp)
        self.activation = activation

    @classmethod
    @checks.takes(task=FactualTask, key=checks.KEY, draw=Callable)
    def gaussian(
        cls,
        task: FactualTask,
        key: PRNGKeyArray,
        d: int,
        heads: int,
        head_width: int,
        mlp: int = 0,
        *,
        draw: Draw = embeddings.sphere,
    ) -> "FactualTransformer":
        """Every matrix at random: N(0, 1/d), but W_O N(0, 1/(H d_h)) and W₁ N(0, 1/m); an MLP of ``mlp``
        ReLUs without biases. ``draw``: of the embeddings."""
        d, heads, head_width = _sizes(d, heads, head_width)
        mlp = checks.count("mlp", mlp, 0)
        keys = jr.split(key, 8)
        normal = lambda k, rows, fan: jr.normal(k, (*rows, d), task.dtype) / fan**0.5  # noqa: E731
        query, at, value = (normal(k, (heads, head_width), d) for k in keys[2:5])
        output = normal(keys[5], (heads, head_width), heads * head_width)
        inner, outer = (normal(keys[6], (mlp,), d), normal(keys[7], (mlp,), mlp)) if mlp else (None, None)
        return cls(*_embedded(task, keys, d, draw), query, at, value, output, inner, outer)

    @classmethod
    @checks.takes(task=FactualTask, key=checks.KEY, draw=Callable, pseudo_inverse=bool)
    def constructed(
        cls,
        task: FactualTask,
        key: PRNGKeyArray,
        d: int,
        heads: int,
        head_width: int,
        *,
        beta: Scalar = 4.0,
        pseudo_inverse: bool = False,
        draw: Draw = embeddings.sphere,
    ) -> "FactualTransformer":
        """Attention alone: W_OV = 2 Σ_s (Σ_r u_{a*(s,r)}) e_sᵀ + 2 Σ_r (Σ_{a∈A_r} u_a) e_rᵀ, of rank at most
        S + R, and W_KQ = β Σ (e_s + e_r) e_EOSᵀ in every head. 4 H d_h d parameters.

        Attention gives ½ to s and to r (β → ∞), so that with orthonormal embeddings the right answer scores
        2, its block and the other answers of s score 1, all others 0. With random ones a key has the score
        β (1 ± √((S+R)/d)): a large β attends to one of s and r alone. W_OV is shared among heads by its
        singular vectors; if H d_h is less than its rank, the largest are kept.

        ``pseudo_inverse``: in place of the sums, the W_OV and the W_KQ that come nearest to these scores on
        *all* tokens, noise and EOS too, by least squares: exact where all V embeddings are independent, and
        all R D answers. Subjects and relations of probability 0 are not written, and not heard of.
        """
        d, heads, head_width = _sizes(d, heads, head_width)
        keys = jr.split(key, 8)
        E, U = _embedded(task, keys, d, draw)
        write, answers = (_inverse(task, E), jnp.linalg.pinv(U)) if pseudo_inverse else (E, U.T)
        # The singular vectors of W_OV, by way of those of its factor on the span of the tokens.
        basis, factor = jnp.linalg.qr(write.T)
        left, sizes, right = jnp.linalg.svd(2 * answers @ _wanted(task).T @ factor.T, full_matrices=False)
        root, right = jnp.sqrt(sizes)[:, None], right @ basis.T
        beta = checks.number("beta", beta).astype(task.dtype)
        attended = _attended(task, write, E, beta, heads, head_width)
        value, output = (_shared(w, heads, head_width) for w in (root * right, root * left.T))
        return cls(E, U, *attended, value, output)

    @classmethod
    @checks.takes(task=FactualTask, key=checks.KEY, draw=Callable, memory=Callable, pseudo_inverse=bool)
    def constructed_mlp(
        cls,
        task: FactualTask,
        key: PRNGKeyArray,
        d: int,
        heads: int,
        head_width: int,
        memory: Memory = one_neuron_a_fact,
        *,
        beta: Scalar = 4.0,
        pseudo_inverse: bool = False,
        draw: Draw = embeddings.sphere,
    ) -> "FactualTransformer":
        """Attention hands x = (e_s + e_r)/√2 to an MLP that stores x ↦ a*(s, r): W_KQ as in ``constructed``,
        W_OV = √2 times the projector on the S + R embeddings (their H d_h largest directions), of rank at
        most min(d, S + R).

        ``memory(pairs, key)``: any two-layer memory of the S R pairs. Unless given, a ReLU for each of them
        that opens above ¾: m = S R, and with orthonormal embeddings it adds d/4 to the right answer alone.
        ``MLPMemory.one_step`` with ``Hermite(k)`` needs m d ≳ S R only. Its output is multiplied by d, so
        that what attention itself adds does not count. 4 H d_h d + 2 m d + m parameters.
        """
        d, heads, head_width = _sizes(d, heads, head_width)
        keys = jr.split(key, 8)
        E, U = _embedded(task, keys, d, draw)
        write = _inverse(task, E) if pseudo_inverse else E
        S, R = task.facts.shape
        pairs = (E[:S, None] + E[None, S : S + R]) / 2**0.5
        law = task.pair_probabilities.reshape(-1)
        stored = memory(AssociationTask(law, task.facts.reshape(-1), pairs.reshape(-1, d), U), keys[6])
        # The square root of √2 on either side of the projector.
        shared = _shared(2**0.25 * jnp.linalg.svd(_kept(task, E), full_matrices=False)[2], heads, head_width)
        beta = checks.number("beta", beta).astype(task.dtype)
        attended = _attended(task, write, E, beta, heads, head_width)
        layers = stored.input, d * stored.output, stored.bias
        return cls(E, U, *attended, shared, shared, *layers, stored.activation)

    @property
    def token_logits(self) -> Float[Array, "v a"]:
        """What attending to a token adds to the logits, the MLP aside: u_aᵀ W_OV e_z."""
        return jnp.einsum("vd,hed,hef,af->va", self.embedding, self.value, self.output, self.unembedding)

    def attention(self, tokens: Int[Array, "n t"]) -> Float[Array, "n h t"]:
        """Weights at EOS, of every head on every place."""
        query = jnp.einsum("hed,d->he", self.query, self.embedding[-1])
        table = jnp.einsum("vd,hed,he->vh", self.embedding, self.key, query)
        return attention(jnp.moveaxis(table[tokens], 2, 1)[:, :, None])[:, :, 0]

    def logits(self, tokens: Int[Array, "n t"]) -> Float[Array, "n a"]:
        """Scores of the R D answers after each text."""
        values = jnp.einsum("vd,hed->vhe", self.embedding, self.value)[tokens]
        mixed = jnp.einsum("nht,nthe->nhe", self.attention(tokens), values)
        hidden = jnp.einsum("nhe,hed->nd", mixed, self.output)
        if self.inner is not None and self.outer is not None:
            drive = hidden @ self.inner.T
            drive = drive if self.bias is None else drive + self.bias
            hidden = hidden + self.activation(drive) @ self.outer
        return hidden @ self.unembedding.T

    def scores(self, task: FactualTask, tokens: Int[Array, " b"] | None = None) -> Float[Array, "b a"]:
        """Logits of the texts of ``task.data`` (of those named)."""
        return self.logits(task.data.tokens if tokens is None else task.data.tokens[tokens])

    def trainable(self) -> tuple[Array, ...]:
        every = (self.query, self.key, self.value, self.output, self.inner, self.outer, self.bias)
        return tuple(weight for weight in every if weight is not None)


def _sizes(d, heads, head_width) -> tuple[int, int, int]:
    return checks.count("d", d), checks.count("heads", heads), checks.count("head_width", head_width)


def _embedded(task: FactualTask, keys, d: int, draw: Draw) -> tuple[Array, Array]:
    """(e_z of all tokens, u_a of all answers)."""
    return draw(keys[0], task.num_tokens, d), draw(keys[1], task.num_answers, d)


def _known(task: FactualTask) -> Float[Array, " v"]:
    """1 for every subject and relation of positive probability; 0 for noise and EOS."""
    law = task.pair_probabilities
    known = jnp.concatenate([law.sum(axis=1) > 0, law.sum(axis=0) > 0])
    return jnp.zeros(task.num_tokens, task.dtype).at[: len(known)].set(known)


def _inverse(task: FactualTask, E: Array) -> Array:
    """Rows f_z with ⟨f_z, e_z'⟩ = 1{z = z'} by least squares, over all tokens that occur."""
    rest = jnp.arange(len(E)) >= sum(task.facts.shape)
    return jnp.linalg.pinv(jnp.where(rest, 1, _known(task))[:, None] * E).T


def _kept(task: FactualTask, E: Array) -> Array:
    return _known(task)[:, None] * E


def _wanted(task: FactualTask) -> Float[Array, "v a"]:
    """What each token should add to the score of each answer: s, 1 for each a*(s, r); r, 1 for its block."""
    S, R = task.facts.shape
    of_subject = jax.nn.one_hot(task.facts, task.num_answers, dtype=task.dtype).sum(axis=1)
    of_relation = jnp.repeat(jnp.eye(R, dtype=task.dtype), task.answers, axis=1)
    rest = jnp.zeros((task.num_tokens - S - R, task.num_answers), task.dtype)
    return _kept(task, jnp.concatenate([of_subject, of_relation, rest]))


def _attended(task, write, E, beta, heads: int, head_width: int) -> tuple[Array, Array]:
    """(W_Q, W_K) with W_Kᵀ W_Q = β Σ (e_s + e_r) e_EOSᵀ in every head: one row of each, the others 0."""
    first = jnp.zeros((heads, head_width, 1), task.dtype).at[:, 0].set(1)
    return first * E[-1], first * beta * (_known(task) @ write)


def _shared(rows: Float[Array, "k d"], heads: int, head_width: int) -> Float[Array, "h e d"]:
    """The first H d_h rows (or zeros, where there are fewer), d_h to a head."""
    total = heads * head_width
    padded = jnp.pad(rows[:total], ((0, max(0, total - len(rows))), (0, 0)))
    return padded.reshape(heads, head_width, -1)
