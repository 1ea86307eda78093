"""One flow (N = M = 5, d = 10, random embeddings, rtol 1e-10) to t = 1e12, and 10,000, against SciPy.

The competitor is the fastest of LSODA, DOP853 and Radau, at the loosest tolerance at which it is as accurate
as ours, in log time, on the 25 coefficients of W = Σ C[k, z] u_k e_zᵀ, with 1 − p as a sum (by cancellation
p(answer) → 1 is noise, and a solver crawls: LSODA then takes 15 s)."""

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


def scipy_flow(pair, method, rtol):
    inputs, outputs = map(np.asarray, pair)
    gram_in, gram_out, p = inputs @ inputs.T, outputs @ outputs.T, np.asarray(am.laws.zipf(N))
    own = np.eye(N, dtype=bool)

    def field(s, flat):
        scores = gram_out @ flat.reshape(N, N) @ gram_in
        e = np.exp(scores - scores.max(axis=0))
        wrong = np.where(own, 0, e) / e.sum(axis=0)
        return (np.exp(s) * p * (np.where(own, wrong.sum(axis=0), 0) - wrong)).ravel()

    run = solve_ivp(field, (0, np.log1p(T1)), np.zeros(N * N), method, rtol=rtol, atol=rtol * 1e-3)
    scores = gram_out @ run.y[:, -1].reshape(N, N) @ gram_in
    return np.diagonal(scores) - np.where(own, -np.inf, scores).max(axis=0)


def errors_and_seconds(pairs, truths):
    """{(method, rtol): (largest error, median seconds)} over the pairs."""
    table = {}
    for method in ("LSODA", "DOP853", "Radau"):
        for rtol in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11):
            found, times = [], []
            for pair in pairs:
                began = time.perf_counter()
                found.append(scipy_flow(pair, method, rtol))
                times.append(time.perf_counter() - began)
            table[method, rtol] = float(np.abs(np.array(found) - truths).max()), float(np.median(times))
    return table


def main():
    keys = jr.split(jr.key(0), MANY)
    pairs = jax.vmap(embeddings)(keys)
    few = [jax.tree.map(lambda a, i=i: a[i], pairs) for i in range(3)]
    truths = np.array([scipy_flow(pair, "DOP853", 2.3e-14) for pair in few])
    table = errors_and_seconds(few, truths)
    compiled = jax.jit(ours(am.LinearMemory))
    alone, compile_time = machine.seconds(compiled, few[0])
    error = max(
        float(np.abs(np.asarray(compiled(pair)[0]) - t).max()) for pair, t in zip(few, truths, strict=True)
    )
    (method, rtol), (their_error, competitor) = min(
        (entry for entry in table.items() if entry[1][0] <= error), key=lambda entry: entry[1][1]
    )
    rival = {"rival": f"{method}, rtol {rtol:.0e}", "rival_seconds": competitor, "rival_error": their_error}
    machine.report(
        "one gradient flow to t = 1e12, alone, against SciPy's fastest at no larger error", 20,
        competitor / alone, ours_seconds=alone, ours_error=error, first_call_seconds=compile_time, **rival,
        rivals={f"{name} {tolerance:.0e}": entry for (name, tolerance), entry in table.items()},
    )  # fmt: skip
    many = jax.jit(jax.vmap(ours(am.ParticleSystem)))
    together, compile_time = machine.seconds(many, pairs, repeats=1)
    margins, status, steps = many(pairs)
    machine.report(
        "10,000 gradient flows to t = 1e12 in one program (particle system), per flow", 300,
        competitor / (together / MANY), ours_seconds_per_flow=together / MANY,
        ours_error=float(np.abs(np.asarray(margins[:3]) - truths).max()), first_call_seconds=compile_time,
        **rival, steps_median=int(np.median(steps)), steps_largest=int(np.max(steps)),
        statuses={am.Status(int(s)).name: int((status == s).sum()) for s in np.unique(status)},
        field_evaluations_per_second=float(np.sum(steps) * 13 / together),
    )  # fmt: skip


if __name__ == "__main__":
    machine.run(main)
