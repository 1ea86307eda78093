"""What studies of co-occurrence make of their numbers, by hand."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
import xarray as xr
from scipy.optimize import minimize

from assocmem_jax.studies.config import load
from assocmem_jax.studies.kit import through
from assocmem_jax.systems.cooccurrence.studies import phase_one, rates


def test_each_case_differs_in_one_size():
    study = load("cooc_rates", [])
    base, *cases = rates.sizes(study)
    assert base == {name: getattr(study, name) for name in rates.PRINTED}
    changed = [[name for name in base if case[name] != base[name]] for case in cases]
    assert all(len(names) == 1 for names in changed)
    assert {names[0] for names in changed} == set(base)
    for name in ("sigma0", "sigma1"):
        tried = [case[name] / base[name] for case, names in zip(cases, changed) if names == [name]]
        assert tried == pytest.approx(list(study.factors), rel=1e-15)


def test_what_a_case_begins_with():
    study = load("cooc_rates", [])
    size = rates.sizes(study)[0] | {"samples": 24, "length": 4, "width": 8, "neurons": 4}
    task, system = rates.began(jax.random.key(0), size, 0.01, 0.1)
    rows = [set(row) for row in np.asarray(task.tokens).tolist()]
    kinds = [sum({0, 1} <= row for row in rows), sum(0 in row and 1 not in row for row in rows),
             sum(1 in row and 0 not in row for row in rows), sum(not {0, 1} & row for row in rows)]  # fmt: skip
    assert kinds == [12, 4, 4, 4]
    assert (system.width, system.neurons) == (8, 4)


def test_the_learned_scores():
    table = np.arange(25.0).reshape(5, 5)
    assert np.asarray(rates.learned(table)).tolist() == [1.0, 5.0, -10.0, -11.0]


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_margin(seed):
    """max_G min_i y_i X_i·G over ‖G‖ = 1, by SciPy's SLSQP on ½‖G‖² with margins of one at least."""
    rng = np.random.default_rng(seed)
    one_hot = rng.integers(0, 2, (6, 3, 9)).astype(float)
    labels = np.array([1.0, -1, 1, -1, 1, 1])
    X = one_hot.sum(1) * labels[:, None]
    found = minimize(
        lambda g: g @ g / 2, np.zeros(9), jac=lambda g: g, method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
        constraints={"type": "ineq", "fun": lambda g: X @ g - 1, "jac": lambda g: X},
    )  # fmt: skip
    assert found.success
    # SLSQP meets its constraints to about 1e-8, on a norm of order one.
    gamma = rates.separation(SimpleNamespace(one_hot=one_hot, labels=labels))
    assert gamma == pytest.approx(1 / np.linalg.norm(found.x), rel=1e-6)


def law_of_sizes():
    """Cases of C = 3 · 2^{±1/8} (two seeds) times what is printed of their sizes."""
    study = load("cooc_rates", [])
    cases = rates.sizes(study)
    C = [3 * np.prod([case[name] ** power for name, power in rates.PRINTED.items()]) for case in cases]
    C = np.array(C)[:, None] * [2 ** (1 / 8), 2 ** (-1 / 8)]
    data = {name: ("case", [float(case[name]) for case in cases]) for name in rates.PRINTED}
    data |= {"learned": (("case", "seed", "entry"), np.repeat(C[..., None], 4, 2)),
             "other": (("case", "seed"), C / 4), "status": (("case", "seed"), np.ones(C.shape, int))}  # fmt: skip
    data |= {"late_time": (("seed", "look"), np.tile(np.arange(11.0), (2, 1))),
             "late_loss": (("seed", "look"), np.tile(2.0 ** -np.arange(11), (2, 1))),
             "late_law": (("seed", "look"), np.add([[0.5], [1.5]], np.arange(11.0))),
             "late_C": (("seed", "look", "entry"), np.tile(np.arange(11.0)[:, None], (2, 1, 4)))}  # fmt: skip
    return study, xr.Dataset(data)


def test_exponents_of_sizes_are_found_again():
    study, data = law_of_sizes()
    for name in rates.PRINTED:
        x, C, error, other = rates.varied(data, name)
        assert (np.diff(x) > 0).all()
        assert getattr(study, name) in x
        np.testing.assert_allclose(other, 0.25, rtol=1e-12)
        mean, spread = (2 ** (1 / 8) + 2 ** (-1 / 8)) / 2, (2 ** (1 / 8) - 2 ** (-1 / 8)) / 2
        np.testing.assert_allclose(error / C, spread / mean, rtol=1e-12)  # of two: half their difference
        base = 3 * np.prod([getattr(study, n) ** p for n, p in rates.PRINTED.items() if n != name])
        np.testing.assert_allclose(C, base * mean * x ** rates.PRINTED[name], rtol=1e-12)
    lines = rates.report(study, data)
    assert len(lines) == 6 + 3
    assert lines[0].startswith("σ₀: C = ")
    assert "; ~ σ₀^2.00" in lines[0]
    assert "printed 2; largest other score/C 0.250" in lines[0]
    assert "~ m^-0.50" in lines[2].replace("−", "-")
    # Looks 0, 5 and 10; mean of .5 and 1.5 beside.
    assert lines[7].startswith("ρ₀t = 5: loss 0.0312; tLγ√(γ²ρ₀² + 4m₁log²(1/L)) = 6.0000 ± ")
    assert lines[7].endswith("; C 5")
    data.learned[2:] = np.nan  # a run that met no number
    assert "; ~ σ₀^None, printed 2" in rates.report(study, data)[0]
    data.status[2, 1] = 0
    assert rates.report(study, data)[0] == f"1 of {data.status.size} runs did not reach the target"


def test_phase_one_takes_as_long_as_its_scale_says():
    """T = 100/(c₁² m) at three widths: the power of σ₁² m m₁ is −1; a run that did not end is left out."""
    study = load("cooc_phase_one", ["c0=[0.1, 0.2]", "c1=[0.5, 1.0]", "seeds=3"])
    widths = np.array([shape.width for shape in study.shapes], float)
    steps = np.zeros((len(widths), 2, 2, 3))
    steps[:] = (1e6 / np.multiply.outer(widths, np.square([0.5, 1.0])))[:, None, :, None]
    steps[0, 0, 0, 0] = -1
    steps[1, 1, 0] = 10, 20, 40
    data = xr.Dataset({"first_step": (("shape", "c0", "c1", "seed"), steps)})
    lines = phase_one.report(study, data)
    shape = study.shapes[0]
    assert lines[0] == (
        f"n = {sum(shape.counts)}, L = {shape.length}, m = {shape.width}: median steps over c₀: "
        f"c₁ = 0.5: {4e6 / widths[0]:.0f}, {4e6 / widths[0]:.0f}; c₁ = 1: {1e6 / widths[0]:.0f}, "
        f"{1e6 / widths[0]:.0f}; not reached: 1 of 12"
    )
    assert f"c₁ = 0.5: {4e6 / widths[1]:.0f}, 20; " in lines[1]
    steps[1, 1, 0] = 4e6 / widths[1]
    told = phase_one.report(study, xr.Dataset({"first_step": (("shape", "c0", "c1", "seed"), steps)}))[-1]
    assert told.startswith("T₁ ~ (σ₁² m m₁)^-1.00 over all ")
    steps[:] = -1
    never = xr.Dataset({"first_step": (("shape", "c0", "c1", "seed"), steps)})
    assert phase_one.report(study, never)[-1].startswith("T₁ ~ (σ₁² m m₁)^nan over all ")


def test_a_slope_is_of_three_points_or_none():
    x = np.array([1.0, 2.0, 4.0])
    assert through(x, 3 * x**2, 0.1 * x).slope == pytest.approx(2, rel=1e-9)
    for y, error in ((x[:2], x[:2]), (x * np.nan, x), (x - 1, x), (x, x * np.inf), (x, 0 * x)):
        assert through(x[: len(y)], y, error) is None
