"""Slides p. 5: a Hopfield network over its load."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....numerics import information
from ....studies.kit import Parts, interval
from .. import theory as hopfield
from .schemas import Hopfield


def run(study: Hopfield, scratch: Path | None):
    def network(key, n, d, most):
        task = am.RetrievalTask.binary(key, most, d, study.flips).first(n)
        memory = am.HopfieldNetwork.hebb(task, study.steps)
        seen = jnp.arange(min(study.cues, most))
        patterns = task.patterns[seen]
        stored = seen < n
        ends = memory.scores(task, seen)
        once = memory.update(patterns)
        mean = lambda values: jnp.sum(jnp.mean(values, axis=1) * stored) / jnp.sum(stored)  # noqa: E731
        return mean(ends * patterns), mean(once != patterns)

    def over_loads(d):
        most = max(round(load * d) for load in study.loads)
        keys = jax.random.split(jax.random.key(study.seed), study.networks)
        many = jax.jit(lambda n: jax.lax.map(lambda key: network(key, n, d, most), keys, batch_size=4))
        return {"seen": np.array([many(max(1, round(load * d))) for load in study.loads])}

    with Parts(scratch, len(study.dimensions)) as part:
        found = np.array([part(f"{d}", lambda d=d: over_loads(d))["seen"] for d in study.dimensions])

    d = min(study.dimensions)

    def path(key, n):
        task = am.RetrievalTask.binary(key, n, d, study.flips)
        memory = am.HopfieldNetwork.hebb(task, study.sweeps, asynchronous=True)
        return jax.vmap(jax.vmap(memory.energy))(memory.path(task.cues[: study.paths])) / d

    ends = [max(study.paths, round(load * d)) for load in (min(study.loads), max(study.loads))]
    walks = [jax.jit(path, static_argnums=1)(jax.random.key(study.seed), n) for n in ends]
    axes = ("dimension", "load", "network")
    coords = {"dimension": list(study.dimensions), "load": list(study.loads)}
    return xr.Dataset(
        {
            "overlap": (axes, found[:, :, 0]), "bit_error": (axes, found[:, :, 1]),
            "energy": (("end", "sweep", "path"), np.stack(walks)),
        },
        coords=coords,
    )  # fmt: skip


def report(study: Hopfield, data):
    lines = []
    for d in data.dimension.values:
        part = data.sel(dimension=d)
        mean, half = interval(part.overlap)
        lines.append(
            f"d = {d}: overlap "
            + ", ".join(f"{m:.3f} ± {h:.3f} at {a:g}" for a, m, h in zip(data["load"].values, mean, half))
        )
        if mean[0] > 0.9 > mean[-1]:
            after = int(np.argmax(mean < 0.9))
            a, b = data["load"].values[[after - 1, after]]
            at = a + (b - a) * (mean[after - 1] - 0.9) / (mean[after - 1] - mean[after])
            lines[-1] += f"; falls through .9 at load {at:.4f}"
        wrong, error = interval(part.bit_error)
        counts = np.maximum(1, np.round(data["load"].values * d))
        exact = np.asarray(hopfield.stored_bit_error(counts, int(d)))
        lines.append(
            f"d = {d}: one-step bit error over ½erfc(1/√(2 load)): "
            + ", ".join(
                f"{w / e:.3f} ± {h / e:.3f} (exact {x / e:.3f})"
                for w, h, e, x in zip(
                    wrong, error, np.asarray(hopfield.bit_error(data["load"].values)), exact
                )
                if e * d * study.cues * study.networks > 20
            )
        )
    told, needed = bits(study, data)
    for d, row, whole in zip(data.dimension.values, told, needed):
        most = int(np.argmax(row.mean(axis=1)))
        mean, half = (float(v) for v in interval(row[most]))
        lines.append(
            f"d = {d}: bits told beyond the cues, a coupling: most {mean:.4f} ± {half:.4f} of "
            f"{whole[most]:.4f} needed, at load {data['load'].values[most]:g}"
        )
    rises = float(np.diff(data.energy.values, axis=1).max())
    lines.append(f"asynchronous energy per bit: largest rise {max(rises, 0):.1e}")
    return lines


def bits(study: Hopfield, data):
    """(told beyond the cues by each network, all that is to be told), over the d(d − 1)/2 couplings."""
    d = data.dimension.values[:, None]
    n = np.maximum(1, np.round(data["load"].values * d))
    couplings = d * (d - 1) / 2
    told = information.completed(
        n[..., None], d[..., None], study.flips, np.clip((1 - data.overlap.values) / 2, 0, 1)
    )
    needed = information.completed(n, d, study.flips, 0)
    return np.asarray(told) / couplings[..., None], np.asarray(needed) / couplings


def figure(study: Hopfield, data):
    figure, ((a, b), (c, e)) = plot.panels(2, 2, 4.6)
    loads, dimensions = data["load"].values, data.dimension.values
    told, needed = bits(study, data)
    for k, d in enumerate(dimensions):
        plot.band(e, loads, *interval(told[k]), colour=k)
        plot.band(a, loads, *interval(data.overlap.sel(dimension=d)), colour=k, label=f"d = {d}")
        wrong, half = interval(data.bit_error.sel(dimension=d))
        plot.points(b, loads, wrong, half, colour=k, markersize=2.5)
    a.axvline(0.138, color="black", linewidth=0.8, linestyle=":", label="load 0.138")
    a.set(xlabel="load N/d", ylabel="overlap after retrieval", ylim=(0, 1.05))
    fine = np.geomspace(loads.min(), loads.max(), 200)
    plot.line(b, fine, np.asarray(hopfield.bit_error(fine)), colour=6, linewidth=0.8,
              label="½ erfc(1/√(2 load))")  # fmt: skip
    b.set(xlabel="load N/d", ylabel="bits wrong after one step")
    plot.log_axes(b, "y")
    ends = zip((min(study.loads), max(study.loads)), data.energy.values)
    for k, (load, energy) in enumerate(ends, len(dimensions)):
        for i, path in enumerate(energy.T):
            plot.line(c, range(len(path)), path, colour=k, linewidth=0.7, marker=plot.MARKERS[k % 7],
                      markersize=2, label=None if i else f"energy at load {load:g}")  # fmt: skip
    c.set(xlabel="flips tried / d", ylabel="energy per bit")
    e.plot(
        loads, needed[-1], color="black", linestyle="--", linewidth=0.8, label="all that the cues leave open"
    )
    e.set(xlabel="load N/d", ylabel="bits a coupling", ylim=(0, None), title="told beyond the cues")
    a.set_title(f"{study.flips:.0%} of the bits flipped")
    b.set_title("from a stored pattern")
    c.set_title(f"one bit at a time, d = {int(data.dimension.min())}")
    plot.legend(figure, band="95 % interval of the mean")
    return figure
