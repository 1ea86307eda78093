"""GD Figure 4: minimisers that forget, and SGD."""

from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from .plane import finer, minimiser, on_plane, plane_grid, plane_task
from .schemas import LimitedCapacity, Window


def _centre(window: Window):
    return ((window[0] + window[1]) / 2, (window[2] + window[3]) / 2)


def _half(window: Window):
    return ((window[1] - window[0]) / 2, (window[3] - window[2]) / 2)


def run(study: LimitedCapacity, scratch: Path | None):
    places = (*study.panels, study.sgd)
    names = ("loss", "error", "x", "y", "minimiser", "at_minimiser", "least", "separable")
    rows: dict[str, list] = {name: [] for name in names}
    for panel in places:
        task = plane_task(panel)
        x, y = plane_grid(panel, study.resolution)
        rows["loss"].append(on_plane(task, am.loss, x, y))
        rows["error"].append(on_plane(task, am.error, finer(x), finer(y)))
        rows["x"].append(x)
        rows["y"].append(y)
        lowest = minimiser(task)
        # Separable: L has no minimum, and its infimum is approached where no token errs.
        rows["minimiser"].append(np.full(2, np.nan) if lowest is None else am.memory.plane(task, lowest))
        rows["at_minimiser"].append(0.0 if lowest is None else am.error(task, lowest))
        rows["separable"].append(int(lowest is None))
        rows["least"].append(am.memory.least_error(task))
    task = plane_task(study.sgd)
    start = am.LinearMemory.from_plane(task, jnp.array(study.sgd.start))
    descent = am.Descent(optax.sgd(study.sgd.learning_rate), study.sgd.steps, study.sgd.batch_size)
    watch = {"loss": am.loss, "error": am.error, "plane": am.memory.plane}
    keys = jax.vmap(lambda i: jr.fold_in(jr.key(study.seed), i))(jnp.arange(study.sgd.runs))
    runs = jax.jit(jax.vmap(lambda key: am.simulate(task, start, descent, observe=watch, key=key)))(keys)
    at = ("panel", "gamma2", "gamma1")
    data = {name: np.array([np.asarray(v) for v in value]) for name, value in rows.items()}
    return xr.Dataset(
        {
            "loss": (at, data["loss"], {"units": "nats"}),
            "error": (("panel", "finer2", "finer1"), data["error"]),
            "x": (("panel", "gamma1"), data["x"]),
            "y": (("panel", "gamma2"), data["y"]),
            "minimiser": (("panel", "gamma"), data["minimiser"]),
            "error_at_minimiser": ("panel", data["at_minimiser"]),
            "least_error": ("panel", data["least"]),
            "excess": ("panel", data["at_minimiser"] - data["least"]),
            "separable": ("panel", data["separable"]),
            "sgd_loss": (("run", "step"), np.asarray(runs.observed["loss"]), {"units": "nats"}),
            "sgd_error": (("run", "step"), np.asarray(runs.observed["error"])),
            "sgd_path": (("step", "gamma"), np.asarray(runs.observed["plane"][0])),
        },
        attrs={"panels": [panel.name for panel in places]},
    )


def report(study: LimitedCapacity, data):
    lines = [
        f"{panel.name}: N = {len(panel.inputs)}, "
        f"{'separable' if data.separable[k] else 'inseparable'}, error at the minimiser of L "
        f"{float(data.error_at_minimiser[k]):.4f}, least error {float(data.least_error[k]):.4f}, "
        f"excess {float(data.excess[k]):.4f}"
        for k, panel in enumerate(study.panels)
    ]
    loss, error = data.sgd_loss.values.mean(axis=0), data.sgd_error.values.mean(axis=0)
    low = int(error.argmin())
    spread = data.sgd_error.values[:, -1].std(ddof=1) / np.sqrt(study.sgd.runs) if study.sgd.runs > 1 else 0
    lines.append(
        f"SGD, mean of {study.sgd.runs}: L {loss[0]:.4f} → {loss[low]:.4f} (t = {low}) → {loss[-1]:.4f}; "
        f"error {error[0]:.4f} → {error[low]:.4f} (t = {low}, its least) → {error[-1]:.4f} ± {spread:.4f}"
    )
    return lines


def figure(study: LimitedCapacity, data):
    count = len(study.panels)
    columns = max(count, 3)
    figure, axes = plot.panels(2, columns, 4.2)
    for spare in [*axes[0, count:], *axes[1, 2:]]:
        spare.remove()
    a, b = axes[1, 1], figure.add_subplot(axes[1, 1].get_gridspec()[1, 2:])
    for k, panel in enumerate((*study.panels, study.sgd)):
        last = k == count
        ax, part = (axes[1, 0] if last else axes[0, k]), data.isel(panel=k)
        plot.landscape(ax, part.x, part.y, part.loss, part.error)
        if last:
            path = data.sgd_path
            plot.line(
                ax, path[:, 0], path[:, 1], colour=1, linestyle="-", linewidth=0.7, label="SGD, one run"
            )
        inside = abs(part.minimiser.values - _centre(panel.window)) <= _half(panel.window)
        if not part.separable and inside.all():
            ax.plot(*part.minimiser.values, "*", color=plot.COLOURS[4], markersize=8, markeredgecolor="black",
                    markeredgewidth=0.4, label="minimum of L (none where separable)")  # fmt: skip
        ax.set_title(f"{panel.name}: N = {len(panel.inputs)}, $\\mathcal{{E}}$ = {float(part.excess):.2f}")
        ax.set_xlabel("γ₁")
        ax.set_ylabel("γ₂" if k in (0, count) else "")
    for ax, name, label in ((a, "sgd_loss", "loss L (nats)"), (b, "sgd_error", "0-1 loss L₀₁")):
        values = data[name].values
        mean, sem = values.mean(axis=0), values.std(axis=0) / max(study.sgd.runs, 1) ** 0.5
        plot.band(ax, data.step, mean, 2 * sem, label=f"SGD, mean of {study.sgd.runs} runs")
        ax.set_xscale("symlog", linthresh=1)
        ax.set(xlabel="step t", title=f"SGD: {label}", xlim=(0, None))
    a.plot([], [], " ", label="$\\mathcal{E}$: 0-1 loss at the minimum of L, above the least possible")
    plot.legend(figure, band="± 2 standard errors")
    plot.error_bar(figure, axes[0, :count], data.error, "L₀₁", pad=0.01)
    return figure
