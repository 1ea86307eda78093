"""One flow (N = M = 5, d = 10, random embeddings, rtol 1e-10) to t = 1e12, against SciPy's LSODA."""

import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.integrate import solve_ivp

import assocmem_jax as am
import machine

T1, N, D, MANY = 1e12, 5, 10, 10_000


def embeddings(key):
    a, b = jr.split(key)
    return am.embeddings.sphere(a, N, D), am.embeddings.sphere(b, N, D)


def build(pair):
    return am.AssociationTask(am.laws.zipf(N), jnp.arange(N), *pair)


def ours(model):
    def flow(pair):
        task = build(pair)
        run = am.simulate(
            task,
            model.zeros(task),
            am.GradientFlow(T1, rtol=1e-10),
            observe={"margins": am.margins},
            at=jnp.zeros(0),
        )
        return run.observed["margins"][-1], run.status, run.num_steps

    return flow


def lsoda(pair):
    inputs, outputs = map(np.asarray, pair)
    p = np.asarray(am.laws.zipf(N))

    def field(s, flat):
        scores = inputs @ flat.reshape(D, D).T @ outputs.T
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        pull = p[:, None] * (np.eye(N) - e / e.sum(axis=1, keepdims=True))
        return np.exp(s) * (outputs.T @ pull.T @ inputs).ravel()

    run = solve_ivp(field, (0, np.log1p(T1)), np.zeros(D * D), "LSODA", rtol=1e-10, atol=1e-13)
    scores = inputs @ run.y[:, -1].reshape(D, D).T @ outputs.T
    own = np.diagonal(scores)
    return own - np.where(np.eye(N, dtype=bool), -np.inf, scores).max(axis=1)


def main():
    keys = jr.split(jr.key(0), MANY)
    pairs = jax.vmap(embeddings)(keys)
    first = jax.tree.map(lambda a: a[0], pairs)
    times = []
    for i in range(3):
        pair = jax.tree.map(lambda a, i=i: a[i], pairs)
        began = time.perf_counter()
        expected = lsoda(pair)
        times.append(time.perf_counter() - began)
    competitor = float(np.median(times))
    alone, compile_time = machine.seconds(jax.jit(ours(am.LinearMemory)), first)
    found = np.asarray(jax.jit(ours(am.LinearMemory))(pair)[0])
    machine.report(
        "one gradient flow to t = 1e12, alone, against SciPy LSODA in log time", 20, competitor / alone,
        ours_seconds=alone, lsoda_seconds=competitor, first_call_seconds=compile_time,
        largest_difference=float(np.abs(found - expected).max()),
    )  # fmt: skip
    # One lane at a time inside one program: lanes in lockstep would all take the steps of the slowest.
    many = jax.jit(lambda pairs: jax.lax.map(ours(am.ParticleSystem), pairs))
    together, compile_time = machine.seconds(many, pairs, repeats=1)
    _, status, steps = many(pairs)
    machine.report(
        "10,000 gradient flows to t = 1e12 at once (particle system), per flow", 1000,
        competitor / (together / MANY),
        ours_seconds_per_flow=together / MANY, lsoda_seconds=competitor, first_call_seconds=compile_time,
        steps_median=int(np.median(steps)), steps_largest=int(np.max(steps)),
        statuses={am.Status(int(s)).name: int((status == s).sum()) for s in np.unique(status)},
        field_evaluations_per_second=float(np.sum(steps) * 13 / together),
    )  # fmt: skip


if __name__ == "__main__":
    main()
