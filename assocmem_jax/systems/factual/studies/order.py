"""A map of which half of a fact is learned first, and of how long the plateau is."""

import functools
from typing import Any

import numpy as np

from .... import plot
from .. import theory
from .schemas import Order


def flow_times(subjects, relations, answers, start, *, level):
    """When each half has a loss of ``level``, and the plateau between them, from v = ``start``."""
    sizes = subjects, relations, answers
    found = theory.plateau(*sizes, start, level)
    return {
        "subject_time": theory.fall_time(theory.subjects(*sizes), level, start),
        "relation_time": theory.fall_time(theory.relations(*sizes), level, start),
        "plateau_begin": found.begin,
        "plateau_end": found.end,
    }


def sweep(study: Order):
    axes = {name: getattr(study, name).points() for name in ("subjects", "relations", "answers", "start")}
    # Slices that are drawn, exactly.
    axes = {name: np.unique([*points, getattr(study, f"panel_{name}")]) for name, points in axes.items()}
    return functools.partial(flow_times, level=study.level), axes


def report(study: Order, data):
    S, R, D = np.meshgrid(data.subjects, data.relations, data.answers, indexing="ij")
    criterion = np.asarray(theory.relation_first(S, R, D))
    first = (data.relation_time < data.subject_time).values
    length = ((data.plateau_end - data.plateau_begin) / data.plateau_begin).values
    lines = [
        f"{first.size:,} points: relations are first at {first.mean():.1%}; there is a plateau at "
        f"{(length > 0).mean():.1%}"
    ]
    for k in (0, first.shape[-1] - 1):
        agree = (first[..., k] == (criterion > 0)).mean()
        lines.append(
            f"α = {float(data.start[k]):.3g}: the criterion of α → 0 says which at {agree:.2%}; the plateau "
            f"lasts {np.median(length[..., k]):.2f} times as long as it takes to reach it (median), at most "
            f"{length[..., k].max():.3g}"
        )
    return lines


def figure(study: Order, data):
    figure, axes = plot.panels(1, 3, 2.4)
    ratio = data.subject_time / data.relation_time
    length = (data.plateau_end - data.plateau_begin) / data.plateau_begin
    names = {"subjects": "subjects S", "relations": "relations R", "answers": "answers D", "start": "start α"}
    at = {"answers": study.panel_answers, "start": study.panel_start}
    spread = float(np.abs(np.log10(ratio.sel(at))).max())
    small = length.sel(subjects=study.panel_subjects, relations=study.panel_relations)
    tables: Any = (
        (ratio.sel(at), "relations", "subjects", "subjects' time/relations'",
         dict(cmap="RdBu_r", vmin=-spread, vmax=spread)),
        (length.sel(at), "relations", "subjects", "plateau/its beginning", {}),
        (small, "answers", "start", "plateau/its beginning", {}),
    )  # fmt: skip
    for ax, (table, x, y, label, options) in zip(axes[0], tables):
        labelled = table.assign_coords({axis: table[axis].assign_attrs(label=names[axis]) for axis in (x, y)})
        plot.heatmap(
            labelled.rename("values"), x=x, y=y, ax=ax, label=label, log=True, missing="no plateau", **options
        )
        if x == "relations":
            R = data.relations.values
            ax.plot(R, R * np.sqrt((study.panel_answers - 1) / (R - 1)), color="black", linewidth=1,
                    label="S²(R − 1) = R²(D − 1)" if ax is axes[0, 0] else None)  # fmt: skip
            ax.set(ylim=(data.subjects.min(), data.subjects.max()))
            ax.set_title(f"D = {study.panel_answers:g}, α = {study.panel_start:g}")
        else:
            ax.set_title(f"S = {study.panel_subjects:g}, R = {study.panel_relations:g}")
    plot.legend(figure, loc="outside lower left")
    return figure
