"""Birth appendices A and D: remapping, factorisation, layer norm, sets."""

import functools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ....statements import at_most, equal, reference, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ....sweeps import Integers, LogUniform
from ...memory import observe as memory_observe
from ...memory.model import NormalizedMemory
from ...memory.statements.problems import descend, draw, drawn
from ...memory.task import AssociationTask
from ..theory import first_steps as induction

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
    pull = ((memory_observe.probabilities(task, model) - jax.nn.one_hot(labels, m)) * p[:, None]) @ U / norm
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

    slope, closed = reference.complex_step(loss, (k, d)), np.zeros((k, d))
    for x in range(n):
        h = W @ E[x]
        project = np.eye(k) - np.outer(h, h) / (h @ h)
        error = reference.softmax(U @ h / np.linalg.norm(h)) - np.eye(m)[labels[x]]
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
