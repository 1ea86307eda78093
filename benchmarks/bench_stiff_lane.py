"""One stiff flow among 256 easy ones, in one sweep, against the two swept apart.

Soft labels have a finite minimiser, which makes a long flow stiff; kept on the explicit solver
(``stiff=False``), the stiff lane takes some thousands of steps where the easy ones take tens.

Notes. A tile goes on until its slowest lane is done. In the same minutes (28 November 2026, by hand), all
lanes together in tiles of 8, 16, 32 and 64: 67, 95, 161 and 286 ms; 256 flows of one kind (`bench_flow`'s):
880, 712, 732 and 527 µs each. So fewer than 512 flows run in tiles of 16, not 32 as they did.
"""

import time

import jax

jax.config.update("jax_num_cpu_devices", 2)

import jax.numpy as jnp
import numpy as np

import assocmem_jax as am
import machine
from machine import figure

EASY = np.linspace(0.0, 0.9, 256)


def flow(alpha, t1):
    inputs = am.embeddings.correlated_pair(alpha)
    task = am.AssociationTask(jnp.array([0.6, 0.4]), jnp.array([[0.9, 0.1], [0.2, 0.8]]), inputs, jnp.eye(2))
    dynamics = am.GradientFlow(t1=t1, stiff=False, max_steps=1_000_000)
    run = am.simulate(task, am.ParticleSystem.zeros(task), dynamics, at=jnp.zeros(0))
    return {"loss": run.observed["loss"][-1], "steps": run.num_steps}


def cost(alpha, t1):
    return t1


def seconds(alphas, horizons, **options):
    go = lambda: am.sweep(flow, lane=am.zipped(alpha=alphas, t1=horizons), predict=cost, **options)  # noqa: E731
    data = go()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        go()
        times.append(time.perf_counter() - began)
    return float(np.median(times)), data


def main():
    stiff = (np.array([0.5]), np.array([3e4]))
    easy = (EASY, np.full(len(EASY), 10.0))
    mixed = tuple(np.concatenate([e[:100], s, e[100:]]) for e, s in zip(easy, stiff))
    together, data = seconds(*mixed)
    tile = int(data.attrs["tile"])
    apart = seconds(*easy, tile=tile)[0]
    alone = seconds(*stiff, tile=tile)[0]
    single = seconds(*stiff, tile=1)[0]
    flat = seconds(*mixed, tile=512)[0]
    shared = dict(
        milliseconds=dict(
            together=1e3 * together, easy=1e3 * apart, stiff_alone=1e3 * single,
            stiff_alone_in_a_tile=1e3 * alone, together_in_one_tile=1e3 * flat,
        ),
        tile=tile,
    )  # fmt: skip
    easy_steps, most = int(data.steps.min()), int(data.steps.max())
    # Alone is really alone: a tile of one.
    beside = f"stiff alone {figure(single, 's')} and easy {figure(apart, 's')}"
    machine.report(
        f"a stiff flow ({most:,} solver steps) among 256 easy ones ({easy_steps} and more)", 1.5,
        together / (apart + single), figure(together, "s"), beside, at_most=True, **shared,
    )  # fmt: skip
    machine.note("the same, all in one tile of 512", figure(flat, "s"), beside, flat / (apart + single))


if __name__ == "__main__":
    machine.run(main)
