"""What a card does, in float32: tiles and chunks, the sweep of 10⁸ against its limit, Birth's full setting.

`make bench-gpu` runs this where JAX sees a card (some five minutes); `python benchmarks/gpu.py --small` tries
the script on a CPU. Every part prints JSON; limits of the card come first, measured in the same run.
"""

import functools
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import assocmem_jax as am
import machine as timing
from assocmem_jax import machine
from assocmem_jax.observe.gradient import trainable_mask
from assocmem_jax.sweeps import axes, plan
from assocmem_jax.systems.induction import task as bigrams

jax.config.update("jax_enable_x64", False)
SMALL = "--small" in sys.argv
STEPS, RATES = 1000, (0.1, 10.0)


def say(part, **measured):
    print(json.dumps({"part": part, **measured}, ensure_ascii=False), flush=True)


def median(function, *arguments, repeats=5):
    return timing.seconds(function, *arguments, repeats=repeats)[0]


# What the card can do -----------------------------------------------------------------------------------


def limits():
    """Products, bytes, e^x and σ a second, and what a step of a loop costs at least."""
    n = 1024 if SMALL else 8192
    a = jax.random.normal(jax.random.key(0), (n, n))
    for precision in ("default", "highest"):
        product = jax.jit(functools.partial(jnp.dot, precision=precision))
        say("limit: float32 product", precision=precision, tflops=2 * n**3 / median(product, a, a) / 1e12)
    x = jnp.ones(2**20 if SMALL else 2**28)
    say("limit: copy", gigabytes_a_second=2 * x.nbytes / median(jax.jit(lambda v: v + 1), x) / 1e9)
    x = jnp.linspace(0, 1, 2**16 if SMALL else 2**24)
    for name, function in {"exp": lambda x: jnp.exp(-x), "sigmoid": lambda x: x + jax.nn.sigmoid(-x)}.items():
        chain = jax.jit(lambda x, one=function: functools.reduce(lambda x, _: one(x), range(64), x))
        say(f"limit: {name}", giga_a_second=64 * x.size / median(chain, x) / 1e9)
    loop = jax.jit(lambda x: jax.lax.fori_loop(0, 10_000, lambda _, x: x + jnp.exp(-x), x))
    say("limit: a step of a loop", microseconds=median(loop, jnp.ones(16)) * 100)


# Tiles ----------------------------------------------------------------------------------------------------


def kernel(learning_rate, alpha):
    return am.time_to_perfect(am.two_tokens(alpha, 0.75), learning_rate, STEPS)


def until_perfect(task, model, steps, rate):
    descent = am.Descent(optax.sgd, steps, learning_rate=rate)
    run = am.simulate(task, model, descent, observe={}, every=steps, until=am.perfect_accuracy(None))
    return {"first_step": run.first_step}


def margins(learning_rate, alpha):
    task = am.two_tokens(alpha, 0.75)
    return until_perfect(task, am.MarginSystem.zeros(task), STEPS, learning_rate)


def particles(learning_rate, alpha):
    task = am.two_tokens(alpha, 0.75)
    return until_perfect(task, am.ParticleSystem.zeros(task), STEPS, learning_rate)


def matrix(learning_rate, alpha):
    root = jnp.sqrt(1 - alpha)
    equal = root * jnp.eye(4) + (jnp.sqrt(1 + 3 * alpha) - root) / 4
    task = am.AssociationTask(am.laws.zipf(4), jnp.arange(4), equal, jnp.eye(4))
    return until_perfect(task, am.LinearMemory.zeros(task), 100, learning_rate)


def flow(learning_rate, alpha):
    task = am.two_tokens(alpha, 0.75)
    dynamics = am.GradientFlow(1e3 * learning_rate)
    run = am.simulate(
        task, am.ParticleSystem.zeros(task), dynamics, observe={"loss": am.loss}, at=jnp.zeros(0), throw=False
    )
    return {"loss": run.observed["loss"][-1]}


def tiled(fn, lanes, tile):
    """(seconds of a call, seconds of compilation, the tile)."""
    rows = 2 ** (int(np.log2(lanes)) // 2)
    grid = axes.grid(
        {"learning_rate": np.geomspace(*RATES, rows), "alpha": np.linspace(0, 0.9, lanes // rows)}, None
    )
    made = plan.prepare(fn, grid, tile=tile, chunk=lanes)
    began = time.perf_counter()
    built = plan.program(made)
    compiled = time.perf_counter() - began
    numbers = built.local_lanes(0)
    return median(lambda: built.run(0, numbers), repeats=3), compiled, made.tile


def tiles():
    """Lane-steps a second over tiles, a step and several steps a kernel."""
    top = 12 if SMALL else 21
    cases = {"kernel": (kernel, STEPS, top), "margins": (margins, STEPS, top - 2)}
    cases |= {
        "particles": (particles, STEPS, top - 2),
        "matrix": (matrix, 100, top - 2),
        "flow": (flow, 1, top - 5),
    }
    usual = machine.STEPS_A_KERNEL
    for name, (fn, steps, power) in cases.items():
        for together in (1, usual) if fn is kernel else (usual,):
            machine.STEPS_A_KERNEL = together
            plan._TRACES.clear()
            for tile in (None, *(2**k for k in ((8, 10) if SMALL else (14, 17, 19, 21)) if k <= power)):
                seconds, compiled, used = tiled(fn, 2**power, tile)
                say(
                    f"tile: {name}", steps_a_kernel=together, tile=used, default=tile is None,
                    giga_lane_steps_a_second=2**power * steps / seconds / 1e9, compilation_seconds=compiled,
                )  # fmt: skip


# 10⁸ configurations ------------------------------------------------------------------------------------


def first(learning_rate, alpha, p1):
    return {"first_step": am.time_to_perfect(am.two_tokens(alpha, p1), learning_rate, 100).first_step}


def hundred_million():
    n = (20, 20, 20) if SMALL else (500, 500, 400)
    grid = dict(learning_rate=np.geomspace(*RATES, n[0]), alpha=np.linspace(0.5, 1, n[1]))
    grid |= dict(p1=np.linspace(0.51, 0.99, n[2]))
    for again in (False, True):
        place = Path(tempfile.mkdtemp())
        began = time.perf_counter()
        am.sweep(first, **grid, store=place / "store")
        seconds = time.perf_counter() - began
        shutil.rmtree(place)
        say("10⁸ configurations × 100 steps into a store", seconds=seconds, compiled=again)
    made = plan.prepare(first, axes.grid(grid, None))
    built = plan.program(made)
    lanes = built.local_lanes(0)
    seconds = median(lambda: built.run(0, lanes))
    say(
        "the same, a box alone",
        lanes=lanes.size,
        tile=made.tile,
        giga_lane_steps_a_second=lanes.size * 1e-7 / seconds,
    )


# Birth -------------------------------------------------------------------------------------------------


def momentum(rate):
    return optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(rate, momentum=0.9))


def birth():
    """B = 512, T = 256, d = 128, K = 5: 1,000 steps from nothing, a batch, the chunk of a gradient.

    Once as the package multiplies unless told otherwise, in float32, and once in TF32, as JAX would.
    """
    batch_size, length, steps = (16, 64, 20) if SMALL else (512, 256, 1000)
    watch = {"accuracy": am.induction.in_context_accuracy, "loss": am.induction.in_context_loss}
    for precision in ("tensorfloat32", None):
        jax.config.update("jax_default_matmul_precision", precision)
        for again in (False, True):
            began = time.perf_counter()
            task = am.BigramTask.shakespeare(length=length, triggers=5, data=4)
            model = am.InductionTransformer.published(task, jax.random.key(0), 128)
            descent = am.Descent(momentum, steps, batch_size, learning_rate=0.2)
            run = am.simulate(task, model, descent, observe=watch, every=steps // 20, key=jax.random.key(3))
            accuracy = np.asarray(run.observed["accuracy"]).round(3).tolist()
            say(
                "Birth, 1,000 steps", precision=precision or "float32", compiled=again,
                seconds=time.perf_counter() - began, accuracy=accuracy[::4],
            )  # fmt: skip
    batch = task.sample(jax.random.key(1), batch_size)
    draw = jax.jit(lambda task, key: task.sample(key, batch_size))
    say("Birth, a batch", milliseconds=1e3 * median(draw, task, jax.random.key(2)))
    trained, frozen = eqx.partition(model, trainable_mask(model))
    usual = bigrams._CHUNK_TOKENS_CARD
    for power in (10, 11) if SMALL else (15, 17):
        bigrams._CHUNK_TOKENS_CARD = 2**power

        @jax.jit
        def gradient(trained, frozen, batch):
            return jax.value_and_grad(lambda p: task.sampled_loss(eqx.combine(p, frozen), batch))(trained)

        seconds, compiled = timing.seconds(gradient, trained, frozen, batch)
        say(
            "Birth, a gradient",
            chunk_tokens=2**power,
            milliseconds=1e3 * seconds,
            first_call_seconds=compiled,
        )
    bigrams._CHUNK_TOKENS_CARD = usual


def large():
    """Minibatch descent on N = 50,000 tokens in d = 768, batch 256."""
    tokens, width = (500, 32) if SMALL else (50_000, 768)
    keys = jax.random.split(jax.random.key(0), 2)
    inputs, outputs = (am.embeddings.sphere(key, tokens, width) for key in keys)
    task = am.AssociationTask(am.laws.zipf(tokens), jnp.arange(tokens), inputs, outputs)
    model = am.LinearMemory.zeros(task)

    def run(steps):
        descent = am.Descent(optax.sgd, steps, 256, learning_rate=1.0)
        return am.simulate(task, model, descent, observe={}, every=steps, key=jax.random.key(0)).model

    seconds = (median(run, 201, repeats=3) - median(run, 1, repeats=3)) / 200
    least = 3 * 2 * 256 * tokens * width  # scores, and two products back
    say(
        "SGD, N = 50,000, d = 768, batch 256",
        milliseconds_a_step=1e3 * seconds,
        tflops=least / seconds / 1e12,
    )


def main():
    if not SMALL and jax.default_backend() == "cpu":
        sys.exit("no card: JAX sees only a CPU (python benchmarks/gpu.py --small tries the script)")
    card = jax.devices()[0]
    say("card", kind=card.device_kind, jax=jax.__version__)
    parts = {f.__name__: f for f in (limits, hundred_million, birth, large, tiles)}
    for name in [a for a in sys.argv[1:] if a in parts] or parts:
        began = time.perf_counter()
        parts[name]()
        say("whole part", name=name, seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main()
