"""Slopes with their uncertainty."""

import dataclasses
import math
from typing import Any

import numpy as np

from .. import checks


@dataclasses.dataclass(frozen=True)
class PowerLaw:
    """y ∝ x^slope, by weighted least squares of logarithms.

    - ``slope`` with its ``interval`` at ``level``; ``prefactor``.
    - ``curvature``: t of a quadratic term. Beyond some 3 the points are no power law, and the slope is one of
      this range only. ``local``: the slope of the last half of the points.
    """

    slope: float
    interval: tuple[float, float]
    prefactor: float
    curvature: float
    local: float
    level: float

    def __call__(self, x):
        return self.prefactor * np.asarray(x, float) ** self.slope

    def __str__(self) -> str:
        return f"{self.slope:.2f} [{self.interval[0]:.2f}, {self.interval[1]:.2f}]"


def power_law(x, y, error: Any = None, level: float = 0.95) -> PowerLaw:
    """The slope of log y against log x with its confidence interval.

    - ``error``: standard error of each y (or half-widths of intervals, if all at one level, give the same
      slope and a wider interval); equal relative errors unless given.

    The interval is the wider of two: errors taken as known (normal), and errors scaled by the scatter about
    the line (Student t with n − 2 degrees): points off the line by more than their errors widen it.
    """
    x, y = (checks.numbers(name, v).astype(float) for name, v in (("x", x), ("y", y)))
    checks.number("level", level)
    checks.within("level", level, 0, 1, "the share of intervals that hold the slope")
    if not 0 < level < 1:
        checks.refuse("level", "between 0 and 1, both excluded", level)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 3:
        checks.refuse("x and y", "vectors of one length, at least 3", f"shapes {x.shape} and {y.shape}")
    if not ((x > 0).all() and (y > 0).all()):
        checks.refuse("x and y", "positive", "values that are not", "drop them: a power law has no zeros")
    if len(np.unique(x)) < 2 + (len(x) > 3):
        checks.refuse("x", "of at least three different values (two, of three points)", "fewer")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        checks.refuse("x and y", "finite", "values that are not")
    known = error is not None
    sigma = checks.numbers("error", error).astype(float) if known else np.ones_like(y)
    if sigma.shape == y.shape and known:
        sigma = sigma / y
    if sigma.shape != y.shape or not (np.isfinite(sigma).all() and (sigma > 0).all()):
        checks.refuse("error", "positive and finite, one for each y", repr(error))
    ends = f"{sigma.min():.3g} to {sigma.max():.3g} of y"
    if not 1e-100 < sigma.min() <= sigma.max() < 1e100:  # squares of them are weights
        checks.refuse("error", "within a hundred decades of y", ends)
    u, v = np.log(x), np.log(y)

    def fit(degree, part=slice(None)):
        centre = np.average(u[part], weights=sigma[part] ** -2)
        columns = np.vander(u[part] - centre, degree + 1, increasing=True) / sigma[part, None]
        best, *_ = np.linalg.lstsq(columns, v[part] / sigma[part], rcond=None)
        rest = v[part] / sigma[part] - columns @ best
        try:
            spread = np.linalg.inv(columns.T @ columns)
        except np.linalg.LinAlgError:
            checks.refuse("error", "such that more points than one or two count", ends)
        return best, spread, float(rest @ rest), centre

    best, covariance, chi, centre = fit(1)
    free = len(x) - 2
    from scipy import stats  # half a second

    scaled = stats.t.ppf((1 + level) / 2, free) * math.sqrt(covariance[1, 1] * chi / free)
    half = max(scaled, stats.norm.ppf((1 + level) / 2) * math.sqrt(covariance[1, 1])) if known else scaled
    curvature = 0.0
    if free > 1:
        bent, spread, left, _ = fit(2)
        scale = max(1.0, left / (free - 1)) if known else left / (free - 1)
        curvature = float(bent[2] / math.sqrt(max(spread[2, 2] * scale, 1e-300)))
    late = slice(len(x) // 2 if len(x) > 4 else len(x) - 2, None)
    return PowerLaw(
        float(best[1]),
        (float(best[1] - half), float(best[1] + half)),
        float(np.exp(best[0] - best[1] * centre)),
        curvature,
        float(fit(1, late)[0][1]),
        float(level),
    )
