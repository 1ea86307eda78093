"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ....studies.study import DISTINCT, Count, Positive, Schema, Section, about

Counts = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=4, max_length=4)
]  # both signals, only μ₁, only μ₂, neither


class Start(Section):
    """How weights begin: Kaiming (standard deviation gain/√fan_in), or σ₀ = c₀/√(Lm), σ₁ = c₁/√m₁."""

    law: Literal["uniform", "normal", "sigma"] = about(
        "uniform or normal with standard deviation gain/√fan_in, or sigma: σ₀ = c₀/√(Lm), σ₁ = c₁/√m₁"
    )
    gain: Positive = about("of the first two laws", 2**0.5)
    c0: Positive = about("c₀ of sigma", 0.3)
    c1: Positive = about("c₁ of sigma", 0.3)


class TwoPhases(Schema):
    """Figure 1 and what surrounds it: scores, losses of each kind, G(μ), balancing, loss against 1/t, C."""

    title: ClassVar[str] = "Cooc Figure 1"
    work: ClassVar[str] = "two_phases"
    counts: Counts = about("samples with both signals, only μ₁, only μ₂, neither", (30, 10, 10, 10))
    length: Annotated[int, Field(ge=3)] = about("L, words a sample", 5)
    dimension: Annotated[int, Field(ge=4)] = about("d of the words", 64)
    distinct: bool = about("whether no word is in two samples", False)
    width: Count = about("m", 128)
    neurons: Count = about("m₁", 256)
    start: Start = about("how weights begin")
    learning_rate: Positive = about("η", 0.01)
    steps: Annotated[int, Field(ge=100)] = about("of descent", 30_000)
    observations: Annotated[int, Field(ge=20)] = about("number of looks", 300)
    test_samples: Count = about("that the loss is also measured on", 2000)
    system: Literal["reduced", "weights"] = about(
        "descend the closed system of scores, or the weights: the same numbers", "reduced"
    )

    heads: Count = about(
        "of attention, added before W; more than one with system = weights and law = sigma", 1
    )
    layers: Annotated[int, Field(ge=1, le=2)] = about(
        "of attention, 1 or 2; two with one head, system = weights and law = sigma", 1
    )

    @model_validator(mode="after")
    def _alone(self):
        if self.heads > 1 and self.layers > 1:
            raise ValueError(f"heads = {self.heads} and layers = {self.layers}: one of them must be 1")
        for name, number in (("heads", self.heads), ("layers", self.layers)):
            if number > 1 and (self.system, self.start.law) != ("weights", "sigma"):
                raise ValueError(f'{name} = {number} needs system = "weights" and start.law = "sigma"')
        return self

    @model_validator(mode="after")
    def _room(self):
        words = sum(count * (self.length - taken) for count, taken in zip(self.counts, (3, 2, 2, 1)))
        if self.distinct and words + 3 > self.dimension:
            raise ValueError(f"distinct words need dimension ≥ {words + 3}, got {self.dimension}")
        return self


class Shape(Section):
    counts: Counts = about("samples with both signals, only μ₁, only μ₂, neither")
    length: Annotated[int, Field(ge=3)] = about("L, words a sample")
    width: Count = about("m")


class PhaseOne(Schema):
    """Steps until all training samples are correct, over sizes and scales of the weights."""

    title: ClassVar[str] = "Cooc: the time of Phase 1"
    work: ClassVar[str] = "phase_one"
    shapes: Annotated[tuple[Shape, ...], Field(min_length=1)] = about("sizes that are tried")
    c0: Annotated[tuple[Positive, ...], Field(min_length=1), DISTINCT] = about("c₀: σ₀ = c₀/√(Lm)")
    c1: Annotated[tuple[Positive, ...], Field(min_length=1), DISTINCT] = about("c₁: σ₁ = c₁/√m₁")
    seeds: Annotated[int, Field(ge=1, le=2**20)] = about("independent runs of each", 8)
    dimension: Annotated[int, Field(ge=4)] = about("d of the words", 64)
    neurons: Count = about("m₁", 256)
    learning_rate: Positive = about("η", 2e-3)
    steps: Count = about("after which a run is given up", 3000)


class Rates(Schema):
    """Theorem 3.3 with its orders as exponents: learned scores at a given loss, one size varied at a time."""

    title: ClassVar[str] = "Cooc Theorem 3.3: orders"
    work: ClassVar[str] = "rates"
    samples: Annotated[int, Field(ge=12, multiple_of=6)] = about("n: half with both signals, sixths else", 24)
    length: Annotated[int, Field(ge=3)] = about("L, words a sample; words are distinct", 4)
    width: Count = about("m", 1024)
    neurons: Count = about("m₁", 64)
    sigma0: Positive = about("σ₀", 0.0047)
    sigma1: Positive = about("σ₁", 0.1)
    factors: Annotated[tuple[Positive, ...], Field(min_length=2), DISTINCT] = about(
        "of σ₀ and σ₁, one program for all", (0.25, 0.5, 2.0, 4.0)
    )
    widths: Annotated[tuple[Count, ...], DISTINCT] = about("m tried", (256, 4096))
    neuron_counts: Annotated[tuple[Count, ...], DISTINCT] = about("m₁ tried", (16, 256))
    lengths: Annotated[tuple[Annotated[int, Field(ge=3)], ...], DISTINCT] = about("L tried", (3, 6))
    sample_counts: Annotated[tuple[Annotated[int, Field(ge=12, multiple_of=6)], ...], DISTINCT] = about(
        "n tried", (12, 48)
    )
    target: Positive = about("training loss at which scores are read", 0.01)
    seeds: Annotated[int, Field(ge=2)] = about("independent runs of each", 4)
    horizon: Positive = about("time of the late flow, in units of 1/ρ₀", 1e6)
