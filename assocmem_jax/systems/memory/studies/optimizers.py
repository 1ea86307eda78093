"""Slides p. 34: optimizers as memory schemes."""

import functools
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, diverged, interval
from .schemas import Optimizers, titled


def _adam(learning_rate):
    """β = (0, 0): g/(|g| + 1e-8)."""
    return optax.adam(learning_rate, b1=0.0, b2=0.0)


def _normalised(learning_rate):
    return optax.chain(optax.normalize_by_update_norm(), optax.scale_by_learning_rate(learning_rate))


_RULES = {"sgd": optax.sgd, "adam": _adam, "sign": optax.sign_sgd, "normalised": _normalised}


def run(study: Optimizers, scratch: Path | None):
    labels = jnp.arange(1, study.tokens + 1) % study.classes
    p = am.laws.zipf(study.tokens, study.zipf_exponent)
    keys = jax.random.split(jax.random.key(study.seed), study.trials)
    chosen = study.at or max(study.dimensions)

    @functools.cache
    def program(optimizer, norm, batch, d):
        """(looks, a function of keys and a rate); rates share it."""
        steps = study.samples // batch if batch else study.samples
        looks = np.unique(np.round(np.geomspace(1, steps, study.looks)).astype(int))

        def trial(key, rate):
            draws = jax.random.split(key, 4)
            # One law of embeddings for all optimizers: N(0, 1/d), as W₀.
            task = am.AssociationTask(
                p, labels, am.embeddings.gaussian(draws[0], study.tokens, d),
                am.embeddings.gaussian(draws[1], study.classes, d),
            )  # fmt: skip
            start = am.LinearMemory.zeros(task)
            if not study.zero_start:
                start = am.LinearMemory.gaussian(task, draws[2])
            model = am.NormalizedMemory(start.weight) if norm else start
            descent = am.Descent(_RULES[optimizer], steps, batch or None, learning_rate=rate)
            run = am.simulate(
                task, model, descent, observe={"error": am.error}, at=looks, key=draws[3], throw=False
            )
            q = am.memory.scheme(task, run.model, start.weight)
            share = am.memory.scheme_share(task, run.model, start.weight)
            return run.observed["error"][1:], q, share, run.status

        return looks, jax.jit(jax.vmap(trial, (0, None)))

    def trained(case):
        found, looks = {}, np.ones(1, int)
        for d in study.dimensions:
            looks, many = program(case.optimizer, case.norm, case.batch, d)
            rate = case.learning_rate / (d if case.scale_by_dimension else 1)
            found[d] = many(keys, jnp.asarray(rate, p.dtype))
        spare = study.looks - len(looks)  # few steps: the last look again
        path, scheme, share, _ = found[chosen]
        return {
            "error": jnp.stack([found[d][0][:, -1] for d in study.dimensions]),
            "status": jnp.stack([found[d][3] for d in study.dimensions]),
            "seen": np.concatenate([looks, np.full(spare, looks[-1])]) * (case.batch or 1),
            "trace": jnp.concatenate([path, jnp.repeat(path[:, -1:], spare, 1)], 1),
            "scheme": scheme,
            "share": share,
        }

    cases = study.all()
    with Parts(scratch, len(cases)) as part:
        found = [part(f"{k}", lambda case=case: trained(case)) for k, case in enumerate(cases)]
    axes = {"error": ("dimension", "trial"), "status": ("dimension", "trial"), "seen": ("look",),
            "trace": ("trial", "look"), "scheme": ("trial", "token"), "share": ("trial",)}  # fmt: skip
    data: dict[str, Any] = {
        name: (("case", *dims), np.stack([one[name] for one in found])) for name, dims in axes.items()
    }
    data["probability"] = ("token", np.asarray(p))
    return xr.Dataset(data, coords={"dimension": list(study.dimensions)})


def flatness(study: Optimizers, data, k: int):
    """Slope of log q (its median) against log p where q > 0, and how many: 1 for q = p, 0 for q = 1."""
    q, p = np.median(data.scheme.values[k], axis=0), data.probability.values
    kept = q > 0
    if kept.sum() < 3:
        return float("nan"), int(kept.sum())
    # Weighted by p: the tokens that the error is about.
    return float(np.polyfit(np.log(p[kept]), np.log(q[kept]), 1, w=np.sqrt(p[kept]))[0]), int(kept.sum())


def report(study: Optimizers, data):
    # An ended run repeats its last finite state: its error is that of where it ended.
    lines = diverged(data.status)
    if study.grid is not None:
        return tuned(study, data) + lines
    for k, case in enumerate(study.cases):
        mean, half = interval(data.error.values[k])
        rows = ", ".join(f"{m:.4f} ± {h:.4f} at d = {d}" for d, m, h in zip(study.dimensions, mean, half))
        slope, kept = flatness(study, data, k)
        along = dict(zip(data.seen.values[k], data.trace.values[k].mean(0)))
        path = ", ".join(f"{v:.4f} at {t}" for t, v in along.items())
        lines.append(
            f"{case.label}: error {rows}; along training {path}; q ∝ p^{slope:.2f} over {kept} tokens of "
            f"q > 0, which explains {data.share.values[k].mean():.2f} of W − W₀"
        )
    return lines


def figure(study: Optimizers, data):
    if study.grid is not None:
        return maps(study, data)
    several = len(study.dimensions) > 1
    figure, axes = plot.panels(1, 2 + several, 2.9)
    a, b, c = axes[0] if several else (None, *axes[0])
    for k, case in enumerate(study.cases):
        if a is not None:
            plot.band(a, study.dimensions, *interval(data.error.values[k]), colour=k, label=case.label)
        look = np.unique(data.seen.values[k], return_index=True)[1]
        plot.band(b, data.seen.values[k][look], *interval(data.trace.values[k][:, look], 0), colour=k,
                  label=None if several else case.label)  # fmt: skip
        q = np.median(data.scheme.values[k], axis=0)
        top = q[0] if q[0] > 0 else q.max()
        c.plot(np.arange(1, len(q) + 1), np.where(q > 0, q / top, np.nan), color=plot.COLOURS[k],
               linewidth=0.6, marker=plot.MARKERS[k], markersize=2)  # fmt: skip
    p = data.probability.values
    plot.line(c, np.arange(1, len(p) + 1), p / p[0], colour=6, linewidth=0.8, linestyle=":", label="q = p")
    if a is not None:
        a.set(xlabel="dimension d", ylabel=f"error after {study.samples} samples")
        plot.log_axes(a)
    b.set(ylabel="error", xlabel="steps" if all(case.batch == 0 for case in study.cases) else "samples seen")
    b.set_title(f"d = {study.at or max(study.dimensions)}")
    plot.log_axes(b)
    c.set(xlabel="token x, by frequency", ylabel="q(x)/q(1): median, where > 0", ylim=(1e-3, 5))
    c.set_xlim(0.9, min(30, study.tokens) * 1.1)
    plot.log_axes(c)
    plot.legend(figure, band="95 % interval of the mean")
    return figure


def error_table(study: Optimizers, data):
    """(label, mean error of shape (rates, batches, dimensions)) for each optimizer of a grid."""
    assert study.grid is not None
    shape = (len(study.grid.rates), len(study.grid.batches), len(study.dimensions))
    mean = data.error.values.mean(-1).reshape(-1, *shape)
    labels = [titled(optimizer, norm) for optimizer in study.grid.optimizers for norm in study.grid.norms]
    return zip(labels, mean)


def tuned(study: Optimizers, data):
    assert study.grid is not None
    lines = []
    for label, mean in error_table(study, data):
        best = []
        for k, d in enumerate(study.dimensions):
            i, j = np.unravel_index(np.nanargmin(mean[..., k]), mean.shape[:2])
            best.append(
                f"{mean[i, j, k]:.4f} at d = {d} (η {study.grid.rates[i]:g}, batch {study.grid.batches[j]})"
            )
        lines.append(f"{label}: least error " + ", ".join(best))
    return lines


def maps(study: Optimizers, data):
    assert study.grid is not None
    rows = list(error_table(study, data))
    at = study.dimensions.index(study.at or max(study.dimensions))
    low = float(np.log10(max(min(mean[..., at].min() for _, mean in rows), 1e-4)))
    figure, axes = plot.panels(1, len(rows), 2.4, plot.PAGE, sharey=True)
    image = None
    for ax, (label, mean) in zip(axes[0], rows):
        places = {"rate": list(study.grid.rates), "batch": list(study.grid.batches)}
        table = xr.DataArray(np.maximum(mean[..., at], 1e-4), places, ("rate", "batch"), "error")
        table["rate"].attrs["label"] = "rate η" + (" × d" if "Adam" in label else "")
        image = plot.heatmap(table, x="rate", y="batch", ax=ax, bar=False, log=True, vmin=low, vmax=0)
        ax.set_title(label)
        ax.label_outer()
    figure.colorbar(cast(Any, image), ax=axes, label=f"log₁₀ error, d = {study.dimensions[at]}", pad=0.02)
    return figure
