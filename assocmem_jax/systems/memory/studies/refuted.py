"""Printed bounds of GD and the runs that cross them."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import assocmem_jax as am

from .... import plot
from ..theory.orthogonal import LOSS_CONSTANT
from .schemas import Refuted


def run(study: Refuted, scratch: Path | None):
    times = jnp.geomspace(0.1, study.horizon, 400)
    one = am.AssociationTask(jnp.ones(1), jnp.zeros(1, int), jnp.ones((1, 1)), jnp.eye(2))  # c = 2
    watch = {"loss": am.loss}
    flow = am.simulate(
        one, am.LinearMemory.zeros(one), am.GradientFlow(study.horizon), at=times, observe=watch
    )
    # One token: Σ p/c = 1/2.
    ratio = flow.observed["loss"] * flow.times * 2
    two = am.two_tokens(0.0, study.p1)
    zero = am.LinearMemory.zeros(two)
    run = am.simulate(two, zero, am.GradientFlow(study.horizon), at=times, observe={"g": am.memory.gammas})
    g1, g2 = run.observed["g"].T
    p1, p2 = study.p1, 1 - study.p1
    bar = am.theory.two_particles.limit(p1)
    spread = (p1 - p2) / (p1 * p2) ** 0.5
    spiky = am.two_tokens(study.alpha, p1)
    descent = am.Descent(optax.sgd, study.steps, learning_rate=study.learning_rate)
    path = am.simulate(
        spiky, am.LinearMemory.zeros(spiky), descent, observe={"g": am.memory.gammas}
    ).observed["g"][:, 0]
    low, high = am.theory.two_particles.descent_bracket(
        spiky, study.learning_rate, study.learning_rate * jnp.arange(study.steps + 1.0)
    )
    printed = 2 * study.learning_rate * (1 - study.alpha)
    columns = {
        "time": flow.times, "loss_ratio": ratio, "gap": g1 - bar,
        "nullcline": jnp.arcsinh(spread / 2 * jnp.exp(-g2)),
        "appendix_c": 1.05 * spread / (2 * p2 * run.times + 1),
    }  # fmt: skip
    intervals = {
        "gamma1": path, "low": low[:, 0], "high": high[:, 0],
        "printed_low": jnp.full(study.steps + 1, jnp.minimum(0.0, bar - printed * p2)),
        "printed_high": jnp.full(study.steps + 1, bar + p1 / (2 * p2) + printed * p1),
    }  # fmt: skip
    # The first time given is 0: logarithmic axes start at the next.
    data: dict[str, Any] = {name: ("point", np.asarray(value)[1:]) for name, value in columns.items()}
    data |= {name: ("step", np.asarray(value)) for name, value in intervals.items()}
    return xr.Dataset(data)


def report(study: Refuted, data):
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


def figure(study: Refuted, data):
    figure, ((a, b, c),) = plot.panels(1, 3, 2.5)
    ct = 2 * data.time
    plot.line(a, ct, data.loss_ratio, colour=0, label="simulated")
    plot.line(a, ct, np.ones(len(ct)), colour=1, label="printed (panel 3: interval)")
    plot.line(
        a,
        ct,
        np.full(len(ct), LOSS_CONSTANT),
        colour=2,
        label=f"corrected (panel 1: κ = {LOSS_CONSTANT:.4f})",
    )
    a.set(xlabel="ct", ylabel="L / [(1/t) Σ p/c]", ylim=(0.6, 1.13), xlim=(0.1, 1e4))
    plot.log_axes(a, "x")
    a.set_title("Theorem 2: loss of the flow")
    plot.line(b, ct, data.gap.where(data.gap > 0), colour=0)
    plot.line(b, ct, data.appendix_c, colour=1)
    plot.line(b, ct, data.nullcline, colour=6, linestyle=":", label="nullcline at γ₂(t)")
    b.set(xlabel="ct", ylabel="γ₁ − γ̄", xlim=(10, 2e5), ylim=(1e-5, 0.3))
    plot.log_axes(b)
    b.set_title(f"appendix C.1: α = 0, p₁ = {study.p1:g}")
    steps = data.step if "step" in data.coords else range(data.sizes["step"])
    c.fill_between(steps, data.printed_low, data.printed_high, color=plot.COLOURS[1], alpha=0.35, linewidth=0)
    for bound in (data.low, data.high):
        plot.line(c, steps, bound, colour=2)
    plot.line(c, steps, data.gamma1, colour=0, marker="o", markersize=2, linewidth=0.8)
    c.set(xlabel="step t", ylabel="γ₁")
    c.set_title(f"appendix C: α = {study.alpha:g}, η = {study.learning_rate:g}")
    plot.legend(figure)
    return figure
