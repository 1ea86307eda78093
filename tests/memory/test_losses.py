"""A task of any loss: every path against NumPy loops that share no code, or a refusal in one line."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am
import helpers
from assocmem_jax.tasks.losses import name_of

EPS = 0.3


class Exponential(eqx.Module):
    """Σ_{z≠y} e^{a(s_z − s_y)}: a user's loss, with a number of its own (a float: data)."""

    rate: float

    def __call__(self, scores, target):
        own = jnp.sum(jnp.where(target > 0, scores, 0))
        return jnp.sum(jnp.where(target > 0, 0, jnp.exp(self.rate * (scores - own))))


def wavy(scores, target):
    """A user's function, of curvature of either sign."""
    return jnp.sum(jnp.sin(scores + 2 * target))


# --- NumPy: (value, slope, curvature) of one token with answer y ------------------------------------


def np_cross_entropy(s, t):
    p = helpers.softmax(s)
    return -t @ np.log(p), p - t, np.diag(p) - np.outer(p, p)


def np_squared(s, t):
    return ((s - t) ** 2).sum() / 2, s - t, np.eye(len(s))


def np_hinge(s, t):
    y = t.argmax()
    rival = max((z for z in range(len(s)) if z != y), key=lambda z: s[z])
    gap, flat = 1 - s[y] + s[rival], np.zeros((len(s), len(s)))
    return (gap, np.eye(len(s))[rival] - t, flat) if gap > 0 else (0.0, 0 * t, flat)


def np_smoothed(s, t):
    return np_cross_entropy(s, (1 - EPS) * t + EPS / len(s))


def np_exponential(s, t):
    y, a = t.argmax(), 0.7
    e = np.exp(a * (s - s[y])) * (1 - t)
    slope = a * (e - t * e.sum())
    curve = a**2 * (np.diag(e + t * e.sum()) - np.outer(e, t) - np.outer(t, e))
    return e.sum(), slope, curve


def np_wavy(s, t):
    return np.sin(s + 2 * t).sum(), np.cos(s + 2 * t), np.diag(-np.sin(s + 2 * t))


LOSSES = {
    "squared": (am.losses.squared, np_squared),
    "hinge": (am.losses.hinge, np_hinge),
    "smoothed": (am.losses.LabelSmoothed(EPS), np_smoothed),
    "exponential": (Exponential(0.7), np_exponential),
    "wavy": (wavy, np_wavy),
}


def looped(of, weight, p, targets, inputs, outputs):
    """(loss, gradient, Hessian, {(x, y): gradient}) in W, pair by pair; a·d + b stands for W_ab."""
    m, q = len(outputs), helpers.conditional(targets, len(outputs))
    value, slope = 0.0, np.zeros(weight.shape)
    curve, pairs = np.zeros((weight.size, weight.size)), {}
    for x in range(len(p)):
        maps = np.array([np.outer(u, inputs[x]).ravel() for u in outputs])  # s = maps · vec W
        for y in range(m):
            v, g, h = of(maps @ weight.ravel(), np.eye(m)[y])
            value += p[x] * q[x, y] * v
            pairs[x, y] = (g @ maps).reshape(weight.shape)
            slope += p[x] * q[x, y] * pairs[x, y]
            curve += p[x] * q[x, y] * maps.T @ h @ maps
    return value, slope, curve, pairs


def problem(soft, shape=(4, 3, 2, 5), seed=70):
    """Non-orthogonal, rectangular, two tokens with the same input; a conditional has an answer of p = 0."""
    n, m, d, k = shape
    p, targets, inputs, outputs, weight = helpers.random_problem(seed, n=n, m=m, d=d, k=k, soft=soft)
    inputs[1] = inputs[0]
    if soft:
        targets[2] = np.eye(m)[0] / 2 + np.eye(m)[1] / 2
    return p, targets, inputs, outputs, weight


# --- Value, gradient, Hessian, sharpness, gradient noise ------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("soft", [False, pytest.param(True, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", LOSSES)
def test_every_derivative_is_the_loops(name, soft):
    loss, of = LOSSES[name]
    p, targets, inputs, outputs, weight = problem(soft)
    task = am.AssociationTask(p, targets, inputs, outputs, loss=loss)
    pairs = np.array([(x, y) for x in range(4) for y in range(3)])
    direction = np.random.default_rng(0).normal(size=weight.shape)

    @jax.jit
    def everything(task, memory):
        particles = am.ParticleSystem.from_memory(task, memory)
        one = lambda x, y: jax.grad(lambda m: task.sampled_loss(m, (x[None], y[None])))(memory)  # noqa: E731
        return {
            "value": (am.loss(task, memory), am.loss(task, particles)),
            "slope": (am.gradient(task, memory).weight, am.memory.weight_gradient(task, memory)),
            "curve": am.memory.hessian(task, memory),
            "along": am.hessian_operator(task, memory)(am.LinearMemory(direction)).weight,
            "top": (am.sharpness(task, memory), am.sharpness(task, particles)),
            "pairs": jax.vmap(one)(*pairs.T).weight,
        }

    found = everything(task, am.LinearMemory(weight))
    value, slope, curve, single = looped(of, weight, p, targets, inputs, outputs)
    close = dict(rtol=1e-11, atol=1e-13)
    for got in found["value"]:
        np.testing.assert_allclose(got, value, **close)
    for got in found["slope"]:
        np.testing.assert_allclose(got, slope, **close)
    np.testing.assert_allclose(found["curve"], curve, **close)
    np.testing.assert_allclose(found["along"].ravel(), curve @ direction.ravel(), **close)
    for got in found["top"]:
        np.testing.assert_allclose(got, np.linalg.eigvalsh(curve)[-1], rtol=1e-9, atol=1e-12)
    # Covariance of the gradient of one pair drawn from p(x) p(y|x): the noise of a minibatch.
    law = (p[:, None] * helpers.conditional(targets, 3)).ravel()
    noise = lambda g: np.einsum("s,sa,sb->ab", law, *2 * [g.reshape(12, -1) - slope.ravel()])  # noqa: E731
    expected = noise(np.array([single[x, y] for x, y in pairs]))
    np.testing.assert_allclose(noise(np.asarray(found["pairs"])), expected, **close)


@pytest.mark.thorough
@pytest.mark.parametrize("route", ["weights", "particles"])
def test_sharpness_beyond_the_dense_limit(route):
    """k d (or N M) above 128 unknowns: Lanczos; its derivative by central differences in NumPy."""
    shape = (3, 3, 12, 12) if route == "weights" else (12, 12, 3, 3)
    p, targets, inputs, outputs, weight = problem(False, shape)
    task = am.AssociationTask(p, targets, inputs, outputs, loss=wavy)

    def top(w):
        memory = am.LinearMemory(w)
        return am.sharpness(
            task, memory if route == "weights" else am.ParticleSystem.from_memory(task, memory)
        )

    eigen = lambda w: np.linalg.eigvalsh(looped(np_wavy, w, p, targets, inputs, outputs)[2])[-1]  # noqa: E731
    found, slope = jax.jit(jax.value_and_grad(top))(weight)
    assert float(found) == pytest.approx(eigen(weight), rel=1e-9)
    step = 1e-5 * np.random.default_rng(1).normal(size=weight.shape)
    change = (eigen(weight + step) - eigen(weight - step)) / 2
    assert float(jnp.vdot(slope, step)) == pytest.approx(change, rel=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("name", LOSSES)
def test_classes_that_are_not_possible_have_no_part(name):
    """task.first(n), n traced, is the task of n tokens and their answers; a user's loss must see to it."""
    loss, of = LOSSES[name]
    p, _, inputs, outputs, weight = problem(False, (5, 4, 3, 3))
    targets = np.array([2, 0, 2, 1, 3])
    task = am.AssociationTask(p, targets, inputs, outputs, loss=loss)

    @jax.jit
    def of_first(n):
        cut, memory = task.first(n), am.LinearMemory(weight)
        particles = am.ParticleSystem.from_memory(cut, memory)
        slope = am.memory.weight_gradient(cut, memory), am.gradient(cut, memory).weight
        return am.loss(cut, memory), slope, (am.sharpness(cut, memory), am.sharpness(cut, particles))

    if name == "wavy":  # sin(−∞) is no number
        for call in (of_first, task.first):
            with pytest.raises(ValueError, match=r"loss must be finite, with its slope, .* got wavy"):
                call(3)
        return
    kept = [0, 2]
    value, slope, curve, _ = looped(
        of, weight, p[:3] / p[:3].sum(), np.array([1, 0, 1]), inputs[:3], outputs[kept]
    )
    found, slopes, tops = of_first(3)
    np.testing.assert_allclose(found, value, rtol=1e-12)
    for got in slopes:
        np.testing.assert_allclose(got, slope, rtol=1e-11, atol=1e-13)
    for got in tops:
        np.testing.assert_allclose(got, np.linalg.eigvalsh(curve)[-1], rtol=1e-9, atol=1e-12)


# --- Dynamics -------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "soft"), [("squared", True), ("hinge", False), ("exponential", True)])
def test_ten_minibatches_are_the_loop(name, soft):
    loss, of = LOSSES[name]
    p, targets, inputs, outputs, weight = problem(soft)
    task, key = am.AssociationTask(p, targets, inputs, outputs, loss=loss), jr.key(3)
    run = am.simulate(
        task, am.LinearMemory(weight), am.Descent(optax.sgd, 10, 8, learning_rate=0.3), key=key,
        observe={"W": am.memory.weights, "loss": am.loss},
    )  # fmt: skip
    drawn = jax.vmap(lambda step: task.sampler(8)(jr.fold_in(key, step)))(jnp.arange(10))
    for step, (tokens, labels) in enumerate(zip(*map(np.asarray, drawn), strict=True)):
        value, _, _, pairs = looped(of, weight, p, targets, inputs, outputs)
        assert float(run.observed["loss"][step]) == pytest.approx(value, rel=1e-11)
        weight = weight - 0.3 * np.mean([pairs[x, y] for x, y in zip(tokens, labels)], axis=0)
        np.testing.assert_allclose(run.observed["W"][step + 1], weight, rtol=1e-11, atol=1e-13)


def linear_ode(t, start, p, targets, inputs, outputs):
    """W(t) of dW = −(A W C − B) dt, A = UᵀU, C = Σ p e eᵀ, B = Σ p u_f eᵀ: the flow of the squared loss."""
    a, left = np.linalg.eigh(outputs.T @ outputs)
    c, right = np.linalg.eigh(inputs.T @ (p[:, None] * inputs))
    pull = left.T @ (outputs[targets].T @ (p[:, None] * inputs)) @ right
    rate = np.outer(a, c)
    still = rate < 1e-12 * rate.max()
    rate = np.where(still, 1, rate)
    grown = np.where(still, 0, -np.expm1(-rate * t) / rate)  # pull is 0 where the rate is
    decay = np.where(still, 1, np.exp(-rate * t))
    return left @ (pull * grown + decay * (left.T @ start @ right)) @ right.T


@pytest.mark.parametrize("kind", ["weights", pytest.param("particles", marks=pytest.mark.thorough)])
def test_the_flow_of_the_squared_loss_is_linear(kind):
    """Inputs nearly collinear: by the stiff solver and its projection, towards the finite minimiser, while
    the mean of the outputs, in which no slope of the cross-entropy lies, is still on its way.
    """
    p, targets, inputs, outputs, weight = problem(False)
    inputs[:, 1] *= 1e-2
    task, memory = (
        am.AssociationTask(p, targets, inputs, outputs, loss=am.losses.squared),
        am.LinearMemory(weight),
    )
    start = memory if kind == "weights" else am.ParticleSystem.from_memory(task, memory)
    times = [1.0, 30.0, 1e4, 1e5, 1e6]
    run = am.simulate(
        task,
        start,
        am.GradientFlow(1e6, stiff=True),
        at=times,
        observe={"s": am.memory.particles},
    )
    for k, t in enumerate(times):
        expected = inputs @ linear_ode(t, weight, p, targets, inputs, outputs).T @ outputs.T
        np.testing.assert_allclose(run.observed["s"][k + 1], expected, rtol=1e-7, atol=1e-8)


def test_the_stochastic_flow_is_the_loop():
    """Euler–Maruyama with the same increments, fold_in(key, step): the drift is that of the squared loss."""
    p, targets, inputs, outputs, weight = problem(False)
    task, key = am.AssociationTask(p, targets, inputs, outputs, loss=am.losses.squared), jr.key(5)
    run = am.simulate(
        task,
        am.LinearMemory(weight),
        am.StochasticFlow(0.2, 1.0, 10),
        key=key,
        observe={"W": am.memory.weights},
    )

    @jax.vmap
    def increments(step):
        return jr.normal(jr.split(jr.fold_in(key, step))[0], weight.shape)

    for step, noise in enumerate(np.asarray(increments(jnp.arange(10)))):
        slope = looped(np_squared, weight, p, targets, inputs, outputs)[1]
        weight = weight - 0.1 * slope + 0.2 * np.sqrt(0.1) * noise
        np.testing.assert_allclose(run.observed["W"][step + 1], weight, rtol=1e-10, atol=1e-12)


def test_numbers_of_a_loss_are_batched_and_differentiated():
    """A run for every smoothing in one program, and the derivative of where it ends; NumPy."""
    p, targets, inputs, outputs, weight = problem(False)

    def end(strength):
        loss = am.losses.LabelSmoothed(strength)
        task = am.AssociationTask(p, targets, inputs, outputs, loss=loss)
        run = am.simulate(
            task, am.LinearMemory(weight), am.Descent(optax.sgd, 5, learning_rate=0.5), observe={}
        )
        return jnp.sum(run.model.weight**2)

    def by_hand(strength):
        w = weight
        of = lambda s, t: np_cross_entropy(s, (1 - strength) * t + strength / 3)  # noqa: E731
        for _ in range(5):
            w = w - 0.5 * looped(of, w, p, targets, inputs, outputs)[1]
        return (w**2).sum()

    strengths = np.array([0.0, 0.1, 0.6])
    found, slopes = jax.jit(jax.vmap(jax.value_and_grad(end)))(strengths)
    np.testing.assert_allclose(found, [by_hand(s) for s in strengths], rtol=1e-12)
    differences = [(by_hand(s + 1e-5) - by_hand(s - 1e-5)) / 2e-5 for s in strengths]
    np.testing.assert_allclose(slopes, differences, rtol=1e-7)


@pytest.mark.parametrize("margin", [40.0, 600.0])
def test_label_smoothing_keeps_small_losses(margin):
    """ε = 0 is the cross-entropy at any margin, and its slope too."""
    scores, target = jnp.array([margin, 0.0, 0.0]), jnp.array([1.0, 0, 0])
    value, slope = jax.value_and_grad(am.losses.LabelSmoothed(0.0))(scores, target)
    assert float(value) == pytest.approx(2 * np.exp(-margin), rel=1e-13)
    np.testing.assert_allclose(slope, np.exp(-margin) * np.array([-2, 1, 1]), rtol=1e-13)


def test_time_to_perfect_of_another_loss():
    """No closed map of margins: the particles, against a loop."""
    task = am.two_tokens(0.9, 0.7, am.losses.hinge)
    found = am.time_to_perfect(task, 0.8, 60)
    p, inputs, weight, right = np.array([0.7, 0.3]), np.asarray(task.inputs), np.zeros((2, 2)), []
    for _ in range(61):
        scores = inputs @ weight.T
        right.append(
            (np.diag(scores) > scores[::-1].diagonal()).all()
            and (np.diag(scores) > np.diag(scores[:, ::-1])).all()
        )
        weight = weight - 0.8 * looped(np_hinge, weight, p, np.arange(2), inputs, np.eye(2))[1]
    assert int(found.first_step) == right.index(True) > 1
    assert int(found.stable_step) == len(right) - right[::-1].index(False)


@pytest.mark.thorough
def test_x64_off(float32):
    """The numbers of a loss are at the precision of the task, and so is all that comes of it."""
    p, targets, inputs, outputs, weight = problem(True)
    task = am.AssociationTask(
        np.asarray(p, np.float32), np.asarray(targets, np.float32), np.asarray(inputs, np.float32),
        np.asarray(outputs, np.float32), loss=Exponential(0.7),
    )  # fmt: skip
    value, slope, curve, _ = looped(np_exponential, weight, p, targets, inputs, outputs)
    memory = am.LinearMemory(np.asarray(weight, np.float32))
    found = am.loss(task, memory), am.memory.weight_gradient(task, memory), am.sharpness(task, memory)
    assert {a.dtype for a in found} == {jnp.dtype("float32")}
    for got, expected in zip(found, (value, slope, np.linalg.eigvalsh(curve)[-1])):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


# --- What is said, and what is refused ------------------------------------------------------------


def test_a_run_says_which_loss():
    descent = am.Descent(optax.sgd, 2, learning_rate=0.1)

    def run(loss, **options):
        task = am.two_tokens(0.5, 0.7, loss)
        return am.simulate(task, am.LinearMemory.zeros(task), descent, **options)

    for loss, name, units in (
        (am.cross_entropy, "cross_entropy", "nats"),
        (am.losses.squared, "squared", "1"),
        (am.losses.LabelSmoothed(0.25), "LabelSmoothed(strength=0.25)", "nats"),
    ):
        found = run(loss)
        assert found.provenance["loss"] == name
        assert found.to_xarray().loss.attrs["units"] == units
    module = am.two_tokens(0.5, 0.7, Exponential(0.5))
    assert module.token_loss.name == "Exponential(rate=0.5)"
    assert name_of(module) == "Exponential(rate=0.5)"
    assert name_of(am.RetrievalTask(np.eye(2))) == "RetrievalTask.loss"


def test_a_checkpoint_of_another_loss_is_refused(tmp_path):
    path = tmp_path / "run.ckpt"

    def segments(loss):
        task = am.two_tokens(0.5, 0.7, loss)

        def run(previous, steps):
            dynamics = am.Descent(optax.sgd, steps, learning_rate=0.1)
            memory = am.LinearMemory.zeros(task)
            return am.simulate(task, memory, dynamics, observe={}, resume=previous, resumable=True)

        return am.in_segments(run, 1, 1, path=path)

    segments(am.cross_entropy)
    with pytest.raises(am.CheckpointError, match="of a run of another loss"):
        segments(am.losses.squared)


def test_what_needs_cross_entropy_refuses_in_one_line():
    task = am.two_tokens(0.5, 0.7, am.losses.squared)
    memory, margins = am.LinearMemory.zeros(task), am.MarginSystem.zeros(am.two_tokens(0.5, 0.7))
    for call in (
        lambda: am.MarginSystem.zeros(task),
        lambda: am.MarginSystem.from_memory(task, memory),
        lambda: am.loss(task, margins),
        lambda: am.sharpness(task, margins),
        lambda: am.simulate(task, margins, am.GradientFlow(1.0)),
        lambda: am.memory.probabilities(task, memory),
        lambda: am.theory.first_step.weight(1.0, task),
        lambda: am.theory.two_particles.parameters(task),
        lambda: am.theory.orthogonal.binary_rates(task),
    ):
        with pytest.raises(ValueError, match=r"^loss must be cross-entropy for .*, got squared") as refusal:
            call()
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("squared", "got 'squared'; such as am.losses.squared"),
        (None, "got None"),
        (am.losses.LabelSmoothed, "got the class LabelSmoothed"),
        (lambda s, t: s - t, r"one whose result is ShapeDtypeStruct\(shape=\(2,\)"),
        (lambda s, t: jnp.argmax(s), "dtype=int64"),
    ],
)
def test_what_is_no_loss_is_refused(loss, words):
    with pytest.raises(
        ValueError, match=rf"^loss must be a function \(scores, target\) -> number, {words}|{words}"
    ):
        am.two_tokens(0.5, 0.7, loss)
    with pytest.raises(ValueError, match="strength must be between 0 and 1"):
        am.losses.LabelSmoothed(1.5)


def test_no_task_is_used_by_halves():
    """A subclass with a loss (or any other method) of its own is refused where it is defined."""

    def plainly(base, name):
        return type("Mine", (base,), {name: lambda self, *_: 0.0})

    class Mixin:
        def sampled_loss(self, model, batch):
            return 0.0

    for make, what in (
        (lambda: plainly(am.AssociationTask, "loss"), "loss must be that of AssociationTask"),
        (lambda: plainly(am.AssociationTask, "error"), "error must be that of AssociationTask"),
        (
            lambda: type("Mine", (Mixin, am.AssociationTask), {}),
            "sampled_loss must be that of AssociationTask",
        ),
        (
            lambda: type("Mine", (am.AssociationTask,), {"__annotations__": {"loss": object}}),
            "loss must be that of AssociationTask",
        ),
        (lambda: plainly(am.BigramTask, "sampled_loss"), "sampled_loss must be that of BigramTask"),
        (lambda: plainly(am.CooccurrenceTask, "loss"), "loss must be that of CooccurrenceTask"),
    ):
        with pytest.raises(ValueError, match=f"^Mine.{what}") as refusal:
            make()
        assert "\n" not in str(refusal.value)
    # New methods, and hierarchies of one's own, are nobody's business.
    Mine = type("Mine", (am.AssociationTask,), {"entropy": lambda self: 0.0})
    assert Mine(np.ones(1), np.array([0]), np.eye(1), np.eye(2)).entropy() == 0
    Own = plainly(am.AbstractTask, "loss")
    plainly(Own, "loss")
