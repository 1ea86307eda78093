"""Functions made anew share a program exactly where they say the same."""

import jax.numpy as jnp
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


def test_only_so_many_are_kept(monkeypatch):
    monkeypatch.setattr(room, "_KEPT", 3)
    monkeypatch.setattr(room, "_known", type(room._known)())
    kept = [alike(scaled_by(float(k))) for k in range(5)]
    assert len(room._known) == 3
    assert alike(scaled_by(4.0)) is kept[4]
    assert alike(scaled_by(0.0)) is not kept[0]


def test_one_program_for_equal_runs():
    """Tracing is what compiles: the observable counts how often it is traced."""
    task, traced = am.two_tokens(0.5, 0.75), []

    def counted(task, model):
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
