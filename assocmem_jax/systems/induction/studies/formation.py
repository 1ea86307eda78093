"""Birth Figures 2–4, 10, 11: descent on fresh batches, case by case."""

import math
import sys
import textwrap
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....progress import watched
from ....studies.kit import looks
from .schemas import NAMES, Case, Induction
from .text import alphabet, bigram_task, letter, mathematics, matrix


def optimizer(rate, momentum=0.9, weight_decay=1e-4):
    """SGD with momentum and weight decay, as Birth appendix E has it."""
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(rate, momentum=momentum))


def initial(task, key, *, model, layers, heads, feedforward, norm, width):
    if model == "transformer":
        return am.Transformer.initial(
            task.num_tokens, task.length, key, width, layers=layers, heads=heads, feedforward=feedforward,
            norm=norm, dtype=task.dtype,
        )  # fmt: skip
    return am.InductionTransformer.published(
        task, key, width, layers=layers, feedforward=feedforward == "linear"
    )


@eqx.filter_jit
def _trained(task, others, descent, keys, previous, every, make, watch):
    """A trajectory for each key; cases of one shape share the program."""

    def one(key, previous):
        start, draws = jax.random.split(key)
        look = dict(watch)
        for name, other in others.items():
            look[name] = lambda task, model, other=other: am.induction.in_context_accuracy(other, model)
        return am.simulate(
            task, make(task, start), descent, observe=look, every=every, key=draws, resume=previous,
            resumable=True, throw=False,
        )  # fmt: skip

    return jax.vmap(one, in_axes=(0, None if previous is None else 0))(keys, previous)


def run(study: Induction, scratch: Path | None):
    parts, extra = [], {}
    for number, case in enumerate(study.cases):
        if watched():
            print(f"{case.label} ({number + 1} of {len(study.cases)})", file=sys.stderr)
        task, run = train(study, case, None if scratch is None else scratch / f"case{number}.ckpt")
        found: dict[str, Any] = {
            name: (("seed", "step"), np.asarray(value)) for name, value in run.observed.items()
        }
        found["status"] = (("seed",), np.asarray(run.status))
        parts.append(xr.Dataset(found, coords={"step": looks(study.steps, study.every)}))
        model = jax.tree.map(lambda a: a[0], run.model)
        extra |= final(study, task, model, number)
    data = xr.concat(parts, dim="case", join="outer").assign_coords(case=[c.label for c in study.cases])
    # zarr has no agreed type for words: labels are attributes.
    data = data.drop_vars("case")
    return data.assign({name: (tuple(f"{name}_{i}" for i in range(v.ndim)), v) for name, v in extra.items()})


def train(study: Induction, case: Case, path: Path | None):
    """(task, trajectory with a leading axis of seeds) of a case."""
    keys = jax.random.split(jax.random.key(study.seed), study.seeds + 2)
    task = bigram_task(case, study.length, loss_on=study.loss_on, data=study.held_out, key=keys[0])
    others = {}
    if case.tested_on is not None:
        other = case.model_copy(update={"outputs": case.tested_on})
        others["tested"] = bigram_task(other, study.length, data=study.held_out, key=keys[1])
    watch = {
        "in_context_accuracy": am.induction.in_context_accuracy,
        "in_context_loss": am.induction.in_context_loss,
        "global_loss": am.induction.global_loss,
        "follows_head": am.induction.follows_head,
        "follows_bigram": am.induction.follows_bigram,
    }
    thaw = []
    if case.model == "simplified":
        watch |= {"recall_output2": am.induction.recall_output2, "recall_key2": am.induction.recall_key2}
        parts = ["output2", "key2"]
        if case.layers == 2:
            watch |= {
                "recall_key1": am.induction.recall_key1,
                "recall_key1_early": am.induction.recall_key1_early,
            }
            parts.append("key1")
        if case.feedforward == "linear":
            watch["bigram_divergence"] = am.induction.bigram_divergence
            parts.append("feedforward")
        # A step for each matrix, 0 where it is free: cases of one shape share a program.
        if any(c.frozen for c in study.cases):
            thaw = [(_LEAVES[name], study.frozen_until * (name in case.frozen)) for name in parts]
    make = eqx.Partial(
        initial,
        model=case.model, layers=case.layers, heads=case.heads, feedforward=case.feedforward,
        norm=case.norm, width=study.width,
    )  # fmt: skip

    def segment(previous, steps):
        descent = am.Descent(
            optimizer, steps, study.batch, learning_rate=study.learning_rate, momentum=study.momentum,
            weight_decay=study.weight_decay, thaw=thaw,
        )  # fmt: skip
        return _trained(task, others, descent, keys[2:], previous, study.every, make, watch)

    # Segments end where there are looks; what is left behind the last of them is one of its own.
    looked = study.steps - study.steps % study.every
    length = min(study.steps, study.checkpoint_every or math.gcd(looked, 4 * study.every))
    rest = study.steps % length
    said = {"config": study.hash(), "case": case.label}
    run = am.in_segments(
        segment, study.steps - rest, length, path=path, about=said, progress=path is not None
    )
    return task, am.concat(run, segment(run, rest)) if rest else run


def final(study: Induction, task, model, number: int) -> dict[str, Any]:
    """Maps of the trained model of the first seed."""
    if study.maps == "attention":
        found = {"attention": am.induction.attention_maps(task, model), "tokens": task.data.tokens[0],
                 "occurrence": task.data.occurrence[0]}  # fmt: skip
    elif study.maps == "memories":
        found = {name: am.induction.memory(task, model, name)[0] for name in ("key1", "key2", "output2")}
    else:
        return {}
    return {f"{name}{number}": np.asarray(value) for name, value in found.items()}


def report(study: Induction, data):
    lines = []
    for k, case in enumerate(study.cases):
        for step in [s for s in study.report_at if s <= study.steps] or [study.steps]:
            at = data.isel(case=k).sel(step=step, method="nearest")
            shown = []
            for name in (*study.show, "tested"):
                if name not in at or name in shown or not np.isfinite(at[name]).any():
                    continue
                values = at[name].values
                spread = f" ± {values.std(ddof=1):.3f}" if study.seeds > 1 else ""
                shown.append(f"{NAMES[name]} {values.mean():.3f}{spread}")
            lines.append(f"{case.label}, step {int(at.step)}: " + "; ".join(dict.fromkeys(shown)))
    failed = int((data.status.values > 0).sum())
    return [*lines, f"seeds: {study.seeds}; runs that did not reach the end: {failed}"]


def figure(study: Induction, data):
    if study.panels == "cases":
        return _by_case(study, data)
    names = [name for name in study.show if name in data]
    rows, columns = -(-len(names) // 3), min(3, len(names))
    cases = 0 if study.maps == "none" else len(study.cases)
    # Curves above, maps below: each part sets its own panels.
    heights = [1.9 * rows] + [2.4 if study.maps == "memories" else 3.4] * cases
    figure = plot.panels(1, 1, sum(heights))[0]
    figure.clear()
    parts = figure.subfigures(1 + cases, 1, squeeze=False, height_ratios=heights)[:, 0]
    axes = parts[0].subplots(rows, columns, squeeze=False)
    for ax in axes.ravel()[len(names) :]:
        ax.remove()
    for name, ax in zip(names, axes.ravel()):
        for k, case in enumerate(study.cases):
            _band(ax, data, k, name, k, case.label)
        ax.set(xlabel="step", ylabel=mathematics(textwrap.fill(NAMES[name], 24)))
        if name.endswith("loss") and float(data[name].max()) > 5 * float(data[name].min()):
            plot.log_axes(ax, "y")
    if len(study.cases) > 1 or study.seeds > 1:
        plot.legend(figure, band=_BAND if study.seeds > 1 else None)
    for k, part in enumerate(parts[1:]):
        (_memories if study.maps == "memories" else _attention)(study, data, k, part)
    return figure


def _by_case(study: Induction, data):
    top, probes = study.show[0], [name for name in study.show[1:] if name in data]
    figure, axes = plot.panels(2, len(study.cases), 3.3, sharex=True, sharey="row")
    for k, case in enumerate(study.cases):
        _band(axes[0, k], data, k, top, 0, None)
        for place, name in enumerate(probes):
            _band(axes[1, k], data, k, name, place + 1, mathematics(NAMES[name]))
        axes[0, k].set_title(mathematics(case.label))
        axes[1, k].set_xlabel("step")
        for row in range(2):
            if case.frozen:
                axes[row, k].axvline(study.frozen_until, color="black", linewidth=0.6, linestyle=":",
                                     label="frozen until here")  # fmt: skip
    axes[0, 0].set_ylabel(NAMES[top])
    axes[1, 0].set_ylabel("recall R")
    plot.legend(figure, band=_BAND if study.seeds > 1 else None)
    return figure


def _memories(study: Induction, data, k: int, part):
    """What the three matrices of a case hold at the end."""
    units = {"key1": ("W_K¹", "key position s", "query position t"), "key2": ("W_K²", "Φ₁ of token", "token"),
             "output2": ("W_O²", "w_U of token", "W_V² of token")}  # fmt: skip
    label = f"{study.cases[k].label}: " if len(study.cases) > 1 else ""
    for ax, (name, (title, x, y)) in zip(part.subplots(1, 3), units.items()):
        values = data[f"{name}{k}"].values
        most = np.abs(values).max()
        image = matrix(ax, values, name == "key1", vmin=-most, vmax=most)
        ax.set(title=mathematics(f"{label}{title}"), xlabel=mathematics(x), ylabel=mathematics(y))
        part.colorbar(image, ax=ax, label="score", pad=0.02).outline.set_linewidth(0.4)


def _attention(study: Induction, data, k: int, part):
    """Of each layer the head that looks back one token (first), or at what followed before (second)."""
    case = study.cases[k]
    maps, tokens = data[f"attention{k}"].values, data[f"tokens{k}"].values
    again = data[f"occurrence{k}"].values >= 2
    known = alphabet()
    letters = [letter(known[k]) for k in tokens.tolist()]
    # A window around the first places where the answer can be copied.
    first = int(np.argmax(again)) if again.any() else 0
    start = max(0, min(first - 16, len(tokens) - 24))
    cut = slice(start, start + 24)
    heads = case.heads
    chosen = [(0, maps[:heads]), (1, maps[heads : 2 * heads])] if case.layers > 1 else [(1, maps)]
    axes, image = part.subplots(1, len(chosen), squeeze=False)[0], None
    for ax, (layer, stack) in zip(axes, chosen):
        best = int(np.argmax([_previous(m) if layer == 0 else _induced(m, tokens, again) for m in stack]))
        shown = stack[best][cut, cut]
        places = np.arange(shown.shape[0])
        image = plot.mesh(ax, places, places, shown, None, vmin=0, vmax=1, cmap="Blues")
        ax.set_xticks(places, letters[cut], fontsize=6)
        ax.set_yticks(places, letters[cut], fontsize=6)
        for t in np.nonzero(again[cut])[0]:
            ax.get_yticklabels()[t].set_color("#D55E00")
        ax.invert_yaxis()
        head = f", head {best + 1} of {heads}" if heads > 1 else ""
        ax.set(title=f"{case.label}: layer {layer + 1}{head}", xlabel="key")
        ax.set_ylabel("query (orange: its answer can be copied)")
    part.colorbar(image, ax=axes, label="attention", pad=0.02).outline.set_linewidth(0.4)


_BAND = "median, least and most of the seeds"
_LEAVES = {
    "output2": lambda m: m.output2, "key2": lambda m: m.key2, "key1": lambda m: m.key1,
    "feedforward": lambda m: m.feedforward,
}  # fmt: skip


def _band(ax, data, k, name, colour, label):
    """Median over seeds, and all of them."""
    if name not in data:
        return
    values = data[name].isel(case=k).values
    if not np.isfinite(values).any():
        return
    step = data.step.values
    middle = np.median(values, axis=0)
    spread = np.stack([middle - values.min(0), values.max(0) - middle])
    plot.band(ax, step, middle, spread, colour=colour, label=label)


def _previous(weights) -> float:
    """Mean attention to the token before."""
    return float(np.mean(np.diagonal(weights, -1)))


def _induced(weights, tokens, again) -> float:
    """Mean attention, where the answer can be copied, to tokens that followed the same token."""
    after = np.concatenate([[-1], tokens[:-1]])
    rows = np.nonzero(again)[0]
    if not len(rows):
        return 0.0
    return float(np.mean([weights[t, : t + 1][after[: t + 1] == tokens[t]].sum() for t in rows]))
