"""What Adam makes of linear attention at finite L: how near to the best scaled identity."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, diverged
from .. import theory
from .schemas import Trained

NAMES = "loss", "scale", "off_diagonal"


def run(study: Trained, scratch: Path | None):
    law = am.denoising.LinearManifold(study.dimension, study.rank, study.variance)
    schedule = optax.cosine_decay_schedule(study.learning_rate, study.steps)
    descent = am.Descent(optax.adam(schedule), study.steps, batch_size=study.batch_size)

    def trained(L):
        task = am.DenoisingTask(law, L, study.noise, draws=study.held_out, key=jax.random.key(study.seed))

        def one(key):
            start, data = jax.random.split(key)
            weights = 0.1 * jax.random.normal(start, (2, study.dimension, study.dimension))
            observe = {
                "loss": am.loss,
                "scale": am.denoising.scale,
                "off_diagonal": am.denoising.off_diagonal,
            }
            found = am.simulate(
                task,
                am.denoising.LinearAttention(*weights),
                descent,
                observe=observe,
                every=max(1, study.steps // 30),
                key=data,
            )
            return {"time": found.times, "status": found.status, **{name: found[name] for name in NAMES}}

        keys = jax.random.split(jax.random.key(study.seed + 1), study.seeds)
        return jax.jit(lambda keys: jax.lax.map(one, keys))(keys)

    with Parts(scratch, len(study.lengths)) as part:
        found = [part(f"{L}", lambda at=L: trained(at)) for L in study.lengths]
    whole = {name: np.stack([each[name] for each in found]) for name in (*NAMES, "status", "time")}
    times = whole.pop("time").max((0, 1))  # one that diverges repeats its last
    axes = "length", "seed", "time"
    return xr.Dataset(
        {name: (axes[: value.ndim], value) for name, value in whole.items()},
        {"length": list(study.lengths), "time": times},
    )


def _said(study: Trained, L):
    return study.rank, study.variance, study.noise, jnp.asarray(L)


def report(study: Trained, data):
    lines = []
    for L in study.lengths:
        end = data.sel(length=L).isel(time=-1)
        loss, scale, off = (float(end[name].mean()) for name in NAMES)
        lines.append(
            f"L = {L}: loss {loss:.3f} (best cI {float(theory.attention_error(*_said(study, L))):.3f}, Bayes "
            f"{float(theory.linear_bayes(*_said(study, L)[:3])):.3f}); diagonal {scale:.4f} (c* "
            f"{float(theory.attention_scale(*_said(study, L))):.4f}), the rest {off:.4f} (rms)"
        )
    return lines + diverged(data.status)


def figure(study: Trained, data):
    figure, axes = plot.panels(1, 2, 2.9)
    for k, L in enumerate(study.lengths):
        part, said = data.sel(length=L).mean("seed"), _said(study, L)
        loss = part.loss / float(theory.attention_error(*said)) - 1
        plot.line(axes[0, 0], data.time[1:], loss[1:], colour=k, label=f"L = {L}")
        plot.line(axes[0, 1], data.time[1:], part.scale[1:], colour=k)
        axes[0, 1].axhline(float(theory.attention_scale(*said)), color=plot.COLOURS[k % 7], linewidth=0.5)
        axes[0, 1].plot(data.time[1:], part.off_diagonal[1:], ":", color=plot.COLOURS[k % 7])
    axes[0, 0].set(ylabel="loss over that of the best cI, less one", xlabel="sum of learning rates")
    axes[0, 0].set_yscale("symlog", linthresh=0.02)
    axes[0, 1].set(ylabel="diagonal, and the rest (dotted)", xlabel="sum of learning rates")
    plot.legend(figure)
    return figure
