"""Malformed calls: each refused in one line that names the argument, what is required and what was given."""

import importlib.util
import inspect
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import assocmem_jax as am
import helpers

EYE = jnp.eye(2)
HALF = jnp.array([0.5, 0.5])
IDENTITY = jnp.arange(2)
TASK = am.two_tokens(0.5, 0.75)
ZERO = am.LinearMemory.zeros(TASK)
THREE = am.AssociationTask(am.laws.uniform(3), jnp.arange(3), jnp.eye(3), jnp.eye(3))
SGD = optax.sgd(1.0)
KEY = jax.random.key(0)
DOUBLE = lambda a, b: 2 * a  # noqa: E731


def task(p=HALF, y=IDENTITY, e=EYE, u=EYE):
    return lambda: am.AssociationTask(p, y, e, u)


def wide(n):
    return am.AssociationTask(am.laws.uniform(n), np.zeros(n, int), np.ones((n, 1)), EYE)


def run(dynamics=None, model=ZERO, **options):
    return lambda: am.simulate(TASK, model, am.Descent(SGD, 3) if dynamics is None else dynamics, **options)


# What a condition may not say, and what it must.
ONE = "a function that returns one number, or a truth value, got"
SAID = [
    (lambda task, model: None, f"{ONE} None"),
    (lambda task, model: "x", f"{ONE} 'x'"),
    (lambda task, model: am.margins(task, model) > 0, f"{ONE} an array of shape (2,)"),
    (am.margins, f"{ONE} an array of shape (2,)"),
    (lambda task, model: [1.0], f"{ONE} an array of shape (1,)"),
    (
        lambda task, model: 1j * am.loss(task, model),
        "real, got complex numbers (complex128); pass their real part",
    ),
]
PICKED = [
    lambda m: None,
    lambda m: 2 * m.weight,
    lambda m: 3,
    lambda m: (m.weight, None),
    lambda m: jnp.ones(2),
]
PICKS = [
    *(("trainable", "trainable", where) for where in PICKED),
    *(("dynamics", "thaw[0]", am.Descent(SGD, 3, thaw=((where, 1),))) for where in PICKED),
    *(
        ("dynamics", "relative_rates[0]", am.GradientFlow(1.0, relative_rates=((where, 1.0),)))
        for where in PICKED
    ),
]
LANES = jax.vmap(
    lambda rate: am.simulate(TASK, ZERO, am.Descent(optax.sgd, 3, learning_rate=rate), resumable=True)
)(HALF)
KNOWN = [
    ("at", lambda at: am.simulate(TASK, ZERO, am.Descent(SGD, 3), at=at).times),
    ("at", lambda at: am.simulate(TASK, ZERO, am.StochasticFlow(0.1, 1.0, 3), at=at, key=KEY).times),
    ("unigram", lambda law: am.BigramTask(law, EYE, length=5, triggers=1, data=3).unigram),
    ("triggers", lambda law: am.BigramTask(HALF, EYE, length=5, triggers=law, data=3).unigram),
    (
        "outputs",
        lambda law: am.BigramTask(HALF, EYE, length=5, triggers=1, data=3, outputs=law[None] * EYE).unigram,
    ),
    (
        "output_tokens",
        lambda law: am.BigramTask(HALF, EYE, length=5, triggers=1, data=3, output_tokens=law).unigram,
    ),
    ("counts", lambda counts: am.CooccurrenceTask.training(KEY, counts, 4, 9).tokens),
    ("seeds", lambda seeds: am.sweep(DOUBLE, a=[1.0], seeds=seeds).status),
    ("x", lambda x: am.power_law(x, x)),
    ("y", lambda y: am.power_law([1.0, 2.0], y)),
    ("error", lambda error: am.power_law([1.0, 2.0, 4.0], [1.0, 2.0, 4.0], error)),
    ("a leaf of tree", lambda leaf: am.save("never", leaf)),
]

CALLS = [
    (task(p=jnp.array([0.5, jnp.nan])), "probabilities must be finite, got nan at index [1]"),
    (task(p=jnp.array([0.5, 0.6])), "probabilities must be summing to one, got 1.1; divide by the sum: am.laws.normalized"),
    (task(p=jnp.array([1.5, -0.5])), "probabilities must be non-negative, got -0.5"),
    (task(p=jnp.eye(2)), "probabilities must be a vector p(x), one entry a token, got an array of shape (2, 2)"),
    (task(p=am.laws.uniform(3)), "inputs must be of 3 rows, one for each probability, got 2 rows"),
    (task(y=jnp.array([0, 2])), "targets must be labels from 0 to 1, got 2 at token 1"),
    (task(y=jnp.array([-1, 0])), "targets must be labels from 0 to 1, got -1 at token 0"),
    (task(y=jnp.array([0.0, 1.0])), "targets must be whole numbers (or a matrix p(y|x)), got float64"),
    (task(y=jnp.arange(3)), "targets must be of shape (2,), or (2, 2) for p(y|x), got shape (3,)"),
    (task(y=jnp.full((2, 2), 0.4)), "each row of targets must be summing to one, got 0.8; divide by the sum: am.laws.normalized"),
    (task(y=jnp.ones((2, 3)) / 3), "targets must be p(y|x) of shape (2, 2), got shape (2, 3)"),
    (task(e=EYE.at[0, 1].set(jnp.inf)), "inputs must be finite, got inf at index [0, 1]"),
    (task(e=jnp.ones(2)), "inputs must be a matrix, one row a token, got an array of shape (2,)"),
    (task(u=jnp.ones((1, 2)), y=jnp.zeros(2, int)), "outputs must be of at least two rows (classes), got 1"),
    (task(e=jnp.ones((2, 0))), "inputs and outputs must be of at least one row and one dimension, got shapes (2, 0) and (2, 2)"),
    (lambda: am.two_tokens(1.5, 0.5), "alpha must be between -1 and 1, got 1.5; alpha is the cosine of the two inputs"),
    (lambda: am.two_tokens(0.5, 1.5), "p1 must be between 0 and 1, got 1.5"),
    (lambda: am.two_tokens(float("nan"), 0.5), "alpha must be between -1 and 1, got nan; alpha is the cosine of the two inputs"),
    (lambda: am.laws.zipf(0), "n must be at least 1, got 0"),
    (lambda: am.embeddings.one_hot(3, 2), "d must be at least n = 3, got 2; fewer dimensions than tokens cannot be orthonormal"),
    (lambda: am.embeddings.sphere(KEY, 3, 0), "d must be at least 1, got 0"),
    (lambda: am.embeddings.equicorrelated(3, -0.6), "alpha must be between -0.5 and 1, got -0.6; n = 3 unit vectors admit no other common cosine"),
    (lambda: am.embeddings.from_gram(jnp.array([[1.0, 2.0], [2.0, 1.0]])), "gram must be positive semi-definite, got eigenvalue -1; no vectors have these inner products"),
    (lambda: am.embeddings.from_gram(jnp.array([[1.0, 0.5], [0.0, 1.0]])), "gram must be symmetric, got |G − Gᵀ| up to 0.5"),
    (lambda: am.embeddings.from_gram(jnp.eye(3), 2), "d must be at least the rank 3 of the Gram matrix, got 2"),
    (lambda: am.LinearMemory(jnp.zeros(3)), "weight must be a matrix of shape (k, d): logits are u_yᵀ W e_x, got an array of shape (3,)"),
    (lambda: am.LinearMemory(jnp.array([[jnp.nan]])), "weight must be finite, got nan at index [0, 0]"),
    (lambda: am.LinearMemory.gaussian(TASK, KEY, -1.0), "scale must be positive and finite, got -1.0"),
    (lambda: am.LinearMemory.from_plane(THREE, jnp.zeros(3)), "task must be of two classes (GD (21)), got 3 classes"),
    (lambda: am.MarginSystem.from_margins(TASK, jnp.zeros(5)), "margins must be of shape (2,), got shape (5,)"),
    (lambda: am.LinearMemory.from_margins(TASK, jnp.zeros(5)), "margins must be m_i(x) of shape (2,) or (2, 2), got shape (5,)"),
    (lambda: am.NormalizedMemory(jnp.zeros((2, 2)), TASK), "weight must be such that W e_x ≠ 0 for every token, got W e_x = 0; layer norm has no value there: start from NormalizedMemory.gaussian"),
    (lambda: am.NormalizedMemory(jnp.array([[1.0, 0.0], [0.0, 0.0]]), am.AssociationTask(HALF, IDENTITY, EYE, EYE)), "weight must be such that W e_x ≠ 0 for every token, got W e_x = 0; layer norm has no value there: start from NormalizedMemory.gaussian"),
    (lambda: am.ParticleSystem.zeros(wide(50_000)), "task must be small enough for N² + N M + M² numbers in 4 GiB (α, w and β), got N = 50000, M = 2, 18.6 GiB; LinearMemory holds k d numbers, whatever N is"),
    (lambda: am.MarginSystem.zeros(THREE), "task must be of two classes, got 3 classes; use ParticleSystem"),
    (lambda: am.GradientFlow(0.0), "t1 must be positive and finite, got 0.0; the flow starts at t = 0"),
    (lambda: am.GradientFlow(-1.0), "t1 must be positive and finite, got -1.0; the flow starts at t = 0"),
    (lambda: am.GradientFlow(np.nan), "t1 must be positive and finite, got nan; the flow starts at t = 0"),
    (lambda: am.GradientFlow(1.0, rtol=-1e-3), "rtol must be positive and finite, got -0.001"),
    (lambda: am.GradientFlow(1.0, step=0.1, rtol=1e-3), "step must be None where rtol or atol is given, got 0.1; a fixed step has no tolerance"),
    (run(am.GradientFlow(1.0, rtol=1e-17)), "rtol must be at least 2.2e-15 in float64, got 1e-17; use float64: jax.config.update('jax_enable_x64', True)"),
    (run(am.GradientFlow(1.0), every=3), "every must be None for a flow, which has no steps, got 3; pass at=times"),
    (run(am.GradientFlow(1.0), at=jnp.array([2.0])), "at must be times from 0 to 1, got 2 to 2"),
    (run(am.GradientFlow(1.0), until=am.perfect_accuracy(3)), "until.hold must be 1 or None for a flow, got 3"),
    (lambda: am.Descent(SGD, -1), "steps must be at least 0, got -1"),
    (lambda: am.Descent(SGD, 1.5), "steps must be a whole number of at least 0, got 1.5"),
    (lambda: am.Descent(SGD, 2**31), "steps must be below 2³¹ (clocks are 32-bit integers), got 2147483648"),
    (lambda: am.Descent(SGD, 3, 0), "batch_size must be at least 1, got 0"),
    (lambda: am.Descent("adam", 3), "optimizer must be an optax transformation, or a function of learning_rate, got 'adam'; for example optax.sgd(0.1)"),
    (lambda: am.Descent(optax.sgd, 3), "learning_rate must be given when optimizer is a function of it, got None"),
    (lambda: am.Descent(optax.sgd, 3, learning_rate=-1.0), "learning_rate must be positive and finite, got -1.0"),
    (lambda: am.Descent(SGD, 3, learning_rate=1.0), "learning_rate must be None with a ready optimizer, got 1.0; pass Descent(optax.sgd, steps, learning_rate=…)"),
    (run(am.Descent(SGD, 3, 2)), "key must be given for a stochastic dynamics, got None; pass simulate(…, key=jax.random.key(0))"),
    (run(key=jax.random.PRNGKey(0)), "key must be a typed key, got Array([0, 0], dtype=uint32); jax.random.key(0)"),
    (run(every=0), "every must be at least 1, got 0"),
    (run(at=[7]), "at must be steps from 0 to 3, got 7 to 7"),
    (run(at=[0.5]), "at must be a vector of steps (whole numbers), got [0.5]"),
    (run(observe={"loss": 3}), "observe['loss'] must be a function (task, model) -> array, got 3"),
    (run(until="hit"), "until must be an Until, got 'hit'; for example am.perfect_accuracy()"),
    (run("sgd"), "dynamics must be a GradientFlow, Descent or StochasticFlow, got 'sgd'"),
    (run(model=am.ParticleSystem.zeros(THREE)), "model must be for scores of shape (2, 2), got scores of shape (3, 3); build it from this task"),
    (lambda: am.StochasticFlow(-1.0, 1.0, 3), "sigma must be between 0 and inf, got -1.0; it is a standard deviation"),
    (lambda: am.StochasticFlow(1.0, 1.0, 0), "steps must be at least 1, got 0"),
    (lambda: am.RetrievalTask.spherical(jax.random.key(0), 2, 3, noise=-0.5), "noise must be between 0 and 1.79769e+308, got -0.5"),
    (lambda: am.RetrievalTask.binary(jax.random.key(0), 2, 3, flips=-0.5), "flips must be between 0 and 1, got -0.5"),
    (lambda: am.RetrievalTask.binary(jax.random.key(0), 2, 3, flips=1.5), "flips must be between 0 and 1, got 1.5"),
    (lambda: am.perfect_accuracy(0), "hold must be at least 1, got 0; hold=None never stops"),
    (lambda: am.loss_below(0.0), "level must be positive and finite, got 0.0"),
    (lambda: am.memory.gammas(THREE, am.LinearMemory.zeros(THREE)), "task must be of two tokens and two classes (GD (18)), got 3 tokens, 3 classes; use am.memory.plane or am.margins"),
    (lambda: am.memory.weights(TASK, am.MarginSystem.zeros(TASK)), "model must be one that holds W, got MarginSystem; use LinearMemory"),
    (lambda: am.memory.max_margin(am.AssociationTask(HALF, jnp.full((2, 2), 0.5), EYE, EYE)), "task must be deterministic (f*), got soft labels; they have a finite minimiser"),
    (lambda: am.Descent(optax.sgd, 3, learning_rate=lambda step: -1.0), "learning_rate must be finite and at least 0, got -1.0 at step 0"),
    (lambda: am.Descent(optax.sgd, 9, learning_rate=lambda step: 1.0 - step / 4), "learning_rate must be finite and at least 0, got -0.25 at step 5"),
    (lambda: am.Descent(optax.sgd, 3, learning_rate=lambda step: jnp.ones(2)), "learning_rate must be a function of the step that returns one number, got one that returns ShapeDtypeStruct(shape=(2,), dtype=float64)"),
    (lambda: am.StochasticFlow(lambda t: jnp.ones(2), 1.0, 3), "sigma must be a function of time that returns one number, got one that returns ShapeDtypeStruct(shape=(2,), dtype=float64)"),
    (lambda: am.StochasticFlow(0.1, 1.0, 3, solver=diffrax.ItoMilstein()), "solver must be a diffrax solver of equations with additive noise, got ItoMilstein; for example diffrax.ShARK()"),
    (lambda: am.StochasticFlow(0.1, 1.0, 3, solver=diffrax.Kvaerno3()), "solver must be a diffrax solver of equations with additive noise, got Kvaerno3; for example diffrax.ShARK()"),
    (lambda: am.GradientFlow(1.0, solver=diffrax.ShARK()), "solver must be a diffrax solver of y' = f(y), got ShARK, which is of other equations; for example diffrax.Tsit5()"),
    (lambda: am.GradientFlow(1.0, solver=diffrax.SemiImplicitEuler()), "solver must be a diffrax solver of y' = f(y), got SemiImplicitEuler, which is of other equations; for example diffrax.Tsit5()"),
    (lambda: am.GradientFlow(1.0, solver=diffrax.Euler()), "step must be given with Euler, which has no error estimate, got None; step=0.01"),
    (lambda: am.GradientFlow(1.0, solver=diffrax.Kvaerno3(), step=0.1), "solver must be explicit with equal steps, or given its tolerances, got Kvaerno3; root_finder=diffrax.VeryChord(rtol=1e-6, atol=1e-6)"),
    (lambda: am.GradientFlow(1.0, adjoint="x"), "adjoint must be a diffrax adjoint of the steps that were made, got 'x'; diffrax.RecursiveCheckpointAdjoint(), DirectAdjoint() or ForwardMode()"),
    (lambda: am.GradientFlow(1.0, adjoint=diffrax.BacksolveAdjoint()), "adjoint must be a diffrax adjoint of the steps that were made, got BacksolveAdjoint(kwargs={}); diffrax.RecursiveCheckpointAdjoint(), DirectAdjoint() or ForwardMode()"),
    *((run(dynamics, until=am.Until(says, hold)), f"condition must be {wanted}") for hold in (1, None) for dynamics in (None, am.GradientFlow(1.0)) for says, wanted in SAID),
    *((run(**{door: picking}), f"{name} must be a function of the model that picks leaves of it as they are, got one that does not; such as lambda m: m.weight") for door, name, picking in PICKS),
    (run(trainable=lambda m: m.nothing), "trainable must be a function of the model that picks leaves of it as they are, got 'LinearMemory' object has no attribute 'nothing'; such as lambda m: m.weight"),
    (run(am.Descent(SGD, 3, curriculum=am.Curriculum(lambda task: 2 * task.probabilities, [0], [[0.5, 0.5]]))), "where must be of arrays of floats in the task, got Array([1.5, 0.5], dtype=float64); a whole number has no curriculum"),
    *((run(am.Descent(SGD, 3), resume=LANES, throw=throw), "resume must be of one run, got one of (2,) runs; jax.vmap over it") for throw in (True, False)),
    *((lambda call=call: jax.jit(call)(np.arange(2)), f"{name} must be known before anything is compiled, got a traced value") for name, call in KNOWN),
    (lambda: jax.jit(lambda t1: am.simulate(TASK, ZERO, am.GradientFlow(t1), at=[-0.5]).times)(1.0), "at must be times from 0 to inf, got -0.5 to -0.5"),
    # Sizes that would be allocated before anything could refuse them.
    (lambda: am.sweep(abs, a=[1.0], seeds=10**9), "seeds must be at most 16,777,216, got 1000000000; sweep over an axis of them"),
    (lambda: am.sweep(DOUBLE, chunk=1, a=np.arange(2.0**16), b=np.arange(2.0**14)), "chunk must be such that there are at most 1,048,576 tasks, got 1,073,741,824 of them; chunk=4096 or more"),
    (lambda: am.sampled(2**30, a=am.Uniform(0, 1)), "n must be at most 67,108,864 points of one axis, got 1073741824"),
    (lambda: am.threshold(lambda key, d: 0.1 * d, smallest=1, largest=9, seeds=2**30), "seeds must be at most 16,777,216 (their keys are 128 MiB), got 1073741824"),
    (lambda: am.sampled(4, seed=-1, a=am.Uniform(0, 1)), "seed must be a whole number of at least 0, got -1"),
    (lambda: am.edge_of_stability(-2.0), "learning_rate must be positive and finite, got -2.0"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "line"), CALLS, ids=range(len(CALLS)))
def test_malformed_calls(call, line):
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError) as caught:
            call()
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert str(caught.value) == line
    assert "\n" not in str(caught.value)


def test_nothing_known_is_refused_under_transformations():
    """Values are not known there; the run ends in a status instead."""
    status = jax.jit(
        lambda p: am.simulate(am.AssociationTask(p, IDENTITY, EYE, EYE), ZERO, am.Descent(SGD, 3)).status
    )
    assert status(jnp.array([0.5, jnp.nan])) == am.Status.NON_FINITE


def test_every_public_callable_is_called_wrongly():
    """With every argument: one that is new has a row in malformed.py, or a reason there why it has none."""
    spec = importlib.util.spec_from_file_location("malformed", Path(__file__).with_name("malformed.py"))
    malformed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(malformed)
    assert malformed.unlisted() == set()


@pytest.mark.thorough
def test_every_public_callable_refuses_what_it_is_not_given():
    """Without the type hook, as users are: 14,000 calls, each refused in one line or sound (malformed.py)."""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("malformed.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_solvers_and_schedules_that_are_taken():
    """What is refused above is no more than what diffrax cannot do."""
    for solver in (diffrax.ShARK(), diffrax.Heun(), diffrax.StratonovichMilstein()):
        am.StochasticFlow(0.1, 1.0, 3, solver=solver)
    root = diffrax.VeryChord(rtol=1e-6, atol=1e-6)
    am.GradientFlow(1.0, solver=diffrax.Kvaerno3(root_finder=root), step=0.1)
    for solver in (diffrax.Tsit5(), diffrax.Kvaerno5(), diffrax.HalfSolver(diffrax.Euler())):
        am.GradientFlow(1.0, solver=solver)
    am.GradientFlow(1.0, solver=diffrax.Euler(), step=0.1, adjoint=diffrax.DirectAdjoint())
    am.Descent(optax.sgd, 3, learning_rate=lambda step: 1 - step / 2.0000001)
    jax.jit(lambda rate: am.Descent(optax.sgd, 3, learning_rate=lambda step: rate / (1 + step)).steps)(-1.0)


def makers():
    """(name, method) of every public class that makes its objects from a key."""
    seen, left = set(), [("am", am)]
    while left:
        where, owner = left.pop()
        for name, item in inspect.getmembers(owner):
            module = getattr(item, "__name__" if inspect.ismodule(item) else "__module__", None) or ""
            if name.startswith("_") or not module.startswith("assocmem_jax") or id(item) in seen:
                continue
            if inspect.ismodule(item) or inspect.isclass(item):
                seen.add(id(item))
                left.append((f"{where}.{name}", item))
            elif (
                inspect.isclass(owner)
                and inspect.ismethod(item)
                and "key" in inspect.signature(item).parameters
            ):
                yield pytest.param(item, id=f"{where}.{name}")


@pytest.mark.parametrize("method", list(makers()))
def test_what_makes_objects_asks_for_a_typed_key(method):
    """Before it asks for anything else."""
    helpers.refused(lambda: method(key=3), "key must be a typed key, got 3")


E, PI = np.eye(4), np.tile(np.arange(4), (2, 1))
DRAWN = {
    "bigram": lambda **key: am.BigramTask(
        np.ones(4) / 4, np.ones((4, 4)) / 4, length=5, triggers=1, data=3, **key
    ),
    "denoising": lambda **key: am.DenoisingTask(
        am.denoising.LinearManifold(4, 2, 1.0), 3, 0.5, draws=3, **key
    ),
    "noise": lambda **key: am.TriggerTask(E, E, np.ones(4), length=3, draws=3, **key),
    "hops": lambda **key: am.HopTask(PI, draws=3, **key),
    "facts": lambda **key: am.FactualTask(np.array([[0, 2], [1, 3]]), 2, length=4, noise=2, draws=3, **key),
}


@pytest.mark.parametrize("make", DRAWN.values(), ids=DRAWN)
def test_a_key_that_is_not_given_is_key_0(make):
    """What is drawn is the same, and another with another key."""
    leaves = [
        jax.tree.leaves(made) for made in (make(), make(key=jax.random.key(0)), make(key=jax.random.key(1)))
    ]
    alike = [
        all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(leaves[0], other)) for other in leaves[1:]
    ]
    assert alike == [True, False]
