"""What the papers do not contain: statements of this project, proved, or marked as conjectures."""

import jax
import jax.numpy as jnp
import numpy as np

from .... import observe
from ....dynamics import GradientFlow, MinibatchNoise, simulate
from ....numerics.minimise import minimum
from ....statements import at_least, at_most, equal, reference, statement
from ....statements.claims import rounding
from ....statements.registry import SEEDS
from ....sweeps import LogUniform, Uniform
from .. import observe as own
from ..dynamics import time_to_perfect
from ..model import LinearMemory, LowRankMemory, MarginSystem
from ..task import AssociationTask
from ..theory import orthogonal, soft_labels, two_particles
from . import loops
from .problems import FLOW, at_margin, descend, draw, drawn, flow, pair, single

_TWO = {"alpha": Uniform(0, 0.98), "p1": Uniform(0.5, 0.97)}


def _gap(task, model):
    """The margin of the only token: u₁ᵀWe − u₂ᵀWe."""
    scores = model.scores(task)[0]
    return scores[0] - scores[1]


@statement(
    "beyond.1",
    "no constant rate is faster than this",
    where="two tokens from zero",
    corrected="steps to perfect accuracy ≥ 2 + ⌊(αp₁ − p₂)/(2p₂)⌋ for every η, if αp₁ ≥ p₂ (else 1)",
    domain=_TWO | {"rate": LogUniform(0.01, 1000)},
    tolerance="whole numbers",
)
def fewest(alpha, p1, rate):
    """The first step takes m₂ to −ηc(αp₁−p₂)/2. Each later one adds ηc(p₂σ(−m₂) − αp₁σ(−m₁)) < ηcp₂, so
    m₂ > 0 after t steps needs t − 1 > (αp₁−p₂)/(2p₂)."""
    hits = time_to_perfect(pair(alpha, p1), rate, 2000, stable=False)
    count = jnp.where(hits.first_step < 0, 10_000, hits.first_step)
    bound = two_particles.fewest_steps(p1, alpha)
    limit = two_particles.perceptron_limit(p1, alpha).steps
    return at_least(count * 1.0, bound, 0.5), at_least(limit * 1.0, bound, 0.5, limit > 0)


@fewest.second_route
def _(alpha, p1, rate):
    m = loops.pair_descent(p1, alpha, 2.0, [rate] * 2000)
    found = np.flatnonzero((m > 0).all(axis=1))
    lag = alpha * p1 - (1 - p1)
    bound = 1 if lag < 0 else 2 + int(np.floor(lag / (2 * (1 - p1))))
    limit, _ = _perceptron(p1, alpha)
    return (
        at_least(float(found[0]) if len(found) else 1e4, bound, 0.5),
        at_least(float(limit), bound, 0.5, limit > 0),
    )


def _perceptron(p1, alpha, most=512):
    p = np.array([p1, 1 - p1])
    x, gap = (p - alpha * p[::-1]) / 2, np.inf
    for t in range(most):
        gap = min(gap, np.abs(x).min())
        if (x > 0).all():
            return t + 1, gap
        pull = p * (x < 0)
        x = x + pull - alpha * pull[::-1]
    return -1, gap


@statement(
    "beyond.2",
    "at large rates descent is a perceptron",
    where="two tokens from zero",
    corrected="steps to perfect accuracy = those of x_i += p_i 1{x_i<0} − αp_j 1{x_j<0} from x_i = (p_i "
    "− αp_j)/2, as "
    "soon as T(1+|α|)e^{−ηc·g/2} ≤ g/2, g = min |x| on the way",
    domain=_TWO | {"extra": LogUniform(1, 100)},
    tolerance="whole numbers; g > 1e-9, so that rounding does not decide a sign",
)
def perceptron(alpha, p1, extra):
    """m/(ηc) moves by p σ(−m), and |σ(−m) − 1{m<0}| ≤ e^{−|m|}: while the two differ by less than g/2 their
    signs agree, and each step adds at most (1+|α|)e^{−ηcg/2} to the difference."""
    limit = two_particles.perceptron_limit(p1, alpha)
    hits = time_to_perfect(pair(alpha, p1), extra * limit.rate / 2, 512, stable=False)
    sound = (limit.steps > 0) & (limit.gap > 1e-9)
    return equal(hits.first_step * 1.0, limit.steps, 0.5, sound)


@perceptron.second_route
def _(alpha, p1, extra):
    count, gap = _perceptron(p1, alpha)
    rate = extra * 2 / gap * np.log(2 * max(count, 1) * (1 + alpha) / gap)
    m = loops.pair_descent(p1, alpha, 2.0, [rate / 2] * max(count, 1))
    found = np.flatnonzero((m > 0).all(axis=1))
    return equal(float(found[0]) if len(found) else -1.0, count, 0.5, count > 0 and gap > 1e-9)


@statement(
    "beyond.3",
    "two steps are enough, if the second has its own rate",
    where="two tokens from zero",
    corrected="for αp₁ > p₂, α < 1: rates η₁ and rη₁ with (αp₁−p₂)/(2p₂) < r < (p₁−αp₂)/(2αp₂) and η₁ "
    "large reach perfect "
    "accuracy in two steps; no constant rate does once αp₁ ≥ 3p₂",
    domain={"alpha": Uniform(0.05, 0.98), "p1": Uniform(0.52, 0.97), "extra": Uniform(1, 3)},
    tolerance="truth values",
    figure="schedule",
)
def two_steps(alpha, p1, extra):
    """The first step leaves m₁ ≫ 0 ≫ m₂; the second moves m₂ by rηcp₂ and m₁ by −αrηcp₂, up to e^{−|m|}. The
    interval for r is not empty iff α² < 1. The constant rate is r = 1: see beyond.1."""
    found, p2 = two_particles.two_step_schedule(p1, alpha), 1 - p1
    rates = extra * found.rate / 2 * jnp.stack([jnp.ones_like(found.ratio), found.ratio])
    m = descend(pair(alpha, p1), LinearMemory.zeros(pair(alpha, p1)), rates, 2, m=observe.margins).observed[
        "m"
    ]
    hits = time_to_perfect(pair(alpha, p1), 10 * extra, 2, stable=False).first_step
    return (
        equal(jnp.all(m[2] > 0), True, given=alpha * p1 > p2 + 1e-3),
        equal(hits < 0, True, given=alpha * p1 > 3 * p2),
    )


@two_steps.second_route
def _(alpha, p1, extra):
    p2 = 1 - p1
    low, high = (alpha * p1 - p2) / (2 * p2), (p1 - alpha * p2) / (2 * alpha * p2)
    r, slack = (low + high) / 2, (high - low) / 2 * alpha * p2
    nearest = min(alpha * p1 - p2, p1 - alpha * p2) / 2
    spiky = alpha * p1 > p2 + 1e-3
    first = max(1.0, np.log(2 * r * (1 + alpha) / slack) / nearest) if spiky else 1.0
    m = loops.pair_descent(p1, alpha, 2.0, [extra * first / 2, extra * first / 2 * r])
    constant = loops.pair_descent(p1, alpha, 2.0, [10 * extra] * 2)
    never = not (constant > 0).all(axis=1).any()
    return (
        equal(bool((m[2] > 0).all()), True, given=spiky),
        equal(bool(never), True, given=alpha * p1 > 3 * p2),
    )


@statement(
    "beyond.4",
    "beyond the edge a small cycle opens",
    where="one token, P(y=1) = q; ηH* = 2 + μ",
    corrected="a 2-cycle of half-width √(3μ/(2(1 − 3q(1−q)))) (1 + O(μ)), for every q: period doubling "
    "is supercritical, "
    "descent never jumps at η = 2/H*",
    domain={"q": Uniform(0.05, 0.95), "excess": LogUniform(0.01, 0.05)},
    tolerance="μ/4, relative, on the square: the next order is at most .121 μ (computed for q in [.05, .95])",
    figure="bifurcation",
)
def opening(q, excess):
    """At slope −1 the Schwarzian derivative of the step is −4 + 12q(1−q) < 0, as q(1−q) ≤ ¼; the normal form
    x ↦ −(1+μ)x + … gives the width."""
    star, width = soft_labels.minimum(q), soft_labels.cycle_amplitude(q, excess)
    rate = (2 + excess) / soft_labels.curvature(q, 2.0)
    last = np.arange(1997, 2001)
    m = descend(single(2.0, q), at_margin(star + width), rate, 2000, last, m=_gap).observed["m"][1:]
    half = (jnp.max(m) - jnp.min(m)) / 2
    return (
        equal(m[2:], m[:2], 1e-9),
        equal((half / width) ** 2, 1.0, excess / 4),
    )


@opening.second_route
def _(q, excess):
    star, width = np.log(q / (1 - q)), np.sqrt(3 * excess / (2 * (1 - 3 * q * (1 - q))))
    m, step, path = star + width, (2 + excess) / (q * (1 - q)), []
    for _ in range(2000):
        m += step * (q - 1 / (1 + np.exp(-m)))
        path.append(m)
    m = np.array(path[-4:])
    return equal(m[2:], m[:2], 1e-9), equal(((m.max() - m.min()) / 2 / width) ** 2, 1.0, excess / 4)


@statement(
    "beyond.5",
    "balanced labels never turn chaotic",
    where="one token, P(y=1) = ½",
    corrected="for every η > 8/c descent ends, from almost every start, in the 2-cycle ±m, m = (ηc/4) "
    "tanh(m/2), of "
    "multiplier (1 − 2m/sinh m)² < 1",
    reason="it takes a time that grows like e^{ηc/4}: beyond ηc ≈ 32 orbits drift too slowly to be seen "
    "arriving",
    domain={"edge": LogUniform(1.05, 4), "m0": Uniform(0.1, 10)},
    tolerance="rounding, contracted by the cycle; 3,000 steps, each of at most 1 − 8me^{−m} at m = 8",
)
def balanced(edge, m0):
    """|m| follows g(m) = |m − (ηc/2) tanh(m/2)|, whose slope exceeds −1 everywhere: so g has no 2-cycle, and
    every orbit converges to a fixed point (Coppel); 0 repels."""
    rate = edge * 8 / 2.0
    m = descend(
        single(2.0, jnp.asarray(0.5)), at_margin(m0), rate, 3000, np.array([2999, 3000]), m=_gap
    ).observed["m"]
    expected = soft_labels.balanced_cycle(rate, 2.0)
    within = rounding(expected, operations=6400)
    return (
        equal(jnp.abs(m[1:]), expected, within),
        equal(m[1] * m[2] < 0, True),
        at_most(soft_labels.balanced_multiplier(expected), 1.0),
    )


@balanced.second_route
def _(edge, m0):
    m, path = m0, []
    for _ in range(3000):
        m -= 4 * edge * np.tanh(m / 2)
        path.append(m)
    cycle = 1e-3
    for _ in range(20_000):
        cycle = 2 * edge * np.tanh(cycle / 2)
    multiplier = (1 - 2 * edge / np.cosh(cycle / 2) ** 2) ** 2
    return (
        equal(np.abs(path[-2:]), cycle, rounding(cycle, operations=6400)),
        equal(bool(path[-1] * path[-2] < 0), True),
        at_most(multiplier, 1.0),
    )


@statement(
    "beyond.6",
    "the edge of an inseparable memory",
    where="any task with a minimiser W*, λ = λ_max(∇²L(W*))",
    corrected="descent returns to W* from nearby iff ηλ < 2",
    domain={"seed": SEEDS, "edge": Uniform(0.5, 1.5)},
    cases=[{"n": 3, "m": 3, "d": 2, "k": 2}],
    tolerance="truth values; |ηλ/2 − 1| ≥ .03, where 400 steps decide; λ at least 1e-3",
)
def inseparable(seed, edge, n, m, d, k):
    """The step has derivative I − η∇²L(W*) at W*: along the top eigenvector an error is multiplied
    by 1 − ηλ."""
    p, _, q, E, U, _ = draw(seed, n, m, d, k)
    task = AssociationTask(p, q, E, U)

    memory = lambda flat: LinearMemory(flat.reshape(k, d))  # noqa: E731
    star = minimum(
        lambda flat: own.weight_gradient(task, memory(flat)).ravel(),
        lambda flat: own.hessian(task, memory(flat)),
        jnp.zeros(k * d),
        60,
    ).reshape(k, d)
    values, vectors = jnp.linalg.eigh(own.hessian(task, LinearMemory(star)))
    top, flat = (
        vectors[:, -1].reshape(k, d),
        jnp.linalg.norm(own.weight_gradient(task, LinearMemory(star))),
    )
    away = lambda task, model: jnp.sum((model.weight - star) * top)  # noqa: E731
    start = LinearMemory(star + 1e-4 * top)
    late = descend(task, start, 2 * edge / values[-1], 400, np.arange(380, 401), m=away).observed["m"][1:]
    sound = (jnp.abs(edge - 1) > 0.03) & (flat < 1e-12) & (values[-1] > 1e-3)
    return equal(jnp.max(jnp.abs(late)) < 1e-4, edge < 1, given=sound)


@inseparable.second_route
def _(seed, edge, n, m, d, k):
    p, _, q, E, U, _ = drawn(seed, n, m, d, k)
    W = np.zeros((k, d))
    for _ in range(60):
        step = np.linalg.solve(
            loops.hessian(W, p, E, U) + 1e-13 * np.eye(k * d), loops.gradient(W, p, q, E, U).ravel()
        )
        W = W - (step / max(1.0, np.linalg.norm(step))).reshape(k, d)
    values, vectors = np.linalg.eigh(loops.hessian(W, p, E, U))
    top = vectors[:, -1].reshape(k, d)
    path = loops.descend(W + 1e-4 * top, p, q, E, U, [2 * edge / values[-1]] * 400)
    late = max(abs(np.sum((V - W) * top)) for V in path[380:])
    sound = (
        abs(edge - 1) > 0.03 and np.linalg.norm(loops.gradient(W, p, q, E, U)) < 1e-12 and values[-1] > 1e-3
    )
    return equal(bool(late < 1e-4), bool(edge < 1), given=sound)


@statement(
    "beyond.7",
    "unbalanced labels turn chaotic",
    where="one token, P(y=1) = q ≠ ½",
    corrected="at some η the Lyapunov exponent of descent is positive (read: above .05 for some ηH*/2 in "
    "[1, 4])",
    status="conjecture",
    domain={"q": Uniform(0.05, 0.4)},
    tolerance="truth values; an exponent over 1,500 steps is known to some 1/√1500 = .03",
    figure="bifurcation",
    most=64,
    second_samples=4,
)
def chaos(q):
    """Not proved. Beyond the first doubling the cycle visits both branches of a bimodal map; for q = ½
    symmetry forbids it (beyond.5)."""
    edges, star = jnp.linspace(1.0, 4.0, 256), soft_labels.minimum(q)

    def exponent(edge):
        rate = edge * soft_labels.critical_rate(q, 2.0)
        m = descend(single(2.0, q), at_margin(star + 0.1), rate, 2000, m=_gap).observed["m"]
        slope = 1 - rate * 2 * jax.nn.sigmoid(m) * jax.nn.sigmoid(-m)
        return jnp.mean(jnp.log(jnp.maximum(jnp.abs(slope[500:-1]), 1e-300)))

    return equal(jnp.max(jax.lax.map(exponent, edges, batch_size=64)) > 0.05, True)


@chaos.second_route
def _(q):
    step = 2 * np.linspace(1.0, 4.0, 256) / (q * (1 - q))
    m, total = np.full(256, np.log(q / (1 - q)) + 0.1), np.zeros(256)
    for t in range(2000):
        s = 1 / (1 + np.exp(-m))
        total += np.log(np.maximum(np.abs(1 - step * s * (1 - s)), 1e-300)) * (t >= 500)
        m = m + step * (q - s)
    return equal(bool((total / 1500).max() > 0.05), True)


@statement(
    "beyond.8",
    "where tokens are orthogonal no order of data is faster",
    where="two classes, orthogonal inputs, flow from margins m₀ ≤ 0 under any laws p_t(x)",
    corrected="perfect accuracy takes t ≥ T = Σ_x (1 − e^{m₀(x)} − m₀(x))/c_x, c_x = ‖e_x‖²‖u₁−u₂‖²; every "
    "order of mean law T_x/T takes T, a constant one too; any other mean is not there at T",
    domain={"one": Uniform(0.1, 4), "two": Uniform(0.1, 4), "tilt": Uniform(0.1, 1)},
    tolerance=FLOW,
    figure="gd_curricula",
)
def orders(one, two, tilt):
    """d(e^m + m)/dt = p_t(x) c_x: what a token has gained depends on ∫ p_t(x) dt alone, and Σ_x ∫ p_t(x) dt
    = t."""
    start = jnp.stack([-one, -two])
    total, law = orthogonal.binary_soonest(2.0, start)
    away = tilt * jnp.min(law)

    def after(*shares):
        margins = start
        for share in shares:
            task = pair(0.0, share)
            model = MarginSystem.from_margins(task, margins)
            margins = flow(task, model, total / len(shares), m=observe.margins).observed["m"][-1]
        return margins

    staged, shifted = after(law[0] + away, law[0] - away), after(law[0] + away)
    return equal(staged, 0.0, 1e-8), at_most(jnp.min(shifted), 0.0, 1e-8), equal(jnp.max(shifted) > 0, True)


@orders.second_route
def _(one, two, tilt):
    needed = np.array([1 + a - np.exp(-a) for a in (one, two)]) / 2
    law, total = needed / needed.sum(), needed.sum()
    away = tilt * law.min() * np.array([1, -1])
    # e^m + m at the end, of what each law gives.
    reached = lambda mean: reference.lam(np.exp([-one, -two]) - [one, two] + 2 * total * mean)  # noqa: E731
    staged = reached(((law + away) + (law - away)) / 2)
    shifted = reached(law + away)
    return equal(staged, 0.0, 1e-8), at_most(shifted.min(), 0.0, 1e-8), equal(bool(shifted.max() > 0), True)


@statement(
    "beyond.9",
    "what two layers keep when they move at rates of their own",
    where="scores U W₁ᵀ W₂ e, dW₁ = −s₁∇₁L dt, dW₂ = −s₂∇₂L dt, any data",
    corrected="W₁W₁ᵀ/s₁ − W₂W₂ᵀ/s₂ does not change (at s₁ = s₂ the known balance)",
    domain={"seed": SEEDS, "rate": LogUniform(0.05, 20)},
    cases=[{"n": 4, "m": 3, "d": 4, "k": 3}],
    tolerance=FLOW + "; relative to the largest entry of the two",
)
def balance(seed, rate, n, m, d, k):
    """Both gradients are of P = W₁ᵀW₂: ∇₁L = W₂Gᵀ and ∇₂L = W₁G, G = ∂L/∂P, so that W₁∇₁Lᵀ = W₁GW₂ᵀ =
    ∇₂LW₂ᵀ; each side moves by −(W₁GW₂ᵀ + its transpose)."""
    p, labels, _, E, U, W = draw(seed, n, m, d, k)
    task = AssociationTask(p, labels, E, U)
    model = LowRankMemory(W[:2, :k], W[1:, :d][:2] / 2)
    slow = GradientFlow(5.0, relative_rates=((lambda model: model.input, rate),))
    watch = {"out": lambda task, model: model.output, "in": lambda task, model: model.input}
    seen = simulate(task, model, slow, observe=watch, at=jnp.array([1.0]), throw=False).observed
    one, two = (jnp.einsum("tij,tkj->tik", w, w) for w in (seen["out"], seen["in"] / jnp.sqrt(rate)))
    scale = jnp.maximum(jnp.max(jnp.abs(one)), jnp.max(jnp.abs(two)))
    off = jnp.max(jnp.abs((one - two)[1:] - (one - two)[0])) / scale
    return equal(off, 0.0, 1e-8), equal(jnp.max(jnp.abs(one[2] - one[0])) > 1e-4, True)


@balance.second_route
def _(seed, rate, n, m, d, k):
    p, labels, _, E, U, W = drawn(seed, n, m, d, k)
    first, second = W[:2, :k], W[1:, :d][:2] / 2
    hot = np.eye(m)[labels]

    def velocity(state):
        a, b = state[: 2 * k].reshape(2, k), state[2 * k :].reshape(2, d)
        slope = loops.gradient(a.T @ b, p, hot, E, U)
        return np.concatenate([-(b @ slope.T).ravel(), -rate * (a @ slope).ravel()])

    start = np.concatenate([first.ravel(), second.ravel()])
    end = reference.follow(velocity, start, np.array([5.0]))[-1]
    products = []
    for state in (start, end):
        a, b = state[: 2 * k].reshape(2, k), state[2 * k :].reshape(2, d)
        products.append((a @ a.T, b @ b.T / rate))
    (one, two), (later, last) = products
    scale = max(np.abs(part).max() for part in (one, two, later, last))
    off = np.abs((later - last) - (one - two)).max() / scale
    return equal(off, 0.0, 1e-8), equal(bool(np.abs(later - one).max() > 1e-4), True)


@statement(
    "beyond.10",
    "a diffusion with the covariance of a minibatch",
    where="GD (6) in the place of (7)",
    corrected="√(η/B) Σ_i √p_i (g_i − ḡ) ξ_i has covariance η/B times that of one example's gradient, (1/η) "
    "times that of a step of SGD on B; it moves no W outside the span of (u_j − u_k) ⊗ e_x",
    domain={"seed": SEEDS, "rate": LogUniform(0.01, 10)},
    cases=[{"n": 3, "m": 3, "d": 4, "k": 4}],
    tolerance="rounding of n m products of entries",
)
def minibatch_noise(seed, rate, n, m, d, k):
    """E ξ_iξ_j = δ_ij: Σ p_i (g_i − ḡ)(g_i − ḡ)ᵀ. A batch of B independent examples has 1/B of it, a step
    η² of that in a time η."""
    p, _, q, E, U, W = draw(seed, n, m, d, k)
    task, memory, noise = AssociationTask(p, q, E, U), LinearMemory(W), MinibatchNoise(rate, 2)
    move = lambda xi: noise.moved(task, lambda part: part, memory, xi).weight  # noqa: E731
    A = jax.jacobian(move)(jnp.zeros(n * m)).reshape(-1, n * m)
    free = jnp.eye(d) - E.T @ jnp.linalg.pinv(E.T)
    aside = jnp.linalg.norm(jnp.sum(A, axis=1).reshape(k, d) @ free)
    s = jax.nn.softmax(E @ W.T @ U.T)
    each = (((s[:, None] - jnp.eye(m)) @ U)[..., None] * E[:, None, None, :]).reshape(-1, W.size)
    law = (p[:, None] * q).ravel()
    both, steps = law[:, None] * law, rate * (each[:, None] + each) / 2
    steps = steps - jnp.einsum("ij,ija->a", both, steps)
    batches = jnp.einsum("ij,ija,ijb->ab", both, steps, steps) / rate
    return equal(A @ A.T, batches), equal(aside, 0.0, rounding(10 * rate))


@minibatch_noise.second_route
def _(seed, rate, n, m, d, k):
    p, _, q, E, U, W = drawn(seed, n, m, d, k)
    mean, examples = loops.gradient(W, p, q, E, U), []
    for x in range(n):
        for y in range(m):
            g = loops.gradient(W, [1.0], np.eye(m)[[y]], E[[x]], U) - mean
            examples.append((p[x] * q[x, y], g.ravel()))
    covariance = sum(law * np.outer(g, g) for law, g in examples)
    batches = sum(a * b * np.outer(g + h, g + h) / 4 for a, g in examples for b, h in examples)
    each = np.sum([np.sqrt(rate / 2 * law) * g for law, g in examples], axis=0).reshape(k, d)
    aside = np.linalg.norm(each - each @ E.T @ np.linalg.solve(E @ E.T, E))
    return equal(rate / 2 * covariance, rate * batches), equal(aside, 0.0, rounding(10 * rate))
