"""Trajectories and Datasets on matplotlib Axes. The only module that imports matplotlib."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

# Okabe and Ito: told apart by the colour-blind, and in grey by the line styles beside them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-")
COLUMN, PAGE = 3.25, 6.75  # inches: one column, two columns

_RC = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "lines.linewidth": 1.2, "axes.linewidth": 0.6,
    "legend.frameon": False, "pdf.fonttype": 42, "figure.dpi": 100, "savefig.dpi": 200,
    "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip


def paper() -> AbstractContextManager:
    """Fonts and lines that read at paper size: ``with am.plot.paper(): …``."""
    return mpl.rc_context(_RC)  # type: ignore[arg-type]


def panels(rows: int, columns: int, height: float, width: float = PAGE, **options: Any):
    """(figure, axes of shape (rows, columns)); inches. Call and fill it inside ``paper()``."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(figure: Figure, stem: Path) -> None:
    """PNG and PDF side by side; the same figure gives the same bytes."""
    figure.savefig(stem.with_suffix(".png"))
    figure.savefig(stem.with_suffix(".pdf"), metadata={"CreationDate": None})


def line(ax: Axes, x, y, *, colour: int = 0, label: str | None = None, **options: Any) -> None:
    """One curve in the palette: colour and line style go together."""
    settings: dict[str, Any] = dict(color=COLOURS[colour % 7], linestyle=STYLES[colour % 7], label=label)
    settings |= options
    ax.plot(np.asarray(x), np.asarray(y), **settings)


def traces(ax: Axes, trajectories: Sequence[tuple[str, Any]], name: str, ylabel: str | None = None) -> None:
    """An observable of several labelled trajectories (or Datasets) against time."""
    for k, (label, run) in enumerate(trajectories):
        times, values = (run.times, run.observed[name]) if hasattr(run, "observed") else (run.time, run[name])
        line(ax, times, values, colour=k, label=label)
    ax.set_xlabel("time  (learning rate × step)")
    ax.set_ylabel(name if ylabel is None else ylabel)
    ax.legend()


def landscape(ax: Axes, x, y, loss, error=None, levels: int = 18):
    """Level lines of a loss over a plane, over its 0-1 loss in greys of blue (dark: no error).

    ``loss`` and ``error`` have shape (len(y), len(x)). Level lines are even in log loss.
    """
    x, y, loss = np.asarray(x), np.asarray(y), np.asarray(loss)
    image = None
    if error is not None:
        image = ax.pcolormesh(x, y, np.asarray(error), cmap=_BLUES, vmin=0, vmax=1, shading="nearest",
                              rasterized=True)  # fmt: skip
    spaced = np.geomspace(max(loss.min(), 1e-4), loss.max(), levels)
    ax.contour(x, y, loss, levels=spaced, colors="black", linewidths=0.4, alpha=0.75)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    return image


def heatmap(ax: Axes, x, y, values, label: str, **options: Any):
    """A scalar over a plane in viridis, with a colour bar."""
    settings: dict[str, Any] = dict(cmap="viridis", shading="nearest", rasterized=True) | options
    mesh = ax.pcolormesh(np.asarray(x), np.asarray(y), np.asarray(values), **settings)
    assert ax.figure is not None
    bar = ax.figure.colorbar(mesh, ax=ax, label=label, pad=0.02)
    bar.outline.set_linewidth(0.4)  # pyright: ignore[reportCallIssue]
    return mesh


_BLUES = ListedColormap(mpl.colormaps["Blues_r"](np.linspace(0.25, 1, 256)))
