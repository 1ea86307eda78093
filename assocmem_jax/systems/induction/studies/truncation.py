"""A trained model whose matrices are cut: the answer of the context against what is known globally."""

import functools
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import named, plot
from ....models.truncation import matrices
from ....studies.kit import Parts
from .context_schemas import Truncation
from .text import characters

_SEEN = ("answer_accuracy", "answer_loss", "noise_loss")


def run(study: Truncation, scratch: Path | None):
    seeds = study.seeds if study.own is None and study.checkpoint is None else 1
    with Parts(scratch, seeds) as part:
        found = [part(f"{seed}", functools.partial(one, study, seed)) for seed in range(seeds)]
    return xr.concat(found, dim="seed")


def one(study: Truncation, seed: int) -> xr.Dataset:
    """What a model of one seed shows while it is trained, and cut."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(study.seed), seed), 3)
    task, model = named.named(study.own)() if study.own is not None else drawn(study, keys[0], keys[1])
    data: dict[str, Any] = {}
    if study.checkpoint is not None:
        model = am.load(study.checkpoint, model)
    elif study.own is None:
        descent = am.Descent(optax.adam, study.steps, study.batch, learning_rate=study.learning_rate)
        run = am.simulate(task, model, descent, observe=watched(), every=study.every, key=keys[2])
        model = run.model
        data |= {f"trained_{name}": ("look", np.asarray(run[name], float)) for name in _SEEN}
        data["step"] = ("look", np.asarray(run.steps, float))
    ranks = jnp.asarray(study.ranks)
    for k, where in enumerate(study.matrices.values()):
        least = min(matrices(model, where)[0].shape[-2:])
        seen = cut(task, model, where, jnp.minimum(ranks, least))
        data |= {
            f"{name}{k}": ("rank", np.where(np.asarray(ranks) <= least, np.asarray(values, float), np.nan))
            for name, values in seen.items()
        }
        data[f"soft_rank{k}"] = ((), float(jnp.mean(am.soft_rank(where)(task, model))))
    whole = {name: float(look(task, model)) for name, look in watched().items()}
    data |= {f"whole_{name}": ((), value) for name, value in whole.items()}
    return xr.Dataset(data | {"ranks": ("rank", np.asarray(ranks, float))})


@functools.cache
def watched() -> dict[str, Any]:
    return {name: getattr(am.induction, name) for name in _SEEN}


def drawn(study: Truncation, data, start):
    """(task, model) of a config, before training."""
    task = am.BigramTask.shakespeare(
        length=study.length, triggers=characters().most_frequent(study.triggers), noise=study.noise,
        loss_on="all", data=study.held_out, key=data,
    )  # fmt: skip
    return task, am.Transformer.initial(
        task.num_tokens, task.length, start, study.width, heads=study.heads, hidden=study.hidden,
        norm=study.norm, dtype=task.dtype,
    )  # fmt: skip


@eqx.filter_jit
def cut(task, model, where: str, ranks):
    """What is seen of the model, cut to each rank."""

    def look(rank):
        less = am.truncated(model, where, rank)
        return {name: look(task, less) for name, look in watched().items()}

    return jax.lax.map(look, ranks)


def report(study: Truncation, data):
    def told(values):
        values = np.atleast_1d(values)
        spread = f" ± {values.std(ddof=1):.3f}" if values.size > 1 else ""
        return f"{values.mean():.3f}{spread}"

    whole = [told(data[f"whole_{name}"].values) for name in _SEEN]
    lines = [
        f"{data.sizes['seed']} seeds (± their standard deviation). Whole: accuracy on answers {whole[0]}, "
        f"loss on them {whole[1]}, loss on τ {whole[2]} nats"
    ]
    for k, name in enumerate(study.matrices):
        lines.append(f"{name}: soft rank {told(data[f'soft_rank{k}'].values)}")
        for place, rank in enumerate(data.ranks.values[0]):
            at = [told(data[f"{seen}{k}"].values[:, place]) for seen in _SEEN]
            if np.isfinite(data[f"answer_loss{k}"].values[:, place]).all():
                lines.append(
                    f"{name}, rank {rank:g}: accuracy {at[0]}, loss on answers {at[1]}, on τ {at[2]}"
                )
    return lines


def figure(study: Truncation, data):
    trained = "step" in data
    figure, axes = plot.panels(1, 2 + trained, 2.3)
    panels, places = list(axes[0]), np.arange(len(study.ranks))
    if trained:
        ax = panels.pop(0)
        for k, (name, label) in enumerate(
            (("trained_answer_accuracy", "accuracy on answers"), ("trained_noise_loss", "loss on τ (nats)"))
        ):
            _band(ax, data.step.values[0], data[name].values, 5 + k, label)
        ax.set(xlabel="step", ylabel="while it is trained", ylim=(0, None))
    for ax, name, label in zip(
        panels, ("answer_accuracy", "noise_loss"), ("accuracy on answers", "loss on τ (nats)")
    ):
        for k, matrix in enumerate(study.matrices):
            values = data[f"{name}{k}"].values
            kept = np.isfinite(values).all(axis=0)
            _band(ax, places[kept], values[:, kept], k, matrix)
        ax.axhline(data[f"whole_{name}"].values.mean(), color="0.5", linewidth=0.6, label="whole model, mean")
        ax.set_xticks(places, [f"{rank:g}" for rank in study.ranks])
        ax.set(xlabel="rank kept", ylabel=label, ylim=(0, 1.03) if name == "answer_accuracy" else (0, None))
    plot.legend(figure, band="median, least and most of the seeds" if data.sizes["seed"] > 1 else None)
    return figure


def _band(ax, x, values, colour: int, label: str) -> None:
    middle = np.median(values, axis=0)
    spread = np.stack([middle - values.min(axis=0), values.max(axis=0) - middle])
    plot.band(ax, x, middle, spread, colour=colour, label=label)
