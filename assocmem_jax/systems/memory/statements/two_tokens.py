"""GD section 4.2: two particles.

Notation of the paper: c = p‖e‖²‖u₁−u₂‖², a = ηc, γ of (18), γ̄ = ½ log(p₁/p₂).
"""

import jax
import jax.numpy as jnp
import numpy as np

from .... import observe
from ....numerics import special
from ....statements import at_least, at_most, equal, reference, statement
from ....statements.claims import amplified, control, rounding
from ....statements.registry import SEEDS
from ....sweeps import LogUniform, Uniform
from .. import observe as own
from ..model import LinearMemory
from ..theory import two_particles
from . import loops
from .problems import FLOW, STEPS, descend, draw, drawn, flow, pair

_PAIR = {"alpha": Uniform(-0.95, 0.95), "p1": Uniform(0.5, 0.98)}


# --- Section 4.2: two particles -------------------------------------------------------------------


@statement(
    "gd.14",
    "the margins of two tokens are driven by (17)",
    where="(17)",
    printed="Δm_i = cη (p_i/(1 + e^{m_i}) − αp_j/(1 + e^{m_j}))",
    corrected="as printed",
    verdict="right",
    domain=_PAIR | {"c": LogUniform(0.1, 5), "rate": LogUniform(0.1, 10)},
    tolerance=STEPS,
)
def pair_step(alpha, p1, c, rate):
    """(12) on (u_i − u_j) ⊗ e_i."""
    steps, task = 8, pair(alpha, p1, c)
    run = descend(task, LinearMemory.zeros(task), rate, steps, m=observe.margins, s=observe.sharpness)
    path = [jnp.zeros(2)]
    for _ in range(steps):
        path.append(path[-1] + rate * two_particles.margin_velocity(path[-1], p1, alpha, c))
    m = run.observed["m"]
    within = amplified(rate, run.observed["s"], jnp.max(jnp.abs(m)))
    return equal(m, jnp.stack(path), within[:, None])


@pair_step.second_route
def _(alpha, p1, c, rate):
    along, across = np.sqrt((1 + alpha) / 2), np.sqrt((1 - alpha) / 2)
    E, U = np.array([[along, across], [along, -across]]), np.sqrt(c / 2) * np.eye(2)
    path = loops.descend(np.zeros((2, 2)), [p1, 1 - p1], np.eye(2), E, U, [rate] * 8)
    scores = np.array([E @ W.T @ U.T for W in path])
    m = np.stack([scores[:, 0, 0] - scores[:, 0, 1], scores[:, 1, 1] - scores[:, 1, 0]], axis=1)
    growth = np.cumprod(np.full(9, max(1.0, rate * c * 0.5 - 1)))
    within = rounding(np.abs(m).max(), operations=640) * growth
    return equal(m, loops.pair_descent(p1, alpha, c, [rate] * 8), within[:, None])


@statement(
    "gd.15",
    "the equations of γ₁ and γ₂",
    where="(19), (32), (33), (35), (36)",
    printed="dγ₁/d(ct) = (1+α)(p₁σ(−γ₂−γ₁) − p₂σ(γ₁−γ₂)), dγ₂/d(ct) likewise with (1−α) and +",
    corrected="half of that",
    verdict="false",
    reason="γ = (m₁ ± m₂)/2: the ½ of (18) is lost",
    domain=_PAIR | {"c": LogUniform(0.1, 5), "seed": SEEDS},
    tolerance="rounding",
    counterexample={"alpha": 0.0, "p1": 0.75, "c": 2.0, "seed": 0},
)
def gamma_equations(alpha, p1, c, seed):
    """γ is linear in W, and dW/dt = −∇L."""
    task, W = pair(alpha, p1, c), draw(seed, 2, 2, 2, 2).W
    gamma = own.gammas(task, LinearMemory(W))
    moved = own.gammas(task, LinearMemory(-own.weight_gradient(task, LinearMemory(W)))) / c
    half = two_particles.velocity(gamma, p1, alpha, c) / c
    within = rounding(jnp.max(jnp.abs(gamma)))
    return {"printed": equal(moved, 2 * half, within), "corrected": equal(moved, half, within)}


@gamma_equations.second_route
def _(alpha, p1, c, seed):
    W = drawn(seed, 2, 2, 2, 2).W
    along, across = np.sqrt((1 + alpha) / 2), np.sqrt((1 - alpha) / 2)
    E, U = np.array([[along, across], [along, -across]]), np.sqrt(c / 2) * np.eye(2)
    project = lambda W: np.array([(U[0] - U[1]) @ W @ (E[0] + s * E[1]) / 2 for s in (1, -1)])  # noqa: E731
    g1, g2 = project(W)
    moved = project(-loops.gradient(W, [p1, 1 - p1], np.eye(2), E, U)) / c
    s1, s2 = p1 / (1 + np.exp(g2 + g1)), (1 - p1) / (1 + np.exp(g2 - g1))
    half = np.array([(1 + alpha) * (s1 - s2), (1 - alpha) * (s1 + s2)]) / 2
    return equal(moved, half, rounding(np.abs([g1, g2]).max()))


_PAIR_FLOW = _PAIR | {"c": LogUniform(0.2, 5), "t": LogUniform(1e-2, 1e8)}


def _pair_gammas(alpha, p1, c, times):
    """γ(t) of the flow from zero, by SciPy on (17)."""
    return loops.gammas(reference.follow(loops.pair_velocity(p1, alpha, c), np.zeros(2), times))


@statement(
    "gd.16",
    "how fast γ₂ grows",
    where="Theorem 4, flow",
    printed="e^{γ₂} + γ₂ = 1 + c_t t with 2p₂ ≤ c_t/c₀ ≤ 8p₁³/p₂², c₀ = (1−α)c",
    corrected="p₂ ≤ c_t/c₀ ≤ p₁ (W₀ = 0, p₁ ≥ p₂); c_t/c₀ → √(p₁p₂)",
    verdict="false",
    reason="the factor 2 of gd.15; at p₁ = p₂, c_t/c₀ = ½ for all t, and γ₂ falls short by log 2 for ever",
    domain=_PAIR_FLOW,
    tolerance=FLOW + ", carried to c_t",
    counterexample={"alpha": 0.0, "p1": 0.5, "c": 2.0, "t": 100.0},
)
def gamma2_flow(alpha, p1, c, t):
    """dγ₂/dt = (c₀/2)(S₁ + S₂). Below: S₁ + S₂ ≥ p₂(1/(1+ab) + 1/(1+a/b)), which for a = e^{γ₂} ≥ 1 is least
    at b = e^{γ₁} = 1. Above: 1 ≤ b ≤ p₁/p₂ (gd.17) puts S₁ and S₂ each below p₁/(1+a)."""
    task = pair(alpha, p1, c)
    gamma = own.gammas(task, flow(task, LinearMemory.zeros(task), t).model)
    low, high = two_particles.gamma_bracket(task, t)
    c0, within = (1 - alpha) * c, control(gamma[1])
    ratio = (jnp.expm1(gamma[1]) + gamma[1]) / (c0 * t)
    spread = within * (1 + jnp.exp(gamma[1])) / (c0 * t)
    return {
        "printed": (
            at_least(ratio, 2 * (1 - p1), spread),
            at_most(ratio, 8 * p1**3 / (1 - p1) ** 2, spread),
        ),
        "corrected": (at_least(gamma[1], low[1], within), at_most(gamma[1], high[1], within)),
    }


@gamma2_flow.second_route
def _(alpha, p1, c, t):
    g2 = _pair_gammas(alpha, p1, c, [t])[0, 1]
    low, high = (reference.lam(1 + (1 - alpha) * c * p * t) for p in (1 - p1, p1))
    return at_least(g2, low, control(g2)), at_most(g2, high, control(g2))


@statement(
    "gd.17",
    "where γ₁ goes, and how fast",
    where="Theorem 4, flow",
    printed="γ₁ = γ̄ + O(1/t) (read: t|γ₁ − γ̄| at most doubles from t = 10³ to 10⁵)",
    corrected="0 ≤ γ₁ ≤ 2γ̄ at all t; the rate is t^{−min(1, r)}, r = (1+α)/(1−α), with a logarithm at α "
    "= 0 (numerical)",
    verdict="false",
    reason="true for α > 0 only: at α = −½ the gap falls like t^{−1/3}; at α = ±1 γ₁ does not go to γ̄",
    domain={"alpha": Uniform(-0.9, 0.9), "p1": Uniform(0.55, 0.95)},
    tolerance=FLOW,
    counterexample={"alpha": -0.5, "p1": 0.75},
)
def gamma1_flow(alpha, p1):
    """dγ₁/dt ∝ S₁ − S₂ is ≥ 0 at γ₁ = 0, and ≤ 0 at γ₁ = 2γ̄, for every γ₂ ≥ 0."""
    task, times = pair(alpha, p1), jnp.array([1.0, 10.0, 1e3, 1e4, 1e5])
    run = flow(task, LinearMemory.zeros(task), times[-1], times[:-1], g=own.gammas)
    g1, bar = run.observed["g"][:, 0], two_particles.limit(p1)
    gap = run.times * jnp.abs(g1 - bar)
    within = control(jnp.max(run.observed["g"]))
    return {
        "printed": at_most(gap[-1], 2 * gap[-3], given=gap[-3] > 1e-3),
        "corrected": (at_least(g1, 0.0, within), at_most(g1, 2 * bar, within)),
    }


@gamma1_flow.second_route
def _(alpha, p1):
    # 0 and the horizon come with the times asked for; the horizon twice.
    times = [0.0, 1.0, 10.0, 1e3, 1e4, 1e5]
    g = _pair_gammas(alpha, p1, 2.0, times)
    bar, within = 0.5 * np.log(p1 / (1 - p1)), control(g.max())
    return at_least(g[:, 0], 0.0, within), at_most(g[:, 0], 2 * bar, within)


@statement(
    "gd.17b",
    "how fast γ₁ goes there when α < 0",
    where="Theorem 4, flow",
    printed="γ₁ − γ̄ = O(1/t)",
    corrected="|γ₁ − γ̄| ~ t^{−r}, r = (1+α)/(1−α) < 1",
    verdict="false",
    reason="m₁ and m₂ pull on each other the less, the more they are opposed: at α = −½ the rate is t^{−1/3}",
    status="numerical",
    domain={"alpha": Uniform(-0.6, -0.25), "p1": Uniform(0.6, 0.9)},
    tolerance="of the exponent: the next power, 3 t^{−min(r, 1−r)}, and the control of the flow over the gap",
    counterexample={"alpha": -0.5, "p1": 0.75},
)
def gamma1_rate(alpha, p1):
    """Linearise dγ₁/dγ₂ about γ̄: d(γ₁−γ̄)/dγ₂ → −r (γ₁−γ̄), and γ₂ ~ log t. The exponent between 10⁵
    and 10⁷."""
    task = pair(alpha, p1)
    run = flow(task, LinearMemory.zeros(task), jnp.asarray(1e7), jnp.array([1e5]), g=own.gammas)
    gap = jnp.abs(run.observed["g"][1:, 0] - two_particles.limit(p1))
    exponent, r = jnp.log(gap[0] / gap[1]) / jnp.log(100.0), (1 + alpha) / (1 - alpha)
    within = 3 * 1e5 ** -jnp.minimum(r, 1 - r) + control(jnp.max(run.observed["g"])) / gap[1]
    return {"printed": equal(exponent, 1.0, within), "corrected": equal(exponent, r, within)}


@gamma1_rate.second_route
def _(alpha, p1):
    g = _pair_gammas(alpha, p1, 2.0, [1e5, 1e7])
    gap = np.abs(g[:, 0] - 0.5 * np.log(p1 / (1 - p1)))
    exponent, r = np.log(gap[0] / gap[1]) / np.log(100), (1 + alpha) / (1 - alpha)
    return equal(exponent, r, 3 * 1e5 ** -min(r, 1 - r) + control(g.max()) / gap[1])


@statement(
    "gd.18",
    "a bound on γ₁ at every time",
    where="appendix C.1",
    printed="γ₁(t) ≤ γ̄ + 1.05 (p₁−p₂)/√(p₁p₂)/(c₁t + 1), c₁ = (1−α)cp₂",
    corrected="γ₁(t) ≤ 2γ̄",
    verdict="false",
    reason="the trajectory crosses the nullcline that the proof takes for a barrier, and stays above it",
    domain=_PAIR | {"c": LogUniform(0.2, 5), "t": LogUniform(1e-1, 1e5)},
    tolerance=FLOW,
    counterexample={"alpha": 0.0, "p1": 0.75, "c": 2.0, "t": 1000.0},
    figure="theory_refuted",
)
def gamma1_bound(alpha, p1, c, t):
    """At γ₁ = 2γ̄: S₁ ≤ S₂ iff p₁ + p₁e^{γ₂−γ₁} ≤ p₂ + p₂e^{γ₂+γ₁}, true for e^{γ₁} = p₁/p₂ and γ₂ ≥ 0."""
    task = pair(alpha, p1, c)
    gamma = own.gammas(task, flow(task, LinearMemory.zeros(task), t).model)
    bar, p2 = two_particles.limit(p1), 1 - p1
    printed = bar + 1.05 * (p1 - p2) / jnp.sqrt(p1 * p2) / ((1 - alpha) * c * p2 * t + 1)
    within = control(gamma[1])
    return {"printed": at_most(gamma[0], printed, within), "corrected": at_most(gamma[0], 2 * bar, within)}


@gamma1_bound.second_route
def _(alpha, p1, c, t):
    g = _pair_gammas(alpha, p1, c, [t])[0]
    return at_most(g[0], np.log(p1 / (1 - p1)), control(g[1]))


_PAIR_DESCENT = {"alpha": Uniform(-1, 1), "p1": Uniform(0.5, 0.98), "rate": LogUniform(0.01, 50)}


def _pair_path(alpha, p1, rate, steps):
    task = pair(alpha, p1)
    run = descend(task, LinearMemory.zeros(task), rate, steps, g=own.gammas, s=observe.sharpness)
    gamma = run.observed["g"]
    within = amplified(rate, run.observed["s"], jnp.max(jnp.abs(gamma)))
    return task, gamma, within


def _second_path(alpha, p1, rate, steps):
    g = loops.gammas(loops.pair_descent(p1, alpha, 2.0, [rate] * steps))
    # ηλ ≤ ηc(1+|α|)p₁/4 bounds the growth of an error; it stays below 1 once margins have grown.
    return g, rounding(np.abs(g).max(), operations=6400) * max(1.0, rate) ** 2


@statement(
    "gd.19",
    "γ₂ under descent",
    where="Theorem 4, descent; appendix C",
    printed="γ₂(t) ≥ log(ηp₂c₀t + 1) (+ O(log t/t), unread)",
    corrected="γ₂(t) ≥ λ(1 + ηc₀p₂t) for any α ∈ [−1, 1] and η, p₁ ≥ p₂ (≥ log(ηp₂c₀t/2 + 1), the "
    "appendix's)",
    verdict="false",
    reason="right in the limit; without its O() it fails by up to .305",
    domain=_PAIR_DESCENT,
    tolerance=STEPS,
    counterexample={"alpha": 0.0, "p1": 0.5, "rate": 0.1},
)
def gamma2_descent(alpha, p1, rate):
    """S₁ + S₂ ≥ 2p₂/(1 + e^{γ₂}) (one of e^{±γ₁} is ≤ 1), and a step of e^γ + γ is at least its tangent."""
    steps = 60
    _, gamma, within = _pair_path(alpha, p1, rate, steps)
    reach = rate * (1 - alpha) * 2 * (1 - p1) * jnp.arange(steps + 1)
    return {
        "printed": at_least(gamma[:, 1], jnp.log1p(reach), within),
        "corrected": (
            at_least(gamma[:, 1], special.growth(reach), within),
            at_least(gamma[:, 1], jnp.log1p(reach / 2), within),
        ),
    }


@gamma2_descent.second_route
def _(alpha, p1, rate):
    g, within = _second_path(alpha, p1, rate, 60)
    reach = rate * (1 - alpha) * 2 * (1 - p1) * np.arange(61)
    return (
        at_least(g[:, 1], reference.lam(1 + reach), within),
        at_least(g[:, 1], np.log1p(reach / 2), within),
    )


@statement(
    "gd.20",
    "γ₁ stays in an interval under descent",
    where="Theorem 4, descent; appendix C",
    printed="γ₁ ∈ [min(0, γ̄ − ηc(1−α)p₂), γ̄ + p₁/(2p₂) + ηc(1−α)p₁] at all t (appendix)",
    corrected="γ₁ ∈ [min(0, γ̄ − η(c/2)(1+α)p₂), 2γ̄ + η(c/2)(1+α)p₁] at all t",
    verdict="false",
    reason="(1−α) for (1+α): at GD's own Figure 2 γ₁(1) = 4.875 > 2.80. The theorem's O(1/t) absorbs any "
    "transient, so only the appendix can be tested",
    domain=_PAIR_DESCENT,
    tolerance=STEPS,
    counterexample={"alpha": 0.95, "p1": 0.75, "rate": 10.0},
    figure="theory_refuted",
)
def gamma1_descent(alpha, p1, rate):
    """Above the nullcline γ₁ falls, by less than η(c/2)(1+α)p₂; below it, it rises by less than …p₁."""
    task, gamma, within = _pair_path(alpha, p1, rate, 60)
    g1, bar, p2 = gamma[:, 0], two_particles.limit(p1), 1 - p1
    step = 2 * rate * (1 - alpha)
    low, high = two_particles.descent_bracket(task, rate, rate * jnp.arange(61.0))
    return {
        "printed": (
            at_least(g1, jnp.minimum(0.0, bar - step * p2), within),
            at_most(g1, bar + p1 / (2 * p2) + step * p1, within),
        ),
        "corrected": (at_least(g1, low[:, 0], within), at_most(g1, high[:, 0], within)),
    }


@gamma1_descent.second_route
def _(alpha, p1, rate):
    g, within = _second_path(alpha, p1, rate, 60)
    bar, p2, step = 0.5 * np.log(p1 / (1 - p1)), 1 - p1, rate * (1 + alpha)
    return (
        at_least(g[:, 0], min(0.0, bar - step * p2), within),
        at_most(g[:, 0], 2 * bar + step * p1, within),
    )


@statement(
    "gd.21",
    "the loss after the first step spikes",
    where="Proposition 5, (20)",
    printed="L(W₁) ≥ η(αp₁ − p₂)p₂ where αp₁ > p₂",
    corrected="L(W₁) = Σ p_i log(1 + e^{−ηc(p_i−αp_j)/2}) ≥ (c/2)η(αp₁ − p₂)p₂",
    verdict="false",
    reason="c/2 is dropped; right for c ≥ 2",
    domain={
        "alpha": Uniform(0, 1),
        "p1": Uniform(0.5, 0.98),
        "c": LogUniform(0.05, 5),
        "rate": LogUniform(0.1, 100),
    },
    tolerance="rounding",
    counterexample={"alpha": 0.95, "p1": 0.75, "c": 0.1, "rate": 100.0},
)
def loss_spike(alpha, p1, c, rate):
    """m₂ after the step is −ηc(αp₁−p₂)/2, and log(1 + e^{−m}) ≥ −m."""
    task = pair(alpha, p1, c)
    loss = descend(task, LinearMemory.zeros(task), rate, 1, L=observe.loss).observed["L"][1]
    p2, spiky = 1 - p1, alpha * p1 > 1 - p1
    within = rounding(loss)
    return {
        "printed": at_least(loss, rate * (alpha * p1 - p2) * p2, within, spiky),
        "corrected": (
            equal(loss, two_particles.first_step_loss(rate, p1, alpha, c), within),
            at_least(loss, two_particles.spike_lower(rate, p1, alpha, c), within, spiky),
        ),
    }


@loss_spike.second_route
def _(alpha, p1, c, rate):
    m = loops.pair_descent(p1, alpha, c, [rate])[1]
    exact = p1 * np.logaddexp(0, -rate * c * (p1 - alpha * (1 - p1)) / 2)
    exact += (1 - p1) * np.logaddexp(0, -rate * c * (1 - p1 - alpha * p1) / 2)
    loss = float(np.array([p1, 1 - p1]) @ np.logaddexp(0, -m))
    bound = c / 2 * rate * (alpha * p1 - (1 - p1)) * (1 - p1)
    return equal(loss, exact, rounding(loss)), at_least(loss, bound, rounding(loss), alpha * p1 > 1 - p1)


@statement(
    "gd.22",
    "the frequent token alone, at the start",
    where="section 4.2",
    printed="Δm₁ ≈ ηp₁/(1 + e^{m₁}) where αp₁ ≫ p₂ (to within what is neglected, ηcαp₂)",
    corrected="Δm₁ ≈ ηcp₁/(1 + e^{m₁})",
    verdict="false",
    reason="c is dropped",
    domain={
        "alpha": Uniform(0.5, 1),
        "p1": Uniform(0.8, 0.99),
        "c": LogUniform(0.05, 5),
        "m1": Uniform(-2, 2),
    },
    tolerance="rounding",
    counterexample={"alpha": 0.95, "p1": 0.95, "c": 2.0, "m1": 0.0},
)
def first_steps(alpha, p1, c, m1):
    """(17), with σ(−m₂) ≤ 1."""
    task = pair(alpha, p1, c)
    memory = LinearMemory.from_margins(task, jnp.stack([m1, 0.5 * m1]))
    m = descend(task, memory, 0.3, 1, m=observe.margins).observed["m"]
    moved, pull = m[1, 0] - m[0, 0], 0.3 * p1 * jax.nn.sigmoid(-m1)
    neglected = 0.3 * c * alpha * (1 - p1)
    return {
        "printed": at_most(jnp.abs(moved - pull), neglected),
        "corrected": at_most(jnp.abs(moved - c * pull), neglected, rounding(m1, operations=1000)),
    }


@first_steps.second_route
def _(alpha, p1, c, m1):
    moved = 0.3 * loops.pair_velocity(p1, alpha, c)(np.array([m1, 0.5 * m1]))[0]
    pull = 0.3 * c * p1 / (1 + np.exp(m1))
    return at_most(abs(moved - pull), 0.3 * c * alpha * (1 - p1), rounding(m1, operations=1000))


@statement(
    "gd.23",
    "one symbol, three definitions of γ",
    where="(18), (21), Figure 1",
    printed="(u₂−u₁)ᵀWf_i of (21) and Figure 1 is γ_i of (18)",
    corrected="it is −2γ_i of (18) on f = e₁ ± e₂; with (18), m₁ = γ₁ + γ₂ and m₂ = γ₂ − γ₁",
    verdict="false",
    reason="½ and a sign; we adopt (18)",
    domain=_PAIR | {"seed": SEEDS},
    tolerance="rounding",
    counterexample={"alpha": 0.5, "p1": 0.75, "seed": 0},
)
def three_gammas(alpha, p1, seed):
    """Both are (u₁−u₂)ᵀWf_i up to a factor."""
    task, memory = pair(alpha, p1), LinearMemory(draw(seed, 2, 2, 2, 2).W)
    gamma, m = own.gammas(task, memory), observe.margins(task, memory)
    f = jnp.stack([task.inputs[0] + task.inputs[1], task.inputs[0] - task.inputs[1]])
    other = f @ own.plane(task, memory)
    sums = jnp.stack([gamma[0] + gamma[1], gamma[1] - gamma[0]])
    return {"printed": equal(other, gamma), "corrected": (equal(other, -2 * gamma), equal(sums, m))}


@three_gammas.second_route
def _(alpha, p1, seed):
    W, along, across = drawn(seed, 2, 2, 2, 2).W, np.sqrt((1 + alpha) / 2), np.sqrt((1 - alpha) / 2)
    E = np.array([[along, across], [along, -across]])
    other = np.array([(W[1] - W[0]) @ (E[0] + s * E[1]) for s in (1, -1)])
    gamma = np.array([(W[0] - W[1]) @ (E[0] + s * E[1]) / 2 for s in (1, -1)])
    m = np.array([(W[0] - W[1]) @ E[0], (W[1] - W[0]) @ E[1]])
    return equal(other, -2 * gamma), equal(np.array([gamma[0] + gamma[1], gamma[1] - gamma[0]]), m)
