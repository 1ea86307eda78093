"""Functions made anew share a program exactly where they say the same."""

import functools
import types

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am
from assocmem_jax.dynamics import alike as room
from assocmem_jax.dynamics.alike import alike

SCALE = 1.0


def scaled_by(factor):
    return lambda task, model: factor * task.loss(model)


def scaled_in(box):
    return lambda task, model: box["factor"] * task.loss(model)


MADE = {
    "sgd": lambda: optax.sgd(0.1),
    "momentum": lambda: optax.sgd(0.1, momentum=0.9),
    "an array in it": lambda: optax.sgd(jnp.asarray(0.1)),
    "a table in it": lambda: optax.sgd(optax.piecewise_constant_schedule(0.1, {10: 0.5})),
    "another table": lambda: optax.sgd(optax.piecewise_constant_schedule(0.1, {10: 0.4})),
    "chain": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)),
    "steps gathered": lambda: optax.MultiSteps(optax.sgd(0.1), 4),
    "schedule": lambda: optax.cosine_decay_schedule(0.1, 100),
    "longer schedule": lambda: optax.cosine_decay_schedule(0.1, 101),
    "lambda": lambda: scaled_by(2.0),
    "another number": lambda: scaled_by(3.0),
    "whole number": lambda: scaled_by(2),
    "dictionary": lambda: scaled_in({"factor": 2.0}),
    "key": lambda: scaled_by(jr.key(2)),
    "another key": lambda: scaled_by(jr.key(3)),
}


@pytest.mark.parametrize("name", MADE)
def test_made_anew(name):
    first = alike(MADE[name]())
    assert first is alike(MADE[name]())
    assert not any(first is alike(MADE[other]()) for other in MADE if other != name)


def test_what_changed_is_another(monkeypatch):
    read = lambda: lambda task, model: SCALE * task.loss(model)  # noqa: E731
    first = alike(read())
    assert alike(read()) is first
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    assert alike(read()) is not first
    # A dictionary that the kept one closes over, changed since: it no longer says what it said.
    box = {"factor": 5.0}
    kept = alike(scaled_in(box))
    box["factor"] = 6.0
    fresh = scaled_in({"factor": 5.0})
    assert alike(fresh) is fresh
    assert fresh is not kept
    # So a table that a schedule of optax closes over.
    table = {10: 0.25}
    kept = alike(optax.piecewise_constant_schedule(0.1, table))
    table[10] = 0.75
    fresh = optax.piecewise_constant_schedule(0.1, {10: 0.25})
    assert alike(fresh) is fresh
    assert fresh is not kept


def test_what_cannot_be_told_stands_for_itself():
    class Unknown:
        factor = 1.0

    given = Unknown()
    one, other = (lambda task, model: given.factor for _ in range(2))
    assert [alike(one), alike(other)] == [one, other]
    large = np.zeros(room._BYTES)
    one, other = (lambda task, model: large[0] for _ in range(2))
    assert alike(other) is other


BOX = types.ModuleType("box")
BOX.inner, BOX.Class = types.ModuleType("inner"), type("Class", (), {"factor": 1.0})
LIST, ARRAY, OBJECT = [1.0], np.ones(1), types.SimpleNamespace(factor=1.0)


def put(value):
    """What is read below, wherever it stands."""
    global SCALE
    SCALE = LIST[0] = ARRAY[0] = OBJECT.factor = value
    BOX.factor = BOX.inner.factor = BOX.Class.factor = value


class Own:
    def read(self, x=1.0):
        return SCALE * x


def by_name(x=1.0):
    return SCALE * x


READ = {
    "a global": by_name,
    "of a lambda": lambda x=1.0: SCALE * x,
    "of a function that it calls": lambda x=1.0: by_name(x),
    "an attribute of a module": lambda x=1.0: BOX.factor * x,
    "of a module in it": lambda x=1.0: BOX.inner.factor * x,
    "of a class": lambda x=1.0: BOX.Class.factor * x,
    "of an object": lambda x=1.0: OBJECT.factor * x,
    "a list": lambda x=1.0: LIST[0] * x,
    "an array": lambda x=1.0: ARRAY[0] * x,
    "closed over": (lambda box: lambda x=1.0: box[0] * x)(LIST),
    "closed over, of a module": (lambda box: lambda x=1.0: box.factor * x)(BOX),
    "a method": Own().read,
}
TASK = am.two_tokens(0.5, 0.75)
ZERO, SGD = am.LinearMemory.zeros(TASK), optax.sgd(0.1)
_run = lambda dynamics, **options: am.simulate(TASK, ZERO, dynamics, **options)  # noqa: E731
_of_loss = lambda task: am.simulate(task, ZERO, am.Descent(SGD, 1))["loss"][0]  # noqa: E731
_fixed = lambda read: am.two_tokens(0.5, 0.75, loss=lambda s, y: read(jnp.sum((s - y) ** 2)))  # noqa: E731
DOORS = {
    "observable": lambda read: (
        lambda: _run(am.Descent(SGD, 1), observe={"x": lambda task, model: read(task.loss(model))})["x"][0]
    ),
    "loss": lambda read: lambda: _of_loss(_fixed(read)),
    "loss of a task that is kept": lambda read: functools.partial(_of_loss, _fixed(read)),
    "schedule": lambda read: (
        lambda: (
            _run(am.Descent(optax.sgd, 1, learning_rate=lambda step: read(1e-3) + 0.0 * step)).model.weight
        )
    ),
    "optimizer that is kept": lambda read: functools.partial(
        lambda dynamics: _run(dynamics).model.weight,
        am.Descent(optax.scale_by_schedule(lambda step: -read(1e-3)), 1),
    ),
    "sweep": lambda read: functools.partial(
        lambda fn: am.sweep(fn, a=np.ones(2)).x.values, lambda a: {"x": read(a)}
    ),
    "threshold": lambda read: functools.partial(
        lambda measure: am.threshold(measure, smallest=1.0, largest=100.0, seeds=2).value,
        lambda key, x: (x > read(4.0)) + 0.0,
    ),
    "capacity": lambda read: functools.partial(
        lambda measure: (
            am.capacity(
                lambda key, n: am.AssociationTask(
                    am.laws.uniform(n), jnp.zeros(n, int), jnp.ones((n, 1)), jnp.eye(2)
                ),
                lambda task, key: am.LinearMemory.zeros(task),
                0.5,
                measure=measure,
                largest=99,
                seeds=2,
            ).size
        ),
        lambda task, model: (jnp.sum(task.probabilities > 0) < read(20.0)) + 0.0,
    ),
}
# The width at which a search ends; half a token, of 20.
SEARCHED = {"threshold": 0.02, "capacity": 0.05}


@pytest.mark.parametrize("what", READ)
def test_a_function_that_reads_something_else_by_now(what):
    """As Python does, and without a program for the third, which says what the first did."""
    put(1.0)
    read, kept = READ[what], []
    for value in (1.0, 3.0, 1.0):
        put(value)
        kept.append(alike(read))
        assert kept[-1](2.0) == 2 * value
    assert kept[0] == kept[2] != kept[1]


@pytest.mark.parametrize("door", DOORS)
def test_doors_see_what_functions_read(door):
    put(1.0)
    for what in ("a global", "of an object"):
        call, found = DOORS[door](READ[what]), []
        for value in (1.0, 3.0, 1.0):
            put(value)
            found.append(np.asarray(call()))
        np.testing.assert_allclose(found[1], 3 * found[0], rtol=SEARCHED.get(door, 1e-12))
        np.testing.assert_array_equal(found[2], found[0])


def test_only_so_many_are_kept(monkeypatch):
    monkeypatch.setattr(room, "_KEPT", 3)
    monkeypatch.setattr(room, "_known", type(room._known)())
    kept = [alike(scaled_by(float(k))) for k in range(5)]
    assert len(room._known) == 3
    assert alike(scaled_by(4.0)) is kept[4]
    assert alike(scaled_by(0.0)) is not kept[0]


def test_one_program_for_equal_runs():
    """Tracing is what compiles: the observable counts how often it is traced."""
    task, traced, count = am.two_tokens(0.5, 0.75), [], 0

    def counted(task, model):
        nonlocal count
        count += 1
        traced.append(1)
        return task.loss(model)

    def run(rate):
        descent = am.Descent(optax.sgd(rate), 3, thaw=[(lambda m: m.weight, 1)])
        watch = {"loss": counted, "double": lambda task, model: 2 * task.loss(model)}
        return am.simulate(
            task, am.LinearMemory.zeros(task), descent, observe=watch,
            until=am.Until(lambda task, model: -task.loss(model)), trainable=lambda m: m.weight,
        )  # fmt: skip

    first, once = run(0.25), len(traced)
    again = run(0.25)
    assert once > 0
    assert len(traced) == once
    np.testing.assert_array_equal(first["loss"], again["loss"])
    run(0.5)
    assert len(traced) > once
