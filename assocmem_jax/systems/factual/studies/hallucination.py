"""Slides p. 20–23: relations before subjects, or after, the plateau between; SGD on the reduced system."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, interval
from .. import theory
from .schemas import Case, Hallucination

_SEEN = ("loss", "relation_loss", "subject_loss", "accuracy", "relation_accuracy", "probability_right")


def run(study: Hallucination, scratch: Path | None):
    with Parts(scratch, len(study.cases)) as part:
        found = [part(f"{k}", lambda case=case: trained(study, case)) for k, case in enumerate(study.cases)]
    return xr.concat(found, dim="case")


def trained(study: Hallucination, case: Case) -> xr.Dataset:
    """What SGD of every seed shows, and the losses of the reduced system: by descent, and by the flow."""
    watch: dict[str, Any] = {"loss": am.loss} | {name: getattr(am.factual, name) for name in _SEEN[1:]}
    at = np.unique(np.round(np.linspace(0, case.steps, study.looks + 1)).astype(int))
    descent = functools.partial(am.Descent, optax.sgd, case.steps, learning_rate=case.learning_rate)
    runs: dict[str, list] = {name: [] for name in _SEEN}
    for seed in range(study.seeds):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(study.seed), seed))
        task = facts(study, case, keys[0])
        model = am.LinearAttentionRecall.constant(task, case.start)
        seen = am.simulate(
            task, model, descent(batch_size=study.batch), observe=watch, at=at, key=keys[1]
        ).observed  # fmt: skip
        for name, found in runs.items():
            found.append(np.asarray(seen[name], float))
    data: dict[str, Any] = {name: (("seed", "look"), np.stack(found)) for name, found in runs.items()}
    task = facts(study, case, jax.random.key(study.seed))
    system = am.factual.FactualSystem.constant(task, case.start)
    losses = {name: watch[name] for name in _SEEN[:3]}
    reduced = am.simulate(task, system, descent(), observe=losses, at=at)
    data |= {f"reduced_{name}": ("look", np.asarray(values)) for name, values in reduced.observed.items()}
    times = np.asarray(reduced.times, float)
    flow = sum(np.asarray(theory.loss(half, theory.margin(half, times, case.start))) for half in halves(case))
    return xr.Dataset(data | {"flow_loss": ("look", flow), "time": ("look", times)})


def facts(study: Hallucination, case: Case, key):
    return am.FactualTask.balanced(
        case.subjects, case.relations, case.answers, key, noise=study.noise, length=study.length,
        mentions=(case.mentions, 1), draws=1,
    )  # fmt: skip


def halves(case: Case) -> tuple[theory.Half, theory.Half]:
    sizes = case.subjects, case.relations, case.answers
    return theory.subjects(*sizes, case.mentions), theory.relations(*sizes)


def report(study: Hallucination, data):
    return [line for k, case in enumerate(study.cases) for line in _told(study, case, data.isel(case=k))]


def _told(study: Hallucination, case: Case, data) -> list[str]:
    one, other = halves(case)
    level, time = study.level, data.time.values
    due = {
        "relation": float(theory.fall_time(other, level, case.start)),
        "subject": float(theory.fall_time(one, level, case.start)),
        "total": float(theory.total_fall_time(one, other, level, case.start)),
    }
    lines = []
    for name, column in (("relation", "relation_loss"), ("subject", "subject_loss"), ("total", "loss")):
        middle, half = interval([_crossing(time, row, level) for row in data[column].values])
        when = f"{due[name]:.6g} in the flow, {middle:.2f} ± {half:.2f} by SGD"
        lines.append(f"{name} loss below {level:g} at t = {when}")
    gaps = [np.abs(data.loss - data[name]).values.max() for name in ("reduced_loss", "flow_loss")]
    lines.append(
        f"SGD is at all times within {gaps[0]:.3f} of the reduced system's descent, {gaps[1]:.3f} of its flow"
    )
    height, begin, end = (
        float(x) for x in theory.plateau(
            case.subjects, case.relations, case.answers, case.start, level, (case.mentions, 1)
        )
    )  # fmt: skip
    if end > begin:
        at = int(np.abs(time - (begin + end) / 2).argmin())
        shown = data.isel(look=at).mean("seed")
        log = "log D" if due["relation"] < due["subject"] else "log R"
        lines += [
            f"plateau from t = {begin:.5g} to {end:.5g}; in its middle the loss is {float(shown.loss):.4f} "
            f"({log} = {height:.4f})",
            f"there accuracy is {float(shown.accuracy):.3f}, that of the relation "
            f"{float(shown.relation_accuracy):.3f}, the right answer's probability "
            f"{float(shown.probability_right):.3f}",
        ]
    else:
        lines.append("no plateau")
    return [f"{case.name}: {line}" for line in lines]


def figure(study: Hallucination, data):
    columns = len(study.cases)
    figure, axes = plot.panels(2, columns, 3.9, plot.PAGE if columns > 1 else plot.COLUMN, sharex="col")
    for k, case in enumerate(study.cases):
        part, (top, bottom) = data.isel(case=k), axes[:, k]
        time = part.time.values
        for colour, name in enumerate(("loss", "relation_loss", "subject_loss")):
            _curve(top, part, name, colour, {"loss": "total loss"}.get(name, name.replace("_", " ")))
            plot.line(top, time, part[f"reduced_{name}"], color="black", linestyle=":", linewidth=0.9,
                      label="reduced system")  # fmt: skip
        sizes = {case.answers: "log D"}
        sizes[case.relations] = "log D = log R" if case.relations in sizes else "log R"
        for size, words in sizes.items():
            top.axhline(np.log(size), color="0.6", linewidth=0.5)
            top.annotate(words, (time[-1], np.log(size)), ha="right", va="bottom", fontsize=6, color="0.4")
        for colour, name in enumerate(("accuracy", "relation_accuracy", "probability_right"), 3):
            _curve(bottom, part, name, colour, name.replace("_", " "))
        top.set(title=case.name, ylim=(0, None))
        bottom.set(xlabel="learning rate × step", ylim=(0, 1.03))
    axes[0, 0].set_ylabel("loss (nats)")
    axes[1, 0].set_ylabel("share of texts")
    plot.legend(figure, band="95 % interval of the mean")
    return figure


def _crossing(time, losses, level: float) -> float:
    """When a loss falls below a level, between two looks by its logarithm."""
    k = int(np.argmax(losses < level))
    if k == 0:
        return np.inf
    (a, b), (s, t) = np.log(losses[k - 1 : k + 1]), time[k - 1 : k + 1]
    return s + (t - s) * (a - np.log(level)) / (a - b)


def _curve(ax, part, name: str, colour: int, label: str) -> None:
    middle, half = interval(part[name].values, axis=0)
    plot.band(ax, part.time, middle, half, colour=colour, label=label, linewidth=1.1)
