"""10⁸ configurations × 100 steps of the two-token margins into a store: time and peak memory.

Each size runs in a process of its own, which samples its resident memory; peak includes Python, JAX and the
compiler. "First hit" stops a tile when all its lanes have hit; "both hits" makes every one of the 10¹⁰ steps.
"""

import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import machine
from machine import figure

RUN = """
import os, threading, time
import jax; jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
import numpy as np, assocmem_jax as am
peak, page = [0], os.sysconf("SC_PAGE_SIZE")
def watch():
    while True:
        peak[0] = max(peak[0], int(open("/proc/self/statm").read().split()[1]) * page)
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
def first(learning_rate, alpha, p1):
    task = am.two_tokens(alpha, p1)
    return {{"first_step": am.time_to_perfect(task, learning_rate, 100, stable={stable}).first_step}}
rates, alphas, laws = np.geomspace(.1, 10, {n[0]}), np.linspace(.5, 1, {n[1]}), np.linspace(.51, .99, {n[2]})
axes = dict(learning_rate=rates, alpha=alphas, p1=laws)
began = time.perf_counter()
data = am.sweep(first, **axes, store={store!r})
seconds = time.perf_counter() - began
assert data.status.size == {n[0]} * {n[1]} * {n[2]} and int(data.status[-1, -1, -1]) == 1
print(seconds, peak[0])
"""
SIZES = {6: (100, 100, 100), 7: (250, 200, 200), 8: (500, 500, 400)}


def run(power, stable):
    """(median seconds, largest peak in MiB) of three processes."""
    found = [once(power, stable) for _ in range(3)]
    return float(np.median([seconds for seconds, _ in found])), max(peak for _, peak in found)


def once(power, stable):
    place = tempfile.mkdtemp()
    try:
        code = RUN.format(n=SIZES[power], stable=stable, store=os.path.join(place, "store"))
        out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        seconds, peak = out.stdout.split()
        return float(seconds), int(peak) / 2**20
    finally:
        shutil.rmtree(place)


def main():
    found = {
        f"1e{p} {'both hits' if stable else 'first hit'}": run(p, stable)
        for stable in (False, True)
        for p in SIZES
    }
    (six_s, six_m), (seven_s, seven_m) = found["1e6 first hit"], found["1e7 first hit"]
    for kind in ("first hit", "both hits"):
        seconds = found[f"1e8 {kind}"][0]
        machine.within(f"10⁸ configurations × 100 steps into a store, {kind}", 45, seconds, "s", **found)
    peak = max(m for _, m in found.values())
    machine.within("peak resident memory of the worst of six sizes", 512, peak, "MiB")
    for what, limit, seven, six, unit in (
        ("memory", 1.2, seven_m, six_m, "MiB"), ("time", 11, seven_s, six_s, "s"),
    ):  # fmt: skip
        machine.report(
            f"{what} of 10⁷ over 10⁶, first hit",
            limit,
            seven / six,
            figure(seven, unit),
            figure(six, unit),
            True,
        )


if __name__ == "__main__":
    machine.run(main)
