"""A sweep of the user's own: a function named in a config, over the axes named there."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from .. import named
from .study import Axis, Level, Points, Positive, Real, Section, SweepStudy, about, seeds_of

Named = Annotated[str, Field(pattern=named.PATTERN)]
Statistic = Literal["mean", "sd", "min", "max"] | Level


class Law(Section):
    """A law to sample from: ``uniform = [low, high]`` or ``log_uniform = [low, high]``."""

    uniform: tuple[Real, Real] | None = about("[low, high]: uniform between them", None)
    log_uniform: tuple[Positive, Positive] | None = about(
        "[low, high]: its logarithm is uniform between theirs", None
    )

    @model_validator(mode="after")
    def _one(self):
        if (self.uniform is None) == (self.log_uniform is None):
            raise ValueError("must have one of uniform and log_uniform")
        low, high = self.uniform or self.log_uniform or (0, 1)
        if not low < high:
            raise ValueError(f"must be [low, high] with low < high, got [{low}, {high}]")
        return self


class Sampled(Section):
    """Points of one dimension, drawn from a law for each parameter."""

    n: Points = about("number of points")
    laws: Annotated[dict[str, Law], Field(min_length=1)] = about("parameter → the law it is drawn from")
    method: Annotated[str, Field(pattern="^(sobol|random)$")] = about(
        "sobol (a low-discrepancy sequence) or random (independent)", "sobol"
    )
    seed: Annotated[int, Field(ge=0)] = about("of the points", 0)


# Of ``am.sweep``: what a parameter of the function cannot be called.
OPTIONS = frozenset((
    "fn", "seeds", "reduce", "store", "executor", "shard", "tile", "chunk", "predict", "units", "progress",
    "repair", "overwrite", "config",
))  # fmt: skip


class UserSweep(SweepStudy):
    """``function = "module:name"`` or ``"path/to/file.py:name"`` (``assocmem_jax/named.py``)."""

    title: ClassVar[str] = "Sweep"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = about(
        "of the keys: runs have the seeds seed × seeds, seed × seeds + 1, … (modulo 2³¹)", 0
    )
    function: Named = about("module:name or path/to/file.py:name of a function of named numbers")
    axes: dict[str, Axis] = about("parameter → the points of its axis", {})
    sampled: dict[str, Sampled] = about("dimension → parameters drawn together along it", {})
    fixed: dict[str, float | int] = about("parameter → its one value", {})
    seeds: Annotated[int, Field(ge=1, le=2**20)] | None = about(
        "runs of each configuration, with keys of their own; the function then takes key", None
    )
    reduce: tuple[Statistic, ...] = about(
        "what is kept of the seeds: mean, sd, levels of quantiles; every one unless given", ()
    )
    predict: Named | None = about(
        "module:name of a function of all parameters that says how long each takes", None
    )
    units: dict[str, str] = about("result or parameter → its unit", {})

    @model_validator(mode="after")
    def _free(self):
        drawn = [name for joint in self.sampled.values() for name in joint.laws]
        dims = [name for name, joint in self.sampled.items() if name not in joint.laws]
        names = [*self.axes, *dims, *self.fixed, *drawn]
        if taken := sorted(OPTIONS & {*names}):
            raise ValueError(f"parameters need other names than options of am.sweep, got {taken[0]}")
        if twice := sorted(name for name in {*names} if names.count(name) > 1):
            raise ValueError(f"parameters and dimensions must be named once, got {twice[0]} more than once")
        return self

    def sweep(self) -> tuple[Any, dict[str, Any]]:
        from .. import sweeps

        axes: dict[str, Any] = {name: values.points() for name, values in self.axes.items()}
        for name, joint in self.sampled.items():
            laws = {
                k: sweeps.Uniform(*law.uniform)
                if law.uniform
                else sweeps.LogUniform(*(law.log_uniform or (1, 2)))
                for k, law in joint.laws.items()
            }
            axes[name] = sweeps.sampled(joint.n, method=joint.method, seed=joint.seed, **laws)
        seeds = None if self.seeds is None else seeds_of(self.seed, self.seeds)
        options: dict[str, Any] = {"seeds": seeds, "units": self.units}
        if self.reduce:
            options["reduce"] = sweeps.over_seeds(*self.reduce)
        if self.predict is not None:
            options["predict"] = named.named(self.predict)
        return named.named(self.function), axes | self.fixed | options

    def report(self, data):
        import numpy as np

        lines = []
        for name in data.data_vars:
            values = np.asarray(data[name].values, float)
            known = values[np.isfinite(values)]
            if name != "status" and known.size:
                lines.append(f"{name}: {known.min():.6g} to {known.max():.6g}, median {np.median(known):.6g}")
        return lines

    def figure(self, data):
        """The first variable over the first two axes (the rest at their first point)."""
        from .. import plot

        name = next(v for v in data.data_vars if v != "status")
        table = data[name]
        if table.ndim >= 2:
            y, x = table.dims[:2]
            return plot.heatmap(table.isel(dict.fromkeys(table.dims[2:], 0)), x=x, y=y)
        figure, axes = plot.panels(1, 1, 2.4, plot.COLUMN)
        at = table[table.dims[0]] if table.dims and table.dims[0] in table.coords else range(table.size)
        plot.line(axes[0, 0], at, table.values.reshape(-1), marker="o", markersize=2)
        axes[0, 0].set_xlabel(str(table.dims[0]) if table.dims else "")
        axes[0, 0].set_ylabel(str(name).replace("_", " "))
        return figure
