"""Slides p. 18: one step on noisy inputs, over d, several N."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, interval
from .. import theory
from .schemas import OneStep


def run(study: OneStep, scratch: Path | None):
    keys = jax.random.split(jax.random.key(study.seed), study.seeds)

    def recall(N, d):
        def one(key):
            rows = am.embeddings.gaussian(key, 2 * N + study.noise, d)
            return am.noise.noisy_step_recall(rows[:N], rows[N : 2 * N], rows[2 * N :])

        return {"recall": jax.jit(lambda keys: jax.lax.map(one, keys))(keys)}

    points = [(N, d) for N in study.tokens for d in study.dimensions]
    with Parts(scratch, len(points)) as part:
        found = [part(f"{N}-{d}", lambda at=(N, d): recall(*at))["recall"] for N, d in points]
    shape = len(study.tokens), len(study.dimensions), study.seeds
    coordinates = {"tokens": list(study.tokens), "dimension": list(study.dimensions)}
    return xr.Dataset({"recall": (("tokens", "dimension", "seed"), np.reshape(found, shape))}, coordinates)


def report(study: OneStep, data):
    mean, half = interval(data.recall.values)
    said = np.asarray(theory.noisy_step_accuracy(np.array(study.tokens)[:, None], np.array(study.dimensions)))
    lines = [
        f"N = {N}: recall (closed form) "
        + ", ".join(f"{m:.3f} ± {h:.3f} ({s:.3f}) at d = {d}" for m, h, s, d in zip(*row, study.dimensions))
        for N, row in zip(study.tokens, zip(mean, half, said))
    ]
    return [*lines, f"largest distance from the closed form: {np.abs(mean - said).max():.3f}"]


def figure(study: OneStep, data):
    figure, ((ax,),) = plot.panels(1, 1, 2.9, plot.COLUMN)
    mean, half = interval(data.recall.values)
    d = np.geomspace(min(study.dimensions), max(study.dimensions), 200)
    for k, N in enumerate(study.tokens):
        plot.points(ax, study.dimensions, mean[k], half[k], colour=k, label=f"N = {N}")
        ax.plot(d, np.asarray(theory.noisy_step_accuracy(N, jnp.asarray(d))), color=plot.COLOURS[k % 7])
    ax.plot([], [], color="0.5", label="closed form")
    ax.set(xlabel="dimension d", ylabel="recall after one noisy step", ylim=(-0.03, 1.03))
    plot.log_axes(ax, "x")
    ax.errorbar([], [], [], color="0.5", linewidth=0.8, linestyle="", label="95 % interval")
    plot.legend(figure)
    return figure
