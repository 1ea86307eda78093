"""Slides p. 22 (Nichani, Lee, Bietti, Figure 4 left): facts against parameters."""

import math
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import assocmem_jax as am

from .... import plot
from ....numerics import information
from ....studies.kit import Parts, bound, searched, shared, slope, table, words
from .storage_schemas import FactsOverParameters
from .training import facts, trained


class Square(eqx.Module):
    """S = R facts, of which a search looks at N: those of the first ⌈√N⌉ subjects and relations."""

    task: Any

    def first(self, n):
        side = jnp.ceil(jnp.sqrt(n.astype(float)) - 1e-3).astype(int)
        return self.task.first(side, side)


def run(study: FactsOverParameters, scratch: Path | None):
    def make(key, most):
        side = math.isqrt(most - 1) + 1
        return Square(facts(study.training, side, side)(key))

    def point(number, k):
        shape = study.shapes[number]
        d, e, m = shape.dimensions[k], shape.head_widths[k], shape.widths[k]
        found = am.capacity(
            make,
            trained(study.training, d, study.heads, e, m),
            study.target,
            largest=shape.largest[k],
            smallest=study.smallest,
            seeds=study.seeds,
            together=study.together,
            devices=shared(study.seeds),
            resolution=study.resolution,
            key=jax.random.key(study.seed),
        )
        parameters = 4 * study.heads * e * d + 2 * m * d
        return {"row": (number, d, parameters, *searched(found))}

    points = [(i, k) for i, shape in enumerate(study.shapes) for k in range(len(shape.dimensions))]
    with Parts(scratch, len(points)) as part:
        rows = [part(f"{i}-{k}", lambda at=(i, k): point(*at))["row"] for i, k in points]
    return table(rows, "shape", "dimension", "parameters", "size", "low", "high", "censored")


def fitted(data):
    """The slope of all that is known; none of fewer than three points."""
    part = data.isel(point=np.flatnonzero((data.censored == 0) & np.isfinite(data.high)))
    return slope(part.parameters.values, part, 1e-2)


def bits(study: FactsOverParameters, parameters, N, recall: float):
    """Bits told of N random facts, a parameter."""
    needed = information.maps(N, study.training.answers)
    return np.asarray(information.recalled(needed, N, study.training.answers, recall)) / parameters


def report(study: FactsOverParameters, data):
    lines = []
    for number, shape in enumerate(study.shapes):
        part = data.isel(point=np.flatnonzero(data["shape"] == number))
        columns = (part[v].values for v in ("dimension", "parameters", "size", "low", "high", "censored"))
        lines.append(
            f"{shape.label}: facts at recall {study.target:g} "
            + ", ".join(
                f"{bound(c)}{n:.0f} [{low:.0f}, {high:.0f}] "
                f"in {p:.0f} (d = {d:.0f}: {n / p:.3f} a parameter, "
                f"{bits(study, p, n, study.target):.3f} bits of {bits(study, p, n, 1):.3f})"
                for d, p, n, low, high, c in zip(*columns)
            )
        )
    fit = fitted(data)
    held = (data["size"] / data.parameters).values
    return [*lines, f"slope of all: {fit}; facts a parameter {held.min():.3f} to {held.max():.3f}"]


def figure(study: FactsOverParameters, data):
    figure, ((a, b),) = plot.panels(1, 2, 2.9)
    for k, shape in enumerate(study.shapes):
        part = data.isel(point=np.flatnonzero((data["shape"] == k) & (data.censored == 0)))
        p, N = part.parameters.values, part["size"].values
        low = np.where(part.low > 0, part.low, N)
        high = np.where(np.isfinite(part.high), part.high, N)
        plot.points(a, p, N, [N - low, high - N], colour=k, label=shape.label)
        told, least, most = (bits(study, p, v, study.target) for v in (N, np.maximum(low, 1), high))
        plot.points(b, p, told, np.abs([told - least, most - told]), colour=k, linestyle="-")
        b.plot(p, bits(study, p, N, 1), color=plot.COLOURS[k % 7], linestyle=":", linewidth=0.8)
    if fit := fitted(data):
        x = np.sort(data.parameters.values)
        a.plot(x, fit(x), color="black", linewidth=0.8, label=f"all: slope {words(fit)}")
    a.set(xlabel="parameters 4 H d_h d + 2 m d", ylabel=f"facts at recall {study.target:g}")
    plot.log_axes(a)
    b.set(xlabel="parameters 4 H d_h d + 2 m d", ylabel="bits a parameter", ylim=(0, None))
    plot.log_axes(b, "x")
    b.plot([], [], color="black", linestyle=":", linewidth=0.8, label="all of log₂(number of maps)")
    a.errorbar([], [], [], color="0.5", linewidth=0.8, linestyle="", label="95 % intervals")
    plot.legend(figure)
    return figure
