"""Slides p. 31–34: the error of a memory of finite size on a Zipf law; optimizers as memory schemes."""

import functools
import itertools
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field, model_validator

from ..config import Count, Positive, Section, Study
from .capacity import Seeds, Size, interval

Exponent = Annotated[float, Field(gt=0)]


class _Scheme(Section):
    """q: counts (p without samples), tokens seen, or the most frequent d/room of them."""

    name: Literal["frequency", "equal", "top"]
    room: Positive = 8.0

    def of(self, counts, d: int):
        """q, from counts or p."""
        from ..tasks import schemes

        if self.name == "frequency":
            return counts
        if self.name == "equal":
            return (counts > 0).astype(counts.dtype)
        return schemes.top(counts, max(1, int(d / self.room)))

    def label(self, sampled: bool) -> str:
        return {
            "frequency": "q = counts" if sampled else "q = p",
            "equal": "q = 1{seen}" if sampled else "q = 1",
            "top": f"top d/{self.room:g}" + (" of the seen" if sampled else ""),
        }[self.name]


class ErrorLaw(Study):
    """Error of written memories over d, over the number of samples, or over both; n = 0 is the population."""

    title: ClassVar[str] = "Slides p. 31–33: scaling laws of the error"
    tokens: Size = 1000
    classes: Size = 5  # f(z) = z mod M
    zipf_exponent: Exponent = 2.0
    sphere_outputs: bool = True
    schemes: Annotated[tuple[_Scheme, ...], Field(min_length=1)]
    dimensions: Annotated[tuple[Size, ...], Field(min_length=1)]
    samples: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    trials: Seeds = 20
    together: Count = 1
    fit_from: Count = 1  # slopes are fitted over d (or n) from here on

    def run(self):
        import jax
        import jax.numpy as jnp
        import numpy as np
        import xarray as xr

        import assocmem_jax as am

        p = am.laws.zipf(self.tokens, self.zipf_exponent)
        labels = jnp.arange(1, self.tokens + 1) % self.classes
        draw = am.embeddings.sphere if self.sphere_outputs else am.embeddings.gaussian

        def trial(key, d):
            keys = jax.random.split(key, 3)
            inputs = am.embeddings.gaussian(keys[0], self.tokens, d)
            task = am.AssociationTask(p, labels, inputs, draw(keys[1], self.classes, d))

            def errors(k, n):
                key, most = jax.random.fold_in(keys[2], k), max(1, *self.samples)
                counts = jnp.where(n > 0, am.schemes.counts(task, key, n, most), p)
                q = [scheme.of(counts, d) for scheme in self.schemes]
                return jnp.stack([am.error(task, am.LinearMemory.outer_product(task, each)) for each in q])

            return jax.lax.map(
                lambda kn: errors(*kn), (jnp.arange(len(self.samples)), jnp.array(self.samples))
            )

        keys = jax.random.split(jax.random.key(self.seed), self.trials)
        found = []
        for d in self.dimensions:
            one = lambda key, d=d: trial(key, d)  # noqa: E731
            many = jax.jit(lambda keys, one=one: jax.lax.map(one, keys, batch_size=self.together))
            found.append(np.asarray(many(keys)))
        error = np.stack(found).transpose(3, 0, 2, 1)  # scheme, d, n, trial
        data: dict[str, Any] = {"error": (("scheme", "dimension", "samples", "trial"), error)}
        if 0 in self.samples:
            data["competitors"] = (("scheme", "dimension"), self.competitors(p, labels))
        data["hutter"] = (
            "samples",
            [float(am.theory.scaling.hutter(p, n)) if n else 0.0 for n in self.samples],
        )
        coords = {"dimension": list(self.dimensions), "samples": list(self.samples)}
        return xr.Dataset(data, coords=coords)

    def competitors(self, p, labels):
        """Population error with independent Gaussian competitors, over d."""
        import jax
        import jax.numpy as jnp
        import numpy as np

        import assocmem_jax as am

        occurs = jax.nn.one_hot(labels, self.classes, dtype=p.dtype)

        @jax.jit
        def error(q, d):
            recall = am.theory.outer_product.recall(q, occurs, d, outputs=not self.sphere_outputs)
            return jnp.dot(p, 1 - recall)

        rows = [[error(scheme.of(p, d), float(d)) for d in self.dimensions] for scheme in self.schemes]
        return np.array(rows, float)

    def exponents(self, scheme: _Scheme) -> tuple[float, str]:
        """(asymptotic exponent in d, its name), Slides p. 33."""
        from ..theory import scaling

        if scheme.name == "top":
            return -float(scaling.threshold_exponent(self.zipf_exponent)), "−(α−1)"
        return -float(scaling.frequency_exponent(self.zipf_exponent)), "−(α−1)/2α"

    def along(self, data):
        """The axis that the error is a curve over, or None for a map."""
        if len(self.dimensions) > 5 and len(self.samples) > 5:
            return None
        return "dimension" if len(self.dimensions) >= len(self.samples) else "samples"

    def curves(self, data):
        """(scheme, the other coordinate, x, mean, half-width, fit or None) of every curve."""
        import numpy as np

        from ..sweeps import power_law

        axis = self.along(data)
        other = "samples" if axis == "dimension" else "dimension"
        for k, scheme in enumerate(self.schemes):
            for j, value in enumerate(data[other].values):
                part = data.error.isel(scheme=k, **{other: j})
                x = data[axis].values.astype(float)
                mean, half = interval(part.values)
                kept = (x >= self.fit_from) & (mean > 0) & (half > 0)
                fit = power_law(x[kept], mean[kept], half[kept] / 1.96) if np.sum(kept) >= 3 else None
                yield scheme, value, x, mean, half, fit

    def report(self, data):
        axis = self.along(data)
        if axis is None:
            return self.map_lines(data)
        lines = [self.curve_line(data, axis, *curve) for curve in self.curves(data)]
        return lines + self.hutter_lines(data, axis)

    def map_lines(self, data):
        lines, mean = [], data.error.mean("trial")
        for k, scheme in enumerate(self.schemes):
            part = mean.isel(scheme=k)
            last = part.isel(samples=-1).values[:: max(1, len(self.dimensions) // 5)]
            lines.append(
                f"{scheme.label(True)}: error {float(part[0, 0]):.3f} at the smallest d and n, "
                f"{float(part[-1, -1]):.4f} at the largest; over d at n = {self.samples[-1]}: "
                + ", ".join(f"{v:.4f}" for v in last)
            )
        return lines

    def curve_line(self, data, axis, scheme, value, x, mean, half, fit):
        population = axis == "dimension" and not value
        where = "n = ∞" if population else f"{'n' if axis == 'dimension' else 'd'} = {value}"
        shown = [*range(0, len(x) - 1, max(1, len(x) // 6)), len(x) - 1]
        line = f"{scheme.label(not population)}, {where}: " + ", ".join(
            f"{mean[i]:.4g} ± {half[i]:.1g} at {x[i]:g}" for i in shown
        )
        if fit:
            line += f"; slope {fit} from {self.fit_from} (last half {fit.local:.2f}, curvature t = "
            line += f"{fit.curvature:.1f})"
        if population:
            kept = mean > 1e-6
            ratio = data.competitors.isel(scheme=self.schemes.index(scheme)).values[kept] / mean[kept]
            line += f"; Gaussian competitors over simulation {ratio.min():.2f} to {ratio.max():.2f}"
        return line

    def hutter_lines(self, data, axis):
        from ..theory import scaling

        if axis != "samples":
            return []
        values = ", ".join(f"{h:.4g} at {n}" for n, h in zip(self.samples, data.hutter.values))
        exponent = float(scaling.sample_exponent(self.zipf_exponent))
        return [f"Hutter, infinite memory: {values}; limit slope −{exponent:g}"]

    def figure(self, data):
        from .. import plot

        axis = self.along(data)
        if axis is None:
            return self.maps(data)
        figure, ((ax,),) = plot.panels(1, 1, 3.4, plot.COLUMN)
        for k, (scheme, value, x, mean, half, fit) in enumerate(self.curves(data)):
            population = axis == "dimension" and not value
            name = scheme.label(not population)
            if axis == "samples" and len(self.dimensions) > 1:
                name += f", d = {value}"
            kept = mean > 0
            if fit:
                name += f": {fit}" if abs(fit.curvature) < 3 else f": bent, {fit.local:.2f} at the end"
            plot.band(ax, x[kept], mean[kept], half[kept], colour=k, label=name)
            if population:
                ideal = data.competitors.isel(scheme=self.schemes.index(scheme))
                ax.plot(x, ideal, color=plot.COLOURS[k % 7], linestyle=":", linewidth=0.8)
        if axis == "samples":
            plot.line(ax, data.samples, data.hutter, colour=6, label="Hutter: infinite memory")
        elif "competitors" in data:
            ax.plot([], [], color="black", linestyle=":", linewidth=0.8, label="Gaussian competitors")
        names = {"dimension": "dimension d", "samples": "samples n"}
        ax.set(xscale="log", yscale="log", xlabel=names[axis], ylabel="error")
        if axis == "dimension":
            ax.set_title("\n".join(self.verdicts(data)), fontsize=6)
        figure.legend(fontsize=6, loc="outside lower center")
        return figure

    def verdicts(self, data):
        """The asymptotic exponents, and whether the slopes are those within their intervals, and straight."""
        lines = []
        for scheme, value, *_, fit in self.curves(data):
            if fit is None or value or scheme.name == "equal":
                continue
            exponent, name = self.exponents(scheme)
            low, high = fit.interval
            seen = low <= exponent <= high and abs(fit.curvature) < 3
            word = "as" if seen else "not, here,"
            lines.append(
                f"{scheme.label(False)}: slope {fit.slope:.2f}, {word} the asymptotic {name} = {exponent:g}"
            )
        return lines

    def maps(self, data):
        import numpy as np

        from .. import plot

        figure, axes = plot.panels(1, len(self.schemes), 2.4, plot.PAGE)
        mean = data.error.mean("trial")
        low, image = float(np.log10(max(mean.values.min(), 1e-4))), None
        for k, (ax, scheme) in enumerate(zip(axes[0], self.schemes)):
            values = np.log10(np.maximum(mean.isel(scheme=k).transpose("samples", "dimension").values, 1e-4))
            image = ax.pcolormesh(data.dimension.values, data.samples.values, values, cmap="viridis",
                                  shading="nearest", vmin=low, vmax=0, rasterized=True)  # fmt: skip
            ax.contour(data.dimension.values, data.samples.values, values, levels=6, colors="black",
                       linewidths=0.4, linestyles="-")  # fmt: skip
            ax.set(xscale="log", yscale="log", xlabel="dimension d", title=scheme.label(True))
        axes[0, 0].set_ylabel("samples n")
        figure.colorbar(cast(Any, image), ax=axes, label="log₁₀ error (at least −4)", pad=0.02)
        return figure


class _Case(Section):
    """An optimizer: SGD of a batch and a rate, Adam, sign, normalised; with layer norm or without."""

    label: str
    optimizer: Literal["sgd", "adam", "sign", "normalised"]
    learning_rate: Positive
    batch: Annotated[int, Field(ge=0)]  # 0: the population gradient
    norm: bool = False
    scale_by_dimension: bool = False  # rate/d, as Adam's in the paper


@functools.cache
def transformations():
    """name → a function of the learning rate, made once: programs are shared where they are equal."""
    import optax

    return {
        "sgd": optax.sgd,
        # β = (0, 0): g/(|g| + 1e-8).
        "adam": lambda learning_rate: optax.adam(learning_rate, b1=0.0, b2=0.0),
        "sign": optax.sign_sgd,
        "normalised": lambda learning_rate: optax.chain(
            optax.normalize_by_update_norm(), optax.scale_by_learning_rate(learning_rate)
        ),
    }


class _Grid(Section):
    """Every optimizer, with layer norm and without, at every rate and batch."""

    optimizers: Annotated[tuple[Literal["sgd", "adam"], ...], Field(min_length=1, max_length=2)] = (
        "sgd",
        "adam",
    )
    norms: Annotated[tuple[bool, ...], Field(min_length=1, max_length=2)] = (False, True)
    rates: Annotated[tuple[Positive, ...], Field(min_length=2)]
    batches: Annotated[tuple[Count, ...], Field(min_length=2)]

    def cases(self) -> tuple[_Case, ...]:
        kinds = itertools.product(self.optimizers, self.norms, self.rates, self.batches)
        return tuple(
            _Case(
                label=titled(optimizer, norm), optimizer=optimizer, learning_rate=rate, batch=batch, norm=norm,
                scale_by_dimension=optimizer == "adam",
            )
            for optimizer, norm, rate, batch in kinds
        )  # fmt: skip


def titled(optimizer: str, norm: bool) -> str:
    return {"sgd": "SGD", "adam": "Adam"}[optimizer] + (" + LN" if norm else "")


class Optimizers(Study):
    """Error over d and along training for optimizers; the scheme q that each leaves in W."""

    title: ClassVar[str] = "Slides p. 34: optimizers as memory schemes"
    precision: Literal["float64", "float32"] = "float32"
    tokens: Size = 100
    classes: Size = 5
    zipf_exponent: Exponent = 2.0
    dimensions: Annotated[tuple[Size, ...], Field(min_length=1)]
    samples: Count = 10_240  # seen in all: steps × batch; with batch 0, the number of steps
    cases: Annotated[tuple[_Case, ...], Field(max_length=7)] = ()
    grid: _Grid | None = None
    zero_start: bool = False  # else W₀ ~ N(0, 1/d)
    looks: Annotated[int, Field(ge=2)] = 8
    trials: Seeds = 3
    at: Size | None = None  # d of the curves along training; the largest unless given

    @model_validator(mode="after")
    def _fits(self):
        if bool(self.cases) == (self.grid is not None):
            raise ValueError("must have one of cases and grid")
        for case in self.all():
            if case.batch > self.samples:
                raise ValueError(f"{case.label}: batch {case.batch} is above samples = {self.samples}")
            if case.norm and self.zero_start:
                raise ValueError("layer norm has no value at W = 0: zero_start must be false")
        if self.at is not None and self.at not in self.dimensions:
            raise ValueError(f"at = {self.at} must be one of dimensions")
        return self

    def all(self) -> tuple[_Case, ...]:
        return self.cases if self.grid is None else self.grid.cases()

    def run(self):
        import jax
        import jax.numpy as jnp
        import numpy as np
        import xarray as xr

        import assocmem_jax as am

        labels = jnp.arange(1, self.tokens + 1) % self.classes
        p = am.laws.zipf(self.tokens, self.zipf_exponent)
        keys = jax.random.split(jax.random.key(self.seed), self.trials)
        chosen = self.at or max(self.dimensions)
        final, traces, schemes, shares, statuses = [], [], [], [], []

        @functools.cache
        def program(optimizer, norm, batch, d):
            """(looks, a function of keys and a rate); rates share it."""
            steps = self.samples // batch if batch else self.samples
            looks = np.unique(np.round(np.geomspace(1, steps, self.looks)).astype(int))

            def trial(key, rate):
                draws = jax.random.split(key, 4)
                # One law of embeddings for all optimizers: N(0, 1/d), as W₀.
                task = am.AssociationTask(
                    p, labels, am.embeddings.gaussian(draws[0], self.tokens, d),
                    am.embeddings.gaussian(draws[1], self.classes, d),
                )  # fmt: skip
                start = am.LinearMemory.zeros(task)
                if not self.zero_start:
                    start = am.LinearMemory.gaussian(task, draws[2])
                model = am.NormalizedMemory(start.weight) if norm else start
                descent = am.Descent(transformations()[optimizer], steps, batch or None, learning_rate=rate)
                run = am.simulate(
                    task, model, descent, observe={"error": am.error}, at=looks, key=draws[3], throw=False
                )
                q = am.scheme(task, run.model, start.weight)
                share = am.scheme_share(task, run.model, start.weight)
                return run.observed["error"][1:], q, share, run.status

            return looks, jax.jit(jax.vmap(trial, (0, None)))

        for case in self.all():
            found, looks = {}, np.ones(1, int)
            for d in self.dimensions:
                looks, many = program(case.optimizer, case.norm, case.batch, d)
                rate = case.learning_rate / (d if case.scale_by_dimension else 1)
                found[d] = many(keys, jnp.asarray(rate, p.dtype))
            final.append([np.asarray(found[d][0][:, -1]) for d in self.dimensions])
            spare = self.looks - len(looks)  # few steps: the last look again
            seen = np.concatenate([looks, np.full(spare, looks[-1])]) * (case.batch or 1)
            path = np.asarray(found[chosen][0])
            traces.append((seen, np.concatenate([path, np.repeat(path[:, -1:], spare, 1)], 1)))
            schemes.append(np.asarray(found[chosen][1]))
            shares.append(np.asarray(found[chosen][2]))
            statuses.append([np.asarray(found[d][3]) for d in self.dimensions])
        return xr.Dataset(
            {
                "error": (("case", "dimension", "trial"), np.array(final)),
                "status": (("case", "dimension", "trial"), np.array(statuses)),
                "seen": (("case", "look"), np.stack([seen for seen, _ in traces])),
                "trace": (("case", "trial", "look"), np.stack([path for _, path in traces])),
                "scheme": (("case", "trial", "token"), np.stack(schemes)),
                "share": (("case", "trial"), np.stack(shares)), "probability": ("token", np.asarray(p)),
            },
            coords={"dimension": list(self.dimensions)},
        )  # fmt: skip

    def flatness(self, data, k: int):
        """Slope of log q (its median) against log p where q > 0, and how many: 1 for q = p, 0 for q = 1."""
        import numpy as np

        q, p = np.median(data.scheme.values[k], axis=0), data.probability.values
        kept = q > 0
        if kept.sum() < 3:
            return float("nan"), int(kept.sum())
        # Weighted by p: the tokens that the error is about.
        return float(np.polyfit(np.log(p[kept]), np.log(q[kept]), 1, w=np.sqrt(p[kept]))[0]), int(kept.sum())

    def report(self, data):
        # An ended run repeats its last finite state: its error is that of where it ended.
        ended = int((data.status.values != 0).sum())
        lines = [f"{ended} of {data.status.size} runs ended before their horizon (diverged)"] if ended else []
        if self.grid is not None:
            return self.tuned(data) + lines
        for k, case in enumerate(self.cases):
            mean, half = interval(data.error.values[k])
            rows = ", ".join(f"{m:.4f} ± {h:.4f} at d = {d}" for d, m, h in zip(self.dimensions, mean, half))
            slope, kept = self.flatness(data, k)
            along = dict(zip(data.seen.values[k], data.trace.values[k].mean(0)))
            path = ", ".join(f"{v:.4f} at {t}" for t, v in along.items())
            lines.append(
                f"{case.label}: error {rows}; along training {path}; q ∝ p^{slope:.2f} over {kept} tokens of "
                f"q > 0, which explains {data.share.values[k].mean():.2f} of W − W₀"
            )
        return lines

    def figure(self, data):
        import numpy as np

        from .. import plot

        if self.grid is not None:
            return self.maps(data)
        several = len(self.dimensions) > 1
        figure, axes = plot.panels(1, 2 + several, 2.9)
        a, b, c = axes[0] if several else (None, *axes[0])
        for k, case in enumerate(self.cases):
            if a is not None:
                plot.band(a, self.dimensions, *interval(data.error.values[k]), colour=k, label=case.label)
            look = np.unique(data.seen.values[k], return_index=True)[1]
            plot.band(b, data.seen.values[k][look], *interval(data.trace.values[k][:, look], 0), colour=k,
                      label=None if several else case.label)  # fmt: skip
            q = np.median(data.scheme.values[k], axis=0)
            top = q[0] if q[0] > 0 else q.max()
            c.plot(np.arange(1, len(q) + 1), np.where(q > 0, q / top, np.nan), color=plot.COLOURS[k],
                   linewidth=0.6, marker=plot.MARKERS[k], markersize=2)  # fmt: skip
        p = data.probability.values
        plot.line(
            c, np.arange(1, len(p) + 1), p / p[0], colour=6, linewidth=0.8, linestyle=":", label="q = p"
        )
        if a is not None:
            a.set(
                xscale="log", yscale="log", xlabel="dimension d", ylabel=f"error after {self.samples} samples"
            )
        b.set(xscale="log", yscale="log", ylabel="error",
              xlabel="steps" if all(case.batch == 0 for case in self.cases) else "samples seen")  # fmt: skip
        b.set_title(f"d = {self.at or max(self.dimensions)}")
        c.set(xscale="log", yscale="log", xlabel="token x, by frequency", ylabel="q(x)/q(1)", ylim=(1e-3, 5))
        c.set_xlim(0.9, min(30, self.tokens) * 1.1)
        figure.legend(fontsize=6, loc="outside lower center", ncols=4)
        return figure

    def table(self, data):
        """(label, mean error of shape (rates, batches, dimensions)) for each optimizer of a grid."""
        assert self.grid is not None
        shape = (len(self.grid.rates), len(self.grid.batches), len(self.dimensions))
        mean = data.error.values.mean(-1).reshape(-1, *shape)
        labels = [titled(optimizer, norm) for optimizer in self.grid.optimizers for norm in self.grid.norms]
        return zip(labels, mean)

    def tuned(self, data):
        import numpy as np

        assert self.grid is not None
        lines = []
        for label, mean in self.table(data):
            best = []
            for k, d in enumerate(self.dimensions):
                i, j = np.unravel_index(np.nanargmin(mean[..., k]), mean.shape[:2])
                best.append(
                    f"{mean[i, j, k]:.4f} at d = {d} (η {self.grid.rates[i]:g}, batch {self.grid.batches[j]})"
                )
            lines.append(f"{label}: least error " + ", ".join(best))
        return lines

    def maps(self, data):
        import numpy as np

        from .. import plot

        assert self.grid is not None
        rows = list(self.table(data))
        at = self.dimensions.index(self.at or max(self.dimensions))
        low = float(np.log10(max(min(mean[..., at].min() for _, mean in rows), 1e-4)))
        figure, axes = plot.panels(1, len(rows), 2.4, plot.PAGE, sharey=True)
        image = None
        for ax, (label, mean) in zip(axes[0], rows):
            values = np.log10(np.maximum(mean[..., at].T, 1e-4))
            options: dict[str, Any] = dict(
                cmap="viridis", shading="nearest", vmin=low, vmax=0, rasterized=True
            )
            image = ax.pcolormesh(self.grid.rates, self.grid.batches, values, **options)
            ax.set(
                xscale="log", yscale="log", xlabel="rate η" + (" × d" if "Adam" in label else ""), title=label
            )
        axes[0, 0].set_ylabel("batch")
        figure.colorbar(cast(Any, image), ax=axes, label=f"log₁₀ error, d = {self.dimensions[at]}", pad=0.02)
        return figure
