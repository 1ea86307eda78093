"""Every optimizer that optax exports, against an update loop written by hand; their clocks; their roots."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import assocmem_jax as am
import helpers
from assocmem_jax.numerics.edges import rooted

PROBLEM = helpers.random_problem(3)
TASK = am.AssociationTask(*PROBLEM[:4])
START = am.LinearMemory(PROBLEM[4])
START_AT_0 = am.LinearMemory(np.zeros((2, 4)))
STEPS, RATE = 8, 0.1
OF_A_RATE = [
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "adan",
    "amsgrad",
    "fromage",
    "lamb",
    "lars",
    "lion",
    "nadam",
    "nadamw",
    "noisy_sgd",
    "novograd",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
    "sign_sgd",
    "signum",
    "sm3",
    "yogi",
]
OF_CONTRIB = [
    "acprop",
    "ademamix",
    "adopt",
    "cocob",
    "dadapt_adamw",
    "madgrad",
    "momo",
    "momo_adam",
    "muon",
    "prodigy",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "simplified_ademamix",
]
OTHERS = {
    "clip that bites": optax.chain(optax.clip_by_global_norm(0.05), optax.sgd(RATE)),
    "line search": optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(10)),
    "lbfgs": optax.lbfgs(),
    "polyak": optax.polyak_sgd(),
    "every other": optax.MultiSteps(optax.adam(RATE), 2),
    "hyper-parameters": optax.inject_hyperparams(optax.adam)(RATE),
    "plateau": optax.chain(optax.sgd(RATE), contrib.reduce_on_plateau(patience=1, cooldown=1)),
    "sam": contrib.sam(optax.sgd(RATE), optax.sgd(0.05)),
    "opaque sam": contrib.sam(optax.sgd(RATE), optax.sgd(0.05), opaque_mode=True, reset_state=False),
    "if finite": optax.apply_if_finite(optax.adam(RATE), 3),
    "no rate": optax.scale_by_adam(),
}
MADE = {name: getattr(optax, name)(RATE) for name in OF_A_RATE if name != "noisy_sgd"}
MADE["noisy_sgd"] = optax.noisy_sgd(RATE, key=1)
MADE |= {name: getattr(contrib, name)(RATE) for name in OF_CONTRIB} | OTHERS


def by_hand(optimizer, steps=STEPS):
    """W after each update: gradients by NumPy, updates as optax's documentation has them."""
    p, targets, inputs, outputs, weight = PROBLEM

    def value(tree):
        scores = inputs @ tree.weight.T @ outputs.T
        return jnp.dot(p, jax.nn.logsumexp(scores, axis=1) - scores[jnp.arange(len(p)), targets])

    if isinstance(optimizer, optax.MultiSteps):
        optimizer = optimizer.gradient_transformation()
    optimizer = optax.with_extra_args_support(optimizer)
    tree = am.LinearMemory(weight)
    state, found = optimizer.init(tree), []

    @jax.jit
    def step(gradient, state, tree):
        extra = {"value": value(tree), "grad": gradient, "value_fn": value}
        if optimizer.update.__name__ in ("opaque_update_fn", "transparent_update_fn", "update_fn"):
            import inspect

            asked = inspect.signature(optimizer.update).parameters
            if "grad_fn" in asked:
                extra = {"grad_fn": lambda moved, _: jax.grad(value)(moved)}
        updates, state = optimizer.update(gradient, state, tree, **extra)
        return optax.apply_updates(tree, updates), state

    for _ in range(steps):
        gradient = am.LinearMemory(helpers.gradient(np.asarray(tree.weight), p, targets, inputs, outputs))
        tree, state = step(gradient, state, tree)
        found.append(np.asarray(tree.weight))
    return np.stack(found)


@pytest.mark.soak
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in (*OTHERS, "adam", "sgd", "muon", "radam") else pytest.mark.thorough)
        for n in MADE
    ],
)
def test_every_optimizer_is_the_loop(name):
    run = am.simulate(TASK, START, am.Descent(MADE[name], STEPS), observe={"W": am.memory.weights})
    expected = by_hand(MADE[name])
    # Eight updates of gradients equal to some 1e-16; those that divide by small numbers amplify it.
    np.testing.assert_allclose(run.observed["W"][1:], expected, rtol=1e-9, atol=1e-10)
    if name not in ("fromage", "rprop") and name not in OF_CONTRIB and name not in OTHERS:
        np.testing.assert_allclose(run.times, RATE * np.arange(STEPS + 1), rtol=1e-6)
        assert run.clock == "learning rate × step"


def test_lookahead_says_what_to_pass():
    helpers.refused(
        lambda: am.Descent(optax.lookahead(optax.sgd(0.1), 5, 0.5), 3),
        "optimizer must be one that moves the parameters it is given, got optax.lookahead",
    )


RATES = jax.tree.map(lambda _: "one", START)
CLOCKS = {
    # what it is → (optimizer, options, end of the clock after 60 updates, unit)
    "sgd": (optax.sgd, {"learning_rate": 0.1}, 6.0),
    "momentum": (optax.sgd(0.1, momentum=0.9), {}, 6.0),
    "schedule": (
        optax.sgd(optax.linear_schedule(0.1, 0.0, 60)),
        {},
        0.1 * sum(1 - k / 60 for k in range(60)),
    ),
    "function": (
        optax.sgd,
        {"learning_rate": optax.linear_schedule(0.0, 0.2, 60)},
        0.2 * sum(k / 60 for k in range(60)),
    ),
    "from zero": (optax.adam, {"learning_rate": np.linspace(0.0, 0.2, 60)}, 6.0),
    "rates": (optax.adam, {"learning_rate": np.linspace(0.1, 0.2, 60)}, 9.0),
    "muon": (optax.contrib.muon(0.1), {}, 6.0),
    "clip by norm": (optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1)), {}, 6.0),
    "clip": (optax.chain(optax.clip(0.4), optax.sgd(0.1)), {}, 6.0),
    "masked": (optax.masked(optax.sgd(0.1), jax.tree.map(lambda _: True, START)), {}, 6.0),
    "labels that agree": (
        optax.multi_transform({"one": optax.sgd(0.1), "two": optax.set_to_zero()}, RATES),
        {},
        6.0,
    ),
    "labels that differ": (
        optax.multi_transform({"one": optax.sgd(0.1), "two": optax.sgd(0.3)}, RATES),
        {},
        None,
    ),
    "two factors": (optax.chain(optax.scale(0.5), optax.sgd(0.2)), {}, 6.0),
    "hyper-parameter": (optax.inject_hyperparams(optax.sgd)(0.1), {}, 6.0),
    "every fourth": (optax.MultiSteps(optax.sgd(0.4), 4), {}, 6.0),
    "none": (optax.scale_by_adam(), {}, None),
}


@pytest.mark.thorough
@pytest.mark.parametrize(("optimizer", "options", "end"), CLOCKS.values(), ids=CLOCKS)
def test_the_clock_is_the_sum_of_rates_or_counts_steps(optimizer, options, end):
    """To the rounding of a schedule, which optax computes in float32."""
    run = am.simulate(TASK, START, am.Descent(optimizer, 60, **options), observe={})
    assert float(run.times[-1]) == pytest.approx(60.0 if end is None else end, rel=1e-6)
    assert run.clock == ("steps" if end is None else "learning rate × step")
    assert run.to_xarray()["time"].attrs["units"] == run.clock


def test_the_clock_of_a_line_search_is_what_it_chose():
    optimizer = optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(10, max_learning_rate=3.0))
    watch = {"W": am.memory.weights, "g": am.memory.weight_gradient}
    run = am.simulate(TASK, START, am.Descent(optimizer, 10), observe=watch)
    moved, pulls = np.diff(run.observed["W"], axis=0), run.observed["g"][:-1]
    rates = -np.sum(moved * pulls, axis=(1, 2)) / np.sum(pulls**2, axis=(1, 2))
    assert rates.min() < rates.max()
    np.testing.assert_allclose(np.diff(run.times), rates, rtol=1e-9)


def test_a_float32_clock_goes_on_past_two_to_the_24(float32):
    steps = 2**24 + 50
    run = am.simulate(
        am.two_tokens(0.5, 0.7),
        am.LinearMemory(jnp.zeros((2, 2))),
        am.Descent(optax.sgd(1.0), steps),
        observe={},
        at=[steps],
    )
    assert float(run.times[-1]) == steps


@pytest.mark.thorough
def test_adam_has_a_derivative_where_a_gradient_is_zero():
    """Inputs of four dimensions, two of which are 0: entries of the gradient are exactly 0 all along."""
    p, u = np.array([0.7, 0.3]), jnp.eye(2)
    task = am.AssociationTask(p, [0, 1], np.eye(4)[:2], u)

    def end(rate, b1=0.9, b2=0.999, eps=1e-8):
        descent = am.Descent(optax.adam, 5, learning_rate=rate)
        return am.simulate(task, am.LinearMemory.zeros(task), descent).observed["loss"][-1]

    slope = jax.grad(end)(0.1)
    assert float(slope) == pytest.approx(-2.6179896, abs=1e-7)
    # Central differences at 1e-4: h² times a third derivative of order ten.
    assert float(slope) == pytest.approx(float(end(0.1 + 1e-4) - end(0.1 - 1e-4)) / 2e-4, abs=1e-6)


@pytest.mark.soak
@pytest.mark.parametrize(
    "rule",
    [
        optax.adam,
        optax.rmsprop,
        optax.adabelief,
        optax.amsgrad,
        optax.nadam,
        optax.lamb,
        optax.yogi,
        contrib.muon,
    ],
)
def test_no_rule_with_a_second_moment_has_a_derivative_that_is_not_a_number(rule):
    task = am.AssociationTask([0.7, 0.3], [0, 1], np.eye(4)[:2], np.eye(2))

    def end(rate):
        return am.simulate(task, START_AT_0, am.Descent(rule, 3, learning_rate=rate)).observed["loss"][-1]

    slope, h = float(jax.jit(jax.grad(end))(0.1)), 1e-5
    assert np.isfinite(slope)
    if rule is not optax.lamb:  # ‖W‖ = 0 at the start: its trust ratio jumps
        assert slope == pytest.approx(float(end(0.1 + h) - end(0.1 - h)) / (2 * h), rel=1e-4, abs=1e-6)


def test_roots_inside_branches_and_calls_are_replaced_and_values_are_the_same():
    @jax.jit
    def inner(x):
        return jnp.sqrt(x) * 2

    def function(x, flag):
        return jax.lax.cond(flag, lambda x: inner(x) + x**0.5, lambda x: x, x).sum()

    safe = rooted(function)
    x = jnp.array([0.0, 4.0])
    assert float(safe(x, True)) == float(function(x, True)) == 6.0
    np.testing.assert_allclose(jax.grad(safe)(x, True), [0.0, 3 / 4])
    assert not np.isfinite(jax.grad(function)(x, True)[0])
