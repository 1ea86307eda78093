"""Slides p. 29–30: where three steps find the trigger, and where they then answer."""

from pathlib import Path

import jax
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts
from .. import theory
from .learner import learner
from .schemas import NoiseMap


def run(study: NoiseMap, scratch: Path | None):
    keys = jax.random.split(jax.random.key(study.seed), study.seeds)
    widest = max(study.dimensions)

    def column(T, n):
        make = learner(study.tokens, widest, T, n, study.batches)

        def one(key, d):
            task, model = make(key, d)
            return am.noise.attention_right(task, model), am.noise.accuracy(task, model)

        many = jax.jit(lambda d: jax.lax.map(lambda key: one(key, d), keys))
        right, accuracy = zip(*(many(d) for d in study.dimensions))
        return {"attention": np.array(right), "accuracy": np.array(accuracy)}

    cells = [(T, n) for T in study.lengths for n in study.sequences]
    with Parts(scratch, len(cells)) as part:
        found = [part(f"{T}-{n}", lambda at=(T, n): column(*at)) for T, n in cells]
    shape = len(study.lengths), len(study.sequences), len(study.dimensions), study.seeds
    dims = "length", "sequences", "dimension", "seed"
    coordinates = {"length": study.lengths, "sequences": study.sequences, "dimension": study.dimensions}
    return xr.Dataset(
        {
            name: (dims, np.reshape([each[name] for each in found], shape))
            for name in ("attention", "accuracy")
        },
        {name: list(values) for name, values in coordinates.items()},
    )


def report(study: NoiseMap, data):
    mean = data.mean("seed")
    return [
        f"T = {T}: attention right (accuracy) "
        + "; ".join(
            f"n = {n}: "
            + ", ".join(
                f"{float(c.attention):.2f} ({float(c.accuracy):.2f}) at d = {d}"
                for d in study.dimensions
                for c in [mean.sel(length=T, sequences=n, dimension=d)]
            )
            for n in study.sequences
        )
        for T in study.lengths
    ]


def figure(study: NoiseMap, data):
    columns = len(study.lengths)
    figure, axes = plot.panels(2, columns, 4.4, sharex=True, sharey=True)
    mean, kinds = data.mean("seed"), (study.batches == "fresh", study.batches == "centred")
    n = np.geomspace(min(study.sequences), max(study.sequences), 100)
    names = {"attention": "P(attention right)", "accuracy": "accuracy"}
    for (name, label), row in zip(names.items(), axes):
        most = 1 if name == "attention" else max(float(mean[name].max()), 1e-3)
        for k, (T, ax) in enumerate(zip(study.lengths, row)):
            table = mean[name].sel(length=T).T.values
            bar = label if k == columns - 1 else None
            plot.mesh(ax, study.sequences, study.dimensions, table, bar, vmin=0, vmax=most)
            said = np.asarray(theory.attention_dimension(study.tokens, T, n, *kinds))
            inside = (said >= min(study.dimensions)) & (said <= max(study.dimensions))
            ax.plot(
                n,
                np.where(inside, said, np.nan),
                color="#D55E00",
                label="derived: attention right half of the time",
            )
            ax.set_title(f"T = {T}, N = {study.tokens}")
            plot.log_axes(ax)
    for ax in axes[-1]:
        ax.set_xlabel("sequences n")
    for ax in axes[:, 0]:
        ax.set_ylabel("dimension d")
    plot.legend(figure)
    return figure
