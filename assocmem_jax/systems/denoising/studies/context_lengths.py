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

LAWS = "linear", "sphere", "clusters"
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
        law = every[name]
        mean, half = interval(errors(law, L, study.noise, _models(study, law), key, study.sequences))
        return {"error": mean, "half": half}

    cells = [(name, L) for name in every for L in study.lengths]
    with Parts(scratch, len(cells)) as part:
        found = [part(f"{name}-{L}", lambda at=(name, L): measured(*at)) for name, L in cells]
    shape, dims = (len(every), len(study.lengths), len(MODELS)), ("law", "length", "model")
    clusters = am.denoising.bayes_errors(every["clusters"], study.noise, key, 2**16).mean()
    linear = theory.linear_bayes(study.rank, study.variance, study.noise)
    sphere = theory.sphere_bayes(study.rank, (study.rank * study.variance) ** 0.5, study.noise)
    return xr.Dataset(
        {name: (dims, np.reshape([each[name] for each in found], shape)) for name in ("error", "half")}
        | {"bayes": ("law", [float(linear), float(sphere), float(clusters)])},
        {"length": list(study.lengths)},
    )


def _shown(law: str):
    """κ = 0 and γ = 1 but for clusters."""
    return MODELS if law == "clusters" else MODELS[:2]


def report(study: ContextLengths, data):
    return [
        f"{law}, {model}: error "
        + ", ".join(
            f"{float(c.error):.3f} ± {float(c.half):.3f} at L = {L}"
            for L in study.lengths
            for c in [data.isel(law=i, model=k).sel(length=L)]
        )
        + f"; Bayes {float(data.bayes[i]):.3f}"
        for i, law in enumerate(LAWS)
        for k, model in enumerate(_shown(law))
    ]


def figure(study: ContextLengths, data):
    figure, axes = plot.panels(1, 3, 2.9, sharey=True)
    L = np.geomspace(min(study.lengths), max(study.lengths), 100)
    for i, (law, ax) in enumerate(zip(LAWS, axes[0])):
        for k, model in enumerate(_shown(law)):
            part, label = data.isel(law=i, model=k), model if law == "clusters" else None
            plot.points(ax, study.lengths, part.error, part.half, colour=k, label=label)
        ax.axhline(float(data.bayes[i]), color="0.5", linewidth=0.8, linestyle="--")
        ax.set(title=law, xlabel="length L of the context")
    c = 1 / (study.variance + study.noise)
    exact = (study.rank, study.variance, study.noise, L)
    axes[0, 0].plot(L, np.asarray(theory.attention_error(*exact, c)), color=plot.COLOURS[0], linewidth=0.8)
    axes[0, 0].plot(
        L, np.asarray(theory.attention_error(*exact)), color="k", linewidth=0.8, label="best cI at L"
    )
    axes[0, 2].plot([], [], color="0.5", linewidth=0.8, linestyle="--", label="Bayes")
    axes[0, 0].set_ylabel("E‖F − x‖²")
    for ax in axes.flat:
        plot.log_axes(ax, "x")
    plot.legend(figure)
    return figure
