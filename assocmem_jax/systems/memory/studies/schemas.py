"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

import itertools
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ....studies.study import (
    Cosine,
    Count,
    Positive,
    Probability,
    Range,
    Real,
    Schema,
    Section,
    Seeds,
    Size,
    SweepSchema,
)

Point = Annotated[tuple[Real, Real], Field()]


Window = Annotated[tuple[Real, Real, Real, Real], Field()]


Vector = Annotated[tuple[Real, ...], Field(min_length=1)]


Rows = Annotated[tuple[Vector, ...], Field(min_length=2)]


Rates = Annotated[tuple[Positive, ...], Field(min_length=1)]


Resolution = Annotated[int, Field(ge=2, le=2000)]


def check_window(window: Window) -> None:
    x0, x1, y0, y1 = window
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"window must be [x0, x1, y0, y1] with x0 < x1 and y0 < y1, got {list(window)}")


def check_rows(name: str, rows: Rows, width: int | None = None) -> None:
    width = len(rows[0]) if width is None else width
    for i, row in enumerate(rows):
        if len(row) != width:
            raise ValueError(f"{name}[{i}] must have {width} entries, got {len(row)}")


class Plane(Section):
    """Tokens in the plane: N embeddings, y = x mod 2, p(x) ∝ x^-exponent, U = I."""

    name: str
    inputs: Rows
    window: Window
    zipf_exponent: Real = 1.0

    @model_validator(mode="after")
    def _consistent(self):
        check_rows("inputs", self.inputs, 2)
        check_window(self.window)
        return self


Exponent = Annotated[float, Field(gt=0)]


class Landscape(Schema):
    """Figure 1: level lines of L and the map of L01 for two correlated tokens."""

    title: ClassVar[str] = "GD Figure 1"
    work: ClassVar[str] = "landscape"
    p1: Probability
    alphas: Annotated[tuple[Cosine, ...], Field(min_length=1, max_length=6)]
    windows: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=4)]
    resolution: Resolution = 50
    learning_rate: Positive = 1.0


class LossSpikes(Schema):
    """Figure 2: descent of two tokens at several rates; spikes of the loss."""

    title: ClassVar[str] = "GD Figure 2"
    work: ClassVar[str] = "loss_spikes"
    alpha: Cosine
    p1: Probability
    learning_rates: Rates
    steps: Count = 35
    horizon: Count = 1000
    window: Window = (-2.0, 8.0, -10.0, 10.0)
    resolution: Resolution = 100

    @model_validator(mode="after")
    def _consistent(self):
        check_window(self.window)
        if self.horizon < self.steps:
            raise ValueError(f"horizon must be at least steps = {self.steps}, got {self.horizon}")
        return self


class LearningRates(SweepSchema):
    """Figure 3: steps to perfect accuracy over learning rate, class imbalance and correlation.

    The printed panels, α = 0.75 and p₁ = 0.75, are added to the axes, so that they are exact slices.
    """

    title: ClassVar[str] = "GD Figure 3"
    work: ClassVar[str] = "learning_rates"
    learning_rate: Range
    imbalance: Range
    alpha: Range
    steps: Count = 1000
    panel_alpha: Cosine = 0.75
    panel_p1: Probability = 0.75


class _Stochastic(Plane):
    start: Point
    learning_rate: Positive
    batch_size: Count
    steps: Count
    runs: Count


class LimitedCapacity(Schema):
    """Figure 4: loss and 0-1 loss when more tokens than dimensions must share W; forgetting by SGD."""

    title: ClassVar[str] = "GD Figure 4"
    work: ClassVar[str] = "limited_capacity"
    panels: Annotated[tuple[Plane, ...], Field(min_length=1, max_length=6)]
    sgd: _Stochastic
    resolution: Resolution = 100


class _Started(Plane):
    start: Point


class SharpnessProfile(Schema):
    """Figure 5: the sharpness over the plane and along descent, separable and not."""

    title: ClassVar[str] = "GD Figure 5"
    work: ClassVar[str] = "sharpness"
    panels: Annotated[tuple[_Started, ...], Field(min_length=1, max_length=4)]
    learning_rates: Rates
    steps: Count = 35
    horizon: Count = 5000
    resolution: Resolution = 100

    @model_validator(mode="after")
    def _consistent(self):
        if self.horizon < self.steps + 2:
            raise ValueError(f"horizon must be at least steps + 2 = {self.steps + 2}, got {self.horizon}")
        return self


class _Wide(Section):
    inputs: Rows
    outputs: Rows

    @model_validator(mode="after")
    def _consistent(self):
        check_rows("inputs", self.inputs)
        check_rows("outputs", self.outputs)
        if len(self.inputs) != len(self.outputs):
            raise ValueError(
                f"outputs must have one row for each of the {len(self.inputs)} inputs (f* is the identity), "
                f"got {len(self.outputs)}"
            )
        return self


class LargeMemory(Schema):
    """Figure 6: margins of N tokens with f* = id, p ∝ 1/x, for several dimensions and rates."""

    title: ClassVar[str] = "GD Figure 6"
    work: ClassVar[str] = "large_memory"
    panels: Annotated[tuple[_Wide, ...], Field(min_length=1, max_length=4)]
    learning_rates: Rates
    zipf_exponent: Real = 1.0
    steps: Count = 100
    shown: Count = 30
    horizon: Count = 1000

    @model_validator(mode="after")
    def _consistent(self):
        if not self.shown <= self.steps <= self.horizon:
            raise ValueError(
                f"shown ≤ steps ≤ horizon must hold, got {self.shown}, {self.steps}, {self.horizon}"
            )
        if len({len(panel.inputs) for panel in self.panels}) > 1:
            raise ValueError("panels must all have the same number of tokens")
        return self


class Refuted(Schema):
    """Three printed bounds of GD and the runs that cross them (gd.9, gd.18, gd.20)."""

    title: ClassVar[str] = "Printed bounds, crossed"
    work: ClassVar[str] = "refuted"
    horizon: Positive = 1e5
    p1: Probability = 0.75
    alpha: Cosine = 0.95
    learning_rate: Positive = 10.0
    steps: Count = 35


class System(Section):
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


class Bifurcation(Schema):
    """What descent does beyond the edge of stability: iterates, Lyapunov exponent, sharpness over ηH*/2."""

    title: ClassVar[str] = "Beyond the edge"
    work: ClassVar[str] = "bifurcation"
    systems: Annotated[tuple[System, ...], Field(min_length=1, max_length=4)]
    largest: Annotated[float, Field(gt=1)] = 5.0
    rates: Annotated[int, Field(ge=8)] = 1000
    transient: Count = 2000
    kept: Annotated[int, Field(ge=16)] = 1000
    start: Positive = 0.1


class Tokens(Section):
    """Equicorrelated tokens, f*(x) = x, p(x) ∝ weights."""

    name: str
    alpha: Cosine
    weights: Annotated[tuple[Positive, ...], Field(min_length=2)]


class Schedule(Schema):
    """A rate for every step, found by differentiating through the training, against the best constant."""

    title: ClassVar[str] = "Learned schedules"
    work: ClassVar[str] = "schedule"
    systems: Annotated[tuple[Tokens, ...], Field(min_length=1, max_length=3)]
    smallest: Positive = 1e-2
    largest: Positive = 1e4
    constants: Count = 4000
    horizon: Count = 1000
    longest: Count = 8
    starts: Count = 32
    iterations: Count = 600


class Scheme(Section):
    """q: counts (p without samples), tokens seen, or the most frequent d/room of them."""

    name: Literal["frequency", "equal", "top"]
    room: Positive = 8.0

    def label(self, sampled: bool) -> str:
        return {
            "frequency": "q = counts" if sampled else "q = p",
            "equal": "q = 1{seen}" if sampled else "q = 1",
            "top": f"top d/{self.room:g}" + (" of the seen" if sampled else ""),
        }[self.name]


class ErrorLaw(Schema):
    """Error of written memories over d, over the number of samples, or over both; n = 0 is the population."""

    title: ClassVar[str] = "Slides p. 31–33: scaling laws of the error"
    work: ClassVar[str] = "error_law"
    tokens: Size = 1000
    classes: Size = 5  # f(z) = z mod M
    zipf_exponent: Exponent = 2.0
    sphere_outputs: bool = True
    schemes: Annotated[tuple[Scheme, ...], Field(min_length=1)]
    dimensions: Annotated[tuple[Size, ...], Field(min_length=1)]
    samples: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    trials: Seeds = 20
    together: Count = 1
    fit_from: Count = 1  # slopes are fitted over d (or n) from here on


def titled(optimizer: str, norm: bool) -> str:
    return {"sgd": "SGD", "adam": "Adam"}[optimizer] + (" + LN" if norm else "")


class Case(Section):
    """An optimizer: SGD of a batch and a rate, Adam, sign, normalised; with layer norm or without."""

    label: str
    optimizer: Literal["sgd", "adam", "sign", "normalised"]
    learning_rate: Positive
    batch: Annotated[int, Field(ge=0)]  # 0: the population gradient
    norm: bool = False
    scale_by_dimension: bool = False  # rate/d, as Adam's in the paper


class _Grid(Section):
    """Every optimizer, with layer norm and without, at every rate and batch."""

    optimizers: Annotated[tuple[Literal["sgd", "adam"], ...], Field(min_length=1, max_length=2)] = (
        "sgd",
        "adam",
    )
    norms: Annotated[tuple[bool, ...], Field(min_length=1, max_length=2)] = (False, True)
    rates: Annotated[tuple[Positive, ...], Field(min_length=2)]
    batches: Annotated[tuple[Count, ...], Field(min_length=2)]

    def cases(self) -> tuple[Case, ...]:
        kinds = itertools.product(self.optimizers, self.norms, self.rates, self.batches)
        return tuple(
            Case(
                label=titled(optimizer, norm),
                optimizer=optimizer,
                learning_rate=rate,
                batch=batch,
                norm=norm,
                scale_by_dimension=optimizer == "adam",
            )
            for optimizer, norm, rate, batch in kinds
        )  # fmt: skip


class Optimizers(Schema):
    """Error over d and along training for optimizers; the scheme q that each leaves in W."""

    title: ClassVar[str] = "Slides p. 34: optimizers as memory schemes"
    work: ClassVar[str] = "optimizers"
    precision: Literal["float64", "float32"] = "float32"
    tokens: Size = 100
    classes: Size = 5
    zipf_exponent: Exponent = 2.0
    dimensions: Annotated[tuple[Size, ...], Field(min_length=1)]
    samples: Count = 10_240  # seen in all: steps × batch; with batch 0, the number of steps
    cases: Annotated[tuple[Case, ...], Field(max_length=7)] = ()
    grid: _Grid | None = None
    zero_start: bool = False  # else W₀ ~ N(0, 1/d)
    looks: Annotated[int, Field(ge=2)] = 8
    trials: Seeds = 3
    at: Size | None = None  # d of the curves along training; the largest unless given

    @model_validator(mode="after")
    def _fits(self):
        if bool(self.cases) == (self.grid is not None):
            raise ValueError("must have one of cases and grid")
        for case in self.all():
            if case.batch > self.samples:
                raise ValueError(f"{case.label}: batch {case.batch} is above samples = {self.samples}")
            if case.norm and self.zero_start:
                raise ValueError("layer norm has no value at W = 0: zero_start must be false")
        if self.at is not None and self.at not in self.dimensions:
            raise ValueError(f"at = {self.at} must be one of dimensions")
        return self

    def all(self) -> tuple[Case, ...]:
        return self.cases if self.grid is None else self.grid.cases()


class Family(Section):
    """One curve: a memory, and the (d, m) at which its capacity is looked for."""

    label: str
    panel: str
    memory: Literal["written", "low rank", "kernel", "linear", "mlp"]
    classes: Annotated[int, Field(ge=0)] = 0  # 0: every token its own answer
    random: bool = False  # answers drawn, not x mod M
    pairs: bool = False  # inputs e_i + ẽ_j
    sphere: bool = False  # else Gaussian embeddings
    dimensions: Annotated[tuple[Size, ...], Field(min_length=1)]
    widths: tuple[Count, ...] = ()  # m, one for each of dimensions; the rank, or neurons
    largest: Annotated[tuple[Size, ...], Field(min_length=1)]
    smallest: Count = 2  # where the search begins: a narrow ReLU layer can fail on fewer
    degree: Annotated[int, Field(ge=1)] = 2  # of the Hermite activation of a kernel
    learning_rate: Positive = 0.03
    steps: Count = 1024
    seeds: Seeds = 20
    together: Count = 1

    @model_validator(mode="after")
    def _aligned(self):
        n = len(self.dimensions)
        if len(self.largest) != n:
            raise ValueError(f"must have as many largest ({len(self.largest)}) as dimensions ({n})")
        if (self.widths or self.memory in ("low rank", "kernel", "mlp")) and len(self.widths) != n:
            raise ValueError(f"{self.memory} needs widths, one for each of dimensions ({n})")
        return self


class Sizes(Schema):
    """N₉₉ of written, low-rank, kernel and trained memories over d and m."""

    title: ClassVar[str] = "Slides p. 6–9: how many associations fit"
    work: ClassVar[str] = "sizes"
    parallel: ClassVar[bool] = True
    precision: Literal["float64", "float32"] = "float32"
    families: Annotated[tuple[Family, ...], Field(min_length=1)]
    target: Annotated[float, Field(gt=0, lt=1)] = 0.99
    resolution: Positive = 0.02
    against: Literal["dimension", "width", "parameters"] = "dimension"
    collapse: bool = False  # a panel of N log N/(md), one number for all if capacity is that of parameters
