"""More steps down the energy of a context: over β, and with β, what is kept and the gain learned."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, interval
from .. import theory
from .measure import errors, laws
from .schemas import EnergyDescent

# What Adam trains, by name.
LEARNED = {"β": lambda model: model.beta, "β, kept and gain": None}


def run(study: EnergyDescent, scratch: Path | None):
    law = laws(study, study.rank)[study.law]

    def column(L):
        grid = [(steps, beta / study.noise) for steps in study.steps for beta in study.betas]
        models = [am.denoising.EnergySteps(beta, steps) for steps, beta in grid]
        trained = [
            learned(study, law, L, steps, which) for steps in study.steps for which in LEARNED.values()
        ]
        key = jax.random.key(study.seed)
        mean, half = interval(errors(law, L, study.noise, [*models, *trained], key, study.sequences))
        cut, most = len(models), (len(study.steps), len(LEARNED))
        numbers = [[model.beta * study.noise, model.keep, model.gain] for model in trained]
        return {
            "error": mean[:cut].reshape(len(study.steps), -1),
            "half": half[:cut].reshape(len(study.steps), -1),
            "learned_error": mean[cut:].reshape(most), "learned_half": half[cut:].reshape(most),
            "learned_numbers": np.reshape(numbers, (*most, 3)),
        }  # fmt: skip

    with Parts(scratch, len(study.lengths)) as part:
        found = [part(f"{L}", lambda at=L: column(at)) for L in study.lengths]
    dims = {
        "error": ("beta",), "half": ("beta",), "learned_error": ("learned",),
        "learned_half": ("learned",), "learned_numbers": ("learned", "number"),
    }  # fmt: skip
    return xr.Dataset(
        {
            name: (("length", "steps", *rest), np.stack([each[name] for each in found]))
            for name, rest in dims.items()
        },
        {"length": list(study.lengths), "steps": list(study.steps), "beta": list(study.betas)},
        {"learned": ", ".join(LEARNED), "number": "β σ_z², kept, gain"},
    )


def learned(study: EnergyDescent, law, L: int, steps: int, trainable) -> am.denoising.EnergySteps:
    """The steps after Adam on fresh sequences, from β = ½/σ_z², nothing kept, gain 1."""
    task = am.DenoisingTask(law, L, study.noise, draws=1, key=jax.random.key(study.seed))
    rate = optax.cosine_decay_schedule(study.learning_rate, study.updates)
    descent = am.Descent(optax.adam(rate), study.updates, study.batch_size)
    start = am.denoising.EnergySteps(jnp.asarray(0.5 / study.noise), steps)
    key = jax.random.fold_in(jax.random.key(study.seed), L)
    run = am.simulate(task, start, descent, observe={}, key=key, trainable=trainable, every=study.updates)
    return run.model


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
            for row, name in enumerate(LEARNED):
                seen = data.sel(length=L, steps=steps).isel(learned=row)
                beta, keep, gain = seen.learned_numbers.values
                lines.append(
                    f"  {name} learned: error {float(seen.learned_error):.3f} ± "
                    f"{float(seen.learned_half):.3f}; βσ_z² = {beta:.3f}, kept {keep:.3f}, gain {gain:.3f}"
                )
    return lines


def figure(study: EnergyDescent, data):
    figure, axes = plot.panels(1, len(study.lengths), 2.9, sharey=True)
    for L, ax in zip(study.lengths, axes[0]):
        for k, steps in enumerate(study.steps):
            part = data.sel(length=L, steps=steps)
            label = f"{steps} step{'s' * (steps > 1)}" if study.lengths[-1] == L else None
            plot.points(ax, study.betas, part.error, part.half, colour=k, label=label, linestyle="-")
            best, beta = part.learned_error[-1], part.learned_numbers[-1, 0]
            ax.plot(beta, best, "*", color=plot.COLOURS[k % 7], markersize=8)
        ax.axhline(_bayes(study), color="0.5", linewidth=0.8, linestyle="--")
        ax.set(title=f"{study.law}, L = {L}", xlabel="βσ_z²")
        plot.log_axes(ax, "x")
    axes[0, 0].plot([], [], color="0.5", linewidth=0.8, linestyle="--", label="Bayes")
    axes[0, 0].plot([], [], "*", color="0.5", markersize=8, label="β, kept and gain learned")
    axes[0, 0].set_ylabel("E‖F − x‖²")
    plot.legend(figure)
    return figure
