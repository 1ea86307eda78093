"""GD Figure 2: descent of two tokens, loss spikes."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from .plane import facing, finer, hits, left, on_plane
from .schemas import LossSpikes


def run(study: LossSpikes, scratch: Path | None):
    task = am.two_tokens(study.alpha, study.p1)
    watch = {"loss": am.loss, "error": am.error, "margins": am.margins, "plane": facing}

    def train(rate):
        descent = am.Descent(optax.sgd, study.horizon, learning_rate=rate)
        return am.simulate(
            task, am.LinearMemory.zeros(task), descent, observe=watch, until=am.perfect_accuracy(None)
        )

    runs = jax.jit(jax.vmap(train))(jnp.array(study.learning_rates))
    kept = {name: np.asarray(value)[:, : study.steps + 1] for name, value in runs.observed.items()}
    x0, x1, y0, y1 = study.window
    x, y = jnp.linspace(x0, x1, study.resolution), jnp.linspace(y0, y1, study.resolution)
    return xr.Dataset(
        {
            "loss": (("rate", "step"), kept["loss"], {"units": "nats"}),
            "error": (("rate", "step"), kept["error"]),
            "margins": (("rate", "step", "token"), kept["margins"]),
            "plane": (("rate", "step", "gamma"), kept["plane"]),
            "first_step": ("rate", np.asarray(runs.first_step)),
            "stable_step": ("rate", np.asarray(runs.stable_step)),
            "landscape": (("gamma2", "gamma1"), np.asarray(on_plane(task, am.loss, x, y, -1.0))),
            "errors": (("finer2", "finer1"), np.asarray(on_plane(task, am.error, finer(x), finer(y), -1.0))),
        },
        {
            "rate": list(study.learning_rates),
            "step": np.arange(study.steps + 1),
            "gamma1": np.asarray(x),
            "gamma2": np.asarray(y),
        },
    )


def report(study: LossSpikes, data):
    lines = []
    for k, rate in enumerate(study.learning_rates):
        loss, part = data.loss.values[k], data.isel(rate=k)
        peak = int(loss.argmax())
        rises = int((loss[1:] > loss[:-1]).sum())
        last = max(study.steps - 1, 0)
        lines.append(
            f"η = {rate:g}: L from {loss[0]:.4f}, highest {loss[peak]:.4f} at t = {peak}, "
            f"{rises} rises in {study.steps} steps; L_{last} = {loss[last]:.4f}; zero error "
            f"{hits(part, study.horizon)}"
        )
    first = data.error.values[:, 1:]
    ranges = (f"{e.min():.4g}–{e.max():.4g} (η = {r:g})" for e, r in zip(first, study.learning_rates))
    lines.append(f"error from t = 1 to {study.steps}, min–max: {', '.join(ranges)}")
    return lines


def figure(study: LossSpikes, data):
    figure, axes = plot.panels(1, 3, 2.4, width_ratios=(1.15, 1, 1))
    ax = axes[0, 0]
    plot.landscape(ax, data.gamma1, data.gamma2, data.landscape, data.errors)
    # No blue: the plane is.
    for k, (colour, rate) in enumerate(zip(itertools.cycle((1, 6, 3, 4, 2)), study.learning_rates)):
        path, label = data.plane.values[k], f"η = {rate:g}"
        if outside := left(path, study.window):
            label += f" (outside of the plane shown at {outside} of {len(path)} times)"
        look = {"colour": colour, "linestyle": plot.STYLES[k % 7]}
        plot.line(ax, path[:, 0], path[:, 1], marker=plot.MARKERS[k % 7], markersize=2, linewidth=0.7, **look)
        for column, name in ((1, "loss"), (2, "error")):
            plot.line(axes[0, column], data.step, data[name][k], label=label, **look)
    ax.set_title(f"path of W: α = {study.alpha:g}, p₁ = {study.p1:g}")
    ax.set_xlabel("γ₁ (along e₁+e₂)")
    ax.set_ylabel("γ₂ (along e₁−e₂)")
    plot.error_bar(figure, ax, data.errors, "0-1 loss L₀₁", pad=0.02)
    plot.log_axes(axes[0, 1], "y")
    axes[0, 1].set(title="loss L(W$_t$)", ylabel="nats")
    axes[0, 2].set(title="0-1 loss L₀₁(W$_t$)", ylabel="probability", ylim=(-0.02, 1.02))
    for column in (1, 2):
        axes[0, column].set_xlabel("step t")
    plot.legend(figure)
    return figure
