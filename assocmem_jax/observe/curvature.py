"""The Hessian of the loss in W, GD (26), and its largest eigenvalue, the sharpness."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .. import checks
from ..checks import Scalar
from ..models import AbstractModel, LinearMemory, MarginSystem, ParticleSystem
from ..tasks import AssociationTask
from ..tasks.embeddings import gram
from .gradient import trainable_mask
from .quality import probabilities, weights

# Above this many unknowns on its smaller side, sharpness is iterated, not diagonalised.
DENSE_LIMIT = 128


def hessian(task: AssociationTask, model: AbstractModel) -> Float[Array, "kd kd"]:
    """∇²L(W) of a linear memory, dense: Σ_x p(x) Cov_{p_W(·|x)}(u) ⊗ e_x e_xᵀ, GD (26).

    Row a·d + b stands for W_ab. The footnote of GD appendix A slips an index (docs/theory.md: gd.24).
    """
    weight = weights(task, model)
    if not isinstance(model, LinearMemory):
        checks.refuse("model", "a LinearMemory (GD (26))", type(model).__name__, "use hessian_operator")
    p = probabilities(task, model)
    centred = task.outputs - (p @ task.outputs)[:, None, :]  # (N, M, k): u_z − ū_x
    spread = jnp.einsum("n,nz,nza,nzc->nac", task.probabilities, p, centred, centred)
    full = jnp.einsum("nac,nb,nd->abcd", spread, task.inputs, task.inputs)
    return full.reshape(weight.size, weight.size)


def hessian_operator(task: AssociationTask, model: AbstractModel) -> Callable:
    """V ↦ ∇²L(W)[V], on the trained leaves, at the cost of a few gradients.

    For a linear memory in closed form: Uᵀ D E, D_zx = p(x) π_z (s_z − Σ π s), s = U V e_x. For any
    other model, by forward over reverse differentiation.
    """
    trained, frozen = eqx.partition(model, trainable_mask(model))
    if isinstance(model, LinearMemory):
        p, law = probabilities(task, model), task.probabilities[:, None]

        def closed(direction):
            s = task.inputs @ direction.weight.T @ task.outputs.T
            pull = law * p * (s - jnp.sum(p * s, axis=1, keepdims=True))
            return eqx.tree_at(lambda m: m.weight, direction, task.outputs.T @ pull.T @ task.inputs)

        return closed
    slope = jax.grad(lambda part: task.loss(eqx.combine(part, frozen)))
    return lambda direction: jax.jvp(slope, (trained,), (direction,))[1]


def sharpness(task: AssociationTask, model: AbstractModel) -> Float[Array, ""]:
    """λ_max of ∇²L in W: GD section 5.1. Descent is stable iff η < 2/λ (docs/theory.md: gd.25).

    For linear memories and their particle and margin systems, the Hessian is B Bᵀ with columns
    √(p(x) π_z) (u_z − ū_x) ⊗ e_x, so its eigenvalues are those of the smaller of B Bᵀ and BᵀB: the
    top one is found densely up to 128 unknowns, by guarded Lanczos beyond, and evaluated as
    Σ p(x) Var_{z~π_x}(u_zᵀ V e_x) on its unit V. Other models: Lanczos on ``hessian_operator``.
    Differentiable (Hellmann–Feynman) where λ_max is simple.
    """
    fixed_task, fixed = jax.lax.stop_gradient(task), cast(Any, jax.lax.stop_gradient(model))
    if isinstance(model, LinearMemory):
        v = _top_direction(fixed_task, fixed)
        return _variance(task, model, task.inputs @ v.T @ task.outputs.T)
    if isinstance(model, ParticleSystem):
        c = _unit(_gram_top(fixed_task, fixed, fixed.alpha, fixed.beta))
        s = model.alpha @ c @ model.beta
        return _ratio(_variance(task, model, s), jnp.sum(c * s))
    if isinstance(model, MarginSystem):
        # Two classes: π₁π₂ = σ(m)σ(−m), and BᵀB = √(pσσ) K √(pσσ).
        weight = task.probabilities * jax.nn.sigmoid(model.margins) * jax.nn.sigmoid(-model.margins)
        root = jnp.sqrt(jax.lax.stop_gradient(weight))
        gram_side = root[:, None] * fixed.kernel * root
        c = _unit(root * jnp.linalg.eigh(gram_side)[1][:, -1])
        s = model.kernel @ c
        return _ratio(jnp.sum(weight * s**2), jnp.dot(c, s))
    trained = eqx.filter(model, trainable_mask(model))
    flat, unravel = ravel_pytree(trained)
    product = hessian_operator(fixed_task, fixed)
    v = lanczos_top(lambda v: ravel_pytree(product(unravel(v)))[0], flat.size, flat.dtype).vector
    return jnp.dot(v, ravel_pytree(hessian_operator(task, model)(unravel(v)))[0])


def _variance(task: AssociationTask, model: AbstractModel, s: Array) -> Float[Array, ""]:
    """Σ_x p(x) Var_{z~π_x}(s_xz)."""
    p = probabilities(task, model)
    centred = s - jnp.sum(p * s, axis=1, keepdims=True)
    return jnp.sum(task.probabilities[:, None] * p * centred**2)


def _unit(c: Array) -> Array:
    size = jnp.max(jnp.abs(c))
    return c / jnp.where(size > 0, size, 1)


def _ratio(a: Array, b: Array) -> Array:
    return a / jnp.where(b > 0, b, 1)


def _top_direction(task: AssociationTask, model: LinearMemory) -> Float[Array, "k d"]:
    """The unit V at which the Hessian is largest."""
    classes, held = task.num_tokens * task.num_classes, model.weight.size
    if held <= min(classes, DENSE_LIMIT):
        return jnp.linalg.eigh(hessian(task, model))[1][:, -1].reshape(model.weight.shape)
    if classes <= DENSE_LIMIT:
        c = _gram_top(task, model, gram(task.inputs), gram(task.outputs))
        v = task.outputs.T @ _unit(c).T @ task.inputs
        norm = jnp.linalg.norm(v)
        return v / jnp.where(norm > 0, norm, 1)
    product = hessian_operator(task, model)

    def flat(v):
        return product(LinearMemory(v.reshape(model.weight.shape))).weight.reshape(-1)

    return lanczos_top(flat, held, model.weight.dtype).vector.reshape(model.weight.shape)


def _gram_top(task: AssociationTask, model: AbstractModel, alpha: Array, beta: Array) -> Float[Array, "n m"]:
    """Coefficients c of the top eigenvector B v = Σ c_xz u_z ⊗ e_x, v that of BᵀB."""
    n, m = task.num_tokens, task.num_classes
    p = probabilities(task, model)
    root = jnp.sqrt(task.probabilities[:, None] * p)

    def centre(c):
        return c - p * jnp.sum(c, axis=1, keepdims=True)

    def product(v):  # BᵀB v
        s = alpha @ centre(root * v.reshape(n, m)) @ beta
        return (root * (s - jnp.sum(p * s, axis=1, keepdims=True))).reshape(-1)

    if n * m <= DENSE_LIMIT:
        v = jnp.linalg.eigh(jax.vmap(product)(jnp.eye(n * m, dtype=p.dtype)))[1][:, -1]
    else:
        v = lanczos_top(product, n * m, p.dtype).vector
    return centre(root * v.reshape(n, m))


class Top(NamedTuple):
    """Largest eigenvalue, its unit vector, and ‖Av − λv‖, which bounds the error of λ."""

    value: Float[Array, ""]
    vector: Float[Array, " n"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def lanczos_top(
    matvec: Callable,
    size: int,
    dtype,
    *,
    key: PRNGKeyArray | None = None,
    rtol: float | None = None,
    max_iterations: int = 2000,
    basis_size: int = 32,
) -> Top:
    """Largest eigenvalue of a symmetric operator by thick-restart Lanczos, reorthogonalised, guarded.

    - Stops when min(r, r²/gap) ≤ rtol · |λ|, r the residual of the Ritz pair and gap its distance to the
      next: the error of λ. ``rtol`` is 1e-12 in float64, 1e-5 in float32.
    - Breakdown (β ≤ 10 ε √n ‖A‖) goes on from a random direction orthogonal to the basis, once, before it
      is believed: on one-hot tokens the Krylov space is a few directions wide and unguarded libraries
      return 62.85 or NaN for 0.0625 (dependencies.md 6).
    - Holds ``basis_size`` vectors; a full basis is cut to its 8 best Ritz vectors.

    An eigenvalue whose eigenvectors are all orthogonal to the random start, to within rounding,
    cannot be seen by any Krylov method.
    """
    size = checks.count("size", size)
    eps = float(jnp.finfo(dtype).eps)
    rtol = (1e-12 if eps < 1e-10 else 1e-5) if rtol is None else rtol
    m = min(size, checks.count("basis_size", basis_size, 4))
    kept = min(8, m // 2)
    key = jr.key(0) if key is None else key
    rows = jnp.arange(m)

    def ritz(projected, k):
        """Eigenpairs of the used k × k corner, ascending; the rest is pushed below them."""
        used = rows < k
        corner = jnp.where(used[:, None] & used, projected, 0)
        floor = -1 - 2 * jnp.max(jnp.sum(jnp.abs(corner), axis=1))
        return jnp.linalg.eigh(corner + jnp.diag(jnp.where(used, 0, floor)))

    def step(state):
        count, k, q, basis, projected, scale, restarted, _ = state
        basis = basis.at[k].set(q)
        w = matvec(q)
        h = basis @ w  # rows not in use are zero
        projected = projected.at[k].set(h).at[:, k].set(h)
        scale = jnp.maximum(scale, jnp.linalg.norm(w))
        w = w - basis.T @ h
        w = w - basis.T @ (basis @ w)  # twice is enough
        b = jnp.linalg.norm(w)
        k, count = k + 1, count + 1
        broken = b <= 10 * eps * jnp.sqrt(size) * scale

        def fresh(_):
            v = jr.normal(jr.fold_in(key, count), (size,), dtype)
            for _ in range(2):
                v = v - basis.T @ (basis @ v)
            return v / jnp.linalg.norm(v)

        q = jax.lax.cond(broken, fresh, lambda _: w / jnp.where(broken, 1, b), None)

        def test(_):
            values, vectors = ritz(projected, k)
            residual = jnp.where(broken, 0, b * jnp.abs(vectors[k - 1, -1]))
            gap = jnp.where(k > 1, values[-1] - values[-2], jnp.inf) - residual
            error = jnp.where(gap > residual, residual**2 / jnp.where(gap > 0, gap, 1), residual)
            settled = jnp.where(broken, restarted, error <= rtol * jnp.abs(values[-1]))
            return settled | (k == size)

        due = (k == m) | broken | (k % 4 == 0)
        done = jax.lax.cond(due, test, lambda _: jnp.asarray(False), None)
        return count, k, q, basis, projected, scale, restarted | broken, done

    def unfinished(state):
        return (state[0] < max_iterations) & ~state[-1]

    def cycle(state):
        # Cutting here, not inside ``step``, keeps the basis from being copied at every step.
        count, k, q, basis, projected, *rest = state
        values, vectors = ritz(projected, k)
        best = jnp.zeros_like(basis).at[:kept].set(vectors[:, -kept:].T @ basis)
        diagonal = jnp.diag(jnp.where(rows < kept, jnp.roll(values, kept), 0))
        cut = k == m
        state = (
            count,
            jnp.where(cut, kept, k),
            q,
            jnp.where(cut, best, basis),
            jnp.where(cut, diagonal, projected),
        )
        return jax.lax.while_loop(lambda s: unfinished(s) & (s[1] < m), step, (*state, *rest))

    first = jr.normal(jr.fold_in(key, 0), (size,), dtype)
    no = jnp.asarray(False)
    state = (
        jnp.asarray(0), jnp.asarray(0), first / jnp.linalg.norm(first), jnp.zeros((m, size), dtype),
        jnp.zeros((m, m), dtype), jnp.zeros((), dtype), no, no,
    )  # fmt: skip
    _, k, _, basis, projected, *_, done = jax.lax.while_loop(unfinished, cycle, state)
    v = ritz(projected, k)[1][:, -1] @ basis
    v = v / jnp.linalg.norm(v)
    av = matvec(v)
    value = jnp.dot(v, av)
    return Top(value, v, jnp.linalg.norm(av - value * v), done)


def edge_of_stability(learning_rate: Scalar) -> Callable:
    """The observable ηλ/2: above one, descent of rate η leaves any minimiser (docs/theory.md: gd.25)."""
    checks.positive("learning_rate", learning_rate)
    return eqx.Partial(_edge, learning_rate)


def _edge(learning_rate, task: AssociationTask, model: AbstractModel) -> Float[Array, ""]:
    return learning_rate * sharpness(task, model) / 2
