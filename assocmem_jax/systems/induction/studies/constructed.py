"""Birth Figure 1 and (7): the constructed weights."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from .schemas import Constructed
from .text import bigram_task, mathematics


def run(study: Constructed, scratch: Path | None):
    keys = jax.random.split(jax.random.key(study.seed), study.seeds + 1)
    task = bigram_task(study.data, study.length, data=study.held_out, key=keys[0])

    @functools.partial(jax.jit, static_argnums=1)
    def read(key, d, boost):
        model = am.InductionTransformer.gaussian(task, key, d).constructed(task, boost=boost)
        recall = (am.induction.recall_output2, am.induction.recall_key2, am.induction.recall_key1)
        return am.induction.in_context_accuracy(task, model), tuple(f(task, model) for f in recall)

    found = [[[read(key, d, b) for key in keys[1:]] for b in study.boosts] for d in study.widths]
    accuracy = np.array([[[float(one[0]) for one in row] for row in rows] for rows in found])
    recall = np.array([[[float(r) for r in one[1]] for one in rows[0]] for rows in found])
    data: Any = {
        "accuracy": (("width", "boost", "seed"), accuracy),
        "recall": (("width", "seed", "matrix"), recall),
    }
    return xr.Dataset(data, coords={"width": list(study.widths), "boost": list(study.boosts)})


def report(study: Constructed, data):
    lines = []
    for k, d in enumerate(study.widths):
        shown = ", ".join(
            f"{a.mean():.3f} ± {a.std(ddof=1) if len(a) > 1 else 0:.3f} (boost {b:g})"
            for a, b in zip(data.accuracy.values[k], study.boosts)
        )
        recall = data.recall.values[k].mean(0)
        lines.append(
            f"d = {d}: accuracy {shown}; R(W_O²) {recall[0]:.3f}, R(W_K²) {recall[1]:.3f}, "
            f"R(W_K¹) {recall[2]:.3f}"
        )
    return [*lines, f"seeds: {study.seeds}"]


def figure(study: Constructed, data):
    figure, ((a, b),) = plot.panels(1, 2, 2.5)
    recall = map(mathematics, ("W_O²", "W_K²", "W_K¹"))
    groups = [
        (a, data.accuracy.values, [f"scores × {boost:g}" for boost in study.boosts]),
        (b, 1 - data.recall.values.swapaxes(1, 2), recall),
    ]
    colour = 0
    for ax, group, labels in groups:
        for k, label in enumerate(labels):
            middle = np.median(group[:, k], axis=1)
            spread = np.stack([middle - group[:, k].min(1), group[:, k].max(1) - middle])
            plot.band(ax, study.widths, middle, spread, colour=colour, label=label, markersize=3,
                      marker=plot.MARKERS[colour % 7])  # fmt: skip
            colour += 1
        ax.set(xlabel="width d", xscale="log")
        ax.set_xticks(study.widths, [str(d) for d in study.widths])
        ax.minorticks_off()
    a.set(ylabel="in-context accuracy", ylim=(0, 1.02))
    b.set(ylabel="not recalled, 1 − R")
    b.set_ylim(bottom=min(-0.005, -0.05 * b.get_ylim()[1]))
    plot.legend(figure, band="median, least and most of the seeds")
    return figure
