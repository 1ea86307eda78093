"""Cooc Theorem 3.3: orders of the learned scores as exponents; the late loss against its law."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.optimize import nnls

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, interval, through
from .. import theory
from .schemas import Rates

# What Theorem 3.3 prints, σ₀² m/(√m L σ₁² m m₁), as exponents of each; of n: the bound of the other scores.
PRINTED = {"sigma0": 2, "sigma1": -2, "width": -0.5, "neurons": -1, "length": -1, "samples": 0}
SYMBOLS = {"sigma0": "σ₀", "sigma1": "σ₁", "width": "m", "neurons": "m₁", "length": "L", "samples": "n"}


def sizes(study: Rates) -> list[dict[str, float]]:
    """The base, then what is tried: each differs from it in one size."""
    base = {name: getattr(study, name) for name in PRINTED}
    tried = {
        "sigma0": [study.sigma0 * factor for factor in study.factors],
        "sigma1": [study.sigma1 * factor for factor in study.factors],
        "width": study.widths, "neurons": study.neuron_counts, "length": study.lengths,
        "samples": study.sample_counts,
    }  # fmt: skip
    return [base, *(base | {name: value} for name, values in tried.items() for value in values)]


def began(key, size, sigma0, sigma1):
    """(task, reduced system): counts n/2, n/6, n/6, n/6, words distinct."""
    n, length = int(size["samples"]), int(size["length"])
    counts = (n // 2, n // 6, n // 6, n // 6)
    words = max(4, theory.words_needed(counts, length))
    keys = jax.random.split(key)
    task = am.CooccurrenceTask.training(keys[0], counts, length, words, distinct=True)
    model = am.CooccurrenceTransformer.gaussian(
        task, keys[1], int(size["width"]), int(size["neurons"]), sigma0, sigma1
    )
    return task, am.cooccurrence.CooccurrenceSystem.from_transformer(model)


def learned(table):
    """(C₁₂, C₂₁, −C₃₁, −C₃₂)."""
    return jnp.stack([table[0, 1], table[1, 0], -table[2, 0], -table[2, 1]])


def run(study: Rates, scratch: Path | None):
    keys = jax.random.split(jax.random.key(study.seed), study.seeds)
    programs: dict[tuple, Any] = {}

    def at_target(size):
        shape = tuple(size[name] for name in ("width", "neurons", "length", "samples"))

        def one(key, sigma0, sigma1):
            task, system = began(key, size, sigma0, sigma1)
            flow = am.GradientFlow(1e6 / (sigma1**2 * shape[0] * shape[1]), rtol=1e-6, atol=1e-9)
            until = am.loss_below(study.target)
            run = am.simulate(task, system, flow, observe={}, until=until, throw=False)
            C = run.model.table - system.table
            other = jnp.maximum(jnp.max(jnp.abs(C[3:])), jnp.max(jnp.abs(C[:, 3:])))
            return {"learned": learned(C), "other": other, "status": run.status, "hit": run.first_hit,
                    "value": run.model.values[:3]}  # fmt: skip

        if shape not in programs:
            programs[shape] = jax.jit(jax.vmap(one, (0, None, None)))
        return programs[shape](keys, float(size["sigma0"]), float(size["sigma1"]))

    def afterwards():
        def one(key):
            task, system = began(key, sizes(study)[0], study.sigma0, study.sigma1)
            t1 = study.horizon / system.energy
            at = t1 * jnp.geomspace(1e-5, 1, 11)
            watch = {"loss": am.loss, "C": lambda task, model: learned(model.table - system.table)}
            flow = am.GradientFlow(t1, rtol=1e-7, atol=1e-10)
            seen = am.simulate(task, system, flow, observe=watch, at=at, throw=False).observed
            return {"late_time": at * system.energy, "late_loss": seen["loss"][1:12],
                    "late_C": seen["C"][1:12]}  # fmt: skip

        found = jax.jit(jax.vmap(one))(keys)
        task, _ = began(keys[0], sizes(study)[0], study.sigma0, study.sigma1)
        energies = jax.vmap(lambda key: began(key, sizes(study)[0], study.sigma0, study.sigma1)[1].energy)(
            keys
        )
        late = theory.late_loss(
            found["late_loss"], found["late_time"] / energies[:, None], separation(task), energies[:, None],
            study.neurons,
        )  # fmt: skip
        return found | {"late_law": late}

    cases = sizes(study)
    with Parts(scratch, len(cases) + 1) as part:
        found = [part(f"{k}", lambda size=size: at_target(size)) for k, size in enumerate(cases)]
        late = part("late", afterwards)
    axes = {"learned": ("seed", "entry"), "other": ("seed",), "status": ("seed",), "hit": ("seed",),
            "value": ("seed", "signal")}  # fmt: skip
    data: dict[str, Any] = {
        name: (("case", *dims), np.stack([one[name] for one in found])) for name, dims in axes.items()
    }
    data |= {name: (("seed", "look", "entry")[: value.ndim], value) for name, value in late.items()}
    data |= {name: ("case", np.array([size[name] for size in cases], float)) for name in PRINTED}
    return xr.Dataset(data)


def separation(task) -> float:
    """γ: the largest margin of y_i Σ_h x_h over G of norm one. The shortest G of margins 1, by its dual."""
    X = np.asarray(task.one_hot).sum(axis=1) * np.asarray(task.labels)[:, None]
    weights, _ = nnls(np.vstack([X.T, np.ones(len(X))]), np.append(np.zeros(X.shape[1]), 1.0))
    G = X.T @ weights
    return float((X @ G).min() / np.linalg.norm(G))


def varied(data, name: str):
    """(values, mean C of each, its standard error, other/C) over the cases that differ in ``name`` alone."""
    sizes = np.stack([data[size].values for size in PRINTED], axis=1)
    column = list(PRINTED).index(name)
    same = (np.delete(sizes, column, 1) == np.delete(sizes[0], column)).all(axis=1)
    order = np.flatnonzero(same)[np.argsort(sizes[same, column])]
    each = data.learned.values[order].mean(-1)
    return (
        sizes[order, column],
        each.mean(1),
        each.std(1, ddof=1) / each.shape[1] ** 0.5,
        (data.other.values[order] / each).mean(1),
    )


def report(study: Rates, data):
    missed = int((data.status.values != 1).sum())
    lines = [f"{missed} of {data.status.size} runs did not reach the target"] if missed else []
    for name, printed in PRINTED.items():
        x, C, error, other = varied(data, name)
        fit = through(x, C, np.maximum(error, 1e-3 * C))
        each = ", ".join(f"{c:.3g} at {v:.4g}" for v, c in zip(x, C))
        beside = ", ".join(f"{o:.3f}" for o in other)
        lines.append(
            f"{SYMBOLS[name]}: C = {each}; ~ {SYMBOLS[name]}^{fit}, printed {printed:g}; "
            f"largest other score/C {beside}"
        )
    law, loss = data.late_law.values, data.late_loss.values.mean(0)
    for k in range(0, loss.size, 5):
        mean, half = interval(law[:, k])
        C = data.late_C.values[:, k].mean()
        lines.append(
            f"ρ₀t = {data.late_time.values[0, k]:.3g}: loss {loss[k]:.3g}; tLγ√(γ²ρ₀² + 4m₁log²(1/L)) = "
            f"{mean:.4f} ± {half:.4f}; C {C:.3g}"
        )
    return lines


def figure(study: Rates, data):
    figure, axes = plot.panels(2, 3, 3.6, plot.PAGE)
    for ax, (name, printed) in zip(axes.ravel(), PRINTED.items()):
        x, C, error, other = varied(data, name)
        plot.points(ax, x, C, 1.96 * error, colour=0, label="C of the four signal scores")
        plot.points(ax, x, other * C, 0 * C, colour=1, label="largest other score")
        middle = int(np.argmin(abs(x - data[name].values[0])))
        ax.plot(x, C[middle] * (x / x[middle]) ** printed, color="black", linestyle=":", linewidth=0.8,
                label="order of Theorem 3.3")  # fmt: skip
        ax.set(xlabel=SYMBOLS[name], ylabel=f"scores at loss {study.target:g}")
        plot.log_axes(ax)
    plot.legend(figure, band="95 % interval of the mean")
    return figure
