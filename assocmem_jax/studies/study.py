"""What a study is: a schema that a config fills, a run, a report and a figure. No JAX here."""

import hashlib
import importlib
import json
import math
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import pydantic
from pydantic import Field

Real = Annotated[float, Field()]
Positive = Annotated[float, Field(gt=0)]
Cosine = Annotated[float, Field(ge=-1, le=1)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Level = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=2)]  # a size that need not be whole
Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=2)]
Reach = Annotated[int, Field(ge=3)]  # of a search that begins at 2
# A key each, of eight bytes, is a constant of a program: 2²⁴ are 128 MiB; of 2 GB (2²⁸) JAX warns.
Seeds = Annotated[int, Field(ge=2, le=2**24)]
# Of one axis, which is an array: half a GiB (``sweeps/axes.py`` has the same bound).
Points = Annotated[int, Field(ge=1, le=2**26)]


def _distinct(values: tuple) -> tuple:
    seen = set()
    for value in values:
        if value in seen:
            said = dict(value) if isinstance(value, pydantic.BaseModel) else value
            raise ValueError(f"must have each value once, got {said!r} twice")
        seen.add(value)
    return values


# Of a list whose values are points of an axis, or curves: of two that are one, neither could be named.
DISTINCT = pydantic.AfterValidator(_distinct)
Precision = Annotated[Literal["float64", "float32"], Field(description="of all numbers of the run")]


def about(text: str, default: Any = ...) -> Any:
    """A key of a config: what it is, as ``assocmem show`` prints it, and its default if it has one."""
    return Field(default, description=text)


class Section(pydantic.BaseModel):
    """A table of a config: strict types, no unknown keys, no NaN."""

    # A default is what a file could have said (8 of a float is 8.0): a config shown is the same config.
    model_config = pydantic.ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )

    @pydantic.field_validator("*")
    @classmethod
    def _printed(cls, value: Any) -> Any:
        """Labels reach the terminal and the figure."""
        for text in _texts(value):
            if not text.isprintable():
                raise ValueError("must be of characters that are printed")
            if "$" in text:  # of nearly no config: what follows imports matplotlib
                from ..plot import settable

                if not settable(text):
                    shown = repr(text if len(text) <= 60 else f"{text[:59]}…")
                    raise ValueError(
                        f"must be mathematics between $ and $, got {shown}; \\$ is a dollar sign"
                    )
        return value


def _texts(value: Any) -> Iterator[str]:
    """The words of a value: of a list each, of a table its keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | tuple):
        for part in (*value.keys(), *value.values()) if isinstance(value, dict) else value:
            yield from _texts(part)


def tables(value: Any) -> list[tuple[str | int, Section]]:
    """(key, table) of what TOML writes as tables: one (key ""), a list of them, or named ones; else none."""
    if isinstance(value, Section):
        return [("", value)]
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, tuple) else ()
    return [(key, part) for key, part in named if isinstance(part, Section)]


class Study(Section):
    """A config with a run and a figure; its fields are the keys of the config.

    A study of your own is a subclass with ``run``, ``report`` and ``figure``; a config names it as
    ``study = "path/to/file.py:Name"`` or ``"module:Name"`` (docs/your_own_system.md).
    """

    title: ClassVar[str]
    parallel: ClassVar[bool] = False  # whether it splits its work over devices: every core is one
    study: str = about("which study: a name of `assocmem list`, or your own as path/to/file.py:Name")
    precision: Precision = "float64"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = about("of all that is drawn", 0)

    @abstractmethod
    def run(self, scratch: Path | None) -> Any:
        """A Dataset of what was measured. ``scratch``: a directory for checkpoints, if one is kept: those
        that are there are gone on from."""

    @abstractmethod
    def report(self, data: Any) -> list[str]:
        """Lines of what the data show."""

    @abstractmethod
    def figure(self, data: Any) -> Any:
        """The matplotlib Figure of the data, which stay as they are."""

    def canonical(self) -> str:
        """The resolved config as JSON with sorted keys: its identity."""
        return json.dumps(self.model_dump(), sort_keys=True, indent=1)

    def hash(self) -> str:
        return hashlib.sha256(self.canonical().encode()).hexdigest()


class SweepStudy(Study):
    """A study that is a sweep: ``assocmem run`` keeps it in memory, ``assocmem sweep`` in a store."""

    chunk: Count | None = about(
        "most configurations in a task, which is stored, committed or lost at once", None
    )
    tile: Count | None = about(
        "configurations computed side by side; such that they stay in cache unless given", None
    )

    @abstractmethod
    def sweep(self) -> tuple[Any, dict[str, Any]]:
        """(fn, arguments of ``am.sweep``)."""

    def options(self) -> dict[str, Any]:
        fn, axes = self.sweep()
        return {"fn": fn, "tile": self.tile, "chunk": self.chunk, **axes}

    def run(self, scratch: Path | None) -> Any:
        from ..sweeps import sweep

        return sweep(**self.options(), progress=True)


class Schema(Study):
    """A study in two files: the fields here, where a config is read, and ``run``, ``report`` and ``figure``
    as functions of the module ``work`` beside, which is imported when one of them is called."""

    work: ClassVar[str]

    def run(self, scratch: Path | None) -> Any:
        return _beside(self).run(self, scratch)

    def report(self, data: Any) -> list[str]:
        return _beside(self).report(self, data)

    def figure(self, data: Any) -> Any:
        return _beside(self).figure(self, data)


class SweepSchema(SweepStudy):
    """The same of a sweep: ``sweep``, ``report`` and ``figure`` are functions of the module ``work``."""

    work: ClassVar[str]

    def sweep(self) -> tuple[Any, dict[str, Any]]:
        return _beside(self).sweep(self)

    def report(self, data: Any) -> list[str]:
        return _beside(self).report(self, data)

    def figure(self, data: Any) -> Any:
        return _beside(self).figure(self, data)


def seeds_of(seed: int, runs: int) -> list[int]:
    """Seeds of the runs of a sweep: 0, 1, … of ``seed`` 0; every other ``seed`` has others."""
    return [(seed * runs + k) % 2**31 for k in range(runs)]


def _beside(study: Any) -> Any:
    package = type(study).__module__.rpartition(".")[0]
    return importlib.import_module(f"{package}.{study.work}")


Domain = TypeVar("Domain", bound=float)


class Range(Section, Generic[Domain]):
    """Points of an axis: one of ``values``, ``linear = [low, high, n]``, ``log = [low, high, n]``.

    A field of a schema is one of those below, which say where points (so ends, too) may lie.
    """

    values: Annotated[tuple[Domain, ...], Field(min_length=1), DISTINCT] | None = about(
        "the points themselves", None
    )
    linear: tuple[Domain, Domain, Points] | None = about(
        "[low, high, n]: n points with equal differences", None
    )
    log: tuple[Annotated[Domain, Field(gt=0)], Annotated[Domain, Field(gt=0)], Points] | None = about(
        "[low, high, n]: n points with equal ratios", None
    )

    @pydantic.model_validator(mode="after")
    def _one(self):
        given = [name for name in ("values", "linear", "log") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"must have one of values, linear and log, got {' and '.join(given) or 'none'}")
        if self.values is None:
            low, high, n = getattr(self, given[0])
            if n > 1 and low == high:
                raise ValueError(f"{given[0]}: {n} points need low and high that differ, got {low:g} twice")
            linear = self.linear is not None
            gap = abs(high - low) if linear else abs(math.log(high) - math.log(low))
            least = 2**-51 * (n - 1) * (max(abs(low), abs(high)) if linear else 1)  # of float64
            if n > 1 and not least < gap < math.inf:
                raise ValueError(f"{given[0]}: {n} points that differ must fit between {low!r} and {high!r}")
        return self

    def points(self) -> Any:
        import numpy as np

        if self.values is not None:
            return np.asarray(self.values)
        make, ends = (np.linspace, self.linear) if self.linear is not None else (np.geomspace, self.log)
        assert ends is not None
        return make(*ends)


class RealRange(Range[Real]):
    """Points of an axis, any finite numbers."""


class PositiveRange(Range[Positive]):
    """Points of an axis above 0."""


class CosineRange(Range[Cosine]):
    """Points of an axis in [-1, 1]."""


class LevelRange(Range[Level]):
    """Points of an axis in [0, 1]."""


class AmountRange(Range[Amount]):
    """Points of an axis, sizes of at least 2 that need not be whole."""


class Axis(Range[Real]):
    """Points of an axis, any finite numbers; whole ones stay whole."""

    values: Annotated[tuple[float | int, ...], Field(min_length=1), DISTINCT] | None = about(
        "the points themselves", None
    )
