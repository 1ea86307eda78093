"""Laws of data that change with the step, and layers at rates of their own."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am
import helpers

KEY = jr.key(0)
TASK = am.AssociationTask([0.5, 0.3, 0.2], [0, 1, 2], am.embeddings.sphere(KEY, 3, 2), np.eye(3))
EARLY, LATE = [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]


def law(task):
    return task.probabilities


def descended(task, model, steps, **options):
    batch = options.pop("batch_size", None)
    descent = am.Descent(optax.sgd, steps, batch, learning_rate=0.5, **options)
    return am.simulate(task, model, descent, key=KEY, throw=False)


def in_numpy(laws, rate):
    """Descent of W from zero, one law a step."""
    E, U, right = np.asarray(TASK.inputs, float), np.eye(3), np.eye(3)
    W = np.zeros((3, 2))
    for p in laws:
        scores = np.exp(E @ W.T @ U.T)
        wrong = right - scores / scores.sum(axis=1, keepdims=True)
        W = W + rate * U.T @ (wrong * p[:, None]).T @ E
    return W


@pytest.mark.parametrize("linear", [False, True])
def test_against_a_loop(linear):
    """Knots 2 and 6: as at 2 before, as at 6 after; held or on a line between."""
    path = []
    for t in range(9):
        share = np.clip((t - 2) / 4, 0, 1) if linear else float(t >= 6)
        path.append((1 - share) * np.array(EARLY) + share * np.array(LATE))
    changing = am.Curriculum(law, [2, 6], [EARLY, LATE], linear=linear)
    expected = in_numpy(path, 0.5)
    found = descended(TASK, am.LinearMemory.zeros(TASK), 9, curriculum=changing).model.weight
    # Nine steps of some forty roundings each.
    np.testing.assert_allclose(found, expected, atol=400 * float(jnp.finfo(found.dtype).eps))
    scores = descended(TASK, am.ParticleSystem.zeros(TASK), 9, curriculum=changing).model.scores(TASK)
    np.testing.assert_allclose(
        scores, np.asarray(TASK.inputs) @ expected.T, atol=400 * float(jnp.finfo(found.dtype).eps)
    )


BIGRAM = am.BigramTask([0.5, 0.3, 0.2], np.full((3, 3), 1 / 3), length=8, triggers=1, data=4)
CHAIN = np.array([[0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.5, 0.25, 0.25]])
CUES = am.RetrievalTask.binary(KEY, 3, 4)
FACTS = am.FactualTask(
    [[0, 2], [1, 3]], answers=2, noise=2, length=5, subjects_law=[0.5, 0.5], relations_law=[0.5, 0.5], key=KEY
)
SOFT = am.AssociationTask([0.5, 0.5], [[0.5, 0.5], [0.1, 0.9]], np.eye(2), np.eye(2))


def attends(task):
    return am.Transformer.initial(task.num_tokens, 8, KEY, 8, layers=1)


# name: (task, its model, leaf, what the leaf becomes, the task that has it, batch size)
CASES = {
    "p(x)": (TASK, am.LinearMemory.zeros, law, LATE, lambda v: eqx.tree_at(law, TASK, v), None),
    "p(x), drawn": (TASK, am.LinearMemory.zeros, law, LATE, lambda v: eqx.tree_at(law, TASK, v), 4),
    "p(y|x), drawn": (
        SOFT, am.LinearMemory.zeros, lambda t: t.targets, [[0.9, 0.1], [0.5, 0.5]],
        lambda v: am.AssociationTask([0.5, 0.5], v, np.eye(2), np.eye(2)), 4,
    ),
    "embeddings": (
        TASK, am.LinearMemory.zeros, lambda t: t.inputs, np.ones((3, 2)),
        lambda v: am.AssociationTask([0.5, 0.3, 0.2], [0, 1, 2], v, np.eye(3)), None,
    ),
    "facts, drawn": (
        FACTS, lambda task: am.LinearAttentionRecall.gaussian(task, KEY), lambda t: t.subjects_law, [0.9, 0.1],
        lambda v: am.FactualTask([[0, 2], [1, 3]], answers=2, noise=2, length=5, subjects_law=v,
                                 relations_law=[0.5, 0.5], key=KEY), 4,
    ),
    "a chain, drawn": (
        BIGRAM, None, lambda t: t.bigram, CHAIN,
        lambda v: am.BigramTask([0.5, 0.3, 0.2], v, length=8, triggers=1, data=4), 4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", helpers.few(CASES, 5))
def test_one_value_is_the_task_that_has_it(case):
    """Same batches, same bits but for rounding of the tables."""
    task, start, where, value, other, batch = CASES[case]
    value = jnp.asarray(value, task.dtype)
    model = attends(task) if start is None else start(task)
    held = descended(task, model, 5, batch_size=batch, curriculum=am.Curriculum(where, [0], value[None]))
    plain = descended(other(value), model, 5, batch_size=batch)
    unchanged = descended(task, model, 5, batch_size=batch)
    far = 0.0
    for one, two, three in zip(*(jax.tree.leaves(run.model) for run in (held, plain, unchanged))):
        np.testing.assert_allclose(one, two, atol=1e-5)
        far = max(far, float(jnp.max(jnp.abs(one - three))))
    assert far > 1e-3


def test_what_is_observed_is_the_law_to_be_learned():
    changing = am.Curriculum(law, [0], [LATE])
    run = am.simulate(
        TASK,
        am.LinearMemory.zeros(TASK),
        am.Descent(optax.sgd(0.5), 3, curriculum=changing),
        observe=[am.loss],
    )
    np.testing.assert_array_equal(run["loss"][-1], TASK.loss(run.model))


def test_goes_on_to_the_same_bits():
    changing = am.Curriculum(law, [0, 6], [EARLY, LATE], linear=True)
    descend = lambda steps: am.Descent(  # noqa: E731
        optax.sgd, steps, 4, learning_rate=0.5, curriculum=changing
    )
    start = am.LinearMemory.zeros(TASK)
    whole = am.simulate(TASK, start, descend(8), key=KEY)
    half = am.simulate(TASK, start, descend(3), key=KEY, resumable=True)
    rest = am.simulate(TASK, start, descend(5), key=KEY, resume=half)
    np.testing.assert_array_equal(rest.model.weight, whole.model.weight)


def test_swept_and_differentiated():
    """A sweep over the step of the change; derivatives of the last loss by the values, forward and reverse,
    against differences."""
    start = am.LinearMemory.zeros(TASK)

    def last(knot, values):
        changing = am.Curriculum(law, jnp.stack([0 * knot, knot]), values, linear=True)
        return descended(TASK, start, 6, curriculum=changing)["loss"][-1]

    values = jnp.asarray([EARLY, LATE])
    swept = am.sweep(lambda knot: last(knot, values), knot=[1, 3, 5], progress=False)
    alone = [last(jnp.asarray(knot), values) for knot in (1, 3, 5)]
    eps = float(jnp.finfo(values.dtype).eps)
    np.testing.assert_allclose(swept.value, alone, rtol=100 * eps)
    assert len({float(a) for a in alone}) == 3
    move = jnp.asarray([[0.1, 0.2, -0.3], [-0.2, 0.1, 0.1]])
    slope = jnp.vdot(jax.grad(last, 1)(jnp.asarray(4), values), move)
    forward = jax.jvp(lambda v: last(jnp.asarray(4), v), (values,), (move,))[1]
    step = eps ** (1 / 3)  # central differences: error step² + eps/step
    plus, minus = (last(jnp.asarray(4), values + s * step * move) for s in (1, -1))
    np.testing.assert_allclose(slope, forward, rtol=1e3 * eps)
    np.testing.assert_allclose(slope, (plus - minus) / (2 * step), atol=10 * step**2)


def taught(task=TASK, model=None, **options):
    changing = am.Curriculum(*(options.pop(name) for name in ("where", "knots", "values")))
    model = am.LinearMemory.zeros(task) if model is None else model
    return descended(task, model, 3, curriculum=changing, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: am.Curriculum(law, [3, 3], [EARLY, LATE]), "knots must be increasing, got [3, 3]"),
        (lambda: am.Curriculum(law, [-1], [LATE]), "knots must be between 0"),
        (lambda: am.Curriculum(law, [0.5], [LATE]), "knots must be a vector of steps"),
        (lambda: am.Curriculum(law, 3, [LATE]), "knots must be a vector of steps"),
        (lambda: am.Curriculum(law, [0, 1], [LATE]), "values must be one for each of the 2 knots"),
        (lambda: am.Curriculum(law, [0], [[np.nan, 1, 0]]), "values must be finite"),
        (lambda: taught(where=law, knots=[0], values=[[0.5, 0.3, 0.3]]), "each law in values must be summing"),
        (lambda: taught(where=law, knots=[0], values=[[1.5, -0.3, -0.2]]), "values must be non-negative"),
        (lambda: taught(where=law, knots=[0], values=[[0.5, 0.5]]), "values must be of shape (3,) at each knot"),
        (lambda: taught(where=lambda t: (t.inputs, law(t)), knots=[0], values=[LATE]), "values must be a tuple of 2"),
        (lambda: taught(where=lambda t: t.targets, knots=[0], values=[[0.0, 1, 2]]), "where must be of arrays of floats"),
        (
            lambda: taught(model=am.ParticleSystem.zeros(TASK), where=lambda t: t.inputs, knots=[0], values=np.ones((1, 3, 2))),
            "curriculum must be of weights, not of a ParticleSystem",
        ),
        (
            lambda: taught(BIGRAM, attends(BIGRAM), where=lambda t: t.bigram, knots=[0], values=CHAIN[None]),
            "where must be of leaves that the loss trained on is made of",
        ),
    ],
)  # fmt: skip
def test_refused(call, message):
    with pytest.raises(ValueError) as refusal:
        call()
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


# --- Relative rates -------------------------------------------------------------------------------

PAIR = am.memory.LowRankMemory(
    np.array([[1.0, -0.5, 0.2], [0.3, 0.4, -1.0]]), np.array([[0.6, 0.1], [-0.3, 0.8]])
)


def first(model):
    return model.input


@pytest.mark.parametrize("rate", [0.0, 0.1, 3.0])
def test_a_step_of_adam_times_the_rate(rate):
    """Of one leaf only; the other as without."""
    one, scaled = (
        am.simulate(TASK, PAIR, am.Descent(optax.adam(0.1), 1, relative_rates=given)).model
        for given in ((), ((first, rate),))
    )
    moved = np.asarray(one.input) - np.asarray(PAIR.input)
    tolerance = 4 * float(jnp.finfo(PAIR.input.dtype).eps)
    np.testing.assert_allclose(scaled.input, np.asarray(PAIR.input) + rate * moved, atol=tolerance)
    np.testing.assert_array_equal(scaled.output, one.output)
    assert np.abs(moved).min() > 0.01


@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.05, 1.0), (2.0, 0.25)])
def test_a_flow_conserves_what_its_rates_say(rates):
    """W₁W₁ᵀ/s₁ − W₂W₂ᵀ/s₂ stays: d(W₁W₁ᵀ) = −s₁(W₁G₁ᵀ + G₁W₁ᵀ)dt and W₁G₁ᵀ = W₂G₂ᵀ of scores U W₁ᵀW₂ e."""
    flow = am.GradientFlow(100.0, relative_rates=((lambda m: m.output, rates[0]), (first, rates[1])))
    run = am.simulate(TASK, PAIR, flow, observe={"a": lambda t, m: m.output, "b": lambda t, m: m.input})
    a, b = (np.asarray(run.observed[name]) for name in "ab")
    kept = a @ a.swapaxes(1, 2) / rates[0] - b @ b.swapaxes(1, 2) / rates[1]
    # An error of rtol in w is one of 2 rtol w in its square; some ten steps' worth of them.
    scale = float(max(np.square(w).sum(axis=(1, 2)).max() / rate for w, rate in zip((a, b), rates)))
    atol = 20 * flow.tolerances(PAIR.input.dtype)[0] * scale
    np.testing.assert_allclose(kept, np.broadcast_to(kept[0], kept.shape), rtol=0, atol=atol)
    assert min(np.abs(w[-1] - w[0]).max() for w in (a, b)) > 0.1


def test_small_steps_are_the_flow():
    given = ((first, 0.2),)
    flow = am.simulate(TASK, PAIR, am.GradientFlow(2.0, relative_rates=given)).model
    apart = []
    for steps in (100, 200):
        descent = am.Descent(optax.sgd(2 / steps), steps, relative_rates=given)
        model = am.simulate(TASK, PAIR, descent).model
        apart.append(max(float(jnp.max(jnp.abs(x - y))) for x, y in zip(model.trainable(), flow.trainable())))
    assert 1.8 < apart[0] / apart[1] < 2.2  # Euler: first order
    assert apart[1] < 0.02


def test_rates_are_data():
    """Differentiated: d(loss)/d(rate) against differences."""
    last = lambda rate: am.simulate(  # noqa: E731
        TASK, PAIR, am.Descent(optax.sgd(0.3), 5, relative_rates=((first, rate),)), throw=False
    )["loss"][-1]
    eps = float(jnp.finfo(PAIR.input.dtype).eps)
    step = eps ** (1 / 3)
    rate = jnp.asarray(0.7)
    slope = (last(rate + step) - last(rate - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(last)(rate), slope, atol=10 * step**2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: am.GradientFlow(1.0, relative_rates=((first, -1),)), "relative_rates[0] must be between 0 and inf"),
        (lambda: am.GradientFlow(1.0, relative_rates=((first, np.inf),)), "relative_rates[0] must be finite"),
        (
            lambda: am.simulate(TASK, am.ParticleSystem.zeros(TASK), am.GradientFlow(1.0, relative_rates=((lambda m: m.scores_, 2),))),
            "relative_rates must be left out for a system of scores",
        ),
        (
            lambda: am.simulate(TASK, PAIR, am.Descent(optax.sgd(1.0), 3, relative_rates=((first, 2),)), trainable=lambda m: m.output),
            "relative_rates[0] must be of leaves that are trained",
        ),
        (
            lambda: am.simulate(TASK, PAIR, am.Descent(optax.sgd(1.0), 3, thaw=((first, 2),)), trainable=lambda m: m.output),
            "thaw[0] must be of leaves that are trained",
        ),
    ],
)  # fmt: skip
def test_refused_rates(call, message):
    with pytest.raises(ValueError) as refusal:
        call()
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
