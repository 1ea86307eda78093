"""Slides p. 29–30: the width that attention needs, over T and n; claimed, derived, and found."""

import math
from pathlib import Path

import jax
import numpy as np

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, bound, searched, shared, table
from .. import theory
from .learner import learner
from .schemas import NoiseLaw


def derived(study: NoiseLaw, batches: str, T, n):
    """d₅₀ of theory."""
    kinds = batches == "fresh", batches == "centred"
    return np.asarray(theory.attention_dimension(study.tokens, T, n, *kinds, study.target))


def run(study: NoiseLaw, scratch: Path | None):
    def search(number, T, n):
        said = float(derived(study, study.batches[number], T, n))
        widest = max(16, math.ceil(study.reach * said))
        make = learner(study.tokens, widest, T, n, study.batches[number])
        found = am.threshold(
            lambda key, d: am.noise.attention_right(*make(key, d)), study.target,
            smallest=2, largest=widest, trials=math.inf, seeds=study.seeds, together=1,
            devices=shared(study.seeds), resolution=study.resolution, key=jax.random.key(study.seed),
        )  # fmt: skip
        claim = float(theory.claimed_dimension(study.tokens, T, n))
        return {"row": (number, T, n, *searched(found), said, claim)}

    cells = [(k, T, n) for k in range(len(study.batches)) for T in study.lengths for n in study.sequences]
    with Parts(scratch, len(cells)) as part:
        rows = [part(f"{k}-{T}-{n}", lambda at=(k, T, n): search(*at))["row"] for k, T, n in cells]
    return table(rows, "batches", "length", "sequences", "d", "low", "high", "censored", "derived", "claimed")


def report(study: NoiseLaw, data):
    lines = []
    for number, batches in enumerate(study.batches):
        part = data.isel(point=np.flatnonzero(data.batches == number))
        for T in study.lengths:
            rows = part.isel(point=np.flatnonzero(part.length == T))
            names = ("sequences", "d", "low", "high", "censored", "derived")
            lines.append(
                f"{batches}, T = {T}: d "
                + ", ".join(
                    f"{bound(c)}{d:.1f} [{low:.0f}, {high:.0f}] (derived {said:.1f}) at n = {n:.0f}"
                    for n, d, low, high, c, said in zip(*(rows[name].values for name in names))
                )
            )
        known = part.isel(point=np.flatnonzero(part.censored == 0))
        for name in ("claimed", "derived"):
            ratio = (known.d / known[name]).values
            if ratio.size:
                lines.append(
                    f"{batches}: d over the one {name}: {ratio.min():.2f} to {ratio.max():.2f}, geometric "
                    f"mean {np.exp(np.log(ratio).mean()):.2f}"
                )
    return lines


def figure(study: NoiseLaw, data):
    columns = len(study.batches)
    figure, axes = plot.panels(2, columns, 4.8, sharex=True, sharey="row")
    n = np.geomspace(min(study.sequences), max(study.sequences), 100)
    titles = {"same": "same sequences", "fresh": "fresh sequences", "centred": "same, ū of the batch"}
    for number, (batches, (top, below)) in enumerate(zip(study.batches, axes.T)):
        for k, T in enumerate(study.lengths):
            at = (data.batches == number) & (data.length == T) & (data.censored == 0)
            part = data.isel(point=np.flatnonzero(at))
            d, claim = part.d.values, part.claimed.values
            low, high = np.maximum(part.low.values, 1), np.where(np.isfinite(part.high), part.high, part.d)
            spread, said = np.array([d - low, high - d]), derived(study, batches, T, n)
            plot.points(top, part.sequences, d, spread, colour=k, label=f"T = {T}")
            top.plot(n, said, color=plot.COLOURS[k % 7], linewidth=0.8)
            plot.points(below, part.sequences, d / claim, spread / claim, colour=k)
            claims = np.asarray(theory.claimed_dimension(study.tokens, T, n))
            below.plot(n, said / claims, color=plot.COLOURS[k % 7], linewidth=0.8)
        top.set_title(f"{titles[batches]}, N = {study.tokens}")
        below.set_xlabel("sequences n")
    axes[0, 0].set_ylabel(f"d at P(attention right) = {study.target:g}")
    axes[1, 0].set_ylabel("d over the claimed law")
    for ax in axes.flat:
        plot.log_axes(ax)
    axes[0, 0].plot([], [], color="0.5", linewidth=0.8, label="derived")
    axes[0, 0].errorbar([], [], [], color="0.5", linewidth=0.8, linestyle="", label="95 % interval")
    plot.legend(figure)
    return figure
