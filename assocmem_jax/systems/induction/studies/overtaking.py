"""A map of when the answer of the context overtakes the noise, and the law of it."""

import numpy as np

from .... import plot
from ..dynamics import time_to_overtake
from ..task import NoisyCopyTask
from ..theory import context as theory
from .context_schemas import Overtaking


def flow_time(tokens, noise):
    """When the answer scores above τ in the flow."""
    return {"overtaken": time_to_overtake(NoisyCopyTask(tokens, noise))}


def sweep(study: Overtaking):
    axes = {"tokens": study.tokens.points(), "noise": study.noise.points()}
    for name, more in (("tokens", study.told), ("noise", study.shown)):
        axes[name] = np.unique([*axes[name], *more])
    return flow_time, axes | {"predict": steps}


def steps(tokens, noise):
    """How long a point takes: about its time."""
    return np.where(noise < 0.5, tokens / np.maximum(1 - 2 * noise, 1e-3), 0)


def deviation(data):
    """(t − law)/law where there is a time."""
    law = np.asarray(theory.overtaking_time(data.tokens.values[:, None], data.noise.values))
    known = np.isfinite(law) & (law > 0) & np.isfinite(data.overtaken.values)
    return np.where(known, data.overtaken.values / np.where(known, law, 1) - 1, np.nan)


def report(study: Overtaking, data):
    off = np.abs(deviation(data))
    lines = [
        f"{off.size:,} points: the answer leads from the start at {(data.overtaken == 0).values.mean():.1%}, "
        f"overtakes τ at {np.isfinite(off).mean():.1%}, never at {np.isinf(data.overtaken.values).mean():.1%}"
    ]
    for floor in (4, 16):
        far = off[(data.tokens.values[:, None] * data.noise.values > floor) & np.isfinite(off)]
        if far.size:
            lines.append(
                f"where αN > {floor}: the law is within {far.max():.2%}, {np.median(far):.3%} in the median"
            )
    for tokens in study.told:
        for noise in study.shown:
            time, law = (
                float(data.overtaken.sel(tokens=tokens, noise=noise)),
                theory.overtaking_time(tokens, noise),
            )
            lines.append(f"N = {tokens}, α = {noise:g}: t = {time:.6g}, law {float(law):.6g}")
    return lines


def figure(study: Overtaking, data):
    figure, axes = plot.panels(1, 3, 2.4)
    left, middle, right = axes[0]
    N = data.tokens.values
    for k, noise in enumerate(study.shown):
        seen = slice(None, None, max(1, len(N) // 12))
        plot.points(
            left,
            N[seen],
            data.overtaken.sel(noise=noise)[seen],
            0 * N[seen],
            colour=k,
            label=f"α = {noise:g}",
        )
        law = np.asarray(theory.overtaking_time(N, noise))
        plot.line(left, N, np.where(law > 0, law, np.nan), color="black", linewidth=0.8, linestyle="-",
                  label=None if k else "law")  # fmt: skip
    left.set(xlabel="tokens N", ylabel="overtaking time")
    plot.log_axes(left, "xy")
    words = "at once (below), never (above)"
    names = {"tokens": "tokens N", "noise": "noise α"}
    labelled = data.assign_coords({axis: data[axis].assign_attrs(label=names[axis]) for axis in names})
    table = labelled.overtaken.where((labelled.overtaken > 0) & np.isfinite(labelled.overtaken))
    plot.heatmap(table, x="tokens", y="noise", ax=middle, log=True, label="time",
                 missing=words)  # fmt: skip
    off = table.copy(data=np.abs(deviation(data))).rename("deviation")
    plot.heatmap(off, x="tokens", y="noise", ax=right, log=True, label="|t/law − 1|", missing=words,
                 vmin=-6, vmax=0)  # fmt: skip
    plot.title_legend(left, "")
    return figure
