"""Cooc: the time of Phase 1 over sizes and scales."""

import math
import warnings
from pathlib import Path

import jax
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts
from ....studies.study import seeds_of
from .schemas import PhaseOne, Shape
from .two_phases import scaled


def run(study: PhaseOne, scratch: Path | None):
    with Parts(scratch, len(study.shapes)) as part:
        found = [
            part(f"{k}", lambda shape=shape: times(study, shape).drop_vars("status"))
            for k, shape in enumerate(study.shapes)
        ]
    return xr.concat(found, dim="shape")


def times(study: PhaseOne, shape: Shape):
    """One shape: a sweep over the scales and seeds."""

    def first_step(c0, c1, key):
        keys = jax.random.split(key)
        task = am.CooccurrenceTask.training(keys[0], shape.counts, shape.length, study.dimension)
        model = scaled(task, keys[1], shape.width, study.neurons, c0, c1)
        descent = am.Descent(optax.sgd, study.steps, learning_rate=study.learning_rate)
        run = am.simulate(
            task, am.cooccurrence.CooccurrenceSystem.from_transformer(model), descent,
            observe={"loss": am.loss}, every=50, until=am.perfect_accuracy(), throw=False,
        )  # fmt: skip
        return {"first_step": run.first_step, "loss": run.observed["loss"][-1]}

    return am.sweep(
        first_step, c0=list(study.c0), c1=list(study.c1), seeds=seeds_of(study.seed, study.seeds), tile=4,
        progress=False,
    )  # fmt: skip


def reached(data):
    """Steps to the end of Phase 1; NaN where it was not reached."""
    steps = data.first_step.values.astype(float)
    steps[steps < 0] = np.nan
    return steps


def quantiles(values, shares, axis):
    """Of those that are known; NaN where none is, of which NumPy need not warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        return np.nanquantile(values, shares, axis=axis)


def report(study: PhaseOne, data):
    lines = []
    steps = reached(data)
    for k, shape in enumerate(study.shapes):
        median = quantiles(steps[k], 0.5, -1)
        rows = "; ".join(
            f"c₁ = {c1:g}: " + ", ".join(f"{median[i, j]:.0f}" for i in range(len(study.c0)))
            for j, c1 in enumerate(study.c1)
        )
        missing = int(np.isnan(steps[k]).sum())
        lines.append(
            f"n = {sum(shape.counts)}, L = {shape.length}, m = {shape.width}: median steps over c₀: "
            f"{rows}; not reached: {missing} of {steps[k].size}"
        )
    time = study.learning_rate * steps
    widths = [shape.width for shape in study.shapes]
    scale = np.multiply.outer(widths, np.square(study.c1))[:, None, :, None] * np.ones_like(steps)
    known = np.isfinite(time) & (time > 0)
    slope = math.nan  # of one scale, or of none
    if len(np.unique(scale[known])) > 1:
        slope, _ = np.polyfit(np.log(scale[known]), np.log(time[known]), 1)
    lines.append(
        f"T₁ ~ (σ₁² m m₁)^{slope:.2f} over all ({steps.size} runs; Theorem 3.1 bounds it by power −1)"
    )
    return lines


def figure(study: PhaseOne, data):
    figure, ((ax,),) = plot.panels(1, 1, 2.5, 5.0)
    steps = reached(data)
    for k, shape in enumerate(study.shapes):
        x = np.array(study.c1) ** 2 * shape.width
        low, middle, high = quantiles(study.learning_rate * steps[k], (0.05, 0.5, 0.95), (0, 2))
        label = f"n = {sum(shape.counts)}, L = {shape.length}, m = {shape.width}"
        spread = np.stack([middle - low, high - middle])
        plot.band(ax, x, middle, spread, colour=k, marker=plot.MARKERS[k % 7], markersize=2.5, label=label)
    ends = np.array([min(study.c1) ** 2 * min(s.width for s in study.shapes),
                     max(study.c1) ** 2 * max(s.width for s in study.shapes)])  # fmt: skip
    ax.plot(ends, 5 / ends, color="black", linewidth=0.8, linestyle=":", label="∝ 1/(σ₁² m m₁)")
    ax.set(xlabel="σ₁² m m₁", ylabel="T₁ (learning rate × step)")
    plot.log_axes(ax)
    plot.legend(figure, band="median, 5 to 95 % of the runs", loc="outside right upper", ncols=1)
    return figure
