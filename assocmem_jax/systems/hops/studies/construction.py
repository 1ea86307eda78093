"""Slides p. 17: the written k-hop transformer over β."""

from pathlib import Path

import jax
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from .. import theory
from . import search
from .schemas import Construction


def run(study: Construction, scratch: Path | None):
    betas, found = study.betas.points(), []
    for n, k in study.sizes:
        key = jax.random.fold_in(jax.random.key(study.seed), 1000 * n + k)
        task = am.HopTask.random(n, k, key, draws=study.contexts)

        @jax.jit
        def seen(beta, task=task):
            model = am.HopTransformer.written(task, beta)
            return am.hops.hop_accuracy(task, model), am.hops.least_weights(task, model)

        accuracy, weights = (np.stack(part) for part in zip(*(seen(float(beta)) for beta in betas)))
        bounds = [min(float(held.weight_low) for held in theory.written(n, k, beta)) for beta in betas]
        found.append({
            "accuracy": ("beta", accuracy[:, -1]), "weight": ("beta", weights.min(axis=1)),
            "bound": ("beta", bounds), "from_bound": float(theory.exact_from(n, k)),
            "from_seen": float(search.right_from(task, task.data)),
            "from_worst": float(search.worst(task, task.data, jax.random.fold_in(key, 1), study.rounds)),
        })  # fmt: skip
    return xr.concat([xr.Dataset(part, {"beta": betas}) for part in found], dim="size")


def report(study: Construction, data):
    lines = []
    for row, (n, k) in enumerate(study.sizes):
        part = data.isel(size=row)
        near = int(np.abs(part.beta.values - 8).argmin())
        lines.append(
            f"N = {n}, k = {k}: right in {study.contexts} contexts from β = {float(part.from_seen):.2f}, in "
            f"the worst found from {float(part.from_worst):.2f}, in all from {float(part.from_bound):.2f} "
            f"(bound); at β = {float(part.beta[near]):g} accuracy "
            f"{float(part.accuracy[near]):.3f}, least weight {float(part.weight[near]):.4f} (bound "
            f"{float(part.bound[near]):.4f})"
        )
    return lines


def figure(study: Construction, data):
    figure, axes = plot.panels(1, 2, 2.9)
    for row, (n, k) in enumerate(study.sizes):
        part = data.isel(size=row)
        plot.line(axes[0, 0], part.beta, part.accuracy, colour=row, label=f"N = {n}, k = {k}")
        for at, style in ((part.from_bound, "-"), (part.from_worst, ":")):
            axes[0, 0].axvline(float(at), color=plot.COLOURS[row % 7], linewidth=0.6, linestyle=style)
        plot.line(axes[0, 1], part.beta, part.weight, colour=row)
        axes[0, 1].plot(part.beta, part.bound, ".", color=plot.COLOURS[row % 7], markersize=2)
    for label, style in (("from here right in all contexts", "-"), ("in the worst found", ":")):
        axes[0, 0].plot([], [], color="0.3", linewidth=0.6, linestyle=style, label=label)
    axes[0, 0].set(xlabel="β", ylabel="accuracy of k hops")
    axes[0, 1].set(xlabel="β", ylabel="least weight (dots: bound)")
    plot.legend(figure)
    return figure
