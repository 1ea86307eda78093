"""Lane-steps a second of the sweep's kernel on all cores, as a share of what its exponentials allow.

The limit is measured in the same run on the same devices: the rate of e^x on vectors that stay in cache,
divided by the exponentials of a lane-step (one a token). "Flat" is the plain vmap that one would write.
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


def rate(fn, steps, tile=None, chunk=LANES):
    """Lane-steps a second: the compiled program, without the Dataset around it."""
    side = int(LANES**0.5)
    points = axes.grid(
        {"learning_rate": np.geomspace(0.1, 10, side), "alpha": np.linspace(0.0, 0.9, side)}, None
    )
    made = plan.prepare(fn, points, tile=tile, chunk=chunk)
    built = plan.program(made)
    lanes = built.local_lanes(0)
    built.run(0, lanes)
    began = time.perf_counter()
    built.run(0, lanes)
    return len(lanes) * steps / (time.perf_counter() - began), made.tile


def main():
    cases = {"two tokens": (two, 2, STEPS), "four tokens": (four, 4, STEPS), "matrix": (matrix, 16, 100)}
    found = {name: {"tiled": [], "flat": [], "share": []} for name in cases}
    for _ in range(5):  # in turn, so that all meet the same machine
        for name, (fn, exponentials, steps) in cases.items():
            most = limit() / exponentials
            tiled, tile = rate(fn, steps)
            found[name]["tiled"].append(tiled)
            found[name]["share"].append(tiled / most)
            found[name]["tile"] = tile
            found[name]["flat"].append(rate(fn, steps, tile=LANES // CORES)[0])
    middle = {name: {k: float(np.median(v)) for k, v in measured.items()} for name, measured in found.items()}
    for name, goal in (("two tokens", 600e6), ("four tokens", 400e6)):
        machine.report(f"{name}: lane-steps a second, float32, all cores", 1, middle[name]["tiled"] / goal,
                       goal_lane_steps=goal, **middle[name])  # fmt: skip
    machine.report("two tokens: share of the limit set by two exponentials a step", 0.5,
                   middle["two tokens"]["share"])  # fmt: skip
    machine.report("4 × 4 matrix through simulate: tiled against one flat tile of all lanes", 5,
                   middle["matrix"]["tiled"] / middle["matrix"]["flat"], all=middle)  # fmt: skip


if __name__ == "__main__":
    main()
