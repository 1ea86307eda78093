"""Factual recall: 8,192 steps of SGD (S = 16, R = 4, D = 8, batch 1024, T = 32) against a PyTorch loop.

20 types of noise, fresh texts, three losses every 32 steps, float32, both cores. PyTorch's is the better
of one thread and two; it learns by the same law, which is asserted at its first plateau.

Notes. Gathering rows (`A[z] * v[z]`) costs PyTorch more than `embedding_bag`, and that more than a product
with counts of tokens. Our step is that product; half of its time is threefry.
"""

import time

import jax
import numpy as np
import optax
import torch

import assocmem_jax as am
import machine
from assocmem_jax.systems.factual.studies.order import flow_times
from machine import figure

STEPS, SAMPLE, RATE, BATCH, START = 8192, 300, 0.1, 1024, 1e-5


class Recall:
    """Σ_t v_{z_t} A_{a,z_t} as one would write it, twice: ``embedding_bag``, and counts of tokens."""

    def __init__(self, task, counted: bool):
        self.counted, (S, R), V = counted, task.facts.shape, task.num_tokens
        self.sizes = S, R, task.noise, task.length, V
        self.facts = torch.tensor(np.array(task.facts), dtype=torch.long)
        self.v = torch.full((V,), START, requires_grad=True)
        self.A = torch.full((V, task.num_answers), START, requires_grad=True)

    def batch(self):
        S, R, noise, length, V = self.sizes
        s, r = torch.randint(S, (BATCH,)), torch.randint(R, (BATCH,))
        z = torch.randint(S + R, S + R + noise, (BATCH, length))
        one, other = torch.randint(length - 1, (BATCH,)), torch.randint(length - 2, (BATCH,))
        rows, other = torch.arange(BATCH), other + (other >= one)
        z[:, -1], z[rows, one], z[rows, other] = V - 1, s, S + r
        return z, self.facts[s, r]

    def logits(self, z):
        if self.counted:
            counts = torch.zeros(BATCH, len(self.v)).scatter_add_(1, z, torch.ones(z.shape))
            return counts @ (self.v[:, None] * self.A)
        bag = torch.nn.functional.embedding_bag
        return bag(z, self.A, per_sample_weights=self.v[z], mode="sum")

    def train(self, steps):
        optimizer = torch.optim.SGD([self.v, self.A], lr=RATE)
        for _ in range(steps):
            z, answers = self.batch()
            loss = torch.nn.functional.cross_entropy(self.logits(z), answers)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()


def torch_seconds(task, counted: bool) -> float:
    """Of all steps, extrapolated; the better of one thread and two."""
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        recall = Recall(task, counted)
        recall.train(30)
        found.append(machine.wall(lambda of=recall: of.train(SAMPLE)) / SAMPLE * STEPS)
    return min(found)


def training():
    """(the task, a function: losses of so many steps), in float32, PyTorch's default."""
    jax.config.update("jax_enable_x64", False)
    keys = jax.random.split(jax.random.key(0))
    task = am.FactualTask.balanced(16, 4, 8, keys[0], draws=1)
    model = am.LinearAttentionRecall.constant(task, START)
    watch = {"loss": am.loss, "relation": am.factual.relation_loss, "subject": am.factual.subject_loss}

    def run(steps):
        descent = am.Descent(optax.sgd, steps, BATCH, learning_rate=RATE)
        return am.simulate(task, model, descent, observe=watch, every=32, key=keys[1]).observed["loss"]

    return task, run


def first_training():
    began = time.perf_counter()
    jax.block_until_ready(training()[1](STEPS))
    return time.perf_counter() - began


def first_sweep():
    """Of 10⁶ points, in float64."""
    began = time.perf_counter()
    sizes = [np.geomspace(low, high, n) for low, high, n in ((4, 512, 40), (2, 256, 40), (2, 256, 25))]
    axes = dict(zip(("subjects", "relations", "answers"), sizes)) | {"start": np.geomspace(1e-6, 0.1, 25)}
    swept = am.sweep(lambda **point: flow_times(**point, level=0.1), **axes, progress=False)
    assert swept.plateau_end.size == 1_000_000
    return time.perf_counter() - began


def main():
    firsts, sweeps = machine.anew(first_training), machine.anew(first_sweep)
    task, run = training()
    losses = run(STEPS)
    ours, _ = machine.seconds(lambda: run(STEPS), repeats=3)
    assert float(losses[-1]) < 0.02, losses[-1]
    bag, counted = torch_seconds(task, False), torch_seconds(task, True)
    # A loop of the same law: its loss at the first plateau, on its own draws.
    recall = Recall(task, True)
    assert abs(recall.train(2700) - np.log(8)) < 0.1
    said = f"{figure(ours, 's')} ({figure(ours / STEPS, 's')} a step)"
    machine.report(
        "8,192 steps of SGD, compiled", 10, bag / ours, said,
        f"PyTorch loop with `embedding_bag` {figure(bag, 's')}, from {SAMPLE} steps", seconds=ours,
        torch_seconds_extrapolated=bag,
    )  # fmt: skip
    machine.note(
        "the same", said, f"the loop on counts of tokens {figure(counted, 's')}, from {SAMPLE} steps",
        counted / ours, torch_seconds_extrapolated=counted,
    )  # fmt: skip
    machine.within("the same with compilation", 15, float(np.median(firsts)), "s", seconds=firsts)
    machine.within(
        "10⁶ points (S, R, D, α) of the reduced system through `am.sweep`, with compilation", 60,
        float(np.median(sweeps)), "s", seconds=sweeps,
    )  # fmt: skip


if __name__ == "__main__":
    machine.run(main)
