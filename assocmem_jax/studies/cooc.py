"""Cooc (Yang et al. 2024): Figure 1, balancing of gradients, learned attention, the time of Phase 1."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ..config import Count, Positive, Section, Study

Counts = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=4, max_length=4)
]  # both signals, only μ₁, only μ₂, neither


class _Start(Section):
    """How weights begin: Kaiming (standard deviation gain/√fan_in), or σ₀ = c₀/√(Lm), σ₁ = c₁/√m₁."""

    law: Literal["uniform", "normal", "sigma"]
    gain: Positive = 2**0.5
    c0: Positive = 0.3
    c1: Positive = 0.3

    def model(self, task, key, width, neurons):
        import assocmem_jax as am

        if self.law == "sigma":
            return _scaled(task, key, width, neurons, self.c0, self.c1)
        return am.CooccurrenceTransformer.kaiming(task, key, width, neurons, law=self.law, gain=self.gain)


def _scaled(task, key, width, neurons, c0, c1):
    """A transformer with σ₀ = c₀/√(Lm), σ₁ = c₁/√m₁."""
    import assocmem_jax as am

    sigma0, sigma1 = c0 / (task.tokens.shape[1] * width) ** 0.5, c1 / neurons**0.5
    return am.CooccurrenceTransformer.gaussian(task, key, width, neurons, sigma0, sigma1)


class TwoPhases(Study):
    """Figure 1 and what surrounds it: scores, losses of each kind, G(μ), balancing, loss against 1/t, C."""

    title: ClassVar[str] = "Cooc Figure 1"
    counts: Counts = (30, 10, 10, 10)
    length: Annotated[int, Field(ge=3)] = 5
    dimension: Annotated[int, Field(ge=4)] = 64
    distinct: bool = False
    width: Count = 128
    neurons: Count = 256
    start: _Start
    learning_rate: Positive = 0.01
    steps: Annotated[int, Field(ge=100)] = 30_000
    observations: Annotated[int, Field(ge=20)] = 300
    test_samples: Count = 2000
    system: Literal["reduced", "weights"] = "reduced"

    @model_validator(mode="after")
    def _room(self):
        words = sum(count * (self.length - taken) for count, taken in zip(self.counts, (3, 2, 2, 1)))
        if self.distinct and words + 3 > self.dimension:
            raise ValueError(f"distinct words need dimension ≥ {words + 3}, got {self.dimension}")
        return self

    def run(self):
        import jax
        import jax.numpy as jnp
        import numpy as np
        import optax
        import xarray as xr

        import assocmem_jax as am

        keys = jax.random.split(jax.random.key(self.seed), 3)
        task = am.CooccurrenceTask.training(
            keys[0], self.counts, self.length, self.dimension, distinct=self.distinct
        )
        fresh = am.CooccurrenceTask.population(keys[1], self.test_samples, self.length, self.dimension)
        model: Any = self.start.model(task, keys[2], self.width, self.neurons)
        if self.system == "reduced":
            model = am.CooccurrenceSystem.from_transformer(model)
        watch = {
            "loss": am.loss, "error": am.error, "test_loss": lambda task, model: am.loss(fresh, model),
            "test_error": lambda task, model: am.error(fresh, model), "kind_loss": am.kind_losses,
            "balance": am.balance, "value": lambda task, model: model.values[:3],
            "score": lambda task, model: model.table[:3, :3],
            "value_correlation": lambda task, model: model.value_gram[:3, :3],
        }  # fmt: skip
        descent = am.Descent(optax.sgd, self.steps, learning_rate=self.learning_rate)
        early = np.geomspace(1, self.steps, self.observations)
        at = np.unique(np.round(np.concatenate([np.arange(min(100, self.steps)), early])).astype(int))
        run = am.simulate(task, model, descent, observe=watch, at=at)
        # The state at the end of Phase 1: all training samples correct for the first time.
        phase: Any = am.simulate(
            task, model, descent, observe={"loss": am.loss}, every=min(50, self.steps),
            until=am.perfect_accuracy(), throw=False,
        )  # fmt: skip
        axes = {"kind_loss": ("kind",), "balance": ("ratio",), "value": ("token",)}
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
        return xr.Dataset(data, coords={"step": np.asarray(run.steps)})

    def report(self, data):
        import numpy as np

        step, loss, one = data.step.values, data.loss.values, data.kind_loss.values[:, 1]
        late = step > max(step[-1] / 10, int(data.phase_one))
        slope = np.polyfit(np.log(step[late]), np.log(loss[late]), 1)[0]
        first, last = data.score.values[0], data.score.values[-1]
        move, values = last - first, data.value_correlation.values[-1] - data.value_correlation.values[0]
        balance = data.balance.values[step >= max(int(data.phase_one), 0)]
        C = data.coefficients.values
        words = np.abs(C[3:, :]).max() if len(C) > 3 else 0.0
        top = int(one.argmax())
        return [
            f"Phase 1 ends at step {int(data.phase_one)}: loss "
            f"{float(data.loss_at_phase_one):.4f}, scores moved by at most "
            f"{float(data.score_change_at_phase_one):.2e} (their spread at the start "
            f"{float(data.score_spread_at_start):.2e})",
            f"one-signal loss (μ₁): {one[0]:.4f} → {one[top]:.4f} at step {step[top]} → {one[-1]:.2e}",
            f"at step {step[-1]}: training loss {loss[-1]:.3e}, test loss {float(data.test_loss[-1]):.3e}, "
            f"test error {float(data.test_error[-1]):.4f}; loss ~ t^{slope:.2f} over the last decade",
            f"scores moved: K₁Q₂ {move[0, 1]:+.3g}, K₂Q₁ {move[1, 0]:+.3g}, K₃Q₁ {move[2, 0]:+.3g}, K₃Q₂ "
            f"{move[2, 1]:+.3g}; any irrelevant key at most {words:.3g}",
            f"values moved: V₁₂ {values[0, 1]:+.4f}, V₁₃ {values[0, 2]:+.4f}, V₂₃ {values[1, 2]:+.4f}; G = "
            + ", ".join(f"{v:+.3f}" for v in data.value.values[-1]),
            f"balance after Phase 1: Σg(I₂)/Σg(I₃) in [{balance[:, 0].min():.3f}, {balance[:, 0].max():.3f}]",
        ]

    def figure(self, data):
        import numpy as np

        from .. import plot

        figure, axes = plot.panels(2, 3, 4.4)
        (a, b, c), (d, e, f) = axes
        step, first = data.step.values[1:], int(data.phase_one)
        names = (("K₁Q₂", 0, 1), ("K₂Q₁", 1, 0), ("K₃Q₁", 2, 0), ("K₃Q₂", 2, 1))
        for k, (name, i, j) in enumerate(names):
            plot.line(a, step, data.score.values[1:, i, j] - data.score.values[0, i, j], colour=k, label=name)
        a.set_ylabel("change of score μᵀW_KᵀW_Qν")
        plot.line(b, step, data.loss[1:], colour=6, label="all")
        for k, name in enumerate(("both", "only μ₁", "only μ₂", "neither")):
            plot.line(b, step, data.kind_loss[1:, k], colour=k, label=name, linewidth=0.9)
        plot.line(b, step, data.test_loss[1:], colour=5, label="test", linewidth=0.9)
        b.set(ylabel="loss (nats)", yscale="log")
        for k in range(3):
            plot.line(c, step, data.value[1:, k], colour=k, label=f"G(μ{'₁₂₃'[k]})")
        c.set_ylabel("value of a token")
        plot.line(d, step, data.balance[1:, 0], colour=0)
        d.set_ylabel("Σg(I₂)/Σg(I₃)")
        d.axhline(1, color="black", linewidth=0.5)
        plot.line(e, step, data.loss[1:], colour=6, label="training loss")
        scale = float(data.loss[-1]) * step[-1]
        late = step[step > 10 * max(first, 1)]
        plot.line(e, late, scale / late, colour=1, label="∝ 1/t")
        e.set(ylabel="loss (nats)", yscale="log")
        for ax in (a, b, c, d, e):
            ax.set(xscale="log", xlabel="step")
            if first > 0:
                ax.axvline(first, color="black", linewidth=0.6, linestyle=":")
            if ax is not d:
                ax.legend(fontsize=6)
        shown = min(10, data.sizes["key"])
        C = data.coefficients.values[:shown, :shown]
        most = np.abs(C).max()
        plot.mesh(f, np.arange(1, shown + 1), np.arange(1, shown + 1), C, "C(key, query)", cmap="RdBu_r",
                  vmin=-most, vmax=most)  # fmt: skip
        f.set(
            xlabel="query token", ylabel="key token", xticks=range(1, shown + 1), yticks=range(1, shown + 1)
        )
        f.invert_yaxis()
        titles = (
            "attention scores",
            "losses of each kind",
            "linear MLP",
            "balancing",
            "loss against 1/t",
            "learned C",
        )
        for ax, title in zip(axes.ravel(), titles):
            ax.set_title(title)
        return figure


class _Shape(Section):
    counts: Counts
    length: Annotated[int, Field(ge=3)]
    width: Count


class PhaseOne(Study):
    """Steps until all training samples are correct, over sizes and scales of the weights."""

    title: ClassVar[str] = "Cooc: the time of Phase 1"
    shapes: Annotated[tuple[_Shape, ...], Field(min_length=1)]
    c0: Annotated[tuple[Positive, ...], Field(min_length=1)]
    c1: Annotated[tuple[Positive, ...], Field(min_length=1)]
    seeds: Count = 8
    dimension: Annotated[int, Field(ge=4)] = 64
    neurons: Count = 256
    learning_rate: Positive = 2e-3
    steps: Count = 3000

    def run(self):
        import xarray as xr

        parts = [self.times(shape).drop_vars("status") for shape in self.shapes]
        found = xr.concat(parts, dim="shape")
        found.attrs.clear()
        return found

    def times(self, shape: _Shape):
        """One shape: a sweep over the scales and seeds."""
        import jax
        import optax

        import assocmem_jax as am

        def first_step(c0, c1, key):
            keys = jax.random.split(key)
            task = am.CooccurrenceTask.training(keys[0], shape.counts, shape.length, self.dimension)
            model = _scaled(task, keys[1], shape.width, self.neurons, c0, c1)
            descent = am.Descent(optax.sgd, self.steps, learning_rate=self.learning_rate)
            run = am.simulate(
                task, am.CooccurrenceSystem.from_transformer(model), descent,
                observe={"loss": am.loss}, every=50, until=am.perfect_accuracy(), throw=False,
            )  # fmt: skip
            return {"first_step": run.first_step, "loss": run.observed["loss"][-1]}

        return am.sweep(
            first_step, c0=list(self.c0), c1=list(self.c1), seeds=self.seeds, tile=4, progress=False
        )

    def report(self, data):
        import numpy as np

        lines = []
        steps = data.first_step.values.astype(float)
        steps[steps < 0] = np.nan
        for k, shape in enumerate(self.shapes):
            median = np.nanmedian(steps[k], axis=-1)
            rows = "; ".join(
                f"c₁ = {c1:g}: " + ", ".join(f"{median[i, j]:.0f}" for i in range(len(self.c0)))
                for j, c1 in enumerate(self.c1)
            )
            missing = int(np.isnan(steps[k]).sum())
            lines.append(
                f"n = {sum(shape.counts)}, L = {shape.length}, m = {shape.width}: median steps over c₀: "
                f"{rows}; not reached: {missing} of {steps[k].size}"
            )
        time = self.learning_rate * steps
        widths = [shape.width for shape in self.shapes]
        scale = np.multiply.outer(widths, np.square(self.c1))[:, None, :, None] * np.ones_like(steps)
        known = np.isfinite(time)
        slope, _ = np.polyfit(np.log(scale[known]), np.log(time[known]), 1)
        lines.append(
            f"T₁ ~ (σ₁² m m₁)^{slope:.2f} over all ({steps.size} runs; Theorem 3.1 bounds it by power −1)"
        )
        return lines

    def figure(self, data):
        import numpy as np

        from .. import plot

        figure, ((ax,),) = plot.panels(1, 1, 2.6, plot.COLUMN)
        steps = data.first_step.values.astype(float)
        steps[steps < 0] = np.nan
        for k, shape in enumerate(self.shapes):
            x = np.array(self.c1) ** 2 * shape.width
            middle = np.nanmedian(self.learning_rate * steps[k], axis=(0, 2))
            low, high = np.nanquantile(self.learning_rate * steps[k], (0.05, 0.95), axis=(0, 2))
            label = f"n = {sum(shape.counts)}, L = {shape.length}, m = {shape.width}"
            spread = np.stack([middle - low, high - middle])
            plot.band(ax, x, middle, spread, colour=k, marker="o", markersize=2, label=label)
        ends = np.array([min(self.c1) ** 2 * min(s.width for s in self.shapes),
                         max(self.c1) ** 2 * max(s.width for s in self.shapes)])  # fmt: skip
        ax.plot(ends, 5 / ends, color="black", linewidth=0.8, linestyle=":", label="∝ 1/(σ₁² m m₁)")
        ax.set(xscale="log", yscale="log", xlabel="σ₁² m m₁", ylabel="T₁ (learning rate × step)")
        ax.legend(fontsize=6)
        return figure
