"""The figure of the study of real words."""

import itertools
from typing import Any

import numpy as np

from .... import plot
from ....studies.kit import interval
from .real_schema import RealWords

# Embeddings of a word: as they are, with the mean of all removed, with equal variances, or drawn. Norm one.
FAMILIES = ("real", "centred", "whitened", "random")
TWO = ("real", "random")
OPTIMIZERS = ("sgd", "adam", "sign")
NAMES = {"sgd": "SGD", "adam": "Adam", "sign": "sign descent"}
TITLES = {"real": "real embeddings", "random": "random embeddings"}
# Colours: what embeddings; elsewhere what its legend says. Random is black everywhere.
LOOKS = {"real": 0, "centred": 4, "whitened": 2, "random": 6}
# Axis → what its places are; numbers where a Dataset is stored, and these beside it.
LABELS = {
    "family": list(FAMILIES), "two": list(TWO), "training": ["written", "trained"], "near": ["near", "far"],
    "optimizer": list(OPTIMIZERS),
}  # fmt: skip


def labelled(data: Any) -> Any:
    """The Dataset with words along its axes."""
    return data.assign_coords({axis: data.attrs[axis] for axis in (*LABELS, "shown")})


def figure(study: RealWords, data: Any):
    data = labelled(data)
    figure, rows = plot.rows((2.4, 2.6, 2.3))
    _memories(study, data, rows[0].subplots(1, 3))
    _two_words(study, data, rows[1].subplots(1, 3))
    _trained(study, data, rows[2].subplots(1, 4))
    for row, band in zip(rows, ("95 % intervals", None, None)):
        plot.legend(row, band=band)
    return figure


def _memories(study: RealWords, data: Any, axes: Any) -> None:
    a, b, c = axes
    for family in data.family.values:
        part, colour = data.sel(family=family), LOOKS[family]
        spectrum = part.spectrum.values
        plot.line(a, np.arange(1, len(spectrum) + 1), spectrum, colour=colour, label=family)
        mean, half = interval(part.recall.values)
        plot.points(b, data["size"], mean, half, colour=colour)
        plot.line(b, data["size"], part.predicted, colour=colour, linewidth=0.8)
    plot.log_axes(a)
    a.set(
        xlabel="axis", ylabel="share of the variance", title="spectrum of the Gram matrix", ylim=(1e-4, 0.1)
    )
    b.set(
        xlabel="N, most frequent words",
        ylabel="recall, W = Σ u eᵀ",
        title="lines: theory, from the Gram matrix",
    )
    plot.log_axes(b, "x")
    for style, training in zip(("-", "--"), data.training.values):
        for family in data.two.values:
            part = data.sel(training=training, two=family)
            known = part.capacity.values
            spread = np.abs([known - part.low, np.where(np.isfinite(part.high), part.high, known) - known])
            plot.points(c, data.dimension, known, spread, colour=LOOKS[family], linestyle=style)
        c.plot([], [], color="0.5", linestyle=style, linewidth=0.8, label=training)
    c.set(
        xlabel="dimension d",
        ylabel=f"N at recall {study.search.target:g}",
        title="capacity",
    )
    plot.log_axes(c)


def _two_words(study: RealWords, data: Any, axes: Any) -> None:
    a, b, c = axes
    first, second, far = data.compared
    for near, style, other in (("near", "-", second), ("far", "--", far)):
        for k, rate in enumerate(data.drawn_rate.values):
            loss, colour = data.loss.sel(near=near, drawn_rate=rate), plot.COLOURS[(5, 1, 3)[k]]
            a.plot(data.step, loss, style, color=colour, label=f"{first}, {other}: η = {rate:g}")
    a.set(xlabel="step t", ylabel="loss (nats)", title="two words")
    plot.log_axes(a, "y")
    for k, name in enumerate(data.shown.values):
        part, colour = data.sel(shown=name), (0, 4, 2, 3, 1)[k % 5]
        count = np.where(part["count"] >= 0, part["count"], np.nan)
        plot.line(b, data.rate, count, colour=colour, label=str(name))
        from_here = np.array([float(part.exact_from), max(float(part.exact_from), data.rate.values[-1])])
        b.plot(from_here, [part.limit, part.limit], color=plot.COLOURS[colour], linewidth=3, alpha=0.35)
    b.plot([], [], color="0.5", linewidth=3, alpha=0.5, label="η → ∞ (theory, exact there)")
    b.set(xlabel="learning rate η", ylabel="steps", title="perfect accuracy")
    plot.log_axes(b)
    # Both in one number: the rare word is pushed by α p₁ and pulls with p₂.
    share = data.pair_share.values
    force = data.pair_cosine.values * share / (1 - share)
    reached = data.least.values < study.pairs.horizon
    c.plot(force[reached], data.least.values[reached], "o", color=plot.COLOURS[1], markersize=2.5,
           label=f"{len(share)} nearest pairs, best η")  # fmt: skip
    stair = np.geomspace(min(force.min(), 0.9), force.max(), 2000)
    bound = np.where(stair < 1, 1, 2 + np.floor((stair - 1) / 2))
    c.plot(stair, bound, color="black", linewidth=0.8, label="no η takes fewer (theory)")
    c.set(xlabel="α p₁/p₂", ylabel="fewest steps", title="steps that correlation costs")
    plot.log_axes(c)


def _trained(study: RealWords, data: Any, axes: Any) -> None:
    tokens = data.sizes["token"]
    axes[1].sharey(axes[0])
    axes[3].sharey(axes[2])
    # Shares of right words in bins of rank, each twice as wide as the one before it.
    edges = np.unique(np.round(np.geomspace(1, tokens + 1, 2 + int(np.log2(tokens)))).astype(int)) - 1
    middle = np.sqrt((edges[:-1] + 1) * edges[1:])
    for ax, family in zip(axes[:2], data.two.values):
        for k, optimizer in enumerate(data.optimizer.values):
            right = data.right.sel(two=family, optimizer=optimizer).values
            shares = [right[i:j].mean() for i, j in itertools.pairwise(edges)]
            ax.plot(middle, shares, color=plot.COLOURS[(1, 2, 3)[k]], marker=plot.MARKERS[k], markersize=3,
                    label=NAMES[optimizer])  # fmt: skip
        ax.set(xlabel="word, by frequency", ylabel=f"right after {study.optimizers.steps} steps",
               title=TITLES[family], ylim=(-0.03, 1.03))  # fmt: skip
        plot.log_axes(ax, "x")
    for ax, family in zip(axes[2:], data.two.values):
        ax.axhline(1, color="black", linewidth=0.6)
        for k, rate in enumerate(data.edge_rate.values):
            part = data.sel(two=family, edge_rate=rate)
            plot.line(
                ax,
                data.look[1:],
                part.sharpness[1:] * rate / 2,
                colour=(5, 4, 1, 3)[k],
                label=f"η = {rate:g}",
            )
        ax.set(xlabel="step t", ylabel="sharpness/(2/η)", title=TITLES[family])
        plot.log_axes(ax)
