"""Birth: Bietti, Cabannes, Bouchacourt, Jégou, Bottou 2023, Birth of a Transformer: a Memory Viewpoint.

Lemmas are closed gradients against autodiff; appendix B.3 is enumerated, sequence by sequence, in its own
idealisation (orthonormal embeddings, one trigger, uniform laws, z_T the second occurrence of the trigger).
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ....dynamics import Descent, simulate
from ....statements import at_most, equal, reference, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ....sweeps import Integers, LogUniform
from ....tasks import cross_entropy
from ...memory import observe as memory_observe
from ...memory.model import LinearMemory
from ...memory.statements import loops
from ...memory.statements.problems import descend, draw, drawn
from ...memory.task import AssociationTask


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
        task,
        memory,
        Descent(_decayed, 5, learning_rate=rate),
        observe={"W": memory_observe.weights},
        throw=False,
    )
    left, right = (jnp.eye(side.shape[1]) - jnp.linalg.pinv(side) @ side for side in (U, E))
    # What neither the outputs nor the inputs span.
    outside = lambda W: left @ W + (jnp.eye(k) - left) @ W @ right  # noqa: E731
    kept = outside(run.observed["W"][-1])
    condition = jnp.linalg.cond(U) + jnp.linalg.cond(E)
    return (
        equal(memory_observe.weight_gradient(task, memory), twin),
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
    "birth.backward",
    "any gradient is an associative memory of backward vectors",
    where="Lemma 1, with any network around W",
    corrected="∇L = E Σ_t δ_t x_tᵀ over the places t where W is used, x_t what it is given there, δ_t = "
    "∂ℓ/∂(what it returns there); Lemma 1 is one use before the softmax, δ = Σ_k (p̂_k − 1{y=k}) w_U(k)",
    domain={"seed": SEEDS},
    cases=[{"n": 4, "m": 3, "d": 3}],
    tolerance="rounding",
)
def backward_vectors(seed, n, m, d):
    """ℓ depends on W through W x_t + b_t only, at b = 0: dℓ = Σ_t δ_tᵀ dW x_t. Here W makes the queries of an
    attention, reads what it mixed, and reads that: ξ = U W tanh(W Eᵀ σ(E W e)). So do the matrices of a
    Transformer, in attention and MLP (tests/induction/test_heads.py)."""
    p, labels, _, E, U, W = draw(seed, n, m, d, d)

    def loss(W, added):
        mixed = jax.nn.softmax((E @ W.T + added[0]) @ E.T) @ E
        inner = jnp.tanh(mixed @ W.T + added[1])
        return p @ cross_entropy((inner @ W.T + added[2]) @ U.T, labels), (E, mixed, inner)

    (twin, delta), given = jax.grad(loss, argnums=(0, 1), has_aux=True)(W, jnp.zeros((3, n, d)))
    return equal(sum(back.T @ x for back, x in zip(delta, given)), twin)


@backward_vectors.second_route
def _(seed, n, m, d):
    p, labels, _, E, U, W = drawn(seed, n, m, d, d)

    def ahead(W):
        weights = np.exp(E @ W.T @ E.T)
        weights = weights / weights.sum(axis=1, keepdims=True)
        mixed = weights @ E
        inner = np.tanh(mixed @ W.T)
        return weights, mixed, inner, np.exp(inner @ W.T @ U.T)

    weights, mixed, inner, scores = ahead(W)
    last = p[:, None] * ((scores / scores.sum(axis=1, keepdims=True) - np.eye(m)[labels]) @ U)
    middle = (last @ W) * (1 - inner**2)
    attended = middle @ W @ E.T
    first = weights * (attended - np.sum(weights * attended, axis=1, keepdims=True)) @ E
    twin = np.zeros((d, d))
    for place in range(d * d):
        moved = W.astype(complex)
        moved.flat[place] += 1e-30j
        scores = ahead(moved)[3]
        twin.flat[place] = (p @ np.log(scores.sum(1) / scores[np.arange(n), labels])).imag / 1e-30
    return equal(first.T @ E + middle.T @ mixed + last.T @ inner, twin)


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
    predicted = memory_observe.probabilities(task, LinearMemory(W))
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
        mean = sum(p[x] * (reference.softmax(U @ W @ X[x])[c] - (labels[x] == c)) * X[x] for x in range(n))
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
    W = descend(task, LinearMemory.zeros(task), rate, 1, W=memory_observe.weights).observed["W"][1]
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
