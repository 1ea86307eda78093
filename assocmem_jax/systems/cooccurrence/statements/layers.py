"""Two layers of Cooc's attention, the outlook of its section 5: what an even layer makes of the other."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ....statements import equal, reference, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ....sweeps import Integers
from ..model import CooccurrenceLayers
from . import loops
from .problems import SMALL, built, problem, transformer


def _drawn(seed, twice, n, length, d, m, m1):
    draw = problem(seed, twice, n, length, d, m, m1)
    keys = jr.split(jr.fold_in(jr.key(seed), 1), 3)
    U, K, Q = (jr.normal(key, shape) for key, shape in zip(keys, ((d, d), (m, d), (m, d))))
    return draw, (U / d**0.5, K, Q)


def _closed(W: Any, V: Any, U: Any, a: Any, S: Any) -> Any:
    """((I + U)ᵀ(ρ + m₁W_VᵀW_V)(I + U) + |G|²)S."""
    u = a @ W
    G, through = u @ V, S + U @ S
    pulled = (u @ u) * through + len(a) * (V.T @ (V @ through))
    return pulled + U.T @ pulled + jnp.dot(G, G) * S


def _within(W: Any, V: Any, U: Any) -> Any:
    # Six factors of W, W_V and I + U, in sums of a few hundred terms.
    return rounding(loops.size(W, V) ** 2 * (1 + loops.size(U)), operations=1024)


@statement(
    "cooc.layers",
    "two layers, where one attends evenly",
    where="section 5 (the outlook; no formula is printed)",
    corrected="X¹ = X + UXP, then one layer on X¹. With the last even F = Σ_h G(x_h) + the output of one "
    "layer whose words are worth GU and whose attention is the first's. With both even F = Σ_h v(x_h), "
    "v = G(I + U), and under the flow v' = ((I + U)ᵀ(ρ + m₁W_VᵀW_V)(I + U) + |G|²)S, "
    "S = (1/n) Σ g_i y_i Σ_h x_h, ρ = ‖Wᵀa‖²: at U = 0 that of one layer, and |G|²S more",
    domain={"seed": SEEDS, "twice": Integers(0, 1)},
    cases=[SMALL],
    tolerance="1,024 roundings of products of six factors",
)
def layers(seed, twice, n, length, d, m, m1):
    """An even layer gives every word the same (1/L) Σ_h x¹_h, and there are L. In v = aᵀWW_V(I + U) the flow
    moves W by aSᵀ(I + U)ᵀW_Vᵀ, W_V by Wᵀa((I + U)S)ᵀ, U by GᵀSᵀ."""
    draw, (U, K, Q) = _drawn(seed, twice, n, length, d, m, m1)
    task, one, X = built(draw, d)
    zero = jnp.zeros_like(draw.K)

    def model(key, W, V, U):
        weights = draw.weights._replace(W=W, V=V, K=zero)
        return CooccurrenceLayers(transformer(weights, draw.a), U, key, Q)

    first = transformer(draw.weights._replace(V=one.value @ U, K=K, Q=Q), draw.a)
    both = jnp.sum(one.values[draw.tokens], axis=1) + first.scores(task)
    even = draw.W, draw.V, U
    slope = jax.grad(lambda even: task.loss(model(zero, *even)))(even)
    down = jax.tree.map(jnp.negative, slope)
    values, moved = jax.jvp(lambda *even: model(zero, *even).values, even, down)
    outputs = model(zero, *even).scores(task)
    S = jnp.einsum("n,nld->d", jax.nn.sigmoid(-draw.y * outputs) * draw.y / n, X)
    within = _within(*even)
    return (
        equal(model(K, *even).scores(task), both, within),
        equal(outputs, jnp.sum(values[draw.tokens], axis=1), within),
        equal(moved, _closed(*even, draw.a, S), within),
    )


@layers.second_route
def _(seed, twice, n, length, d, m, m1):
    draw, rest = _drawn(seed, twice, n, length, d, m, m1)
    W, V, _, Q0, a, tokens, y = (np.asarray(part) for part in draw)
    U, K, Q = (np.asarray(part) for part in rest)
    zero, none = np.zeros((m, d)), np.zeros((d, d))

    def outputs(key, W, V, U):
        return np.array([loops.layers_output((W, V, zero, Q0, U, key, Q), a, x) for x in tokens])

    # One layer whose words are worth GU: two layers of which the first adds nothing.
    alone = np.array([loops.layers_output((W, V @ U, K, Q, none, zero, Q), a, x) for x in tokens])
    G, even = a @ W @ V, [W, V, U]
    down = [np.zeros(part.shape) for part in even]
    for place, part in enumerate(even):
        for entry in range(part.size):
            parts = [np.array(one, complex) for one in even]
            parts[place].flat[entry] += 1e-30j
            loss = np.log(1 + np.exp(-y * outputs(zero, *parts))).mean()
            down[place].flat[entry] = -np.imag(loss) / 1e-30
    v, (w, dv, du) = G + G @ U, down
    moved = a @ (w @ V + W @ dv)
    found = outputs(zero, *even)
    S = sum(pull * np.eye(d)[x].sum(axis=0) for pull, x in zip(y * reference.sigmoid(-y * found) / n, tokens))
    through, u = np.eye(d) + U, a @ W
    rate = through.T @ (u @ u * np.eye(d) + m1 * V.T @ V) @ through + G @ G * np.eye(d)
    within = _within(W, V, U)
    return (
        equal(outputs(K, *even), G[tokens].sum(axis=1) + alone, within),
        equal(found, v[tokens].sum(axis=1), within),
        equal(moved + moved @ U + G @ du, rate @ S, within),
    )
