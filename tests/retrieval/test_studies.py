"""What studies of retrieval make of their numbers, by hand."""

import numpy as np
import pytest
import xarray as xr

from assocmem_jax.plot import paper, save
from assocmem_jax.studies.config import ConfigError, load
from assocmem_jax.studies.kit import interval, table
from assocmem_jax.systems.retrieval import theory
from assocmem_jax.systems.retrieval.studies import dense, hopfield, retrieval


def h(p):
    return -sum(q * np.log2(q) for q in (p, 1 - p) if q > 0)


def loads(overlap, study):
    axes = ("dimension", "load", "network")
    return xr.Dataset(
        {"overlap": (axes, overlap), "bit_error": (axes, (1 - overlap) / 2),
         "energy": (("end", "sweep", "path"), [[[3.0], [1.0], [1.5]], [[3.0], [2.0], [2.25]]])},
        {"dimension": [16], "load": [0.1, 0.5, 1.0]},
    )  # fmt: skip


def test_as_many_seeds_as_their_keys_have_room():
    """Eight bytes a key, held in the program: 2²⁴ of them, 128 MiB, and no more."""
    assert load("slides_hopfield", ["networks=16777216"]).networks == 2**24
    with pytest.raises(ConfigError, match="networks = 16777217: must be less than or equal to 16777216"):
        load("slides_hopfield", ["networks=16777217"])


def test_bits_of_a_hopfield_network():
    """N d (h(flips) − h(wrong)) over d(d − 1)/2 couplings; N = round(load d), here 2, 8, 16; never less than 0."""
    study = load("slides_hopfield", ["flips=0.25"])
    overlap = np.array([[[1.0, 0.75], [0.75, 0.5], [0.0, 0.25]]])
    held, needed = hopfield.bits(study, loads(overlap, study))
    for k, n in enumerate((2, 8, 16)):
        assert needed[0, k] == pytest.approx(n * 16 * h(0.25) / 120, rel=1e-6)
        for net in range(2):
            wrong = (1 - overlap[0, k, net]) / 2
            assert held[0, k, net] == pytest.approx(
                n * 16 * max(0, h(0.25) - h(wrong)) / 120, rel=1e-5, abs=1e-6
            )
    few = loads(overlap, study).assign_coords(load=[0.001, 0.5, 1.0])
    assert hopfield.bits(study, few)[1][0, 0] == pytest.approx(
        1 * 16 * h(0.25) / 120, rel=1e-6
    )  # one at least


def test_what_the_loads_say():
    """0.95 at .5 and 0.85 at 1: through .9 at .75. The energy rises by .5 at most."""
    study = load("slides_hopfield", ["flips=0.25"])
    overlap = np.array([[[1.0, 1.0], [1.0, 0.9], [0.9, 0.8]]])
    lines = hopfield.report(study, loads(overlap, study))
    assert lines[0].startswith("d = 16: overlap 1.000 ± 0.000 at 0.1, 0.950 ± ")
    assert lines[0].endswith("; falls through .9 at load 0.7500")
    assert lines[-1] == "asynchronous energy per bit: largest rise 5.0e-01"
    held, needed = hopfield.bits(study, loads(overlap, study))
    most = int(held[0].mean(1).argmax())
    at = (0.1, 0.5, 1.0)[most]
    assert f"most {held[0, most].mean():.4f} ± " in lines[2]
    assert lines[2].endswith(f" of {needed[0, most]:.4f} needed, at load {at:g}")
    stays = hopfield.report(study, loads(np.ones((1, 3, 2)), study))
    assert "falls" not in stays[0]
    # Each bit error over the law's, where the law has twenty wrong bits to show.
    law = np.asarray(theory.bit_error(np.array([0.1, 0.5, 1.0])))
    shown = law * 16 * study.cues * study.networks > 20
    wrong = (1 - overlap[0].mean(1)) / 2
    parts = lines[1].split("(2 load)): ")[1].split(", ")
    assert len(parts) == shown.sum()
    for part, ratio in zip(parts, (wrong / law)[shown]):
        assert part.startswith(f"{ratio:.3f} ± ")


def test_sizes_that_are_predicted_cross_the_target():
    """The first of the grid at which Gaussian crosstalk leaves less than the target whole."""
    study = load("slides_dense", [])
    grid = np.geomspace(2, 1e6, 4000)

    def whole(n, d, degree):
        return float(theory.stable(theory.crosstalk_bit_error(n, d, lambda z: z**degree), d))

    for degree, d in ((2, 64), (3, 32)):
        n = dense.predicted(study, degree, d)
        k = int(np.argmin(np.abs(grid - n)))
        assert n == pytest.approx(grid[k], rel=1e-12)
        assert whole(grid[k], d, degree) < study.target <= whole(grid[k - 1], d, degree)


def test_power_laws_of_dense_memories(tmp_path):
    """N = 3 d² of degree 3 and N = 2 e^(d/4) of degree 0; what is censored is no part of a fit."""
    study = load("slides_dense", [])
    d = np.array([8.0, 16.0, 32.0, 64.0])
    e = np.array([4.0, 8.0, 12.0, 16.0])
    rows = [(3, x, 3 * x**2, 2.9 * x**2, 3.1 * x**2, 0) for x in d] + [(3, 99, 1, 1, 1, 1)]
    rows += [(0, x, 2 * np.exp(x / 4), 1.9 * np.exp(x / 4), 2.1 * np.exp(x / 4), 0) for x in e]
    names = ("degree", "dimension", "size", "low", "high", "censored")
    found = dense.fits(study, table(rows, *names))
    assert list(found) == [3, 0]
    assert found[3][1].slope == pytest.approx(2, rel=1e-9)
    assert found[0][1].slope == pytest.approx(0.25, rel=1e-9)
    assert len(found[3][0].point) == 4
    told = dense.bits(study, 3, found[3][0])
    for k, x in enumerate(d):
        N, wrong = 3 * x**2, 1 - study.target ** (1 / x)
        assert told[k] == pytest.approx(N * (1 - h(wrong)) / theory.couplings(int(x), 3), rel=1e-5)
    few = table([rows[0], rows[1], *((3, x, 9, 9, 9, 1) for x in d), (0, 4, 9, 9, 9, 1)], *names)
    assert [(len(part.point), fit) for part, fit in dense.fits(study, few).values()] == [(2, None), (0, None)]
    lines = dense.report(study, few)
    assert lines[2].endswith("768 [742, 794] at 16; 2 known of 6 (raise largest): no slope")
    assert lines[3] == "exponential: N; 0 known of 1 (raise largest): no slope"
    with paper():
        save(dense.figure(study, few), tmp_path / "few")
    lines = dense.report(study, table(rows, *names))
    assert lines[1].startswith("exponential: bits told of a unit, a coupling: ")
    assert lines[2].startswith("k = 3: 192 [186, 198] at 8, 768 [742, 794] at 16, ")
    assert "in theory 2 less logarithms" in lines[2]
    assert lines[3].startswith("exponential: 5.437 [5.16, 5.71] at 4, ")


def test_what_steps_of_attention_say():
    study = load("slides_retrieval", ["betas=[1.0, 4.0]"])
    error = np.array([[[2.0, 1.0], [4.0, 3.0]], [[6.0, 0.5], [8.0, 0.25]]])
    data = xr.Dataset(
        {"error": (("beta", "trial", "step"), error), "rise": (("beta", "trial"), [[-1.0, 0.25], [-2.0, -3.0]]),
         "identity": (("beta", "trial"), [[1e-9, 2e-9], [3e-9, 1e-10]])}, {"beta": [1.0, 4.0]},
    )  # fmt: skip
    mean, half = interval([[1.0, 3.0], [0.5, 0.25]])
    assert mean.tolist() == [2.0, 0.375]
    assert half.tolist() == pytest.approx([12.7062047, 12.7062047 / 8], rel=1e-6)  # t₁(.975) s/√2
    assert retrieval.report(study, data) == [
        f"distance to the pattern after one step: 2.0000 ± {half[0]:.4f} at 1, 0.3750 ± {half[1]:.4f} at 4",
        "distance of the cue 5.000",
        "largest rise of the energy 2.5e-01; attention against the energy step: at most 3.0e-09 apart",
    ]
