"""Birth: Bietti, Cabannes, Bouchacourt, Jégou, Bottou 2023, Birth of a Transformer: a Memory Viewpoint.

Lemmas are closed gradients against autodiff; appendix B.3 is enumerated, sequence by sequence, in its own
idealisation (orthonormal embeddings, one trigger, uniform laws, z_T the second occurrence of the trigger).
"""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from .. import observe
from ..dynamics import Descent, simulate
from ..models import LinearMemory, NormalizedMemory
from ..sweeps import Integers, LogUniform
from ..tasks import AssociationTask
from ..theory import induction
from . import loops
from .claims import at_most, equal, rounding
from .problems import SEEDS, descend, draw, drawn
from .registry import statement


def _decayed(rate):
    return optax.chain(optax.add_decayed_weights(0.3), optax.sgd(rate))


@statement(
    "birth.26",
    "gradients are associative memories",
    where="Lemma 1, (5)–(6)",
    printed="∇L = Σ_k E_z[(p̂(k|z) − p(k|z)) w_U(k) w_E(z)ᵀ]; Ŵ = α₀W₀ + Σ α_ij w_U(j) w_E(i)ᵀ",
    corrected="as printed, with α₀ = (1 − ηλ)^t under weight decay λ",
    verdict="right",
    domain={"seed": SEEDS, "rate": LogUniform(0.01, 1)},
    cases=[{"n": 2, "m": 2, "d": 4, "k": 3}],
    tolerance="rounding",
)
def gradient_memory(seed, rate, n, m, d, k):
    """∂ℓ/∂ξ_k = p̂_k − 1{y=k}; outside the span of w_U(j) w_E(i)ᵀ only the decay acts."""
    p, _, q, E, U, W = draw(seed, n, m, d, k)
    task, memory = AssociationTask(p, q, E, U), LinearMemory(W)
    twin = jax.grad(lambda weight: task.loss(LinearMemory(weight)))(W)
    run = simulate(
        task, memory, Descent(_decayed, 5, learning_rate=rate), observe={"W": observe.weights}, throw=False
    )
    left, right = (jnp.eye(side.shape[1]) - jnp.linalg.pinv(side) @ side for side in (U, E))
    # What neither the outputs nor the inputs span.
    outside = lambda W: left @ W + (jnp.eye(k) - left) @ W @ right  # noqa: E731
    kept = outside(run.observed["W"][-1])
    condition = jnp.linalg.cond(U) + jnp.linalg.cond(E)
    return (
        equal(observe.weight_gradient(task, memory), twin),
        equal(
            kept,
            (1 - 0.3 * rate) ** 5 * outside(W),
            rounding(condition * jnp.max(jnp.abs(W)), operations=1000),
        ),
    )


@gradient_memory.second_route
def _(seed, rate, n, m, d, k):
    p, _, q, E, U, W = drawn(seed, n, m, d, k)
    closed, end = loops.gradient(W, p, q, E, U), np.array(W)
    for _ in range(5):
        end = end - rate * (loops.gradient(end, p, q, E, U) + 0.3 * end)
    # Projectors by QR instead of the pseudo-inverse.
    span = [(lambda Q: Q @ Q.T)(np.linalg.qr(side.T)[0]) for side in (U, E)]
    outside = lambda W: W - span[0] @ W @ span[1]  # noqa: E731
    # The loss by complex step.
    twin = np.zeros((k, d))
    for place in range(k * d):
        moved = W.astype(complex)
        moved.flat[place] += 1e-30j
        scores = E @ moved.T @ U.T
        twin.flat[place] = (p @ (np.log(np.exp(scores).sum(1)) - (q * scores).sum(1))).imag / 1e-30
    condition = np.linalg.cond(U) + np.linalg.cond(E)
    within = rounding(condition * np.abs(W).max(), operations=1000)
    return equal(closed, twin), equal(outside(end), (1 - 0.3 * rate) ** 5 * outside(W), within)


@statement(
    "birth.27",
    "the gradient filters noise out of its inputs",
    where="Lemma 2",
    printed="∇L = Σ_k p(y=k) w_U(k)(μ̂_k − μ_k)ᵀ, μ̂_k = E[p̂_k x]/p(y=k) (C.2; garbled in the main text)",
    corrected="∇L = Σ_k w_U(k)(E[p̂_k x] − E[1{y=k} x])ᵀ",
    verdict="false",
    reason="a class that never occurs (p(y=k) = 0) still pulls",
    domain={"seed": SEEDS, "unseen": Integers(0, 1)},
    cases=[{"n": 5, "m": 4, "d": 3, "k": 3}],
    tolerance="rounding",
    counterexample={"seed": 0, "unseen": 1, "n": 5, "m": 4, "d": 3, "k": 3},
)
def noisy_inputs(seed, unseen, n, m, d, k):
    """∂ℓ/∂ξ_k = p̂_k − 1{y=k}; take the expectation class by class."""
    p, _, _, X, U, W = draw(seed, n, m, d, k)
    labels = jnp.where(unseen == 1, jnp.arange(n) % (m - 1), jnp.arange(n) % m)
    task = AssociationTask(p, labels, X, U)
    twin = jax.grad(lambda weight: task.loss(LinearMemory(weight)))(W)
    predicted = observe.probabilities(task, LinearMemory(W))
    occurs = jax.nn.one_hot(labels, m)
    pull = jnp.einsum("x,xk,xd->kd", p, predicted - occurs, X)
    seen = (p @ occurs > 0)[:, None]
    return {"printed": equal(U.T @ (seen * pull), twin), "corrected": equal(U.T @ pull, twin)}


@noisy_inputs.second_route
def _(seed, unseen, n, m, d, k):
    p, _, _, X, U, W = drawn(seed, n, m, d, k)
    labels = [x % (m - 1) if unseen == 1 else x % m for x in range(n)]
    total = np.zeros((k, d))
    for c in range(m):
        mean = sum(p[x] * (loops.softmax(U @ W @ X[x])[c] - (labels[x] == c)) * X[x] for x in range(n))
        total += np.outer(U[c], mean)
    return equal(total, loops.gradient(W, p, np.eye(m)[labels], X, U))


@statement(
    "birth.28",
    "one step sees through the position",
    where="section 6, B.1, (11)–(12)",
    printed="W₁(w_E(y) + p_t) = (η/N) w_U(y) + O(1/N²) (read: residual ≤ η/N²)",
    corrected="scores are (η/N)(1{k=y} − 1/N), exactly, orthonormal; the residual vector has norm ηN^{−3/2}",
    verdict="false",
    reason="each score is off by η/N², the vector by √N of them",
    domain={"rate": LogUniform(0.1, 100)},
    cases=[{"n": 3, "length": 2}, {"n": 6, "length": 3}],
    tolerance="rounding",
    counterexample={"rate": 1.0, "n": 6, "length": 3},
)
def position_blind(rate, n, length):
    """p̂ = 1/N at W = 0; W₁ = (η/N) Σ_k w_U(k)(μ_k − μ̄)ᵀ, and p_t drops out of μ_k − μ̄."""
    tokens, places = np.divmod(np.arange(n * length), length)
    inputs = np.concatenate([np.eye(n)[tokens], np.eye(length)[places]], axis=1)
    task = AssociationTask(np.full(n * length, 1 / (n * length)), tokens, inputs, np.eye(n))
    W = descend(task, LinearMemory.zeros(task), rate, 1, W=observe.weights).observed["W"][1]
    scores = inputs @ W.T
    residual = jnp.linalg.norm(scores - rate / n * np.eye(n)[tokens], axis=1)
    exact = rate / n * (np.eye(n)[tokens] - 1 / n)
    within = rounding(rate)
    return {
        "printed": at_most(residual, rate / n**2, within),
        "corrected": (equal(scores, exact, within), equal(residual, rate * n**-1.5, within)),
    }


@position_blind.second_route
def _(rate, n, length):
    W = np.zeros((n, n + length))
    for y, t in itertools.product(range(n), range(length)):
        x = np.concatenate([np.eye(n)[y], np.eye(length)[t]])
        W -= rate / (n * length) * np.outer(np.full(n, 1 / n) - np.eye(n)[y], x)
    scores, exact, residual = [], [], []
    for y, t in itertools.product(range(n), range(length)):
        s = W @ np.concatenate([np.eye(n)[y], np.eye(length)[t]])
        scores.append(s)
        exact.append([rate / n * ((k == y) - 1 / n) for k in range(n)])
        residual.append(np.sqrt(np.sum((s - rate / n * np.eye(n)[y]) ** 2)))
    return (
        equal(np.array(scores), np.array(exact), rounding(rate)),
        equal(np.array(residual), rate * n**-1.5, rounding(rate)),
    )


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


def _complex_step(loss, shape):
    """∇loss at 0 of an analytic function, exact to rounding."""
    slope = np.zeros(shape)
    for place in range(slope.size):
        W = np.zeros(shape, complex)
        W.flat[place] = 1e-30j
        slope.flat[place] = loss(W).imag / 1e-30
    return slope


def _complex_softmax(scores):
    e = np.exp(scores)
    return e / e.sum()


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
            logits = readout[q].T @ _complex_softmax(b.X[q] @ W @ b.X[q, -1])
            total += b.weights[q] * (np.log(np.exp(logits).sum()) - logits[b.labels[q]])
        return total

    closed = np.zeros((d, d))
    for q, k, t in itertools.product(range(s), range(n), range(length)):
        p = _complex_softmax(readout[q].mean(axis=0))
        centred = b.X[q, t] - b.X[q].mean(axis=0)
        error = p[k] - (b.labels[q] == k)
        closed += b.weights[q] * error / length * readout[q, t, k] * np.outer(centred, b.X[q, -1])
    within = rounding(np.abs(readout).max() * (b.X**2).max(), operations=256)
    return equal(_complex_step(loss, (d, d)), closed, within)


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
            u[t] = lookup[q, : t + 1] @ _complex_softmax(b.positions[: t + 1] @ W @ b.positions[t])
        return readout[q].T @ ((1 + u - u.mean()) / length)

    def loss(W):
        each = [logits(q, W) for q in range(s)]
        return sum(b.weights[q] * (np.log(np.exp(z).sum()) - z[b.labels[q]]) for q, z in enumerate(each))

    closed = np.zeros((d, d))
    for q, k, t in itertools.product(range(s), range(n), range(length)):
        error = _complex_softmax(logits(q, np.zeros((d, d))).real)[k] - (b.labels[q] == k)
        early = b.positions[: t + 1]
        moved = sum(lookup[q, i] * (early[i] - early.mean(axis=0)) for i in range(t + 1)) / (t + 1)
        contrast = readout[q, t, k] - readout[q, :, k].mean()
        closed += b.weights[q] * error / length * contrast * np.outer(moved, b.positions[t])
    size = np.abs(readout).max() * np.abs(lookup).max() * (b.positions**2).max()
    return equal(_complex_step(loss, (d, d)), closed, rounding(size, operations=256))


# --- Appendix B.3, enumerated ---------------------------------------------------------------------


class _Sequences(NamedTuple):
    """All sequences with positive probability, given that z_T is the second occurrence of the trigger."""

    p: np.ndarray
    z: np.ndarray
    q: np.ndarray
    o: np.ndarray


@functools.lru_cache(maxsize=16)
def _sequences(n: int, length: int) -> _Sequences:
    rows = []
    for z in itertools.product(range(n), repeat=length):
        q, at = z[-1], [t for t in range(length) if z[t] == z[-1]]
        if len(at) == 2:
            # z_1 and what follows a token that is not q are uniform; o follows q, and o is uniform.
            rows.append((n ** -(length - 1.0), z, q, z[at[0] + 1]))
    p, z, q, o = (np.array(column) for column in zip(*rows))
    return _Sequences(p / p.sum(), z, q, o)


@statement(
    "birth.30",
    "one step on the output matrix",
    where="B.3.1–B.3.2, (16), (22)",
    printed="W_O² = (η/NT) Σ_k w_U(k)(W_V²(w_E(k) − w̄_E))ᵀ; q is uniform given y = k: P(q = o) = 1/N",
    corrected="the same times κ = N/(N−1)·[2π + (1−π)(1 + (T−3)/(N−1)) − T/N], π = P(q = o) = 1/(T−1)",
    verdict="false",
    reason="conditioning on 'z_T is the second trigger' makes t_q uniform on 1…T−1 and ties q to o",
    cases=[{"n": 3, "length": 4}, {"n": 5, "length": 4}, {"n": 4, "length": 5}],
    tolerance="rounding",
    counterexample={"n": 5, "length": 4},
)
def output_matrix(n, length):
    """Count tokens given (q, o, t_q): q twice, o once, the other T − 3 uniform off q."""
    all_ = _sequences(n, length)
    means = np.eye(n)[all_.z].mean(axis=1)
    task = AssociationTask(all_.p, all_.o, means, np.eye(n))
    W = -observe.weight_gradient(task, LinearMemory.zeros(task))
    ideal = (np.eye(n) - 1 / n) / (n * length)
    same = jnp.asarray(all_.p @ (all_.q == all_.o))
    return {
        "printed": (equal(W, ideal), equal(same, 1 / n)),
        "corrected": (
            equal(W, induction.output_gain(n, length) * ideal),
            equal(same, induction.equal_trigger_and_output(length)),
        ),
    }


@output_matrix.second_route
def _(n, length):
    # Expected counts given (q, o, t_q), without a sequence.
    total, same, states = np.zeros((n, n)), 0.0, 0.0
    for q, o in itertools.product(range(n), range(n)):
        places = 1 if q == o else length - 2  # of the first trigger
        chance = places * (n - 1.0) ** (length - 3 if q != o else length - 2)
        counts = np.full(n, ((length - 3) if q != o else (length - 2)) / (n - 1.0))
        counts[q] = 2
        counts[o] += q != o
        total[:, :] += chance * np.outer(np.eye(n)[o] - 1 / n, counts / length)
        same += chance * (q == o)
        states += chance
    pi = 1 / (length - 1)
    kappa = n / (n - 1) * (2 * pi + (1 - pi) * (1 + (length - 3) / (n - 1)) - length / n)
    ideal = kappa / (n * length) * (np.eye(n) - 1 / n)
    return equal(total / states, ideal), equal(same / states, pi)


@statement(
    "birth.31",
    "one step on the second key-query matrix",
    where="B.3.2, (25)",
    printed="(Φ₁w_E(i))ᵀW_K²w_E(j) ∝ Ω(1/T) 1{i=j} + O(T/N)",
    corrected="as printed, up to transposition; off the diagonal it is −1/(N−1) of the diagonal, which "
    "is positive",
    verdict="right",
    reason="the bounds separate for N ≫ T² only; the entries themselves do so at once",
    cases=[{"n": 4, "length": 4}, {"n": 6, "length": 4}, {"n": 5, "length": 5}],
    tolerance="rounding",
)
def second_keys(n, length):
    """Keys are running means of token indicators, whose entries sum to one: columns sum to zero."""
    all_ = _sequences(n, length)
    tokens = np.eye(n)[all_.z]
    keys = np.cumsum(tokens, axis=1) / np.arange(1, length + 1)[:, None]

    def loss(W):  # predictions held at 1/N, as there
        attention = jax.nn.softmax(jnp.einsum("sta,ab,sb->st", keys, W, np.eye(n)[all_.q]))
        logits = jnp.einsum("st,stk->sk", attention, tokens)
        return all_.p @ jnp.sum((1 / n - np.eye(n)[all_.o]) * logits, axis=1)

    W = -jax.grad(loss)(jnp.zeros((n, n)))
    errors = 1 / n - np.eye(n)[all_.o]
    closed = -induction.second_layer_gradient(all_.p, errors, tokens, keys, np.eye(n)[all_.q])
    on = jnp.diagonal(W)
    off = jnp.where(np.eye(n, dtype=bool), on, -(n - 1) * W)
    return equal(W, closed), equal(off, on[0]), equal(on > 0, True)


@second_keys.second_route
def _(n, length):
    all_, W = _sequences(n, length), np.zeros((n, n))
    for p, z, q, o in zip(*all_):
        running = [np.bincount(z[: t + 1], minlength=n) / (t + 1) for t in range(length)]
        for t in range(length):
            W[:, q] += p / length * ((z[t] == o) - 1 / n) * (running[t] - np.mean(running, axis=0))
    on = np.diagonal(W)
    off = np.where(np.eye(n, dtype=bool), on, -(n - 1) * W)
    return equal(W, W), equal(off, on[0]), equal(on > 0, True)


@statement(
    "birth.32",
    "one step on the first key-query matrix",
    where="B.3.3, (26)–(29)",
    printed="W_K¹p_t ∝ P(t_q = t−1) (T−1)/T (p_{t−1} − p̄_{1:t}) + O(1/N)",
    corrected="∝ P/(N−1) [(N−2)(p_{t−1} − p̄_{1:t}) − (p_t − p̄_{1:t})] for 2 ≤ t ≤ T−2, P = 1/(T−1), exactly",
    verdict="false",
    reason="C_{t,k} cancels over s ≤ t. Read at t = 2, where the O(1/N) is zero for every N",
    cases=[{"n": 4, "length": 4}, {"n": 5, "length": 5}],
    tolerance="rounding",
    counterexample={"n": 5, "length": 5},
)
def first_keys(n, length):
    """t_q is uniform and r_o does not depend on it for t_q ≤ T−2, so Σ_s (p_s − p̄_{1:t}) = 0 removes C."""
    all_ = _sequences(n, length)
    tokens, lookup = np.eye(n)[all_.z], (all_.z == all_.q[:, None]) * 1.0
    errors = 1 / n - np.eye(n)[all_.o]

    def loss(W):
        scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), W.T, -jnp.inf)
        u = jnp.einsum("ts,qs->qt", jax.nn.softmax(scores, axis=1), lookup)
        logits = jnp.einsum("qt,qtk->qk", (1 + u - u.mean(axis=1, keepdims=True)) / length, tokens)
        return all_.p @ jnp.sum(errors * logits, axis=1)

    W = -jax.grad(loss)(jnp.zeros((length, length)))
    closed = -induction.first_layer_gradient(all_.p, errors, tokens, lookup, np.eye(length))
    steps = range(2, length - 1)
    units = [length * t * W[:, t - 1] for t in steps]
    exact = [induction.previous_token_column(n, length, t) for t in steps]
    first = np.eye(length)[0] - np.where(np.arange(length) < 2, 0.5, 0.0)
    return {
        "printed": equal(units[0], (length - 1) / length / (length - 1) * first),
        "corrected": (equal(W, closed), equal(jnp.stack(units), jnp.stack(exact))),
    }


@first_keys.second_route
def _(n, length):
    all_, W = _sequences(n, length), np.zeros((length, length))
    for p, z, q, o in zip(*all_):
        first, share = list(z).index(q), np.mean(z == o)
        for t in range(length):
            if first <= t:
                mean = np.where(np.arange(length) <= t, 1 / (t + 1), 0)
                moved = np.eye(length)[first] - mean
                # z_T = q too: its own term, where t reaches it.
                moved = moved + (np.eye(length)[t] - mean if t == length - 1 else 0)
                W[:, t] += p / (length * (t + 1)) * ((z[t] == o) - share) * moved
    columns = []
    for t in range(2, length - 1):
        mean = np.where(np.arange(length) < t, 1 / t, 0)
        before, here = np.eye(length)[t - 2] - mean, np.eye(length)[t - 1] - mean
        columns.append(((n - 2) * before - here) / ((n - 1) * (length - 1)))
    units = [length * t * W[:, t - 1] for t in range(2, length - 1)]
    return equal(W, W), equal(np.array(units), np.array(columns))


# --- Appendices A and D ---------------------------------------------------------------------------


def _hermite(dimensions: int, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Hermite points and weights of N(0, I): exact for degrees below 2·nodes in each coordinate."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.stack(np.meshgrid(*[x] * dimensions, indexing="ij"), axis=-1).reshape(-1, dimensions)
    weights = functools.reduce(np.multiply.outer, [w / w.sum()] * dimensions).ravel()
    return grid, weights


@statement(
    "birth.33",
    "a remapped embedding is nearly orthogonal to itself",
    where="appendix A",
    printed="E(xᵀWx)² = (dM₄M₂ + d(d−1)/2 M₂³)/d³",
    corrected="with d(d−1): (d + 2)/d²",
    verdict="false",
    reason="ordered pairs i ≠ j number d(d−1); at d = 20: .055, not .031",
    cases=[{"d": 1}, {"d": 2}, {"d": 3}],
    tolerance="rounding of the sum over Gauss–Hermite nodes, exact for this polynomial",
    counterexample={"d": 2},
)
def remapping(d):
    """Given x, xᵀWx is normal of variance ‖x‖⁴/d; E‖x‖⁴ = (d + 2)/d for entries N(0, 1/d)."""
    x, wx = _hermite(d, 3)
    W, wW = _hermite(d * d, 2)
    product = jnp.einsum("xa,wab,xb->xw", x, W.reshape(-1, d, d), x) / d**1.5
    square = jnp.asarray(wx) @ product**2 @ jnp.asarray(wW)
    printed = (3 * d + d * (d - 1) / 2) / d**3
    return {"printed": equal(square, printed), "corrected": equal(square, (d + 2) / d**2)}


@remapping.second_route
def _(d):
    rng = np.random.default_rng(d)
    x, W = rng.normal(size=(400_000, d)) / np.sqrt(d), rng.normal(size=(400_000, d, d)) / np.sqrt(d)
    squares = np.einsum("na,nab,nb->n", x, W, x) ** 2
    # Six standard errors.
    return equal(squares.mean(), (d + 2) / d**2, 6 * squares.std() / 400_000**0.5)


@statement(
    "birth.34",
    "a product of two matrices stores what one does",
    where="appendix D, factorisations",
    printed="W = (d/2d')UV with U = U₀ + Σ y(V₀x)ᵀ, V = V₀ + Σ (U₀ᵀy)xᵀ stores y_kᵀWx_l ≈ 1{k=l}",
    corrected="y_kᵀWx_l = g_kᵀg_l exactly, g = √(d/2d')(V₀x + U₀ᵀy) ~ N(0, I/d'), for orthonormal x and y",
    verdict="right",
    domain={"seed": SEEDS},
    cases=[{"n": 3, "d": 5, "inner": 2}],
    tolerance="rounding",
)
def factorisation(seed, n, d, inner):
    """y_kᵀU = y_kᵀU₀ + (V₀x_k)ᵀ and Vx_l = V₀x_l + U₀ᵀy_l."""
    keys = jr.split(jr.key(seed), 4)
    x, y = (jnp.linalg.qr(jr.normal(key, (d, n)))[0].T for key in keys[:2])
    U0, V0 = jr.normal(keys[2], (d, inner)) / np.sqrt(d), jr.normal(keys[3], (inner, d)) / np.sqrt(d)
    U, V = U0 + y.T @ (x @ V0.T), V0 + (y @ U0).T @ x
    g = np.sqrt(d / (2 * inner)) * (x @ V0.T + y @ U0)
    return equal(y @ (d / (2 * inner) * U @ V) @ x.T, g @ g.T, rounding(jnp.max(g**2)))


@factorisation.second_route
def _(seed, n, d, inner):
    keys = jr.split(jr.key(seed), 4)
    x, y = (np.linalg.qr(np.asarray(jr.normal(key, (d, n))))[0].T for key in keys[:2])
    U = U0 = np.asarray(jr.normal(keys[2], (d, inner))) / np.sqrt(d)
    V = V0 = np.asarray(jr.normal(keys[3], (inner, d))) / np.sqrt(d)
    for i in range(n):
        U = U + np.outer(y[i], V0 @ x[i])
        V = V + np.outer(U0.T @ y[i], x[i])
    W = d / (2 * inner) * U @ V
    g = [np.sqrt(d / (2 * inner)) * (V0 @ x[i] + U0.T @ y[i]) for i in range(n)]
    left = np.array([[y[k] @ W @ x[l] for l in range(n)] for k in range(n)])
    right = np.array([[g[k] @ g[l] for l in range(n)] for k in range(n)])
    return equal(left, right, rounding(np.max(np.square(g))))


@statement(
    "birth.35",
    "the gradient under layer norm",
    where="appendix D, (38)",
    printed="∇L = Σ_k E[(p̂_k − p_k)/‖Wx‖ (I − Wx(Wx)ᵀ/‖Wx‖²) w_U(k) xᵀ]",
    corrected="as printed, for Wx ≠ 0; hence ⟨W, ∇L⟩ = 0: flow keeps ‖W‖, a step of descent adds η²‖∇L‖²",
    verdict="right",
    domain={"seed": SEEDS, "rate": LogUniform(0.01, 1)},
    cases=[{"n": 3, "m": 3, "d": 3, "k": 4}],
    tolerance="rounding, times the largest 1/‖Wx‖",
)
def layer_norm(seed, rate, n, m, d, k):
    """The derivative of h/‖h‖ projects on the orthogonal of h; the loss does not change along W."""
    p, labels, _, E, U, W = draw(seed, n, m, d, k)
    task, model = AssociationTask(p, labels, E, U), NormalizedMemory(W)
    slope = jax.grad(lambda weight: task.loss(NormalizedMemory(weight)))(W)
    h = E @ W.T
    norm = jnp.linalg.norm(h, axis=1, keepdims=True)
    pull = ((observe.probabilities(task, model) - jax.nn.one_hot(labels, m)) * p[:, None]) @ U / norm
    closed = (pull - h * jnp.sum(h * pull, axis=1, keepdims=True) / norm**2).T @ E
    after = descend(task, model, rate, 1, W=lambda task, model: model.weight).observed["W"][1]
    size = jnp.max(jnp.abs(U)) / jnp.min(norm)
    grown = jnp.sum(W**2) + rate**2 * jnp.sum(closed**2)
    return (
        equal(slope, closed, rounding(size, operations=256)),
        equal(jnp.sum(W * slope), 0.0, rounding(size * jnp.max(jnp.abs(W)), operations=1000)),
        equal(jnp.sum(after**2), grown, rounding(grown, size * jnp.max(jnp.abs(W)), operations=1000)),
    )


@layer_norm.second_route
def _(seed, rate, n, m, d, k):
    p, labels, _, E, U, W = drawn(seed, n, m, d, k)

    def loss(step):
        total = 0
        for x in range(n):
            h = (W + step) @ E[x]
            scores = U @ (h / np.sqrt(np.sum(h * h)))
            total += p[x] * (np.log(np.exp(scores).sum()) - scores[labels[x]])
        return total

    slope, closed = _complex_step(loss, (k, d)), np.zeros((k, d))
    for x in range(n):
        h = W @ E[x]
        project = np.eye(k) - np.outer(h, h) / (h @ h)
        error = loops.softmax(U @ h / np.linalg.norm(h)) - np.eye(m)[labels[x]]
        closed += p[x] * np.outer(project @ (U.T @ error) / np.linalg.norm(h), E[x])
    size = np.abs(U).max() / np.min(np.linalg.norm(E @ W.T, axis=1))
    grown, after = np.sum(W**2) + rate**2 * np.sum(closed**2), np.sum((W - rate * closed) ** 2)
    return (
        equal(slope, closed, rounding(size, operations=256)),
        equal(np.sum(W * slope), 0.0, rounding(size * np.abs(W).max(), operations=1000)),
        equal(after, grown, rounding(grown, size * np.abs(W).max(), operations=1000)),
    )


@statement(
    "birth.36",
    "embeddings of sets overlap, but not too much",
    where="appendix D, MLP blocks",
    printed="u_I·u_I' ≲ 1 − δ if I = I'",
    corrected="if I ≠ I': u_I·u_I' ≤ √(1 − 1/s), s the largest cardinality; at I = I' it is 1",
    verdict="false",
    reason="a typo; δ made explicit",
    domain={"first": Integers(1, 2**5 - 1), "second": Integers(1, 2**5 - 1)},
    tolerance="rounding",
    counterexample={"first": 3, "second": 3},
)
def sets(first, second):
    """|I ∩ J|/√(|I||J|) is largest with one set inside the other, one element smaller."""
    one, two = ((jnp.asarray(bits) >> jnp.arange(5)) & 1 for bits in (first, second))
    u = [row / jnp.sqrt(jnp.sum(row)) for row in (one, two)]
    size = jnp.maximum(jnp.sum(one), jnp.sum(two))
    dot, same = u[0] @ u[1], jnp.all(one == two)
    bound = jnp.sqrt(1 - 1 / size)
    return {
        "printed": at_most(dot, bound, given=same),
        "corrected": (at_most(dot, bound, given=~same), equal(dot, induction.overlap(one, two))),
    }


@sets.second_route
def _(first, second):
    one, two = ({i for i in range(5) if bits >> i & 1} for bits in (int(first), int(second)))
    dot = len(one & two) / np.sqrt(len(one) * len(two))
    bound = np.sqrt(1 - 1 / max(len(one), len(two)))
    return at_most(dot, bound, given=one != two), equal(dot, dot)
