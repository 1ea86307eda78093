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
    repeat: bool = True  # whether an output can be its own trigger

    def task(self, length: int, **options: Any):
        import assocmem_jax as am

        triggers: Any = self.triggers
        if self.fixed:
            every = am.BigramTask.shakespeare(length=2, triggers=1, data=1)
            triggers = every.most_frequent(self.triggers, self.skip)
        options |= {"triggers": triggers, "outputs": self.outputs, "repeat": self.repeat}
        return am.BigramTask.shakespeare(length=length, **options)


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
    """Descent on fresh batches, case by case, over seeds: losses, accuracy, probes, maps at the end."""

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
            found: dict[str, Any] = {
                name: (("seed", "step"), np.asarray(value)) for name, value in run.observed.items()
            }
            found["status"] = (("seed",), np.asarray(run.status))
            # Planned steps: a run that ended early repeats its last state.
            step = np.unique(np.append(np.arange(0, self.steps, self.every), self.steps))
            parts.append(xr.Dataset(found, coords={"step": step}))
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
        import sys

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
        shown = length < self.steps and sys.stderr.isatty()
        return task, am.in_segments(segment, self.steps, length, path=path, about=said, progress=shown)

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
            ax.set(xlabel="step", ylabel=_math(NAMES[name]))
            if name.endswith("loss") and float(data[name].max()) > 5 * float(data[name].min()):
                ax.set_yscale("log")
        for ax in spare[len(names) :]:
            ax.set_visible(False)
        lines, labels = spare[0].get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(lines, labels, loc="outside upper center", ncols=len(labels))
        for k in range(extra):
            self._maps(data, k, axes[rows + k], plot)
        return figure

    def _by_case(self, data, plot):
        top, probes = self.show[0], [name for name in self.show[1:] if name in data]
        figure, axes = plot.panels(2, len(self.cases), 3.2, sharex=True, sharey="row")
        for k, case in enumerate(self.cases):
            _band(plot, axes[0, k], data, k, top, 0, _math(NAMES[top]))
            for place, name in enumerate(probes):
                _band(plot, axes[1, k], data, k, name, place + 1, _math(NAMES[name]))
            axes[0, k].set_title(_math(case.label))
            axes[1, k].set_xlabel("step")
            for row in range(2):
                if case.frozen:
                    axes[row, k].axvline(self.frozen_until, color="black", linewidth=0.6, linestyle=":")
        axes[0, 0].set_ylabel(NAMES[top])
        axes[1, 0].set_ylabel("recall R")
        lines, labels = axes[1, 0].get_legend_handles_labels()
        figure.legend(lines, labels, loc="outside lower center", ncols=len(labels))
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
                    title=_math(f"W_{'K' if 'key' in name else 'O'}{'¹' if '1' in name else '²'}"),
                )
                ax.invert_yaxis()
            return
        maps, tokens = data[f"attention{k}"].values, data[f"tokens{k}"].values
        again = data[f"occurrence{k}"].values >= 2
        alphabet = _alphabet()
        letters = [_letter(alphabet[k]) for k in tokens.tolist()]
        # A window around the first places where the answer can be copied.
        first = int(np.argmax(again)) if again.any() else 0
        start = max(0, min(first - 16, len(tokens) - 24))
        cut = slice(start, start + 24)
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
    middle = np.median(values, axis=0)
    spread = np.stack([middle - values.min(0), values.max(0) - middle])
    plot.band(ax, step, middle, spread, colour=colour, label=label)


def _alphabet() -> str:
    import assocmem_jax as am

    return am.BigramTask.shakespeare(length=2, triggers=1, data=1).alphabet or ""


def _math(text: str) -> str:
    """W_O² and its like as mathematics."""
    for plain, set_ in (("W_O²", "$W_O^2$"), ("W_K²", "$W_K^2$"), ("W_K¹", "$W_K^1$"), ("W_F", "$W_F$")):
        text = text.replace(plain, set_)
    return text


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


class ThreeSteps(Study):
    """Theorem 3: one gradient step on W_O², one on W_K², one on W_K¹, each measured.

    One trigger, uniform laws, z_T its second occurrence; layer 1 attends by positions and carries tokens,
    layer 2 has keys x¹ and values and queries x⁰ (B.3.2–B.3.3). The three matrices start at zero; after its
    step a matrix is multiplied by ``saturation`` where accuracies are read ("saturate the softmax").
    """

    title: ClassVar[str] = "Birth Theorem 3: three gradient steps"
    precision: Literal["float64", "float32"] = "float32"
    tokens: Annotated[int, Field(ge=4)] = 64
    length: Annotated[int, Field(ge=4)] = 16
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (256,)
    samples: Count = 65_536
    chunk: Count = 4096
    saturation: Positive = 100.0
    positions: bool = False  # whether x⁰ carries p_t too (B.3.2; B.3.3 leaves it out)
    seeds: Count = 5

    @model_validator(mode="after")
    def _whole(self):
        if self.samples % self.chunk:
            raise ValueError("chunk must divide samples")
        return self

    def run(self):
        import jax
        import numpy as np
        import xarray as xr

        keys = jax.random.split(jax.random.key(self.seed), self.seeds)
        found = []
        for d in self.widths:
            run = jax.jit(functools.partial(self.steps, d=d))
            found.append(
                jax.tree.map(lambda *a: np.stack(a), *[jax.tree.map(np.asarray, run(key)) for key in keys])
            )
        stacked = jax.tree.map(lambda *a: np.stack(a), *found)
        axes = {"accuracy": ("width", "seed", "after"), "recall": ("width", "seed", "after", "matrix")}
        data = {name: (axes[name], stacked[name]) for name in axes}
        data |= {
            name: ((f"{name}_query", f"{name}_key"), stacked[name][-1, 0])
            for name in ("W_O2", "W_K2", "W_K1")
        }
        return xr.Dataset(data, coords={"width": list(self.widths)})

    def steps(self, key, d):
        """Accuracy and recalls at the start and after each step, and the three memories."""
        import jax
        import jax.numpy as jnp

        from ..tasks.bigram import second_trigger

        N, T = self.tokens, self.length
        keys = jax.random.split(key, 8)
        gaussian = lambda key, rows: jax.random.normal(key, (rows, d)) / d**0.5  # noqa: E731
        E, U, P = gaussian(keys[0], N), gaussian(keys[1], N), gaussian(keys[2], T)
        phi1, V2 = gaussian(keys[3], d) @ gaussian(keys[4], d), gaussian(keys[5], d)
        causal = jnp.tril(jnp.ones((T, T), bool))

        def logits(weights, tokens):
            O2, K2, K1 = weights
            x0 = E[tokens] + (P if self.positions else 0)
            first = jax.nn.softmax(jnp.where(causal, P @ K1 @ P.T, -jnp.inf), axis=-1)
            x1 = jnp.einsum("ts,nsd->ntd", first, (E @ phi1.T)[tokens])
            second = jax.nn.softmax(jnp.einsum("nd,ntd->nt", x0[:, -1] @ K2, x1), axis=-1)
            return jnp.einsum("nt,ntd->nd", second, x0) @ (U @ O2 @ V2).T

        def batches(key):
            return jax.random.split(key, self.samples // self.chunk)

        def gradient(weights, which, key):
            """Of the loss, over fresh sequences, with respect to one of the three."""

            def loss(weight, tokens, answers):
                parts = [weight if k == which else w for k, w in enumerate(weights)]
                scores = logits(parts, tokens)
                own = jnp.take_along_axis(scores, answers[:, None], axis=1)[:, 0]
                return jnp.mean(jax.nn.logsumexp(scores, axis=1) - own)

            def add(total, key):
                tokens, answers = second_trigger(key, self.chunk, N, T)
                return total + jax.grad(loss)(weights[which], tokens, answers), None

            total, _ = jax.lax.scan(add, jnp.zeros((d, d)), batches(key))
            return total / (self.samples // self.chunk)

        def accuracy(weights, key):
            tokens, answers = second_trigger(key, self.chunk, N, T)
            scores = logits([self.saturation * w for w in weights], tokens)
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
            size = jnp.max(
                jnp.abs(memories([step if k == which else w for k, w in enumerate(weights)])[which])
            )
            weights = [step / size if k == which else w for k, w in enumerate(weights)]
            seen.append((accuracy(weights, keys[7]), recalls(weights)))
        kept = dict(zip(("W_O2", "W_K2", "W_K1"), memories(weights)))
        return {
            "accuracy": jnp.stack([a for a, _ in seen]),
            "recall": jnp.stack([r for _, r in seen]),
            **kept,
        }

    def report(self, data):
        lines = []
        for k, d in enumerate(self.widths):
            accuracy, recall = data.accuracy.values[k], data.recall.values[k]
            lines.append(
                f"d = {d}: accuracy " + " → ".join(
                    f"{a:.3f} ± {s:.3f}" for a, s in zip(accuracy.mean(0), accuracy.std(0))
                ) + f" (start, W_O², W_K², W_K¹; chance {1 / self.tokens:.3f})"
            )  # fmt: skip
            last = recall[:, -1].mean(0)
            lines.append(f"d = {d}: R(W_O²) {last[0]:.3f}, R(W_K²) {last[1]:.3f}, R(W_K¹) {last[2]:.3f}")
        return [*lines, f"seeds: {self.seeds}, {self.samples} sequences a step"]

    def figure(self, data):
        import numpy as np

        from .. import plot

        figure, axes = plot.panels(1, 4, 1.9, width_ratios=(1.4, 1, 1, 1))
        ax = axes[0, 0]
        for k, d in enumerate(self.widths):
            values = data.accuracy.values[k]
            ax.errorbar(range(4), values.mean(0), values.std(0), color=plot.COLOURS[k % 7], marker="o",
                        markersize=3, linewidth=1, label=f"d = {d}")  # fmt: skip
        ax.axhline(1 / self.tokens, color="black", linewidth=0.6, linestyle=":")
        ax.set_xticks(range(4), [_math(word) for word in ("start", "W_O²", "W_K²", "W_K¹")])
        ax.set(ylabel="accuracy", xlabel="after a step on")
        ax.legend(fontsize=6)
        names = (("W_O2", "W_O²", "token", "answer"), ("W_K2", "W_K²", "token", "Φ₁ of token"),
                 ("W_K1", "W_K¹", "query t", "key s"))  # fmt: skip
        for ax, (name, title, up, across) in zip(axes[0, 1:], names):
            values = data[name].values
            rows = np.arange(values.shape[0]) + (2 if name == "W_K1" else 0)
            plot.mesh(ax, np.arange(values.shape[1]) + (name == "W_K1"), rows, values, "score", cmap="RdBu_r",
                      vmin=-1, vmax=1)  # fmt: skip
            ax.set(title=_math(title), xlabel=across, ylabel=up)
            ax.invert_yaxis()
        return figure


class Constructed(Study):
    """Figure 1 and (7): accuracy and recall of the constructed weights over the width and the boost."""

    title: ClassVar[str] = "Birth Figure 1: a constructed induction head"
    precision: Literal["float64", "float32"] = "float32"
    data: _Data = _Data()
    length: Length = 64
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (64, 128, 256, 512)
    boosts: Annotated[tuple[Positive, ...], Field(min_length=1)] = (10.0,)
    held_out: Count = 128
    seeds: Count = 5

    def run(self):
        import jax
        import numpy as np
        import xarray as xr

        import assocmem_jax as am

        keys = jax.random.split(jax.random.key(self.seed), self.seeds + 1)
        task = self.data.task(self.length, data=self.held_out, key=keys[0])

        @functools.partial(jax.jit, static_argnums=1)
        def read(key, d, boost):
            model = am.InductionTransformer.gaussian(task, key, d).constructed(task, boost=boost)
            recall = (am.recall_output2, am.recall_key2, am.recall_key1)
            return am.in_context_accuracy(task, model), tuple(f(task, model) for f in recall)

        found = [[[read(key, d, b) for key in keys[1:]] for b in self.boosts] for d in self.widths]
        accuracy = np.array([[[float(one[0]) for one in row] for row in rows] for rows in found])
        recall = np.array([[[float(r) for r in one[1]] for one in rows[0]] for rows in found])
        data: Any = {
            "accuracy": (("width", "boost", "seed"), accuracy),
            "recall": (("width", "seed", "matrix"), recall),
        }
        return xr.Dataset(data, coords={"width": list(self.widths), "boost": list(self.boosts)})

    def report(self, data):
        lines = []
        for k, d in enumerate(self.widths):
            shown = ", ".join(
                f"{a.mean():.3f} ± {a.std(ddof=1) if len(a) > 1 else 0:.3f} (boost {b:g})"
                for a, b in zip(data.accuracy.values[k], self.boosts)
            )
            recall = data.recall.values[k].mean(0)
            lines.append(
                f"d = {d}: accuracy {shown}; R(W_O²) {recall[0]:.3f}, R(W_K²) {recall[1]:.3f}, "
                f"R(W_K¹) {recall[2]:.3f}"
            )
        return [*lines, f"seeds: {self.seeds}"]

    def figure(self, data):
        import numpy as np

        from .. import plot

        figure, ((a, b),) = plot.panels(1, 2, 2.2)
        for k, boost in enumerate(self.boosts):
            values = data.accuracy.values[:, k]
            middle = np.median(values, axis=1)
            spread = np.stack([middle - values.min(1), values.max(1) - middle])
            plot.band(a, self.widths, middle, spread, colour=k, marker="o", markersize=3,
                      label=f"scores × {boost:g}")  # fmt: skip
        a.set(ylabel="in-context accuracy", ylim=(0, 1.02))
        a.legend()
        for k, name in enumerate(("W_O²", "W_K²", "W_K¹")):
            plot.line(
                b,
                self.widths,
                data.recall.values[..., k].mean(1),
                colour=k,
                marker="o",
                markersize=3,
                label=_math(name),
            )
        b.set(ylabel="recall R", ylim=(0, 1.02))
        b.legend(loc="lower right")
        for ax in (a, b):
            ax.set(xscale="log", xlabel="width d")
            ax.set_xticks(self.widths, [str(d) for d in self.widths])
            ax.minorticks_off()
        return figure


class Dimension(Study):
    """Figure 8: recall of W_O², trained alone, over the width; one rate for all, or the best of each."""

    title: ClassVar[str] = "Birth Figure 8: the width"
    precision: Literal["float64", "float32"] = "float32"
    data: _Data = _Data()
    length: Length = 64
    batch: Count = 128
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (16, 32, 64, 128, 256)
    rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.05, 0.2, 0.8, 3.2)
    fixed_rate: Positive = 0.2
    steps: Count = 100
    every: Count = 5
    seeds: Count = 2

    @model_validator(mode="after")
    def _among(self):
        if self.fixed_rate not in self.rates:
            raise ValueError("fixed_rate must be one of rates")
        return self

    def run(self):
        import jax
        import numpy as np
        import xarray as xr

        import assocmem_jax as am

        keys = jax.random.split(jax.random.key(self.seed), self.seeds)
        task = self.data.task(self.length, data=8)

        @functools.partial(jax.jit, static_argnums=2)
        def recall(key, rate, d):
            start, draws = jax.random.split(key)
            model = am.InductionTransformer.published(task, start, d)
            descent = am.Descent(optimizer, self.steps, self.batch, learning_rate=rate)
            run = am.simulate(
                task, model, descent, observe={"R": am.recall_output2}, every=self.every, key=draws,
                trainable=lambda m: m.output2, throw=False,
            )  # fmt: skip
            return run.observed["R"], run.steps

        # Rates share all that is frozen: one pass for them together.
        over = jax.vmap(recall, in_axes=(None, 0, None))
        rates = np.array(self.rates, np.float32 if self.precision == "float32" else float)
        found = [[over(key, rates, d) for key in keys] for d in self.widths]
        values = np.array([[np.asarray(one[0]) for one in row] for row in found])
        data: Any = {"recall": (("width", "seed", "rate", "step"), values)}
        coords = {"width": list(self.widths), "rate": list(self.rates), "step": np.asarray(found[0][0][1][0])}
        return xr.Dataset(data, coords=coords)

    def best(self, data):
        """Index of the rate with the largest mean recall along the way, for each width."""
        return data.recall.mean(("seed", "step")).values.argmax(1)

    def report(self, data):
        at = self.rates.index(self.fixed_rate)
        best = self.best(data)
        lines = []
        for k, d in enumerate(self.widths):
            fixed, tuned = (data.recall.values[k, :, r].mean(0) for r in (at, best[k]))
            reach = [
                next((int(s) for s, v in zip(data.step.values, run) if v >= 0.95), None)
                for run in (fixed, tuned)
            ]
            words = ["not reached" if r is None else f"step {r}" for r in reach]
            lines.append(
                f"d = {d}: R at step {self.steps} {fixed[-1]:.3f} (rate {self.fixed_rate:g}), "
                f"{tuned[-1]:.3f} (best rate {self.rates[best[k]]:g}); R ≥ .95: {words[0]}, {words[1]}"
            )
        return [*lines, f"seeds: {self.seeds}"]

    def figure(self, data):
        import numpy as np

        from .. import plot

        figure, ((a, b),) = plot.panels(1, 2, 2.2, sharey=True)
        best = self.best(data)
        for k, d in enumerate(self.widths):
            for ax, r in ((a, self.rates.index(self.fixed_rate)), (b, best[k])):
                values = data.recall.values[k, :, r]
                spread = np.stack([values.mean(0) - values.min(0), values.max(0) - values.mean(0)])
                plot.band(ax, data.step, values.mean(0), spread, colour=k, label=f"d = {d}")
        a.set(title=f"rate {self.fixed_rate:g}", xlabel="step", ylabel=_math("R of W_O²"))
        rates = ", ".join(f"{self.rates[r]:g}" for r in best)
        b.set(title=f"best rate of each ({rates})", xlabel="step")
        a.legend(fontsize=6)
        return figure


class OneStep(Study):
    """Figure 9: recall R₁ of the first gradient step on W_O², over the width and the number of batches."""

    title: ClassVar[str] = "Birth Figure 9: one step"
    precision: Literal["float64", "float32"] = "float32"
    data: _Data = _Data()
    length: Length = 256
    batch: Count = 32
    batches: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 4, 8, 16, 32, 64)
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (16, 32, 64, 128, 256)
    seeds: Count = 5

    def run(self):
        import jax
        import numpy as np
        import xarray as xr

        import assocmem_jax as am

        task = self.data.task(self.length, data=1)
        keys = jax.random.split(jax.random.key(self.seed), self.seeds)

        @functools.partial(jax.jit, static_argnums=(1,))
        def row(key, number):
            start, draws = jax.random.split(key)
            batch = task.sample(draws, number * self.batch)
            models = [am.InductionTransformer.gaussian(task, start, d) for d in self.widths]
            return jax.numpy.stack([am.one_step_recall(task, model, batch) for model in models])

        values = np.array([[np.asarray(row(key, number)) for key in keys] for number in self.batches])
        data: Any = {"recall": (("batches", "seed", "width"), values)}
        return xr.Dataset(data, coords={"batches": list(self.batches), "width": list(self.widths)})

    def report(self, data):
        lines = []
        for k, number in enumerate(self.batches):
            values = data.recall.values[k]
            shown = ", ".join(f"d = {d} {v:.3f}" for d, v in zip(self.widths, values.mean(0)))
            lines.append(f"{number} batches of {self.batch} × {self.length}: R₁ at {shown}")
        return [*lines, f"seeds: {self.seeds}"]

    def figure(self, data):
        import numpy as np

        from .. import plot

        figure, ((ax,),) = plot.panels(1, 1, 2.4, plot.COLUMN)
        for k, d in enumerate(self.widths):
            values = data.recall.values[..., k]
            mean = values.mean(1)
            spread = np.stack([mean - values.min(1), values.max(1) - mean])
            plot.band(ax, self.batches, mean, spread, colour=k, marker="o", markersize=3, label=f"d = {d}")
        ax.set(
            xscale="log",
            xlabel=f"batches of {self.batch} sequences of {self.length}",
            ylabel="R₁",
            ylim=(0, 1.02),
        )
        ax.legend(fontsize=6)
        return figure


class _FullBatch(Section):
    """One group of curves of GD Figure 7."""

    trained: Literal["output2", "all"]
    width: Count
    rates: Annotated[tuple[Positive, ...], Field(min_length=1)]
    sequences: Count
    length: Length
    steps: Count


class FullBatch(Study):
    """GD Figure 7: full-batch descent of W_O² alone and of all three matrices; losses and margins."""

    title: ClassVar[str] = "GD Figure 7: full-batch training of an induction head"
    precision: Literal["float64", "float32"] = "float32"
    data: _Data = _Data()
    groups: Annotated[tuple[_FullBatch, ...], Field(min_length=1)]
    shown_tokens: Count = 5

    def run(self):
        import jax
        import numpy as np
        import optax
        import xarray as xr

        import assocmem_jax as am

        found = {}
        for number, group in enumerate(self.groups):
            keys = jax.random.split(jax.random.key(self.seed), 2)
            task = self.data.task(group.length, data=group.sequences, key=keys[0])
            model = am.InductionTransformer.published(task, keys[1], group.width)
            trainable = (lambda m: m.output2) if group.trained == "output2" else None
            watch = {
                "loss": am.loss, "output2": am.margins_output2, "key2": am.margins_key2,
                "recall_output2": am.recall_output2, "recall_key2": am.recall_key2,
            }  # fmt: skip

            def descend(rate, task, model, group=group, trainable=trainable, watch=watch):
                descent = am.Descent(optax.sgd, group.steps, learning_rate=rate)
                run = am.simulate(task, model, descent, observe=watch, trainable=trainable, throw=False)
                return run.observed, run.status

            rates = np.array(group.rates, np.float32 if self.precision == "float32" else float)
            over = jax.jit(jax.vmap(descend, in_axes=(0, None, None)))
            observed, status = jax.tree.map(np.asarray, over(rates, task, model))
            for name, value in observed.items():
                axes = (f"rate{number}", f"step{number}", "token")[: value.ndim]
                found[f"{name}{number}"] = (axes, value)
            found[f"status{number}"] = ((f"rate{number}",), status)
        # Tokens drawn as triggers are, with numpy's seed 42.
        often = np.asarray(self.data.task(2, data=1).unigram, float)
        draws = np.random.RandomState(42)
        chosen = np.sort(draws.choice(len(often), self.shown_tokens, replace=False, p=often / often.sum()))
        found["shown"] = (("shown",), chosen)
        return xr.Dataset(found)

    def report(self, data):
        import numpy as np

        lines = []
        for k, group in enumerate(self.groups):
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
        return lines

    def figure(self, data):
        import numpy as np

        from .. import plot

        figure, axes = plot.panels(len(self.groups), 3, 1.8 * len(self.groups))
        letters, shown = _alphabet(), data.shown.values.tolist()
        for k, group in enumerate(self.groups):
            losses, row = data[f"loss{k}"].values, axes[k]
            steps = np.arange(losses.shape[1])
            for j, rate in enumerate(group.rates):
                plot.line(row[0], steps, losses[j], colour=j, label=f"η = {rate:g}", linewidth=0.9)
            row[0].set(ylabel="loss (nats)", yscale="log" if losses.min() < 1 else "linear")
            row[0].legend(fontsize=5)
            which = "W_O² alone" if group.trained == "output2" else "all three"
            row[0].set_title(_math(f"{which}, d = {group.width}"))
            at = int(losses[:, -1].argmin())
            for ax, name, title in ((row[1], "output2", "W_O²"), (row[2], "key2", "W_K²")):
                for j, token in enumerate(shown):
                    values = data[f"{name}{k}"].values[at, :, token]
                    plot.line(ax, steps, values, colour=j, label=repr(_letter(letters[token])), linewidth=0.9)
                ax.axhline(0, color="black", linewidth=0.5)
                ax.set_ylabel(_math(f"margins of {title}"))
                ax.set_title(f"η = {group.rates[at]:g}")
            for ax in row:
                ax.set_xlabel("step")
        lines, labels = axes[0, 1].get_legend_handles_labels()
        figure.legend(lines, labels, loc="outside lower center", ncols=len(labels), title="margins of")
        return figure
