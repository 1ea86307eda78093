"""Trajectories and Datasets on matplotlib Axes. The only module that imports matplotlib."""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from . import checks
from .files import put

# Okabe and Ito: told apart by the colour-blind, and in grey by the line styles beside them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^vDP*"
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
    formats: dict[str, Any] = {".png": {}, ".pdf": {"metadata": {"CreationDate": None}}}
    for ending, options in formats.items():
        drawn = io.BytesIO()
        figure.savefig(drawn, format=ending[1:], **options)
        put(stem.with_name(stem.name + ending), drawn.getvalue())


def line(ax: Axes, x, y, *, colour: int = 0, label: str | None = None, **options: Any) -> None:
    """One curve in the palette: colour and line style go together."""
    settings: dict[str, Any] = dict(color=COLOURS[colour % 7], linestyle=STYLES[colour % 7], label=label)
    settings |= options
    ax.plot(np.asarray(x), np.asarray(y), **settings)


def band(ax: Axes, x, middle, half, *, colour: int = 0, label: str | None = None, **options: Any) -> None:
    """A curve with a band about it: ``half`` its half-width, or shape (2, n): how far down, how far up."""
    x, middle, half = np.asarray(x), np.asarray(middle), np.asarray(half)
    down, up = half if half.ndim == 2 else (half, half)
    line(ax, x, middle, colour=colour, label=label, **options)
    ax.fill_between(x, middle - down, middle + up, color=COLOURS[colour % 7], alpha=0.15, linewidth=0)


def points(ax: Axes, x, y, spread, *, colour: int = 0, label: str | None = None, **options: Any) -> None:
    """Points with error bars: ``spread`` as ``half`` of ``band``; colour and marker go together."""
    settings: dict[str, Any] = dict(color=COLOURS[colour % 7], marker=MARKERS[colour % 7], linestyle="",
                                    markersize=3, linewidth=0.8, label=label)  # fmt: skip
    settings |= options
    ax.errorbar(np.asarray(x), np.asarray(y), np.asarray(spread), **settings)


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


def mesh(ax: Axes, x, y, values, label: str, **options: Any):
    """A scalar over a plane in viridis, with a colour bar."""
    settings: dict[str, Any] = dict(cmap="viridis", shading="nearest", rasterized=True) | options
    image = ax.pcolormesh(np.asarray(x), np.asarray(y), np.asarray(values), **settings)
    _bar(ax, image, label)
    return image


def heatmap(
    data: Any, *, x: str, y: str, name: str | None = None, facet: str | None = None,
    log: bool | None = None, levels: int = 0, label: str | None = None, missing: str = "no value",
    ax: Axes | None = None, **options: Any,
) -> Any:  # fmt: skip
    """A variable of a sweep over any two of its axes: ``heatmap(ds, x="alpha", y="learning_rate")``.

    - ``name``: the variable (the first one unless given); ``data`` may also be a ``DataArray``.
    - ``facet``: a third axis, one panel for each of its values (at most twelve), colours shared.
    - ``log``: colours in log₁₀; unless given, where values are positive and span more than 30-fold.
      Axes are logarithmic where their points are.
    - ``levels``: this many level lines over the colours.
    - Grey, named by ``missing``: NaN, infinite, or −1 in a count of steps (never).

    Returns the figure; with ``ax``, draws there (no facets) and returns the image.
    """
    table = data if hasattr(data, "values") and not hasattr(data, "data_vars") else None
    if table is None:
        first = next(v for v in data.data_vars if v != "status")
        table = data[first if name is None else name]
    kept = [d for d in (facet, y, x) if d is not None]
    table = table.squeeze([d for d in table.dims if d not in kept and table.sizes[d] == 1])
    for axis in kept:
        if axis not in table.dims:
            checks.refuse("x, y and facet", f"among the axes {table.dims}", repr(axis))
    if spare := [d for d in table.dims if d not in kept]:
        checks.refuse(
            str(table.name), f"over {kept} only", f"also over {spare}", f"select: ds.sel({spare[0]}=…)"
        )
    table = table.transpose(*kept)
    values = np.asarray(table.values, float)
    values = np.where(np.isfinite(values) & ~((table.dtype.kind in "iu") & (values < 0)), values, np.nan)
    known = values[~np.isnan(values)]
    if log is None:
        log = bool(known.size and known.min() > 0 and known.max() > 30 * known.min())
    if log:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log10(np.where(values > 0, values, np.nan))
        known = values[~np.isnan(values)]
    words = str(table.name).replace("_", " ") if label is None else label
    words = f"log₁₀ {words}" if log else words
    options = dict(vmin=known.min(), vmax=known.max()) | options if known.size else options
    if ax is not None:
        image = _heat(ax, table, x, y, values, words, levels, True, options)
        _grey(ax, values, missing)
        return image
    points = [None] if facet is None else list(table[facet].values)
    if len(points) > 12:
        checks.refuse(
            "facet", "an axis of at most 12 values", f"{len(points)}", f"ds.isel({facet}=slice(0, None, k))"
        )
    columns = min(len(points), 4)
    rows = -(-len(points) // columns)
    width = COLUMN if len(points) == 1 else PAGE
    figure, axes = panels(
        rows, columns, (2.4 if columns < 3 else 1.9) * rows, width, sharex=True, sharey=True
    )
    image = None
    for k, panel in enumerate(axes.flat):
        if k >= len(points):
            panel.set_visible(False)
            continue
        part = values if facet is None else values[k]
        image = _heat(panel, table, x, y, part, words, levels, len(points) == 1, options)
        if facet is not None:
            panel.set_title(f"{facet} = {points[k]:.3g}")
        panel.label_outer()
    if len(points) > 1:
        figure.colorbar(cast(Any, image), ax=axes, label=words, pad=0.02)
    _grey(axes.flat[0], values, missing)
    return figure


def _grey(ax: Axes, values, missing: str) -> None:
    if np.isnan(values).any():
        patch = Patch(facecolor="0.8", edgecolor="0.4", linewidth=0.4, label=missing)
        ax.legend(handles=[patch], loc="lower left", frameon=True, framealpha=0.9, handlelength=1)


def _heat(ax: Axes, table, x: str, y: str, values, label: str, levels: int, bar: bool, options) -> Any:
    ax.set_facecolor("0.8")  # where there is no value
    across, up = np.asarray(table[x].values, float), np.asarray(table[y].values, float)
    settings: dict[str, Any] = dict(cmap="viridis", shading="flat", rasterized=True) | options
    image = ax.pcolormesh(_edges(across), _edges(up), np.ma.masked_invalid(values), **settings)
    if levels and min(values.shape) > 1:
        ax.contour(across, up, values, levels=levels, colors="black", linewidths=0.4)
    for points, axis, scale in ((across, ax.xaxis, ax.set_xscale), (up, ax.yaxis, ax.set_yscale)):
        if _geometric(points):
            scale("log")
            narrow = points[-1] < 30 * points[0]
            axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if narrow else (1,)))
            axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
            axis.set_minor_formatter(ticker.NullFormatter())
    ax.set_xlabel(_axis_label(table[x]))
    ax.set_ylabel(_axis_label(table[y]))
    if bar:
        _bar(ax, image, label)
    return image


def _bar(ax: Axes, image: Any, label: str) -> None:
    assert ax.figure is not None
    bar = ax.figure.colorbar(image, ax=ax, label=label, pad=0.02)
    bar.outline.set_linewidth(0.4)  # pyright: ignore[reportCallIssue]


def _edges(points):
    """Edges of cells around points: midpoints, of the logarithms on a logarithmic axis."""
    if len(points) == 1:
        return points + np.array([-0.5, 0.5])
    seen = np.log(points) if _geometric(points) else points
    middle = (seen[1:] + seen[:-1]) / 2
    edges = np.concatenate([[2 * seen[0] - middle[0]], middle, [2 * seen[-1] - middle[-1]]])
    return np.exp(edges) if _geometric(points) else edges


def _geometric(points) -> bool:
    if len(points) < 3 or points.min() <= 0 or points[-1] < 5 * points[0]:
        return False
    steps = np.diff(np.log(points))
    return bool((steps > 0).all() and np.median(np.abs(steps / np.median(steps) - 1)) < 0.05)


def _axis_label(axis) -> str:
    unit = axis.attrs.get("units", "1")
    words = axis.attrs.get("label", str(axis.name).replace("_", " "))
    return words if unit == "1" else f"{words} ({unit})"


_BLUES = ListedColormap(mpl.colormaps["Blues_r"](np.linspace(0.25, 1, 256)))


def curves(data: Any, names: Sequence[str] = (), *, x: str = "time", log: bool | None = None) -> Figure:
    """Observables of a run (``Trajectory.to_xarray()``) over ``"time"`` or ``"step"``, a panel each.

    Those named, else all with at most one axis besides the batch and time; a line for each token and each
    lane, named in a legend where they are few. ``log``: the vertical axis, unless given where values are
    positive and span more than 30-fold; the horizontal one is logarithmic where its points are.
    """
    if x not in ("time", "step"):
        checks.refuse("x", "'time' or 'step'", repr(x))
    along = data["time"].dims[-1]
    batch = data["status"].dims if "status" in data else ()
    drawable = [str(n) for n, v in data.items() if along in v.dims and v.ndim <= len(batch) + 2]
    for name in names:
        if name not in drawable:
            checks.refuse("names", f"observables that lines can show, of {', '.join(drawable)}", repr(name))
    names = list(names) or drawable
    if not names:
        checks.refuse("names", "observables that lines can show", "none in this run", "observe={…: am.loss}")
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    width = COLUMN if columns == 1 else PAGE
    with paper():
        figure, axes = panels(rows, columns, 2.1 * rows, width)
        for ax, name in zip(axes.flat, names):
            _curves(ax, data, name, along, x, log)
        for ax in axes.flat[len(names) :]:
            ax.set_visible(False)
    return figure


def _curves(ax: Axes, data: Any, name: str, along: str, x: str, log: bool | None) -> None:
    table = data[name].transpose(..., along)
    dims, sizes = table.dims[:-1], table.shape[:-1]
    values = table.values.reshape(-1, table.shape[-1])
    at = data[x].broadcast_like(table).transpose(*table.dims).values.reshape(values.shape)
    few = len(values) <= len(COLOURS)
    # Of many lines only the last axis (tokens) is told apart, if it is short.
    shown = dims if few else dims[-1:] if sizes[-1] <= len(COLOURS) and len(dims) > 1 else ()
    for k, row in enumerate(values):
        where = dict(zip(dims, np.unravel_index(k, sizes)))
        colour = k if few else int(where[shown[0]]) if shown else 0
        label = ", ".join(
            f"{dim.removeprefix(f'{name}_')} {_coordinate(data, dim, where[dim])}" for dim in shown
        )
        thin = {} if few else {"linestyle": "-", "alpha": max(0.05, 8 / len(values)), "linewidth": 0.6}
        first = few or k < (sizes[-1] if shown else 0)
        line(ax, at[k], row, colour=colour, label=label if first and label else None, **thin)
    if shown and len(values) > 1:
        for handle in ax.legend().get_lines():
            handle.set(alpha=1, linewidth=1.2)
    if not few:
        ax.set_title(" × ".join(f"{n} {d}" for d, n in zip(dims, sizes)))
    known = values[np.isfinite(values)]
    if log or (log is None and known.size and known.min() > 0 and known.max() > 30 * known.min()):
        ax.set_yscale("log")
    if _geometric(at[0, 1:]):  # the start, at time 0, is left of the axis
        ax.set_xscale("log")
    ax.set_xlabel("step" if x == "step" else f"time  ({data[x].attrs.get('units', '1')})")
    ax.set_ylabel(_axis_label(table))


def _coordinate(data: Any, dim: str, i: Any) -> str:
    return str(data[dim].values[i]) if dim in data.coords else str(int(i))
