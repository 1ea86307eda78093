"""The Hessian of the loss in W, GD (26), and its top eigenvalue, from W, from scores or from margins.

Under cross-entropy it is B Bᵀ with columns √(p(x) π_z) (u_z − ū_x) ⊗ e_x, so its eigenvalues are those of the
smaller of B Bᵀ and BᵀB: the top one is found densely up to 128 unknowns, by guarded Lanczos beyond, and
evaluated as Σ p(x) Var_{z~π_x}(u_zᵀ V e_x) on its unit V (Hellmann–Feynman: V is held fixed under
differentiation). Under any other loss of scores it is Σ_x p(x) Uᵀ(∂²ℓ/∂s²)U ⊗ e_x e_xᵀ, which may have either
sign: the same, on W alone.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ....numerics.edges import gram_factor
from ....numerics.lanczos import lanczos_top
from ....numerics.symmetric import top_vector
from ....tasks.embeddings import gram
from ....tasks.embeddings import product as matrix_product
from ..task import AssociationTask

# Above this many unknowns on its smaller side, the top eigenvalue is iterated, not diagonalised.
DENSE_LIMIT = 128


def dense(task: AssociationTask, scores: Float[Array, "n m"]) -> Float[Array, "kd kd"]:
    """Σ_x p(x) Uᵀ(∂²ℓ/∂s²)U ⊗ e_x e_xᵀ, for the cross-entropy Σ_x p(x) Cov_{π_x}(u) ⊗ e_x e_xᵀ; row a·d + b
    stands for W_ab."""
    k, d = task.outputs.shape[1], task.inputs.shape[1]
    if not task.token_loss.is_cross_entropy:
        basis = jnp.eye(k * d, dtype=scores.dtype).reshape(-1, k, d)
        return jax.vmap(product(task, scores))(basis).reshape(k * d, k * d)
    p = jax.nn.softmax(scores, axis=-1)
    centred = task.outputs - (p @ task.outputs)[:, None, :]  # (N, M, k): u_z − ū_x
    spread = jnp.einsum("n,nz,nza,nzc->nac", task.probabilities, p, centred, centred)
    full = jnp.einsum("nac,nb,nd->abcd", spread, task.inputs, task.inputs)
    return full.reshape(k * d, k * d)


def product(task: AssociationTask, scores: Float[Array, "n m"]) -> Callable[[Array], Array]:
    """V ↦ ∇²L(W)[V] = Uᵀ D E, D_x = p(x) ∂²ℓ/∂s² s, s = U V e_x."""
    bent = _bent(task, scores)

    def closed(direction):
        s = task.inputs @ direction.T @ task.outputs.T
        return task.outputs.T @ bent(s).T @ task.inputs

    return closed


def top_of_weights(task: AssociationTask, model) -> Float[Array, ""]:
    """λ_max of a model that holds W."""
    fixed_task, fixed = _held((task, model))
    v = _top_direction(fixed_task, fixed.scores(fixed_task))
    return _along(task, model.scores(task), task.inputs @ v.T @ task.outputs.T)


def top_of_scores(task: AssociationTask, model, alpha: Array, beta: Array) -> Float[Array, ""]:
    """λ_max of a model that holds scores, from the Gram matrices of inputs and outputs."""
    fixed_task, fixed, *grams = _held((task, model, alpha, beta))
    c = _coefficients(fixed_task, fixed.scores(fixed_task), *grams)
    s = matrix_product(matrix_product(alpha, c), beta)
    return _ratio(_along(task, model.scores(task), s), jnp.sum(c * s))


def top_of_margins(task: AssociationTask, margins: Array, kernel: Array) -> Float[Array, ""]:
    """λ_max for two classes under cross-entropy, π₁π₂ = σ(m)σ(−m): BᵀB = √(pσσ) K √(pσσ)."""
    weight, c = _margin_coefficients(task, margins, kernel)
    s = kernel @ c
    return _ratio(jnp.sum(weight * s**2), jnp.dot(c, s))


def residual_of_weights(task: AssociationTask, model) -> Float[Array, ""]:
    """‖∇²L[V] − λV‖ / |λ| of the V of ``top_of_weights``."""
    scores = model.scores(task)
    v = _top_direction(task, scores)
    bent = product(task, scores)(v)
    value = jnp.sum(v * bent)
    return _relative(jnp.sum((bent - value * v) ** 2), value)


def residual_of_scores(task: AssociationTask, model, alpha: Array, beta: Array) -> Float[Array, ""]:
    """The same of ``top_of_scores``: V and ∇²L[V] are sums of h_xz u_z ⊗ e_x, of which α and β tell norms."""
    scores = model.scores(task)
    across = lambda h: matrix_product(matrix_product(alpha, h), beta)  # noqa: E731
    return _residual(_coefficients(task, scores, alpha, beta), across, _bent(task, scores))


def residual_of_margins(task: AssociationTask, margins: Array, kernel: Array) -> Float[Array, ""]:
    """The same of ``top_of_margins``."""
    weight, c = _margin_coefficients(task, margins, kernel)
    return _residual(c, lambda h: kernel @ h, lambda s: weight * s)


def _residual(c: Array, across: Callable, bent: Callable) -> Float[Array, ""]:
    """Of V with coefficients c: ``across``: coefficients → scores; ``bent``: scores → those of ∇²L[V]."""
    s = across(c)
    h, norm = bent(s), jnp.sum(c * s)
    value = _ratio(jnp.sum(h * s), norm)
    rest = h - value * c
    return _relative(_ratio(jnp.maximum(jnp.sum(rest * across(rest)), 0), norm), value)


def _relative(squared: Array, value: Array) -> Float[Array, ""]:
    return _ratio(jnp.sqrt(squared), jnp.abs(value))


def _coefficients(task: AssociationTask, scores: Array, alpha: Array, beta: Array) -> Float[Array, "n m"]:
    """c of the top eigenvector Σ c_xz u_z ⊗ e_x."""
    find = _gram_top if task.token_loss.is_cross_entropy else _embedded_top
    return _unit(find(task, scores, alpha, beta))


def _margin_coefficients(task: AssociationTask, margins: Array, kernel: Array) -> tuple[Array, Array]:
    """(p σ(m)σ(−m), those of the top eigenvector, held)."""
    weight = task.probabilities * jax.nn.sigmoid(margins) * jax.nn.sigmoid(-margins)
    root = jnp.sqrt(_held(weight))
    return weight, _unit(root * top_vector(root[:, None] * _held(kernel) * root))


def _bent(task: AssociationTask, scores: Array) -> Callable[[Array], Array]:
    """s ↦ p(x) ∂²ℓ/∂s² s."""
    return task.token_loss.curvature(scores, task.targets, task.probabilities[:, None])


def _held(tree):
    return jax.lax.stop_gradient(tree)


def _along(task: AssociationTask, scores: Array, s: Array) -> Float[Array, ""]:
    """Σ_x p(x) s_xᵀ(∂²ℓ/∂s²)s_x: Σ_x p(x) Var_{z~π_x}(s_xz) for the cross-entropy."""
    if not task.token_loss.is_cross_entropy:
        return jnp.sum(s * _bent(task, scores)(s))
    p = jax.nn.softmax(scores, axis=-1)
    centred = s - jnp.sum(p * s, axis=1, keepdims=True)
    return jnp.sum(task.probabilities[:, None] * p * centred**2)


def _unit(c: Array) -> Array:
    size = jnp.max(jnp.abs(c))
    return c / jnp.where(size > 0, size, 1)


def _ratio(a: Array, b: Array) -> Array:
    return a / jnp.where(b > 0, b, 1)


def _top_direction(task: AssociationTask, scores: Array) -> Float[Array, "k d"]:
    """The unit V at which the Hessian is largest."""
    shape = task.outputs.shape[1], task.inputs.shape[1]
    classes, held = task.num_tokens * task.num_classes, shape[0] * shape[1]
    # Only a square B Bᵀ has another side.
    other = classes if task.token_loss.is_cross_entropy else DENSE_LIMIT + 1
    if held <= min(other, DENSE_LIMIT):
        return top_vector(dense(task, scores)).reshape(shape)
    if other <= DENSE_LIMIT:
        c = _gram_top(task, scores, gram(task.inputs), gram(task.outputs))
        v = task.outputs.T @ _unit(c).T @ task.inputs
        norm = jnp.linalg.norm(v)
        return v / jnp.where(norm > 0, norm, 1)
    closed = product(task, scores)

    def flat(v):
        return closed(v.reshape(shape)).reshape(-1)

    return lanczos_top(flat, held, scores.dtype).vector.reshape(shape)


def _embedded_top(task: AssociationTask, scores: Array, alpha: Array, beta: Array) -> Float[Array, "n m"]:
    """Coefficients c of the top eigenvector Σ c_xz u_z ⊗ e_x, by embeddings of these inner products."""
    rows, columns = gram_factor(alpha), gram_factor(beta)
    stand_in = eqx.tree_at(lambda t: (t.inputs, t.outputs), task, (rows, columns))
    s = rows @ _top_direction(stand_in, scores).T @ columns.T
    return _bent(task, scores)(s)


def _gram_top(task: AssociationTask, scores: Array, alpha: Array, beta: Array) -> Float[Array, "n m"]:
    """Coefficients c of the top eigenvector B v = Σ c_xz u_z ⊗ e_x, v that of BᵀB."""
    n, m = task.num_tokens, task.num_classes
    p = jax.nn.softmax(scores, axis=-1)
    root = jnp.sqrt(task.probabilities[:, None] * p)

    def centre(c):
        return c - p * jnp.sum(c, axis=1, keepdims=True)

    def squared(v):  # BᵀB v
        s = alpha @ centre(root * v.reshape(n, m)) @ beta
        return (root * (s - jnp.sum(p * s, axis=1, keepdims=True))).reshape(-1)

    if n * m <= DENSE_LIMIT:
        # (u_z − ū_x)·u_w, then (u_z − ū_x)·(u_w − ū_y), at [x, z, y, w].
        once = beta[None] - matrix_product(p, beta)[:, None, :]
        twice = once[:, :, None, :] - jnp.sum(once[:, :, None, :] * p[None, None], axis=3, keepdims=True)
        whole = root[:, :, None, None] * root[None, None] * alpha[:, None, :, None] * twice
        v = top_vector(whole.reshape(n * m, n * m))
    else:
        v = lanczos_top(squared, n * m, p.dtype).vector
    return centre(root * v.reshape(n, m))
