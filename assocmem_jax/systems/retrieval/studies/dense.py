"""Slides p. 5: the capacity of dense memories over d."""

from pathlib import Path

import jax
import numpy as np

import assocmem_jax as am

from .... import plot
from ....numerics import information
from ....studies.kit import Parts, shared, slope, table, words
from .. import theory as hopfield
from .schemas import Dense


def run(study: Dense, scratch: Path | None):
    def point(curve, k):
        d = curve.dimensions[k]
        most = curve.largest[k] if curve.largest else int(1.5 * predicted(study, curve.degree, d)) + 12

        def make(key, n):
            return am.RetrievalTask.binary(key, n, d)

        def store(task, key):
            if curve.degree == 0:
                return am.DenseMemory.exponential(task)
            return am.DenseMemory.polynomial(task, curve.degree)

        found = am.capacity(
            make, store, study.target, largest=most, seeds=study.seeds, together=study.together,
            devices=shared(study.seeds), key=jax.random.key(study.seed),
        )  # fmt: skip
        return {"row": (curve.degree, d, found.size, *found.interval, found.status != "ok")}

    points = [(curve, k) for curve in study.curves for k in range(len(curve.dimensions))]
    with Parts(scratch, len(points)) as part:
        rows = [part(f"{n}", lambda at=at: point(*at))["row"] for n, at in enumerate(points)]
    return table(rows, "degree", "dimension", "size", "low", "high", "censored")


def predicted(study: Dense, degree: int, d: int) -> float:
    """N at which Gaussian crosstalk leaves ``target`` of the patterns whole."""
    n = np.geomspace(2, 1e6, 4000)
    wrong = hopfield.crosstalk_bit_error(n, d, lambda z: z**degree)
    return float(n[np.argmax(np.asarray(hopfield.stable(wrong, d)) < study.target)])


def fits(study: Dense, data):
    """degree → (points that are known, the fit: a power law, or e^{ad} for the exponential; if any)."""
    found = {}
    for degree in dict.fromkeys(data.degree.values):
        part = data.isel(point=np.flatnonzero((data.degree.values == degree) & (data.censored == 0)))
        x = part.dimension.values if degree else np.exp(part.dimension.values)
        found[int(degree)] = part, slope(x, part, 1e-3)
    return found


def report(study: Dense, data):
    lines = []
    for degree, (part, _) in fits(study, data).items():
        told = ", ".join(
            f"{v:.3g} at {d:.0f}" for d, v in zip(part.dimension.values, bits(study, degree, part))
        )
        lines.append(
            f"{f'k = {degree}' if degree else 'exponential'}: bits told of a unit, a coupling: {told}"
        )
    for degree, (part, fit) in fits(study, data).items():
        sizes = ", ".join(
            f"{n:.4g} [{a:.3g}, {b:.3g}] at {d:.0f}"
            for d, n, a, b in zip(*(part[v].values for v in ("dimension", "size", "low", "high")))
        )
        if fit is None:
            few = f"{len(part.point)} known of {int((data.degree == degree).sum())} (raise largest): no slope"
            lines.append(f"{f'k = {degree}' if degree else 'exponential'}: {sizes or 'N'}; {few}")
            continue
        if degree == 0:
            lines.append(f"exponential: {sizes}; N ∝ e^(a d), a = {fit}, curvature t = {fit.curvature:.1f}")
            continue
        ideal = np.array([predicted(study, degree, int(d)) for d in part.dimension.values])
        ratio = part["size"].values / ideal
        lines.append(
            f"k = {degree}: {sizes}; slope {fit} (last half {fit.local:.2f}; in theory {degree - 1} less "
            f"logarithms), curvature t = {fit.curvature:.1f}; over Gaussian crosstalk {ratio.min():.2f} "
            f"to {ratio.max():.2f}"
        )
    return lines


def bits(study: Dense, degree: int, part, size=None):
    """Bits that the field of a unit, which reads the others alone, tells of its own bit in N patterns, over
    the couplings of that field. Bits of a pattern are taken as wrong independently: ε = 1 − target^{1/d}."""
    d, N = part.dimension.values, part["size"].values if size is None else size
    told = information.recalled(N, N, 2, study.target ** (1 / d))
    return np.asarray(told) / [hopfield.couplings(int(v), degree) for v in d]


def figure(study: Dense, data):
    found = fits(study, data)
    both = int(0 in found and len(found) > 1)
    figure, axes = plot.panels(1, 2 + both, 2.9, plot.PAGE)
    for k, (degree, (part, fit)) in enumerate(found.items()):
        ax = axes[0, both] if degree == 0 else axes[0, 0]
        d = part.dimension.values
        N = part["size"].values
        ends = np.maximum(part.low.values, 1), np.where(np.isfinite(part.high), part.high, N)
        told, low, high = (bits(study, degree, part, v) for v in (N, *ends))
        plot.points(axes[0, -1], d, told, np.abs([told - low, high - told]), colour=k, linestyle="-")
        spread = np.abs(np.stack([part["size"] - part.low, part.high - part["size"]]))
        plot.points(ax, d, part["size"], spread, colour=k)
        if fit:
            fine = np.geomspace(d.min(), d.max(), 50)
            label = f"k = {degree}: slope {words(fit)}" if degree else f"∝ exp(a d), a = {words(fit)}"
            plot.line(ax, fine, fit(fine if degree else np.exp(fine)), colour=k, label=label)
        if degree:
            ideal = [predicted(study, degree, int(v)) for v in d]
            ax.plot(d, ideal, color="black", linewidth=0.6, linestyle=":")
    if any(found):
        axes[0, 0].plot([], [], color="black", linewidth=0.6, linestyle=":", label="Gaussian crosstalk")
        axes[0, 0].set(title="E = −Σ (ξ·x)ᵏ")
        plot.log_axes(axes[0, 0])
    if 0 in found:
        axes[0, both].set(title="E = −Σ exp(ξ·x)")
        plot.log_axes(axes[0, both], "y")
    for ax in axes.flat:
        ax.set(xlabel="dimension d", ylabel=f"N: {study.target:.0%} of patterns stable")
    axes[0, -1].set(ylabel="bits a coupling, of one unit", title="told by right bits")
    plot.log_axes(axes[0, -1])
    axes[0, 0].errorbar(
        [], [], [], color="0.5", linewidth=0.8, linestyle="", label="95 % intervals, of N and of slopes"
    )
    plot.legend(figure)
    return figure
