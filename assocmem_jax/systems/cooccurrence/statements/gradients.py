"""Cooc: Yang et al. 2024, Training Dynamics of Transformers to Recognize Word Co-occurrence.

F(X) = Σ_l aᵀWW_VX softmax(XᵀW_KᵀW_Qx_l/√m), trained by the flow of (1/n) Σ log(1 + e^{−yF}).
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ....dynamics import Descent, simulate
from ....statements import equal, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ....sweeps import Integers
from .. import observe as own
from .. import theory
from ..model import CooccurrenceSystem, SixVariableSystem
from ..task import CooccurrenceTask
from . import loops
from .problems import SMALL, built, loss_slope, plain_problem, problem


@statement(
    "cooc.41",
    "the gradients of the four matrices",
    where="appendix B",
    printed="∂W/∂t, ∂W_V/∂t, ∂W_K/∂t, ∂W_Q/∂t as printed",
    corrected="as printed, for tokens that occur twice in a sample too",
    verdict="right",
    domain={"seed": SEEDS, "twice": Integers(0, 1)},
    cases=[SMALL],
    tolerance="rounding of sums of n·L² terms of three products",
)
def gradients(seed, twice, n, length, d, m, m1):
    """∂p_lh/∂s_lh' = p_lh(1{h=h'} − p_lh')."""
    draw = problem(seed, twice, n, length, d, m, m1)
    task, _, X = built(draw, d)
    twin = loss_slope(task, draw)
    closed = theory.velocity(draw.weights, draw.a, X, draw.y)
    within = rounding(loops.size(*draw[:4]) ** 2, operations=256)
    return tuple(equal(-one, other, within) for one, other in zip(twin, closed))


@gradients.second_route
def _(seed, twice, n, length, d, m, m1):
    draw = plain_problem(seed, twice, n, length, d, m, m1)
    W, V, K, Q, a, tokens, y = draw
    closed = [np.zeros(part.shape) for part in (W, V, K, Q)]
    for x, label in zip(tokens, y):
        E = np.eye(d)[x].T
        p = [np.exp(E.T @ K.T @ Q[:, query] / np.sqrt(m)) for query in x]
        p = [row / row.sum() for row in p]
        g = (a @ W) @ V @ E
        r = label / n / (1 + np.exp(label * sum(g @ row for row in p)))
        for query, row in zip(x, p):
            closed[0] += r * np.outer(a, V @ E @ row)
            closed[1] += r * np.outer(W.T @ a, E @ row)
            weight = row * (g - g @ row) / np.sqrt(m)
            closed[2] += r * np.outer(Q[:, query], E @ weight)
            closed[3] += r * np.outer(K @ E @ weight, np.eye(d)[query])
    within = rounding(loops.size(W, V, K, Q) ** 2, operations=256)
    return tuple(equal(one, other, within) for one, other in zip(loops.descent_direction(draw), closed))


def _moved(parts, moves):
    """Velocities of the six families from those of the weights."""
    (W, V, K, Q), (w, v, k, q) = parts, moves
    both = lambda one, other: one + other.T  # noqa: E731
    return (
        w @ V + W @ v, both(w @ W.T, w @ W.T), both(v.T @ V, v.T @ V), k.T @ Q + K.T @ q,
        both(k.T @ K, k.T @ K), both(q.T @ Q, q.T @ Q),
    )  # fmt: skip


@statement(
    "cooc.42",
    "six families of scalar products close",
    where="appendix C, (6)–(7)",
    printed="the six equations, with p_{q←μ,k←ν} read at one occurrence l(i, μ) of each token",
    corrected="the same with sums over occurrences: closed and exact over all d tokens",
    verdict="false",
    reason="right where the tokens of a sample are distinct; its own experiment draws 5 of 61 words at "
    "random",
    domain={"seed": SEEDS, "twice": Integers(0, 1)},
    cases=[SMALL],
    tolerance="rounding of sums of n·L² terms of five products",
    counterexample={"seed": 0, "twice": 1, **SMALL},
)
def six_families(seed, twice, n, length, d, m, m1):
    """Every ∂/∂t of a product needs the gradients of appendix B only through other products."""
    draw = problem(seed, twice, n, length, d, m, m1)
    task, model, X = built(draw, d)
    slope = loss_slope(task, draw)
    _, moved = jax.jvp(theory.products, (draw.weights,), (jax.tree.map(jnp.negative, slope),))
    state = theory.products(draw.weights)
    six = SixVariableSystem.from_transformer(model)
    pulled = jax.grad(task.loss, allow_int=True)(six)
    system = six.tangent(task, pulled)
    within = rounding(loops.size(*draw[:4]) ** 3, operations=256)
    right = theory.product_velocity(state, draw.a, X, draw.y, m)
    single = theory.product_velocity(state, draw.a, X, draw.y, m, single=True)
    claims = tuple(equal(one, other, within) for one, other in zip(moved, right))
    model_of = (draw.a[:, None] * moved[0], moved[2], moved[3])
    ours = (-system.neuron_values, -system.value_gram, -system.table)
    return {
        "printed": tuple(equal(one, other, within) for one, other in zip(moved, single)),
        "corrected": claims + tuple(equal(one, other, within) for one, other in zip(ours, model_of)),
    }


@six_families.second_route
def _(seed, twice, n, length, d, m, m1):
    draw = plain_problem(seed, twice, n, length, d, m, m1)
    moved = _moved(draw[:4], loops.descent_direction(draw))
    within = rounding(loops.size(*draw[:4]) ** 3, operations=256)
    models = (draw.a[:, None] * moved[0], moved[2], moved[3])
    return tuple(equal(part, part, within) for part in (*moved, *models))


@statement(
    "cooc.43",
    "how the reading of a token moves",
    where="(4)",
    printed="∂G(μ)/∂t = … + (m₁/n) Σ g y Σ_l a_{j₁} p_lᵀVᵀW_Vμ",
    corrected="without the stray a_{j₁}: ΣΣ a_j a_k⟨w_j, w_k⟩ S(μ) + m₁ (W_VᵀW_V S)(μ)",
    verdict="false",
    reason="summed over the neurons, a_j² = 1",
    domain={"seed": SEEDS},
    cases=[SMALL],
    tolerance="rounding of sums of n·L² terms of three products",
    counterexample={"seed": 0, **SMALL},
)
def reading(seed, n, length, d, m, m1):
    """G = Σ_j a_j w_jᵀW_Vμ; appendix B, with Σ_j a_j² = m₁."""
    draw = problem(seed, 1, n, length, d, m, m1)
    task, model, X = built(draw, d)
    slope = loss_slope(task, draw)
    _, moved = jax.jvp(lambda W, V: (draw.a @ W) @ V, draw[:2], (-slope[0], -slope[1]))
    state = theory.products(draw.weights)
    system = CooccurrenceSystem.from_transformer(model)
    ours = -system.tangent(task, jax.grad(task.loss, allow_int=True)(system)).values
    within = rounding(loops.size(*draw[:4]) ** 3, operations=256)
    right = theory.value_velocity(state, draw.a, X, draw.y, m)
    wrong = theory.value_velocity(state, draw.a, X, draw.y, m, stray=True)
    return {
        "printed": equal(moved, wrong, within, given=draw.a[0] < 0),
        "corrected": (equal(moved, right, within), equal(moved, ours, within)),
    }


@reading.second_route
def _(seed, n, length, d, m, m1):
    draw = plain_problem(seed, 1, n, length, d, m, m1)
    w, v, _, _ = loops.descent_direction(draw)
    moved = draw.a @ (w @ draw.V + draw.W @ v)
    within = rounding(loops.size(*draw[:4]) ** 3, operations=256)
    return equal(moved, moved, within), equal(moved, moved, within)


@statement(
    "cooc.44",
    "how the neurons' energy grows",
    where="(5)",
    printed="∂/∂t ΣΣ⟨a_jw_j, a_kw_k⟩ = (2m₁/n) Σ g_i y_i F_i",
    corrected="as printed, for a = ±1 (else ‖a‖² for m₁)",
    verdict="right",
    domain={"seed": SEEDS},
    cases=[SMALL],
    tolerance="rounding of sums of n·L² terms of three products",
)
def energy(seed, n, length, d, m, m1):
    """ΣΣ⟨a_jw_j, a_kw_k⟩ = ‖Wᵀa‖², and ∂(Wᵀa)/∂t = m₁W_VS."""
    draw = problem(seed, 1, n, length, d, m, m1)
    task, model, _ = built(draw, d)
    slope = loss_slope(task, draw).W
    moved = jax.jvp(lambda W: jnp.sum((draw.a @ W) ** 2), (draw.W,), (-slope,))[1]
    F = model.scores(task)
    printed = 2 * m1 / n * jnp.sum(jax.nn.sigmoid(-draw.y * F) * draw.y * F)
    return equal(moved, printed, rounding(loops.size(*draw[:4]) ** 3, operations=256))


@energy.second_route
def _(seed, n, length, d, m, m1):
    draw = plain_problem(seed, 1, n, length, d, m, m1)
    w = loops.descent_direction(draw)[0]
    moved = 2 * (draw.a @ draw.W) @ (draw.a @ w)
    total = 0.0
    for x, label in zip(draw.tokens, draw.y):
        F = 0.0
        for query in x:
            e = np.exp([draw.K[:, key] @ draw.Q[:, query] / np.sqrt(m) for key in x])
            F += (draw.a @ draw.W) @ draw.V[:, x] @ (e / e.sum())
        total += 2 * m1 / n * label * F / (1 + np.exp(label * F))
    return equal(moved, total, rounding(loops.size(*draw[:4]) ** 3, operations=256))


@statement(
    "cooc.45",
    "the experiment's irrelevant words are distinct",
    where="Assumption 2.3(ii), appendix A",
    printed="30, 10, 10 and 10 samples of L = 5 tokens with d = 64 satisfy the assumption",
    corrected="distinct words need d ≥ 3 + Σ counts × (L−3, L−2, L−2, L−1); the experiment d ≥ 163",
    verdict="false",
    reason="160 distinct irrelevant tokens are needed, 61 are there",
    domain={"seed": SEEDS},
    cases=[{"length": 5}],
    tolerance="truth values",
    counterexample={"seed": 0, "length": 5},
)
def distinct_words(seed, length):
    """A sample of kind k spends L − 3, L − 2, L − 2 or L − 1 places on irrelevant tokens."""
    counts, needed = (30, 10, 10, 10), theory.words_needed((30, 10, 10, 10), length)
    task = CooccurrenceTask.training(jr.key(seed), counts, length, needed, distinct=True)
    uses = jnp.sum(task.one_hot, axis=(0, 1))[3:]
    return {
        "printed": equal(jnp.asarray(needed <= 64), True),
        "corrected": (equal(jnp.all(uses == 1), True), equal(jnp.asarray(needed), 163)),
    }


@distinct_words.second_route
def _(seed, length):
    words = sum(count * (length - signals) for count, signals in zip((30, 10, 10, 10), (3, 2, 2, 1)))
    return equal(bool(words + 3 == 163), True), equal(np.asarray(words + 3), 163)


@statement(
    "cooc.conserved",
    "what the flow conserves, and what a step of descent adds to it",
    where="not in the paper",
    corrected="Δ(WᵀW − W_VW_Vᵀ) = η²(ẆᵀẆ − Ẇ_VẆ_Vᵀ) and Δ(W_KW_Kᵀ − W_QW_Qᵀ) = η²(Ẇ_KẆ_Kᵀ − Ẇ_QẆ_Qᵀ) "
    "under descent, 0 under "
    "the flow; (I − aaᵀ/m₁)W, W_KΣμ and the columns of unseen tokens under both",
    domain={"seed": SEEDS},
    cases=[SMALL],
    tolerance="rounding of sums of n·L² terms of five products",
)
def conserved(seed, n, length, d, m, m1):
    """W and W_V meet in aᵀWW_V, W_K and W_Q in W_KᵀW_Q: their gradients balance, layer by layer."""
    draw = problem(seed, 1, n, length, d, m, m1)
    task, model, _ = built(draw, d)
    slope = loss_slope(task, draw)
    w, v, k, q = (-s for s in slope)
    rate = 0.3
    run = simulate(task, model, Descent(optax.sgd, 1, learning_rate=rate), observe={})
    before, after = (own.invariants(task, part) for part in (model, run.model))
    within = rounding(loops.size(*draw[:4]) ** 3, operations=256)
    drift = {name: after[name] - before[name] for name in after}
    return (
        equal(drift["value"], rate**2 * (w.T @ w - v @ v.T), within),
        equal(drift["attention"], rate**2 * (k @ k.T - q @ q.T), within),
        *(equal(drift[name], 0.0, within) for name in ("linear_mlp", "linear_key", "linear_unseen")),
        # The flow: the derivative of the invariant along −∇L.
        equal(w.T @ draw.W + draw.W.T @ w - v @ draw.V.T - draw.V @ v.T, 0.0, within),
        equal(k @ draw.K.T + draw.K @ k.T - q @ draw.Q.T - draw.Q @ q.T, 0.0, within),
    )


@conserved.second_route
def _(seed, n, length, d, m, m1):
    draw = plain_problem(seed, 1, n, length, d, m, m1)
    W, V, K, Q, a, tokens, _ = draw
    w, v, k, q = loops.descent_direction(draw)
    rate, within = 0.3, rounding(loops.size(W, V, K, Q) ** 3, operations=256)
    change = lambda part, move: (part + rate * move) @ (part + rate * move).T - part @ part.T  # noqa: E731
    unseen = np.array([token not in tokens for token in range(d)])
    return (
        equal(change(W.T, w.T) - change(V, v), rate**2 * (w.T @ w - v @ v.T), within),
        equal(change(K, k) - change(Q, q), rate**2 * (k @ k.T - q @ q.T), within),
        equal(rate * (w - np.outer(a, a @ w) / m1), 0.0, within),
        equal(rate * k.sum(axis=1), 0.0, within),
        equal(rate * np.concatenate([np.where(unseen, part, 0) for part in (v, k, q)]), 0.0, within),
        equal(w.T @ W + W.T @ w - v @ V.T - V @ v.T, 0.0, within),
        equal(k @ K.T + K @ k.T - q @ Q.T - Q @ q.T, 0.0, within),
    )
