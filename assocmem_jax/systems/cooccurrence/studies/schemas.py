"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ....studies.study import Count, Positive, Schema, Section

Counts = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=4, max_length=4)
]  # both signals, only μ₁, only μ₂, neither


class Start(Section):
    """How weights begin: Kaiming (standard deviation gain/√fan_in), or σ₀ = c₀/√(Lm), σ₁ = c₁/√m₁."""

    law: Literal["uniform", "normal", "sigma"]
    gain: Positive = 2**0.5
    c0: Positive = 0.3
    c1: Positive = 0.3


class TwoPhases(Schema):
    """Figure 1 and what surrounds it: scores, losses of each kind, G(μ), balancing, loss against 1/t, C."""

    title: ClassVar[str] = "Cooc Figure 1"
    work: ClassVar[str] = "two_phases"
    counts: Counts = (30, 10, 10, 10)
    length: Annotated[int, Field(ge=3)] = 5
    dimension: Annotated[int, Field(ge=4)] = 64
    distinct: bool = False
    width: Count = 128
    neurons: Count = 256
    start: Start
    learning_rate: Positive = 0.01
    steps: Annotated[int, Field(ge=100)] = 30_000
    observations: Annotated[int, Field(ge=20)] = 300
    test_samples: Count = 2000
    system: Literal["reduced", "weights"] = "reduced"

    @model_validator(mode="after")
    def _room(self):
        words = sum(count * (self.length - taken) for count, taken in zip(self.counts, (3, 2, 2, 1)))
        if self.distinct and words + 3 > self.dimension:
            raise ValueError(f"distinct words need dimension ≥ {words + 3}, got {self.dimension}")
        return self


class Shape(Section):
    counts: Counts
    length: Annotated[int, Field(ge=3)]
    width: Count


class PhaseOne(Schema):
    """Steps until all training samples are correct, over sizes and scales of the weights."""

    title: ClassVar[str] = "Cooc: the time of Phase 1"
    work: ClassVar[str] = "phase_one"
    shapes: Annotated[tuple[Shape, ...], Field(min_length=1)]
    c0: Annotated[tuple[Positive, ...], Field(min_length=1)]
    c1: Annotated[tuple[Positive, ...], Field(min_length=1)]
    seeds: Count = 8
    dimension: Annotated[int, Field(ge=4)] = 64
    neurons: Count = 256
    learning_rate: Positive = 2e-3
    steps: Count = 3000
