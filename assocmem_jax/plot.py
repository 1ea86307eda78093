"""Trajectories and Datasets on matplotlib Axes. The only module that imports matplotlib."""

import contextlib
import io
import itertools
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib import cbook, ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.mathtext import MathTextParser
from matplotlib.patches import Patch

from . import checks
from .files import put

__all__ = [
    "COLOURS", "COLUMN", "MARKERS", "PAGE", "STYLES", "band", "curves", "error_bar", "heatmap",
    "landscape", "legend", "line", "log_axes", "mesh", "panels", "paper", "points", "rows", "save",
    "title_legend", "traces",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


# Okabe and Ito: told apart by the colour-blind, and in grey by the line styles beside them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^vDP*"
STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-")
COLUMN, PAGE = 3.25, 6.75  # inches: one column, two columns
_CLOCK = "learning rate × step"
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


def rows(heights: Sequence[float], width: float = PAGE) -> tuple[Figure, Any]:
    """(figure, its rows); heights in inches. A row has axes and a legend of its own."""
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    return figure, figure.subfigures(len(heights), 1, height_ratios=heights)


@contextlib.contextmanager
def boxes() -> Iterator[None]:
    """Where the font lacks a glyph a box stands: matplotlib need not say so of each, whenever it is drawn."""
    log, silent = logging.getLogger("matplotlib.mathtext"), lambda record: False
    log.addFilter(silent)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
            yield
    finally:
        log.removeFilter(silent)


def settable(text: str) -> bool:
    """Whether what a text has between dollar signs is mathematics that matplotlib can set."""
    try:
        with boxes():
            if cbook.is_math_text(text):
                MathTextParser("path").parse(text)
    except ValueError:
        return False
    return True


def save(figure: Figure, stem: Path) -> None:
    """PNG and PDF side by side, laid out once and drawn once each; the same figure gives the same bytes.

    ``Figure.savefig`` draws once more for each, to lay out what is laid out: a third of the time.
    """
    engine, canvas, dpi = figure.get_layout_engine(), figure.canvas, figure.dpi
    asked = mpl.rcParams["savefig.dpi"]
    figure.dpi = dpi if asked == "figure" else asked
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    png, pdf = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)
    FigureCanvasPdf(figure).print_pdf(pdf, metadata={"CreationDate": None})
    for ending, drawn in ((".png", png), (".pdf", pdf)):
        put(stem.with_name(stem.name + ending), drawn.getvalue())
    figure.dpi = dpi
    figure.set_canvas(canvas)
    figure.set_layout_engine(engine)


def legend(
    figure: Figure | SubFigure, *, band: str | None = None, loc: Any = "outside lower center", **options: Any
):
    """One legend for all axes, outside of them: every label once, in as many columns as have room.

    ``band`` says what bands and bars are: ``"95 % interval of the mean"``.
    """
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels()):
            entries.setdefault(label, handle)
    if band is not None:
        entries[band] = Patch(facecolor="0.5", alpha=0.4, linewidth=0)
    options = {"ncols": _columns_for(list(entries), 72 * figure.bbox.width / figure.dpi)} | options
    return figure.legend(entries.values(), entries.keys(), loc=loc, **options)


def title_legend(ax: Axes, title: str, ncols: int = 2) -> None:
    """The legend of one of many axes, under its title and above the axes: it covers nothing."""
    if not ax.get_legend_handles_labels()[1]:
        ax.set_title(title)
        return
    ax.legend(title=title, title_fontsize=mpl.rcParams["axes.titlesize"], loc="lower center", ncols=ncols,
              bbox_to_anchor=(0.5, 1), borderaxespad=0.1, columnspacing=1, handlelength=1.8)  # fmt: skip


def _columns_for(labels: list[str], width: float) -> int:
    """The most columns of a legend that fit into a width in points; columns are filled one after another."""
    seen = [re.sub(r"\\math\w+|\\top|[$^_{}]", "", label) for label in labels]
    # A letter is some 0.6 of the font's size wide, a handle and its gaps five times it.
    sizes = [float(mpl.rcParams["legend.fontsize"]) * (0.6 * len(text) + 5) for text in seen]
    fits = (n for n in range(len(labels), 1, -1) if sum(map(max, np.array_split(sizes, n))) <= width)
    return next(fits, 1)


def line(ax: Axes, x, y, *, colour: int = 0, label: str | None = None, **options: Any) -> None:
    """One curve in the palette: colour and line style go together, the first 49 differ."""
    style = STYLES[(colour + colour // 7) % 7]
    settings: dict[str, Any] = dict(color=COLOURS[colour % 7], linestyle=style, label=label)
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
    marker = MARKERS[(colour + colour // 7) % 7]
    settings: dict[str, Any] = dict(color=COLOURS[colour % 7], marker=marker, linestyle="",
                                    markersize=3, linewidth=0.8, label=label)  # fmt: skip
    settings |= options
    ax.errorbar(np.asarray(x), np.asarray(y), np.asarray(spread), **settings)


def log_axes(ax: Axes, which: str = "xy") -> None:
    """Logarithmic axes, with as many labels as their range asks for. Call it when all is drawn.

    Below half a decade as on a linear axis; below two decades at 1, 2 and 5 of each; else at powers of ten.
    """
    for name in which:
        axis = ax.xaxis if name == "x" else ax.yaxis
        ax.set(**{f"{name}scale": "log"})
        low, high = ax.get_xlim() if name == "x" else ax.get_ylim()
        if low <= 0:  # no point is drawn: matplotlib keeps limits that a logarithm has not
            low, high = 1, 10
            ax.set(**{f"{name}lim": (low, high)})
        if (decades := np.log10(high / low)) < 2:
            narrow = ticker.MaxNLocator(5, steps=[1, 2, 5, 10])
            axis.set_major_locator(narrow if decades < 0.5 else ticker.LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())


def traces(ax: Axes, trajectories: Sequence[tuple[str, Any]], name: str, ylabel: str | None = None) -> None:
    """An observable of several labelled trajectories (or Datasets) against time.

    Trajectories of one label share a colour and a place in the legend; so do the runs of a batch, and the
    entries of an observable with entries (a margin for each token). The entries of a single trajectory, up
    to seven, have colours of their own.
    """
    labels = list(dict.fromkeys(label for label, _ in trajectories))
    few = len(labels) <= 21
    clock = _CLOCK
    for label, run in trajectories:
        if hasattr(run, "observed"):
            depth = run.status.ndim
            run = run.to_xarray("run" if depth == 1 else [f"run_{i}" for i in range(depth)])
        times, values, entries = _rows(run, name)
        clock = run.time.attrs.get("units", _CLOCK)
        k = labels.index(label)
        if len(trajectories) == 1 and 1 < len(entries) <= 7:
            for j, entry in enumerate(entries):
                line(ax, times[j], values[j], colour=j, label=f"{label}, {entry}" if label else entry)
            continue
        shade = {} if few else {"color": mpl.colormaps["viridis"](k / (len(labels) - 1)), "linestyle": "-"}
        thin = {"linewidth": 0.5, "alpha": 0.6} if len(values) > 1 else {}
        named = label not in ax.get_legend_handles_labels()[1]
        for j, row in enumerate(values):
            line(ax, times[j], row, colour=k, label=label if named and not j else None, **shade, **thin)
    ax.set_xlabel(_time_label(clock))
    ax.set_ylabel(name.replace("_", " ") if ylabel is None else ylabel)
    handles, named = ax.get_legend_handles_labels()
    if not few:  # in the order given, dark to light
        handles[1:-1], named[1:-1] = [Line2D([], [], linestyle="")], [f"… {len(named) - 2} more …"]
    ax.legend(handles, named, ncols=-(-len(named) // 7))


def _rows(data: Any, name: str, x: str = "time") -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(x, values, names) of an observable of a Dataset: a row for each of its entries and each run."""
    table = data[name].transpose(..., data["time"].dims[-1])
    at = data[x].broadcast_like(table).transpose(*table.dims)
    places = itertools.product(*(table[dim].values for dim in table.dims[:-1]))
    names = [", ".join(f"{d} {v}".replace("_", " ") for d, v in zip(table.dims, place)) for place in places]
    return at.values.reshape(len(names), -1), table.values.reshape(len(names), -1), names


def _time_label(clock: str) -> str:
    return "step" if clock == "steps" else f"time  ({clock})"


def landscape(ax: Axes, x, y, loss, error=None, levels: int = 18):
    """Level lines of a loss over a plane, over its 0-1 loss in greys of blue (dark: no error).

    ``loss`` has shape (len(y), len(x)). ``error`` may be finer, over the same window: it jumps where the loss
    is smooth. Level lines are even in log loss.
    """
    x, y, loss = np.asarray(x), np.asarray(y), np.asarray(loss)
    image = None
    if error is not None:
        error = np.asarray(error)
        half = [(axis[-1] - axis[0]) / (n - 1) / 2 for axis, n in zip((x, y), error.shape[::-1])]
        window = x[0] - half[0], x[-1] + half[0], y[0] - half[1], y[-1] + half[1]
        image = ax.imshow(error, _BLUES, vmin=0, vmax=1, origin="lower", extent=window, aspect="auto",
                          interpolation_stage="rgba")  # fmt: skip
    low, high = max(loss.min(), 1e-4), loss.max()
    if low < high < np.inf:  # a plain has no lines, and a slight slope few that differ
        spaced = np.unique(np.geomspace(low, high, levels))
        ax.contour(x, y, loss, levels=spaced, colors="black", linewidths=0.4, alpha=0.75)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    return image


def error_bar(figure: Figure, axes, error, label: str = "0-1 loss L₀₁", **options: Any):
    """The colour bar of landscapes: up to eight errors have a box each; more, a scale from 0 to 1."""
    values = np.unique(np.round(np.asarray(error, float), 6))
    if len(values) > 8:
        return figure.colorbar(ScalarMappable(Normalize(0, 1), _BLUES), ax=axes, label=label, **options)
    boxes = BoundaryNorm(np.arange(len(values) + 1) - 0.5, len(values))
    bar = figure.colorbar(
        ScalarMappable(boxes, ListedColormap(_BLUES(values))), ax=axes, label=label, **options
    )
    bar.set_ticks(range(len(values)), labels=[f"{v:.3g}" for v in values])
    bar.ax.minorticks_off()
    return bar


def mesh(ax: Axes, x, y, values, label: str | None, **options: Any):
    """A scalar over a plane in viridis, with a colour bar unless ``label`` is None."""
    settings: dict[str, Any] = dict(cmap="viridis", shading="nearest", rasterized=True) | options
    x, y = np.asarray(x), np.asarray(y)
    if 1 in (len(x), len(y)):  # a cell has a width, too, where it is alone
        x, y, settings["shading"] = _edges(x), _edges(y), "flat"
    image = ax.pcolormesh(x, y, np.asarray(values), **settings)
    if label is not None:
        _bar(ax, image, label)
    return image


def heatmap(
    data: Any, *, x: str, y: str, name: str | None = None, facet: str | None = None,
    log: bool | None = None, levels: int = 0, label: str | None = None, missing: str = "no value",
    ax: Axes | None = None, bar: bool = True, **options: Any,
) -> Any:  # fmt: skip
    """A variable of a sweep over any two of its axes: ``heatmap(ds, x="alpha", y="learning_rate")``.

    - ``name``: the variable (the first one unless given); ``data`` may also be a ``DataArray``.
    - ``facet``: a third axis, one panel for each of its values (at most twelve), colours shared.
    - ``log``: colours in log₁₀; unless given, where values are positive and span more than 30-fold.
      Axes are logarithmic where their points are.
    - ``levels``: this many level lines over the colours.
    - Grey, named by ``missing`` under the figure: NaN, infinite, or −1 in a count of steps (never).

    Returns the figure; with ``ax``, draws there (no facets), with a colour bar unless ``bar=False``, and
    returns the image.
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
        image = _heat(ax, table, x, y, values, words, levels, bar, options)
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
    """Says once in a figure what grey is: outside of its axes where it makes room for that."""
    figure = cast(Figure, ax.figure)
    said = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    if missing in said or not np.isnan(values).any():
        return
    options: dict[str, Any] = dict(handlelength=1)
    options["handles"] = [Patch(facecolor="0.8", edgecolor="0.4", linewidth=0.4, label=missing)]
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.legend(loc="outside lower center", **options)
    else:
        ax.legend(loc="lower left", frameon=True, framealpha=0.9, **options)


def _heat(ax: Axes, table, x: str, y: str, values, label: str, levels: int, bar: bool, options) -> Any:
    ax.set_facecolor("0.8")  # where there is no value
    across, up = np.asarray(table[x].values, float), np.asarray(table[y].values, float)
    settings: dict[str, Any] = dict(cmap="viridis", shading="flat", rasterized=True) | options
    image = ax.pcolormesh(_edges(across), _edges(up), np.ma.masked_invalid(values), **settings)
    if levels and min(values.shape) > 1:
        ax.contour(across, up, values, levels=levels, colors="black", linewidths=0.4, linestyles="-")
    log_axes(ax, "".join(name for name, points in (("x", across), ("y", up)) if _geometric(points)))
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
    at, values, labels = _rows(data, name, x)
    sizes = {dim: n for dim, n in data[name].sizes.items() if dim != along}
    few, last = len(values) <= len(COLOURS), list(sizes.values() or [1])[-1]
    # Of many lines only the last axis (tokens) is told apart, if it is short: it is that of the first lines.
    told = len(values) if few else last if len(sizes) > 1 and last <= len(COLOURS) else 1
    thin = {} if few else {"linestyle": "-", "alpha": max(0.05, 8 / len(values)), "linewidth": 0.6}
    for k, row in enumerate(values):
        label = labels[k] if few else labels[k].rpartition(", ")[2]
        line(ax, at[k], row, colour=k % told, label=label if k < told > 1 else None, **thin)
    if told > 1:
        for handle in ax.legend().get_lines():
            handle.set(alpha=1, linewidth=1.2)
    if not few:
        ax.set_title(" × ".join(f"{n} {dim}" for dim, n in sizes.items()))
    known = values[np.isfinite(values)]
    tall = log or (log is None and known.size and known.min() > 0 and known.max() > 30 * known.min())
    # The start, at time 0, is left of a logarithmic axis.
    log_axes(ax, ("x" if _geometric(at[0, 1:]) else "") + ("y" if tall else ""))
    ax.set_xlabel("step" if x == "step" else _time_label(data[x].attrs.get("units", _CLOCK)))
    ax.set_ylabel(_axis_label(data[name]))
