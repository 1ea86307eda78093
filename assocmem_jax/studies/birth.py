"""Birth (Bietti et al. 2023): Figures 2–11, one layer against two, three gradient steps; GD Figure 7."""

import functools
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ..config import Count, Positive, Section, Study

Length = Annotated[int, Field(ge=2)]
Matrix = Literal["output2", "key2", "key1", "feedforward"]
PROBES = ("recall_output2", "recall_key2", "recall_key1", "recall_key1_early")
NAMES = {
    "in_context_accuracy": "in-context accuracy",
    "in_context_loss": "in-context loss (nats)",
    "global_loss": "global loss (nats)",
    "recall_output2": "R of W_O²",
    "recall_key2": "R of W_K²",
    "recall_key1": "R of W_K¹",
    "recall_key1_early": "R of W_K¹, early t",
    "bigram_divergence": "KL of W_F (nats)",
    "tested": "accuracy on the other outputs",
}


class _Data(Section):
    """A law of sequences: K triggers, drawn or fixed (from rank ``skip`` on), and the law of outputs."""

    triggers: Count = 5
    fixed: bool = False
    skip: Annotated[int, Field(ge=0)] = 0
    outputs: Literal["uniform", "bigram"] = "uniform"

    def task(self, length: int, **options: Any):
        import assocmem_jax as am

        triggers: Any = self.triggers
        if self.fixed:
            every = am.BigramTask.shakespeare(length=2, triggers=1, data=1)
            triggers = every.most_frequent(self.triggers, self.skip)
        return am.BigramTask.shakespeare(length=length, triggers=triggers, outputs=self.outputs, **options)


class _Case(_Data):
    """One curve: data, model, what is frozen until when, and outputs it is also tested on."""

    label: str
    model: Literal["simplified", "transformer"] = "simplified"
    layers: Annotated[int, Field(ge=1, le=8)] = 2
    heads: Count = 1
    feedforward: Literal["none", "linear", "relu"] = "none"
    norm: bool = False
    frozen: tuple[Matrix, ...] = ()
    tested_on: Literal["uniform", "bigram"] | None = None

    @model_validator(mode="after")
    def _fits(self):
        if self.model == "simplified" and (self.layers > 2 or self.heads > 1 or self.norm):
            raise ValueError("a simplified model has 1 or 2 layers, one head and no norm")
        if self.model == "simplified" and self.feedforward == "relu":
            raise ValueError("feedforward = 'relu' is for model = 'transformer'")
        if self.model == "transformer" and self.frozen:
            raise ValueError("frozen is for model = 'simplified'")
        return self


def optimizer(rate, momentum=0.9, weight_decay=1e-4):
    """SGD with momentum and weight decay, as Birth appendix E has it."""
    import optax

    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(rate, momentum=momentum))


def initial(task, key, *, model, layers, heads, feedforward, norm, width):
    import assocmem_jax as am

    if model == "transformer":
        return am.Transformer.initial(
            task, key, width, layers=layers, heads=heads, feedforward=feedforward, norm=norm
        )
    return am.InductionTransformer.published(
        task, key, width, layers=layers, feedforward=feedforward == "linear"
    )


@functools.cache
def _programs():
    """Jitted functions, made once so that cases of one shape share a program."""
    import equinox as eqx
    import jax

    import assocmem_jax as am

    @eqx.filter_jit
    def train(task, others, descent, keys, previous, every, make, watch):
        def one(key, previous):
            start, draws = jax.random.split(key)
            look = dict(watch)
            for name, other in others.items():
                look[name] = lambda task, model, other=other: am.in_context_accuracy(other, model)
            return am.simulate(
                task, make(task, start), descent, observe=look, every=every, key=draws, resume=previous,
                resumable=True, throw=False,
            )  # fmt: skip

        return jax.vmap(one, in_axes=(0, None if previous is None else 0))(keys, previous)

    return train


class _Made:
    """``initial`` with its options, equal where they are: programs are shared."""

    def __init__(self, **options: Any):
        self.options = options

    def __call__(self, task, key):
        return initial(task, key, **self.options)

    def __eq__(self, other):
        return isinstance(other, _Made) and self.options == other.options

    def __hash__(self):
        return hash(tuple(sorted(self.options.items())))


class Induction(Study):
    """Descent on fresh batches, case by case, over seeds: losses, accuracy, recall probes, maps at the end."""

    title: ClassVar[str] = "Birth: an induction head forms"
    precision: Literal["float64", "float32"] = "float32"
    cases: Annotated[tuple[_Case, ...], Field(min_length=1)]
    length: Length = 64
    batch: Count = 128
    width: Count = 128
    learning_rate: Positive = 0.2
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    loss_on: Literal["in_context", "all"] = "in_context"
    frozen_until: Count = 300
    steps: Count = 600
    every: Count = 25
    seeds: Count = 1
    held_out: Count = 128
    report_at: tuple[Count, ...] = (100, 300, 600)
    panels: Literal["cases", "quantities"] = "quantities"
    show: tuple[str, ...] = ("in_context_accuracy", *PROBES)
    maps: Literal["none", "attention", "memories"] = "none"
    checkpoint_every: Count | None = None

    @model_validator(mode="after")
    def _known(self):
        if unknown := set(self.show) - set(NAMES):
            raise ValueError(f"show: {sorted(unknown)[0]!r} is not one of {', '.join(NAMES)}")
        if self.steps % (self.checkpoint_every or self.steps):
            raise ValueError("checkpoint_every must divide steps")
        if len({case.label for case in self.cases}) < len(self.cases):
            raise ValueError("cases must have labels of their own")
        if self.maps == "memories" and any(c.model != "simplified" or c.layers < 2 for c in self.cases):
            raise ValueError("maps = 'memories' needs simplified models of two layers")
        return self

    def run(self):
        return self.run_in(None)

    def run_in(self, scratch: Path | None):
        import sys

        import jax
        import numpy as np
        import xarray as xr

        parts, extra = [], {}
        for number, case in enumerate(self.cases):
            if sys.stderr.isatty():
                print(f"{case.label} ({number + 1} of {len(self.cases)})", file=sys.stderr)
            task, run = self.train(case, None if scratch is None else scratch / f"case{number}.ckpt")
            found = {name: (("seed", "step"), np.asarray(value)) for name, value in run.observed.items()}
            found["status"] = (("seed",), np.asarray(run.status))
            parts.append(xr.Dataset(found, coords={"step": np.asarray(run.steps[0])}))
            model = jax.tree.map(lambda a: a[0], run.model)
            extra |= self.final(task, model, number)
        data = xr.concat(parts, dim="case", join="outer").assign_coords(case=[c.label for c in self.cases])
        # zarr has no agreed type for words: labels are attributes.
        data = data.drop_vars("case")
        return data.assign(
            {name: (tuple(f"{name}_{i}" for i in range(v.ndim)), v) for name, v in extra.items()}
        )

    def train(self, case: _Case, path: Path | None):
        """(task, trajectory with a leading axis of seeds) of a case."""
        import jax

        import assocmem_jax as am

        keys = jax.random.split(jax.random.key(self.seed), self.seeds + 2)
        task = case.task(self.length, loss_on=self.loss_on, data=self.held_out, key=keys[0])
        others = {}
        if case.tested_on is not None:
            other = case.model_copy(update={"outputs": case.tested_on})
            others["tested"] = other.task(self.length, data=self.held_out, key=keys[1])
        watch = {
            "in_context_accuracy": am.in_context_accuracy, "in_context_loss": am.in_context_loss,
            "global_loss": am.global_loss,
        }  # fmt: skip
        thaw = []
        if case.model == "simplified":
            watch |= {"recall_output2": am.recall_output2, "recall_key2": am.recall_key2}
            parts = ["output2", "key2"]
            if case.layers == 2:
                watch |= {"recall_key1": am.recall_key1, "recall_key1_early": am.recall_key1_early}
                parts.append("key1")
            if case.feedforward == "linear":
                watch["bigram_divergence"] = am.bigram_divergence
                parts.append("feedforward")
            # A step for each matrix, 0 where it is free: cases of one shape share a program.
            if any(c.frozen for c in self.cases):
                thaw = [(_LEAVES[name], self.frozen_until * (name in case.frozen)) for name in parts]
        make = _Made(
            model=case.model, layers=case.layers, heads=case.heads, feedforward=case.feedforward,
            norm=case.norm, width=self.width,
        )  # fmt: skip
        rule = functools.partial(optimizer, momentum=self.momentum, weight_decay=self.weight_decay)
        rule = _RULES.setdefault((self.momentum, self.weight_decay), rule)

        def segment(previous, steps):
            descent = am.Descent(rule, steps, self.batch, learning_rate=self.learning_rate, thaw=thaw)
            every = min(self.every, max(1, steps))
            return _programs()(task, others, descent, keys[2:], previous, every, make, watch)

        length = self.checkpoint_every or self.steps
        said = {"config": self.hash(), "case": case.label}
        return task, am.in_segments(segment, self.steps, length, path=path, about=said)

    def final(self, task, model, number: int) -> dict[str, Any]:
        """Maps of the trained model of the first seed."""
        import numpy as np

        import assocmem_jax as am

        if self.maps == "attention":
            found = {"attention": am.attention_maps(task, model), "tokens": task.data.tokens[0],
                     "occurrence": task.data.occurrence[0]}  # fmt: skip
        elif self.maps == "memories":
            found = {name: am.memory(task, model, name)[0] for name in ("key1", "key2", "output2")}
        else:
            return {}
        return {f"{name}{number}": np.asarray(value) for name, value in found.items()}

    def report(self, data):
        import numpy as np

        lines = []
        for k, case in enumerate(self.cases):
            for step in [s for s in self.report_at if s <= self.steps] or [self.steps]:
                at = data.isel(case=k).sel(step=step, method="nearest")
                shown = []
                for name in (*self.show, "tested"):
                    if name not in at or name in shown or not np.isfinite(at[name]).any():
                        continue
                    values = at[name].values
                    spread = f" ± {values.std(ddof=1):.3f}" if self.seeds > 1 else ""
                    shown.append(f"{NAMES[name]} {values.mean():.3f}{spread}")
                lines.append(f"{case.label}, step {int(at.step)}: " + "; ".join(dict.fromkeys(shown)))
        failed = int((data.status.values > 0).sum())
        return [*lines, f"seeds: {self.seeds}; runs that did not reach the end: {failed}"]

    def figure(self, data):
        from .. import plot

        if self.panels == "cases":
            return self._by_case(data, plot)
        names = [name for name in self.show if name in data]
        extra = {"none": 0, "attention": 1, "memories": 1}[self.maps] * len(self.cases)
        columns = min(3, len(names))
        rows = -(-len(names) // columns)
        figure, axes = plot.panels(rows + extra, 3 if extra else columns, 1.9 * rows + 2.2 * extra)
        spare = list(axes[:rows].ravel())
        for name, ax in zip(names, spare):
            for k, case in enumerate(self.cases):
                _band(plot, ax, data, k, name, k, case.label)
            ax.set(xlabel="step", ylabel=NAMES[name])
            if name.endswith("loss"):
                ax.set_yscale("log")
        for ax in spare[len(names) :]:
            ax.set_visible(False)
        spare[0].legend(fontsize=6)
        for k in range(extra):
            self._maps(data, k, axes[rows + k], plot)
        return figure

    def _by_case(self, data, plot):
        top, probes = self.show[0], [name for name in self.show[1:] if name in data]
        figure, axes = plot.panels(2, len(self.cases), 3.2, sharex=True, sharey="row")
        for k, case in enumerate(self.cases):
            _band(plot, axes[0, k], data, k, top, 0, NAMES[top])
            for place, name in enumerate(probes):
                _band(plot, axes[1, k], data, k, name, place + 1, NAMES[name])
            axes[0, k].set_title(case.label)
            axes[1, k].set_xlabel("step")
            for row in range(2):
                if case.frozen:
                    axes[row, k].axvline(self.frozen_until, color="black", linewidth=0.6, linestyle=":")
        axes[0, 0].set_ylabel(NAMES[top])
        axes[1, 0].set_ylabel("recall R")
        axes[1, -1].legend(fontsize=6, loc="lower right")
        return figure

    def _maps(self, data, k, axes, plot):
        import numpy as np

        case = self.cases[k]
        if self.maps == "memories":
            units = {"key1": ("key position s", "query position t"), "key2": ("Φ₁ of token", "token"),
                     "output2": ("w_U of token", "W_V² of token")}  # fmt: skip
            for ax, (name, (x, y)) in zip(axes, units.items()):
                values = data[f"{name}{k}"].values
                most = np.abs(values).max()
                rows = np.arange(values.shape[0]) + (2 if name == "key1" else 0)
                plot.mesh(ax, np.arange(values.shape[1]) + (name == "key1"), rows, values, "score",
                          cmap="RdBu_r", vmin=-most, vmax=most)  # fmt: skip
                ax.set(
                    xlabel=x,
                    ylabel=y,
                    title=f"W_{'K' if 'key' in name else 'O'}{'¹' if '1' in name else '²'}",
                )
                ax.invert_yaxis()
            return
        maps, tokens = data[f"attention{k}"].values, data[f"tokens{k}"].values
        again = data[f"occurrence{k}"].values >= 2
        letters = [_letter(c) for c in _alphabet()[tokens] if True]
        # A window around the first places where the answer can be copied.
        first = int(np.argmax(again)) if again.any() else 0
        start = max(0, min(first - 18, len(tokens) - 28))
        cut = slice(start, start + 28)
        heads = case.heads
        chosen = [(0, maps[:heads]), (1, maps[heads : 2 * heads])] if case.layers > 1 else [(1, maps)]
        for ax in axes:
            ax.set_visible(False)
        for ax, (layer, stack) in zip(axes, chosen):
            ax.set_visible(True)
            best = int(np.argmax([_previous(m) if layer == 0 else _induced(m, tokens, again) for m in stack]))
            image = stack[best][cut, cut]
            places = np.arange(start, start + image.shape[0])
            plot.mesh(ax, places, places, image, "attention", vmin=0, vmax=1, cmap="Blues")
            ax.set_xticks(places, letters[cut], fontsize=5)
            ax.set_yticks(places, letters[cut], fontsize=5)
            for t in np.nonzero(again[cut])[0]:
                ax.get_yticklabels()[t].set_color("#D55E00")
            ax.invert_yaxis()
            head = f", head {best + 1} of {heads}" if heads > 1 else ""
            ax.set(title=f"{case.label}: layer {layer + 1}{head}", xlabel="key", ylabel="query")


_LEAVES = {
    "output2": lambda m: m.output2, "key2": lambda m: m.key2, "key1": lambda m: m.key1,
    "feedforward": lambda m: m.feedforward,
}  # fmt: skip
_RULES: dict[tuple[float, float], Any] = {}


def _band(plot, ax, data, k, name, colour, label):
    """Median over seeds, and all of them."""
    import numpy as np

    if name not in data:
        return
    values = data[name].isel(case=k).values
    if not np.isfinite(values).any():
        return
    step = data.step.values
    plot.line(ax, step, np.median(values, axis=0), colour=colour, label=label)
    if values.shape[0] > 1:
        ax.fill_between(step, values.min(0), values.max(0), color=plot.COLOURS[colour % 7], alpha=0.15, lw=0)


def _alphabet():
    import numpy as np

    import assocmem_jax as am

    return np.array(list(am.BigramTask.shakespeare(length=2, triggers=1, data=1).alphabet or ""))


def _letter(c: str) -> str:
    return {"\n": "↵", " ": "␣"}.get(c, c)


def _previous(weights) -> float:
    """Mean attention to the token before."""
    import numpy as np

    return float(np.mean(np.diagonal(weights, -1)))


def _induced(weights, tokens, again) -> float:
    """Mean attention, where the answer can be copied, to tokens that followed the same token."""
    import numpy as np

    after = np.concatenate([[-1], tokens[:-1]])
    rows = np.nonzero(again)[0]
    if not len(rows):
        return 0.0
    return float(np.mean([weights[t, : t + 1][after[: t + 1] == tokens[t]].sum() for t in rows]))
