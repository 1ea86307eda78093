"""The two phases of Cooc, at finite size."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from .... import observe
from ....dynamics import Descent, simulate
from ....statements import at_least, at_most, equal, statement
from ....statements.registry import SEEDS
from .. import observe as own
from .. import theory
from ..model import CooccurrenceSystem, CooccurrenceTransformer
from ..task import CooccurrenceTask
from . import loops

_COUNTS, _LENGTH, _WIDTH, _NEURONS, _RATE = (12, 4, 4, 4), 4, 96, 64, 8e-3
_WORDS = theory.words_needed(_COUNTS, _LENGTH)
_SIGMAS = 0.3 / (_LENGTH * _WIDTH) ** 0.5, 0.3 / _NEURONS**0.5


def _start(seed):
    keys = jr.split(jr.key(seed))
    task = CooccurrenceTask.training(keys[0], _COUNTS, _LENGTH, _WORDS, distinct=True)
    return task, CooccurrenceTransformer.gaussian(task, keys[1], _WIDTH, _NEURONS, *_SIGMAS)


def _velocity(task, model):
    """How G, W_KᵀW_Q and W_VᵀW_V of the signals move along −∇L."""
    moves = model.tangent(task, jax.grad(task.loss, allow_int=True)(model))
    parts = -moves.values[:3], -moves.table[:3, :3].ravel(), -moves.value_gram[:3, :3].ravel()
    return jnp.concatenate(parts)


def _followed(seed, steps: int, every: int) -> dict:
    task, model = _start(seed)
    watch = {"margins": observe.margins, "G": own.token_values, "moves": _velocity}
    watch["table"] = own.attention_scores
    system = CooccurrenceSystem.from_transformer(model)
    descent = Descent(optax.sgd, steps, learning_rate=_RATE)
    seen = simulate(task, system, descent, observe=watch, every=every, throw=False).observed
    return {**seen, "kinds": task.kinds}


def _looped(seed, steps: int, every: int) -> dict:
    task, model = _start(seed)
    weights = (model.mlp, model.value, model.key, model.query)
    tokens, y = np.asarray(task.tokens), np.asarray(task.labels)
    seen = loops.cooccurrence_descent(weights, np.asarray(model.signs), tokens, y, _RATE, steps, every)
    values = [part[:, :3, :3].reshape(len(part), 9) for part in (seen["table_moves"], seen["value_moves"])]
    return {
        **seen,
        "moves": np.concatenate([seen["G_moves"][:, :3], *values], axis=1),
        "kinds": np.asarray(task.kinds),
    }


def _phase_one(seen, xp):
    right = xp.all(seen["margins"] > 0, axis=1)
    first = xp.argmax(right)
    G, table, moves = seen["G"][first], seen["table"], seen["moves"][0]
    loss = xp.mean(xp.log1p(xp.exp(-seen["margins"][first])))
    scale = (_SIGMAS[0] ** 2 + _SIGMAS[1] ** 2) * _WIDTH * _NEURONS / 6
    ratios = moves[:2] / scale
    return (
        equal(xp.any(right), True),
        equal((G[0] > 0.2) & (G[1] > 0.2) & (G[2] < -0.2), True),
        at_least(loss, 0.2),
        at_most(xp.max(xp.abs(table[first] - table[0])) / xp.max(xp.abs(table[0])), 0.05),
        at_least(ratios, 0.5), at_most(ratios, 2.0),
        at_most(xp.abs(moves[2]), 0.75 * xp.max(moves[:2])),
    )  # fmt: skip


@statement(
    "cooc.phase1",
    "Phase 1: the MLP aligns, attention stays",
    where="Theorem 3.1, Lemmas 4.1, 4.2",
    printed="at T₁ all samples are right, G(μ₁), G(μ₂), −G(μ₃) ≥ Ω(1), loss Θ(1), scores near their "
    "start; at 0 "
    "∂G(μ₁)/∂t = Θ((σ₀²+σ₁²)mm₁), ∂G(μ₃)/∂t much smaller",
    corrected="as printed, read at n = 24, L = 4, m = 96, m₁ = 64, d = 43: |G| ≥ .2, loss ≥ .2, scores "
    "moved by at most "
    "5 % of the largest, ∂G/∂t within a factor 2 of (σ₀²+σ₁²)mm₁/6, |∂G(μ₃)/∂t| ≤ ¾ ∂G(μ₁,₂)/∂t",
    verdict="right",
    status="numerical",
    reason="its O, Ω and Θ need numbers to be tested: these are ours, at this size, with distinct words",
    domain={"seed": SEEDS},
    tolerance="none: measured margins are wide (docs/results.md)",
    most=64,
    second_samples=2,
)
def phase_one(seed):
    """S(μ₁) ≈ (|I₁| − |I₂|)/2n = 1/6 and S(μ₃) ≈ 0 at the start, where p ≈ 1/L and g ≈ ½; G' = ρS + m₁DS."""
    return _phase_one(_followed(seed, 120, 1), jnp)


@phase_one.second_route
def _(seed):
    return _phase_one(_looped(seed, 120, 1), np)


def _phase_two(seen, xp):
    right = xp.all(seen["margins"] > 0, axis=1)
    count = xp.arange(right.shape[0])
    late = count >= 5 * xp.maximum(xp.argmax(right), 1)
    moves, G, kinds = seen["moves"], seen["G"], seen["kinds"]
    up, down = moves[:, :2], -moves[:, 2]
    pulls = 1 / (1 + xp.exp(seen["margins"]))
    sums = [xp.sum(xp.where(kinds == kind, pulls, 0.0), axis=1) for kind in (1, 2)]
    table, values = moves[:, 3:12], moves[:, 12:]
    rising = (table[:, 1] > 0) & (table[:, 3] > 0) & (values[:, 1] > 0)
    falling = (table[:, 6] < 0) & (table[:, 7] < 0) & (values[:, 2] < 0) & (values[:, 5] < 0)
    signs = (G[:, 0] + G[:, 1] + G[:, 2] > 0) & (G[:, 0] + G[:, 2] < 0) & (G[:, 1] + G[:, 2] < 0)
    C = seen["table"][-1] - seen["table"][0]
    learned = xp.stack([C[0, 1], C[1, 0], -C[2, 0], -C[2, 1]])
    words = xp.maximum(xp.max(xp.abs(C[3:])), xp.max(xp.abs(C[:, 3:])))
    loss = xp.mean(xp.log1p(xp.exp(-seen["margins"][-1])))
    return (
        equal(rising & falling, True, given=late),
        equal(signs, True, given=late),
        at_least(down, xp.max(up, axis=1), given=late), at_most(down, xp.sum(up, axis=1), given=late),
        at_least(sums[0] / sums[1], 0.8, given=late), at_most(sums[0] / sums[1], 1.25, given=late),
        at_least(xp.min(learned), words), at_most(loss, 0.01),
    )  # fmt: skip


@statement(
    "cooc.phase2",
    "Phase 2: attention and MLP widen the margin",
    where="Theorems 3.2, 3.3, Lemmas 4.3–4.7",
    printed="scores K₁Q₂, K₂Q₁ rise, K₃Q₁, K₃Q₂ fall, V₁₂ rises, V₁₃, V₂₃ fall; −∂G(μ₃)/∂t between the "
    "larger and the sum "
    "of ∂G(μ₁,₂)/∂t; gradients balance; C₁₂, C₂₁, −C₃₁, −C₃₂ dominate; −G(μ₃) ≤ Ω(1)",
    corrected="as printed with −G(μ₃) ≥ Ω(1), read at the size of cooc.phase1 from 5T₁ to step 2,000: "
    "every sign, the "
    "inequality with C = 0, Σg(I₂)/Σg(I₃) in [.8, 1.25], each of the four C above every other, loss "
    "below .01",
    verdict="right",
    status="numerical",
    reason="the ≤ of −G(μ₃) ≤ Ω(1) is a slip; between T₁ and 3T₁ some G(μ₁) + G(μ₃) is still positive",
    domain={"seed": SEEDS},
    tolerance="none: measured margins are wide (docs/results.md)",
    most=32,
    second_samples=1,
)
def phase_two(seed):
    """G' is nearly ‖Wᵀa‖² S, and S(μ) sums g y over the samples that hold μ: the balance of the g decides."""
    return _phase_two(_followed(seed, 2000, 20), jnp)


@phase_two.second_route
def _(seed):
    return _phase_two(_looped(seed, 2000, 20), np)
