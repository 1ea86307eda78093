"""One GD step of a d = 10, N = 5 memory inside the scan, against the same loop in PyTorch (float64).

Notes. The step of the matrix is bound by its four small matrix products, half of it."""

import time

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import torch

import assocmem_jax as am
import machine
from machine import figure

N, D, STEPS, TORCH_STEPS, RATE = 5, 10, 100_000, 5_000, 1.0


def torch_problem(task):
    tensors = (torch.tensor(np.asarray(a)) for a in (task.probabilities, task.inputs, task.outputs))
    return *tensors, torch.arange(N), torch.zeros(D, D, dtype=torch.float64, requires_grad=True)


def idiomatic(problem, steps):
    """As a PyTorch user writes it: an optimizer, backward, step. Ours runs an optimizer too."""
    p, inputs, outputs, labels, weight = problem
    optimizer = torch.optim.SGD([weight], lr=RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        losses = torch.nn.functional.cross_entropy(inputs @ weight.T @ outputs.T, labels, reduction="none")
        (p @ losses).backward()
        optimizer.step()


def stripped(problem, steps):
    """The least eager PyTorch can do."""
    p, inputs, outputs, labels, weight = problem
    for _ in range(steps):
        losses = torch.nn.functional.cross_entropy(inputs @ weight.T @ outputs.T, labels, reduction="none")
        (gradient,) = torch.autograd.grad(p @ losses, weight)
        with torch.no_grad():
            weight.sub_(RATE * gradient)


def torch_time(loop, task):
    problem = torch_problem(task)
    began = time.perf_counter()
    loop(problem, TORCH_STEPS)
    seconds = (time.perf_counter() - began) / TORCH_STEPS
    _, inputs, outputs, _, weight = problem
    scores = (inputs @ weight.T @ outputs.T).detach().numpy()
    return seconds, np.diagonal(scores) - np.where(np.eye(N, dtype=bool), -np.inf, scores).max(axis=1)


def main():
    torch.set_num_threads(1)  # faster than two at this size
    keys = jr.split(jr.key(2))
    task = am.AssociationTask(
        am.laws.zipf(N),
        jnp.arange(N),
        am.embeddings.sphere(keys[0], N, D),
        am.embeddings.sphere(keys[1], N, D),
    )
    watch, descents = {"margins": am.margins}, {}
    for steps in (STEPS, TORCH_STEPS):
        descents[steps] = am.Descent(optax.sgd, steps, learning_rate=RATE)

    def train(model, steps):
        run = am.simulate(task, model.zeros(task), descents[steps], observe=watch, every=steps)
        return run.observed["margins"][-1]

    times = {"memory": [], "particles": [], "idiomatic": [], "stripped": []}
    for _ in range(5):  # in turn, so that all meet the same machine
        times["memory"].append(machine.seconds(lambda: train(am.LinearMemory, STEPS), repeats=1)[0] / STEPS)
        times["particles"].append(
            machine.seconds(lambda: train(am.ParticleSystem, STEPS), repeats=1)[0] / STEPS
        )
        for name, loop in (("idiomatic", idiomatic), ("stripped", stripped)):
            seconds, margins = torch_time(loop, task)
            times[name].append(seconds)
            difference = float(np.abs(np.asarray(train(am.LinearMemory, TORCH_STEPS)) - margins).max())
            assert difference < 1e-9
    step = {name: float(np.median(value)) for name, value in times.items()}
    said = {name: figure(value, "s") for name, value in step.items()}
    machine.report(
        "a GD step (d = 10, N = 5) inside the scan", 30, step["idiomatic"] / step["memory"], said["memory"],
        f"PyTorch loop with `torch.optim.SGD` {said['idiomatic']}", seconds_a_step=step,
    )  # fmt: skip
    bare = f"PyTorch loop stripped of its optimizer {said['stripped']}"
    for what, name in (("the same", "memory"), ("the same through `ParticleSystem`", "particles")):
        machine.note(what, said[name], bare, step["stripped"] / step[name])


if __name__ == "__main__":
    machine.run(main)
