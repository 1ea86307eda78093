"""GD (26) and section 5.1: the Hessian and the edge of stability."""

import jax
import jax.numpy as jnp
import numpy as np

from ....statements import equal, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ....sweeps import Uniform
from .. import observe as own
from ..model import LinearMemory
from ..task import AssociationTask
from ..theory import soft_labels
from . import loops
from .problems import at_margin, descend, draw, drawn, single

# --- Curvature ------------------------------------------------------------------------------------


@statement(
    "gd.24",
    "the Hessian of the loss",
    where="(26)",
    printed="∇²ℓ = Σ p(z)(δ_zz' − p(z')) e ⊗ u_z ⊗ e ⊗ u_z'",
    corrected="as printed: ∇²L = Σ_x p(x) Cov_{p_W(·|x)}(u) ⊗ e_x e_xᵀ (the footnote's f_i is f_l)",
    verdict="right",
    domain={"seed": SEEDS},
    cases=[{"n": 3, "m": 3, "d": 2, "k": 3}],
    tolerance="rounding",
)
def hessian_formula(seed, n, m, d, k):
    """The covariance of u under the softmax is the Hessian of log Σ e^{uᵀv} in v = We."""
    p, labels, _, E, U, W = draw(seed, n, m, d, k)
    task = AssociationTask(p, labels, E, U)
    twin = jax.hessian(lambda flat: task.loss(LinearMemory(flat.reshape(k, d))))(W.ravel())
    return equal(own.hessian(task, LinearMemory(W)), twin, rounding(1.0, operations=256))


@hessian_formula.second_route
def _(seed, n, m, d, k):
    p, labels, _, E, U, W = drawn(seed, n, m, d, k)
    # Complex step through the gradient: no cancellation.
    twin = np.zeros((k * d, k * d))
    for place in range(k * d):
        moved = W.astype(complex)
        moved.flat[place] += 1e-30j
        slope = np.zeros((k, d), complex)
        for x in range(n):
            e = np.exp(U @ moved @ E[x])
            slope += p[x] * np.outer(U.T @ (e / e.sum() - np.eye(m)[labels[x]]), E[x])
        twin[place] = np.imag(slope).ravel() / 1e-30
    return equal(loops.hessian(W, p, E, U), twin, rounding(1.0, operations=256))


@statement(
    "gd.25",
    "which rates converge to a minimum of sharpness H*",
    where="section 5.1",
    printed="small rates converge to a minimum with H* > 2/η",
    corrected="descent converges iff ηH* < 2, that is H* < 2/η; beyond, a 2-cycle or worse",
    verdict="false",
    reason="the inequality is inverted",
    domain={"q": Uniform(0.1, 0.9), "edge": Uniform(0.5, 1.5)},
    tolerance="truth values; |ηH*/2 − 1| ≥ .03, where 400 steps decide",
    counterexample={"q": 0.5, "edge": 0.9},
)
def stability(q, edge):
    """The step has slope 1 − ηH* at its fixed point."""
    rate, star = edge * soft_labels.critical_rate(q, 2.0), soft_labels.minimum(q)
    m = descend(
        single(2.0, q), at_margin(star + 0.01), rate, 400, m=lambda task, model: model.scores(task)[0]
    )
    late = (m.observed["m"][-20:, 0] - m.observed["m"][-20:, 1]) - star
    converged, away = jnp.max(jnp.abs(late)) < 1e-3, jnp.abs(edge - 1) > 0.03
    return {
        "printed": equal(converged, edge > 1, given=away),
        "corrected": equal(converged, edge < 1, given=away),
    }


@stability.second_route
def _(q, edge):
    star = np.log(q / (1 - q))
    m, late, step = star + 0.01, [], 2 * edge / (q * (1 - q))
    for t in range(400):
        m += step * (q - 1 / (1 + np.exp(-m)))
        late.append(abs(m - star)) if t >= 380 else None
    return equal(bool(max(late) < 1e-3), bool(edge < 1), given=abs(edge - 1) > 0.03)
