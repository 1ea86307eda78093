"""10⁸ configurations × 100 steps of the two-token margins into a store: time and peak memory.

Each size runs in a process of its own, which samples its resident memory; peak includes Python, JAX and the
compiler. "First hit" stops a tile when all its lanes have hit; "both hits" makes every one of the 10¹⁰ steps.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import machine

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
    shared = {"seconds_and_peak_MiB": json.dumps(found)}
    (six_s, six_m), (seven_s, seven_m) = found["1e6 first hit"], found["1e7 first hit"]
    worst = max(found["1e8 first hit"][0], found["1e8 both hits"][0])
    peak = max(m for _, m in found.values())
    machine.report("10⁸ configurations × 100 steps: 45 s over ours", 1, 45 / worst, **shared)
    machine.report("10⁸ configurations × 100 steps: 512 MiB over our peak", 1, 512 / peak)
    machine.report("10⁷ over 10⁶: 1.2 over the ratio of memory", 1, 1.2 / (seven_m / six_m))
    machine.report("10⁷ over 10⁶: 11 over the ratio of time", 1, 11 / (seven_s / six_s))


if __name__ == "__main__":
    machine.run(main)
