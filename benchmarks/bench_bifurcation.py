"""The bifurcation diagram of one soft-label token: 10³ rates × 10³ kept iterates, from nothing, within 20 s.

Beside it a NumPy loop of the scalar map over the same rates and steps (no exponents, no sharpness).

Notes. The diagram goes through `simulate` on the matrix, with exponents and sharpness; the NumPy loop of the
scalar map alone is near this machine's limit of one e^x a step."""

import time

import numpy as np

import machine
from assocmem_jax.studies.config import load
from assocmem_jax.systems.memory.studies import bifurcation
from machine import figure

RATES, TRANSIENT, KEPT = 1000, 2000, 1000


def numpy_diagram(edges, q=0.3):
    step, m = 2 * edges / (q * (1 - q)), np.full(len(edges), np.log(q / (1 - q)) + 0.1 * 2**0.5)
    kept = np.empty((KEPT, len(edges)), np.float32)
    for t in range(TRANSIENT + KEPT):
        m = m + step * (q - 1 / (1 + np.exp(-m)))
        if t >= TRANSIENT:
            kept[t - TRANSIENT] = m
    return kept


def prepared():
    sizes = [f"rates={RATES}", f"transient={TRANSIENT}", f"kept={KEPT}"]
    study = load("bifurcation", sizes)
    return study, bifurcation.system_task(study.systems[1])


def first_call():
    study, task = prepared()
    began = time.perf_counter()
    bifurcation.diagram(study, task)
    return time.perf_counter() - began


def main():
    colds = machine.anew(first_call)
    study, task = prepared()
    first, again = bifurcation.diagram(study, task), bifurcation.diagram(study, task)
    assert np.array_equal(first.x, again.x)
    warm = machine.wall(lambda: bifurcation.diagram(study, task))
    plain = machine.wall(lambda: numpy_diagram(first.edge.values))
    machine.within(
        "10³ rates × 10³ kept iterates, exponents, sharpness and threshold, compilation included",
        20, float(np.median(colds)), "s", seconds=colds,
        threshold_over_two_by_sharpness=bifurcation.threshold(study, first),
    )  # fmt: skip
    speed = RATES * (TRANSIENT + KEPT) / warm
    machine.note(
        "the same, compiled", f"{figure(warm, 's')} ({figure(speed, 'lane-steps/s')})",
        f"the scalar map in NumPy {figure(plain, 's')}", warm_seconds=warm, numpy_seconds=plain,
    )  # fmt: skip


if __name__ == "__main__":
    machine.run(main)
