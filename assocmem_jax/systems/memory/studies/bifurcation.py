"""Beyond the edge of stability: iterates, Lyapunov exponents, sharpness."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ....numerics.minimise import minimum
from ....studies.kit import Parts
from .schemas import Bifurcation, System


def system_task(system: System):
    return am.AssociationTask(
        jnp.array(system.probabilities), jnp.array(system.labels), jnp.array(system.inputs), jnp.eye(2)
    )


def run(study: Bifurcation, scratch: Path | None):
    with Parts(scratch, len(study.systems)) as part:
        diagrams = [
            part(f"{k}", lambda system=system: diagram(study, system_task(system)))
            for k, system in enumerate(study.systems)
        ]
    return xr.concat(diagrams, dim="system")


def diagram(study: Bifurcation, task):
    """One system: along ``edge`` = ηH*/2 the kept iterates and what they do; along ``near`` the cycle's
    half-width just beyond the edge."""
    star, top, sharp = _minimum(task)
    start = am.LinearMemory(star + study.start * top)

    def path(edge):
        rate = 2 * edge / sharp
        weights = _descent(task, start, rate, study.transient, study.kept)
        exponent, curvature = _tangent(task, weights, rate, top)
        return {
            "x": jnp.sum(weights * top, axis=(1, 2)).astype(jnp.float32), "lyapunov": exponent,
            "sharpness_mean": jnp.mean(curvature), "sharpness_max": jnp.max(curvature),
            "sharpness_min": jnp.min(curvature),
        }  # fmt: skip

    def width(near):
        ends = jnp.sum(_descent(task, start, 2 * near / sharp, 4 * study.transient, 2) * top, axis=(1, 2))
        return {"width": jnp.abs(ends[1] - ends[0]) / 2}

    many = am.sweep(path, edge=np.linspace(0.5, study.largest, study.rates), progress=False)
    close = am.sweep(width, near=np.linspace(1.004, 1.04, 64), progress=False)
    found = many.drop_vars("status").assign(width=close.width)
    found.attrs.clear()
    return found.assign(sharpness_at_minimum=sharp, x_at_minimum=float(jnp.sum(star * top)))


def threshold(study: Bifurcation, part) -> float:
    """ηH*/2 at which the cycle opens: where width² (quadratic in η near it) reaches zero."""
    near, square = part.near.values, part.width.values.astype(float) ** 2
    roots = np.roots(np.polyfit(near - 1, square, 3))
    real = roots[np.isreal(roots)].real
    return 1 + float(real[np.abs(real).argmin()])


def report(study: Bifurcation, data):
    lines = []
    for k, system in enumerate(study.systems):
        part = data.isel(system=k)
        chaotic = part.edge.values[part.lyapunov.values > 0.01]
        last = (
            f"first exponent above .01 at ηH*/2 = {chaotic[0]:.3f}"
            if len(chaotic)
            else "no positive exponent"
        )
        lines.append(
            f"{system.name}: H* = {float(part.sharpness_at_minimum):.6f}; period doubles at η = "
            f"{threshold(study, part):.6f} · 2/H*; {last}; largest {float(part.lyapunov.max()):.3f}"
        )
    return lines


def figure(study: Bifurcation, data):
    count = len(study.systems)
    figure, axes = plot.panels(3, count, 5.0, sharex=True, height_ratios=[2.2, 1, 1.2])
    for k, system in enumerate(study.systems):
        part, (a, b, c) = data.isel(system=k), axes[:, k]
        shown = np.array(part.x.values[:, -200:])
        points = np.repeat(part.edge.values, shown.shape[1]), shown.ravel()
        a.plot(*points, ",", color=plot.COLOURS[0], alpha=0.25, rasterized=True)
        a.axhline(
            float(part.x_at_minimum),
            color=plot.COLOURS[1],
            linewidth=0.8,
            linestyle=":",
            label="minimum of L",
        )
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
            ax.axvline(1, color="black", linewidth=0.5, linestyle=":", label="η = 2/H*")
    axes[0, 0].set_ylabel("W along the sharpest direction")
    axes[1, 0].set_ylabel("Lyapunov\nexponent, ≥ −2")
    axes[2, 0].set_ylabel("sharpness / H*")
    plot.legend(figure)
    return figure


def _minimum(task):
    """(W*, unit top eigenvector of the Hessian there, its eigenvalue): Newton's method."""
    shape = task.outputs.shape[1], task.inputs.shape[1]
    memory = lambda flat: am.LinearMemory(flat.reshape(shape))  # noqa: E731
    found = minimum(
        lambda flat: am.memory.weight_gradient(task, memory(flat)).ravel(),
        lambda flat: am.memory.hessian(task, memory(flat)),
        jnp.zeros(shape[0] * shape[1]),
    )
    W = np.asarray(found).reshape(shape)
    values, vectors = np.linalg.eigh(np.asarray(am.memory.hessian(task, am.LinearMemory(W))))
    top = vectors[:, -1].reshape(W.shape)
    return jnp.asarray(W), jnp.asarray(top * np.sign(top.ravel()[np.abs(top).argmax()])), values[-1]


def _descent(task, memory, rate, transient: int, kept: int):
    """The last ``kept`` weights of a descent."""
    steps = transient + kept
    dynamics = am.Descent(optax.sgd, steps, learning_rate=rate)
    at = np.arange(transient + 1, steps + 1)
    run = am.simulate(task, memory, dynamics, observe={"W": am.memory.weights}, at=at, throw=False)
    return run.observed["W"][1:]


def _tangent(task, path, rate, start):
    """(largest Lyapunov exponent, sharpness at each iterate): a tangent vector pushed by I − η∇²L.

    Directions that no gradient has are neutral, and rounding would leak into them: they are projected out.
    """
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
