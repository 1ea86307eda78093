"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ....studies.study import Count, Positive, Schema, Section, Seeds, Share, Size


class Hopfield(Schema):
    """Retrieval by a Hebb network over the load N/d: overlap at the end, one-step bit error, energy."""

    title: ClassVar[str] = "Slides p. 5: a Hopfield network over its load"
    work: ClassVar[str] = "hopfield"
    precision: Literal["float64", "float32"] = "float32"
    dimensions: Annotated[tuple[Size, ...], Field(min_length=1)] = (250, 500, 1000)
    loads: Annotated[tuple[Positive, ...], Field(min_length=2)]
    flips: Share = 0.1
    steps: Count = 40
    networks: Seeds = 20
    cues: Count = 20
    # States whose energy is followed, bits one at a time, at the least and the largest load.
    paths: Count = 6
    sweeps: Count = 6


class _Curve(Section):
    """An energy and the sizes it is tried at; ``degree`` 0 is the exponential."""

    degree: Annotated[int, Field(ge=0)]
    dimensions: Annotated[tuple[Size, ...], Field(min_length=3)]
    largest: tuple[Size, ...] = ()

    @model_validator(mode="after")
    def _sizes(self):
        if self.degree == 1:
            raise ValueError("degree = 1 stores nothing: 2 or more, or 0 for the exponential")
        if (self.degree == 0 or self.largest) and len(self.largest) != len(self.dimensions):
            raise ValueError("largest must have one number for each of dimensions (the exponential needs it)")
        return self


class Dense(Schema):
    """Patterns that a dense energy keeps, 90 % of them without a wrong bit, over d."""

    title: ClassVar[str] = "Slides p. 5: capacity of dense memories"
    work: ClassVar[str] = "dense"
    parallel: ClassVar[bool] = True
    precision: Literal["float64", "float32"] = "float32"
    curves: Annotated[tuple[_Curve, ...], Field(min_length=1)]
    target: Annotated[float, Field(gt=0, lt=1)] = 0.9
    seeds: Seeds = 20
    together: Count = 4


class Retrieval(Schema):
    """One step of attention from noisy cues, over β: error and energy."""

    title: ClassVar[str] = "Slides p. 5: attention retrieves"
    work: ClassVar[str] = "retrieval"
    dimension: Size = 64
    patterns: Size = 1000
    noise: Annotated[float, Field(ge=0)] = 0.05
    betas: Annotated[tuple[Positive, ...], Field(min_length=2)]
    steps: Count = 5
    trials: Seeds = 20
