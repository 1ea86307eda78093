"""The study beyond the edge of stability, against closed forms: one token, balanced labels."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from assocmem_jax import theory
from assocmem_jax.studies.config import load
from assocmem_jax.systems.memory.studies import bifurcation


@pytest.mark.thorough
def test_exponents_and_cycles_on_both_sides_of_the_edge():
    """log|1 − ηH*| below the edge, ½ log of the cycle's multiplier beyond; the cycle is ±m.

    H* = c/4 with c = 2 (inputs of norm 1, labels y = ±1 as two columns), so η = 2·edge/H* = 4·edge. What is
    not yet forgotten of the start is |1 − ηH*|^transient: none at 0.6 and 0.9 (0.8^1000), and where the
    cycle has just opened, 1 − 4·(near − 1) a step, e^(−4·.004·4000) = e^(−64).
    """
    study = load("bifurcation", ["rates=16", "kept=64", "transient=1000", "largest=3.0"])
    data = bifurcation.diagram(study, bifurcation.system_task(study.systems[0]))
    edge, found = data.edge.values, data.lyapunov.values
    assert float(data.sharpness_at_minimum) == pytest.approx(0.5, rel=1e-12)
    m = theory.soft_labels.balanced_cycle(jnp.asarray(4 * edge), 2.0)
    beyond = np.log(np.asarray(theory.soft_labels.balanced_multiplier(jnp.maximum(m, 1e-9)))) / 2
    with np.errstate(divide="ignore"):
        expected = np.where(edge < 1, np.log(np.abs(1 - 2 * edge)), beyond)
    # At edge = ½ the map is superstable: its exponent is −∞, or what rounding leaves of it.
    sure = (np.abs(edge - 1) > 0.05) & (edge > 0.55)
    np.testing.assert_allclose(found[sure], expected[sure], atol=1e-6)
    after = sure & (edge > 1)
    width = np.abs(data.x.values[after, -1]) * 2**0.5  # in float32; W = m(1, −1)/2
    np.testing.assert_allclose(width, np.asarray(m)[after], rtol=1e-6)
    # Sharpness on the cycle is that of either end: H(m) = ½ sech²(m/2).
    ends = 0.5 / np.cosh(np.asarray(m)[after] / 2) ** 2
    for name in ("sharpness_mean", "sharpness_max", "sharpness_min"):
        np.testing.assert_allclose(data[name].values[after], ends, rtol=1e-6)
    near = np.asarray(theory.soft_labels.balanced_cycle(jnp.asarray(4 * data.near.values), 2.0))
    np.testing.assert_allclose(data.width.values * 2**0.5, near, rtol=1e-8)
    assert abs(bifurcation.threshold(study, data) - 1) < 1e-4


@pytest.mark.parametrize("opens", [0.998, 1.0, 1.003])
def test_where_a_cycle_opens(opens):
    """width² = a(x − x₀) + b(x − x₀)², a cubic without its last term: the fit is exact but for rounding."""
    near = np.linspace(1.004, 1.04, 64)
    square = 3 * (near - opens) + 2 * (near - opens) ** 2
    part = xr.Dataset({"width": ("near", np.sqrt(square))}, {"near": near})
    # The fit extrapolates from 36 of these widths over one tenth of it: rounding of 2⁻⁵³ times 10³ at most.
    assert bifurcation.threshold(None, part) == pytest.approx(opens, abs=1e-11)


def test_what_the_report_says():
    """The first rate of a positive exponent, by hand."""
    study = load("bifurcation", [])
    near = np.linspace(1.004, 1.04, 64)
    exponents = [[-1.0, 0.005, 0.02, 0.3], [-1.0, -0.5, 0.01, np.nan], [0.5, -1.0, -1.0, -1.0]]
    data = xr.Dataset(
        {
            "lyapunov": (("system", "edge"), exponents), "sharpness_at_minimum": ("system", [0.5, 0.42, 1.0]),
            "width": (("system", "near"), np.sqrt([near - 1.0] * 3)),
        },
        {"edge": [0.5, 1.0, 2.0, 3.0], "near": near},
    )  # fmt: skip
    lines = bifurcation.report(study, data)
    assert [line.split(": ")[0] for line in lines] == [system.name for system in study.systems]
    for line, (sharp, first, largest) in zip(
        lines,
        [
            ("0.500000", "first exponent above .01 at ηH*/2 = 2.000", "0.300"),
            ("0.420000", "no positive exponent", "0.010"),
            ("1.000000", "first exponent above .01 at ηH*/2 = 0.500", "0.500"),
        ],
    ):
        doubles = "period doubles at η = 1.000000 · 2/H*"
        assert line.endswith(f": H* = {sharp}; {doubles}; {first}; largest {largest}")
