"""What studies of the linear memory make of their numbers, by hand."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from assocmem_jax import plot
from assocmem_jax.studies.config import load
from assocmem_jax.studies.kit import table
from assocmem_jax.systems.memory.studies import (
    curricula,
    diffusion,
    learning_rates,
    optimizers,
    plane,
    schedule,
    sights,
    sizes,
)


def test_where_a_path_leaves_a_window():
    path = np.array(
        [[0.0, 0.0], [1.0, 2.0], [1.01, 0.0], [0.0, 2.01], [-1.0, -2.0], [-1.01, 0.0], [0.0, -2.01]]
    )
    assert plane.left(path, (-1, 1, -2, 2)) == 4
    assert plane.left(path[:2], (-1, 1, -2, 2)) == 0
    axis = jnp.linspace(-1.0, 2.0, 5)
    fine = np.asarray(plane.finer(axis))
    assert (len(fine), fine[0], fine[-1]) == (20, -1.0, 2.0)
    x, y = plane.plane_grid(SimpleNamespace(window=(-1.0, 2.0, 3.0, 5.0)), 4)
    np.testing.assert_allclose(x, [-1, 0, 1, 2], atol=1e-6)
    np.testing.assert_allclose(y, [3, 11 / 3, 13 / 3, 5], rtol=1e-6)


def test_hits_in_words():
    seen = lambda first, stable: SimpleNamespace(first_step=first, stable_step=stable)  # noqa: E731
    assert plane.hits(seen(-1, -1), 50) == "not within 50 steps"
    assert plane.hits(seen(0, -1), 50) == "first at t = 0, not stable within 50"
    assert plane.hits(seen(3, 0), 50) == "first at t = 3, for good at t = 0"


def test_the_first_length_that_holds():
    assert curricula.first(np.array([False, False, True, False])) == 3
    assert curricula.first(np.array([True])) == 1
    assert curricula.first(np.array([False, False])) == -1


def test_what_orders_say():
    study = load("gd_curricula", [])
    least = np.array([[3, -1, 5, 7, 2, 1]] * len(study.systems))
    system, line = (
        study.systems[0],
        curricula.report(study, xr.Dataset({"least": (("system", "order"), least)}))[0],
    )
    assert line == (
        f"{system.name}, η = {system.learning_rate:g}: steps to perfect accuracy: natural 3, rebalanced never, "
        "frequent first 5, rare first 7, best constant law 2, learned order 1"
    )


def test_how_flat_a_scheme_is():
    """q = 2 p^0.3 where it is positive; fewer than three are no line. The median over trials, of which one is off."""
    p = np.array([0.4, 0.3, 0.2, 0.1])
    q = np.array([2 * p**0.3, 2 * p**0.3, 50 + 0 * p])
    q[:, 3] = -1
    data = xr.Dataset({"scheme": (("case", "trial", "token"), [q]), "probability": ("token", p)})
    slope, kept = optimizers.flatness(None, data, 0)
    assert (slope, kept) == (pytest.approx(0.3, rel=1e-12), 3)
    data.scheme[0, :, 2] = 0
    slope, kept = optimizers.flatness(None, data, 0)
    assert np.isnan(slope)
    assert kept == 2
    # Tokens count by p: of a bend, the line is nearer to the frequent.
    bent = np.log(p) + np.array([0.0, 0.1, 0.0, -0.4])
    bent = xr.Dataset({"scheme": (("case", "trial", "token"), [[np.exp(bent)]]), "probability": ("token", p)})
    x, y, w = np.log(p), np.log(bent.scheme.values[0, 0]), p
    mean = lambda v: (w * v).sum() / w.sum()  # noqa: E731
    line = (mean(x * y) - mean(x) * mean(y)) / (mean(x * x) - mean(x) ** 2)
    assert optimizers.flatness(None, bent, 0)[0] == pytest.approx(line, rel=1e-12)


def test_how_steps_depend_on_the_rate():
    study = load("gd_fig3", [])
    panels = learning_rates._panels(study)
    assert 1 / (1 + np.exp(-panels["imbalance"])) == pytest.approx(study.panel_p1, rel=1e-12)
    assert panels["alpha"] == study.panel_alpha
    rates = np.array([0.1, 1.0, 10.0])
    part = lambda *steps: SimpleNamespace(first_step=np.array(steps).view(Values))  # noqa: E731
    assert learning_rates._met(part(3, -1, 0)).tolist() == [3, np.inf, 0]
    assert learning_rates._over_rates(part(-1, -1, -1), rates) == "never"
    told = learning_rates._over_rates(part(-1, 4, 9), rates)
    assert told == "never at η = 0.1, fewest 4 steps at 1, 9 steps at 10"
    _, axes = learning_rates.sweep(study)
    assert all(value in axes[name] for name, value in panels.items())


class Values(np.ndarray):
    @property
    def values(self):
        return np.asarray(self)


def test_how_far_a_scheme_is_from_its_recursion():
    """Tokens that were not seen count for nothing; one third of √(3² + 4²)."""
    seen = np.array([[[[2, 1, 0]]], [[[1, 3, 0]]]])
    r = np.array([[[[3.0, 4.0, 9.0]]], [[[6.0, 8.0, 0.5]]]])
    q = r + np.array([1.0, 4 / 3, 100.0])
    names = ("dimension", "rate", "trial", "token")
    data = xr.Dataset({"sights": (names, seen), "recursion": (names, r), "q": (names, q)})
    np.testing.assert_allclose(sights.apart(data)[:, 0, 0], [1 / 3, 1 / 6], rtol=1e-12)
    np.testing.assert_allclose(sights.equality(data), [6 / 8], rtol=1e-12)  # of the last d


def test_gaps_of_diffusions():
    mean = np.zeros((2, 4, 3))
    mean[..., 1] = [[1.0, 1.5, 2.0, 4.0], [2.0, 2.25, 1.0, 8.0]]
    error = np.full((2, 4, 3), 3.0)
    error[:, 0] = 4.0
    axes = ("rate", "law", "seen")
    data = xr.Dataset({"mean": (axes, mean), "error": (axes, error)})
    for law, gap in enumerate(([0.5, 0.25], [1.0, -1.0], [3.0, 6.0])):
        found, spread = diffusion.gaps(data, law, 1)
        assert found.tolist() == gap
        assert spread.tolist() == [5.0, 5.0]


def test_sizes_over_what_they_are_drawn():
    rows = [
        (0, 4, 8, 10, 9, 11, 0),
        (1, 8, 8, 20, 19, 21, 0),
        (0, 16, 8, 40, 38, np.inf, 0),
        (0, 32, 16, 80, 76, 84, 1),
    ]
    data = table(rows, "family", "dimension", "width", "size", "low", "high", "censored")
    for against, wanted in (
        ("dimension", [4, 8, 16, 32]),
        ("width", [8, 8, 8, 16]),
        ("parameters", [32, 64, 128, 512]),
    ):
        assert sizes.horizontal(SimpleNamespace(against=against), data).tolist() == wanted
    families = SimpleNamespace(families=["a", "b"])
    assert [(f, part["size"].values.tolist()) for f, part in sizes.parts(families, data)] == [
        ("a", [10, 40, 80]),
        ("b", [20]),
    ]
    for memory, wanted in (
        ("written", [16, 64]),
        ("linear", [16, 64]),
        ("mlp", [72, 136]),
        ("low rank", [32, 64]),
    ):
        assert sizes.learned(SimpleNamespace(memory=memory), data.isel(point=[0, 1])).tolist() == wanted
    study = SimpleNamespace(against="dimension")
    exact = table([(0, d, d, 5 * d**1.5, 4.9 * d**1.5, 5.1 * d**1.5, 0) for d in (4, 8, 16)],
                  "family", "dimension", "width", "size", "low", "high", "censored")  # fmt: skip
    assert sizes.fitted(study, exact).slope == pytest.approx(1.5, rel=1e-9)
    assert sizes.fitted(study, exact.isel(point=[0, 1])) is None
    assert sizes.fitted(study, exact.assign(censored=("point", [0, 0, 1.0]))) is None
    assert sizes.fitted(study, exact.assign(dimension=("point", [4, 4, 8.0]))) is None


def test_bits_of_a_family():
    """Random maps of N = 6 to 4: N log₂ 4 = 12; balanced maps of 4 to as many: log₂ 4! = log₂ 24."""
    part = table([(2, 3)], "dimension", "width")
    family = SimpleNamespace(classes=4, random=True, memory="linear")
    held, needed = sizes.bits(family, part, np.array([6.0]), 1.0)
    assert [float(held[0]), float(needed[0])] == pytest.approx([12 / 4] * 2, rel=1e-6)
    family = SimpleNamespace(classes=None, random=False, memory="other")
    assert float(sizes.bits(family, part, np.array([4.0]), 1.0)[1][0]) == pytest.approx(
        np.log2(24) / 6, rel=1e-6
    )


def test_what_schedules_say():
    study = load("schedule", [])
    n = len(study.systems)
    rates = np.full((n, 3, 3), np.nan)
    rates[:, 1, :2] = 0.5, 2.0
    data = xr.Dataset(
        {"least_learned": ("system", [2] + [-1] * (n - 1)), "best_constant": ("system", [7] * n),
         "best_rate": ("system", [1.25] * n), "learned_rate": (("system", "length", "of_step"), rates)},
    )  # fmt: skip
    lines = schedule.report(study, data)
    said = f"best constant rate 7 steps (η = 1.25, of {study.constants} rates); learned"
    assert lines[:2] == [f"{study.systems[0].name}: {said} 2 steps", "  learned rates: 0.5, 2"]
    assert lines[2:] == [f"{system.name}: {said} -1 steps" for system in study.systems[1:]]


def test_schedules_where_no_constant_rate_comes_there(monkeypatch):
    """Within a horizon that is shorter than the learned ones: nothing is run for it, and all is drawn."""
    study = load("schedule", ["constants=5", "smallest=1e-3", "largest=2e-3", "horizon=2", "longest=3"])
    monkeypatch.setattr(schedule, "learned", lambda study, task, length: (np.full(length, 1e-3), -1.0))
    data = schedule.run(study, None)
    assert (data.best_constant == -1).all()
    assert np.isnan(data.best_rate).all()
    assert np.isnan(data.margin_constant).all()
    assert np.isfinite(data.margin_learned).all()
    said = "no constant rate within 2 steps, of 5 rates; learned -1 steps"
    assert schedule.report(study, data) == [f"{system.name}: {said}" for system in study.systems]
    with plot.paper():
        for panel in schedule.figure(study, data).axes[len(study.systems) :]:
            assert panel.get_xlim()[1] > 3
