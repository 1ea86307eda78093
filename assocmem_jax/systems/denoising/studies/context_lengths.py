"""Slides p. 5: error of one step of attention over the length of the context, for three laws."""

from pathlib import Path

import jax
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, interval
from .. import theory
from .measure import errors, laws
from .schemas import ContextLengths

MODELS = "linear attention", "softmax", "softmax, κ and γ"


def _laws(study: ContextLengths):
    radius = (study.rank * study.variance) ** 0.5
    clusters = am.denoising.Clusters(study.dimension, study.centres, radius, study.width)
    return laws(study, study.rank) | {"clusters": clusters}


def _models(study: ContextLengths, law):
    """Weights that do not know L; of linear attention those that are best for points of variance σ₀²."""
    beta, *_ = law.step(study.noise)
    linear = 1 / (study.variance + study.noise)
    return (
        am.denoising.LinearAttention.scaled(study.dimension, linear),
        am.denoising.SoftmaxAttention.scaled(study.dimension, beta),
        am.denoising.EnergySteps.bayes(law, study.noise),
    )


def run(study: ContextLengths, scratch: Path | None):
    key, every = jax.random.key(study.seed), _laws(study)

    def measured(name, L):
        task = am.DenoisingTask(every[name], L, study.noise, draws=1)
        mean, half = interval(errors(task, _models(study, every[name]), key, study.sequences))
        return {"error": mean, "half": half}

    cells = [(name, L) for name in every for L in study.lengths]
    with Parts(scratch, len(cells)) as part:
        found = [part(f"{name}-{L}", lambda at=(name, L): measured(*at)) for name, L in cells]
    shape, dims = (len(every), len(study.lengths), len(MODELS)), ("law", "length", "model")
    bayes = [am.denoising.bayes_errors(law, study.noise, key, 2**16).mean() for law in every.values()]
    exact = theory.linear_bayes(study.rank, study.variance, study.noise)
    sphere = theory.sphere_bayes(study.rank, (study.rank * study.variance) ** 0.5, study.noise)
    return xr.Dataset(
        {name: (dims, np.reshape([each[name] for each in found], shape)) for name in ("error", "half")}
        | {"bayes": ("law", [float(exact), float(sphere), float(bayes[-1])])},
        {"law": list(every), "length": list(study.lengths), "model": list(MODELS)},
    )


def report(study: ContextLengths, data):
    return [
        f"{law}, {model}: error "
        + ", ".join(
            f"{float(c.error):.3f} ± {float(c.half):.3f} at L = {L}"
            for L in study.lengths
            for c in [data.sel(law=law, model=model, length=L)]
        )
        + f"; Bayes {float(data.bayes.sel(law=law)):.3f}"
        for law in data.law.values
        for model in MODELS
        if (law == "clusters") or model != MODELS[2]
    ]


def figure(study: ContextLengths, data):
    figure, axes = plot.panels(1, 3, 2.9, sharey=True)
    L = np.geomspace(min(study.lengths), max(study.lengths), 100)
    for law, ax in zip(data.law.values, axes[0]):
        for k, model in enumerate(MODELS):
            if model == MODELS[2] and law != "clusters":
                continue
            part = data.sel(law=law, model=model)
            plot.points(ax, study.lengths, part.error, part.half, colour=k, label=model if law == "clusters" else None)
        ax.axhline(float(data.bayes.sel(law=law)), color="0.5", linewidth=0.8, linestyle="--")
        ax.set(title=law, xlabel="length L of the context")
    c = 1 / (study.variance + study.noise)
    exact = (study.rank, study.variance, study.noise, L)
    axes[0, 0].plot(L, np.asarray(theory.attention_error(*exact, c)), color=plot.COLOURS[0], linewidth=0.8)
    axes[0, 0].plot(L, np.asarray(theory.attention_error(*exact)), color="k", linewidth=0.8, label="best cI at L")
    axes[0, 2].plot([], [], color="0.5", linewidth=0.8, linestyle="--", label="Bayes")
    axes[0, 0].set_ylabel("E‖F − x‖²")
    for ax in axes.flat:
        plot.log_axes(ax, "x")
    plot.legend(figure)
    return figure
