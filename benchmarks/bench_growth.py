"""How time and memory of the everyday calls grow: log-log slopes beside what the mathematics asks.

Slopes are fitted to the last two decades of each size (three sizes at least), where what a call costs
whatever its size no longer counts; memory is what the compiled program holds beside its arguments. A law
that minibatches are drawn from is held as a table, made once. float32.

Notes. W of d = 1,024 has d² entries, so a descent may grow by the square of d; classes go in chunks, so
memory of N = M tokens does not grow by the square; minibatches hold the table of their law.
"""

import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import assocmem_jax as am
import machine
from machine import digits

CLASSES = 10
# Noise, and caches that are left: a factor of 2.5 over two decades.
NOISE = 0.2


def problem(tokens, width, classes=CLASSES):
    keys = jr.split(jr.key(0))
    inputs, outputs = (
        am.embeddings.sphere(keys[0], tokens, width),
        am.embeddings.sphere(keys[1], classes, width),
    )
    return am.AssociationTask(am.laws.zipf(tokens), jnp.arange(tokens) % classes, inputs, outputs)


def descent(tokens=100, width=16, steps=100, batch=None, lanes=None, looks=1, classes=CLASSES):
    """(a function, its arguments): a descent, of one rate or of many; ``looks`` at the loss."""
    task = problem(tokens, width, classes)

    def run(task, rate):
        how = am.Descent(optax.sgd, steps, batch, learning_rate=rate)
        every = max(1, steps // looks) if looks else steps
        watch = [am.loss] if looks else {}
        start = am.LinearMemory.zeros(task)
        return am.simulate(task, start, how, observe=watch, every=every, key=jr.key(1)).model.weight

    if lanes is None:
        return run, (task, jnp.asarray(0.1))
    return jax.vmap(run, (None, 0)), (task, jnp.linspace(0.01, 0.1, lanes))


def flow(tokens=5, width=10, horizon=1e3, lanes=None, classes=5):
    task = problem(tokens, width, classes)

    def run(task, t1):
        start = am.LinearMemory.zeros(task)
        return am.simulate(task, start, am.GradientFlow(t1), observe=[am.loss], at=jnp.zeros(0))["loss"]

    if lanes is None:
        return run, (task, jnp.asarray(horizon))
    return jax.vmap(run, (None, 0)), (task, jnp.logspace(1, np.log10(horizon), lanes))


# (what, call of a size, sizes, most that time may grow, most that memory may grow)
GROWTHS = [
    ("full batch in N", lambda n: descent(tokens=n), (10, 100, 1_000, 10_000, 100_000), 1, 1),
    ("full batch in N = M", lambda n: descent(tokens=n, classes=n, steps=10), (10, 100, 1_000, 5_000), 2, 2),
    ("full batch in d", lambda d: descent(tokens=1_000, width=d), (4, 16, 64, 256, 1_024), 2, 2),
    ("minibatches of 32 in N", lambda n: descent(tokens=n, batch=32, looks=0, steps=10_000),
     (10, 100, 1_000, 10_000, 100_000), 0, 1),
    ("the same with the default looks", lambda n: descent(tokens=n, batch=32, steps=1_000),
     (1_000, 10_000, 100_000), 1, 1),
    ("full batch in steps", lambda s: descent(steps=s), (100, 1_000, 10_000, 100_000), 1, 0),
    ("minibatches in steps", lambda s: descent(steps=s, batch=32, looks=0),
     (100, 1_000, 10_000, 100_000, 1_000_000), 1, 0),
    ("full batch in steps, a look at each", lambda s: descent(steps=s, looks=s), (100, 1_000, 10_000), 1, 1),
    ("small memories in lanes", lambda n: descent(tokens=5, width=4, classes=5, lanes=n),
     (1, 10, 100, 1_000, 10_000, 100_000), 1, 1),
    ("flows in lanes", lambda n: flow(lanes=n), (1, 10, 100, 1_000, 10_000), 1, 1),
    ("a flow in its horizon", lambda t: flow(horizon=t), (1e1, 1e3, 1e6, 1e9, 1e12), 0, 0),
]  # fmt: skip


def measured(call):
    """(seconds, bytes) of a compiled call; the median of three."""
    function, arguments = call
    compiled = jax.jit(function).lower(*arguments).compile()
    found = compiled.memory_analysis()
    held = found.temp_size_in_bytes + found.output_size_in_bytes
    jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - began)
    return float(np.median(times)), held


def slope(sizes, values):
    """Of log value against log size over the last two decades, or three sizes."""
    sizes, values = np.log(np.asarray(sizes, float)), np.log(np.asarray(values, float))
    late = sizes >= min(sizes[-1] - np.log(100) - 1e-9, sizes[-3])
    return float(np.polyfit(sizes[late], values[late], 1)[0])


def main():
    jax.config.update("jax_enable_x64", False)
    worst = 0.0
    for what, call, sizes, time_limit, memory_limit in GROWTHS:
        found = [measured(call(size)) for size in sizes]
        seconds, held = zip(*found, strict=True)
        grown, kept = slope(sizes, seconds), slope(sizes, held)
        worst = max(worst, grown - time_limit, kept - memory_limit)
        machine.note(
            f"{what}: {sizes[0]:,g} to {sizes[-1]:,g}", f"time {grown:.2f}, memory {kept:.2f}",
            f"its mathematics: {time_limit}, {memory_limit}",
            sizes=sizes, seconds=seconds, bytes=held, slope_of_time=grown, slope_of_memory=kept,
        )  # fmt: skip
    machine.report(
        "no call grows faster than its mathematics (noise, and caches that are left, may add .2)",
        NOISE, worst, f"largest excess of a slope {digits(worst)}", "its mathematics: 0", at_most=True,
    )  # fmt: skip


if __name__ == "__main__":
    machine.run(main)
