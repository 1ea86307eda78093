"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ....studies.study import Count, Positive, Schema, Section, about

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
    c0: Annotated[tuple[Positive, ...], Field(min_length=1)] = about("c₀: σ₀ = c₀/√(Lm)")
    c1: Annotated[tuple[Positive, ...], Field(min_length=1)] = about("c₁: σ₁ = c₁/√m₁")
    seeds: Count = about("independent runs of each", 8)
    dimension: Annotated[int, Field(ge=4)] = about("d of the words", 64)
    neurons: Count = about("m₁", 256)
    learning_rate: Positive = about("η", 2e-3)
    steps: Count = about("after which a run is given up", 3000)
