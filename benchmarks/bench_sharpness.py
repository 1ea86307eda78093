"""Sharpness at d = 64 (a 4096 × 4096 Hessian) against a dense eigensolve of the same matrix."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import assocmem_jax as am
import machine
from machine import figure

D = 64


def main():
    keys = jr.split(jr.key(1), 3)
    task = am.AssociationTask(
        am.laws.zipf(D),
        jnp.arange(D),
        am.embeddings.sphere(keys[0], D, D),
        am.embeddings.sphere(keys[1], D, D),
    )
    memory = am.LinearMemory.gaussian(task, keys[2])
    ours, compile_time = machine.seconds(jax.jit(am.sharpness), task, memory)
    dense = np.asarray(am.memory.hessian(task, memory))
    competitor = machine.wall(lambda: np.linalg.eigvalsh(dense))
    expected = np.linalg.eigvalsh(dense)[-1]
    found = float(am.sharpness(task, memory))
    assert abs(found - expected) <= 1e-9 * expected, (found, expected)
    machine.report(
        "sharpness at d = 64 (4096 × 4096 Hessian)", 500, competitor / ours,
        figure(ours, "s"), f"`numpy.linalg.eigvalsh` {figure(competitor, 's')}", ours_seconds=ours, dense_seconds=competitor, first_call_seconds=compile_time,
        relative_difference=abs(found - expected) / expected,
    )  # fmt: skip


if __name__ == "__main__":
    machine.run(main)
