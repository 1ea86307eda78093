"""GD (Cabannes, Simsek, Bietti 2024): Figures 1 to 6.

Planes show γ = (u₁−u₂)ᵀW f on two orthonormal f: learned tokens of class 1 lie on its positive side.
In Figures 1–2, f lies along e₁±e₂; in Figures 4–5, γ is the printed (21), (u₂−u₁)ᵀW f on the standard
basis. (GD prints two signs and factors for γ: docs/theory.md: gd.23.)
"""

import functools
import math
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from ..config import Cosine, Count, Positive, Probability, Range, Real, Section, Study, SweepStudy

Point = Annotated[tuple[Real, Real], Field()]
Window = Annotated[tuple[Real, Real, Real, Real], Field()]
Vector = Annotated[tuple[Real, ...], Field(min_length=1)]
Rows = Annotated[tuple[Vector, ...], Field(min_length=2)]
Rates = Annotated[tuple[Positive, ...], Field(min_length=1)]
Resolution = Annotated[int, Field(ge=2, le=2000)]


def _check_window(window: Window) -> None:
    x0, x1, y0, y1 = window
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"window must be [x0, x1, y0, y1] with x0 < x1 and y0 < y1, got {list(window)}")


def _check_rows(name: str, rows: Rows, width: int | None = None) -> None:
    width = len(rows[0]) if width is None else width
    for i, row in enumerate(rows):
        if len(row) != width:
            raise ValueError(f"{name}[{i}] must have {width} entries, got {len(row)}")


class _Plane(Section):
    """Tokens in the plane: N embeddings, y = x mod 2, p(x) ∝ x^-exponent, U = I."""

    name: str
    inputs: Rows
    window: Window
    zipf_exponent: Real = 1.0

    @model_validator(mode="after")
    def _consistent(self):
        _check_rows("inputs", self.inputs, 2)
        _check_window(self.window)
        return self

    def task(self):
        import jax.numpy as jnp

        import assocmem_jax as am

        n = len(self.inputs)
        law = am.laws.zipf(n, self.zipf_exponent)
        return am.AssociationTask(law, jnp.arange(1, n + 1) % 2, jnp.array(self.inputs), jnp.eye(2))

    def grid(self, resolution: int):
        import jax.numpy as jnp

        x0, x1, y0, y1 = self.window
        return jnp.linspace(x0, x1, resolution), jnp.linspace(y0, y1, resolution)


def _on_plane(task, observable, x, y, sign: float = 1.0):
    """An observable at W = Δu γᵀ/‖Δu‖² for γ on the grid: shape (len(y), len(x))."""
    return _mapped(observable)(task, x, y, sign)


@functools.cache
def _mapped(observable):
    """Compiled once for each observable and shape: the task is an argument, not part of the program."""
    import jax
    import jax.numpy as jnp

    import assocmem_jax as am

    def at(task, gx, gy, sign):
        return observable(task, am.LinearMemory.from_plane(task, sign * jnp.stack([gx, gy])))

    return jax.jit(jax.vmap(jax.vmap(at, (None, 0, None, None)), (None, None, 0, None)))


def _minimiser(task):
    """The memory at the minimum of L over the plane; None if the task is separable (no minimum)."""
    import jax
    import numpy as np
    from scipy.optimize import minimize

    import assocmem_jax as am

    if am.max_margin(task).separable:
        return None
    loss = lambda gamma: am.loss(task, am.LinearMemory.from_plane(task, gamma))  # noqa: E731
    parts = [jax.jit(f) for f in (loss, jax.grad(loss), jax.hessian(loss))]
    value, slope, curvature = (lambda gamma, f=f: np.asarray(f(gamma), float) for f in parts)
    found = minimize(
        value, np.zeros(2), method="trust-exact", jac=slope, hess=curvature, options={"gtol": 1e-10}
    )
    # One Newton step more: trust regions stop when the value, not the gradient, is at its rounding.
    best = found.x - np.linalg.solve(curvature(found.x), slope(found.x))
    return am.LinearMemory.from_plane(task, best)


def _facing(task, model):
    """γ = (u₁−u₂)ᵀW f: the printed (21) with the sign of (18)."""
    import assocmem_jax as am

    return -am.plane(task, model)


class Landscape(Study):
    """Figure 1: level lines of L and the map of L01 for two correlated tokens."""

    title: ClassVar[str] = "GD Figure 1"
    p1: Probability
    alphas: Annotated[tuple[Cosine, ...], Field(min_length=1, max_length=6)]
    windows: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=4)]
    resolution: Resolution = 50
    learning_rate: Positive = 1.0

    def run(self):
        import jax.numpy as jnp
        import numpy as np
        import optax
        import xarray as xr

        import assocmem_jax as am

        maps = {"loss": am.loss, "error": am.error}
        out = {name: [] for name in (*maps, "first_margins", "first_error", "flow")}
        descent = am.Descent(optax.sgd, 1, learning_rate=self.learning_rate)
        watch = {"margins": am.margins, "error": am.error}
        for alpha in self.alphas:
            task = am.two_tokens(alpha, self.p1)
            memory = am.LinearMemory.zeros(task)
            for name, observable in maps.items():
                rows = []
                for window in self.windows:
                    axis = jnp.linspace(-window, window, self.resolution)
                    rows.append(_on_plane(task, observable, axis, axis, -1.0))
                out[name].append(rows)
            step = am.simulate(task, memory, descent, observe=watch)
            out["first_margins"].append(step.observed["margins"][1])
            out["first_error"].append(step.observed["error"][1])
            flow = am.simulate(task, memory, am.GradientFlow(1e6, stiff=True), observe={"plane": _facing})
            out["flow"].append(flow.observed["plane"])
        axes = [np.linspace(-w, w, self.resolution) for w in self.windows]
        dims = ("alpha", "window", "gamma2", "gamma1")
        return xr.Dataset(
            {
                "loss": (dims, np.array(out["loss"]), {"units": "nats"}),
                "error": (dims, np.array(out["error"])),
                "axis": (("window", "point"), np.array(axes)),
                "first_margins": (("alpha", "token"), np.array(out["first_margins"])),
                "first_error": ("alpha", np.array(out["first_error"])),
                "flow": (("alpha", "time", "gamma"), np.array(out["flow"])),
            },
            {"alpha": list(self.alphas), "window": list(self.windows)},
        )

    def report(self, data):
        return [
            f"α = {a:g}: after one step of rate {self.learning_rate:g} from 0, margins "
            f"({m[0]:+.4f}, {m[1]:+.4f}), error {e:.4g}"
            for a, m, e in zip(self.alphas, data.first_margins.values, data.first_error.values)
        ]

    def figure(self, data):
        from .. import plot

        rows, columns = len(self.windows), len(self.alphas)
        figure, axes = plot.panels(rows, columns, 2.3 * rows, width=min(2.4 * columns + 0.5, plot.PAGE))
        image: Any = None
        for j, alpha in enumerate(self.alphas):
            for i, window in enumerate(self.windows):
                ax, part = axes[i, j], data.isel(alpha=j, window=i)
                image = plot.landscape(ax, part.axis, part.axis, part.loss, part.error)
                plot.line(ax, part.flow[:, 0], part.flow[:, 1], colour=1, linestyle="-", label="flow from 0")
                ax.plot(0, 0, "o", color="black", markersize=3)
                ax.set_title(f"α = {alpha:g}, p₁ = {self.p1:g}" if i == 0 else f"±{window:g}")
                ax.set_xlabel("γ₁ (along e₁+e₂)")
                ax.set_ylabel("γ₂ (along e₁−e₂)" if j == 0 else "")
        axes[0, 0].legend(loc="lower left", frameon=True, framealpha=0.8)
        figure.colorbar(image, ax=axes, label="0-1 loss L₀₁", shrink=0.6)
        return figure


class LossSpikes(Study):
    """Figure 2: descent of two tokens at several rates; spikes of the loss."""

    title: ClassVar[str] = "GD Figure 2"
    alpha: Cosine
    p1: Probability
    learning_rates: Rates
    steps: Count = 35
    horizon: Count = 1000
    window: Window = (-2.0, 8.0, -10.0, 10.0)
    resolution: Resolution = 100

    @model_validator(mode="after")
    def _consistent(self):
        _check_window(self.window)
        if self.horizon < self.steps:
            raise ValueError(f"horizon must be at least steps = {self.steps}, got {self.horizon}")
        return self

    def run(self):
        import jax
        import jax.numpy as jnp
        import numpy as np
        import optax
        import xarray as xr

        import assocmem_jax as am

        task = am.two_tokens(self.alpha, self.p1)
        watch = {"loss": am.loss, "error": am.error, "margins": am.margins, "plane": _facing}

        def train(rate):
            descent = am.Descent(optax.sgd, self.horizon, learning_rate=rate)
            return am.simulate(
                task, am.LinearMemory.zeros(task), descent, observe=watch, until=am.perfect_accuracy(None)
            )

        runs = jax.jit(jax.vmap(train))(jnp.array(self.learning_rates))
        kept = {name: np.asarray(value)[:, : self.steps + 1] for name, value in runs.observed.items()}
        x0, x1, y0, y1 = self.window
        x, y = jnp.linspace(x0, x1, self.resolution), jnp.linspace(y0, y1, self.resolution)
        return xr.Dataset(
            {
                "loss": (("rate", "step"), kept["loss"], {"units": "nats"}),
                "error": (("rate", "step"), kept["error"]),
                "margins": (("rate", "step", "token"), kept["margins"]),
                "plane": (("rate", "step", "gamma"), kept["plane"]),
                "first_step": ("rate", np.asarray(runs.first_step)),
                "stable_step": ("rate", np.asarray(runs.stable_step)),
                "landscape": (("gamma2", "gamma1"), np.asarray(_on_plane(task, am.loss, x, y, -1.0))),
                "errors": (("gamma2", "gamma1"), np.asarray(_on_plane(task, am.error, x, y, -1.0))),
            },
            {
                "rate": list(self.learning_rates),
                "step": np.arange(self.steps + 1),
                "gamma1": np.asarray(x),
                "gamma2": np.asarray(y),
            },
        )

    def report(self, data):
        lines = []
        for k, rate in enumerate(self.learning_rates):
            loss, part = data.loss.values[k], data.isel(rate=k)
            peak = int(loss.argmax())
            rises = int((loss[1:] > loss[:-1]).sum())
            last = max(self.steps - 1, 0)
            lines.append(
                f"η = {rate:g}: L from {loss[0]:.4f}, highest {loss[peak]:.4f} at t = {peak}, "
                f"{rises} rises in {self.steps} steps; L_{last} = {loss[last]:.4f}; zero error "
                f"{_hits(part, self.horizon)}"
            )
        first = data.error.values[:, 1:]
        ranges = (f"{e.min():.4g}–{e.max():.4g} (η = {r:g})" for e, r in zip(first, self.learning_rates))
        lines.append(f"error from t = 1 to {self.steps}, min–max: {', '.join(ranges)}")
        return lines

    def figure(self, data):
        from .. import plot

        figure, axes = plot.panels(1, 3, 2.1)
        ax = axes[0, 0]
        image: Any = plot.landscape(ax, data.gamma1, data.gamma2, data.landscape, data.errors)
        for k, rate in enumerate(self.learning_rates):
            path = data.plane.values[k]
            plot.line(ax, path[:, 0], path[:, 1], colour=k, marker="o", markersize=2, linewidth=0.7)
            for column, name in ((1, "loss"), (2, "error")):
                plot.line(axes[0, column], data.step, data[name][k], colour=k, label=f"η = {rate:g}")
        ax.set_title(f"α = {self.alpha:g}, p₁ = {self.p1:g}")
        ax.set_xlabel("γ₁ (along e₁+e₂)")
        ax.set_ylabel("γ₂ (along e₁−e₂)")
        figure.colorbar(image, ax=ax, label="L₀₁", pad=0.02)
        axes[0, 1].set_title("loss L(W$_t$) (nats)")
        axes[0, 2].set_title("0-1 loss L₀₁(W$_t$)")
        for column in (1, 2):
            axes[0, column].set_xlabel("step t")
            axes[0, column].set_ylim(bottom=0)
        axes[0, 1].legend()
        return figure


def _hits(part, horizon: int) -> str:
    first, stable = int(part.first_step), int(part.stable_step)
    if first < 0:
        return f"not within {horizon} steps"
    if stable < 0:
        return f"first at t = {first}, not stable within {horizon}"
    return f"first at t = {first}, for good at t = {stable}"


def _steps_to_perfect(learning_rate, imbalance, alpha, *, steps: int):
    """(first, stable) step of zero error of two tokens; ``imbalance`` is log(p₁/p₂)."""
    import jax

    import assocmem_jax as am

    return am.time_to_perfect(am.two_tokens(alpha, jax.nn.sigmoid(imbalance)), learning_rate, steps)


class LearningRates(SweepStudy):
    """Figure 3: steps to perfect accuracy over learning rate, class imbalance and correlation.

    The printed panels, α = 0.75 and p₁ = 0.75, are added to the axes, so that they are exact slices.
    """

    title: ClassVar[str] = "GD Figure 3"
    learning_rate: Range
    imbalance: Range
    alpha: Range
    steps: Count = 1000
    panel_alpha: Cosine = 0.75
    panel_p1: Probability = 0.75

    def _panels(self) -> dict[str, float]:
        return {"alpha": self.panel_alpha, "imbalance": math.log(self.panel_p1 / (1 - self.panel_p1))}

    def sweep(self):
        import numpy as np

        axes = {"learning_rate": self.learning_rate.points()}
        for name, value in self._panels().items():
            axes[name] = np.unique([*getattr(self, name).points(), value])
        return functools.partial(_steps_to_perfect, steps=self.steps), axes

    def report(self, data):
        import numpy as np

        rates, total = data.learning_rate.values, data.first_step.size
        first, stable = data.first_step.values, data.stable_step.values
        both = (first >= 0) & (stable >= 0)
        later = np.where(both, stable - first, 0)
        lines = [
            f"{total:,} configurations, {self.steps} steps: zero error is met in {(first >= 0).sum():,} "
            f"and kept to the end in {(stable >= 0).sum():,}; later kept than met in "
            f"{(later > 0).sum():,}, by at most {later.max()} steps"
        ]
        right = data.sel(imbalance=self._panels()["imbalance"])
        near = data.alpha.values[data.alpha.values < 1][-1]
        lines.append(f"p₁ = {self.panel_p1:g}, α = {near:.4g}: {_over_rates(right.sel(alpha=near), rates)}")
        left = data.sel(alpha=self.panel_alpha)
        slower = _met(left)[-1] > _met(left).min(axis=0)
        for imbalance in [*left.imbalance.values[slower][:1], left.imbalance.values[-1]]:
            lines.append(
                f"α = {self.panel_alpha:g}, log(p₁/p₂) = {imbalance:.3g}: "
                f"{_over_rates(left.sel(imbalance=imbalance), rates)}"
            )
        lines.append(
            f"α = {self.panel_alpha:g}: the largest rate is slower than a smaller one at {slower.sum()} of "
            f"{slower.size} imbalances"
        )
        last = data.isel(alpha=-1)
        lines.append(
            f"α = {float(last.alpha):g}: met in {int((last.first_step >= 0).sum())} of {last.first_step.size}"
        )
        return lines

    def figure(self, data):
        from .. import plot

        figure, axes = plot.panels(2, 2, 4.4)
        names = {"imbalance": "log(p₁/p₂)", "alpha": "α", "learning_rate": "η"}
        for axis, words in names.items():
            data[axis].attrs["label"] = words
        fixed = self._panels()
        titles = {"imbalance": f"α = {self.panel_alpha:g}", "alpha": f"p₁ = {self.panel_p1:g}"}
        for row, name in enumerate(("first_step", "stable_step")):
            for column, (x, other) in enumerate((("imbalance", "alpha"), ("alpha", "imbalance"))):
                ax = axes[row, column]
                part = data.sel({other: fixed[other]})
                plot.heatmap(
                    part, name=name, x=x, y="learning_rate", ax=ax, label="steps", log=True, levels=9,
                    missing=f"not in {self.steps} steps", vmin=0, vmax=math.log10(self.steps),
                )  # fmt: skip
                ax.set_title(f"{titles[x]}: zero error {'first met' if row == 0 else 'kept'}")
        return figure


def _met(part):
    """Steps to zero error, infinite if never."""
    import numpy as np

    first = part.first_step.values
    return np.where(first < 0, np.inf, first)


def _over_rates(part, rates) -> str:
    """How steps to zero error depend on the learning rate, in words."""
    met = _met(part)
    best = int(met.argmin())
    if math.isinf(met[best]):
        return "never"
    ends = [f"{met[k]:.0f} steps" if math.isfinite(met[k]) else "never" for k in (0, best, -1)]
    return f"{ends[0]} at η = {rates[0]:g}, fewest {ends[1]} at {rates[best]:.3g}, {ends[2]} at {rates[-1]:g}"


def _centre(window: Window):
    return ((window[0] + window[1]) / 2, (window[2] + window[3]) / 2)


def _half(window: Window):
    return ((window[1] - window[0]) / 2, (window[3] - window[2]) / 2)


class _Stochastic(_Plane):
    start: Point
    learning_rate: Positive
    batch_size: Count
    steps: Count
    runs: Count


class LimitedCapacity(Study):
    """Figure 4: loss and 0-1 loss when more tokens than dimensions must share W; forgetting by SGD."""

    title: ClassVar[str] = "GD Figure 4"
    panels: Annotated[tuple[_Plane, ...], Field(min_length=1, max_length=6)]
    sgd: _Stochastic
    resolution: Resolution = 100

    def run(self):
        import jax
        import jax.numpy as jnp
        import jax.random as jr
        import numpy as np
        import optax
        import xarray as xr

        import assocmem_jax as am

        places = (*self.panels, self.sgd)
        names = ("loss", "error", "x", "y", "minimiser", "at_minimiser", "least", "separable")
        rows: dict[str, list] = {name: [] for name in names}
        for panel in places:
            task = panel.task()
            x, y = panel.grid(self.resolution)
            rows["loss"].append(_on_plane(task, am.loss, x, y))
            rows["error"].append(_on_plane(task, am.error, x, y))
            rows["x"].append(x)
            rows["y"].append(y)
            lowest = _minimiser(task)
            # Separable: L has no minimum, and its infimum is approached where no token errs.
            rows["minimiser"].append(np.full(2, np.nan) if lowest is None else am.plane(task, lowest))
            rows["at_minimiser"].append(0.0 if lowest is None else am.error(task, lowest))
            rows["separable"].append(int(lowest is None))
            rows["least"].append(am.least_error(task))
        task = self.sgd.task()
        start = am.LinearMemory.from_plane(task, jnp.array(self.sgd.start))
        descent = am.Descent(optax.sgd(self.sgd.learning_rate), self.sgd.steps, self.sgd.batch_size)
        watch = {"loss": am.loss, "error": am.error, "plane": am.plane}
        keys = jax.vmap(lambda i: jr.fold_in(jr.key(self.seed), i))(jnp.arange(self.sgd.runs))
        runs = jax.jit(jax.vmap(lambda key: am.simulate(task, start, descent, observe=watch, key=key)))(keys)
        at = ("panel", "gamma2", "gamma1")
        data = {name: np.array([np.asarray(v) for v in value]) for name, value in rows.items()}
        return xr.Dataset(
            {
                "loss": (at, data["loss"], {"units": "nats"}),
                "error": (at, data["error"]),
                "x": (("panel", "gamma1"), data["x"]),
                "y": (("panel", "gamma2"), data["y"]),
                "minimiser": (("panel", "gamma"), data["minimiser"]),
                "error_at_minimiser": ("panel", data["at_minimiser"]),
                "least_error": ("panel", data["least"]),
                "excess": ("panel", data["at_minimiser"] - data["least"]),
                "separable": ("panel", data["separable"]),
                "sgd_loss": (("run", "step"), np.asarray(runs.observed["loss"]), {"units": "nats"}),
                "sgd_error": (("run", "step"), np.asarray(runs.observed["error"])),
                "sgd_path": (("step", "gamma"), np.asarray(runs.observed["plane"][0])),
            },
            attrs={"panels": [panel.name for panel in places]},
        )

    def report(self, data):
        import numpy as np

        lines = [
            f"{panel.name}: N = {len(panel.inputs)}, "
            f"{'separable' if data.separable[k] else 'inseparable'}, error at the minimiser of L "
            f"{float(data.error_at_minimiser[k]):.4f}, least error {float(data.least_error[k]):.4f}, "
            f"excess {float(data.excess[k]):.4f}"
            for k, panel in enumerate(self.panels)
        ]
        loss, error = data.sgd_loss.values.mean(axis=0), data.sgd_error.values.mean(axis=0)
        low = int(error.argmin())
        spread = data.sgd_error.values[:, -1].std(ddof=1) / np.sqrt(self.sgd.runs) if self.sgd.runs > 1 else 0
        lines.append(
            f"SGD, mean of {self.sgd.runs}: L {loss[0]:.4f} → {loss[low]:.4f} (t = {low}) → {loss[-1]:.4f}; "
            f"error {error[0]:.4f} → {error[low]:.4f} (t = {low}, its least) → {error[-1]:.4f} ± {spread:.4f}"
        )
        return lines

    def figure(self, data):
        from .. import plot

        count = len(self.panels)
        figure, axes = plot.panels(2, max(count, 3), 3.6)
        image: Any = None
        for k, panel in enumerate((*self.panels, self.sgd)):
            last = k == count
            ax, part = (axes[1, 0] if last else axes[0, k]), data.isel(panel=k)
            image = plot.landscape(ax, part.x, part.y, part.loss, part.error)
            if last:
                path = data.sgd_path
                plot.line(ax, path[:, 0], path[:, 1], colour=1, linestyle="-", linewidth=0.7, label="SGD")
                ax.legend(loc="lower right", frameon=True, framealpha=0.8)
            inside = abs(part.minimiser.values - _centre(panel.window)) <= _half(panel.window)
            if not part.separable and inside.all():
                star = dict(color=plot.COLOURS[4], markersize=8, markeredgecolor="black", markeredgewidth=0.4)
                ax.plot(*part.minimiser.values, "*", **star)
            ax.set_title(
                f"{panel.name}: N = {len(panel.inputs)}, $\\mathcal{{E}}$ = {float(part.excess):.2f}"
            )
            ax.set_xlabel("γ₁")
            ax.set_ylabel("γ₂" if k in (0, count) else "")
        for column, name, label in ((1, "sgd_loss", "loss L (nats)"), (2, "sgd_error", "0-1 loss L₀₁")):
            ax, values = axes[1, column], data[name].values
            mean, sem = values.mean(axis=0), values.std(axis=0) / max(self.sgd.runs, 1) ** 0.5
            plot.line(ax, data.step, mean, colour=0, label=f"mean of {self.sgd.runs} runs")
            ax.fill_between(data.step, mean - 2 * sem, mean + 2 * sem, alpha=0.3, color=plot.COLOURS[0],
                            linewidth=0, label="± 2 standard errors")  # fmt: skip
            ax.set_xlabel("step t")
            ax.set_title(f"SGD: {label}")
        handles = axes[1, 1].get_legend_handles_labels()
        for spare in axes[1, 3:]:
            spare.set_axis_off()
        (axes[1, 3] if count > 3 else axes[1, 1]).legend(*handles, loc="center left" if count > 3 else "best")
        figure.colorbar(image, ax=axes[0], label="L₀₁", pad=0.01)
        return figure


class _Started(_Plane):
    start: Point


class SharpnessProfile(Study):
    """Figure 5: the sharpness over the plane and along descent, separable and not."""

    title: ClassVar[str] = "GD Figure 5"
    panels: Annotated[tuple[_Started, ...], Field(min_length=1, max_length=4)]
    learning_rates: Rates
    steps: Count = 35
    horizon: Count = 5000
    resolution: Resolution = 100

    @model_validator(mode="after")
    def _consistent(self):
        if self.horizon < self.steps + 2:
            raise ValueError(f"horizon must be at least steps + 2 = {self.steps + 2}, got {self.horizon}")
        return self

    def run(self):
        import jax
        import jax.numpy as jnp
        import numpy as np
        import optax
        import xarray as xr

        import assocmem_jax as am

        names = (
            "curvature",
            "x",
            "y",
            "plane",
            "loss",
            "sharpness",
            "final_losses",
            "minimal_sharpness",
            "separable",
        )
        rows: dict[str, list] = {name: [] for name in names}
        watch = {"loss": am.loss, "sharpness": am.sharpness, "plane": am.plane}
        for panel in self.panels:
            task = panel.task()
            x, y = panel.grid(self.resolution)
            start = am.LinearMemory.from_plane(task, jnp.array(panel.start))

            def train(rate, task=task, start=start):
                descent = am.Descent(optax.sgd, self.horizon, learning_rate=rate)
                return am.simulate(task, start, descent, observe=watch).observed

            seen = jax.jit(jax.vmap(train))(jnp.array(self.learning_rates))
            lowest = _minimiser(task)
            entries = {
                "curvature": _on_plane(task, am.sharpness, x, y), "x": x, "y": y,
                **{name: seen[name][:, : self.steps + 1] for name in watch},
                "final_losses": seen["loss"][:, -2:],
                "minimal_sharpness": np.nan if lowest is None else am.sharpness(task, lowest),
                "separable": int(lowest is None),
            }  # fmt: skip
            for name, value in entries.items():
                rows[name].append(np.asarray(value))
        data = {name: np.array(value) for name, value in rows.items()}
        lane = ("panel", "rate", "step")
        return xr.Dataset(
            {
                "curvature": (("panel", "gamma2", "gamma1"), data["curvature"]),
                "x": (("panel", "gamma1"), data["x"]),
                "y": (("panel", "gamma2"), data["y"]),
                "plane": ((*lane, "gamma"), data["plane"]),
                "loss": (lane, data["loss"], {"units": "nats"}),
                "sharpness": (lane, data["sharpness"]),
                "final_losses": (("panel", "rate", "parity"), data["final_losses"], {"units": "nats"}),
                "minimal_sharpness": ("panel", data["minimal_sharpness"]),
                "separable": ("panel", data["separable"]),
            },
            {"rate": list(self.learning_rates), "step": np.arange(self.steps + 1)},
        )

    def report(self, data):
        lines = []
        for k, panel in enumerate(self.panels):
            part = data.isel(panel=k)
            if part.separable:
                lines.append(f"{panel.name}: separable, no minimum")
            else:
                h = float(part.minimal_sharpness)
                lines.append(f"{panel.name}: sharpness at the minimum H* = {h:.6f}, 2/H* = {2 / h:.4f}")
            for j, rate in enumerate(self.learning_rates):
                last, (a, b) = part.isel(rate=j), part.final_losses.values[j]
                end = f"cycles between {min(a, b):.6f} and {max(a, b):.6f}"
                end = end if abs(a - b) > 1e-3 * b else f"= {b:.6g}"
                lines.append(
                    f"{panel.name}, η = {rate:g}: sharpness {float(last.sharpness[0]):.4g}, highest "
                    f"{float(last.sharpness.max()):.4g}, at t = {self.steps} "
                    f"{float(last.sharpness[-1]):.4g}; by t = {self.horizon} L {end}"
                )
        return lines

    def figure(self, data):
        from .. import plot

        count = len(self.panels)
        figure, axes = plot.panels(count, 3, 2.0 * count)
        for k, panel in enumerate(self.panels):
            part, (ax, trace, loss) = data.isel(panel=k), axes[k]
            plot.mesh(ax, part.x, part.y, part.curvature, "sharpness λ", cmap="cividis")
            ax.contour(part.x, part.y, part.curvature, levels=10, colors="white", linewidths=0.3)
            for j, rate in enumerate(self.learning_rates):
                path = part.plane.values[j]
                plot.line(ax, path[:, 0], path[:, 1], colour=j, marker="o", markersize=1.5, linewidth=0.7)
                label = f"η = {rate:g}"
                plot.line(trace, data.step, part.sharpness[j], colour=j, label=label)
                plot.line(loss, data.step, part.loss[j], colour=j, label=label)
                trace.axhline(2 / rate, color=plot.COLOURS[j], linewidth=0.5, linestyle=":")
                trace.annotate(f"2/{rate:g}", (data.step.values[-1], 2 / rate), color=plot.COLOURS[j],
                               fontsize=6, ha="right", va="bottom", annotation_clip=True)  # fmt: skip
            top = float(part.sharpness.max())
            trace.set_ylim(0, 1.15 * max(top, min(2 / max(self.learning_rates), 2 * top)))
            ax.set_xlim(*panel.window[:2])
            ax.set_ylim(*panel.window[2:])
            ax.set_title(f"{panel.name}: N = {len(panel.inputs)}")
            ax.set_xlabel("γ₁")
            ax.set_ylabel("γ₂")
            trace.set_title("sharpness λ(W$_t$)")
            loss.set_title("loss L(W$_t$) (nats)")
            if part.loss.max() > 30 * part.loss.min():
                loss.set_yscale("log")
            for each in (trace, loss):
                each.set_xlabel("step t")
            loss.legend()
        return figure


class _Wide(Section):
    inputs: Rows
    outputs: Rows

    @model_validator(mode="after")
    def _consistent(self):
        _check_rows("inputs", self.inputs)
        _check_rows("outputs", self.outputs)
        if len(self.inputs) != len(self.outputs):
            raise ValueError(
                f"outputs must have one row for each of the {len(self.inputs)} inputs (f* is the identity), "
                f"got {len(self.outputs)}"
            )
        return self


class LargeMemory(Study):
    """Figure 6: margins of N tokens with f* = id, p ∝ 1/x, for several dimensions and rates."""

    title: ClassVar[str] = "GD Figure 6"
    panels: Annotated[tuple[_Wide, ...], Field(min_length=1, max_length=4)]
    learning_rates: Rates
    zipf_exponent: Real = 1.0
    steps: Count = 100
    shown: Count = 30
    horizon: Count = 1000

    @model_validator(mode="after")
    def _consistent(self):
        if not self.shown <= self.steps <= self.horizon:
            raise ValueError(
                f"shown ≤ steps ≤ horizon must hold, got {self.shown}, {self.steps}, {self.horizon}"
            )
        if len({len(panel.inputs) for panel in self.panels}) > 1:
            raise ValueError("panels must all have the same number of tokens")
        return self

    def run(self):
        import jax
        import jax.numpy as jnp
        import numpy as np
        import optax
        import xarray as xr

        import assocmem_jax as am

        margins, losses, first, stable = [], [], [], []
        for panel in self.panels:
            n = len(panel.inputs)
            law = am.laws.zipf(n, self.zipf_exponent)
            task = am.AssociationTask(law, jnp.arange(n), jnp.array(panel.inputs), jnp.array(panel.outputs))

            def train(rate, task=task):
                descent = am.Descent(optax.sgd, self.horizon, learning_rate=rate)
                watch = {"loss": am.loss, "margins": am.margins}
                return am.simulate(
                    task, am.LinearMemory.zeros(task), descent, observe=watch, until=am.perfect_accuracy(None)
                )

            runs = jax.jit(jax.vmap(train))(jnp.array(self.learning_rates))
            margins.append(np.asarray(runs.observed["margins"])[:, : self.steps + 1])
            losses.append(np.asarray(runs.observed["loss"])[:, : self.steps + 1])
            first.append(np.asarray(runs.first_step))
            stable.append(np.asarray(runs.stable_step))
        lane = ("dimension", "rate", "step")
        return xr.Dataset(
            {
                "margins": ((*lane, "token"), np.array(margins)),
                "loss": (lane, np.array(losses), {"units": "nats"}),
                "first_step": (("dimension", "rate"), np.array(first)),
                "stable_step": (("dimension", "rate"), np.array(stable)),
            },
            {
                "dimension": [len(panel.inputs[0]) for panel in self.panels],
                "rate": list(self.learning_rates),
                "step": np.arange(self.steps + 1),
            },
        )

    def report(self, data):
        lines = []
        for k, d in enumerate(data.dimension.values):
            for j, rate in enumerate(self.learning_rates):
                part = data.isel(dimension=k, rate=j)
                loss = part.loss.values[: self.shown + 1]
                negative = [int(x) + 1 for x in (part.margins.values[self.shown] <= 0).nonzero()[0]]
                lines.append(
                    f"d = {d}, η = {rate:g}: all margins > 0 {_hits(part, self.horizon)}; "
                    f"{int((loss[1:] > loss[:-1]).sum())} rises of L in {self.shown} steps; tokens "
                    f"with m ≤ 0 at t = {self.shown}: {negative or 'none'}"
                )
        return lines

    def figure(self, data):
        from .. import plot

        rows, columns = len(self.panels), len(self.learning_rates)
        figure, axes = plot.panels(rows, columns, 1.5 * rows, sharex=True)
        steps = data.step.values[: self.shown + 1]
        for k, d in enumerate(data.dimension.values):
            for j, rate in enumerate(self.learning_rates):
                ax = axes[k, j]
                ax.axhline(0, color="black", linewidth=0.4)
                for x in range(data.sizes["token"]):
                    values = data.margins[k, j, : self.shown + 1, x]
                    plot.line(ax, steps, values, colour=x, label=f"x = {x + 1}")
                ax.set_title(f"d = {d}, η = {rate:g}")
                if j == 0:
                    ax.set_ylabel("margin m$_t$(x)")
                if k == rows - 1:
                    ax.set_xlabel("step t")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, ncols=len(labels), loc="outside upper center")
        return figure
