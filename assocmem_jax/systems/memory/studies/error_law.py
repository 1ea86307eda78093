"""Slides p. 31–33: the error of a memory of finite size on a Zipf law."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....studies.kit import Parts, interval, through, words
from ..task import schemes
from ..theory import scaling
from .schemas import ErrorLaw, Scheme


def scheme_of(scheme: Scheme, counts, d: int):
    """q, from counts or p."""
    if scheme.name == "frequency":
        return counts
    if scheme.name == "equal":
        return (counts > 0).astype(counts.dtype)
    return schemes.top(counts, max(1, int(d / scheme.room)))


def run(study: ErrorLaw, scratch: Path | None):
    p = am.laws.zipf(study.tokens, study.zipf_exponent)
    labels = jnp.arange(1, study.tokens + 1) % study.classes
    draw = am.embeddings.sphere if study.sphere_outputs else am.embeddings.gaussian

    def trial(key, d):
        keys = jax.random.split(key, 3)
        inputs = am.embeddings.gaussian(keys[0], study.tokens, d)
        task = am.AssociationTask(p, labels, inputs, draw(keys[1], study.classes, d))

        def errors(k, n):
            key, most = jax.random.fold_in(keys[2], k), max(1, *study.samples)
            counts = jnp.where(n > 0, am.memory.schemes.counts(task, key, n, most), p)
            q = [scheme_of(scheme, counts, d) for scheme in study.schemes]
            return jnp.stack([am.error(task, am.LinearMemory.outer_product(task, each)) for each in q])

        return jax.lax.map(lambda kn: errors(*kn), (jnp.arange(len(study.samples)), jnp.array(study.samples)))

    keys = jax.random.split(jax.random.key(study.seed), study.trials)

    def of_dimension(d):
        many = jax.jit(lambda keys: jax.lax.map(lambda key: trial(key, d), keys, batch_size=study.together))
        return {"error": many(keys)}

    with Parts(scratch, len(study.dimensions)) as part:
        found = [part(f"{d}", lambda d=d: of_dimension(d))["error"] for d in study.dimensions]
    error = np.stack(found).transpose(3, 0, 2, 1)  # scheme, d, n, trial
    data: dict[str, Any] = {"error": (("scheme", "dimension", "samples", "trial"), error)}
    if 0 in study.samples:
        data["competitors"] = (("scheme", "dimension"), competitors(study, p, labels))
    data["hutter"] = (
        "samples",
        [float(am.theory.scaling.hutter(p, n)) if n else 0.0 for n in study.samples],
    )
    coords = {"dimension": list(study.dimensions), "samples": list(study.samples)}
    return xr.Dataset(data, coords=coords)


def competitors(study: ErrorLaw, p, labels):
    """Population error with independent Gaussian competitors, over d."""
    occurs = jax.nn.one_hot(labels, study.classes, dtype=p.dtype)

    @jax.jit
    def error(q, d):
        recall = am.theory.outer_product.recall(q, occurs, d, outputs=not study.sphere_outputs)
        return jnp.dot(p, 1 - recall)

    rows = [[error(scheme_of(scheme, p, d), float(d)) for d in study.dimensions] for scheme in study.schemes]
    return np.array(rows, float)


def exponents(study: ErrorLaw, scheme: Scheme) -> tuple[float, str]:
    """(asymptotic exponent in d, its name), Slides p. 33."""
    if scheme.name == "top":
        return -float(scaling.threshold_exponent(study.zipf_exponent)), "−(α−1)"
    return -float(scaling.frequency_exponent(study.zipf_exponent)), "−(α−1)/2α"


def along(study: ErrorLaw, data):
    """The axis that the error is a curve over, or None for a map."""
    if len(study.dimensions) > 5 and len(study.samples) > 5:
        return None
    return "dimension" if len(study.dimensions) >= len(study.samples) else "samples"


def curves(study: ErrorLaw, data):
    """(scheme, the other coordinate, x, mean, half-width, fit or None) of every curve."""
    axis = along(study, data)
    other = "samples" if axis == "dimension" else "dimension"
    for k, scheme in enumerate(study.schemes):
        for j, value in enumerate(data[other].values):
            part = data.error.isel(scheme=k, **{other: j})
            x = data[axis].values.astype(float)
            mean, half = interval(part.values)
            kept = (x >= study.fit_from) & (mean > 0) & (half > 0)
            yield scheme, value, x, mean, half, through(x[kept], mean[kept], half[kept] / 1.96)


def report(study: ErrorLaw, data):
    axis = along(study, data)
    if axis is None:
        return map_lines(study, data)
    lines = [curve_line(study, data, axis, *curve) for curve in curves(study, data)]
    return lines + hutter_lines(study, data, axis)


def map_lines(study: ErrorLaw, data):
    lines, mean = [], data.error.mean("trial")
    for k, scheme in enumerate(study.schemes):
        part = mean.isel(scheme=k)
        last = part.isel(samples=-1).values[:: max(1, len(study.dimensions) // 5)]
        lines.append(
            f"{scheme.label(True)}: error {float(part[0, 0]):.3f} at the smallest d and n, "
            f"{float(part[-1, -1]):.4f} at the largest; over d at n = {study.samples[-1]}: "
            + ", ".join(f"{v:.4f}" for v in last)
        )
    return lines


def curve_line(study: ErrorLaw, data, axis, scheme, value, x, mean, half, fit):
    population = axis == "dimension" and not value
    where = "n = ∞" if population else f"{'n' if axis == 'dimension' else 'd'} = {value}"
    shown = [*range(0, len(x) - 1, max(1, len(x) // 6)), len(x) - 1]
    line = f"{scheme.label(not population)}, {where}: " + ", ".join(
        f"{mean[i]:.4g} ± {half[i]:.1g} at {x[i]:g}" for i in shown
    )
    if fit:
        line += f"; slope {fit} from {study.fit_from} (last half {fit.local:.2f}, curvature t = "
        line += f"{fit.curvature:.1f})"
    if population:
        kept = mean > 1e-6
        ratio = data.competitors.isel(scheme=study.schemes.index(scheme)).values[kept] / mean[kept]
        line += f"; Gaussian competitors over simulation {ratio.min():.2f} to {ratio.max():.2f}"
    return line


def hutter_lines(study: ErrorLaw, data, axis):
    if axis != "samples":
        return []
    values = ", ".join(f"{h:.4g} at {n}" for n, h in zip(study.samples, data.hutter.values))
    exponent = float(scaling.sample_exponent(study.zipf_exponent))
    return [f"Hutter, infinite memory: {values}; limit slope −{exponent:g}"]


def figure(study: ErrorLaw, data):
    axis = along(study, data)
    if axis is None:
        return error_maps(study, data)
    figure, ((ax,),) = plot.panels(1, 1, 2.7, 5.25)
    for k, (scheme, value, x, mean, half, fit) in enumerate(curves(study, data)):
        population = axis == "dimension" and not value
        name = scheme.label(not population)
        if axis == "samples" and len(study.dimensions) > 1:
            name += f", d = {value}"
        kept = mean > 0
        if fit:
            local = f"bent, {fit.local:.2f} at the end".replace("-", "−")
            name += f":\n{words(fit) if abs(fit.curvature) < 3 else local}"
        plot.band(ax, x[kept], mean[kept], half[kept], colour=k, label=name)
        if population:
            ideal = data.competitors.isel(scheme=study.schemes.index(scheme))
            ax.plot(x, ideal, color=plot.COLOURS[k % 7], linestyle=":", linewidth=0.8)
    if axis == "samples":
        plot.line(ax, data.samples, data.hutter, colour=6, label="Hutter: infinite memory")
    elif "competitors" in data:
        ax.plot([], [], color="black", linestyle=":", linewidth=0.8, label="Gaussian competitors")
    names = {"dimension": "dimension d", "samples": "samples n"}
    ax.set(xlabel=names[axis], ylabel="error")
    plot.log_axes(ax)
    if axis == "dimension":
        ax.set_title("\n".join(verdicts(study, data)), fontsize=6.5)
    of = "over d" if axis == "dimension" else "over n"
    ends = bool((data.error.mean("trial") == 0).any())
    band = "95 % interval of the mean" + "\n(0 where no line is)" * ends
    plot.legend(figure, band=band, loc="outside right upper", ncols=1,
                title=f"slope {of} [95 % interval]", title_fontsize=7)  # fmt: skip
    return figure


def verdicts(study: ErrorLaw, data):
    """The asymptotic exponents, and whether the slopes are those within their intervals, and straight."""
    lines = []
    for scheme, value, *_, fit in curves(study, data):
        if fit is None or value or scheme.name == "equal":
            continue
        exponent, name = exponents(study, scheme)
        low, high = fit.interval
        seen = low <= exponent <= high and abs(fit.curvature) < 3
        word = "as" if seen else "not, here,"
        slopes = f"slope {fit.slope:.2f}, {word} the asymptotic {name} = {exponent:g}"
        lines.append(f"{scheme.label(False)}: {slopes.replace('-', '−')}")
    return lines


def error_maps(study: ErrorLaw, data):
    figure, axes = plot.panels(1, len(study.schemes), 2.4, plot.PAGE, sharey=True)
    mean = np.maximum(data.error.mean("trial"), 1e-4)
    names = {"dimension": "dimension d", "samples": "samples n"}
    mean = mean.assign_coords({axis: mean[axis].assign_attrs(label=name) for axis, name in names.items()})
    low = float(np.log10(mean.min()))
    image: Any = None
    for k, (ax, scheme) in enumerate(zip(axes[0], study.schemes)):
        image = plot.heatmap(
            mean.isel(scheme=k),
            x="dimension",
            y="samples",
            ax=ax,
            bar=False,
            log=True,
            levels=6,
            vmin=low,
            vmax=0,
        )
        ax.set_title(scheme.label(True))
        ax.label_outer()
    figure.colorbar(image, ax=axes, label="log₁₀ error" + (", at least −4" if low == -4 else ""), pad=0.02)
    return figure
