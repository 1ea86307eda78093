"""What studies of facts make of their numbers, by hand."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from assocmem_jax.studies.config import load
from assocmem_jax.studies.kit import table
from assocmem_jax.systems.factual import theory
from assocmem_jax.systems.factual.studies import accuracy_map, constructed, hallucination, order, parameters


def told(N, M, recall):
    """Fano: N log₂ M less N (h(ε) + ε log₂(M − 1)); at chance and below it, nothing."""
    e = min(1 - recall, 1 - 1 / M)
    h = -sum(p * np.log2(p) for p in (e, 1 - e) if p > 0)
    return max(0.0, N * np.log2(M) - N * (h + e * np.log2(M - 1)))


def test_the_map_counts_parameters_and_bits():
    """H = 2, 4, 8 of width 4 at d = 16: 4·H·4·16; m = 1, 16, 32: 2·m·16. S = R = 16, D = 8: 768 bits."""
    study = load("facts_map", [])
    attention, mlp = accuracy_map.parameters(study)
    assert attention.tolist() == [512, 1024, 2048]
    assert mlp.tolist() == [32, 512, 1024]
    mean = np.array([[0.5, 0.75, 0.875], [0.25, 0.5, 1.0], [0.75, 0.5, 0.0625]])
    wanted = [[told(256, 8, r) / (a + b) for r, b in zip(row, mlp)] for row, a in zip(mean, attention)]
    # float32 or 64: nine sums of logarithms, so a few eps of 768 bits over the least count.
    np.testing.assert_allclose(accuracy_map.bits(study, mean), wanted, atol=1e-6)
    data = xr.Dataset(
        {"accuracy": (("heads", "width", "seed"), np.stack([mean - 0.0625, mean + 0.0625], -1))}
    )
    lines = accuracy_map.report(study, data)
    assert (
        lines[1]
        == "4 H d_h d = 1024: accuracy 0.250 at 2 m d = 32, 0.500 at 2 m d = 512, 1.000 at 2 m d = 1024"
    )
    best = np.unravel_index(np.argmax(wanted), (3, 3))
    a, b = attention[best[0]], mlp[best[1]]
    assert lines[3] == (
        f"bits a parameter: most {wanted[best[0]][best[1]]:.3f} of {768 / (a + b):.3f} needed, at 4 H d_h d = {a}, "
        f"2 m d = {b}"
    )


def test_a_loss_that_falls_exponentially_crosses_where_it_does():
    """log-linear between two looks: exact for e^(−t)."""
    time = np.array([0.0, 1.0, 2.5, 4.0])
    assert hallucination._crossing(time, np.exp(-time), np.exp(-1.7)) == pytest.approx(1.7, rel=1e-14)
    assert hallucination._crossing(time, np.exp(-time), np.exp(-3.9)) == pytest.approx(3.9, rel=1e-14)
    assert hallucination._crossing(time, np.exp(-time), np.exp(-4.1)) == np.inf


def test_halves_and_times_are_those_of_their_sizes():
    study = load("facts_hallucination", [])
    for case in study.cases:
        one, other = hallucination.halves(case)
        assert one == theory.subjects(case.subjects, case.relations, case.answers, case.mentions)
        assert other == theory.relations(case.subjects, case.relations, case.answers)
    found = order.flow_times(16.0, 4.0, 8.0, 0.01, level=0.1)
    due = theory.plateau(16.0, 4.0, 8.0, 0.01, 0.1)
    wanted = {
        "subject_time": theory.fall_time(theory.subjects(16.0, 4.0, 8.0), 0.1, 0.01),
        "relation_time": theory.fall_time(theory.relations(16.0, 4.0, 8.0), 0.1, 0.01),
        "plateau_begin": due.begin, "plateau_end": due.end,
    }  # fmt: skip
    assert {name: float(v) for name, v in found.items()} == {name: float(v) for name, v in wanted.items()}


def test_a_plateau_is_named_by_the_half_that_is_left():
    """At log D while subjects are learned, at log R while relations are: of each case, by its own sizes."""
    study, seen = load("facts_hallucination", []), set()
    for case in study.cases:
        time = np.linspace(0, 1e4, 5)
        columns = ("loss", "relation_loss", "subject_loss", "reduced_loss", "flow_loss", "accuracy",
                   "relation_accuracy", "probability_right")  # fmt: skip
        flat = {name: (("seed", "look"), np.ones((2, 1)) * np.geomspace(3, 1e-3, 5)) for name in columns}
        lines = hallucination._told(study, case, xr.Dataset(flat | {"time": ("look", time)}))
        said = [line.rpartition("(")[2] for line in lines if "plateau from" in line]
        for name, size in (("D", case.answers), ("R", case.relations)):
            if said and f"log {name} =" in said[0]:
                assert said == [f"log {name} = {np.log(size):.4f})"]
                seen.add(name)
    assert seen == {"D", "R"}  # or one of them was not tested


def test_what_the_map_of_orders_says():
    study = load("facts_order", [])
    _, axes = order.sweep(study)
    for name, points in axes.items():
        assert getattr(study, f"panel_{name}") in points
        assert (np.diff(points) > 0).all()
    sizes = [8.0, 64.0], [2.0, 32.0], [4.0], [1e-6, 0.1]
    dims = ("subjects", "relations", "answers", "start")
    criterion = np.asarray(theory.relation_first(*np.meshgrid(*sizes[:3], indexing="ij")))[..., 0] > 0
    relation = np.ones((2, 2, 1, 2))
    subject = np.where(criterion[:, :, None, None], 2.0, 0.5) * relation
    subject[0, 0, 0, 1] = 2.5 - subject[0, 0, 0, 1]  # against the criterion, at the larger start
    first = (subject > relation).mean()
    begin, end = relation.copy(), relation.copy()
    end[1, :, 0, 0] = 3.0, 5.0
    data = xr.Dataset(
        {"relation_time": (dims, relation), "subject_time": (dims, subject), "plateau_begin": (dims, begin),
         "plateau_end": (dims, end)}, dict(zip(dims, sizes)),
    )  # fmt: skip
    lines = order.report(study, data)
    assert lines[0] == f"8 points: relations are first at {first:.1%}; there is a plateau at 25.0%"
    # Lengths 0, 0, 2, 4 over 1.
    assert lines[1].startswith(
        "α = 1e-06: the criterion of α → 0 says which at 100.00%; the plateau lasts 1.00 times"
    )
    assert lines[1].endswith("at most 4")
    assert lines[2].startswith(
        "α = 0.1: the criterion of α → 0 says which at 75.00%; the plateau lasts 0.00 times"
    )


def test_facts_of_a_square():
    """N facts are those of the first ⌈√N⌉ subjects and relations."""
    seen = SimpleNamespace(first=lambda s, r: (int(s), int(r)))
    for n, side in ((1, 1), (4, 2), (5, 3), (9, 3), (10, 4), (10_000, 100), (10_001, 101)):
        assert parameters.Square(seen).first(jnp.asarray(n)) == (side, side)


def test_what_facts_over_parameters_say():
    """N = 2 P^0.75 on three points that are known, and one that is a bound."""
    study = load("facts_parameters", [])
    P = np.array([256.0, 1296.0, 4096.0, 10_000.0])
    N = np.where(P < 9999, 2 * P**0.75, 7.0)
    shapes = [0, 0, 1, 2]
    rows = [(k, 8, p, n, 0.9 * n, 1.1 * n, int(p > 9999)) for k, p, n in zip(shapes, P, N)]
    names = ("shape", "dimension", "parameters", "size", "low", "high", "censored")
    assert parameters.fitted(table(rows, *names)).slope == pytest.approx(0.75, rel=1e-12)
    assert parameters.fitted(table(rows[1:], *names)) is None
    open_ended = [(*rows[0][:5], np.inf, 0), *rows[1:]]
    assert parameters.fitted(table(open_ended, *names)) is None
    D = study.training.answers
    assert float(parameters.bits(study, 100.0, 64.0, 0.9)) == pytest.approx(told(64, D, 0.9) / 100, rel=1e-6)
    lines = parameters.report(study, table(rows, *names))
    label = study.shapes[0].label
    n, p = N[1], P[1]
    assert lines[0].startswith(
        f"{label}: facts at recall 0.9 128 [115, 141] in 256 (d = 8: 0.500 a parameter, "
    )
    assert f"{n:.0f} [{0.9 * n:.0f}, {1.1 * n:.0f}] in 1296 (d = 8: {n / p:.3f} a parameter, " in lines[0]
    assert f"bits of {n * np.log2(D) / p:.3f})" in lines[0]
    assert "≥ 7 [6, 8] in 10000" in lines[2]
    assert lines[3].endswith(f"facts a parameter {7 / 10_000:.3f} to 0.500")


def test_bits_of_written_facts():
    """4 H d_h d with H d_h = min(d, S + R), S = N/R."""
    study = load("facts_constructed", [])
    R, D = study.relations, study.answers
    for d, n in ((4, 32 * R), (64, 2 * R)):
        width = min(d, n / R + R)
        part = table([(d, n)], "dimension", "size")
        held, needed = constructed.bits(study, part)
        assert needed.tolist() == pytest.approx([n * np.log2(D) / (4 * d * width)], rel=1e-6)
        assert held.tolist() == pytest.approx([told(n, D, study.target) / (4 * d * width)], rel=1e-5)
