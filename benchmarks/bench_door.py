"""What the general door costs: vmapped descents beside hand-written loops, a warm call, default looks.

N = 5, d = 10, 1,000 lanes × 1,000 steps under `vmap`, float32; loops by hand are lanes last.

Notes. Under `vmap` plain descents of small memories are rows of numbers, lanes last, a tile of them through
all steps and then the next: W as its coordinates in the spans of the embeddings, slopes in closed form,
products with what all lanes share as one matrix product. A warm call is what Python does: half of it checks
and labels.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import assocmem_jax as am
import machine
from machine import figure

LANES, STEPS, N, D = 1000, 1000, 5, 10
RATES = np.linspace(0.1, 1, LANES, dtype=np.float32)


def problem(classes):
    keys = jr.split(jr.key(0))
    inputs, outputs = am.embeddings.sphere(keys[0], N, D), am.embeddings.sphere(keys[1], classes, D)
    return am.AssociationTask(am.laws.zipf(N), jnp.arange(N) % classes, inputs, outputs)


def through_the_door(task, kind):
    """The last loss of every lane, as a user writes it."""

    def one(rate):
        descent = am.Descent(optax.sgd, STEPS, learning_rate=rate)
        return am.simulate(task, kind.zeros(task), descent, observe=[am.loss], every=STEPS)["loss"][-1]

    return jax.jit(jax.vmap(one))


def margins_by_hand(task):
    """Lanes last, every product written out."""
    p, E, U = task.probabilities, task.inputs, task.outputs
    signs = (1 - 2 * task.labels).astype(p.dtype)
    kernel = jnp.sum((U[0] - U[1]) ** 2) * (signs[:, None] * E) @ (signs[:, None] * E).T

    @jax.jit
    def run(rates):
        def step(_, m):
            slope = [p[x] * jax.nn.sigmoid(-m[x]) for x in range(N)]
            moved = [m[x] + rates * sum(kernel[x, j] * slope[j] for j in range(N)) for x in range(N)]
            return jnp.stack(moved)

        return p @ jax.nn.softplus(-jax.lax.fori_loop(0, STEPS, step, jnp.zeros((N, LANES))))

    return run


def scores_by_hand(task):
    p, y, M = task.probabilities, task.labels, task.num_classes
    alpha, beta = task.inputs @ task.inputs.T, task.outputs @ task.outputs.T
    hot = (jnp.arange(M) == y[:, None]).astype(p.dtype)[..., None]

    @jax.jit
    def run(rates):
        def step(_, w):
            e = jnp.exp(w - w.max(1, keepdims=True))
            slope = (e / e.sum(1, keepdims=True) - hot) * p[:, None, None]
            moved = sum(alpha[:, j, None, None] * slope[None, j] for j in range(N))
            return w - rates * sum(moved[:, j, None] * beta[None, j, :, None] for j in range(M))

        w = jax.lax.fori_loop(0, STEPS, step, jnp.zeros((N, M, LANES)))
        return p @ (jax.nn.logsumexp(w, 1) - jnp.take_along_axis(w, y[:, None, None], 1)[:, 0])

    return run


def matrix_by_hand(task):
    """Lanes last: the embeddings, which all share, multiply as one matrix; four times as fast as what vmap
    makes of the same step for one lane."""
    p, E, U, y = task.probabilities, task.inputs, task.outputs, task.labels
    hot = (jnp.arange(task.num_classes) == y[:, None]).astype(p.dtype)[..., None]
    each = lambda m: jnp.broadcast_to(m, (N, *m.shape))  # noqa: E731

    @jax.jit
    def run(rates):
        scores = lambda W: jnp.matmul(each(U), jnp.tensordot(E, W, 1))  # W: (b, a, lanes)  # noqa: E731

        def step(_, W):
            s = scores(W)
            e = jnp.exp(s - s.max(1, keepdims=True))
            slope = (e / e.sum(1, keepdims=True) - hot) * p[:, None, None]
            return W - rates * jnp.tensordot(E.T, jnp.matmul(each(U.T), slope), 1)

        s = scores(jax.lax.fori_loop(0, STEPS, step, jnp.zeros((D, D, LANES))))
        return p @ (jax.nn.logsumexp(s, 1) - jnp.take_along_axis(s, y[:, None, None], 1)[:, 0])

    return run


def lanes():
    kinds = {
        "MarginSystem, M = 2": (2, am.MarginSystem, margins_by_hand),
        "ParticleSystem, M = 2": (2, am.ParticleSystem, scores_by_hand),
        "ParticleSystem, M = 5": (5, am.ParticleSystem, scores_by_hand),
        "LinearMemory, M = 5": (5, am.LinearMemory, matrix_by_hand),
    }
    found = {}
    for name, (classes, kind, by_hand) in kinds.items():
        task = problem(classes)
        ours, theirs = through_the_door(task, kind), by_hand(task)
        gap = float(jnp.max(jnp.abs(ours(RATES) / theirs(RATES) - 1)))
        assert gap < 1e-4, (name, gap)
        seconds = machine.in_turn({"ours": lambda f=ours: f(RATES), "hand": lambda f=theirs: f(RATES)})
        found[name] = {
            "microseconds_a_lane_step": 1e6 * seconds["ours"] / LANES / STEPS,
            "times_the_hand_written_loop": seconds["ours"] / seconds["hand"],
        }
    return found


def looks():
    """Time with the default looks over that with none: minibatches of 32 of 4,000 tokens (d = 64)."""
    keys, n = jr.split(jr.key(0)), 4000
    inputs, outputs = (am.embeddings.sphere(key, n, 64) for key in keys)
    task = am.AssociationTask(am.laws.zipf(n), jnp.arange(n), inputs, outputs)
    descent = am.Descent(optax.sgd, 252, 32, learning_rate=1.0)

    def run(**how):
        return am.simulate(task, am.LinearMemory.zeros(task), descent, key=jr.key(1), **how)

    seconds = machine.in_turn({"default": run, "none": lambda: run(observe={})}, repeats=3)
    return seconds["default"] / seconds["none"]


def main():
    jax.config.update("jax_enable_x64", False)
    task = problem(2)
    start, step = am.LinearMemory.zeros(task), lambda: am.Descent(optax.sgd(1.0), 10)
    warm = machine.in_turn({"call": lambda: am.simulate(task, start, step())}, repeats=101)["call"]
    kinds, looking = lanes(), looks()
    asked = {"MarginSystem": 2, "ParticleSystem": 1.3, "LinearMemory": 1.2}
    for name, found in kinds.items():
        kind, classes = name.split(", ")
        ours, times = found["microseconds_a_lane_step"] * 1e-6, found["times_the_hand_written_loop"]
        hand = f"a loop by hand {figure(ours / times, 's')}"
        machine.report(
            f"`{kind}`, {classes}, through `simulate`", asked[kind], times,
            f"{figure(ours, 's')} a lane-step", hand, at_most=True, **found,
        )  # fmt: skip
    machine.within("a warm `simulate` of ten steps, its optimizer made anew", 1e-3, warm, "s")
    machine.report(
        "minibatches of 32 of 4,000 tokens, default looks", 3, looking, f"{figure(looking)} times",
        "no looks", at_most=True,
    )  # fmt: skip


if __name__ == "__main__":
    machine.run(main)
