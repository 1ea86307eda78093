"""GD sections 2 and 6: what order of data reaches perfect accuracy soonest. Laws of data that change with the
step, given or found by differentiating through the training, against the best law that stays."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts
from .schemas import Curricula, Interfering
from .search import best

# Exponents of p(x) at the first and at the last step, in units of the tilt; natural stays at 1.
ORDERS = {"natural": None, "rebalanced": (0, 0), "frequent first": (1, -1), "rare first": (-1, 1)}
LEARNED = ("best constant law", "learned order")


def interfering(study: Curricula, system: Interfering) -> am.AssociationTask:
    n, m = system.tokens, system.classes
    p = am.laws.zipf(n, system.zipf_exponent)
    inputs = am.embeddings.sphere(jax.random.key(study.seed), n, system.dimension)
    return am.AssociationTask(p, jnp.arange(n) % m, inputs, jnp.eye(m))


def run(study: Curricula, scratch: Path | None):
    with Parts(scratch, len(study.systems)) as part:
        found = [
            part(f"{k}", lambda system=system: compared(study, system))
            for k, system in enumerate(study.systems)
        ]
    return xr.concat(found, dim="system", join="outer")


def compared(study: Curricula, system: Interfering) -> xr.Dataset:
    """Least steps of each order on one set of tokens, and the laws that were found."""
    task = interfering(study, system)
    given = {name: staged(study, system, task, ends) for name, ends in ORDERS.items()}
    least = {name: first(margins > 0) for name, margins in given.items()}
    laws, paths = {}, {}
    # A law that stays is one of the orders: it needs no fewer steps.
    for name in reversed(LEARNED):
        constant = name == LEARNED[0]
        fewest = least[LEARNED[1]] if constant else 1
        least[name], laws[name], paths[name] = searched(study, system, task, constant, fewest)
    shown = np.full((study.longest, system.tokens), np.nan)
    shown[: len(laws[LEARNED[1]])] = laws[LEARNED[1]]
    return xr.Dataset({
        "least": ("order", [least[name] for name in (*ORDERS, *LEARNED)]),
        "margin": (("given", "length"), np.stack(list(given.values()))),
        "found_margin": (("found", "tried"), np.stack([paths[name] for name in LEARNED])),
        "constant_law": ("token", laws[LEARNED[0]][0]), "law": (("step", "token"), shown),
        "natural_law": ("token", np.asarray(task.probabilities)),
    }, coords={
        "length": np.arange(1, study.horizon + 1), "tried": np.arange(1, study.longest + 1),
        "step": np.arange(study.longest), "token": np.arange(1, system.tokens + 1),
    }, attrs={"order": ", ".join((*ORDERS, *LEARNED))})  # fmt: skip


def first(holds: np.ndarray) -> int:
    """The first length, counted from 1, at which it holds; −1 if it never does."""
    return int(np.argmax(holds)) + 1 if holds.any() else -1


def trained(task, laws, rate):
    """Margins after each of the steps, one law a step."""
    curriculum = am.Curriculum(lambda task: task.probabilities, jnp.arange(len(laws)), laws)
    descent = am.Descent(optax.sgd, len(laws), learning_rate=rate, curriculum=curriculum)
    start = am.ParticleSystem.zeros(task)
    run = am.simulate(task, start, descent, observe={"margins": am.margins}, throw=False)
    return run.observed["margins"][1:]


def staged(study: Curricula, system: Interfering, task, ends) -> np.ndarray:
    """Smallest margin at the end of an order stretched to each length up to the horizon."""
    log_p, steps = jnp.log(task.probabilities), jnp.arange(study.horizon)
    low, high = (1.0, 1.0) if ends is None else (study.tilt * end for end in ends)

    def at(length):
        share = jnp.minimum(steps / jnp.maximum(length - 1, 1), 1)
        laws = jax.nn.softmax((low + (high - low) * share)[:, None] * log_p)
        return jnp.min(trained(task, laws, system.learning_rate)[length - 1])

    return np.asarray(jax.jit(lambda lengths: jax.lax.map(at, lengths, batch_size=16))(steps + 1))


def searched(study: Curricula, system: Interfering, task, constant: bool, least: int):
    """(least length, laws of it, smallest margin at each length tried) of laws that are learned."""
    tried, found, laws = np.full(study.longest, np.nan), -1, np.zeros((1, system.tokens))
    search = jax.jit(lambda length: learned(study, system, task, length, constant))
    for length in range(max(least, 1), study.longest + 1):
        last, margin = search(length)
        laws, tried[length - 1] = np.asarray(last[:length]), float(margin)
        if margin > 0:
            found = length
            break
    return found, laws, tried


def learned(study: Curricula, system: Interfering, task, length, constant: bool):
    """(laws, smallest margin after ``length`` steps) of the best of ``starts`` laws: Adam over logits of
    p_t(x), on the smooth maximum τ log Σ exp(−margin/τ), τ from 1 to .003, kept where the smallest margin was
    largest."""
    size = (study.longest, system.tokens)
    laws = lambda x: jnp.broadcast_to(jax.nn.softmax(x), size)  # noqa: E731

    def objective(x, soft):
        margins = trained(task, laws(x), system.learning_rate)[length - 1]
        return soft * jax.nn.logsumexp(-margins / soft), jnp.min(margins)

    key = jax.random.fold_in(jax.random.key(study.seed), length)
    starts = jax.random.normal(key, (study.starts, 1 if constant else size[0], size[1]))
    x, margin = best(objective, starts, 0.1, jnp.geomspace(1, 0.003, study.iterations))
    return laws(x), margin


def report(study: Curricula, data):
    lines = []
    for k, system in enumerate(study.systems):
        least = data.least.isel(system=k).values
        told = ", ".join(
            f"{name} {f'{int(n)}' if n > 0 else 'never'}" for name, n in zip((*ORDERS, *LEARNED), least)
        )
        lines.append(f"{system.name}, η = {system.learning_rate:g}: steps to perfect accuracy: {told}")
    return lines


def figure(study: Curricula, data):
    count = len(study.systems)
    figure, axes = plot.panels(2, count, 4.6, width=plot.PAGE)
    for k, system in enumerate(study.systems):
        part, (a, b) = data.isel(system=k), axes[:, k]
        for row, name in enumerate(ORDERS):
            plot.line(a, part.length, part.margin[row], colour=row, label=name)
        for row, name in enumerate(LEARNED):
            path, colour = part.found_margin[row], row + len(ORDERS)
            plot.line(a, part.tried, path, colour=colour, label=name, marker="o", markersize=2.5)
        a.axhline(0, color="black", linewidth=0.6)
        a.set_xscale("log")
        a.set_yscale("symlog", linthresh=0.1)
        a.set(xlabel="steps T", ylabel="smallest margin after T steps")
        a.set_title(f"{system.name}, η = {system.learning_rate:g}")
        least = int(part.least[-1])
        steps = least if least > 0 else study.longest
        laws = part.law.values[:steps, : system.tokens]
        plot.mesh(b, np.arange(1, steps + 1), np.arange(1, system.tokens + 1), laws.T, "learned $p_t(x)$")
        b.set(xlabel="step t", ylabel="token x, frequent to rare")
        b.xaxis.get_major_locator().set_params(integer=True)
    plot.legend(figure)
    return figure
