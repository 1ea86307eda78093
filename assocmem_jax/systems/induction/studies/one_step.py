"""Birth Figure 9: the first gradient step on W_O²."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts
from .schemas import OneStep
from .text import bigram_task, mathematics


def run(study: OneStep, scratch: Path | None):
    task = bigram_task(study.data, study.length, data=1)
    keys = jax.random.split(jax.random.key(study.seed), study.seeds)

    @functools.partial(jax.jit, static_argnums=(1,))
    def row(key, number):
        start, draws = jax.random.split(key)
        batch = task.sample(draws, number * study.batch)
        models = [am.InductionTransformer.gaussian(task, start, d) for d in study.widths]
        return jax.numpy.stack([am.induction.one_step_recall(task, model, batch) for model in models])

    with Parts(scratch, len(study.batches)) as part:
        every = [part(f"{n}", lambda n=n: {"recall": [row(key, n) for key in keys]}) for n in study.batches]
    values = np.array([one["recall"] for one in every])
    data: Any = {"recall": (("batches", "seed", "width"), values)}
    return xr.Dataset(data, coords={"batches": list(study.batches), "width": list(study.widths)})


def report(study: OneStep, data):
    lines = []
    for k, number in enumerate(study.batches):
        values = data.recall.values[k]
        shown = ", ".join(f"d = {d} {v:.3f}" for d, v in zip(study.widths, values.mean(0)))
        lines.append(f"{number} batches of {study.batch} × {study.length}: R₁ at {shown}")
    return [*lines, f"seeds: {study.seeds}"]


def figure(study: OneStep, data):
    figure, ((ax,),) = plot.panels(1, 1, 2.7, plot.COLUMN)
    for k, d in enumerate(study.widths):
        values = data.recall.values[..., k]
        mean = values.mean(1)
        spread = np.stack([mean - values.min(1), values.max(1) - mean])
        plot.band(ax, study.batches, mean, spread, colour=k, marker="o", markersize=3, label=f"d = {d}")
    ax.set(xlabel=f"batches of {study.batch} sequences of {study.length}", ylim=(0, 1.02))
    ax.set_ylabel(mathematics("recall R₁ of W_O²"))
    plot.log_axes(ax, "x")
    plot.legend(figure, band="mean, least and most of the seeds")
    return figure
