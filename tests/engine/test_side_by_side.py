"""Descents side by side: under ``vmap`` small memories are rows, lanes last. Against themselves one
by one, where only the march is the same code, and against a loop in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import assocmem_jax as am
import helpers
from assocmem_jax.dynamics import stepping

N, D, STEPS = 5, 7, 40
KINDS = {am.MarginSystem: 2, am.ParticleSystem: 4, am.LinearMemory: 5}
# Of scores of up to 60: a step rounds them by an eps each, which 40 steps of a stable descent do not amplify;
# the two routes sum in another order.
CLOSE = 40 * 60 * float(jnp.finfo(jnp.float64).eps)


def task_of(kind, seed=0):
    rows = np.random.default_rng(seed).normal(size=(2, N, D))
    inputs, outputs = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return am.AssociationTask(am.laws.zipf(N), jnp.arange(N) % KINDS[kind], inputs, outputs[: KINDS[kind]])


def run(kind, rate, task=None, model=None, steps=STEPS, **how):
    task = task_of(kind) if task is None else task
    asked = {name: how.pop(name) for name in ("every", "observe", "at", "until", "resumable") if name in how}
    descent = am.Descent(optax.sgd, steps, learning_rate=rate, **how)
    model = kind.zeros(task) if model is None else model
    return am.simulate(task, model, descent, throw=False, **asked)


def same(many, one, lane, close=CLOSE):
    mine = jax.tree.map(lambda a: a[lane], many)
    assert jax.tree.structure(mine) == jax.tree.structure(one)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(one)):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, close, close)


@pytest.fixture
def rowed(monkeypatch):
    """How many tiles were run as rows."""
    seen = []
    tile = stepping._tile
    monkeypatch.setattr(stepping, "_tile", lambda *given: (seen.append(1), tile(*given))[1])
    jax.clear_caches()
    return seen


WAYS = [{}, {"momentum": 0.9}, {"momentum": 0.8, "nesterov": True}, {"compensated": True}]
# Each kind and each way once; the others with what is slow to compile.
PAIRED = [(am.LinearMemory, 0), (am.MarginSystem, 1), (am.ParticleSystem, 2), (am.LinearMemory, 3)]


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        pytest.param(kind, way, marks=[] if (kind, way) in PAIRED else pytest.mark.thorough)
        for kind in KINDS
        for way in range(len(WAYS))
    ],
)
def test_lanes_are_runs_by_themselves(kind, way, rowed):
    how = WAYS[way]
    rates = jnp.array([0.1, 3.0, 30.0])
    many = jax.vmap(functools.partial(run, kind, every=9, **how))(rates)
    assert rowed
    for lane in (0, 2):
        same(many, run(kind, rates[lane], every=9, **how), lane)


@pytest.mark.parametrize("kind", helpers.few(KINDS))
def test_what_differs_may_be_anything(kind, rowed):
    """Tasks, starts and momenta of their own, in more lanes than a tile holds; maps inside maps."""
    monkey = pytest.MonkeyPatch()
    monkey.setattr(stepping, "_TILE_BYTES", 1000)
    tasks = [task_of(kind, seed) for seed in range(3)]
    starts = [jax.tree.map(lambda a, seed=seed: a + 0.1 * seed * jnp.cos(jnp.arange(a.size).reshape(a.shape)),
                           kind.zeros(task)) for seed, task in enumerate(tasks)]  # fmt: skip
    stack = lambda trees: jax.tree.map(lambda *a: jnp.stack(a), *trees)  # noqa: E731
    momenta = jnp.linspace(0, 0.9, 12)
    inner = jax.vmap(lambda t, m, b: run(kind, 2.0, t, m, momentum=b, at=[3, 20]), (None, None, 0))
    many = jax.vmap(inner, (0, 0, None))(stack(tasks), stack(starts), momenta)
    assert rowed
    monkey.undo()
    for i, j in ((0, 0), (2, 11), (1, 1)):  # the last begins in the tile of the first
        alone = run(kind, 2.0, tasks[i], starts[i], momentum=momenta[j], at=[3, 20])
        same(many, alone, (i, j))


def test_against_a_loop(rowed):
    task = task_of(am.ParticleSystem)
    rates, p, y = np.array([0.5, 5.0]), np.asarray(task.probabilities), np.asarray(task.labels)
    found = jax.vmap(lambda rate: run(am.ParticleSystem, rate, observe=[], momentum=0.5).model.values)(rates)
    alpha, beta = (np.asarray(a) @ np.asarray(a).T for a in (task.inputs, task.outputs))
    for rate, values in zip(rates, found):
        w, moved = np.zeros((N, 4)), np.zeros((N, 4))
        for _ in range(STEPS):
            e = np.exp(w - w.max(1, keepdims=True))
            slope = p[:, None] * (e / e.sum(1, keepdims=True) - np.eye(4)[y])
            moved = alpha @ slope @ beta + 0.5 * moved
            w = w - rate * moved
        np.testing.assert_allclose(values, w, CLOSE, CLOSE)
    assert rowed


@pytest.mark.parametrize("compensated", [True, False])
def test_rounding_in_float32(compensated, rowed, float32):
    """At margin 8 an update of a tenth of a rounding of it is lost, 500 times, or kept by compensation."""
    task = task_of(am.MarginSystem)
    start = am.MarginSystem.from_margins(task, jnp.full(N, 8.0))
    ulp = float(jnp.finfo(jnp.float32).eps) * 8
    # ṁ₀ at the start, so that an update moves the first margin by a tenth of an ulp.
    pull = float(start.kernel[0] @ (task.probabilities * jax.nn.sigmoid(-start.margins)))
    rate = jnp.array([0.1 * ulp / pull])
    many = jax.vmap(lambda r: run(am.MarginSystem, r, task, start, 500, observe=[], compensated=compensated))(
        rate
    )
    assert rowed
    moved = float(many.model.margins[0, 0]) - 8.0
    # 50 ulps, of which 1 may be missing; what the pull loses on the way is a millionth.
    assert abs(moved - 50 * ulp) <= ulp if compensated else moved == 0


@pytest.mark.parametrize("kind", helpers.few(KINDS))
def test_a_lane_that_grows_beyond_all_ends_alone(kind, rowed):
    """In each lane its own status, and the last state that was sound; neighbours go on."""
    rates = jnp.array([1.0, 1e200])
    many = jax.vmap(lambda rate: run(kind, rate, every=10))(rates)
    assert rowed
    assert many.status.tolist() == [0, int(am.Status.DIVERGED)]
    assert many.num_steps[0] == STEPS > many.num_steps[1]
    assert all(bool(jnp.all(jnp.isfinite(a))) for a in jax.tree.leaves(many.model))


@pytest.mark.parametrize(
    "kind", [am.MarginSystem, *(pytest.param(k, marks=pytest.mark.thorough) for k in [*KINDS][1:])]
)
def test_derivatives_are_those_of_a_run_by_itself(kind):
    """In both modes, of first and second order, inside of a map and around it."""
    last = lambda rate: run(kind, rate, every=STEPS)["loss"][-1]  # noqa: E731
    rates = jnp.array([0.5, 3.0])
    apart = jnp.array([jax.grad(last)(rate) for rate in rates])
    h = 1e-5
    differences = jnp.array([(last(rate + h) - last(rate - h)) / (2 * h) for rate in rates])
    np.testing.assert_allclose(apart, differences, 1e-6)
    around = jax.grad(lambda rates: jnp.sum(jax.vmap(last)(rates)))(rates)
    for other in (jax.vmap(jax.grad(last))(rates), jax.vmap(jax.jacfwd(last))(rates), around):
        np.testing.assert_allclose(other, apart, 1e-9)
    twice = jax.vmap(jax.hessian(last))(rates)
    by_differences = [(jax.grad(last)(rate + h) - jax.grad(last)(rate - h)) / (2 * h) for rate in rates]
    np.testing.assert_allclose(twice, jnp.array(by_differences), 1e-5)


OTHERS = {
    "schedule": lambda rate: am.Descent(optax.sgd, STEPS, learning_rate=rate * jnp.ones(STEPS)),
    "adam": lambda rate: am.Descent(optax.adam, STEPS, learning_rate=rate),
    "signs": lambda rate: am.Descent(optax.sign_sgd, STEPS, learning_rate=rate),
    "batches": lambda rate: am.Descent(optax.sgd, STEPS, 2, learning_rate=rate),
    "thaw": lambda rate: am.Descent(optax.sgd, STEPS, learning_rate=rate, thaw=((lambda m: m.weight, 3),)),
    "relative": lambda rate: am.Descent(
        optax.sgd, STEPS, learning_rate=rate, relative_rates=((lambda m: m.weight, 3.0),)
    ),
}


def by_another(name):
    task = task_of(am.LinearMemory)
    start = am.LinearMemory.zeros(task)
    return lambda rate: am.simulate(task, start, OTHERS[name](rate), key=jax.random.key(0))


@pytest.mark.parametrize(
    "name", [*OTHERS][:1] + [pytest.param(n, marks=pytest.mark.thorough) for n in [*OTHERS][1:]]
)
def test_lanes_of_any_other_descent_are_runs_by_themselves(name):
    rates, go = jnp.array([0.1, 1.0]), by_another(name)
    same(jax.vmap(go)(rates), go(rates[1]), 1)


def test_what_is_no_plain_descent_is_not_made_in_rows(rowed):
    """Coordinates in orthonormal bases follow W under rates alone: not under signs, schedules, batches. Rows
    are made when a run is traced."""
    kind, rates = am.LinearMemory, jnp.array([0.1, 1.0])
    for name in OTHERS:
        jax.eval_shape(jax.vmap(by_another(name)), rates)
    for asked in ({"until": am.perfect_accuracy()}, {"resumable": True}):
        jax.eval_shape(jax.vmap(lambda rate, asked=asked: run(kind, rate, **asked)), rates)
    assert not rowed
    jax.eval_shape(jax.vmap(lambda rate: run(kind, rate)), rates)
    assert rowed


@pytest.mark.parametrize("kind", helpers.few(KINDS))
def test_float32_among_numbers_of_float64(kind, rowed):
    """Rates and momenta are used at the precision of the model, alone and side by side; so are Adam's."""
    task = jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, task_of(kind))
    rates, momenta = jnp.array([0.1, 1.0]), jnp.array([0.9, 0.5])
    assert rates.dtype == momenta.dtype == jnp.float64
    go = lambda rate, momentum: run(kind, rate, task, momentum=momentum)  # noqa: E731
    many = jax.vmap(go)(rates, momenta)
    assert rowed
    same(many, go(rates[1], momenta[1]), 1, 1e-5)  # 40 steps of float32, two orders of its sums
    assert many.model.trainable()[0].dtype == jnp.float32
    if kind is am.LinearMemory:
        adam = am.Descent(optax.adam, 3, learning_rate=rates[0], b1=momenta[0])
        assert am.simulate(task, kind.zeros(task), adam).model.weight.dtype == jnp.float32


def test_what_is_observed_may_read_what_no_argument_holds():
    def one(rate):
        return run(am.LinearMemory, rate, observe={"scaled": lambda task, model: rate * task.loss(model)})[
            "scaled"
        ]

    rates = jnp.array([0.1, 1.0])
    np.testing.assert_allclose(jax.vmap(one)(rates)[1], one(rates[1]), CLOSE)
