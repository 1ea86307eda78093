"""GD Figure 5: the sharpness over the plane and along descent."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from .plane import minimiser, on_plane, plane_grid, plane_task
from .schemas import SharpnessProfile


def run(study: SharpnessProfile, scratch: Path | None):
    names = (
        "curvature",
        "x",
        "y",
        "plane",
        "loss",
        "sharpness",
        "final_losses",
        "minimal_sharpness",
        "separable",
    )
    rows: dict[str, list] = {name: [] for name in names}
    watch = {"loss": am.loss, "sharpness": am.sharpness, "plane": am.memory.plane}
    for panel in study.panels:
        task = plane_task(panel)
        x, y = plane_grid(panel, study.resolution)
        start = am.LinearMemory.from_plane(task, jnp.array(panel.start))

        def train(rate, task=task, start=start):
            descent = am.Descent(optax.sgd, study.horizon, learning_rate=rate)
            return am.simulate(task, start, descent, observe=watch).observed

        seen = jax.jit(jax.vmap(train))(jnp.array(study.learning_rates))
        lowest = minimiser(task)
        entries = {
            "curvature": on_plane(task, am.sharpness, x, y), "x": x, "y": y,
            **{name: seen[name][:, : study.steps + 1] for name in watch},
            "final_losses": seen["loss"][:, -2:],
            "minimal_sharpness": np.nan if lowest is None else am.sharpness(task, lowest),
            "separable": int(lowest is None),
        }  # fmt: skip
        for name, value in entries.items():
            rows[name].append(np.asarray(value))
    data = {name: np.array(value) for name, value in rows.items()}
    lane = ("panel", "rate", "step")
    return xr.Dataset(
        {
            "curvature": (("panel", "gamma2", "gamma1"), data["curvature"]),
            "x": (("panel", "gamma1"), data["x"]),
            "y": (("panel", "gamma2"), data["y"]),
            "plane": ((*lane, "gamma"), data["plane"]),
            "loss": (lane, data["loss"], {"units": "nats"}),
            "sharpness": (lane, data["sharpness"]),
            "final_losses": (("panel", "rate", "parity"), data["final_losses"], {"units": "nats"}),
            "minimal_sharpness": ("panel", data["minimal_sharpness"]),
            "separable": ("panel", data["separable"]),
        },
        {"rate": list(study.learning_rates), "step": np.arange(study.steps + 1)},
    )


def report(study: SharpnessProfile, data):
    lines = []
    for k, panel in enumerate(study.panels):
        part = data.isel(panel=k)
        if part.separable:
            lines.append(f"{panel.name}: separable, no minimum")
        else:
            h = float(part.minimal_sharpness)
            lines.append(f"{panel.name}: sharpness at the minimum H* = {h:.6f}, 2/H* = {2 / h:.4f}")
        for j, rate in enumerate(study.learning_rates):
            last, (a, b) = part.isel(rate=j), part.final_losses.values[j]
            end = f"cycles between {min(a, b):.6f} and {max(a, b):.6f}"
            end = end if abs(a - b) > 1e-3 * b else f"= {b:.6g}"
            lines.append(
                f"{panel.name}, η = {rate:g}: sharpness {float(last.sharpness[0]):.4g}, highest "
                f"{float(last.sharpness.max()):.4g}, at t = {study.steps} "
                f"{float(last.sharpness[-1]):.4g}; by t = {study.horizon} L {end}"
            )
    return lines


def figure(study: SharpnessProfile, data):
    count = len(study.panels)
    figure, axes = plot.panels(count, 3, 2.0 * count)
    for k, panel in enumerate(study.panels):
        part, (ax, trace, loss) = data.isel(panel=k), axes[k]
        plot.mesh(ax, part.x, part.y, part.curvature, "sharpness λ", cmap="cividis")
        ax.contour(part.x, part.y, part.curvature, levels=10, colors="white", linewidths=0.3)
        top, above = float(part.sharpness.max()), []
        top = 1.15 * max(top, min(2 / max(study.learning_rates), 2 * top))
        # No blue: the plane is.
        for j, (colour, rate) in enumerate(zip(itertools.cycle((1, 3, 4, 2)), study.learning_rates)):
            path, look = part.plane.values[j], {"colour": colour, "linestyle": plot.STYLES[j % 7]}
            plot.line(ax, path[:, 0], path[:, 1], marker="o", markersize=1.5, linewidth=0.7, **look)
            plot.line(trace, data.step, part.sharpness[j], label=f"η = {rate:g}", **look)
            plot.line(loss, data.step, part.loss[j], **look)
            if 2 / rate <= top:
                trace.axhline(2 / rate, color=plot.COLOURS[colour], linewidth=0.7, linestyle=":")
            else:
                above.append(f"{2 / rate:g}")
        trace.set_ylim(0, top)
        trace.set_title("sharpness λ(W$_t$)" + (f"; 2/η = {', '.join(above)} is above" if above else ""))
        ax.set_xlim(*panel.window[:2])
        ax.set_ylim(*panel.window[2:])
        ax.set_title(f"{panel.name}: N = {len(panel.inputs)}")
        ax.set_xlabel("γ₁")
        ax.set_ylabel("γ₂")
        loss.set_title("loss L(W$_t$) (nats)")
        if part.loss.max() > 30 * part.loss.min():
            plot.log_axes(loss, "y")
        for each in (trace, loss):
            each.set_xlabel("step t")
    axes[0, 1].plot([], [], color="black", linewidth=0.7, linestyle=":", label="2/η, in the colour of η")
    plot.legend(figure)
    return figure
