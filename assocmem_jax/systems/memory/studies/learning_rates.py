"""GD Figure 3: steps to perfect accuracy over rate, imbalance and correlation."""

import functools
import math
from typing import Any

import jax
import numpy as np

import assocmem_jax as am

from .... import plot
from .schemas import LearningRates


def _steps_to_perfect(learning_rate, imbalance, alpha, *, steps: int):
    """(first, stable) step of zero error of two tokens; ``imbalance`` is log(p₁/p₂)."""
    return am.time_to_perfect(am.two_tokens(alpha, jax.nn.sigmoid(imbalance)), learning_rate, steps)


def _panels(study: LearningRates) -> dict[str, float]:
    return {"alpha": study.panel_alpha, "imbalance": math.log(study.panel_p1 / (1 - study.panel_p1))}


def sweep(study: LearningRates):
    axes = {"learning_rate": study.learning_rate.points()}
    for name, value in _panels(study).items():
        axes[name] = np.unique([*getattr(study, name).points(), value])
    return functools.partial(_steps_to_perfect, steps=study.steps), axes


def report(study: LearningRates, data):
    rates, total = data.learning_rate.values, data.first_step.size
    first, stable = data.first_step.values, data.stable_step.values
    both = (first >= 0) & (stable >= 0)
    later = np.where(both, stable - first, 0)
    lines = [
        f"{total:,} configurations, {study.steps} steps: zero error is met in {(first >= 0).sum():,} "
        f"and kept to the end in {(stable >= 0).sum():,}; later kept than met in "
        f"{(later > 0).sum():,}, by at most {later.max()} steps"
    ]
    right = data.sel(imbalance=_panels(study)["imbalance"])
    near = data.alpha.values[data.alpha.values < 1][-1]
    lines.append(f"p₁ = {study.panel_p1:g}, α = {near:.4g}: {_over_rates(right.sel(alpha=near), rates)}")
    left = data.sel(alpha=study.panel_alpha)
    slower = _met(left)[-1] > _met(left).min(axis=0)
    for imbalance in [*left.imbalance.values[slower][:1], left.imbalance.values[-1]]:
        lines.append(
            f"α = {study.panel_alpha:g}, log(p₁/p₂) = {imbalance:.3g}: "
            f"{_over_rates(left.sel(imbalance=imbalance), rates)}"
        )
    lines.append(
        f"α = {study.panel_alpha:g}: the largest rate is slower than a smaller one at {slower.sum()} of "
        f"{slower.size} imbalances"
    )
    last = data.isel(alpha=-1)
    lines.append(
        f"α = {float(last.alpha):g}: met in {int((last.first_step >= 0).sum())} of {last.first_step.size}"
    )
    return lines


def figure(study: LearningRates, data):
    figure, axes = plot.panels(2, 2, 4.6, sharey=True, sharex="col")
    names = {"imbalance": "log(p₁/p₂)", "alpha": "α", "learning_rate": "learning rate η"}
    data = data.assign_coords({axis: data[axis].assign_attrs(label=words) for axis, words in names.items()})
    fixed = _panels(study)
    titles = {"imbalance": f"α = {study.panel_alpha:g}", "alpha": f"p₁ = {study.panel_p1:g}"}
    image: Any = None
    for row, name in enumerate(("first_step", "stable_step")):
        for column, (x, other) in enumerate((("imbalance", "alpha"), ("alpha", "imbalance"))):
            ax = axes[row, column]
            part = data.sel({other: fixed[other]})
            image = plot.heatmap(
                part, name=name, x=x, y="learning_rate", ax=ax, bar=False, log=True, levels=9,
                missing=f"not in {study.steps} steps", vmin=0, vmax=math.log10(study.steps),
            )  # fmt: skip
            ax.set_title(f"{titles[x]}: zero error {'first met' if row == 0 else 'kept'}")
            ax.label_outer()
    figure.colorbar(image, ax=axes, label="log₁₀ steps", pad=0.02, shrink=0.7)
    return figure


def _met(part):
    """Steps to zero error, infinite if never."""
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
