"""The bifurcation diagram of one soft-label token: 10³ rates × 10³ kept iterates, from nothing, within 20 s.

Beside it a NumPy loop of the scalar map over the same rates and steps (no exponents, no sharpness)."""

import time

import numpy as np

import machine
from assocmem_jax.studies.config import load

RATES, TRANSIENT, KEPT = 1000, 2000, 1000


def numpy_diagram(edges, q=0.3):
    step, m = 2 * edges / (q * (1 - q)), np.full(len(edges), np.log(q / (1 - q)) + 0.1 * 2**0.5)
    kept = np.empty((KEPT, len(edges)), np.float32)
    for t in range(TRANSIENT + KEPT):
        m = m + step * (q - 1 / (1 + np.exp(-m)))
        if t >= TRANSIENT:
            kept[t - TRANSIENT] = m
    return kept


def main():
    sizes = [f"rates={RATES}", f"transient={TRANSIENT}", f"kept={KEPT}"]
    study = load("bifurcation", sizes)
    task = study.systems[1].task()
    began = time.perf_counter()
    first = study.diagram(task)
    cold = time.perf_counter() - began
    began = time.perf_counter()
    again = study.diagram(task)
    warm = time.perf_counter() - began
    assert np.array_equal(first.x, again.x)
    plain = min(_timed(numpy_diagram, first.edge.values) for _ in range(3))
    machine.report(
        "10³ rates × 10³ kept iterates, exponents, sharpness and threshold, compilation included, in 20 s",
        1, 20 / cold, cold_seconds=cold, warm_seconds=warm,
        lane_steps_per_second=RATES * (TRANSIENT + KEPT) / warm,
        numpy_scalar_map_seconds=plain, threshold_over_two_by_sharpness=study.threshold(first),
    )  # fmt: skip


def _timed(function, *arguments):
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


if __name__ == "__main__":
    machine.run(main)
