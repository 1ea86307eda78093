"""SGD with batches of one: the q that it leaves, against the recursion of orthonormal embeddings."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, interval, through
from .stochastic_schemas import Sights


def run(study: Sights, scratch: Path | None):
    n, m = study.tokens, study.classes
    p = am.laws.zipf(n, study.zipf_exponent)
    keys = jax.random.split(jax.random.key(study.seed), study.trials)

    def program(d):
        def trial(key, rate):
            draws = jax.random.split(key)
            task = am.AssociationTask(
                p, jnp.arange(1, n + 1) % m, am.embeddings.sphere(draws[0], n, d), am.embeddings.one_hot(m)
            )
            sgd = am.Descent(optax.sgd, study.samples, 1, learning_rate=rate)
            run = am.simulate(
                task, am.LinearMemory.zeros(task), sgd, observe={}, every=study.samples, key=draws[1]
            )
            # The same samples: step t draws with fold_in(key, t).
            one = task.sampler(1)
            tokens = jax.vmap(lambda t: one(jax.random.fold_in(draws[1], t))[0][0])(jnp.arange(study.samples))
            sights = jnp.bincount(tokens, length=n)
            return {
                "sights": sights,
                "q": am.memory.scheme(task, run.model),
                "recursion": am.theory.recursion.after(sights, rate, m, study.samples),
                "share": am.memory.scheme_share(task, run.model),
                "wrong": am.error(task, run.model),
            }

        return jax.jit(jax.vmap(trial, (0, None)))

    def measured(d):
        one = program(d)
        rows = [one(keys, rate) for rate in study.learning_rates]
        return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}

    with Parts(scratch, len(study.dimensions)) as part:
        found = [part(f"{d}", lambda d=d: measured(d)) for d in study.dimensions]
    axes = {name: ("dimension", "rate", "trial", "token") for name in ("sights", "q", "recursion")}
    axes |= {name: ("dimension", "rate", "trial") for name in ("share", "wrong")}
    data = {name: (dims, np.stack([one[name] for one in found])) for name, dims in axes.items()}
    expected = [am.theory.recursion.expected(p, rate, m, study.samples) for rate in study.learning_rates]
    data |= {"expected": (("rate", "token"), np.stack(expected)), "probability": ("token", np.asarray(p))}
    coords = {"dimension": list(study.dimensions), "rate": list(study.learning_rates)}
    return xr.Dataset(data, coords=coords)


def apart(data):
    """Root mean square of q − recursion over tokens seen, over that of the recursion: (d, γ, trial)."""
    seen = data.sights.values > 0
    gap = ((data.q.values - data.recursion.values) ** 2 * seen).sum(-1)
    return np.sqrt(gap / (data.recursion.values**2 * seen).sum(-1))


def equality(data):
    """Least over largest q among tokens seen, by the recursion; mean over trials, one a rate."""
    last = data.recursion.values[-1]
    seen = data.sights.values[-1] > 0
    return (np.where(seen, last, np.inf).min(-1) / last.max(-1)).mean(-1)


def report(study: Sights, data):
    lines, gaps = [], apart(data)
    for k, rate in enumerate(study.learning_rates):
        mean, half = interval(gaps[:, k])
        fit = through(list(study.dimensions), mean, half / 1.96)
        each = ", ".join(f"{a:.4f} ± {h:.4f} at d = {d}" for d, a, h in zip(study.dimensions, mean, half))
        wrong, spread = interval(data.wrong.values[:, k])
        errors = ", ".join(f"{a:.4f} ± {h:.4f}" for a, h in zip(wrong, spread))
        lines.append(f"γ = {rate:g}: q off by {each} of itself, ~ d^{fit}; error {errors}")
    equal = ", ".join(f"{e:.3f} at γ = {r:g}" for e, r in zip(equality(data), study.learning_rates))
    return [*lines, f"least over largest q of tokens seen (recursion): {equal}"]


def figure(study: Sights, data):
    figure, ((a, b),) = plot.panels(1, 2, 2.8, plot.PAGE)
    places = np.arange(1, study.tokens + 1)
    gaps = apart(data)
    for k, rate in enumerate(study.learning_rates):
        top = data.expected.values[k, 0]
        plot.line(a, places, data.expected.values[k] / top, colour=k, label=f"γ = {rate:g}")
        q = data.q.values[-1, k].mean(0)
        a.plot(places, q / top, linestyle="", marker=plot.MARKERS[k], markersize=2, color=plot.COLOURS[k])
        plot.band(b, study.dimensions, *interval(gaps[:, k]), colour=k)
    p = data.probability.values
    plot.line(a, places, p / p[0], colour=6, linestyle=":", linewidth=0.8, label="q = p")
    a.set(xlabel="token x, by frequency", ylabel="E q(x), in units of the recursion's q(1)", ylim=(1e-4, 3))
    a.set_title(f"recursion (lines), SGD at d = {max(study.dimensions)} (points)")
    b.set(xlabel="dimension d", ylabel="rms of q − recursion, relative")
    plot.log_axes(a)
    plot.log_axes(b)
    plot.legend(figure, band="95 % interval of the mean")
    return figure
