"""Runs that memory cannot hold are refused before they begin: their need, what is free, what to change."""

from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest

import assocmem_jax as am
from assocmem_jax import machine
from assocmem_jax.dynamics import programs, room

TASK = am.two_tokens(0.5, 0.75)
ZERO = am.LinearMemory.zeros(TASK)
GIB = 2**30


@pytest.fixture
def free(monkeypatch):
    """One GiB, whatever this machine has."""
    monkeypatch.setattr(machine, "free", lambda device=None: GIB)


def wide(n):
    task = am.AssociationTask(am.laws.uniform(2), jnp.arange(2), jnp.ones((2, n)), jnp.ones((2, n)))
    return task, am.LinearMemory.zeros(task)


def descent(steps, **options):
    return am.Descent(optax.sgd(0.1), steps, **options)


def run(dynamics, problem=(TASK, ZERO), **options):
    task, model = problem
    return lambda: am.simulate(task, model, dynamics, key=jax.random.key(0), **options)


def plane(n):
    points = jnp.linspace(0, 1, n)
    return lambda: am.sweep(lambda a, b: {"y": a * b}, a=points, b=points)


LARGE = {
    "descent": (
        run(descent(2**31 - 1)),
        "observe: 2,147,483,647 looks of 80 bytes need 160 GiB, 1 GiB is free; look less often: every=640",
    ),
    "stochastic flow": (
        run(am.StochasticFlow(0.1, 1.0, 10**9), every=2),
        "observe: 500,000,000 looks of 80 bytes need 37.3 GiB, 1 GiB is free; look less often: every=299",
    ),
    "weights": (
        run(descent(10**4), wide(1024), observe={"W": am.memory.weights}, every=10),
        "observe: 1,000 looks of 8,388,672 bytes need 7.81 GiB, 1 GiB is free; look less often: every=313",
    ),
    "flow": (
        run(am.GradientFlow(1.0), wide(1024), observe=[am.memory.weights], at=jnp.linspace(0, 1, 900)),
        "observe: 900 looks of 8,388,672 bytes need 7.03 GiB, 1 GiB is free; give fewer times in at=",
    ),
    "batch": (
        run(descent(1, batch_size=2**30)),
        "is 16 GiB, 1 GiB is free; try 8,388,608, or microbatch=8,388,608",
    ),
    "microbatch": (
        run(descent(1, batch_size=2**30, microbatch=8)),
        "of 1,073,741,824 examples one array alone",
    ),
    "sweep": (
        plane(2**14),
        "store must be a directory, got None for a result of 2.25 GiB, with 1 GiB free",
    ),
}


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("name", LARGE)
def test_what_memory_cannot_hold(name):
    call, said = LARGE[name]
    with pytest.raises((MemoryError, ValueError)) as fault:
        call()
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


def test_arrays_inside_of_a_program_are_seen():
    traced = jax.make_jaxpr(jax.jit(lambda x: jax.lax.map(lambda y: jnp.ones(7) * y, x).sum()))(jnp.ones(3))
    assert {a.shape for a in room._arrays(traced.jaxpr)} >= {(), (7,), (3, 7)}


@pytest.mark.usefixtures("free")
def test_what_it_holds_is_run():
    """Half of what is free, by the same count."""
    found = run(descent(128), wide(1024), observe=[am.memory.weights], every=2)()
    assert found["weights"].shape == (65, 1024, 1024)


def test_programs_are_kept_up_to_a_bound(monkeypatch):
    """The fourth shape finds three programs, more than two: forgotten; the fifth finds one."""
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(1))
    monkeypatch.setattr(programs, "MOST", 2)
    monkeypatch.setattr(programs, "_traced", 0)
    seen = []
    for steps in range(11, 16):
        am.simulate(TASK, ZERO, descent(steps), every=steps)
        seen.append(len(cleared))
    assert seen == [0, 0, 0, 1, 1]


def test_programs_are_forgotten_before_mappings_run_out(monkeypatch, tmp_path):
    """Each of twenty small programs of a user's own is some mappings: let go at half of the limit,
    by a run that is compiled and by a sweep; by no run before that."""

    def mappings():
        return len(Path("/proc/self/maps").read_text(encoding="utf-8").splitlines())

    limit = tmp_path / "max_map_count"
    monkeypatch.setattr(machine, "_MAPPINGS", limit)
    run = lambda: am.simulate(TASK, ZERO, descent(17), every=17)  # noqa: E731
    sweep = lambda: am.sweep(lambda x: x + 1.0, x=jnp.arange(3.0))  # noqa: E731
    for k, door in enumerate([run, sweep]):
        before = mappings()
        for n in range(1, 21):
            jax.jit(lambda x: jnp.tanh(x) @ x)(jnp.ones(100 * k + n))
        held = mappings()
        assert held >= before + 20
        limit.write_text(str(2 * held + 1000), encoding="ascii")
        door()
        assert mappings() >= held
        limit.write_text(str(2 * held - 10), encoding="ascii")
        if door is run:
            programs.traced()
        door()
        assert mappings() <= held - 20
