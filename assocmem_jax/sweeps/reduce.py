"""Statistics over seeds, taken box by box, so that memory does not grow with the grid."""

from collections.abc import Mapping

import numpy as np

from .. import checks
from .tiles import Outcome, Variable


class OverSeeds:
    """``am.over_seeds("mean", "sd", .05, .5, .95)``: what to keep of the seeds of a configuration.

    Words become variables ``<name>_mean``, ``<name>_sd`` (n − 1); levels become ``<name>_quantile``
    with a dimension ``quantile``. A quantile is an order statistic (the smallest value that at least
    that share of seeds does not exceed), so it is exact where some seeds are infinite ("never").
    ``seeds_ok`` counts the seeds that ended well. Where any did not, ``status`` is the worst of them
    and the statistics are NaN: they would be statistics of a selection. ``drop_bad=True`` selects.
    """

    WORDS = ("mean", "sd", "min", "max")

    def __init__(self, *what: str | float | int, drop_bad: bool = False):
        for item in what:
            if isinstance(item, str) and item not in self.WORDS:
                checks.refuse("over_seeds", f"of {self.WORDS} or levels in [0, 1]", repr(item))
            if not isinstance(item, str):
                checks.number("over_seeds", item)
                checks.within("over_seeds", item, 0, 1)
        if not what or len(set(what)) < len(what):
            checks.refuse("over_seeds", "given a statistic or more, each once", what, 'for example "mean"')
        checks.truth("drop_bad", drop_bad)
        self.words = tuple(w for w in what if isinstance(w, str))
        self.levels = tuple(float(w) for w in what if not isinstance(w, str))
        self.drop_bad = checks.truth("drop_bad", drop_bad)

    def __repr__(self):
        return f"over_seeds{(*self.words, *self.levels)}, drop_bad={self.drop_bad}"

    @property
    def coordinates(self) -> dict[str, np.ndarray]:
        return {"quantile": np.asarray(self.levels)} if self.levels else {}

    def names(self, name: str) -> list[str]:
        """What a variable's statistics are called."""
        return [f"{name}_{word}" for word in (*self.words, *(("quantile",) if self.levels else ()))]

    def variables(self, variables: Mapping[str, Variable]) -> dict[str, Variable]:
        """What ``variables`` of a lane become for a configuration."""
        found = {"status": variables["status"], "seeds_ok": Variable.of(np.int32)}
        for name, variable in variables.items():
            if name == "status":
                continue
            if variable.dtype.kind != "f":
                checks.refuse(
                    f"{name}", "real-valued to be reduced over seeds", variable.dtype,
                    "convert it in fn; for steps, jnp.where(step < 0, jnp.inf, step)",
                )  # fmt: skip
            if taken := {*self.names(name)} & {*variables}:
                checks.refuse("fn", "a function whose results are not named like statistics", sorted(taken))
            for word in self.words:
                found[f"{name}_{word}"] = variable
            if self.levels:
                found[f"{name}_quantile"] = variable._replace(
                    shape=(len(self.levels), *variable.shape), dims=("quantile", *variable.dims)
                )
        return found

    def __call__(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays (configurations, seeds, …) to arrays (configurations, …)."""
        status = values["status"]
        ok = status == int(Outcome.OK)
        found = {"status": status.max(axis=1), "seeds_ok": ok.sum(axis=1, dtype=np.int32)}
        count = ok.sum(axis=1)
        if not self.drop_bad:
            count = np.where(ok.all(axis=1), count, 0)
        for name, value in values.items():
            if name == "status":
                continue
            extra = (1,) * (value.ndim - 2)
            n = count.reshape(-1, *extra)
            use = (ok & (count > 0)[:, None]).reshape(*ok.shape, *extra)
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = np.where(use, value, 0).sum(axis=1) / n  # 0/0: NaN where nothing may be said
                for word in self.words:
                    if word == "mean":
                        result = mean
                    elif word == "sd":
                        square = np.where(use, (value - mean[:, None]) ** 2, 0).sum(axis=1)
                        result = np.sqrt(square / np.where(n > 1, n - 1, np.nan))
                    else:
                        low = word == "min"
                        filled = np.where(use, value, np.inf if low else -np.inf)
                        result = filled.min(axis=1) if low else filled.max(axis=1)
                        result = np.where(n > 0, result, np.nan)
                    found[f"{name}_{word}"] = result.astype(value.dtype)
            if self.levels:
                ranked = np.sort(np.where(use, value, np.inf), axis=1)
                picks = []
                for level in self.levels:
                    rank = np.maximum(np.ceil(level * n).astype(int), 1) - 1
                    rank = np.broadcast_to(rank[:, None], ranked[:, :1].shape)
                    pick = np.take_along_axis(ranked, rank, axis=1)[:, 0]
                    picks.append(np.where(n > 0, pick, np.nan))
                found[f"{name}_quantile"] = np.stack(picks, axis=1).astype(value.dtype)
        return found


over_seeds = OverSeeds
