"""Slides p. 6–9: how many associations fit, before and after training."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import assocmem_jax as am

from .... import plot
from ....numerics import information
from ....studies.kit import Parts, bound, searched, shared, slope, table, words
from .schemas import Family, Sizes


def family_task(family: Family, d: int):
    draw = am.embeddings.sphere if family.sphere else am.embeddings.gaussian

    def make(key, n):
        keys = jax.random.split(key, 4)
        m = family.classes or n
        if family.pairs:
            # Pairs in the order of max(i, j): the first N are all pairs of about √N with √N.
            side = int(-(-(n**0.5) // 1))
            every = am.embeddings.pairs(draw(keys[0], side, d), draw(keys[2], side, d))
            i, j = jnp.divmod(jnp.arange(side * side), side)
            inputs = every[jnp.argsort(jnp.maximum(i, j), stable=True)[:n]]
        else:
            inputs = draw(keys[0], n, d)
        labels = jnp.arange(n) % m
        if family.random:
            labels = jax.random.randint(keys[3], (n,), 0, m)
        return am.AssociationTask(am.laws.uniform(n), labels, inputs, draw(keys[1], m, d))

    return make


def family_model(family: Family, width: int):
    def build(task, key):
        if family.memory == "written":
            return am.LinearMemory.outer_product(task)
        if family.memory == "low rank":
            return am.memory.LowRankMemory.one_step(task, key, width)
        if family.memory == "kernel":
            return am.memory.MLPMemory.one_step(task, key, width, am.memory.Hermite(family.degree))
        start = (
            am.LinearMemory.zeros(task)
            if family.memory == "linear"
            else am.memory.MLPMemory.gaussian(task, key, width)
        )
        descent = am.Descent(adam(), family.steps, learning_rate=family.learning_rate)
        return am.simulate(task, start, descent, observe={}, every=family.steps, throw=False).model

    return build


def adam():
    return optax.adam


def run(study: Sizes, scratch: Path | None):
    def point(number, k):
        family = study.families[number]
        d = family.dimensions[k]
        width = family.widths[k] if family.widths else d
        found = am.capacity(
            family_task(family, d),
            family_model(family, width),
            study.target,
            largest=family.largest[k],
            smallest=family.smallest,
            seeds=family.seeds,
            together=family.together,
            devices=shared(family.seeds),
            resolution=study.resolution,
            key=jax.random.key(study.seed),
        )
        return {"row": (number, d, width, *searched(found))}

    points = [
        (number, k) for number, family in enumerate(study.families) for k in range(len(family.dimensions))
    ]
    with Parts(scratch, len(points)) as part:
        rows = [part(f"{number}-{k}", lambda at=(number, k): point(*at))["row"] for number, k in points]
    return table(rows, "family", "dimension", "width", "size", "low", "high", "censored")


def horizontal(study: Sizes, part):
    """What N is drawn against: d, m, or the number of parameters md (d² of a matrix)."""
    if study.against == "parameters":
        return (part.dimension * part.width).values
    return part[study.against].values


def parts(study: Sizes, data):
    for number, family in enumerate(study.families):
        yield family, data.isel(point=np.flatnonzero(data.family.values == number))


def report(study: Sizes, data):
    lines = []
    for family, part in parts(study, data):
        x, N = horizontal(study, part), part["size"].values
        sizes = ", ".join(
            f"{bound(c)}{n:.4g} [{a:.3g}, {b:.3g}] at {v:g}"
            for v, n, a, b, c in zip(x, N, part.low.values, part.high.values, part.censored.values)
        )
        line = f"{family.label} ({family.seeds} seeds): N at recall {study.target:g} = {sizes}"
        if known := fitted(study, part):
            line += f"; slope {known} (last half {known.local:.2f})"
        parameters = (part.dimension * part.width).values
        scaled = N * np.log(N) / parameters
        line += "; N log N/(md) = " + ", ".join(f"{v:.2f}" for v in scaled)
        told, needed = bits(family, part, N, study.target)
        pairs = ", ".join(f"{a:.3g} of {b:.3g}" for a, b in zip(told, needed))
        lines.append(line + f"; bits a parameter, told of needed = {pairs}")
    return lines


def learned(family: Family, part):
    """How many numbers are written or trained: of one step on one of two matrices, those of that one."""
    d, m = part.dimension.values, part.width.values
    return {"written": d * d, "linear": d * d, "mlp": (2 * d + 1) * m}.get(family.memory, m * d)


def bits(family: Family, part, N, recall: float):
    """(what right answers tell of N tokens, log₂ of the number of maps they could be), a parameter."""
    m = np.asarray(family.classes or N, float)
    needed = (information.maps if family.random else information.balanced)(N, m)
    told = information.recalled(needed, N, m, recall)
    return np.asarray(told) / learned(family, part), np.asarray(needed) / learned(family, part)


def fitted(study: Sizes, part):
    """A slope, where three points or more are known and their x differ."""
    known = np.flatnonzero((part.censored.values == 0) & np.isfinite(part.high.values))
    x = horizontal(study, part)[known]
    if len(known) < 3 or len(np.unique(x)) < 3:
        return None
    return slope(x, part.isel(point=known), 5e-3)


def figure(study: Sizes, data):
    panels = list(dict.fromkeys(family.panel for family in study.families))
    columns = len(panels) + 1 + study.collapse
    figure, axes = plot.panels(1, columns, 3.0, min(plot.PAGE, plot.COLUMN * columns))
    marks = dict.fromkeys(panels, 0)
    for family, part in parts(study, data):
        ax, k = axes[0, panels.index(family.panel)], marks[family.panel]
        marks[family.panel] += 1
        x, N = horizontal(study, part), part["size"].values
        order = np.argsort(x, kind="stable")
        part, x, N = part.isel(point=order), x[order], N[order]
        high = np.where(np.isfinite(part.high.values), part.high.values, N)
        fit = fitted(study, part)
        label = family.label + (f": slope {words(fit)}" if fit else "")
        low = np.where(part.low > 0, part.low, N)
        if study.collapse:
            parameters = (part.dimension * part.width).values
            middle, least, most = (v * np.log(np.maximum(v, 1)) / parameters for v in (N, low, high))
            spread = np.abs([middle - least, most - middle])
            plot.points(axes[0, -2], parameters, middle, spread, colour=k, linestyle="-")
        told, least, most = (bits(family, part, v, study.target)[0] for v in (N, np.maximum(low, 1), high))
        numbers, spread = learned(family, part), np.abs([told - least, most - told])
        plot.points(axes[0, -1], numbers, told, spread, colour=k, linestyle="-")
        axes[0, -1].plot(
            numbers, bits(family, part, N, 1)[0], color=plot.COLOURS[k], linestyle=":", linewidth=0.8
        )
        plot.points(ax, x, N, np.abs([N - low, high - N]), colour=k, label=label)
        if fit:
            ax.plot(x, fit(x), color=plot.COLOURS[k], linestyle=plot.STYLES[k], linewidth=0.9)
        for v, n, c in zip(x, N, part.censored.values):
            if c:
                ax.annotate("", (v, n * 1.5**c), (v, n), arrowprops={"arrowstyle": "->", "lw": 0.6})
    names = {"dimension": "dimension d", "width": "rank or width m", "parameters": "parameters m d"}
    for ax, panel in zip(axes[0], panels):
        ax.set(xlabel=names[study.against], title=panel, ylabel=f"N at recall {study.target:g}")
        plot.log_axes(ax)
    if study.collapse:
        axes[0, -2].set(xlabel=names["parameters"], ylabel="N log N/(m d)", ylim=(0, None))
        axes[0, -2].set_title("for each entry of a matrix")
        plot.log_axes(axes[0, -2], "x")
    axes[0, -1].set(xlabel="numbers learned", ylabel="bits for each of them", ylim=(0, None))
    axes[0, -1].set_title("bits told by right answers")
    plot.log_axes(axes[0, -1], "x")
    axes[0, -1].plot([], [], color="black", linestyle=":", linewidth=0.8, label="all of log₂(number of maps)")
    if (data.censored != 0).any():
        axes[0, 0].plot(
            [], [], color="black", marker="$↑$", linestyle="", markersize=5, label="at least (↓: at most)"
        )
    axes[0, 0].errorbar(
        [], [], [], color="0.5", linewidth=0.8, linestyle="", label="95 % intervals, of N and of slopes"
    )
    plot.legend(figure)
    return figure
