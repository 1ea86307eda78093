"""GD Figure 7: full-batch descent of an induction head."""

from pathlib import Path

import jax
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, diverged
from .schemas import FullBatch
from .text import alphabet, bigram_task, characters, letter, mathematics


def run(study: FullBatch, scratch: Path | None):
    found = {}
    with Parts(scratch, len(study.groups)) as part:
        for number, group in enumerate(study.groups):
            for name, value in part(f"{number}", lambda group=group: trained(study, group)).items():
                axes = (f"rate{number}", f"step{number}", "token")[: value.ndim]
                found[f"{name}{number}"] = (axes, value)
    # Tokens drawn as triggers are, with numpy's seed 42.
    often = np.asarray(characters().unigram, float)
    draws = np.random.RandomState(42)
    chosen = np.sort(draws.choice(len(often), study.shown_tokens, replace=False, p=often / often.sum()))
    found["shown"] = (("shown",), chosen)
    return xr.Dataset(found)


def trained(study: FullBatch, group):
    """What is observed along the descents of one group of curves, and their statuses."""
    keys = jax.random.split(jax.random.key(study.seed), 2)
    task = bigram_task(study.data, group.length, data=group.sequences, key=keys[0])
    model = am.InductionTransformer.published(task, keys[1], group.width)
    trainable = (lambda m: m.output2) if group.trained == "output2" else None
    watch = {
        "loss": am.loss, "output2": am.induction.margins_output2, "key2": am.induction.margins_key2,
        "recall_output2": am.induction.recall_output2, "recall_key2": am.induction.recall_key2,
    }  # fmt: skip

    @jax.jit
    def descend(rates, task, model):
        def one(rate):
            descent = am.Descent(optax.sgd, group.steps, learning_rate=rate)
            run = am.simulate(task, model, descent, observe=watch, trainable=trainable, throw=False)
            return {**run.observed, "status": run.status}

        return jax.vmap(one)(rates)

    rates = np.array(group.rates, np.float32 if study.precision == "float32" else float)
    return descend(rates, task, model)


def report(study: FullBatch, data):
    lines = []
    for k, group in enumerate(study.groups):
        losses = data[f"loss{k}"].values
        ends = zip(data[f"recall_output2{k}"].values[:, -1], data[f"recall_key2{k}"].values[:, -1])
        for rate, loss, (output2, key2) in zip(group.rates, losses, ends):
            rises = int((np.diff(loss) > 0).sum())
            at = "" if len(loss) <= 101 else f", at 100 {loss[100]:.3f}"
            lines.append(
                f"{group.trained}, d = {group.width}, η = {rate:g}: loss {loss[0]:.3f} → {loss[-1]:.3f} "
                f"at step {len(loss) - 1}{at}; rises on {rises} steps; highest {loss.max():.3f}; "
                f"R(W_O²) {output2:.3f}, R(W_K²) {key2:.3f}"
            )
    return lines + diverged(*(data[f"status{k}"] for k in range(len(study.groups))))


def figure(study: FullBatch, data):
    figure, axes = plot.panels(len(study.groups), 3, 1.8 * len(study.groups))
    letters, shown = alphabet(), data.shown.values.tolist()
    for k, group in enumerate(study.groups):
        losses, row = data[f"loss{k}"].values, axes[k]
        steps = np.arange(losses.shape[1])
        for j, rate in enumerate(group.rates):
            plot.line(row[0], steps, losses[j], colour=j, label=f"η = {rate:g}", linewidth=0.9)
        row[0].set_ylabel("loss (nats)")
        if losses.min() < 1:
            plot.log_axes(row[0], "y")
        row[0].legend(loc="upper left", bbox_to_anchor=(1, 1.05), handlelength=1.4, borderaxespad=0)
        which = "W_O² alone" if group.trained == "output2" else "all three"
        row[0].set_title(mathematics(f"{which}, d = {group.width}"))
        at = int(losses[:, -1].argmin())
        for ax, name, title in ((row[1], "output2", "W_O²"), (row[2], "key2", "W_K²")):
            for j, token in enumerate(shown):
                values = data[f"{name}{k}"].values[at, :, token]
                plot.line(ax, steps, values, colour=j, label=repr(letter(letters[token])), linewidth=0.9)
            ax.axhline(0, color="black", linewidth=0.5)
            ax.set_ylabel(mathematics(f"margins of {title}"))
            ax.set_title(f"η = {group.rates[at]:g}")
        for ax in row:
            ax.set_xlabel("step")
    lines, labels = axes[0, 1].get_legend_handles_labels()
    labels = [f"margin of {label}" for label in labels]
    figure.legend(lines, labels, loc="outside lower center", ncols=len(labels))
    return figure
