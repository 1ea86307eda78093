"""Sharpness at d = 64 (a 4096 × 4096 Hessian) against a dense eigensolve of the same matrix; at every step.

At every step: N = 5, d = 10, 256 lanes × 100 steps of descent under `vmap`, `observe=[am.sharpness]`; and the
residual of its direction, ‖∇²L[v] − λv‖/λ, the largest of all lanes and steps (`am.sharpness_residual`)."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import assocmem_jax as am
import machine
from machine import figure

D, LANES, STEPS = 64, 256, 100


def every_step(kind, classes):
    """(seconds of a lane-step, the largest residual), in the precision JAX has now."""
    keys = jr.split(jr.key(0))
    inputs, outputs = am.embeddings.sphere(keys[0], 5, 10), am.embeddings.sphere(keys[1], classes, 10)
    task = am.AssociationTask(am.laws.zipf(5), jnp.arange(5) % classes, inputs, outputs)

    def observed(what):
        def one(rate):
            descent = am.Descent(optax.sgd, STEPS, learning_rate=rate)
            return am.simulate(task, kind.zeros(task), descent, observe=[what])[what.__name__]

        return jax.jit(jax.vmap(one))

    rates = jnp.linspace(0.1, 1, LANES)
    step = machine.seconds(observed(am.sharpness), rates)[0] / LANES / STEPS
    return step, float(jnp.max(observed(am.sharpness_residual)(rates)))


def lapack():
    """Seconds of the eigenvalues of one symmetric 25 × 25 matrix, of many."""
    drawn = jr.normal(jr.key(0), (LANES, 25, 25))
    return machine.seconds(jax.jit(jnp.linalg.eigvalsh), drawn + jnp.swapaxes(drawn, 1, 2))[0] / LANES


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
        figure(ours, "s"), f"`numpy.linalg.eigvalsh` {figure(competitor, 's')}",
        ours_seconds=ours, dense_seconds=competitor, first_call_seconds=compile_time,
        relative_difference=abs(found - expected) / expected,
    )  # fmt: skip
    for precision in ("float64", "float32"):
        jax.config.update("jax_enable_x64", precision == "float64")
        beside = f"LAPACK, the eigenvalues alone, {figure(lapack(), 's')}"
        for kind, classes in ((am.LinearMemory, 5), (am.ParticleSystem, 5), (am.MarginSystem, 2)):
            step, residual = every_step(kind, classes)
            off = f" a lane-step, residual at most {figure(residual)}"
            what = f"sharpness at every step, `{kind.__name__}`, M = {classes}, {precision}"
            said = figure(step, "s") + off
            if precision == "float32" and classes == 5:
                machine.within(what, 10e-6, step, "s", f"{off}; {beside}", residual=residual)
            else:
                machine.note(what, said, beside if classes == 5 else "", residual=residual)


if __name__ == "__main__":
    machine.run(main)
