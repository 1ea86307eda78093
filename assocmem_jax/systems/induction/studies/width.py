"""Birth Figure 8: recall of W_O² over the width."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts
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
        return run.observed["R"], run.steps

    # Rates share all that is frozen: one pass for them together.
    over = jax.vmap(recall, in_axes=(None, 0, None))
    rates = np.array(study.rates, np.float32 if study.precision == "float32" else float)

    def path(d, key):
        found, steps = over(key, rates, d)
        return {"recall": found, "step": steps[0]}

    with Parts(scratch, len(study.widths) * len(keys)) as part:
        found = [
            [part(f"{d}-{k}", lambda d=d, key=key: path(d, key)) for k, key in enumerate(keys)]
            for d in study.widths
        ]
    values = np.array([[one["recall"] for one in row] for row in found])
    data: Any = {"recall": (("width", "seed", "rate", "step"), values)}
    coords = {"width": list(study.widths), "rate": list(study.rates), "step": found[0][0]["step"]}
    return xr.Dataset(data, coords=coords)


def best_rates(study: Dimension, data):
    """Index of the rate with the largest mean recall along the way, for each width."""
    return data.recall.mean(("seed", "step")).values.argmax(1)


def report(study: Dimension, data):
    at = study.rates.index(study.fixed_rate)
    best = best_rates(study, data)
    lines = []
    for k, d in enumerate(study.widths):
        fixed, tuned = (data.recall.values[k, :, r].mean(0) for r in (at, best[k]))
        reach = [
            next((int(s) for s, v in zip(data.step.values, run) if v >= 0.95), None) for run in (fixed, tuned)
        ]
        words = ["not reached" if r is None else f"step {r}" for r in reach]
        lines.append(
            f"d = {d}: R at step {study.steps} {fixed[-1]:.3f} (rate {study.fixed_rate:g}), "
            f"{tuned[-1]:.3f} (best rate {study.rates[best[k]]:g}); R ≥ .95: {words[0]}, {words[1]}"
        )
    return [*lines, f"seeds: {study.seeds}"]


def figure(study: Dimension, data):
    figure, ((a, b),) = plot.panels(1, 2, 2.5, sharey=True)
    best = best_rates(study, data)
    for k, d in enumerate(study.widths):
        for ax, r in ((a, study.rates.index(study.fixed_rate)), (b, best[k])):
            values = data.recall.values[k, :, r]
            spread = np.stack([values.mean(0) - values.min(0), values.max(0) - values.mean(0)])
            plot.band(ax, data.step, values.mean(0), spread, colour=k, label=f"d = {d}")
    a.set(title=f"rate η = {study.fixed_rate:g}", xlabel="step", ylabel=mathematics("R of W_O²"))
    rates = ", ".join(f"{study.rates[r]:g}" for r in best)
    b.set(title=f"best rate of each ({rates})", xlabel="step")
    plot.legend(figure, band="mean, least and most of the seeds")
    return figure
