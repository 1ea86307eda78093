"""Birth lemmas 4 and 5: gradients through attention."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ....statements import equal, reference, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ..theory import first_steps as induction

# --- Attention: lemmas 4 and 5 --------------------------------------------------------------------


class _Attention(NamedTuple):
    """A random batch: weights, labels, X (S, T, d), w_U, Φ₂, Φ₁, W₂, positions."""

    weights: Any
    labels: Any
    X: Any
    U: Any
    phi2: Any
    phi1: Any
    W2: Any
    positions: Any


_BATCH = {"s": 4, "n": 3, "length": 4, "d": 3}


def _attention(seed, s, n, length, d) -> _Attention:
    keys = jr.split(jr.key(seed), 8)
    square = lambda key: jr.normal(key, (d, d)) / np.sqrt(d)  # noqa: E731
    return _Attention(
        jax.nn.softmax(jr.normal(keys[0], (s,))), jr.randint(keys[1], (s,), 0, n),
        jr.normal(keys[2], (s, length, d)), jr.normal(keys[3], (n, d)), square(keys[4]), square(keys[5]),
        square(keys[6]), jr.normal(keys[7], (length, d)),
    )  # fmt: skip


def _second_layer(batch: _Attention, W):
    """Birth (13): the loss of one attention layer as a function of its key-query matrix."""
    scores = jnp.einsum("sta,ab,sb->st", batch.X, W, batch.X[:, -1])
    mixed = jnp.einsum("st,sta->sa", jax.nn.softmax(scores), batch.X)
    logits = mixed @ batch.phi2.T @ batch.U.T
    own = jnp.take_along_axis(logits, batch.labels[:, None], axis=1)[:, 0]
    return batch.weights @ (jax.nn.logsumexp(logits, axis=1) - own), logits


def _first_layer(batch: _Attention, W):
    """Birth (14): two layers, the second softmax linearised at 0, as a function of W_K¹."""
    length = batch.X.shape[1]
    scores = batch.positions @ W @ batch.positions.T  # key-left: p_sᵀ W p_t
    causal = jnp.tril(jnp.ones((length, length), bool))
    attention = jax.nn.softmax(jnp.where(causal, scores.T, -jnp.inf), axis=1)  # rows t
    z = jnp.einsum("ts,qsa->qta", attention, batch.X @ batch.phi1.T)
    u = jnp.einsum("qta,ab,qb->qt", z, batch.W2, batch.X[:, -1])
    weights = (1 + u - u.mean(axis=1, keepdims=True)) / length
    logits = jnp.einsum("qt,qta->qa", weights, batch.X) @ batch.phi2.T @ batch.U.T
    own = jnp.take_along_axis(logits, batch.labels[:, None], axis=1)[:, 0]
    return batch.weights @ (jax.nn.logsumexp(logits, axis=1) - own), logits


def _errors(batch: _Attention, logits):
    return jax.nn.softmax(logits, axis=1) - jax.nn.one_hot(batch.labels, batch.U.shape[0])


@statement(
    "birth.29a",
    "the first gradient of the second key-query matrix",
    where="Lemma 4, (13)",
    printed="∇L at W_K² = 0 is Σ_k E[(p̂_k − 1{y=k}) (1/T) Σ_t w_U(k)ᵀΦ₂x_t (x_t − x̄) x_Tᵀ]",
    corrected="as printed (key-left; (7) and section 4.2 are its transpose)",
    verdict="right",
    domain={"seed": SEEDS},
    cases=[_BATCH],
    tolerance="rounding of sums of s·T·d terms",
)
def lemma_4(seed, s, n, length, d):
    """∂σ(u)_t/∂u_s at 0 is (1{t=s} − 1/T)/T."""
    batch = _attention(seed, s, n, length, d)
    slope, logits = jax.grad(lambda W: _second_layer(batch, W), has_aux=True)(jnp.zeros((d, d)))
    readout = batch.X @ batch.phi2.T @ batch.U.T
    closed = induction.second_layer_gradient(
        batch.weights, _errors(batch, logits), readout, batch.X, batch.X[:, -1]
    )
    return equal(slope, closed, rounding(jnp.max(jnp.abs(readout)) * jnp.max(batch.X**2), operations=256))


@lemma_4.second_route
def _(seed, s, n, length, d):
    b = _Attention(*(np.asarray(part) for part in _attention(seed, s, n, length, d)))
    readout = np.array([[[b.U[k] @ b.phi2 @ x for k in range(n)] for x in X] for X in b.X])

    def loss(W):
        total = 0
        for q in range(s):
            logits = readout[q].T @ reference.complex_softmax(b.X[q] @ W @ b.X[q, -1])
            total += b.weights[q] * (np.log(np.exp(logits).sum()) - logits[b.labels[q]])
        return total

    closed = np.zeros((d, d))
    for q, k, t in itertools.product(range(s), range(n), range(length)):
        p = reference.complex_softmax(readout[q].mean(axis=0))
        centred = b.X[q, t] - b.X[q].mean(axis=0)
        error = p[k] - (b.labels[q] == k)
        closed += b.weights[q] * error / length * readout[q, t, k] * np.outer(centred, b.X[q, -1])
    within = rounding(np.abs(readout).max() * (b.X**2).max(), operations=256)
    return equal(reference.complex_step(loss, (d, d)), closed, within)


@statement(
    "birth.29b",
    "the first gradient of the first key-query matrix",
    where="Lemma 5, (14)",
    printed="∇L at W_K¹ = 0: the lemma's four terms",
    corrected="as printed: two terms, w_U(k)ᵀΦ₂(x_t − x̄) · (1/t) Σ_{s≤t} (Φ₁x_s)ᵀW₂x_T (p_s − p̄_{1:t}) p_tᵀ",
    verdict="right",
    domain={"seed": SEEDS},
    cases=[_BATCH],
    tolerance="rounding of sums of s·T²·d terms",
)
def lemma_5(seed, s, n, length, d):
    """The linearised softmax is affine in z_t, and z_t has the derivative of lemma 4 in W."""
    batch = _attention(seed, s, n, length, d)
    slope, logits = jax.grad(lambda W: _first_layer(batch, W), has_aux=True)(jnp.zeros((d, d)))
    readout = batch.X @ batch.phi2.T @ batch.U.T
    lookup = jnp.einsum("qsa,ab,qb->qs", batch.X @ batch.phi1.T, batch.W2, batch.X[:, -1])
    closed = induction.first_layer_gradient(
        batch.weights, _errors(batch, logits), readout, lookup, batch.positions
    )
    size = jnp.max(jnp.abs(readout)) * jnp.max(jnp.abs(lookup)) * jnp.max(batch.positions**2)
    return equal(slope, closed, rounding(size, operations=256))


@lemma_5.second_route
def _(seed, s, n, length, d):
    b = _Attention(*(np.asarray(part) for part in _attention(seed, s, n, length, d)))
    readout = np.array([[[b.U[k] @ b.phi2 @ x for k in range(n)] for x in X] for X in b.X])
    lookup = np.array([[(b.phi1 @ x) @ b.W2 @ X[-1] for x in X] for X in b.X])

    def logits(q, W):
        u = np.zeros(length, complex)
        for t in range(length):
            u[t] = lookup[q, : t + 1] @ reference.complex_softmax(b.positions[: t + 1] @ W @ b.positions[t])
        return readout[q].T @ ((1 + u - u.mean()) / length)

    def loss(W):
        each = [logits(q, W) for q in range(s)]
        return sum(b.weights[q] * (np.log(np.exp(z).sum()) - z[b.labels[q]]) for q, z in enumerate(each))

    closed = np.zeros((d, d))
    for q, k, t in itertools.product(range(s), range(n), range(length)):
        error = reference.complex_softmax(logits(q, np.zeros((d, d))).real)[k] - (b.labels[q] == k)
        early = b.positions[: t + 1]
        moved = sum(lookup[q, i] * (early[i] - early.mean(axis=0)) for i in range(t + 1)) / (t + 1)
        contrast = readout[q, t, k] - readout[q, :, k].mean()
        closed += b.weights[q] * error / length * contrast * np.outer(moved, b.positions[t])
    size = np.abs(readout).max() * np.abs(lookup).max() * (b.positions**2).max()
    return equal(reference.complex_step(loss, (d, d)), closed, rounding(size, operations=256))
