"""The induction transformer at B = 64, T = 256, d = 128, K = 5 against plain PyTorch and a NumPy sampler.

Claims: a gradient (forward and backward) per sequence, its memory, a batch of data, all with the update, on
one core in float32; what both cores make of a gradient stands beside. Values and gradients agree to 1e-5
(float32) and 1e-12 (float64) with PyTorch's on the same batch.

Notes. Products of the plain step are 286 MFLOP a sequence (autograd, no slopes of frozen parts), of ours 78
(61 loss positions on average; padded to the sizes that are compiled, 90). What is left to the limit is
softmax passes over scores and products of 64 rows. What is the same in all sequences (products of frozen
and trained matrices with embeddings) is made, and differentiated, once for all chunks; a chunk is two
sequences; where more than 5/16 of the positions count, all are looked at, in causal blocks. Scores of layer
1 from tables of tokens and positions (half the products, a gather more) were no faster; nor were (28
November 2026) more sizes for loss positions, blocks of 32 or 128 rows, chunks of one sequence or four: 1.20
to 1.40 ms, as shipped 1.22. Six times the published step is 1.05 ms a sequence, its products at .87 of the
limit. The competitor is plain PyTorch as one writes it, autograd over all positions. On a card:
[benchmarks_gpu.md](benchmarks_gpu.md).
"""

import os
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

import assocmem_jax as am
import machine
from assocmem_jax.observe.gradient import trainable_mask
from assocmem_jax.systems.induction.task import bigram
from assocmem_jax.tasks.batches import mean_loss
from machine import figure

B, T, D, K = 64, 256, 128, 5
TRAINED = ("key1", "key2", "output2")


def numpy_batch(rng, task, n):
    """Token by token, as one would write it first."""
    pi, law = np.asarray(task.unigram, float), np.asarray(task.bigram, float)
    pi, law = pi / pi.sum(), law / law.sum(1, keepdims=True)
    N = len(pi)
    tokens = np.empty((n, T + 1), int)
    seen = np.zeros((n, T), int)
    for row, occurrence in zip(tokens, seen):
        triggers = rng.choice(N, K, replace=False, p=pi)
        outputs = dict(zip(triggers.tolist(), rng.integers(N, size=K).tolist()))
        count = dict.fromkeys(outputs, 0)
        row[0] = rng.choice(N, p=pi)
        for t in range(T):
            z = int(row[t])
            if z in outputs:
                count[z] += 1
                occurrence[t] = count[z]
                row[t + 1] = outputs[z]
            else:
                row[t + 1] = rng.choice(N, p=law[z])
    return tokens[:, :-1], tokens[:, 1:], seen >= 2


class Torch:
    """The step in PyTorch: two attention layers, cross-entropy at the loss positions, autograd."""

    def __init__(self, model, dtype):
        names = ("embedding", "positions", "unembedding", "output1", "value1", "value2", *TRAINED)
        for name in names:
            weight = torch.tensor(np.asarray(getattr(model, name)), dtype=dtype)
            setattr(self, name, weight.requires_grad_(name in TRAINED))
        self.seen = torch.tril(torch.ones(T, T, dtype=torch.bool))
        self.optimizer = torch.optim.SGD(self.weights(), lr=0.2, momentum=0.9, weight_decay=1e-4)

    def weights(self):
        return [getattr(self, name) for name in TRAINED]

    def attend(self, x, key, value, output):
        scores = (x @ key) @ x.transpose(1, 2) / D**0.5
        weights = torch.softmax(scores.masked_fill(~self.seen, -torch.inf), dim=-1)
        return weights @ (x @ value.T) @ output.T

    def loss(self, tokens, targets, mask):
        x = self.embedding[tokens] + self.positions
        x = x + self.attend(x, self.key1, self.value1, self.output1)
        x = x + self.attend(x, self.key2, self.value2, self.output2)
        return torch.nn.functional.cross_entropy((x @ self.unembedding.T)[mask], targets[mask])

    def gradient(self, *batch):
        loss = self.loss(*batch)
        return loss, torch.autograd.grad(loss, self.weights())

    def step(self, *batch):
        self.optimizer.zero_grad()
        self.loss(*batch).backward()
        self.optimizer.step()


def wall(function, repeats=5):
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def setup(dtype):
    jax.config.update("jax_enable_x64", dtype == "float64")
    task = am.BigramTask.shakespeare(length=T, triggers=K, data=4)
    model = am.InductionTransformer.published(task, jax.random.key(0), D)
    batch = task.sample(jax.random.key(1), B)
    trained, frozen = eqx.partition(model, trainable_mask(model))

    @jax.jit
    def step(part, batch):
        return jax.value_and_grad(lambda p: task.sampled_loss(eqx.combine(p, frozen), batch))(part)

    as_torch = [torch.tensor(np.asarray(a)).long() for a in (batch.tokens, batch.targets)]
    as_torch.append(torch.tensor(np.asarray(batch.in_context)))
    return task, model, trained, step, batch, Torch(model, getattr(torch, dtype)), as_torch


def agreement(step, trained, batch, competitor, as_torch):
    value, slopes = step(trained, batch)
    loss, theirs = competitor.gradient(*as_torch)
    off = max(
        float(np.abs(np.asarray(getattr(slopes, name)) - g.numpy()).max()) for name, g in zip(TRAINED, theirs)
    )
    return max(off, abs(float(value) - loss.item()))


def flops(positions):
    """(naive, shipped) floating-point operations of one sequence's gradient, products only."""
    square, score = 2 * T * D * D, 2 * T * T * D
    forward = 2 * (3 * square + 2 * score)
    # Backward, as autograd does it: no slope of what is frozen. Layer 1, layer 2, unembedding both ways.
    naive = forward + (2 * square + 2 * score) + (5 * square + 4 * score) + 4 * T * D * 65
    blocks = (T // 64 + 1) / (2 * (T // 64))  # share of the causal square that is touched
    p = positions
    small = 2 * p * D * D + 4 * p * T * D + 2 * 2 * p * D * 65
    shipped = 2 * blocks * 2 * score + 3 * small
    return naive, shipped


def on_both_cores():
    """(ours, PyTorch's) seconds of a gradient, the batch split over two devices of JAX."""
    os.sched_setaffinity(0, range(os.cpu_count()))
    jax.config.update("jax_num_cpu_devices", 2)
    torch.set_num_threads(2)
    task, _, trained, _, batch, competitor, as_torch = setup("float32")
    model = am.InductionTransformer.published(task, jax.random.key(0), D)
    _, frozen = eqx.partition(model, trainable_mask(model))
    loss = lambda part: mean_loss(task, eqx.combine(part, frozen), batch, None, 2)  # noqa: E731
    ours = jax.jit(jax.value_and_grad(loss))
    turns = machine.in_turn(
        {"ours": lambda: ours(trained), "torch": lambda: competitor.gradient(*as_torch)}, 15
    )
    return turns["ours"], turns["torch"]


def main():
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    jax.config.update("jax_enable_x64", True)
    exact = agreement(*[setup("float64")[k] for k in (3, 2, 4, 5, 6)])
    assert exact < 1e-12, exact
    task, model, trained, step, batch, competitor, as_torch = setup("float32")
    close = agreement(step, trained, batch, competitor, as_torch)
    assert close < 1e-5, close

    _, first = machine.seconds(step, trained, batch, repeats=1)
    turns = machine.in_turn(
        {"ours": lambda: step(trained, batch), "torch": lambda: competitor.gradient(*as_torch)}, 15
    )
    ours, theirs = turns["ours"], turns["torch"]
    positions = float(np.mean(np.sum(np.asarray(batch.in_context), axis=1)))
    naive, shipped = flops(positions)
    square = jnp.ones((2048, 2048), jnp.float32)
    product = machine.seconds(jax.jit(lambda m: m @ m), square)[0]
    limit = 2 * 2048**3 / product
    memory = jax.jit(step).lower(trained, batch).compile().memory_analysis()
    machine.report(
        "a gradient (forward and backward) of a sequence", 3.5, theirs / ours,
        figure(ours / B, "s"), f"plain PyTorch {figure(theirs / B, 's')}",
        ms_per_sequence=1e3 * ours / B, torch_ms_per_sequence=1e3 * theirs / B, first_call_seconds=first,
        naive_mflop=naive / 1e6, shipped_mflop=shipped / 1e6, loss_positions=positions,
        float32_product_gflops=limit / 1e9, shipped_share_of_limit=shipped * B / ours / limit,
        naive_share_of_limit=naive * B / theirs / limit, float32_off=close, float64_off=exact,
        temporary_megabytes=memory.temp_size_in_bytes / 1e6,
    )  # fmt: skip
    ((both, torch_both),) = machine.anew(on_both_cores, repeats=1)
    machine.note(
        "the same on both cores",
        figure(both / B, "s"),
        f"plain PyTorch {figure(torch_both / B, 's')}",
        torch_both / both,
    )
    machine.report(
        "its products, as a share of what a float32 product of 2048 × 2048 does in this run", 0.6,
        shipped * B / ours / limit, f"{figure(shipped * B / ours, 'FLOP/s')}",
        f"{figure(limit, 'FLOP/s')}; plain PyTorch's products {figure(naive * B / theirs / limit)} of it",
    )  # fmt: skip

    _, frozen = eqx.partition(model, trainable_mask(model))
    full = task.sample(jax.random.key(4), 512)
    usual, sizes, results = bigram._CHUNK_TOKENS, {}, {}
    for chunk in (usual, 512 * T):
        bigram._CHUNK_TOKENS = chunk
        gradient = jax.jit(
            lambda part: jax.value_and_grad(lambda p: task.sampled_loss(eqx.combine(p, frozen), full))(part)
        )
        compiled = gradient.lower(trained).compile()
        sizes[chunk] = compiled.memory_analysis().temp_size_in_bytes
        results[chunk] = jax.tree.leaves(compiled(trained))
    bigram._CHUNK_TOKENS = usual
    off = max(float(jnp.abs(a - b).max()) for a, b in zip(*results.values()))
    assert off < 1e-5, off
    chunked, whole = sizes.values()
    machine.report(
        f"temporary memory of a gradient of 512 sequences, {usual // T} at a time", 8, whole / chunked,
        figure(chunked, "B"), f"all at once {figure(whole, 'B')}",
        megabytes=chunked / 1e6, all_at_once_megabytes=whole / 1e6, difference=off,
    )  # fmt: skip

    rng = np.random.default_rng(0)
    draw = jax.jit(lambda key: task.sample(key, B))
    sampling, _ = machine.seconds(draw, jax.random.key(2), repeats=20)
    per_token = wall(lambda: numpy_batch(rng, task, B), 3)
    machine.report(
        "a batch of 64 × 256 tokens", 100, per_token / sampling,
        figure(sampling, "s"), f"NumPy, token by token, {figure(per_token, 's')}",
        milliseconds=1e3 * sampling, numpy_milliseconds=1e3 * per_token,
    )  # fmt: skip

    steps = 20

    def momentum(rate):
        return optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(rate, momentum=0.9))

    descent = am.Descent(momentum, steps, B, learning_rate=0.2)
    run = lambda key: am.simulate(task, model, descent, observe={}, every=steps, key=key).num_steps  # noqa: E731
    whole, _ = machine.seconds(run, jax.random.key(3), repeats=5)

    def torch_step():
        tokens, targets, mask = numpy_batch(rng, task, B)
        competitor.step(torch.tensor(tokens), torch.tensor(targets), torch.tensor(mask))

    end = wall(torch_step, 5)
    machine.report(
        "a training step with fresh data, through `simulate`", 6, end / (whole / steps),
        figure(whole / steps, "s"), f"PyTorch and NumPy {figure(end, 's')}",
        milliseconds=1e3 * whole / steps, torch_and_numpy_milliseconds=1e3 * end,
    )  # fmt: skip


if __name__ == "__main__":
    machine.run(main)
