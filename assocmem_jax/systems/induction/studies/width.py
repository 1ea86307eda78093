"""Birth Figure 8: recall of W_O² over the width."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, diverged, looks
from .formation import optimizer
from .schemas import Dimension
from .text import bigram_task, mathematics


def run(study: Dimension, scratch: Path | None):
    keys = jax.random.split(jax.random.key(study.seed), study.seeds)
    task = bigram_task(study.data, study.length, data=8)

    @functools.partial(jax.jit, static_argnums=2)
    def recall(key, rate, d):
        start, draws = jax.random.split(key)
        model = am.InductionTransformer.published(task, start, d)
        descent = am.Descent(optimizer, study.steps, study.batch, learning_rate=rate)
        run = am.simulate(
            task, model, descent, observe={"R": am.induction.recall_output2}, every=study.every, key=draws,
            trainable=lambda m: m.output2, throw=False,
        )  # fmt: skip
        return run.observed["R"], run.status, condition(model)

    # Rates share all that is frozen: one pass for them together.
    over = jax.vmap(recall, in_axes=(None, 0, None))

    def path(d, key):
        found, status, spread = over(key, np.array(rates(study, d), task.dtype), d)
        return {"recall": found, "status": status, "condition": spread[0]}

    with Parts(scratch, len(study.widths) * len(keys)) as part:
        found = [
            [part(f"{d}-{k}", lambda d=d, key=key: path(d, key)) for k, key in enumerate(keys)]
            for d in study.widths
        ]
    values = np.array([[one["recall"] for one in row] for row in found])
    data: Any = {
        "recall": (("width", "seed", "rate", "step"), values),
        "learning_rate": (("width", "rate"), np.array([rates(study, d) for d in study.widths])),
        "status": (("width", "seed", "rate"), np.array([[one["status"] for one in row] for row in found])),
        "condition": (("width", "seed"), np.array([[one["condition"] for one in row] for row in found])),
    }
    return xr.Dataset(data, {"width": list(study.widths), "step": looks(study.steps, study.every)})


def rates(study: Dimension, d: int) -> list[float]:
    """Those that the best is chosen among; then that of maximal update."""
    scaled = [] if study.reference_width is None else [study.fixed_rate * study.reference_width / d]
    return [*study.rates, *scaled]


def condition(model):
    """κ(W_U W_Uᵀ) κ(W_E W_V²ᵀ W_V² W_Eᵀ), infinite where there are fewer dimensions than tokens."""
    if model.width < len(model.embedding):
        return jnp.asarray(jnp.inf, model.embedding.dtype)
    return (jnp.linalg.cond(model.unembedding) * jnp.linalg.cond(model.embedding @ model.value2.T)) ** 2


def best_rates(study: Dimension, data):
    """Index of the rate with the largest mean recall along the way, for each width."""
    return data.recall[:, :, : len(study.rates)].mean(("seed", "step")).values.argmax(1)


def shown(study: Dimension, data):
    """(what it is, index of its rate for each width) of every panel."""
    best = best_rates(study, data)
    every = np.zeros_like(best)
    panels = [
        (f"rate {study.fixed_rate:g}", every + study.rates.index(study.fixed_rate)),
        (f"best rate of each ({', '.join(f'{study.rates[r]:g}' for r in np.unique(best))})", best),
    ]
    if study.reference_width is not None:
        panels.append((f"rate {study.fixed_rate * study.reference_width:g}/d", every + len(study.rates)))
    return panels


def report(study: Dimension, data):
    lines = []
    for k, d in enumerate(study.widths):
        told = []
        for _, chosen in shown(study, data):
            run = data.recall.values[k, :, chosen[k]].mean(0)
            reach = next((f"≥ .95 at {int(s)}" for s, v in zip(data.step.values, run) if v >= 0.95), "< .95")
            told.append(f"{run[-1]:.3f} (rate {float(data.learning_rate[k, chosen[k]]):.3g}; {reach})")
        spread = ", ".join(f"{c:.3g}" for c in data.condition.values[k])
        lines.append(f"d = {d}: R at step {study.steps} {', '.join(told)}; κ {spread}")
    heads = "; ".join(name for name, _ in shown(study, data))
    return [f"R: {heads}", *lines, f"seeds: {study.seeds}", *diverged(data.status)]


def figure(study: Dimension, data):
    panels = shown(study, data)
    figure, (axes,) = plot.panels(1, len(panels), 2.5, sharey=True)
    for ax, (name, chosen) in zip(axes, panels):
        for k, d in enumerate(study.widths):
            values = data.recall.values[k, :, chosen[k]]
            spread = np.stack([values.mean(0) - values.min(0), values.max(0) - values.mean(0)])
            plot.band(ax, data.step, values.mean(0), spread, colour=k, label=f"d = {d}")
        ax.set(title=name, xlabel="step")
    axes[0].set_ylabel(mathematics("R of W_O²"))
    plot.legend(figure, band="mean, least and most of the seeds")
    return figure
