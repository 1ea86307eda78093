"""What studies of hops make of their numbers, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import assocmem_jax as am
from assocmem_jax.studies.config import load
from assocmem_jax.systems.hops.studies import construction, search, training


def test_laws_of_the_three_ways():
    found = training.laws(3)
    assert list(found) == list(training.WAYS)
    alone, mixture, curriculum = (np.asarray(law) for law in found.values())
    assert alone.tolist() == [[0, 0, 1]] * 3
    assert mixture.tolist() == [[1 / 3] * 3] * 3
    assert curriculum.tolist() == np.eye(3).tolist()


def test_the_first_step_at_which_all_is_right():
    accuracy = np.array([[0.5, 1.0, 0.9, 1.0], [1.0, 0.0, 0.0, 0.0], [0.9, 0.99, 0.999, 0.9999]])
    assert training.first(accuracy, np.array([0, 10, 20, 30])).tolist() == [10, 0, -1]


def test_what_training_says():
    study = load("hops_training", [])
    accuracy = np.zeros((3, 2, 3, 3))
    accuracy[0, :, -1] = [0.5, 0.25, 1.0], [1.0, 0.75, 0.5]
    accuracy[0, 0, 1, -1] = 1.0
    data = xr.Dataset(
        {
            "accuracy": (("way", "seed", "step", "hops"), accuracy),
            "status": (("way", "seed"), np.zeros((3, 2))),
        },
        {"step": [0, 7, 9], "hops": [1, 2, 4]},
    )
    start = f"N = {study.values}, k = {study.hops}, "
    after = f": accuracy after {study.steps} steps of k′ = "
    assert training.report(study, data)[:2] == [
        f"{start}k hops alone{after}1: 0.750, 2: 0.500, 4: 0.750; all k hops right from step never, 7 (one a seed)",
        f"{start}a mixture{after}1: 0.000, 2: 0.000, 4: 0.000; all k hops right from step never, never (one a seed)",
    ]


def test_what_constructions_say():
    study = load("hops_construction", ["sizes=[[3, 2], [4, 4]]"])
    at = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]) / 8
    data = xr.Dataset(
        {"accuracy": (("size", "beta"), at), "weight": (("size", "beta"), at / 2), "bound": (("size", "beta"), at / 4),
         "from_seen": ("size", [1.0, 2.0]), "from_worst": ("size", [1.5, 2.5]), "from_bound": ("size", [3.0, 4.0])},
        {"beta": [2.0, 7.0, 20.0]},
    )  # fmt: skip
    assert construction.report(study, data)[1] == (
        f"N = 4, k = 4: right in {study.contexts} contexts from β = 2.00, in the worst found from 2.50, in all from "
        "4.00 (bound); at β = 7 accuracy 0.625, least weight 0.3125 (bound 0.1562)"
    )


@pytest.mark.thorough
def test_contexts_are_right_from_where_their_margins_are_positive():
    """From both sides; climbing makes margins no larger and keeps permutations."""
    task = am.HopTask.random(4, 4, jax.random.key(0), draws=32)
    contexts = task.data
    beta = float(search.right_from(task, contexts))
    assert 0 < beta < 16
    assert bool((search.least(task, beta + 1e-3, contexts) > 0).all())
    assert not bool((search.least(task, beta - 1e-3, contexts) > 0).all())
    worse = search.worsened(task, jnp.asarray(beta), contexts, jax.random.key(1), 20)
    assert (np.sort(np.asarray(worse), axis=-1) == np.arange(4)).all()
    before, after = (np.asarray(search.least(task, beta, c)) for c in (contexts, worse))
    assert (after <= before).all()
    assert (after < before).any()
    worst = float(search.worst(task, contexts, jax.random.key(2), 2, 20))
    assert worst >= beta
    assert worst <= float(am.theory.hops.exact_from(4, 4)) + 1e-3
