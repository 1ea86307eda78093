"""Birth Theorem 3: one gradient step on each of three matrices."""

import functools
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from .... import plot
from ....studies.kit import Parts
from ..task import second_trigger
from .schemas import ThreeSteps
from .text import mathematics, matrix


def run(study: ThreeSteps, scratch: Path | None):
    keys = jax.random.split(jax.random.key(study.seed), study.seeds)
    found = []
    with Parts(scratch, len(study.widths) * len(keys)) as part:
        for d in study.widths:
            run = jax.jit(functools.partial(steps, study, d=d))
            made = [part(f"{d}-{k}", functools.partial(run, key)) for k, key in enumerate(keys)]
            found.append(jax.tree.map(lambda *a: np.stack(a), *made))
    stacked = jax.tree.map(lambda *a: np.stack(a), *found)
    axes = {"accuracy": ("width", "seed", "after"), "recall": ("width", "seed", "after", "matrix")}
    data = {name: (axes[name], stacked[name]) for name in axes}
    data |= {
        name: ((f"{name}_query", f"{name}_key"), stacked[name][-1, 0]) for name in ("W_O2", "W_K2", "W_K1")
    }
    return xr.Dataset(data, coords={"width": list(study.widths)})


def steps(study: ThreeSteps, key, d):
    """Accuracy and recalls at the start and after each step, and the three memories."""
    N, T = study.tokens, study.length
    keys = jax.random.split(key, 8)
    gaussian = lambda key, rows: jax.random.normal(key, (rows, d)) / d**0.5  # noqa: E731
    E, U, P = gaussian(keys[0], N), gaussian(keys[1], N), gaussian(keys[2], T)
    phi1, V2 = gaussian(keys[3], d) @ gaussian(keys[4], d), gaussian(keys[5], d)
    causal = jnp.tril(jnp.ones((T, T), bool))

    def logits(weights, tokens):
        O2, K2, K1 = weights
        x0 = E[tokens] + (P if study.positions else 0)
        first = jax.nn.softmax(jnp.where(causal, P @ K1 @ P.T, -jnp.inf), axis=-1)
        x1 = jnp.einsum("ts,nsd->ntd", first, (E @ phi1.T)[tokens])
        second = jax.nn.softmax(jnp.einsum("nd,ntd->nt", x0[:, -1] @ K2, x1), axis=-1)
        return jnp.einsum("nt,ntd->nd", second, x0) @ (U @ O2 @ V2).T

    def batches(key):
        return jax.random.split(key, study.samples // study.chunk)

    def gradient(weights, which, key):
        """Of the loss, over fresh sequences, with respect to one of the three."""

        def loss(weight, tokens, answers):
            parts = [weight if k == which else w for k, w in enumerate(weights)]
            scores = logits(parts, tokens)
            own = jnp.take_along_axis(scores, answers[:, None], axis=1)[:, 0]
            return jnp.mean(jax.nn.logsumexp(scores, axis=1) - own)

        def add(total, key):
            tokens, answers = second_trigger(key, study.chunk, N, T)
            return total + jax.grad(loss)(weights[which], tokens, answers), None

        total, _ = jax.lax.scan(add, jnp.zeros((d, d)), batches(key))
        return total / (study.samples // study.chunk)

    def accuracy(weights, key):
        tokens, answers = second_trigger(key, study.chunk, N, T)
        scores = logits([study.saturation * w for w in weights], tokens)
        own = jnp.take_along_axis(scores, answers[:, None], axis=1)[:, 0]
        rivals = jnp.where(jnp.arange(N) == answers[:, None], -jnp.inf, scores)
        return jnp.mean(own > rivals.max(axis=1))

    def memories(weights):
        O2, K2, K1 = weights
        return E @ V2.T @ O2.T @ U.T, E @ K2 @ (E @ phi1.T).T, P[1:] @ K1 @ P.T

    def recalls(weights):
        return jnp.stack([jnp.mean(m.argmax(1) == jnp.arange(len(m))) for m in memories(weights)])

    weights: Any = [jnp.zeros((d, d))] * 3
    seen = [(accuracy(weights, keys[7]), recalls(weights))]
    for which in range(3):
        step = -gradient(weights, which, jax.random.fold_in(keys[6], which))
        # A rate of its own for each step: the memory's largest score is then 1, so that attention is
        # nearly uniform (scores of 1 over √T tokens) while the next gradient is taken.
        size = jnp.max(jnp.abs(memories([step if k == which else w for k, w in enumerate(weights)])[which]))
        weights = [step / size if k == which else w for k, w in enumerate(weights)]
        seen.append((accuracy(weights, keys[7]), recalls(weights)))
    kept = dict(zip(("W_O2", "W_K2", "W_K1"), memories(weights)))
    return {
        "accuracy": jnp.stack([a for a, _ in seen]),
        "recall": jnp.stack([r for _, r in seen]),
        **kept,
    }


def report(study: ThreeSteps, data):
    lines = []
    for k, d in enumerate(study.widths):
        accuracy, recall = data.accuracy.values[k], data.recall.values[k]
        lines.append(
            f"d = {d}: accuracy " + " → ".join(
                f"{a:.3f} ± {s:.3f}" for a, s in zip(accuracy.mean(0), accuracy.std(0))
            ) + f" (start, W_O², W_K², W_K¹; chance {1 / study.tokens:.3f})"
        )  # fmt: skip
        last = recall[:, -1].mean(0)
        lines.append(f"d = {d}: R(W_O²) {last[0]:.3f}, R(W_K²) {last[1]:.3f}, R(W_K¹) {last[2]:.3f}")
    return [*lines, f"seeds: {study.seeds}, {study.samples} sequences a step"]


def figure(study: ThreeSteps, data):
    figure, axes = plot.panels(1, 4, 2.2, width_ratios=(1.4, 1, 1, 1))
    ax, image = axes[0, 0], None
    for k, d in enumerate(study.widths):
        values = data.accuracy.values[k]
        plot.points(ax, range(4), values.mean(0), values.std(0), colour=k, linestyle="-", label=f"d = {d}")
    ax.axhline(1 / study.tokens, color="black", linewidth=0.6, linestyle=":", label="chance, 1/N")
    ax.set_xticks(range(4), [mathematics(word) for word in ("start", "W_O²", "W_K²", "W_K¹")])
    ax.set(ylabel="accuracy", xlabel="after a step on")
    names = (("W_O2", "W_O²", "token", "answer"), ("W_K2", "W_K²", "token", "Φ₁ of token"),
             ("W_K1", "W_K¹", "query t", "key s"))  # fmt: skip
    for ax, (name, title, up, across) in zip(axes[0, 1:], names):
        image = matrix(ax, data[name].values, name == "W_K1", vmin=-1, vmax=1)
        ax.set(title=mathematics(title), xlabel=across, ylabel=up)
    bar = figure.colorbar(cast(Any, image), ax=axes[0, 1:], label="score", pad=0.02)
    bar.outline.set_linewidth(0.4)
    plot.legend(figure, band="bars: standard deviation over the seeds")
    return figure
