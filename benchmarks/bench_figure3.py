"""GD Figure 3 (10 × 10 × 10 configurations, 1,000 steps each) against a plain eager PyTorch loop.

The loop is timed on a slice, SLICE configurations × SLICE_STEPS steps, and extrapolated linearly: each of
its steps costs the same. Warm is the whole of ``am.sweep``, Dataset included; cold is a new process. float32.
"""

import itertools
import subprocess
import sys
import time

import jax

jax.config.update("jax_num_cpu_devices", 2)

import numpy as np
import torch

import assocmem_jax as am
import machine

jax.config.update("jax_enable_x64", False)  # as the loop: float32
RATES = np.geomspace(0.1, 10, 10)
IMBALANCES = 10 ** np.linspace(-0.5, 0.5, 10)
ALPHAS = np.linspace(0.5, 1, 10)
STEPS, SLICE, SLICE_STEPS = 1000, 20, 100

COLD = """
import jax; jax.config.update("jax_num_cpu_devices", 2)
import numpy as np, assocmem_jax as am
def steps_to_perfect(learning_rate, imbalance, alpha):
    return am.time_to_perfect(am.two_tokens(alpha, jax.nn.sigmoid(imbalance)), learning_rate, 1000)
data = am.sweep(steps_to_perfect, learning_rate=np.geomspace(0.1, 10, 10),
                imbalance=10 ** np.linspace(-0.5, 0.5, 10), alpha=np.linspace(0.5, 1, 10))
print(int((data.first_step >= 0).sum()))
"""


def steps_to_perfect(learning_rate, imbalance, alpha):
    return am.time_to_perfect(am.two_tokens(alpha, jax.nn.sigmoid(imbalance)), learning_rate, STEPS)


def figure():
    return am.sweep(steps_to_perfect, learning_rate=RATES, imbalance=IMBALANCES, alpha=ALPHAS)


def torch_loop(learning_rate, imbalance, alpha, steps):
    """As one writes it: memory, cross-entropy, backward, step; first and last failing step noted."""
    angle = torch.acos(torch.tensor(alpha))
    inputs = torch.stack([torch.tensor([1.0, 0.0]), torch.stack([torch.cos(angle), torch.sin(angle)])])
    p1 = 1 / (1 + np.exp(-imbalance))
    p, labels = torch.tensor([p1, 1 - p1], dtype=torch.float32), torch.arange(2)
    weight = torch.zeros(2, 2, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=float(learning_rate))
    first, since = -1, -1
    for t in range(1, steps + 1):
        optimizer.zero_grad()
        losses = torch.nn.functional.cross_entropy(inputs @ weight.T, labels, reduction="none")
        (p @ losses).backward()
        optimizer.step()
        with torch.no_grad():
            scores = inputs @ weight.T
            perfect = bool((scores.diagonal() > scores.flip(1).diagonal()).all())
        first = t if perfect and first < 0 else first
        since = (t if since < 0 else since) if perfect else -1
    return first, since


def main():
    torch.set_num_threads(1)
    points = list(itertools.product(RATES, IMBALANCES, ALPHAS))
    chosen = points[:: len(points) // SLICE][:SLICE]
    theirs, ours = [], []
    figure()
    for _ in range(3):  # in turn, so that both meet the same machine
        began = time.perf_counter()
        found = [torch_loop(*map(float, point), SLICE_STEPS) for point in chosen]
        theirs.append((time.perf_counter() - began) / (SLICE * SLICE_STEPS))
        for _ in range(5):
            began = time.perf_counter()
            data = figure()
            ours.append(time.perf_counter() - began)
    for point, (first, _) in zip(chosen, found):
        here = int(data.first_step.sel(dict(zip(("learning_rate", "imbalance", "alpha"), point))))
        assert (here if here <= SLICE_STEPS else -1) == first, point
    loop = float(np.median(theirs)) * len(points) * STEPS
    warm = float(np.median(ours))
    command = [sys.executable, "-W", "ignore", "-c", COLD]
    cold = machine.wall(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    rival = (
        f"eager PyTorch loop {machine.figure(loop, 's')}, from {SLICE} × {SLICE_STEPS} steps of "
        f"{machine.figure(float(np.median(theirs)), 's')}"
    )
    machine.report(
        "GD Figure 3, 10³ × 1,000 steps, the whole `am.sweep` call, warm", 20_000, loop / warm,
        machine.figure(warm, "s"), rival, seconds=warm, torch_seconds_extrapolated=loop,
    )  # fmt: skip
    machine.report(
        "the same from process start", 50, loop / cold, machine.figure(cold, "s"), rival, seconds=cold
    )


if __name__ == "__main__":
    machine.run(main)
