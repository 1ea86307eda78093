"""Cooc (Yang et al. 2024): Figure 1, balancing of gradients, learned attention, the time of Phase 1."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import diverged
from .schemas import Start, TwoPhases


def start_model(start: Start, task, key, width, neurons, heads=1, layers=1):
    if start.law == "sigma":
        return scaled(task, key, width, neurons, start.c0, start.c1, heads, layers)
    return am.CooccurrenceTransformer.kaiming(task, key, width, neurons, law=start.law, gain=start.gain)


def scaled(task, key, width, neurons, c0, c1, heads=1, layers=1) -> Any:
    """A transformer with σ₀ = c₀/√(Lm), σ₁ = c₁/√m₁."""
    sigma0, sigma1 = c0 / (task.tokens.shape[1] * width) ** 0.5, c1 / neurons**0.5
    if heads > 1:
        return am.cooccurrence.CooccurrenceHeads.gaussian(task, key, heads, width, neurons, sigma0, sigma1)
    if layers > 1:
        return am.cooccurrence.CooccurrenceLayers.gaussian(task, key, width, neurons, sigma0, sigma1)
    return am.CooccurrenceTransformer.gaussian(task, key, width, neurons, sigma0, sigma1)


def run(study: TwoPhases, scratch: Path | None):
    keys = jax.random.split(jax.random.key(study.seed), 3)
    task = am.CooccurrenceTask.training(
        keys[0], study.counts, study.length, study.dimension, distinct=study.distinct
    )
    fresh = am.CooccurrenceTask.population(keys[1], study.test_samples, study.length, study.dimension)
    model: Any = start_model(
        study.start, task, keys[2], study.width, study.neurons, study.heads, study.layers
    )
    if study.system == "reduced":
        model = am.cooccurrence.CooccurrenceSystem.from_transformer(model)
    watch = {
        "loss": am.loss, "error": am.error, "test_loss": lambda task, model: am.loss(fresh, model),
        "test_error": lambda task, model: am.error(fresh, model), "kind_loss": am.cooccurrence.kind_losses,
        "balance": am.cooccurrence.balance, "value": lambda task, model: model.values[:3],
        "score": lambda task, model: model.table[:3, :3],
        "value_correlation": lambda task, model: model.value_gram[:3, :3],
    }  # fmt: skip
    if study.layers > 1:
        watch["first_score"] = lambda task, model: model.first_table[:3, :3]
        watch["first_value"] = lambda task, model: model.first_values[:3]
        watch["first_size"] = lambda task, model: jnp.linalg.norm(model.first_value, 2)
        watch["uneven"] = _uneven
    early = np.geomspace(1, study.steps, study.observations)
    at = np.unique(np.round(np.concatenate([np.arange(min(100, study.steps)), early])).astype(int))

    def segment(previous, steps):
        begun = 0 if previous is None else int(previous.steps[-1])
        descent = am.Descent(optax.sgd, steps, learning_rate=study.learning_rate)
        looks = at[(at >= begun) & (at <= begun + steps)] - begun
        return am.simulate(
            task, model, descent, observe=watch, at=looks, resume=previous, resumable=True, throw=False
        )

    # Looks lie unevenly, so that each segment is a program of its own: three of a long run are worth that.
    length = study.steps // 3 if study.steps % 3 == 0 and study.steps >= 15_000 else study.steps
    path = None if scratch is None else scratch / "descent.ckpt"
    run = am.in_segments(
        segment, study.steps, length, path=path, about={"config": study.hash()}, progress=path is not None
    )
    # The state at the end of Phase 1: all training samples correct for the first time.
    descent = am.Descent(optax.sgd, study.steps, learning_rate=study.learning_rate)
    phase: Any = am.simulate(
        task, model, descent, observe={"loss": am.loss}, every=min(50, study.steps),
        until=am.perfect_accuracy(), throw=False,
    )  # fmt: skip
    axes = {
        "kind_loss": ("kind",), "balance": ("ratio",), "value": ("token",), "first_value": ("token",),
        "uneven": ("layer",),
    }  # fmt: skip
    square = ("key_signal", "query_signal")
    data: dict[str, Any] = {
        name: (("step", *axes.get(name, square if np.ndim(value) == 3 else ())), np.asarray(value))
        for name, value in run.observed.items()
    }
    end: Any = run.model
    data |= {
        "phase_one": int(phase.first_step),
        "loss_at_phase_one": float(phase.observed["loss"][-1]),
        "score_change_at_phase_one": float(jnp.max(jnp.abs(phase.model.table - model.table))),
        "score_spread_at_start": float(jnp.std(model.table)),
        "coefficients": (("key", "query"), np.asarray(end.table - model.table)),
    }  # fmt: skip
    if study.heads > 1:
        moved = end.head_tables - model.head_tables
        data["head_coefficients"] = (("head", *square), np.asarray(moved[:, :3, :3]))
        data["head_values"] = (("head", "token"), np.asarray(end.head_values[:, :3]))
    if study.layers > 1:
        moved = end.first_table - model.first_table
        data["first_coefficients"] = (("key", "query"), np.asarray(moved))
    data["status"] = int(run.status)
    # The ends of segments are looked at too, and one that diverges repeats its last state.
    reached = np.asarray(run.steps)
    kept = np.isin(reached, [*at, reached[-1]]) & (np.diff(reached, prepend=-1) > 0)
    return xr.Dataset(data, coords={"step": reached}).isel(step=kept)


def _uneven(task, model):
    """The largest |Lp − 1| of each layer: 0 where it attends evenly."""
    return jnp.stack([jnp.max(jnp.abs(p.shape[-1] * p - 1)) for p in model.attended(task)])


def _layer_lines(data):
    """What the first of two layers has come to."""
    C, uneven, size = data.first_coefficients.values, data.uneven.values, data.first_size.values
    words = np.abs(C[3:, :]).max() if len(C) > 3 else 0.0
    return [
        f"layer 1: K₁Q₂ {C[0, 1]:+.3g}, K₂Q₁ {C[1, 0]:+.3g}, K₃Q₁ {C[2, 0]:+.3g}, K₃Q₂ {C[2, 1]:+.3g}; any "
        f"irrelevant key at most {words:.3g}; GU = "
        + ", ".join(f"{v:+.3f}" for v in data.first_value.values[-1]),
        f"‖U‖ {size[0]:.3f} → {size[-1]:.3f}; largest |Lp − 1|: layer 1 {uneven[0, 0]:.1e} → "
        f"{uneven[-1, 0]:.1e}, layer 2 {uneven[0, 1]:.1e} → {uneven[-1, 1]:.1e}",
    ]


def report(study: TwoPhases, data):
    step, loss, one = data.step.values, data.loss.values, data.kind_loss.values[:, 1]
    late = (step > max(step[-1] / 10, int(data.phase_one))) & (loss > 0)
    slope = np.polyfit(np.log(step[late]), np.log(loss[late]), 1)[0] if late.sum() > 1 else math.nan
    first, last = data.score.values[0], data.score.values[-1]
    move, values = last - first, data.value_correlation.values[-1] - data.value_correlation.values[0]
    balance = data.balance.values[step >= max(int(data.phase_one), 0)]
    C = data.coefficients.values
    words = np.abs(C[3:, :]).max() if len(C) > 3 else 0.0
    top = int(one.argmax())
    heads = [
        f"head {k + 1}: K₁Q₂ {C[0, 1]:+.3g}, K₂Q₁ {C[1, 0]:+.3g}, K₃Q₁ {C[2, 0]:+.3g}, "
        f"K₃Q₂ {C[2, 1]:+.3g}; G = "
        + ", ".join(f"{v:+.3f}" for v in G)
        for k, (C, G) in enumerate(zip(data.head_coefficients.values, data.head_values.values))
    ] if "head_values" in data else []  # fmt: skip
    return [
        *heads,
        *(_layer_lines(data) if "uneven" in data else []),
        f"Phase 1 ends at step {int(data.phase_one)}: loss "
        f"{float(data.loss_at_phase_one):.4f}, scores moved by at most "
        f"{float(data.score_change_at_phase_one):.2e} (their spread at the start "
        f"{float(data.score_spread_at_start):.2e})",
        f"one-signal loss (μ₁): {one[0]:.4f} → {one[top]:.4f} at step {step[top]} → {one[-1]:.2e}",
        f"at step {step[-1]}: training loss {loss[-1]:.3e}, test loss {float(data.test_loss[-1]):.3e}, "
        f"test error {float(data.test_error[-1]):.4f}; loss ~ t^{slope:.2f} over the last decade",
        f"scores moved: K₁Q₂ {move[0, 1]:+.3g}, K₂Q₁ {move[1, 0]:+.3g}, K₃Q₁ {move[2, 0]:+.3g}, K₃Q₂ "
        f"{move[2, 1]:+.3g}; any irrelevant key at most {words:.3g}",
        f"values moved: V₁₂ {values[0, 1]:+.4f}, V₁₃ {values[0, 2]:+.4f}, V₂₃ {values[1, 2]:+.4f}; "
        f"{'G(I + U)' if 'uneven' in data else 'G'} = "
        + ", ".join(f"{v:+.3f}" for v in data.value.values[-1]),
        f"balance after Phase 1: Σg(I₂)/Σg(I₃) in [{balance[:, 0].min():.3f}, {balance[:, 0].max():.3f}]",
        *diverged(data.status),
    ]


def figure(study: TwoPhases, data):
    figure, axes = plot.panels(2, 3, 4.8)
    (a, b, c), (d, e, f) = axes
    step, first = data.step.values[1:], int(data.phase_one)
    names = (("K₁Q₂", 0, 1), ("K₂Q₁", 1, 0), ("K₃Q₁", 2, 0), ("K₃Q₂", 2, 1))
    for k, (name, i, j) in enumerate(names):
        plot.line(a, step, data.score.values[1:, i, j] - data.score.values[0, i, j], colour=k, label=name)
    layered = "first_score" in data
    if layered:
        moved = data.first_score.values[1:] - data.first_score.values[0]
        for k, (_, i, j) in enumerate(names):
            plot.line(a, step, moved[:, i, j], colour=k, linewidth=0.7, marker="o", markersize=2,
                      markevery=25, label="in layer 1" if k == 0 else None)  # fmt: skip
    a.set_ylabel("change of $\\mu^\\top W_K^\\top W_Q \\nu$")
    plot.line(b, step, data.loss[1:], colour=6, label="all")
    for k, name in enumerate(("both", "only μ₁", "only μ₂", "neither")):
        plot.line(b, step, data.kind_loss[1:, k], colour=k, label=name, linewidth=0.9)
    plot.line(b, step, data.test_loss[1:], colour=5, label="test", linewidth=0.9)
    b.set(ylabel="loss (nats)")
    for k in range(3):
        plot.line(c, step, data.value[1:, k], colour=k, label=f"{'v' if layered else 'G'}(μ{'₁₂₃'[k]})")
    c.set_ylabel("value of a token")
    plot.line(d, step, data.balance[1:, 0], colour=0)
    d.set_ylabel("Σg(I₂)/Σg(I₃)")
    d.axhline(1, color="black", linewidth=0.5)
    plot.line(e, step, data.loss[1:], colour=6, label="training loss")
    scale = float(data.loss[-1]) * data.step.values[-1]
    late = step[step > 10 * max(first, 1)]
    plot.line(e, late, scale / late, colour=1, label="∝ 1/t")
    e.set(ylabel="loss (nats)")
    for ax in (a, b, c, d, e):
        ax.set(xlabel="step")
        plot.log_axes(ax, "xy" if ax in (b, e) else "x")
        if first > 0:
            ax.axvline(first, color="black", linewidth=0.6, linestyle=":",
                       label="end of Phase 1" if ax is d else None)  # fmt: skip
    shown = min(10, data.sizes["key"])
    C = data.coefficients.values[:shown, :shown]
    most = np.abs(C).max()
    plot.mesh(f, np.arange(1, shown + 1), np.arange(1, shown + 1), C, "C(key, query)", cmap="RdBu_r",
              vmin=-most, vmax=most)  # fmt: skip
    f.set(xlabel="query token", ylabel="key token", xticks=range(1, shown + 1), yticks=range(1, shown + 1))
    f.invert_yaxis()
    for ax, title in zip(
        (a, c, d, e),
        ("attention scores", "G(I + U)" if layered else "linear MLP", "balancing", "loss against 1/t"),
    ):
        plot.title_legend(ax, title)
    plot.title_legend(b, "losses of each kind", 3)
    f.set_title("learned C")
    return figure
