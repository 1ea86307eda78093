"""More steps down the energy of a context, over β."""

from pathlib import Path

import jax
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, interval
from .. import theory
from .measure import errors, laws
from .schemas import EnergyDescent


def run(study: EnergyDescent, scratch: Path | None):
    law = laws(study, study.rank)[study.law]

    def column(L):
        grid = [(steps, beta / study.noise) for steps in study.steps for beta in study.betas]
        models = [am.denoising.EnergySteps(beta, steps) for steps, beta in grid]
        key = jax.random.key(study.seed)
        mean, half = interval(errors(law, L, study.noise, models, key, study.sequences))
        return {"error": mean, "half": half}

    with Parts(scratch, len(study.lengths)) as part:
        found = [part(f"{L}", lambda at=L: column(at)) for L in study.lengths]
    shape = len(study.lengths), len(study.steps), len(study.betas)
    axes = {"length": list(study.lengths), "steps": list(study.steps), "beta": list(study.betas)}
    return xr.Dataset(
        {
            name: (tuple(axes), np.reshape([each[name] for each in found], shape))
            for name in ("error", "half")
        },
        axes,
    )


def _bayes(study: EnergyDescent) -> float:
    if study.law == "linear":
        return float(theory.linear_bayes(study.rank, study.variance, study.noise))
    return float(theory.sphere_bayes(study.rank, (study.rank * study.variance) ** 0.5, study.noise))


def report(study: EnergyDescent, data):
    lines = []
    for L in study.lengths:
        for steps in study.steps:
            part = data.sel(length=L, steps=steps)
            best = part.isel(beta=int(np.argmin(part.error.values)))
            lines.append(
                f"L = {L}, {steps} step{'s' * (steps > 1)}: least error {float(best.error):.3f} ± "
                f"{float(best.half):.3f} at βσ_z² = {float(best.beta):g}; Bayes {_bayes(study):.3f}"
            )
    return lines


def figure(study: EnergyDescent, data):
    figure, axes = plot.panels(1, len(study.lengths), 2.9, sharey=True)
    for L, ax in zip(study.lengths, axes[0]):
        for k, steps in enumerate(study.steps):
            part = data.sel(length=L, steps=steps)
            label = f"{steps} step{'s' * (steps > 1)}" if study.lengths[-1] == L else None
            plot.points(ax, study.betas, part.error, part.half, colour=k, label=label, linestyle="-")
        ax.axhline(_bayes(study), color="0.5", linewidth=0.8, linestyle="--")
        ax.set(title=f"{study.law}, L = {L}", xlabel="βσ_z²")
        plot.log_axes(ax, "x")
    axes[0, 0].plot([], [], color="0.5", linewidth=0.8, linestyle="--", label="Bayes")
    axes[0, 0].set_ylabel("E‖F − x‖²")
    plot.legend(figure)
    return figure
