"""GD Figure 1: level lines of loss and error."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from .plane import facing, on_plane
from .schemas import Landscape


def run(study: Landscape, scratch: Path | None):
    maps = {"loss": am.loss, "error": am.error}
    out = {name: [] for name in (*maps, "first_margins", "first_error", "flow")}
    descent = am.Descent(optax.sgd, 1, learning_rate=study.learning_rate)
    watch = {"margins": am.margins, "error": am.error}
    for alpha in study.alphas:
        task = am.two_tokens(alpha, study.p1)
        memory = am.LinearMemory.zeros(task)
        for name, observable in maps.items():
            rows = []
            for window in study.windows:
                axis = jnp.linspace(-window, window, study.resolution)
                rows.append(on_plane(task, observable, axis, axis, -1.0))
            out[name].append(rows)
        step = am.simulate(task, memory, descent, observe=watch)
        out["first_margins"].append(step.observed["margins"][1])
        out["first_error"].append(step.observed["error"][1])
        flow = am.simulate(task, memory, am.GradientFlow(1e6, stiff=True), observe={"plane": facing})
        out["flow"].append(flow.observed["plane"])
    axes = [np.linspace(-w, w, study.resolution) for w in study.windows]
    dims = ("alpha", "window", "gamma2", "gamma1")
    return xr.Dataset(
        {
            "loss": (dims, np.array(out["loss"]), {"units": "nats"}),
            "error": (dims, np.array(out["error"])),
            "axis": (("window", "point"), np.array(axes)),
            "first_margins": (("alpha", "token"), np.array(out["first_margins"])),
            "first_error": ("alpha", np.array(out["first_error"])),
            "flow": (("alpha", "time", "gamma"), np.array(out["flow"])),
        },
        {"alpha": list(study.alphas), "window": list(study.windows)},
    )


def report(study: Landscape, data):
    return [
        f"α = {a:g}: after one step of rate {study.learning_rate:g} from 0, margins "
        f"({m[0]:+.4f}, {m[1]:+.4f}), error {e:.4g}"
        for a, m, e in zip(study.alphas, data.first_margins.values, data.first_error.values)
    ]


def figure(study: Landscape, data):
    rows, columns = len(study.windows), len(study.alphas)
    figure, axes = plot.panels(rows, columns, 2.3 * rows, width=min(2.4 * columns + 0.5, plot.PAGE))
    image: Any = None
    for j, alpha in enumerate(study.alphas):
        for i, window in enumerate(study.windows):
            ax, part = axes[i, j], data.isel(alpha=j, window=i)
            image = plot.landscape(ax, part.axis, part.axis, part.loss, part.error)
            plot.line(ax, part.flow[:, 0], part.flow[:, 1], colour=1, linestyle="-", label="flow from 0")
            ax.plot(0, 0, "o", color="black", markersize=3)
            ax.set_title(f"α = {alpha:g}, p₁ = {study.p1:g}" if i == 0 else f"±{window:g}")
            ax.set_xlabel("γ₁ (along e₁+e₂)")
            ax.set_ylabel("γ₂ (along e₁−e₂)" if j == 0 else "")
    axes[0, 0].legend(loc="lower left", frameon=True, framealpha=0.8)
    figure.colorbar(image, ax=axes, label="0-1 loss L₀₁", shrink=0.6)
    return figure
