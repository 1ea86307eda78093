"""One GD step of a d = 10, N = 5 memory inside the scan, against the same loop in PyTorch."""

import time

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import torch

import assocmem_jax as am
import machine

N, D, STEPS, TORCH_STEPS, RATE = 5, 10, 100_000, 5_000, 1.0


def main():
    keys = jr.split(jr.key(2))
    task = am.AssociationTask(
        am.laws.zipf(N),
        jnp.arange(N),
        am.embeddings.sphere(keys[0], N, D),
        am.embeddings.sphere(keys[1], N, D),
    )
    memory = am.LinearMemory.zeros(task)

    def train(steps):
        return am.simulate(
            task,
            memory,
            am.Descent(optax.sgd, steps, learning_rate=RATE),
            observe={"margins": am.margins},
            every=steps,
        ).observed["margins"][-1]

    ours, compile_time = machine.seconds(lambda: train(STEPS))
    torch.set_num_threads(1)  # faster than two at this size
    p, inputs, outputs = (
        torch.tensor(np.asarray(a)) for a in (task.probabilities, task.inputs, task.outputs)
    )
    weight = torch.zeros(D, D, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(N)

    def loop(steps):
        for _ in range(steps):
            losses = torch.nn.functional.cross_entropy(
                inputs @ weight.T @ outputs.T, labels, reduction="none"
            )
            (gradient,) = torch.autograd.grad(p @ losses, weight)
            with torch.no_grad():
                weight.sub_(RATE * gradient)

    loop(100)
    with torch.no_grad():
        weight.zero_()
    began = time.perf_counter()
    loop(TORCH_STEPS)
    competitor = time.perf_counter() - began
    scores = (inputs @ weight.T @ outputs.T).detach().numpy()
    margins = np.diagonal(scores) - np.where(np.eye(N, dtype=bool), -np.inf, scores).max(axis=1)
    difference = float(np.abs(np.asarray(train(TORCH_STEPS)) - margins).max())
    assert difference < 1e-9
    machine.report(
        "a GD step (d = 10, N = 5) inside the scan against an eager PyTorch loop", 30,
        (competitor / TORCH_STEPS) / (ours / STEPS), ours_microseconds=1e6 * ours / STEPS,
        torch_microseconds=1e6 * competitor / TORCH_STEPS, first_call_seconds=compile_time,
        margin_difference=difference,
    )  # fmt: skip


if __name__ == "__main__":
    main()
