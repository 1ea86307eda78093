"""Cooc Figure 1 at full size, 30,000 steps, against a plain PyTorch loop of the same step (timed on 300).

n = 60, L = 5, d = 64, m = 128, m₁ = 256, float64. The step on the weights agrees with PyTorch's: losses
after 300 steps to 1e-9, which is asserted. That of the reduced system is the same, exactly (tests).

Notes. A step of the reduced system is seven products of 64 × 64 matrices (a product of that size runs on
one core); the rest (softmax over 1,500 scores, its gradient) is a tenth of it.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import optax
import torch

import assocmem_jax as am
import machine
from machine import figure

STEPS, SAMPLE, RATE = 30_000, 300, 0.01


def torch_loop(task, model, steps):
    """One-hot samples, batched attention, autograd, SGD: what one would write first. float64, as ours."""
    X = torch.tensor(np.array(task.one_hot))
    y = torch.tensor(np.array(task.labels))
    a = torch.tensor(np.array(model.signs))
    names = ("mlp", "value", "key", "query")
    weights = [torch.tensor(np.array(getattr(model, name)), requires_grad=True) for name in names]
    optimizer = torch.optim.SGD(weights, lr=RATE)
    for _ in range(steps):
        W, V, K, Q = weights
        scores = (X @ Q.T) @ (X @ K.T).transpose(1, 2) / K.shape[0] ** 0.5
        mixed = torch.softmax(scores, dim=-1) @ (X @ V.T)
        output = ((mixed @ W.T) @ a).sum(dim=1)
        loss = torch.nn.functional.softplus(-y * output).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def phase_one():
    """Seconds of `assocmem run cooc_phase_one` in a process without compiled programs."""
    command = str(Path(sys.executable).parent / "assocmem")
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        subprocess.run(
            [command, "run", "cooc_phase_one", "--out", f"{place}/out"],
            check=True, capture_output=True, env=os.environ | {"XDG_CACHE_HOME": place},
        )  # fmt: skip
        return time.perf_counter() - began


def main():
    keys = jax.random.split(jax.random.key(0), 2)
    task = am.CooccurrenceTask.training(keys[0])
    model = am.CooccurrenceTransformer.kaiming(task, keys[1])
    reduced = am.cooccurrence.CooccurrenceSystem.from_transformer(model)
    watch = {"loss": am.loss, "kinds": am.cooccurrence.kind_losses, "G": am.cooccurrence.token_values}

    def run(start, steps, every=100):
        descent = am.Descent(optax.sgd, steps, learning_rate=RATE)
        return am.simulate(task, start, descent, observe=watch, every=every).observed["loss"]

    ours, first = machine.seconds(lambda: run(reduced, STEPS), repeats=3)
    weights, _ = machine.seconds(lambda: run(model, STEPS), repeats=3)
    torch.set_default_dtype(torch.float64)
    torch_loop(task, model, 20)
    competitor = machine.wall(lambda: torch_loop(task, model, SAMPLE)) / SAMPLE * STEPS
    theirs = torch_loop(task, model, SAMPLE)
    same = float(run(model, SAMPLE - 1, SAMPLE - 1)[-1])
    assert abs(same - theirs) <= 1e-9 * theirs, (same, theirs)
    # Seven products of 64 × 64 matrices a step.
    products = figure(7 * 2 * 64**3 * STEPS / ours, "FLOP/s")
    loop = f"PyTorch loop {figure(competitor, 's')}, from {SAMPLE} steps"
    machine.report(
        "Cooc Figure 1, 30,000 steps of the reduced system, compiled", 15, competitor / ours,
        f"{figure(ours, 's')} ({products} in products)", loop, seconds=ours,
        torch_seconds_extrapolated=competitor, first_call_seconds=first,
    )  # fmt: skip
    machine.within("the same", 5, ours, "s")
    machine.note(
        "the same on the four matrices", figure(weights, "s"), loop, competitor / weights, seconds=weights
    )
    whole = phase_one()
    machine.within(
        "1,000 runs to the end of Phase 1 (`cooc_phase_one`), the whole command", 300, whole, "s",
        ", measured once",
    )  # fmt: skip


if __name__ == "__main__":
    machine.run(main)
