"""Slides p. 22 (Nichani, Lee, Bietti, Figure 4 right): where facts fit, attention or MLP."""

from pathlib import Path

import jax
import numpy as np
import xarray as xr

from .... import plot
from ....numerics import information
from ....studies.kit import Parts
from .storage_schemas import AccuracyMap
from .training import facts, trained


def run(study: AccuracyMap, scratch: Path | None):
    keys = jax.random.split(jax.random.key(study.seed), (study.seeds, 2))

    def cell(heads, m):
        build = trained(study.training, study.dimension, heads, study.head_width, m)

        @jax.jit
        def many(keys):
            def one(pair):
                task = facts(study.training, study.subjects, study.subjects)(pair[0])
                return 1 - task.error(build(task, pair[1]))

            return jax.lax.map(one, keys, batch_size=study.together)

        return {"accuracy": many(keys)}

    cells = [(heads, m) for heads in study.heads for m in study.widths]
    with Parts(scratch, len(cells)) as part:
        found = [part(f"{h}-{m}", lambda at=(h, m): cell(*at))["accuracy"] for h, m in cells]
    shape = (len(study.heads), len(study.widths), study.seeds)
    return xr.Dataset(
        {"accuracy": (("heads", "width", "seed"), np.reshape(found, shape))},
        coords={"heads": list(study.heads), "width": list(study.widths)},
    )


def parameters(study: AccuracyMap):
    """(4 H d_h d of a row, 2 m d of a column)."""
    d = study.dimension
    return 4 * np.array(study.heads) * study.head_width * d, 2 * np.array(study.widths) * d


def bits(study: AccuracyMap, recall):
    """Bits a parameter told by a recall of S R random facts, cells of the map."""
    S, D = study.subjects, study.training.answers
    attention, mlp = parameters(study)
    told = information.recalled(information.facts(S, S, D), S * S, D, recall)
    return np.asarray(told) / (attention[:, None] + mlp)


def report(study: AccuracyMap, data):
    mean = data.accuracy.mean("seed").values
    attention, mlp = parameters(study)
    lines = [
        f"4 H d_h d = {a}: accuracy " + ", ".join(f"{v:.3f} at 2 m d = {b}" for v, b in zip(row, mlp))
        for a, row in zip(attention, mean)
    ]
    told, needed = bits(study, mean), bits(study, 1.0)
    best = np.unravel_index(np.argmax(told), told.shape)
    return [
        *lines,
        f"bits a parameter: most {told[best]:.3f} of {needed[best]:.3f} needed, at 4 H d_h d = "
        f"{attention[best[0]]}, 2 m d = {mlp[best[1]]}",
    ]


def figure(study: AccuracyMap, data):
    figure, ((a, b),) = plot.panels(1, 2, 2.9)
    mean = data.accuracy.mean("seed").values
    attention, mlp = parameters(study)
    plot.mesh(a, range(len(mlp)), range(len(attention)), mean, "accuracy", vmin=0, vmax=1)
    plot.mesh(b, range(len(mlp)), range(len(attention)), bits(study, mean), "bits a parameter", vmin=0)
    for ax in (a, b):
        ax.set_xticks(range(len(mlp)), [str(v) for v in mlp])
        ax.set_yticks(range(len(attention)), [str(v) for v in attention])
        ax.set(xlabel="MLP: 2 m d", ylabel="attention: 4 H d_h d")
    a.set_title(f"S = R = {study.subjects}, D = {study.training.answers}, d = {study.dimension}")
    return figure
