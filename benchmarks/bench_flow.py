"""One flow (N = M = 5, d = 10, random embeddings, rtol 1e-10) to t = 1e12, and 10,000, against SciPy.

The competitor is the fastest of LSODA, DOP853 and Radau, at the loosest tolerance at which it is as
accurate as ours, in log time, on the 25 coefficients of W = Σ C[k, z] u_k e_zᵀ, with 1 − p as a sum (by
cancellation p(answer) → 1 is noise, and a solver crawls: LSODA then takes 15 s for an error of 1e-6).

Notes. Flows run on clocks of their own (`dynamics/clocks.py`): lanes last, tiles of 64, a lane that is
done makes room for the next, each stage computed once (XLA would compute an exponential again for each of
its uses: .95 µs an evaluation, against .13); what waits for a condition finds its crossing on the
interpolant. Of those .13 µs the 25 exponentials are .025, the two products .04, the sums over stages most
of the rest; a flow of 100 steps is 1,300 of them, so 36 µs a flow, which the 300 asks, is about its
exponentials alone. A single flow is bound by what a loop over few numbers costs: .9 µs an evaluation. Of
the first gradient's CPU-seconds most are XLA's. Before flows had their own clocks, in the same minutes
(27 November 2026): `LinearMemory` alone 4.9–6.6 ms, then 1.2, each of 256 under `vmap` 7.9–8.5 ms, then
.38; `ParticleSystem` 2.1, then 1.2, and 4.8–5.0, then .28; one of 2,048 stiffer ones in a sweep 1.14,
then .29; the compiled gradient 24–26 ms, then 22; of its pullback by hand, in the same minutes (28
November), first 8.7 and 6.1 CPU-s, then 5.9 and 4.6, compiled 39 and 35 ms, then 30 and 27. (These, and
the parts of an evaluation, were measured once by hand.)
"""

import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.integrate import solve_ivp

import assocmem_jax as am
import machine
from machine import figure

T1, N, D, MANY = 1e12, 5, 10, 10_000


def embeddings(key):
    a, b = jr.split(key)
    return am.embeddings.sphere(a, N, D), am.embeddings.sphere(b, N, D)


def build(pair):
    return am.AssociationTask(am.laws.zipf(N), jnp.arange(N), *pair)


def ours(model, until=None):
    def flow(pair):
        task = build(pair)
        run = am.simulate(
            task,
            model.zeros(task),
            am.GradientFlow(T1, rtol=1e-10),
            observe={"margins": am.margins},
            at=jnp.zeros(0),
            until=until,
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


def first_calls():
    """CPU-seconds of the first flow of a process, with its 200 times, and of the first gradient."""
    task = build(embeddings(jr.key(0)))
    start = am.LinearMemory.zeros(task)

    def last(t1):
        return am.simulate(task, start, am.GradientFlow(t1))["loss"][-1]

    found = []
    for call in (last, jax.grad(last)):
        began = time.process_time()
        jax.block_until_ready(call(T1))
        found.append(time.process_time() - began)
    return found


def main():
    firsts = np.median(machine.anew(first_calls), axis=0)
    keys = jr.split(jr.key(0), MANY)
    pairs = jax.vmap(embeddings)(keys)
    few = [jax.tree.map(lambda a, i=i: a[i], pairs) for i in range(3)]
    truths = np.array([scipy_flow(pair, "DOP853", 2.3e-14) for pair in few])
    table = errors_and_seconds(few, truths)
    compiled = jax.jit(ours(am.LinearMemory))
    compile_time = machine.seconds(compiled, few[0])[1]
    error = max(
        float(np.abs(np.asarray(compiled(pair)[0]) - t).max()) for pair, t in zip(few, truths, strict=True)
    )
    (method, rtol), (their_error, _) = min(
        (entry for entry in table.items() if entry[1][0] <= error), key=lambda entry: entry[1][1]
    )
    times = {"ours": [], "rival": []}
    for _ in range(3):  # in turn, so that both meet the same machine
        for pair in few:
            times["ours"].append(machine.seconds(compiled, pair, repeats=1)[0])
            times["rival"].append(machine.wall(lambda p=pair: scipy_flow(p, method, rtol), repeats=1))
    alone, competitor = (float(np.median(kept)) for kept in times.values())
    rival = f"SciPy's {method}, rtol {rtol:.0e}, {figure(competitor, 's')} (error {figure(their_error)})"
    machine.report(
        "one flow to t = 1e12 (N = M = 5, d = 10, rtol 1e-10)", 20, competitor / alone,
        f"{figure(alone, 's')} (error {figure(error)})", rival, ours_seconds=alone, ours_error=error,
        rival_seconds=competitor, first_call_seconds=compile_time,
        rivals={f"{name} {tolerance:.0e}": entry for (name, tolerance), entry in table.items()},
    )  # fmt: skip
    many = jax.jit(jax.vmap(ours(am.ParticleSystem)))
    together, compile_time = machine.seconds(many, pairs, repeats=3)
    margins, status, steps = many(pairs)
    error = float(np.abs(np.asarray(margins[:3]) - truths).max())
    each = figure(together / MANY, "s")
    machine.report(
        "10,000 under `vmap` (particle system), one core", 300, competitor / (together / MANY),
        f"{each} a flow (error {figure(error)})", rival, ours_seconds_per_flow=together / MANY,
        ours_error=error, first_call_seconds=compile_time,
        steps_median=int(np.median(steps)), steps_largest=int(np.max(steps)),
        statuses={am.Status(int(s)).name: int((status == s).sum()) for s in np.unique(status)},
        field_evaluations_per_second=float(np.sum(steps) * 13 / together),
    )  # fmt: skip
    single = machine.seconds(jax.jit(ours(am.ParticleSystem)), few[0])[0]
    lanes = machine.seconds(many, jax.tree.map(lambda a: a[:64], pairs))[0] / 64
    machine.report(
        "64 under `vmap` (particle system)", 1, lanes / single, f"{figure(lanes, 's')} a flow",
        f"one alone {figure(single, 's')}", at_most=True,
    )  # fmt: skip
    stopping = ours(am.ParticleSystem, am.margin_above(10.0))
    single = machine.seconds(jax.jit(stopping), few[0])[0]
    lanes = machine.seconds(jax.jit(jax.vmap(stopping)), jax.tree.map(lambda a: a[:512], pairs))[0] / 512
    machine.report(
        "512 under `vmap` until all margins are above 10", 1, lanes / single, f"{figure(lanes, 's')} a flow",
        f"one alone {figure(single, 's')}", at_most=True,
    )  # fmt: skip
    machine.within("the first flow of a process, with 200 times", 4, float(firsts[0]), "CPU-s")
    machine.within("its first gradient, in the horizon", 6, float(firsts[1]), "CPU-s")
    task = build(few[0])
    slope = jax.jit(
        jax.grad(lambda t1: am.simulate(task, am.LinearMemory.zeros(task), am.GradientFlow(t1))["loss"][-1])
    )
    machine.note("that gradient, compiled", figure(machine.seconds(slope, T1)[0], "s"))


if __name__ == "__main__":
    machine.run(main)
