"""Slides p. 5: attention retrieves, over β."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import interval
from .schemas import Retrieval


def run(study: Retrieval, scratch: Path | None):
    def trial(key, beta):
        task = am.RetrievalTask.spherical(key, study.patterns, study.dimension, study.noise)
        memory = am.AttentionMemory.store(task, beta, study.steps)
        path = memory.path(task.cues)
        energy = jax.lax.map(jax.vmap(memory.energy), path)
        X = task.patterns
        attention = jax.nn.softmax(beta * task.cues @ X.T) @ X
        return {
            "error": jnp.mean(jnp.linalg.norm(path - X, axis=2), axis=1),
            "rise": jnp.max(jnp.diff(energy, axis=0)),
            "identity": jnp.max(jnp.abs(attention - path[1])),
        }

    keys = jax.random.split(jax.random.key(study.seed), study.trials)
    many = jax.jit(lambda beta: jax.lax.map(lambda key: trial(key, beta), keys))
    found = [many(jnp.asarray(beta)) for beta in study.betas]
    axes = {"error": ("beta", "trial", "step"), "rise": ("beta", "trial"), "identity": ("beta", "trial")}
    return xr.Dataset(
        {name: (dims, np.stack([np.asarray(row[name]) for row in found])) for name, dims in axes.items()},
        coords={"beta": list(study.betas)},
    )


def report(study: Retrieval, data):
    mean, half = interval(data.error.isel(step=1))
    rows = ", ".join(f"{m:.4f} ± {h:.4f} at {b:g}" for b, m, h in zip(data.beta.values, mean, half))
    return [
        f"distance to the pattern after one step: {rows}",
        f"distance of the cue {float(data.error.isel(step=0).mean()):.3f}",
        f"largest rise of the energy {max(float(data.rise.max()), 0):.1e}; attention against the energy "
        f"step: at most {float(data.identity.max()):.1e} apart",
    ]


def figure(study: Retrieval, data):
    figure, ((ax,),) = plot.panels(1, 1, 2.7, plot.COLUMN)
    for k, step in enumerate(sorted({0, 1, study.steps})):
        name = "the cue" if step == 0 else f"after {step} step" + "s" * (step > 1)
        mean, half = interval(data.error.isel(step=step))
        plot.band(ax, data.beta.values, mean, half, colour=k, label=name)
    ax.set(xlabel="inverse temperature β", ylabel="distance to the pattern")
    ax.set_title(f"d = {study.dimension}, N = {study.patterns}, σ = {study.noise:g}")
    plot.log_axes(ax)
    plot.legend(figure, band="95 % interval of the mean")
    return figure
