"""GD section 3: a step of the matrix, of the particles, of a minibatch."""

import jax
import jax.numpy as jnp
import numpy as np

from ....statements import equal, reference, statement
from ....statements.registry import SEEDS
from ....sweeps import Integers
from .. import observe as own
from ..model import LinearMemory, ParticleSystem
from ..task import AssociationTask
from . import loops
from .problems import descend, draw, drawn

# --- Section 3 ------------------------------------------------------------------------------------


@statement(
    "gd.1",
    "the matrix and the particles take the same step",
    where="(9), (12), Theorem 1",
    printed="Δw_ij = η Σ_x p(x) α_ix Σ_z β_{j f(x) z} p_W(z|x)",
    corrected="as printed, with logits u_yᵀWe_x; (8) and appendix A write ⟨e, Wu⟩, the transpose",
    verdict="right",
    domain={"seed": SEEDS},
    cases=[{"n": 4, "m": 3, "d": 3, "k": 5}],
)
def particles(seed, n, m, d, k):
    """Project (9) on u_j ⊗ e_i: ⟨u_z − u_y, u_j⟩⟨e_x, e_i⟩."""
    p, labels, _, E, U, W = draw(seed, n, m, d, k)
    task = AssociationTask(p, labels, E, U)
    run = descend(task, LinearMemory(W), 0.7, 1, w=own.particles)
    fast = descend(task, ParticleSystem.from_memory(task, LinearMemory(W)), 0.7, 1, w=own.particles)
    w = run.observed["w"][0]
    beta = U @ U.T
    pull = jnp.einsum("xz,jxz->xj", jax.nn.softmax(w), (beta[:, labels][:, :, None] - beta[:, None, :]))
    step = w + 0.7 * jnp.einsum("x,ix,xj->ij", p, E @ E.T, pull)
    return equal(run.observed["w"][1], step), equal(fast.observed["w"][1], step)


@particles.second_route
def _(seed, n, m, d, k):
    p, labels, _, E, U, W = drawn(seed, n, m, d, k)
    after = loops.descend(W, p, reference.one_hot(labels, m), E, U, [0.7])[1]
    scores = E @ after.T @ U.T
    w = E @ W.T @ U.T
    step = np.array(w)
    for i in range(n):
        for j in range(m):
            for x in range(n):
                s = reference.softmax(w[x])
                pull = sum(U[j] @ (U[labels[x]] - U[z]) * s[z] for z in range(m))
                step[i, j] += 0.7 * p[x] * (E[i] @ E[x]) * pull
    return equal(scores, step), equal(scores, step)


@statement(
    "gd.2",
    "the minibatch gradient is unbiased",
    where="(7)",
    printed="E_B Σ_{(x,y)∈B} ∇ℓ = ∇L",
    corrected="E_B (1/|B|) Σ_{(x,y)∈B} ∇ℓ = ∇L; σ_t of (6) is a standard deviation, not a variance",
    verdict="false",
    reason="the sum over a batch is |B| times too large",
    domain={"seed": SEEDS},
    cases=[{"n": 3, "m": 3, "d": 3, "k": 3}],
    counterexample={"seed": 0, "n": 3, "m": 3, "d": 3, "k": 3},
)
def minibatch(seed, n, m, d, k):
    """Every batch of two is drawn with its probability: the mean is linear."""
    p, labels, _, E, U, W = draw(seed, n, m, d, k)
    task, memory = AssociationTask(p, labels, E, U), LinearMemory(W)
    batches = jnp.stack(jnp.meshgrid(jnp.arange(n), jnp.arange(n)), axis=-1).reshape(-1, 2)
    slope = jax.grad(lambda model, batch: task.sampled_loss(model, (batch, labels[batch])))
    each = jax.vmap(lambda batch: slope(memory, batch).weight)(batches)
    mean = jnp.einsum("b,bij->ij", p[batches[:, 0]] * p[batches[:, 1]], each)
    full = own.weight_gradient(task, memory)
    return {"printed": equal(2 * mean, full), "corrected": equal(mean, full)}


@minibatch.second_route
def _(seed, n, m, d, k):
    p, labels, _, E, U, W = drawn(seed, n, m, d, k)
    q, mean = reference.one_hot(labels, m), np.zeros((k, d))
    for i in range(n):
        for j in range(n):
            both = [loops.gradient(W, [1.0], q[[x]], E[[x]], U) for x in (i, j)]
            mean += p[i] * p[j] * (both[0] + both[1]) / 2
    return equal(mean, loops.gradient(W, p, q, E, U))


@statement(
    "gd.3",
    "raising the score of class j moves that of class k",
    where="section 3, after Theorem 1",
    printed="an increase of w_ij changes w_ik as soon as u_iᵀu_k ≠ 0",
    corrected="as soon as u_jᵀu_k ≠ 0",
    verdict="false",
    reason="an index slipped",
    domain={"ij": Integers(0, 1), "ik": Integers(0, 1), "jk": Integers(0, 1)},
    tolerance="truth values",
    counterexample={"ij": 0, "ik": 0, "jk": 1},
)
def coupling(ij, ik, jk):
    """w_ij grows fastest along u_j ⊗ e_i, and ⟨u_j ⊗ e_i, u_k ⊗ e_i⟩ = u_jᵀu_k‖e_i‖²."""
    gram = jnp.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    for (a, b), on in (((0, 1), ij), ((0, 2), ik), ((1, 2), jk)):
        gram = gram.at[a, b].set(0.4 * on).at[b, a].set(0.4 * on)
    outputs = jnp.linalg.cholesky(gram)
    task = AssociationTask(jnp.ones(3) / 3, jnp.arange(3), jnp.eye(3), outputs)
    raised = own.particles(task, LinearMemory(jnp.outer(outputs[1], jnp.eye(3)[0])))
    moved = jnp.abs(raised[0, 2]) > 1e-9
    return {"printed": equal(moved, ik == 1), "corrected": equal(moved, jk == 1)}


@coupling.second_route
def _(ij, ik, jk):
    gram = np.eye(3) + 0.4 * np.array([[0, ij, ik], [ij, 0, jk], [ik, jk, 0]])
    values, vectors = np.linalg.eigh(gram)
    outputs = vectors * np.sqrt(values)
    return equal(bool(abs(outputs[1] @ outputs[2]) > 1e-9), bool(jk == 1))
