"""Slides p. 20–22: facts written into a transformer, by attention alone and with an MLP."""

from pathlib import Path

import jax
import numpy as np

import assocmem_jax as am

from .... import plot
from ....numerics import information
from ....studies.kit import Parts, bound, interval, searched, shared, slope, table, words
from .storage_schemas import Constructed, Written


def writer(study: Constructed, curve: Written, k: int):
    """A function (task, key) → model, at the k-th sizes of a curve; H = 1, as all heads attend alike."""
    d = curve.dimensions[k]

    def features(pairs, key):
        return am.memory.MLPMemory.one_step(pairs, key, curve.widths[k], am.memory.Hermite(curve.degree))

    def build(task, key):
        rank = curve.ranks[k] if curve.ranks else min(d, sum(task.facts.shape))
        options = {"beta": curve.beta, "pseudo_inverse": curve.pseudo_inverse}
        if curve.memory == "attention":
            return am.FactualTransformer.constructed(task, key, d, 1, rank, **options)
        memory = {"memory": features} if curve.memory == "features" else {}
        return am.FactualTransformer.constructed_mlp(task, key, d, 1, rank, **memory, **options)

    return build


def facts(study: Constructed):
    def make(key, subjects):
        return am.FactualTask.random(
            subjects, study.relations, study.answers, key, noise=study.noise, length=study.length, draws=1
        )

    return make


def run(study: Constructed, scratch: Path | None):
    keys = jax.random.split(jax.random.key(study.seed), (study.seeds, 2))

    def recall(number, k):
        build = writer(study, study.curves[number], k)

        @jax.jit
        def many(keys):
            def one(pair):
                task = facts(study)(pair[0], study.subjects)
                return 1 - task.error(build(task, pair[1]))

            return jax.lax.map(one, keys)

        return {"row": [number, k, *many(keys)]}

    def search(number, k):
        curve = study.curves[number]
        found = am.capacity(
            facts(study), writer(study, curve, k), study.target, largest=curve.largest[k], seeds=study.seeds,
            together=1, devices=shared(study.seeds), resolution=study.resolution,
            key=jax.random.key(study.seed),
        )  # fmt: skip
        *held, censored = searched(found)
        return {"row": (number, curve.dimensions[k], *(np.array(held) * study.relations), censored)}

    points = [(i, k) for i, curve in enumerate(study.curves) for k in range(len(curve.dimensions))]
    looked = [(i, k) for i, k in points if study.curves[i].largest]
    with Parts(scratch, len(points) + len(looked)) as part:
        rows = [part(f"recall-{i}-{k}", lambda at=(i, k): recall(*at))["row"] for i, k in points]
        found = [part(f"facts-{i}-{k}", lambda at=(i, k): search(*at))["row"] for i, k in looked]
    seen = np.array(rows, float)
    names = ("search_curve", "dimension", "size", "low", "high", "censored")
    data = table(np.reshape(found, (-1, len(names))), *names)
    return data.assign(curve=("at", seen[:, 0]), k=("at", seen[:, 1]), recall=(("at", "seed"), seen[:, 2:]))


def sizes(curve: Written):
    """What a curve is drawn over."""
    return np.array(
        {"dimension": curve.dimensions, "rank": curve.ranks, "width": curve.widths}[curve.against]
    )


def seen(data, number: int):
    """(mean recall, half of its interval) along a curve."""
    return interval(data.recall.values[data.curve.values == number])


def found(study: Constructed, data):
    """(curve, its searches, the power law of facts over d, if three are known)."""
    for number, curve in enumerate(study.curves):
        part = data[["dimension", "size", "low", "high", "censored", "search_curve"]]
        part = part.isel(point=np.flatnonzero(part.search_curve.values == number))
        if len(part.point):
            known = part.isel(point=np.flatnonzero((part.censored == 0) & np.isfinite(part.high)))
            yield curve, part, slope(known.dimension.values, known, 1e-2)


def bits(study: Constructed, part):
    """(told, needed) of N random facts over the 4 H d_h d parameters of attention, H d_h = min(d, S + R)."""
    d, N, D = part.dimension.values, part["size"].values, study.answers
    parameters = 4 * d * np.minimum(d, N / study.relations + study.relations)
    needed = information.maps(N, D)
    told = information.recalled(needed, N, D, study.target)
    return np.asarray(told) / parameters, np.asarray(needed) / parameters


def report(study: Constructed, data):
    lines = []
    for number, curve in enumerate(study.curves):
        rows = zip(sizes(curve), *seen(data, number))
        line = ", ".join(f"{mean:.3f} ± {half:.3f} at {x}" for x, mean, half in rows)
        lines.append(f"{curve.label}: recall over {curve.against} {line}")
    for curve, part, fit in found(study, data):
        rows = zip(*(part[v].values for v in ("dimension", "size", "low", "high", "censored")))
        held = ", ".join(
            f"{bound(c)}{n:.0f} [{low:.0f}, {high:.0f}] at {d:.0f}" for d, n, low, high, c in rows
        )
        told = ", ".join(f"{a:.3f} of {b:.3f}" for a, b in zip(*bits(study, part)))
        lines.append(f"{curve.label}: facts at recall {study.target:g} over d = {held}; slope {fit}")
        lines.append(f"{curve.label}: bits a parameter, told of needed = {told}")
    return lines


def figure(study: Constructed, data):
    names = {"dimension": "dimension d", "rank": "H d_h", "width": "width m of the MLP"}
    kinds = [kind for kind in names if any(curve.against == kind for curve in study.curves)]
    known = data.isel(point=np.flatnonzero(data.censored.values == 0))
    searched = list(found(study, known))
    count = len(kinds) + bool(searched)
    figure, axes = plot.panels(-(-count // 2), min(2, count), 2.4 * -(-count // 2))
    for number, curve in enumerate(study.curves):
        ax = axes.flat[kinds.index(curve.against)]
        mean, half = seen(data, number)
        plot.band(ax, sizes(curve), mean, half, colour=number, label=curve.label, marker=".")
    for kind, ax in zip(kinds, axes.flat):
        ax.set(xlabel=names[kind], ylabel="recall", ylim=(0, 1.05))
        ax.set_title(f"S = {study.subjects}, R = {study.relations}, D = {study.answers}")
        plot.log_axes(ax, "x")
    for curve, part, fit in searched:
        ax, number = axes.flat[len(kinds)], study.curves.index(curve)
        x, N = part.dimension.values, part["size"].values
        low, high = np.where(part.low > 0, part.low, N), np.where(np.isfinite(part.high), part.high, N)
        label = f"{curve.label}: slope {words(fit)}" if fit else None
        plot.points(ax, x, N, [N - low, high - N], colour=number, label=label)
        if fit:
            ax.plot(x, fit(x), color=plot.COLOURS[number % 7], linewidth=0.8)
        ax.set(
            xlabel="dimension d", ylabel=f"facts at recall {study.target:g}", title=f"R = {study.relations}"
        )
        plot.log_axes(ax)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    plot.legend(figure, band="95 % interval")
    return figure
