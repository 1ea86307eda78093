"""Beyond print: a rate for every step, found by differentiating through the training."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts
from .schemas import Schedule, Tokens
from .search import best


def tokens_task(tokens: Tokens):
    p, n = jnp.array(tokens.weights), len(tokens.weights)
    return am.AssociationTask(
        p / p.sum(), jnp.arange(n), am.embeddings.equicorrelated(n, tokens.alpha), jnp.eye(n)
    )


def run(study: Schedule, scratch: Path | None):
    with Parts(scratch, len(study.systems)) as part:
        found = [
            part(f"{k}", lambda system=system: compared(study, system))
            for k, system in enumerate(study.systems)
        ]
    return xr.concat(found, dim="system")


def compared(study: Schedule, system: Tokens):
    """Constant rates and learned schedules on one set of tokens."""
    task = tokens_task(system)
    constants = np.geomspace(study.smallest, study.largest, study.constants)
    steps = am.sweep(
        lambda rate: am.time_to_perfect(task, rate, study.horizon, stable=False),
        rate=constants,
        progress=False,
    ).first_step.values
    fewest, rate = -1, np.nan  # where none comes there
    if (known := steps[steps > 0]).size:
        fewest = int(known.min())
        # Of the rates that take the fewest steps, the middle one.
        rate = constants[np.flatnonzero(steps == fewest)[(steps == fewest).sum() // 2]]
    rates = np.full((study.longest, study.longest), np.nan)
    margin = np.full(study.longest, np.nan)
    for length in range(1, study.longest + 1):
        rates[length - 1, :length], margin[length - 1] = learned(study, task, length)
    least = np.flatnonzero(margin > 0)
    chosen = rates[least[0], : least[0] + 1] if len(least) else rates[-1]
    curves = {}
    for name, schedule in (("constant", np.full(max(fewest, 0), rate)), ("learned", chosen)):
        curves[name] = np.full(max(study.horizon, study.longest) + 1, np.nan)
        if len(schedule):
            run = am.simulate(
                task, am.LinearMemory.zeros(task), _schedule(schedule), observe={"m": am.margins}
            )
            curves[name][: len(schedule) + 1] = np.asarray(run.observed["m"]).min(axis=1)
    return xr.Dataset({
        "constant_steps": ("rate", steps), "best_constant": fewest, "best_rate": rate,
        "learned_rate": (("length", "of_step"), rates), "learned_margin": ("length", margin),
        "least_learned": int(least[0]) + 1 if len(least) else -1,
        "margin_constant": ("step", curves["constant"]), "margin_learned": ("step", curves["learned"]),
    }, coords={"rate": constants, "length": np.arange(1, study.longest + 1)})  # fmt: skip


def learned(study: Schedule, task, length: int):
    """(rates, smallest margin) of the best of ``starts`` schedules: Adam on the log loss, over
    logits of the rates, which keeps each of them between ``smallest`` and ``largest``."""
    low, high = np.log(study.smallest), np.log(study.largest)
    rates = lambda x: jnp.exp(low + (high - low) * jax.nn.sigmoid(x))  # noqa: E731

    def objective(x, _):
        margin, loss = _outcome(task, rates(x))
        return jnp.log(loss), margin

    starts = jax.random.normal(jax.random.key(study.seed + length), (study.starts, length)) * 2
    x, margin = jax.jit(lambda starts: best(objective, starts, 0.05, jnp.zeros(study.iterations)))(starts)
    return np.asarray(rates(x)), float(margin)


def report(study: Schedule, data):
    lines = []
    for k, system in enumerate(study.systems):
        part = data.isel(system=k)
        least, constant = int(part.least_learned), int(part.best_constant)
        rate, tried = float(part.best_rate), study.constants
        best = f"best constant rate {constant} steps (η = {rate:.4g}, of {tried} rates)"
        if constant < 0:
            best = f"no constant rate within {study.horizon} steps, of {tried} rates"
        lines.append(f"{system.name}: {best}; learned {least} steps")
        if least > 0:
            rates = part.learned_rate.values[least - 1, :least]
            lines.append(f"  learned rates: {', '.join(f'{rate:.4g}' for rate in rates)}")
    return lines


def figure(study: Schedule, data):
    count = len(study.systems)
    figure, axes = plot.panels(2, count, 4.2, width=plot.PAGE)
    for k, system in enumerate(study.systems):
        part, (a, b) = data.isel(system=k), axes[:, k]
        known = part.constant_steps.where(part.constant_steps > 0)
        plot.line(a, part.rate, known, colour=0, label="constant rate")
        least = int(part.least_learned)
        if least > 0:
            a.axhline(least, color=plot.COLOURS[1], linestyle="--", label="learned schedule")
            rates = part.learned_rate.values[least - 1, :least]
            a.plot(rates, np.full(least, least), "o", color=plot.COLOURS[1], markersize=3, label="its rates")
        a.set(xlabel="learning rate η", ylabel="steps to perfect accuracy")
        a.set_title(system.name + ("" if least > 0 else f":\nno schedule of {study.longest} steps found"))
        plot.log_axes(a)
        last = int(part.best_constant) if part.best_constant > 0 else study.longest
        for name, colour in (("constant", 0), ("learned", 1)):
            path = part[f"margin_{name}"].values[: last + 1]
            plot.line(b, range(last + 1), path, colour=colour, marker="o", markersize=2)
        b.axhline(0, color="black", linewidth=0.6)
        b.set_yscale("symlog", linthresh=1)
        margins = np.stack([part.margin_constant, part.margin_learned])
        known = margins[np.isfinite(margins)]
        b.set_ylim(min(2 * known.min(initial=0), -1), max(2 * known.max(initial=0), 1))
        b.set(xlabel="step", ylabel="smallest margin")
    plot.legend(figure)
    return figure


def _schedule(rates):
    return am.Descent(optax.sgd, len(rates), learning_rate=rates)


def _outcome(task, rates):
    """(smallest margin, loss) after a descent at these rates from zero."""
    watch = {"m": am.margins, "loss": am.loss}
    start = am.LinearMemory.zeros(task)
    seen = am.simulate(
        task, start, _schedule(rates), observe=watch, every=rates.shape[0], throw=False
    ).observed
    return jnp.min(seen["m"][-1]), seen["loss"][-1]
