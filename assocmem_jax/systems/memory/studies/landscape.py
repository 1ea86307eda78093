"""GD Figure 1: level lines of loss and error."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from .plane import facing, finer, on_plane
from .schemas import Landscape


def run(study: Landscape, scratch: Path | None):
    out: dict[str, list] = {name: [] for name in ("loss", "error", "first_margins", "first_error", "flow")}
    axes = [jnp.linspace(-window, window, study.resolution) for window in study.windows]
    descent = am.Descent(optax.sgd, 1, learning_rate=study.learning_rate)
    watch = {"margins": am.margins, "error": am.error}
    for alpha in study.alphas:
        task = am.two_tokens(alpha, study.p1)
        memory = am.LinearMemory.zeros(task)
        out["loss"].append([on_plane(task, am.loss, axis, axis, -1.0) for axis in axes])
        out["error"].append([on_plane(task, am.error, finer(axis), finer(axis), -1.0) for axis in axes])
        step = am.simulate(task, memory, descent, observe=watch)
        out["first_margins"].append(step.observed["margins"][1])
        out["first_error"].append(step.observed["error"][1])
        flow = am.simulate(task, memory, am.GradientFlow(1e6, stiff=True), observe={"plane": facing})
        out["flow"].append(flow.observed["plane"])
    return xr.Dataset(
        {
            "loss": (("alpha", "window", "gamma2", "gamma1"), np.array(out["loss"]), {"units": "nats"}),
            "error": (("alpha", "window", "finer2", "finer1"), np.array(out["error"])),
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
    size = 2.2 * rows + 0.3, min(2.2 * columns + 0.7, plot.PAGE)
    figure, axes = plot.panels(rows, columns, *size)
    for j, alpha in enumerate(study.alphas):
        for i in range(rows):
            ax, part = axes[i, j], data.isel(alpha=j, window=i)
            plot.landscape(ax, part.axis, part.axis, part.loss, part.error)
            plot.line(ax, part.flow[:, 0], part.flow[:, 1], colour=1, linestyle="-", label="gradient flow")
            ax.plot(0, 0, "o", color="black", markersize=3, label="its start, W = 0")
            ax.set_xlabel("γ₁ (along e₁+e₂)")
            ax.set_ylabel("γ₂ (along e₁−e₂)" if j == 0 else "")
        axes[0, j].set_title(f"α = {alpha:g}, p₁ = {study.p1:g}".replace("-", "−"))
    axes[0, 0].plot([], [], color="black", linewidth=0.4, label="level lines of L, even in log L")
    plot.legend(figure)
    plot.error_bar(figure, axes, data.error, shrink=0.6, pad=0.02)
    return figure
