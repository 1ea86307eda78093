"""GD Figure 6: margins of many tokens over dimensions and rates."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from .plane import hits
from .schemas import LargeMemory


def run(study: LargeMemory, scratch: Path | None):
    margins, losses, first, stable = [], [], [], []
    for panel in study.panels:
        n = len(panel.inputs)
        law = am.laws.zipf(n, study.zipf_exponent)
        task = am.AssociationTask(law, jnp.arange(n), jnp.array(panel.inputs), jnp.array(panel.outputs))

        def train(rate, task=task):
            descent = am.Descent(optax.sgd, study.horizon, learning_rate=rate)
            watch = {"loss": am.loss, "margins": am.margins}
            return am.simulate(
                task, am.LinearMemory.zeros(task), descent, observe=watch, until=am.perfect_accuracy(None)
            )

        runs = jax.jit(jax.vmap(train))(jnp.array(study.learning_rates))
        margins.append(np.asarray(runs.observed["margins"])[:, : study.steps + 1])
        losses.append(np.asarray(runs.observed["loss"])[:, : study.steps + 1])
        first.append(np.asarray(runs.first_step))
        stable.append(np.asarray(runs.stable_step))
    lane = ("dimension", "rate", "step")
    return xr.Dataset(
        {
            "margins": ((*lane, "token"), np.array(margins)),
            "loss": (lane, np.array(losses), {"units": "nats"}),
            "first_step": (("dimension", "rate"), np.array(first)),
            "stable_step": (("dimension", "rate"), np.array(stable)),
        },
        {
            "dimension": [len(panel.inputs[0]) for panel in study.panels],
            "rate": list(study.learning_rates),
            "step": np.arange(study.steps + 1),
        },
    )


def report(study: LargeMemory, data):
    lines = []
    for k, d in enumerate(data.dimension.values):
        for j, rate in enumerate(study.learning_rates):
            part = data.isel(dimension=k, rate=j)
            loss = part.loss.values[: study.shown + 1]
            negative = [int(x) + 1 for x in (part.margins.values[study.shown] <= 0).nonzero()[0]]
            lines.append(
                f"d = {d}, η = {rate:g}: all margins > 0 {hits(part, study.horizon)}; "
                f"{int((loss[1:] > loss[:-1]).sum())} rises of L in {study.shown} steps; tokens "
                f"with m ≤ 0 at t = {study.shown}: {negative or 'none'}"
            )
    return lines


def figure(study: LargeMemory, data):
    rows, columns = len(study.panels), len(study.learning_rates)
    figure, axes = plot.panels(rows, columns, 1.5 * rows, sharex=True)
    steps = data.step.values[: study.shown + 1]
    for k, d in enumerate(data.dimension.values):
        for j, rate in enumerate(study.learning_rates):
            ax = axes[k, j]
            ax.axhline(0, color="black", linewidth=0.4)
            for x in range(data.sizes["token"]):
                values = data.margins[k, j, : study.shown + 1, x]
                plot.line(ax, steps, values, colour=x, label=f"x = {x + 1}")
            ax.set_title(f"d = {d}, η = {rate:g}")
            if j == 0:
                ax.set_ylabel("margin m$_t$(x)")
            if k == rows - 1:
                ax.set_xlabel("step t")
    plot.legend(figure)
    return figure
