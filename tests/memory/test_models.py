"""The matrix and its particle and margin systems move together, under every dynamics (GD Theorem 1)."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am
import helpers
from assocmem_jax.models.base import Lanes
from assocmem_jax.observe.gradient import population_gradient, trainable_mask

WATCH = {"particles": am.memory.particles, "loss": am.loss}

DYNAMICS = {
    "flow": am.GradientFlow(50.0, rtol=1e-13, atol=1e-14),  # each adapts its own steps
    "descent": am.Descent(optax.sgd, 60, learning_rate=3.0),
    "momentum": am.Descent(optax.sgd(0.3, momentum=0.9, nesterov=True), 60),
    "decay": am.Descent(optax.chain(optax.add_decayed_weights(0.01), optax.sgd(1.0)), 60),
    "schedule": am.Descent(optax.sgd(optax.cosine_decay_schedule(2.0, 60)), 60),
    "sgd": am.Descent(optax.sgd(0.5), 60, 4),
    "stochastic flow": am.StochasticFlow(0.3, 5.0, 60),
    "stochastic flow, second order": am.StochasticFlow(
        lambda t: 0.3 / (1 + t), 5.0, 60, solver=diffrax.ShARK()
    ),
}
# In `make test`; the others compile as long again.
FAST = ("descent", "sgd")


@pytest.mark.parametrize(
    ("name", "soft"),
    [pytest.param(name, False, marks=() if name in FAST else pytest.mark.thorough) for name in DYNAMICS]
    + [pytest.param("flow", True, marks=pytest.mark.thorough), ("descent", True), ("sgd", True)],
)
def test_matrix_is_particles(name, soft):
    """Random non-orthogonal E, U, random W₀: scores agree to 1e-10 of the largest."""
    p, targets, inputs, outputs, weight = helpers.random_problem(20, n=5, m=4, d=3, k=6, soft=soft)
    task = am.AssociationTask(p, targets, inputs, outputs)
    memory = am.LinearMemory(weight)
    runs = [
        am.simulate(task, model, DYNAMICS[name], observe=WATCH, key=jr.key(4))
        for model in (memory, am.ParticleSystem.from_memory(task, memory))
    ]
    expected = np.asarray(runs[0].observed["particles"])
    assert np.abs(expected[-1] - expected[0]).max() > 0.1  # it moved
    found = np.asarray(runs[1].observed["particles"])
    assert np.abs(found - expected).max() <= 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("flow", marks=pytest.mark.thorough),
        "descent",
        "sgd",
        pytest.param("momentum", marks=pytest.mark.thorough),
        pytest.param("stochastic flow", marks=pytest.mark.thorough),
    ],
)
def test_matrix_is_margins(name):
    """Two classes, random f*: N margins stand for W."""
    p, targets, inputs, outputs, weight = helpers.random_problem(21, n=5, m=2, d=3, k=4)
    assert 0 < targets.sum() < 5
    task = am.AssociationTask(p, targets, inputs, outputs)
    memory = am.LinearMemory(weight)
    watch = {"margins": am.margins, "loss": am.loss, "sharpness": am.sharpness}
    a, b = (
        am.simulate(task, model, DYNAMICS[name], observe=watch, key=jr.key(4))
        for model in (memory, am.MarginSystem.from_memory(task, memory))
    )
    for key in watch:
        expected = np.asarray(a.observed[key])
        assert np.abs(b.observed[key] - expected).max() <= 1e-10 * np.abs(expected).max()


SLOPES = {
    "labels": {},
    "soft": {"soft": True},
    "nine classes": {"m": 9},
    "smoothed": {"m": 3, "loss": am.losses.LabelSmoothed(0.2)},
}


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_in_closed_form(name):
    """What a model says of its slope against differences of the loss: h² and ε/h are below 1e-9."""
    options = {"m": 2, "loss": am.losses.cross_entropy} | SLOPES[name]
    loss = options.pop("loss")
    p, targets, inputs, outputs, weight = helpers.random_problem(21, n=4, d=3, k=3, **options)
    task = am.AssociationTask(p, targets, inputs, outputs, loss=loss)
    two = [am.MarginSystem] if name in ("labels", "soft") else []
    for kind in (am.ParticleSystem, *two):
        model = kind.from_memory(task, am.LinearMemory(weight))
        start = model.trainable()[0]
        moved = lambda x: eqx.tree_at(lambda m: m.trainable()[0], model, x)  # noqa: E731, B023
        losses = jax.jit(jax.vmap(lambda x: task.loss(moved(x))))  # noqa: B023
        h = 1e-5 * np.eye(start.size).reshape(start.size, *start.shape)
        wanted = (losses(start + h) - losses(start - h)).reshape(start.shape) / 2e-5
        np.testing.assert_allclose(model.slope(task).trainable()[0], wanted, atol=1e-9)


def test_slopes_of_what_is_trained():
    """α is no coordinate that the closed form knows: the loss does not depend on it, its slope is 0."""
    task = am.two_tokens(0.5, 0.75)
    model = am.ParticleSystem.zeros(task)
    part, rest = eqx.partition(model, trainable_mask(model, lambda m: m.alpha))
    _, found = population_gradient(task, lambda part: eqx.combine(part, rest), part)
    np.testing.assert_array_equal(found.alpha, 0)


class Told(am.AbstractWeights):
    """Says of its slope what is not so."""

    weight: jax.Array

    def trainable(self):
        return (self.weight,)

    def scores(self, task, tokens=None):
        return task.inputs @ self.weight.T @ task.outputs.T

    def slope(self, task):
        return Told(7 * self.weight)


def test_a_slope_in_closed_form_is_the_one_that_is_used():
    """Whatever it says, where all of the model is trained; so does a step of descent."""
    task, model = am.two_tokens(0.5, 0.75), Told(jnp.eye(2))
    part, rest = eqx.partition(model, trainable_mask(model))
    loss, found = population_gradient(task, lambda part: eqx.combine(part, rest), part)
    np.testing.assert_array_equal(found.weight, 7 * np.eye(2))
    assert float(loss) == pytest.approx(float(task.loss(model)), rel=1e-15)
    run = am.simulate(task, model, am.Descent(optax.sgd(0.5), 1))
    np.testing.assert_array_equal(run.model.weight, (1 - 3.5) * np.eye(2))


class Falling(am.AbstractWeights):
    """Says of its flow, for lanes, that it is dW/dt = −W."""

    weight: jax.Array

    def trainable(self):
        return (self.weight,)

    def scores(self, task, tokens=None):
        return task.inputs @ self.weight.T @ task.outputs.T

    def lanes(self, task):
        return Lanes(self.weight.reshape(-1), (), lambda y, _: y, lambda y, _: Falling(y.reshape(2, 2)))


def test_a_flow_for_lanes_is_the_one_that_is_used():
    """Alone and of many, whatever it says: e^{−1} to the tolerance; not where leaves have own rates."""
    task, flow = am.two_tokens(0.5, 0.75), am.GradientFlow(1.0, rtol=1e-9)
    run = lambda scale: am.simulate(task, Falling(scale * jnp.eye(2)), flow).model.weight  # noqa: E731
    np.testing.assert_allclose(jax.jit(run)(1.0), np.eye(2) / np.e, rtol=1e-8)
    both = jax.jit(jax.vmap(run))(jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(both, [np.eye(2) / np.e, 3 * np.eye(2) / np.e], rtol=1e-8)
    slow = am.GradientFlow(1.0, rtol=1e-9, relative_rates=((lambda m: m.weight, 0.0),))
    np.testing.assert_array_equal(am.simulate(task, Falling(jnp.eye(2)), slow).model.weight, np.eye(2))


def test_particle_step_is_equation_12():
    """One step, summed term by term as GD prints it, signs of β included."""
    p, targets, inputs, outputs, weight = helpers.random_problem(22, n=3, m=4, d=2, k=3)
    task = am.AssociationTask(p, targets, inputs, outputs)
    start = am.ParticleSystem.from_memory(task, am.LinearMemory(weight))
    eta = 0.7
    w = inputs @ weight.T @ outputs.T
    expected = w.copy()
    for i in range(3):
        for j in range(4):
            for x in range(3):
                alpha = inputs[i] @ inputs[x]
                partition = np.exp(w[x]).sum()
                for z in range(4):
                    beta = outputs[j] @ (outputs[targets[x]] - outputs[z])
                    expected[i, j] += eta * p[x] * alpha * beta * np.exp(w[x, z]) / partition
    run = am.simulate(task, start, am.Descent(optax.sgd(eta), 1), observe=WATCH)
    np.testing.assert_allclose(run.observed["particles"][1], expected, rtol=1e-13)


@pytest.mark.thorough
def test_scores_refuse_optimizers_that_act_on_entries():
    task = am.two_tokens(0.5, 0.75)
    particles = am.ParticleSystem.zeros(task)
    for optimizer in (optax.adam(0.1), optax.sign_sgd(0.1), optax.chain(optax.clip(0.01), optax.sgd(1.0))):
        with pytest.raises(ValueError, match=r"linear in the gradients.*use LinearMemory"):
            am.simulate(task, particles, am.Descent(optimizer, 3))
    # Under jit a check of equinox raises, where the suite otherwise has NaN (tests/conftest.py).
    helpers.run_python("""
import os; os.environ["EQX_ON_ERROR"] = "raise"
import jax; jax.config.update("jax_enable_x64", True)
import optax, pytest, assocmem_jax as am
task = am.two_tokens(0.5, 0.75)
particles = am.ParticleSystem.zeros(task)
run = jax.jit(
    lambda rate: am.simulate(
        task, particles, am.Descent(optax.adam, 3, learning_rate=rate)
    ).model.values
)
with pytest.raises(Exception, match="linear in the gradients"):
    jax.block_until_ready(run(0.1))
""")


def test_minimum_norm_weight_from_margins():
    p, targets, inputs, outputs, weight = helpers.random_problem(23, n=3, m=4, d=5, k=6)
    task = am.AssociationTask(p, targets, inputs, outputs)
    wanted = am.memory.pairwise_margins(task, am.LinearMemory(weight))
    built = am.LinearMemory.from_margins(task, wanted)
    np.testing.assert_allclose(am.memory.pairwise_margins(task, built), wanted, rtol=1e-11, atol=1e-12)
    # The part of the random W that margins do not see is gone: the norm is least.
    assert jnp.linalg.norm(built.weight) < np.linalg.norm(weight)
    centred = outputs - outputs.mean(axis=0)
    projection = np.linalg.pinv(centred) @ centred @ weight @ np.linalg.pinv(inputs) @ inputs
    np.testing.assert_allclose(built.weight, projection, rtol=1e-10, atol=1e-12)
    pair = am.two_tokens(0.3, 0.6)
    built = am.LinearMemory.from_margins(pair, jnp.array([3.0, -1.0]))
    np.testing.assert_allclose(am.margins(pair, built), [3.0, -1.0], rtol=1e-13)
    with pytest.raises(ValueError, match="attainable with these embeddings"):
        am.LinearMemory.from_margins(am.two_tokens(1.0, 0.6), jnp.array([3.0, -1.0]))


def test_plane_and_gammas():
    task = am.two_tokens(0.4, 0.7)
    memory = am.LinearMemory.from_plane(task, jnp.array([1.5, -2.0]))
    np.testing.assert_allclose(am.memory.plane(task, memory), [1.5, -2.0], rtol=1e-14)
    e1, e2 = np.asarray(task.inputs)
    difference = np.array([1.0, -1.0])
    expected = [0.5 * difference @ np.asarray(memory.weight) @ f for f in (e1 + e2, e1 - e2)]
    np.testing.assert_allclose(am.memory.gammas(task, memory), expected, rtol=1e-13)
