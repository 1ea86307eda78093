"""Figures of docs/theory.md: printed bounds and where they are crossed; what the papers do not contain."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from ..config import Cosine, Count, Positive, Probability, Section, Study


class Refuted(Study):
    """Three printed bounds of GD and the runs that cross them (gd.9, gd.18, gd.20)."""

    title: ClassVar[str] = "Printed bounds, crossed"
    horizon: Positive = 1e5
    p1: Probability = 0.75
    alpha: Cosine = 0.95
    learning_rate: Positive = 10.0
    steps: Count = 35

    def run(self):
        import jax.numpy as jnp
        import numpy as np
        import optax
        import xarray as xr

        import assocmem_jax as am

        times = jnp.geomspace(0.1, self.horizon, 400)
        one = am.AssociationTask(jnp.ones(1), jnp.zeros(1, int), jnp.ones((1, 1)), jnp.eye(2))  # c = 2
        watch = {"loss": am.loss}
        flow = am.simulate(
            one, am.LinearMemory.zeros(one), am.GradientFlow(self.horizon), at=times, observe=watch
        )
        # One token: Σ p/c = 1/2.
        ratio = flow.observed["loss"] * flow.times * 2
        two = am.two_tokens(0.0, self.p1)
        zero = am.LinearMemory.zeros(two)
        run = am.simulate(two, zero, am.GradientFlow(self.horizon), at=times, observe={"g": am.gammas})
        g1, g2 = run.observed["g"].T
        p1, p2 = self.p1, 1 - self.p1
        bar = am.theory.two_particles.limit(p1)
        spread = (p1 - p2) / (p1 * p2) ** 0.5
        spiky = am.two_tokens(self.alpha, p1)
        descent = am.Descent(optax.sgd, self.steps, learning_rate=self.learning_rate)
        path = am.simulate(spiky, am.LinearMemory.zeros(spiky), descent, observe={"g": am.gammas}).observed[
            "g"
        ][:, 0]
        low, high = am.theory.two_particles.descent_bracket(
            spiky, self.learning_rate, self.learning_rate * jnp.arange(self.steps + 1.0)
        )
        printed = 2 * self.learning_rate * (1 - self.alpha)
        columns = {
            "time": flow.times, "loss_ratio": ratio, "gap": g1 - bar,
            "nullcline": jnp.arcsinh(spread / 2 * jnp.exp(-g2)),
            "appendix_c": 1.05 * spread / (2 * p2 * run.times + 1),
        }  # fmt: skip
        intervals = {
            "gamma1": path, "low": low[:, 0], "high": high[:, 0],
            "printed_low": jnp.full(self.steps + 1, jnp.minimum(0.0, bar - printed * p2)),
            "printed_high": jnp.full(self.steps + 1, bar + p1 / (2 * p2) + printed * p1),
        }  # fmt: skip
        # The first time given is 0: logarithmic axes start at the next.
        data: dict[str, Any] = {name: ("point", np.asarray(value)[1:]) for name, value in columns.items()}
        data |= {name: ("step", np.asarray(value)) for name, value in intervals.items()}
        return xr.Dataset(data)

    def report(self, data):
        import numpy as np

        ct, ratio = 2 * data.time.values, data.loss_ratio.values
        above = np.flatnonzero(ratio > 1)[0]
        weight = (1 - ratio[above - 1]) / (ratio[above] - ratio[above - 1])
        cross = ct[above - 1] + weight * (ct[above] - ct[above - 1])
        beyond = np.flatnonzero(data.gap.values > data.appendix_c.values)
        return [
            f"gd.9: the flow's loss crosses (1/t) Σ p/c at ct = {cross:.3f}; largest ratio {ratio.max():.4f} "
            f"at ct = {ct[ratio.argmax()]:.2f}",
            f"gd.18: γ₁ − γ̄ above appendix C's bound from ct = {ct[beyond[0]]:.4g} on"
            if len(beyond)
            else "gd.18: no",
            f"gd.20: γ₁(1) = {float(data.gamma1[1]):.4f}, printed γ_max = {float(data.printed_high[1]):.4f}, "
            f"ours {float(data.high[1]):.4f}",
        ]

    def figure(self, data):
        from .. import plot
        from ..theory.orthogonal import LOSS_CONSTANT

        figure, ((a, b, c),) = plot.panels(1, 3, 2.3)
        ct = 2 * data.time
        plot.line(a, ct, data.loss_ratio, colour=0, label="flow")
        a.axhline(1, color="black", linewidth=0.8)
        a.text(9e3, 0.995, "printed bound", fontsize=7, va="top", ha="right")
        a.axhline(LOSS_CONSTANT, color=plot.COLOURS[1], linewidth=0.8, linestyle="--")
        a.text(0.12, 1.082, "κ = 1.0794", fontsize=7, va="bottom", color=plot.COLOURS[1])
        a.set(xscale="log", xlabel="ct", ylabel="L / [(1/t) Σ p/c]", ylim=(0.6, 1.13), xlim=(0.1, 1e4))
        a.set_title("Theorem 2: loss of the flow")
        plot.line(b, ct, data.gap.where(data.gap > 0), colour=0, label="γ₁ − γ̄")
        plot.line(b, ct, data.nullcline, colour=2, label="nullcline at γ₂(t)")
        plot.line(b, ct, data.appendix_c, colour=1, label="appendix C's bound")
        b.set(xscale="log", yscale="log", xlabel="ct", ylabel="γ₁ − γ̄", xlim=(10, 2e5), ylim=(1e-5, 0.3))
        b.set_title(f"appendix C.1: α = 0, p₁ = {self.p1:g}")
        b.legend(loc="lower left")
        steps = data.step if "step" in data.coords else range(data.sizes["step"])
        c.fill_between(
            steps, data.printed_low, data.printed_high, color=plot.COLOURS[1], alpha=0.35, linewidth=0,
            label="printed interval",
        )  # fmt: skip
        plot.line(c, steps, data.high, colour=2, label="ours")
        plot.line(c, steps, data.low, colour=2)
        plot.line(c, steps, data.gamma1, colour=0, marker="o", markersize=2, linewidth=0.8, label="γ₁(t)")
        c.set(xlabel="step t", ylabel="γ₁")
        c.set_title(f"appendix C: α = {self.alpha:g}, η = {self.learning_rate:g}")
        c.legend(loc="center right", bbox_to_anchor=(1, 0.62))
        return figure


class _System(Section):
    """A memory without a perfect answer: soft labels on one token, or tokens that no W separates."""

    name: str
    probabilities: tuple[Positive, ...]
    inputs: tuple[tuple[float, ...], ...]
    labels: tuple[tuple[float, float], ...]

    @model_validator(mode="after")
    def _consistent(self):
        n = len(self.probabilities)
        if not len(self.inputs) == len(self.labels) == n:
            raise ValueError(
                f"must have as many inputs ({len(self.inputs)}) and labels ({len(self.labels)}) as "
                f"probabilities ({n})"
            )
        return self

    def task(self):
        import jax.numpy as jnp

        import assocmem_jax as am

        return am.AssociationTask(
            jnp.array(self.probabilities), jnp.array(self.labels), jnp.array(self.inputs), jnp.eye(2)
        )


class Bifurcation(Study):
    """What descent does beyond the edge of stability: iterates, Lyapunov exponent, sharpness over ηH*/2."""

    title: ClassVar[str] = "Beyond the edge"
    systems: Annotated[tuple[_System, ...], Field(min_length=1, max_length=4)]
    largest: Annotated[float, Field(gt=1)] = 5.0
    rates: Annotated[int, Field(ge=8)] = 1000
    transient: Count = 2000
    kept: Annotated[int, Field(ge=16)] = 1000
    start: Positive = 0.1

    def run(self):
        import xarray as xr

        return xr.concat([self.diagram(system.task()) for system in self.systems], dim="system")

    def diagram(self, task):
        """One system: along ``edge`` = ηH*/2 the kept iterates and what they do; along ``near`` the cycle's
        half-width just beyond the edge."""
        import jax.numpy as jnp
        import numpy as np

        import assocmem_jax as am

        star, top, sharp = _minimum(task)
        start = am.LinearMemory(star + self.start * top)

        def path(edge):
            rate = 2 * edge / sharp
            weights = _descent(task, start, rate, self.transient, self.kept)
            exponent, curvature = _tangent(task, weights, rate, top)
            return {
                "x": jnp.sum(weights * top, axis=(1, 2)).astype(jnp.float32), "lyapunov": exponent,
                "sharpness_mean": jnp.mean(curvature), "sharpness_max": jnp.max(curvature),
                "sharpness_min": jnp.min(curvature),
            }  # fmt: skip

        def width(near):
            ends = jnp.sum(_descent(task, start, 2 * near / sharp, 4 * self.transient, 2) * top, axis=(1, 2))
            return {"width": jnp.abs(ends[1] - ends[0]) / 2}

        many = am.sweep(path, edge=np.linspace(0.5, self.largest, self.rates), progress=False)
        close = am.sweep(width, near=np.linspace(1.004, 1.04, 64), progress=False)
        found = many.drop_vars("status").assign(width=close.width)
        found.attrs.clear()
        return found.assign(sharpness_at_minimum=sharp, x_at_minimum=float(jnp.sum(star * top)))

    def threshold(self, part) -> float:
        """ηH*/2 at which the cycle opens: where width² (quadratic in η near it) reaches zero."""
        import numpy as np

        near, square = part.near.values, part.width.values.astype(float) ** 2
        roots = np.roots(np.polyfit(near - 1, square, 3))
        real = roots[np.isreal(roots)].real
        return 1 + float(real[np.abs(real).argmin()])

    def report(self, data):
        import numpy as np

        lines = []
        for k, system in enumerate(self.systems):
            part = data.isel(system=k)
            chaotic = part.edge.values[part.lyapunov.values > 0.01]
            last = (
                f"first exponent above .01 at ηH*/2 = {chaotic[0]:.3f}"
                if len(chaotic)
                else "no positive exponent"
            )
            lines.append(
                f"{system.name}: H* = {float(part.sharpness_at_minimum):.6f}; period doubles at η = "
                f"{self.threshold(part):.6f} · 2/H*; {last}; largest {float(np.nanmax(part.lyapunov)):.3f}"
            )
        return lines

    def figure(self, data):
        import numpy as np

        from .. import plot

        count = len(self.systems)
        figure, axes = plot.panels(3, count, 4.6, sharex=True, height_ratios=[2.2, 1, 1.2])
        for k, system in enumerate(self.systems):
            part, (a, b, c) = data.isel(system=k), axes[:, k]
            shown = np.array(part.x.values[:, -200:])
            points = np.repeat(part.edge.values, shown.shape[1]), shown.ravel()
            a.plot(*points, ",", color=plot.COLOURS[0], alpha=0.25, rasterized=True)
            a.axhline(float(part.x_at_minimum), color=plot.COLOURS[1], linewidth=0.8, linestyle="--")
            a.set_title(system.name)
            plot.line(b, part.edge, part.lyapunov, colour=0, linewidth=0.6)
            b.axhline(0, color="black", linewidth=0.6)
            b.set_ylim(-2, 0.8)
            sharp, edge = float(part.sharpness_at_minimum), part.edge
            c.fill_between(
                edge, part.sharpness_min / sharp, part.sharpness_max / sharp, color=plot.COLOURS[0],
                alpha=0.25, linewidth=0, label="range over the cycle",
            )  # fmt: skip
            plot.line(c, edge, part.sharpness_mean / sharp, colour=0, label="mean over the cycle")
            plot.line(c, edge, 1 / edge, colour=1, label="2/η")
            c.set_ylim(0, None)
            c.set_xlabel("ηH*/2")
            for ax in (a, b, c):
                ax.axvline(1, color="black", linewidth=0.5, linestyle=":")
        axes[0, 0].set_ylabel("W along the sharpest direction")
        axes[1, 0].set_ylabel("Lyapunov\nexponent")
        axes[2, 0].set_ylabel("sharpness / H*")
        axes[2, 0].legend(loc="upper right")
        return figure


def _minimum(task):
    """(W*, unit top eigenvector of the Hessian there, its eigenvalue): Newton's method."""
    import jax.numpy as jnp
    import numpy as np

    import assocmem_jax as am

    W = np.zeros((task.outputs.shape[1], task.inputs.shape[1]))
    for _ in range(100):
        memory = am.LinearMemory(W)
        slope = np.asarray(am.weight_gradient(task, memory)).ravel()
        # The Hessian is singular along what all classes share: least norm.
        step = np.linalg.lstsq(np.asarray(am.hessian(task, memory)), slope, rcond=1e-12)[0]
        W = W - (step / max(1.0, np.linalg.norm(step))).reshape(W.shape)
    values, vectors = np.linalg.eigh(np.asarray(am.hessian(task, am.LinearMemory(W))))
    top = vectors[:, -1].reshape(W.shape)
    return jnp.asarray(W), jnp.asarray(top * np.sign(top.ravel()[np.abs(top).argmax()])), values[-1]


def _descent(task, memory, rate, transient: int, kept: int):
    """The last ``kept`` weights of a descent."""
    import numpy as np
    import optax

    import assocmem_jax as am

    steps = transient + kept
    dynamics = am.Descent(optax.sgd, steps, learning_rate=rate)
    at = np.arange(transient + 1, steps + 1)
    run = am.simulate(task, memory, dynamics, observe={"W": am.weights}, at=at, throw=False)
    return run.observed["W"][1:]


def _tangent(task, path, rate, start):
    """(largest Lyapunov exponent, sharpness at each iterate): a tangent vector pushed by I − η∇²L.

    Directions that no gradient has are neutral, and rounding would leak into them: they are projected out.
    """
    import jax
    import jax.numpy as jnp

    import assocmem_jax as am

    apart = task.outputs - task.outputs.mean(axis=0)
    left, right = (jnp.linalg.pinv(side) @ side for side in (apart, task.inputs))

    def push(v, W):
        memory = am.LinearMemory(W)
        moved = v - rate * am.hessian_operator(task, memory)(am.LinearMemory(v)).weight
        moved = left @ moved @ right
        size = jnp.linalg.norm(moved)
        return moved / jnp.maximum(size, 1e-300), (
            jnp.log(jnp.maximum(size, 1e-300)),
            am.sharpness(task, memory),
        )

    _, (growth, curvature) = jax.lax.scan(push, start, path)
    return jnp.mean(growth), curvature


class _Tokens(Section):
    """Equicorrelated tokens, f*(x) = x, p(x) ∝ weights."""

    name: str
    alpha: Cosine
    weights: Annotated[tuple[Positive, ...], Field(min_length=2)]

    def task(self):
        import jax.numpy as jnp

        import assocmem_jax as am

        p, n = jnp.array(self.weights), len(self.weights)
        return am.AssociationTask(
            p / p.sum(), jnp.arange(n), am.embeddings.equicorrelated(n, self.alpha), jnp.eye(n)
        )


class Schedule(Study):
    """A rate for every step, found by differentiating through the training, against the best constant."""

    title: ClassVar[str] = "Learned schedules"
    systems: Annotated[tuple[_Tokens, ...], Field(min_length=1, max_length=3)]
    smallest: Positive = 1e-2
    largest: Positive = 1e4
    constants: Count = 4000
    horizon: Count = 1000
    longest: Count = 8
    starts: Count = 32
    iterations: Count = 600

    def run(self):
        import numpy as np
        import xarray as xr

        import assocmem_jax as am

        parts = []
        constants = np.geomspace(self.smallest, self.largest, self.constants)
        for system in self.systems:
            task = system.task()
            steps = am.sweep(
                lambda rate, task=task: am.time_to_perfect(task, rate, self.horizon, stable=False),
                rate=constants, progress=False,
            ).first_step.values  # fmt: skip
            known = np.where(steps > 0, steps, np.iinfo(steps.dtype).max)
            best = int(known.min())
            # Of the rates that take the fewest steps, the middle one.
            rate = constants[np.flatnonzero(known == best)[(known == best).sum() // 2]]
            rates = np.full((self.longest, self.longest), np.nan)
            margin = np.full(self.longest, np.nan)
            for length in range(1, self.longest + 1):
                rates[length - 1, :length], margin[length - 1] = self.learn(task, length)
            least = np.flatnonzero(margin > 0)
            chosen = rates[least[0], : least[0] + 1] if len(least) else rates[-1]
            curves = {}
            for name, schedule in (("constant", np.full(best, rate)), ("learned", chosen)):
                run = am.simulate(
                    task, am.LinearMemory.zeros(task), _schedule(schedule), observe={"m": am.margins}
                )
                padded = np.full(self.horizon + 1, np.nan)
                padded[: len(schedule) + 1] = np.asarray(run.observed["m"]).min(axis=1)
                curves[name] = padded
            parts.append(xr.Dataset({
                "constant_steps": ("rate", steps), "best_constant": best, "best_rate": rate,
                "learned_rate": (("length", "of_step"), rates), "learned_margin": ("length", margin),
                "least_learned": int(least[0]) + 1 if len(least) else -1,
                "margin_constant": ("step", curves["constant"]),
                "margin_learned": ("step", curves["learned"]),
            }, coords={"rate": constants, "length": np.arange(1, self.longest + 1)}))  # fmt: skip
        return xr.concat(parts, dim="system")

    def learn(self, task, length: int):
        """(rates, smallest margin) of the best of ``starts`` schedules: Adam on the log loss, over
        logits of the rates, which keeps each of them between ``smallest`` and ``largest``."""
        import jax
        import jax.numpy as jnp
        import numpy as np
        import optax

        low, high = np.log(self.smallest), np.log(self.largest)
        rates = lambda x: jnp.exp(low + (high - low) * jax.nn.sigmoid(x))  # noqa: E731
        adam = optax.adam(0.05)

        def objective(x):
            margin, loss = _outcome(task, rates(x))
            return jnp.log(loss), margin

        def descend(x):
            def step(state, _):
                x, inner, best = state
                (value, margin), slope = jax.value_and_grad(objective, has_aux=True)(x)
                sound = jnp.isfinite(value) & jnp.all(jnp.isfinite(slope))
                # Kept: the largest smallest margin met, not the last.
                better = sound & (margin > best[1])
                best = jax.tree.map(lambda new, old: jnp.where(better, new, old), (x, margin), best)
                updates, inner = adam.update(jnp.where(sound, slope, 0.0), inner)
                return (x + updates, inner, best), None

            start = (x, adam.init(x), (x, jnp.asarray(-jnp.inf)))
            return jax.lax.scan(step, start, None, length=self.iterations)[0][2]

        starts = jax.random.normal(jax.random.key(self.seed + length), (self.starts, length)) * 2
        x, margin = jax.jit(jax.vmap(descend))(starts)
        best = int(jnp.argmax(margin))
        return np.asarray(rates(x[best])), float(margin[best])

    def report(self, data):
        lines = []
        for k, system in enumerate(self.systems):
            part = data.isel(system=k)
            least, constant = int(part.least_learned), int(part.best_constant)
            lines.append(
                f"{system.name}: best constant rate {constant} steps (η = {float(part.best_rate):.4g}, of "
                f"{self.constants} rates); learned {least} steps"
            )
            if least > 0:
                rates = part.learned_rate.values[least - 1, :least]
                lines.append(f"  learned rates: {', '.join(f'{rate:.4g}' for rate in rates)}")
        return lines

    def figure(self, data):
        import numpy as np

        from .. import plot

        count = len(self.systems)
        figure, axes = plot.panels(2, count, 4.0, width=plot.PAGE)
        for k, system in enumerate(self.systems):
            part, (a, b) = data.isel(system=k), axes[:, k]
            known = part.constant_steps.where(part.constant_steps > 0)
            plot.line(a, part.rate, known, colour=0, label="constant rate")
            least = int(part.least_learned)
            if least > 0:
                a.axhline(least, color=plot.COLOURS[1], linestyle="--", linewidth=1, label="learned schedule")
                rates = part.learned_rate.values[least - 1, :least]
                a.plot(
                    rates, np.full(least, least), "o", color=plot.COLOURS[1], markersize=3, label="its rates"
                )
            a.set(xscale="log", yscale="log", xlabel="learning rate η", ylabel="steps to perfect accuracy")
            a.set_title(system.name)
            a.legend(loc="upper center")
            last = int(part.best_constant)
            for name, colour in (("constant", 0), ("learned", 1)):
                path = part[f"margin_{name}"].values[: last + 1]
                plot.line(b, range(last + 1), path, colour=colour, marker="o", markersize=2, label=name)
            b.axhline(0, color="black", linewidth=0.6)
            b.set_yscale("symlog", linthresh=1)
            b.set(xlabel="step", ylabel="smallest margin")
            b.legend(loc="best")
        return figure


def _schedule(rates):
    import optax

    import assocmem_jax as am

    return am.Descent(optax.sgd, len(rates), learning_rate=rates)


def _outcome(task, rates):
    """(smallest margin, loss) after a descent at these rates from zero."""
    import jax.numpy as jnp

    import assocmem_jax as am

    watch = {"m": am.margins, "loss": am.loss}
    start = am.LinearMemory.zeros(task)
    seen = am.simulate(
        task, start, _schedule(rates), observe=watch, every=rates.shape[0], throw=False
    ).observed
    return jnp.min(seen["m"][-1]), seen["loss"][-1]
