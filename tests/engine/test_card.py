"""What is done otherwise on a card, here on a CPU that says it is one (benchmarks/gpu.py runs on one)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import assocmem_jax as am
from assocmem_jax import checks, machine
from assocmem_jax.sweeps import plan


@pytest.fixture
def card(monkeypatch):
    return lambda: monkeypatch.setattr(machine, "on_card", lambda: True)


@pytest.mark.parametrize("stable", [True, False])
def test_steps_that_share_a_kernel_are_the_same_steps(card, stable):
    """70 steps: two blocks of 32 and a rest, some lanes never."""
    rates = jnp.geomspace(0.02, 20, 24)
    task = am.AssociationTask(
        jnp.array([0.5, 0.3, 0.2]), jnp.array([0, 1, 1]), jnp.eye(3)[:, :2] + 0.5, jnp.eye(2)
    )
    steps = jax.vmap(lambda rate: am.time_to_perfect(task, rate, 70, stable=stable))
    alone = steps(rates)
    card()
    together = steps(rates)
    assert 0 < np.sum(np.asarray(alone.first_step) < 0) < 24
    for one, other in zip(alone, together):
        np.testing.assert_array_equal(one, other)


def test_products_are_of_float32_unless_asked_otherwise(card):
    assert jax.config.jax_default_matmul_precision is None
    with checks.standard():
        assert jax.config.jax_default_matmul_precision is None  # a CPU has no other
    card()
    with checks.standard():
        assert jax.config.jax_default_matmul_precision == "highest"
    with jax.default_matmul_precision("tensorfloat32"), checks.standard():
        assert jax.config.jax_default_matmul_precision == "tensorfloat32"


def test_a_task_is_no_smaller_than_a_tile(card):
    """Else the lanes that a tile lacks are computed all the same."""
    card()
    points = am.sweeps.axes.grid({"a": np.linspace(0, 1, 10**6)}, None)
    made = plan.prepare(lambda a: am.time_to_perfect(am.two_tokens(a, 0.7), 0.1, 10)._asdict(), points)
    assert made.tile > 4096
    assert made.blocks.box[0] >= made.tile // 2  # even boxes
    assert plan.trials()[0][-1] == 2**20
