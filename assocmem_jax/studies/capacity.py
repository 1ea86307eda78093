"""Slides p. 5–9: how many patterns and associations fit, before and after training."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ..config import Count, Positive, Section, Study

Size = Annotated[int, Field(ge=2)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seeds = Annotated[int, Field(ge=2)]


def interval(values, axis: int = -1):
    """(mean, half-width of the 95 % Student interval) over an axis of independent trials."""
    import numpy as np
    from scipy import stats

    values = np.asarray(values, float)
    n = values.shape[axis]
    return values.mean(axis), stats.t.ppf(0.975, n - 1) * values.std(axis, ddof=1) / n**0.5


def table(rows, *names: str):
    """A Dataset of points, one variable a column."""
    import numpy as np
    import xarray as xr

    columns = np.array(rows, float).T
    return xr.Dataset({name: ("point", column) for name, column in zip(names, columns)})


def slope(x, part, least: float):
    """The power law through capacities, weighted by their intervals (at least this share of N)."""
    import numpy as np

    from ..sweeps import power_law

    size = part["size"].values
    return power_law(x, size, np.maximum((part.high - part.low).values / 3.92, least * size))


class Hopfield(Study):
    """Retrieval by a Hebb network over the load N/d: overlap at the end, one-step bit error, energy."""

    title: ClassVar[str] = "Slides p. 5: a Hopfield network over its load"
    precision: Literal["float64", "float32"] = "float32"
    dimensions: Annotated[tuple[Size, ...], Field(min_length=1)] = (250, 500, 1000)
    loads: Annotated[tuple[Positive, ...], Field(min_length=2)]
    flips: Share = 0.1
    steps: Count = 40
    networks: Seeds = 20
    cues: Count = 20
    # States whose energy is followed, bits one at a time, at the least and the largest load.
    paths: Count = 6
    sweeps: Count = 6

    def run(self):
        import jax
        import jax.numpy as jnp
        import numpy as np
        import xarray as xr

        import assocmem_jax as am

        def network(key, n, d, most):
            task = am.RetrievalTask.binary(key, most, d, self.flips).first(n)
            memory = am.HopfieldNetwork.hebb(task, self.steps)
            seen = jnp.arange(min(self.cues, most))
            patterns = task.patterns[seen]
            stored = seen < n
            ends = memory.scores(task, seen)
            once = memory.update(patterns)
            mean = lambda values: jnp.sum(jnp.mean(values, axis=1) * stored) / jnp.sum(stored)  # noqa: E731
            return mean(ends * patterns), mean(once != patterns)

        every = []
        for d in self.dimensions:
            most = max(round(load * d) for load in self.loads)
            keys = jax.random.split(jax.random.key(self.seed), self.networks)
            many = jax.jit(
                lambda n, keys, d=d, most=most: jax.lax.map(
                    lambda key: network(key, n, d, most), keys, batch_size=4
                )
            )
            every.append([many(max(1, round(load * d)), keys) for load in self.loads])
        found = np.array([[[np.asarray(v) for v in row] for row in rows] for rows in every])

        d = min(self.dimensions)

        def path(key, n):
            task = am.RetrievalTask.binary(key, n, d, self.flips)
            memory = am.HopfieldNetwork.hebb(task, self.sweeps, asynchronous=True)
            return jax.vmap(jax.vmap(memory.energy))(memory.path(task.cues[: self.paths])) / d

        ends = [max(self.paths, round(load * d)) for load in (min(self.loads), max(self.loads))]
        walks = [jax.jit(path, static_argnums=1)(jax.random.key(self.seed), n) for n in ends]
        axes = ("dimension", "load", "network")
        coords = {"dimension": list(self.dimensions), "load": list(self.loads)}
        return xr.Dataset(
            {
                "overlap": (axes, found[:, :, 0]), "bit_error": (axes, found[:, :, 1]),
                "energy": (("end", "sweep", "path"), np.stack(walks)),
            },
            coords=coords,
        )  # fmt: skip

    def report(self, data):
        import numpy as np

        from ..theory import hopfield

        lines = []
        for d in data.dimension.values:
            part = data.sel(dimension=d)
            mean, half = interval(part.overlap)
            lines.append(
                f"d = {d}: overlap "
                + ", ".join(f"{m:.3f} ± {h:.3f} at {a:g}" for a, m, h in zip(data["load"].values, mean, half))
            )
            if mean[0] > 0.9 > mean[-1]:
                after = int(np.argmax(mean < 0.9))
                a, b = data["load"].values[[after - 1, after]]
                at = a + (b - a) * (mean[after - 1] - 0.9) / (mean[after - 1] - mean[after])
                lines[-1] += f"; falls through .9 at load {at:.4f}"
            wrong, error = interval(part.bit_error)
            counts = np.maximum(1, np.round(data["load"].values * d))
            exact = np.asarray(hopfield.stored_bit_error(counts, int(d)))
            lines.append(
                f"d = {d}: one-step bit error over ½erfc(1/√(2 load)): "
                + ", ".join(
                    f"{w / e:.3f} ± {h / e:.3f} (exact {x / e:.3f})"
                    for w, h, e, x in zip(
                        wrong, error, np.asarray(hopfield.bit_error(data["load"].values)), exact
                    )
                    if e * d * self.cues * self.networks > 20
                )
            )
        rises = float(np.diff(data.energy.values, axis=1).max())
        lines.append(f"asynchronous energy per bit: largest rise {max(rises, 0):.1e}")
        return lines

    def figure(self, data):
        import numpy as np

        from .. import plot
        from ..theory import hopfield

        figure, ((a, b, c),) = plot.panels(1, 3, 2.4)
        loads = data["load"].values
        for k, d in enumerate(data.dimension.values):
            plot.band(a, loads, *interval(data.overlap.sel(dimension=d)), colour=k, label=f"d = {d}")
            wrong, half = interval(data.bit_error.sel(dimension=d))
            plot.points(b, loads, wrong, half, colour=k, markersize=2.5, label=f"d = {d}")
        a.axvline(0.138, color="black", linewidth=0.6, linestyle=":")
        a.text(0.138, 0.06, " .138", fontsize=7, transform=a.get_xaxis_transform())
        a.set(xlabel="load N/d", ylabel="overlap after retrieval", ylim=(0, 1.05))
        fine = np.geomspace(loads.min(), loads.max(), 200)
        plot.line(b, fine, np.asarray(hopfield.bit_error(fine)), colour=6, label="½ erfc(1/√(2 load))")
        b.set(xlabel="load N/d", ylabel="bits wrong after one step", yscale="log")
        for k, (load, energy) in enumerate(zip((min(self.loads), max(self.loads)), data.energy.values)):
            for i, path in enumerate(energy.T):
                plot.line(c, range(len(path)), path, colour=k, linewidth=0.7, marker=plot.MARKERS[k], markersize=2,
                          label=None if i else f"load {load:g}")  # fmt: skip
        d = int(data.dimension.min())
        c.set(xlabel="flips tried / d", ylabel="energy per bit")
        for ax, title in zip((a, b, c), (f"{self.flips:.0%} of the bits flipped", "from a stored pattern",
                                         f"one bit at a time, d = {d}")):  # fmt: skip
            ax.set_title(title)
            ax.legend(loc="best")
        return figure


class _Curve(Section):
    """An energy and the sizes it is tried at; ``degree`` 0 is the exponential."""

    degree: Annotated[int, Field(ge=0)]
    dimensions: Annotated[tuple[Size, ...], Field(min_length=3)]
    largest: tuple[Size, ...] = ()

    @model_validator(mode="after")
    def _sizes(self):
        if self.degree == 1:
            raise ValueError("degree = 1 stores nothing: 2 or more, or 0 for the exponential")
        if (self.degree == 0 or self.largest) and len(self.largest) != len(self.dimensions):
            raise ValueError("largest must have one number for each of dimensions (the exponential needs it)")
        return self


class Dense(Study):
    """Patterns that a dense energy keeps, 90 % of them without a wrong bit, over d."""

    title: ClassVar[str] = "Slides p. 5: capacity of dense memories"
    parallel: ClassVar[bool] = True
    precision: Literal["float64", "float32"] = "float32"
    curves: Annotated[tuple[_Curve, ...], Field(min_length=1)]
    target: Annotated[float, Field(gt=0, lt=1)] = 0.9
    seeds: Seeds = 20
    together: Count = 4

    def run(self):
        import jax

        import assocmem_jax as am

        rows = []
        for curve in self.curves:
            for k, d in enumerate(curve.dimensions):
                most = curve.largest[k] if curve.largest else int(1.5 * self.predicted(curve.degree, d)) + 12

                def make(key, n, d=d):
                    return am.RetrievalTask.binary(key, n, d)

                def store(task, key, degree=curve.degree):
                    if degree == 0:
                        return am.DenseMemory.exponential(task)
                    return am.DenseMemory.polynomial(task, degree)

                found = am.capacity(
                    make, store, self.target, largest=most, seeds=self.seeds, together=self.together,
                    devices=shared(self.seeds), key=jax.random.key(self.seed),
                )  # fmt: skip
                rows.append((curve.degree, d, found.size, *found.interval, found.status != "ok"))
        return table(rows, "degree", "dimension", "size", "low", "high", "censored")

    def predicted(self, degree: int, d: int) -> float:
        """N at which Gaussian crosstalk leaves ``target`` of the patterns whole."""
        import numpy as np

        from ..theory import hopfield

        n = np.geomspace(2, 1e6, 4000)
        wrong = hopfield.crosstalk_bit_error(n, d, lambda z: z**degree)
        return float(n[np.argmax(np.asarray(hopfield.stable(wrong, d)) < self.target)])

    def fits(self, data):
        """degree → (points, the fit: a power law, or e^{ad} for the exponential)."""
        import numpy as np

        found = {}
        for degree in dict.fromkeys(data.degree.values):
            part = data.isel(point=np.flatnonzero((data.degree.values == degree) & (data.censored == 0)))
            x = part.dimension.values if degree else np.exp(part.dimension.values)
            found[int(degree)] = part, slope(x, part, 1e-3)
        return found

    def report(self, data):
        import numpy as np

        lines = []
        for degree, (part, fit) in self.fits(data).items():
            sizes = ", ".join(
                f"{n:.4g} [{a:.3g}, {b:.3g}] at {d:.0f}"
                for d, n, a, b in zip(*(part[v].values for v in ("dimension", "size", "low", "high")))
            )
            if degree == 0:
                lines.append(
                    f"exponential: {sizes}; N ∝ e^(a d), a = {fit}, curvature t = {fit.curvature:.1f}"
                )
                continue
            ideal = np.array([self.predicted(degree, int(d)) for d in part.dimension.values])
            ratio = part["size"].values / ideal
            lines.append(
                f"k = {degree}: {sizes}; slope {fit} (last half {fit.local:.2f}; in theory {degree - 1} less "
                f"logarithms), curvature t = {fit.curvature:.1f}; over Gaussian crosstalk {ratio.min():.2f} "
                f"to {ratio.max():.2f}"
            )
        return lines

    def figure(self, data):
        import numpy as np

        from .. import plot

        fits = self.fits(data)
        both = 0 in fits and len(fits) > 1
        figure, axes = plot.panels(1, 1 + both, 2.6, plot.PAGE if both else plot.COLUMN)
        for k, (degree, (part, fit)) in enumerate(fits.items()):
            ax = axes[0, -1] if degree == 0 else axes[0, 0]
            d = part.dimension.values
            spread = np.abs(np.stack([part["size"] - part.low, part.high - part["size"]]))
            plot.points(ax, d, part["size"], spread, colour=k)
            fine = np.geomspace(d.min(), d.max(), 50)
            words = f"k = {degree}: slope {fit}" if degree else f"∝ exp(a d), a = {fit}"
            plot.line(ax, fine, fit(fine if degree else np.exp(fine)), colour=k, label=words)
            if degree:
                ideal = [self.predicted(degree, int(v)) for v in d]
                ax.plot(d, ideal, color="black", linewidth=0.6, linestyle=":")
        if any(fits):
            axes[0, 0].plot([], [], color="black", linewidth=0.6, linestyle=":", label="Gaussian crosstalk")
            axes[0, 0].set(xscale="log", yscale="log", title="E = −Σ (ξ·x)ᵏ")
        if 0 in fits:
            axes[0, -1].set(yscale="log", title="E = −Σ exp(ξ·x)")
        for ax in axes.flat:
            ax.set(xlabel="dimension d", ylabel=f"N: {self.target:.0%} of patterns stable")
            ax.legend(fontsize=6, loc="upper left" if ax is axes[0, -1] and 0 in fits else "upper right")
        return figure


class Retrieval(Study):
    """One step of attention from noisy cues, over β: error and energy."""

    title: ClassVar[str] = "Slides p. 5: attention retrieves"
    dimension: Size = 64
    patterns: Size = 1000
    noise: Annotated[float, Field(ge=0)] = 0.05
    betas: Annotated[tuple[Positive, ...], Field(min_length=2)]
    steps: Count = 5
    trials: Seeds = 20

    def run(self):
        import jax
        import jax.numpy as jnp
        import numpy as np
        import xarray as xr

        import assocmem_jax as am

        def trial(key, beta):
            task = am.RetrievalTask.spherical(key, self.patterns, self.dimension, self.noise)
            memory = am.AttentionMemory.store(task, beta, self.steps)
            path = memory.path(task.cues)
            energy = jax.lax.map(jax.vmap(memory.energy), path)
            X = task.patterns
            attention = jax.nn.softmax(beta * task.cues @ X.T) @ X
            return {
                "error": jnp.mean(jnp.linalg.norm(path - X, axis=2), axis=1),
                "rise": jnp.max(jnp.diff(energy, axis=0)),
                "identity": jnp.max(jnp.abs(attention - path[1])),
            }

        keys = jax.random.split(jax.random.key(self.seed), self.trials)
        many = jax.jit(lambda beta: jax.lax.map(lambda key: trial(key, beta), keys))
        found = [many(jnp.asarray(beta)) for beta in self.betas]
        axes = {"error": ("beta", "trial", "step"), "rise": ("beta", "trial"), "identity": ("beta", "trial")}
        return xr.Dataset(
            {name: (dims, np.stack([np.asarray(row[name]) for row in found])) for name, dims in axes.items()},
            coords={"beta": list(self.betas)},
        )

    def report(self, data):
        mean, half = interval(data.error.isel(step=1))
        rows = ", ".join(f"{m:.4f} ± {h:.4f} at {b:g}" for b, m, h in zip(data.beta.values, mean, half))
        return [
            f"distance to the pattern after one step: {rows}",
            f"distance of the cue {float(data.error.isel(step=0).mean()):.3f}",
            f"largest rise of the energy {max(float(data.rise.max()), 0):.1e}; attention against the energy "
            f"step: at most {float(data.identity.max()):.1e} apart",
        ]

    def figure(self, data):
        from .. import plot

        figure, ((ax,),) = plot.panels(1, 1, 2.5, plot.COLUMN)
        for k, step in enumerate(sorted({0, 1, self.steps})):
            name = "the cue" if step == 0 else f"after {step} step" + "s" * (step > 1)
            plot.band(ax, data.beta.values, *interval(data.error.isel(step=step)), colour=k, label=name)
        ax.set(xscale="log", yscale="log", xlabel="inverse temperature β", ylabel="distance to the pattern")
        ax.set_ylim(1e-9, 3)
        ax.set_title(f"d = {self.dimension}, N = {self.patterns}, σ = {self.noise:g}")
        ax.legend()
        return figure


class _Family(Section):
    """One curve: a memory, and the (d, m) at which its capacity is looked for."""

    label: str
    panel: str
    memory: Literal["written", "low rank", "kernel", "linear", "mlp"]
    classes: Annotated[int, Field(ge=0)] = 0  # 0: every token its own answer
    random: bool = False  # answers drawn, not x mod M
    pairs: bool = False  # inputs e_i + ẽ_j
    sphere: bool = False  # else Gaussian embeddings
    dimensions: Annotated[tuple[Size, ...], Field(min_length=1)]
    widths: tuple[Count, ...] = ()  # m, one for each of dimensions; the rank, or neurons
    largest: Annotated[tuple[Size, ...], Field(min_length=1)]
    smallest: Count = 2  # where the search begins: a narrow ReLU layer can fail on fewer
    degree: Annotated[int, Field(ge=1)] = 2  # of the Hermite activation of a kernel
    learning_rate: Positive = 0.03
    steps: Count = 1024
    seeds: Seeds = 20
    together: Count = 1

    @model_validator(mode="after")
    def _aligned(self):
        n = len(self.dimensions)
        if len(self.largest) != n:
            raise ValueError(f"must have as many largest ({len(self.largest)}) as dimensions ({n})")
        if (self.widths or self.memory in ("low rank", "kernel", "mlp")) and len(self.widths) != n:
            raise ValueError(f"{self.memory} needs widths, one for each of dimensions ({n})")
        return self

    def make_task(self, d: int):
        import jax
        import jax.numpy as jnp

        import assocmem_jax as am

        draw = am.embeddings.sphere if self.sphere else am.embeddings.gaussian

        def make(key, n):
            keys = jax.random.split(key, 4)
            m = self.classes or n
            if self.pairs:
                # Pairs in the order of max(i, j): the first N are all pairs of about √N with √N.
                side = int(-(-(n**0.5) // 1))
                every = am.embeddings.pairs(draw(keys[0], side, d), draw(keys[2], side, d))
                i, j = jnp.divmod(jnp.arange(side * side), side)
                inputs = every[jnp.argsort(jnp.maximum(i, j), stable=True)[:n]]
            else:
                inputs = draw(keys[0], n, d)
            labels = jnp.arange(n) % m
            if self.random:
                labels = jax.random.randint(keys[3], (n,), 0, m)
            return am.AssociationTask(am.laws.uniform(n), labels, inputs, draw(keys[1], m, d))

        return make

    def make_model(self, width: int):
        import assocmem_jax as am

        def build(task, key):
            if self.memory == "written":
                return am.LinearMemory.outer_product(task)
            if self.memory == "low rank":
                return am.LowRankMemory.one_step(task, key, width)
            if self.memory == "kernel":
                return am.MLPMemory.one_step(task, key, width, am.Hermite(self.degree))
            start = (
                am.LinearMemory.zeros(task)
                if self.memory == "linear"
                else am.MLPMemory.gaussian(task, key, width)
            )
            descent = am.Descent(adam(), self.steps, learning_rate=self.learning_rate)
            return am.simulate(task, start, descent, observe={}, every=self.steps, throw=False).model

        return build


def adam():
    import optax

    return optax.adam


def shared(seeds: int) -> int:
    """Devices among which that many seeds can be split evenly."""
    import jax

    return max(n for n in range(1, len(jax.devices()) + 1) if seeds % n == 0)


class Sizes(Study):
    """N₉₉ of written, low-rank, kernel and trained memories over d and m."""

    title: ClassVar[str] = "Slides p. 6–9: how many associations fit"
    parallel: ClassVar[bool] = True
    precision: Literal["float64", "float32"] = "float32"
    families: Annotated[tuple[_Family, ...], Field(min_length=1)]
    target: Annotated[float, Field(gt=0, lt=1)] = 0.99
    resolution: Positive = 0.02
    against: Literal["dimension", "width", "parameters"] = "dimension"
    collapse: bool = False  # a panel of N log N/(md), one number for all if capacity is that of parameters

    def run(self):
        import jax

        import assocmem_jax as am

        rows = []
        for number, family in enumerate(self.families):
            for k, d in enumerate(family.dimensions):
                width = family.widths[k] if family.widths else d
                found = am.capacity(
                    family.make_task(d),
                    family.make_model(width),
                    self.target,
                    largest=family.largest[k],
                    smallest=family.smallest,
                    seeds=family.seeds,
                    together=family.together,
                    devices=shared(family.seeds),
                    resolution=self.resolution,
                    key=jax.random.key(self.seed),
                )
                censored = {"ok": 0, "above": 1, "below": -1}[found.status]
                rows.append((number, d, width, found.size, *found.interval, censored))
        return table(rows, "family", "dimension", "width", "size", "low", "high", "censored")

    def horizontal(self, part):
        """What N is drawn against: d, m, or the number of parameters md (d² of a matrix)."""
        if self.against == "parameters":
            return (part.dimension * part.width).values
        return part[self.against].values

    def parts(self, data):
        import numpy as np

        for number, family in enumerate(self.families):
            yield family, data.isel(point=np.flatnonzero(data.family.values == number))

    def report(self, data):
        import numpy as np

        lines = []
        for family, part in self.parts(data):
            x, N = self.horizontal(part), part["size"].values
            sizes = ", ".join(
                f"{('≥ ' if c > 0 else '≤ ' if c < 0 else '')}{n:.4g} [{a:.3g}, {b:.3g}] at {v:g}"
                for v, n, a, b, c in zip(x, N, part.low.values, part.high.values, part.censored.values)
            )
            line = f"{family.label} ({family.seeds} seeds): N at recall {self.target:g} = {sizes}"
            if known := self.fit(part):
                line += f"; slope {known} (last half {known.local:.2f})"
            parameters = (part.dimension * part.width).values
            scaled = N * np.log(N) / parameters
            lines.append(line + "; N log N/(md) = " + ", ".join(f"{v:.2f}" for v in scaled))
        return lines

    def fit(self, part):
        """A slope, where three points or more are known and their x differ."""
        import numpy as np

        known = np.flatnonzero((part.censored.values == 0) & np.isfinite(part.high.values))
        x = self.horizontal(part)[known]
        if len(known) < 3 or len(np.unique(x)) < 3:
            return None
        return slope(x, part.isel(point=known), 5e-3)

    def figure(self, data):
        import numpy as np

        from .. import plot

        panels = list(dict.fromkeys(family.panel for family in self.families))
        columns = len(panels) + self.collapse
        figure, axes = plot.panels(1, columns, 3.0, min(plot.PAGE, plot.COLUMN * columns))
        marks = dict.fromkeys(panels, 0)
        for family, part in self.parts(data):
            ax, k = axes[0, panels.index(family.panel)], marks[family.panel]
            marks[family.panel] += 1
            x, N = self.horizontal(part), part["size"].values
            order = np.argsort(x, kind="stable")
            part, x, N = part.isel(point=order), x[order], N[order]
            high = np.where(np.isfinite(part.high.values), part.high.values, N)
            fit = self.fit(part)
            words = family.label + (f": slope {fit}" if fit else "")
            low = np.where(part.low > 0, part.low, N)
            if self.collapse:
                parameters = (part.dimension * part.width).values
                middle, least, most = (v * np.log(np.maximum(v, 1)) / parameters for v in (N, low, high))
                spread = np.abs([middle - least, most - middle])
                plot.points(axes[0, -1], parameters, middle, spread, colour=k, linestyle="-")
            plot.points(ax, x, N, np.abs([N - low, high - N]), colour=k, label=words)
            if fit:
                ax.plot(x, fit(x), color=plot.COLOURS[k], linestyle=plot.STYLES[k], linewidth=0.9)
            for v, n, c in zip(x, N, part.censored.values):
                if c:
                    ax.annotate("", (v, n * 1.5**c), (v, n), arrowprops={"arrowstyle": "->", "lw": 0.6})
        names = {"dimension": "dimension d", "width": "rank or width m", "parameters": "parameters m d"}
        for ax, panel in zip(axes[0], panels):
            ax.set(xscale="log", yscale="log", xlabel=names[self.against], title=panel)
            ax.set_ylabel(f"N at recall {self.target:g}")
        if self.collapse:
            axes[0, -1].set(xscale="log", xlabel=names["parameters"], ylabel="N log N/(m d)", ylim=(0, None))
            axes[0, -1].set_title("per parameter")
        figure.legend(fontsize=6, loc="outside lower center", ncols=columns)
        return figure
