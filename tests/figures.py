"""What is wrong with the layout of a figure: read off what the renderer draws."""

from collections import Counter
from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.transforms import Bbox


def faults(figure) -> list[str]:
    """One line each: words outside of the figure, over others or too small; legends that repeat or cover."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    written = [(text, text.get_window_extent(renderer)) for text in _texts(figure)]
    page = figure.bbox.padded(0.5)
    found = [
        f"outside of the figure: {text.get_text()!r}"
        for text, box in written
        if not all(page.contains(*corner) for corner in box.corners())
    ]
    found += [
        f"{a.get_text()!r} is over {b.get_text()!r}"
        for (a, one), (b, other) in combinations(written, 2)
        if min(one.padded(-1).width, other.padded(-1).width) > 0
        and _overlap(one.padded(-1), other.padded(-1))
    ]
    for legend in _legends(figure):
        labels = Counter(text.get_text() for text in legend.get_texts())
        found += [f"in a legend {n} times: {label!r}" for label, n in labels.items() if n > 1]
        box = legend.get_window_extent(renderer)
        found += [f"a legend covers {what}" for ax in figure.axes if ax.axison for what in _under(ax, box)]
    # On the page a column is 3.25 inches: below 6 points nobody reads.
    found += [
        f"{text.get_fontsize():g} points: {text.get_text()!r}"
        for text, _ in written
        if text.get_fontsize() < 6
    ]
    return list(dict.fromkeys(found))


def _overlap(one: Bbox, other: Bbox) -> bool:
    return one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1


def _legends(figure):
    parts = [*figure.legends, *(legend for part in figure.subfigs for legend in part.legends)]
    return [*parts, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]


def _texts(figure):
    """Every text that is drawn: a tick's label only where the tick is in view."""
    found = [text for legend in _legends(figure) for text in [*legend.get_texts(), legend.get_title()]]
    found += figure.texts
    for ax in figure.axes:
        if not ax.get_visible():
            continue
        found += ax.texts
        if not ax.axison:
            continue
        found += [ax.title, ax.xaxis.label, ax.yaxis.label]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-9 * (high - low)
            for minor in (False, True):
                labels = zip(axis.get_ticklocs(minor=minor), axis.get_ticklabels(minor=minor))
                found += [label for place, label in labels if low - slack <= place <= high + slack]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def _under(ax, box: Bbox):
    """What of the data lies under a box of the screen."""
    if not _overlap(box, ax.bbox):
        return
    if ax.images or any(isinstance(c, QuadMesh) for c in ax.collections):
        yield "an image"
    for line in ax.lines:
        path = line.get_transform().transform_path(line.get_path())
        if (
            len(path.vertices)
            and np.isfinite(path.vertices).any()
            and path.intersects_bbox(box, filled=False)
        ):
            yield f"the line {line.get_label()!r}"
    for collection in ax.collections:
        paths = (collection.get_transform().transform_path(path) for path in collection.get_paths())
        if not isinstance(collection, QuadMesh) and any(path.intersects_bbox(box) for path in paths):
            yield "a band"
