"""Lane-steps a second of the sweep's kernel on all cores, as a share of what its exponentials allow.

The limit is measured in the same run on the same devices: the rate of e^x on vectors that stay in cache,
divided by the exponentials of a lane-step (one a token and class but one). "Flat" is what one would write
without tiles, ``jit(vmap(fn))`` over all lanes. float32.

Notes. The two-token kernel (`am.time_to_perfect`) is lanes last, so flat and tiled differ little there;
what tiling gains shows on code as a user writes it. Through `simulate` a step does more (loss gradient by
autodiff, status, conditions) and costs many times what its exponentials do. Batched products of tiny
matrices were most of that: 35 µs for 64 lanes of 4 × 4, against .5 µs written out as sums, which is what
`am.embeddings.product` does.
"""

import functools
import os
import time

import jax

CORES = len(os.sched_getaffinity(0))
jax.config.update("jax_num_cpu_devices", CORES)

import jax.numpy as jnp
import numpy as np
import optax

import assocmem_jax as am
import machine
from assocmem_jax.sweeps import axes, plan
from machine import figure

jax.config.update("jax_enable_x64", False)
LANES, STEPS = 65_536, 1000


def two(learning_rate, alpha):
    return am.time_to_perfect(am.two_tokens(alpha, 0.75), learning_rate, STEPS)


def four(learning_rate, alpha):
    """Four tokens in four dimensions, any two of them α apart; two classes."""
    law, labels = jnp.array([0.4, 0.3, 0.2, 0.1]), jnp.array([0, 1, 0, 1])
    return am.time_to_perfect(
        am.AssociationTask(law, labels, _equal(alpha), jnp.eye(2)), learning_rate, STEPS
    )


def _equal(alpha):
    """a I + b 11ᵀ with rows of norm one and correlation α."""
    root = jnp.sqrt(1 - alpha)
    return root * jnp.eye(4) + (jnp.sqrt(1 + 3 * alpha) - root) / 4


def logits(learning_rate, alpha):
    """One token, four classes, soft labels, written by hand: w ← w + η (q − softmax w)."""
    q = jnp.stack([alpha, 1 - alpha, 0 * alpha, 0 * alpha])
    step = lambda _, w: w + learning_rate * (q - jax.nn.softmax(w))  # noqa: E731
    return {"w": jax.lax.fori_loop(0, STEPS, step, jnp.zeros(4))}


def matrix(learning_rate, alpha):
    """The 4 × 4 matrix itself, four classes, through ``simulate``: 16 exponentials a step."""
    task = am.AssociationTask(am.laws.zipf(4), jnp.arange(4), _equal(alpha), jnp.eye(4))
    descent = am.Descent(optax.sgd, 100, learning_rate=learning_rate)
    memory, until = am.LinearMemory.zeros(task), am.perfect_accuracy(None)
    run = am.simulate(task, memory, descent, observe={}, every=100, until=until)
    return {"first_step": run.first_step}


@functools.partial(jax.pmap, axis_name="d")
def _exponentials(x):
    return jax.lax.fori_loop(0, 20_000, lambda _, x: jnp.exp(-x), x)


def limit():
    """e^x a second on all cores, in cache."""
    x = jnp.ones((CORES, 2048)) * 0.5
    return CORES * 2048 * 20_000 / machine.seconds(_exponentials, x, repeats=1)[0]


def lanes():
    side = int(LANES**0.5)
    return {"learning_rate": np.geomspace(0.1, 10, side), "alpha": np.linspace(0.0, 0.9, side)}


def tiled(fn, steps):
    """(lane-steps a second, tile): the compiled program, without the Dataset around it."""
    made = plan.prepare(fn, axes.grid(lanes(), None), chunk=LANES)
    built = plan.program(made)
    numbers = built.local_lanes(0)
    built.run(0, numbers)
    began = time.perf_counter()
    built.run(0, numbers)
    return LANES * steps / (time.perf_counter() - began), made.tile


def flat(fn, steps):
    points = np.meshgrid(*lanes().values(), indexing="ij")
    together = _flat(fn)
    return (
        LANES
        * steps
        / machine.seconds(together, *(p.ravel().astype(np.float32) for p in points), repeats=1)[0]
    )


@functools.cache
def _flat(fn):
    return jax.jit(jax.vmap(fn))


def main():
    cases = {
        "two tokens": (two, 2, STEPS), "four tokens": (four, 4, STEPS), "logits": (logits, 4, STEPS),
        "matrix": (matrix, 16, 100),
    }  # fmt: skip
    found = {name: {"tiled": [], "flat": [], "share": [], "tile": []} for name in cases}
    for _ in range(5):  # in turn, so that all meet the same machine
        for name, (fn, exponentials, steps) in cases.items():
            most = limit() / exponentials
            speed, tile = tiled(fn, steps)
            for key, value in {
                "tiled": speed,
                "share": speed / most,
                "tile": tile,
                "flat": flat(fn, steps),
            }.items():
                found[name][key].append(value)
    middle = {name: {k: float(np.median(v)) for k, v in kept.items()} for name, kept in found.items()}
    kernel, general, own, whole = middle.values()
    unit = "lane-steps/s"
    for what, of, asked in (
        ("two tokens", kernel, 600e6), ("four correlated tokens, d = 4", general, 400e6),
        ("four logits, a user's own loop", own, 400e6),
    ):  # fmt: skip
        ours = f"{figure(of['tiled'], unit)} (tiles of {of['tile']:.0f})"
        machine.report(what, 1, of["tiled"] / asked, ours, figure(asked, unit), **of)
    for what, of in (("four logits", own), ("4 × 4 matrix through `simulate`", whole)):
        machine.report(
            f"{what}: tiled over flat", 5 if of is own else 1, of["tiled"] / of["flat"],
            figure(of["tiled"], unit), f"flat, `jit(vmap(fn))`, {figure(of['flat'], unit)}", **of,
        )  # fmt: skip
    machine.report(
        "two tokens: share of the limit of two e^x a step", 0.5, kernel["share"],
        figure(kernel["tiled"], unit), f"limit {figure(kernel['tiled'] / kernel['share'], unit)}",
    )  # fmt: skip
    for what, of in (("four correlated tokens", general), ("four logits", own)):
        limited = f"limit {figure(of['tiled'] / of['share'], unit)}"
        machine.note(f"{what}: share of the limit of four", figure(of["tiled"], unit), limited, of["share"])


if __name__ == "__main__":
    machine.run(main)
