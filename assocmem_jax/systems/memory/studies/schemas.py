"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

import itertools
import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ....studies.study import (
    DISTINCT,
    Cosine,
    CosineRange,
    Count,
    Level,
    Positive,
    PositiveRange,
    Precision,
    Probability,
    Real,
    RealRange,
    Schema,
    Section,
    Seeds,
    Size,
    SweepSchema,
    about,
)

Point = Annotated[tuple[Real, Real], Field()]


Window = Annotated[tuple[Real, Real, Real, Real], Field()]


Vector = Annotated[tuple[Real, ...], Field(min_length=1)]


Rows = Annotated[tuple[Vector, ...], Field(min_length=2)]


Rates = Annotated[tuple[Positive, ...], Field(min_length=1), DISTINCT]


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

    name: str = about("of the panel")
    inputs: Rows = about("embeddings of the tokens, a row [x, y] each")
    window: Window = about("of the picture: [x0, x1, y0, y1]")
    zipf_exponent: Real = about("p(x) ∝ x^−exponent", 1.0)

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
    p1: Probability = about("probability of the first of two tokens")
    alphas: Annotated[tuple[Cosine, ...], Field(min_length=1, max_length=6), DISTINCT] = about(
        "⟨e₁, e₂⟩, a column of panels each"
    )
    windows: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=4), DISTINCT] = about(
        "half-width of the picture in both weights, a row of panels each"
    )
    resolution: Resolution = about("points a side of the grid", 50)
    learning_rate: Positive = about("η of the steps that are drawn", 1.0)


class LossSpikes(Schema):
    """Figure 2: descent of two tokens at several rates; spikes of the loss."""

    title: ClassVar[str] = "GD Figure 2"
    work: ClassVar[str] = "loss_spikes"
    alpha: Cosine = about("⟨e₁, e₂⟩")
    p1: Probability = about("probability of the first of two tokens")
    learning_rates: Rates = about("η, a colour each")
    steps: Count = about("of descent that are drawn", 35)
    horizon: Count = about("steps within which zero error is looked for", 1000)
    window: Window = about("of the picture: [x0, x1, y0, y1]", (-2.0, 8.0, -10.0, 10.0))
    resolution: Resolution = about("points a side of the grid", 100)

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
    learning_rate: PositiveRange = about("η")
    imbalance: RealRange = about("log(p₁/p₂)")
    alpha: CosineRange = about("⟨e₁, e₂⟩")
    steps: Count = about("after which a run is given up", 1000)
    panel_alpha: Cosine = about("α of the first slice that is drawn", 0.75)
    panel_p1: Probability = about("p₁ of the second slice that is drawn", 0.75)


class _Stochastic(Plane):
    start: Point = about("W₀ in the plane: [x, y]")
    learning_rate: Positive = about("η")
    batch_size: Count = about("tokens drawn a step")
    steps: Count = about("of each run")
    runs: Count = about("independent runs")


class LimitedCapacity(Schema):
    """Figure 4: loss and 0-1 loss when more tokens than dimensions must share W; forgetting by SGD."""

    title: ClassVar[str] = "GD Figure 4"
    work: ClassVar[str] = "limited_capacity"
    panels: Annotated[tuple[Plane, ...], Field(min_length=1, max_length=6)] = about(
        "sets of tokens, a panel each"
    )
    sgd: _Stochastic = about("the stochastic runs")
    resolution: Resolution = about("points a side of the grid", 100)


class _Started(Plane):
    start: Point = about("W₀ in the plane: [x, y]")


class SharpnessProfile(Schema):
    """Figure 5: the sharpness over the plane and along descent, separable and not."""

    title: ClassVar[str] = "GD Figure 5"
    work: ClassVar[str] = "sharpness"
    panels: Annotated[tuple[_Started, ...], Field(min_length=1, max_length=4)] = about(
        "sets of tokens, a row each"
    )
    learning_rates: Rates = about("η, a colour each")
    steps: Count = about("of descent that are drawn", 35)
    horizon: Count = about("steps within which zero error is looked for", 5000)
    resolution: Resolution = about("points a side of the grid", 100)

    @model_validator(mode="after")
    def _consistent(self):
        if self.horizon < self.steps + 2:
            raise ValueError(f"horizon must be at least steps + 2 = {self.steps + 2}, got {self.horizon}")
        return self


class _Wide(Section):
    inputs: Rows = about("embeddings e, a row a token")
    outputs: Rows = about("unembeddings u, a row a class")

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
    panels: Annotated[tuple[_Wide, ...], Field(min_length=1, max_length=4)] = about(
        "embeddings, a row of panels each"
    )
    learning_rates: Rates = about("η, a column of panels each")
    zipf_exponent: Real = about("p(x) ∝ x^−exponent", 1.0)
    steps: Count = about("of descent", 100)
    shown: Count = about("steps that are drawn", 30)
    horizon: Count = about("steps within which zero error is looked for", 1000)

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
    horizon: Positive = about("of the flows, in time", 1e5)
    p1: Probability = about("probability of the first of two tokens, in the descent", 0.75)
    alpha: Cosine = about("⟨e₁, e₂⟩, in the descent", 0.95)
    learning_rate: Positive = about("η of the descent", 10.0)
    steps: Count = about("of the descent", 35)


class System(Section):
    """A memory without a perfect answer: soft labels on one token, or tokens that no W separates."""

    name: str = about("of the panel")
    probabilities: Annotated[tuple[Positive, ...], Field(min_length=1)] = about("p(x), one a token")
    inputs: tuple[Vector, ...] = about("embeddings, a row a token")
    labels: tuple[tuple[Level, Level], ...] = about("[P(y = 0), P(y = 1)], a row a token")

    @model_validator(mode="after")
    def _consistent(self):
        n = len(self.probabilities)
        if not len(self.inputs) == len(self.labels) == n:
            raise ValueError(
                f"must have as many inputs ({len(self.inputs)}) and labels ({len(self.labels)}) as "
                f"probabilities ({n})"
            )
        check_rows("inputs", self.inputs)
        laws = {
            "probabilities": self.probabilities,
            **{f"labels[{i}]": row for i, row in enumerate(self.labels)},
        }
        for name, law in laws.items():
            if abs(math.fsum(law) - 1) > 8 * 2**-52:  # what am.laws takes for one at any size
                raise ValueError(f"{name} must sum to one, got {math.fsum(law):.9g}")
        return self


class Bifurcation(Schema):
    """What descent does beyond the edge of stability: iterates, Lyapunov exponent, sharpness over ηH*/2."""

    title: ClassVar[str] = "Beyond the edge"
    work: ClassVar[str] = "bifurcation"
    systems: Annotated[tuple[System, ...], Field(min_length=1, max_length=4)] = about(
        "memories, a column each"
    )
    largest: Annotated[float, Field(gt=1)] = about("η goes up to this many times 2/H*", 5.0)
    rates: Annotated[int, Field(ge=8)] = about("number of η", 1000)
    transient: Count = about("steps that are not kept", 2000)
    kept: Annotated[int, Field(ge=16)] = about("steps that are kept", 1000)
    start: Positive = about("distance of W₀ from the minimiser", 0.1)


class Tokens(Section):
    """Equicorrelated tokens, f*(x) = x, p(x) ∝ weights."""

    name: str = about("of the panel")
    alpha: Cosine = about("⟨e_i, e_j⟩ of any two")
    weights: Annotated[tuple[Positive, ...], Field(min_length=2)] = about("p(x) up to a factor, one a token")

    @model_validator(mode="after")
    def _admitted(self):
        if self.alpha < -(1 + 2**-51) / (len(self.weights) - 1):
            raise ValueError(
                f"alpha of {len(self.weights)} tokens must be at least −1/{len(self.weights) - 1}"
            )
        return self


class Schedule(Schema):
    """A rate for every step, found by differentiating through the training, against the best constant."""

    title: ClassVar[str] = "Learned schedules"
    work: ClassVar[str] = "schedule"
    systems: Annotated[tuple[Tokens, ...], Field(min_length=1, max_length=3)] = about(
        "sets of tokens, a panel each"
    )
    smallest: Positive = about("least rate, learned or constant", 1e-2)
    largest: Positive = about("largest rate, learned or constant", 1e4)
    constants: Count = about("number of constant rates tried", 4000)
    horizon: Count = about("steps after which a constant rate is given up", 1000)
    longest: Count = about("steps of the longest learned schedule", 8)
    starts: Count = about("schedules that the search begins from", 32)
    iterations: Count = about("of the optimizer of schedules", 600)

    @model_validator(mode="after")
    def _between(self):
        if not self.smallest < self.largest:
            raise ValueError(f"largest must be above smallest = {self.smallest:g}, got {self.largest:g}")
        return self


class Interfering(Section):
    """Tokens on the sphere of fewer dimensions than there are tokens, f(x) = x mod M, p(x) ∝ x^−exponent."""

    name: str = about("of the panel")
    tokens: Size = about("N")
    dimension: Size = about("d")
    classes: Annotated[int, Field(ge=2, le=1000)] = about("M")
    zipf_exponent: Exponent = about("p(x) ∝ x^−exponent", 1.0)
    learning_rate: Positive = about("of descent, the same for all orders")


class Curricula(Schema):
    """Orders of data: steps to perfect accuracy of natural, rebalanced, staged and learned laws."""

    title: ClassVar[str] = "GD sections 2 and 6: orders of data"
    work: ClassVar[str] = "curricula"
    systems: Annotated[tuple[Interfering, ...], Field(min_length=1, max_length=3)] = about(
        "sets of tokens, a column each"
    )
    horizon: Annotated[int, Field(ge=1, le=2000)] = about("steps after which an order is given up", 256)
    longest: Annotated[int, Field(ge=1, le=200)] = about("steps of the longest learned order", 32)
    tilt: Positive = about("staged orders go from p^tilt to p^−tilt, or back", 1.0)
    starts: Count = about("laws that the search begins from", 16)
    iterations: Count = about("of the optimizer of laws", 400)


class Scheme(Section):
    """q: counts (p without samples), tokens seen, or the most frequent d/room of them."""

    name: Literal["frequency", "equal", "top"] = about(
        "q: frequency (counts; p without samples), equal (every token seen), top (the most frequent)"
    )
    room: Positive = about("dimensions for each token kept by top", 8.0)

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
    tokens: Size = about("N", 1000)
    classes: Size = about("M: f(x) = x mod M", 5)
    zipf_exponent: Exponent = about("α: p(x) ∝ x^−α", 2.0)
    sphere_outputs: bool = about("u on the unit sphere; else N(0, 1/d)", True)
    schemes: Annotated[tuple[Scheme, ...], Field(min_length=1), DISTINCT] = about(
        "q of W = Σ q(x) u eᵀ, a curve each"
    )
    dimensions: Annotated[tuple[Size, ...], Field(min_length=1), DISTINCT] = about("d")
    samples: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), DISTINCT] = about(
        "n, the number of samples; 0 is the population", (0,)
    )
    trials: Seeds = about("independent embeddings and samples", 20)
    together: Count = about("trials computed at once", 1)
    fit_from: Count = about("slopes are fitted over d (or n) from here on", 1)


def titled(optimizer: str, norm: bool) -> str:
    return {"sgd": "SGD", "adam": "Adam"}[optimizer] + (" + LN" if norm else "")


class Case(Section):
    """An optimizer: SGD of a batch and a rate, Adam, sign, normalised; with layer norm or without."""

    label: str = about("in the legend")
    optimizer: Literal["sgd", "adam", "sign", "normalised"] = about("what makes a step of the gradient")
    learning_rate: Positive = about("η")
    batch: Annotated[int, Field(ge=0)] = about("tokens drawn a step; 0: the gradient of the population")
    norm: bool = about("layer norm before the scores", False)
    scale_by_dimension: bool = about("η/d in place of η, as the paper's Adam", False)


class _Grid(Section):
    """Every optimizer, with layer norm and without, at every rate and batch."""

    optimizers: Annotated[tuple[Literal["sgd", "adam"], ...], Field(min_length=1, max_length=2), DISTINCT] = (
        about("that are tried", ("sgd", "adam"))
    )
    norms: Annotated[tuple[bool, ...], Field(min_length=1, max_length=2), DISTINCT] = about(
        "without layer norm, with it, or both", (False, True)
    )
    rates: Annotated[tuple[Positive, ...], Field(min_length=2), DISTINCT] = about("η")
    batches: Annotated[tuple[Count, ...], Field(min_length=2), DISTINCT] = about("tokens drawn a step")

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
    precision: Precision = "float32"
    tokens: Size = about("N", 100)
    classes: Size = about("M: f(x) = x mod M", 5)
    zipf_exponent: Exponent = about("α: p(x) ∝ x^−α", 2.0)
    dimensions: Annotated[tuple[Size, ...], Field(min_length=1), DISTINCT] = about("d")
    samples: Count = about("seen in all, steps × batch; with batch 0, the number of steps", 10_240)
    cases: Annotated[tuple[Case, ...], Field(max_length=7)] = about("optimizers, a curve each", ())
    grid: _Grid | None = about("or every optimizer at every rate and batch", None)
    zero_start: bool = about("W₀ = 0; else W₀ ~ N(0, 1/d)", False)
    looks: Annotated[int, Field(ge=2)] = about("times along training at which W is looked at", 8)
    trials: Seeds = about("independent embeddings, starts and samples", 3)
    at: Size | None = about("d of the curves along training; the largest unless given", None)

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

    label: str = about("in the legend")
    panel: str = about("title of the panel it is drawn in")
    memory: Literal["written", "low rank", "kernel", "linear", "mlp"] = about("what stores the tokens")
    classes: Annotated[int, Field(ge=0)] = about("M; 0: every token its own answer", 0)
    random: bool = about("answers drawn; else x mod M", False)
    pairs: bool = about("inputs e_i + ẽ_j of all pairs; else one embedding a token", False)
    sphere: bool = about("embeddings on the unit sphere; else N(0, 1/d)", False)
    dimensions: Annotated[tuple[Size, ...], Field(min_length=1)] = about("d, a point each")
    widths: tuple[Count, ...] = about("m, one for each of dimensions: the rank, or the neurons", ())
    largest: Annotated[tuple[Size, ...], Field(min_length=1)] = about(
        "N that the search may reach, one for each of dimensions"
    )
    smallest: Count = about("N where the search begins: a narrow ReLU layer can fail on fewer", 2)
    degree: Annotated[int, Field(ge=1)] = about("of the Hermite activation of a kernel", 2)
    learning_rate: Positive = about("η of Adam", 0.03)
    steps: Count = about("of Adam", 1024)
    seeds: Seeds = about("independent memories", 20)
    together: Count = about("seeds computed at once", 1)

    @model_validator(mode="after")
    def _aligned(self):
        n = len(self.dimensions)
        if len(self.largest) != n:
            raise ValueError(f"must have as many largest ({len(self.largest)}) as dimensions ({n})")
        if (self.widths or self.memory in ("low rank", "kernel", "mlp")) and len(self.widths) != n:
            raise ValueError(f"{self.memory} needs widths, one for each of dimensions ({n})")
        if (least := min(self.largest)) <= self.smallest:
            raise ValueError(f"smallest must be below every largest, got {self.smallest} and {least}")
        return self


class Sizes(Schema):
    """N₉₉ of written, low-rank, kernel and trained memories over d and m."""

    title: ClassVar[str] = "Slides p. 6–9: how many associations fit"
    work: ClassVar[str] = "sizes"
    parallel: ClassVar[bool] = True
    precision: Precision = "float32"
    families: Annotated[tuple[Family, ...], Field(min_length=1)] = about("curves")
    target: Annotated[float, Field(gt=0, lt=1)] = about("share of tokens that must be recalled", 0.99)
    resolution: Probability = about("of the capacity, as a share of it", 0.02)
    against: Literal["dimension", "width", "parameters"] = about("what the horizontal axis is", "dimension")
    collapse: bool = about(
        "a panel of N log N/(md): one number for all if capacity is that of parameters", False
    )
