"""Slides p. 17: k hops alone, in a mixture, and after fewer: the law of k′ is a curriculum."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, diverged, looks
from .schemas import Training

WAYS = "k hops alone", "a mixture", "a curriculum"


def laws(levels: int) -> dict[str, np.ndarray]:
    """Laws of k′ = 1, 2, 4, …, k in each of as many stages."""
    stages = np.eye(levels)
    return dict(
        zip(WAYS, (stages[[-1] * levels], np.full((levels, levels), 1 / levels), stages), strict=True)
    )


def run(study: Training, scratch: Path | None):
    levels, every = study.hops.bit_length(), max(1, study.steps // study.looks)
    knots = jnp.arange(levels) * (study.steps // levels)

    def trained(law):
        curriculum = am.Curriculum(lambda task: task.weights, knots, law)
        descent = am.Descent(
            optax.adam, study.steps, study.batch_size,
            learning_rate=study.learning_rate, curriculum=curriculum,
        )  # fmt: skip

        def one(key):
            hidden, start, data = jax.random.split(key, 3)
            task = am.HopTask.random(study.values, study.hops, hidden, draws=study.held_out)
            model = am.HopTransformer.gaussian(task, start, scale=study.scale)
            run = am.simulate(
                task, model, descent, observe={"accuracy": am.hops.hop_accuracy},
                every=every, key=data, throw=False,
            )  # fmt: skip
            return {"status": run.status, "accuracy": run.observed["accuracy"]}

        return jax.jit(lambda keys: jax.lax.map(one, keys))(keys)

    keys = jax.random.split(jax.random.key(study.seed), study.seeds)
    with Parts(scratch, len(WAYS)) as part:
        found = [
            part(f"{row}", lambda law=law: trained(law)) for row, law in enumerate(laws(levels).values())
        ]
    axes = {"accuracy": ("way", "seed", "step", "hops"), "status": ("way", "seed")}
    return xr.Dataset(
        {name: (dims, np.stack([each[name] for each in found])) for name, dims in axes.items()},
        {"step": looks(study.steps, every), "hops": 2 ** np.arange(levels)},
        {"way": ", ".join(WAYS)},
    )


def first(accuracy: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The first step looked at, of each seed, at which all is right; −1 if none."""
    right = accuracy == 1
    return np.where(right.any(axis=1), steps[right.argmax(axis=1)], -1)


def report(study: Training, data):
    lines = []
    for row, way in enumerate(WAYS):
        seen = data.accuracy[row]
        ends = [float(seen.isel(step=-1, hops=at).mean()) for at in range(data.hops.size)]
        end = ", ".join(f"{k}: {accuracy:.3f}" for k, accuracy in zip(data.hops.values, ends))
        when = sorted(first(seen.isel(hops=-1).values, data.step.values))
        told = ", ".join(str(int(step)) if step >= 0 else "never" for step in when)
        lines.append(
            f"N = {study.values}, k = {study.hops}, {way}: accuracy after {study.steps} steps of k′ = {end}; "
            f"all k hops right from step {told} (one a seed)"
        )
    return lines + diverged(data.status)


def figure(study: Training, data):
    figure, axes = plot.panels(1, len(WAYS), 2.9, width=plot.PAGE, sharey=True)
    for row, way in enumerate(WAYS):
        ax, seen = axes[0, row], data.accuracy[row]
        for at, hops in enumerate(data.hops.values):
            each = seen.isel(hops=at)
            middle = each.mean("seed")
            spread = np.stack([middle - each.min("seed"), each.max("seed") - middle])
            plot.band(ax, data.step, middle, spread, colour=at, label=f"k′ = {hops}" if not row else None)
        ax.axhline(1 / study.values, color="black", linewidth=0.5)
        ax.set(xlabel="step", title=way)
    axes[0, 0].set_ylabel("accuracy (line: chance)")
    plot.legend(figure)
    return figure
