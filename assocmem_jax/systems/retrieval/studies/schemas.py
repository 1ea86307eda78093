"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from ....studies.study import (
    DISTINCT,
    Count,
    Positive,
    Precision,
    Reach,
    Schema,
    Section,
    Seeds,
    Share,
    Size,
    about,
)


class Hopfield(Schema):
    """Retrieval by a Hebb network over the load N/d: overlap at the end, one-step bit error, energy."""

    title: ClassVar[str] = "Slides p. 5: a Hopfield network over its load"
    work: ClassVar[str] = "hopfield"
    precision: Precision = "float32"
    dimensions: Annotated[tuple[Size, ...], Field(min_length=1), DISTINCT] = about(
        "d, a curve each", (250, 500, 1000)
    )
    loads: Annotated[tuple[Positive, ...], Field(min_length=2), DISTINCT] = about("N/d, a point each")
    flips: Share = about("share of the bits of a cue that are wrong", 0.1)
    steps: Count = about("of synchronous retrieval", 40)
    networks: Seeds = about("independent networks", 20)
    cues: Count = about("a network", 20)
    # States whose energy is followed, bits one at a time, at the least and the largest load.
    paths: Count = about(
        "states whose energy is followed, bits one at a time, at the least and the largest load", 6
    )
    sweeps: Count = about("over all bits, of those states", 6)


class _Curve(Section):
    """An energy and the sizes it is tried at; ``degree`` 0 is the exponential."""

    degree: Annotated[int, Field(ge=0)] = about("k of E = −Σ (ξ·x)^k; 0: the exponential")
    dimensions: Annotated[tuple[Size, ...], Field(min_length=3), DISTINCT] = about("d, a point each")
    largest: tuple[Reach, ...] = about(
        "N that the search may reach, one for each of dimensions; the exponential needs it", ()
    )

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
    precision: Precision = "float32"
    curves: Annotated[tuple[_Curve, ...], Field(min_length=1)] = about("energies")
    target: Annotated[float, Field(gt=0, lt=1)] = about("share of the patterns that must be stable", 0.9)
    seeds: Seeds = about("independent sets of patterns", 20)
    together: Count = about("seeds computed at once", 4)


class Retrieval(Schema):
    """One step of attention from noisy cues, over β: error and energy."""

    title: ClassVar[str] = "Slides p. 5: attention retrieves"
    work: ClassVar[str] = "retrieval"
    dimension: Size = about("d", 64)
    patterns: Size = about("N", 1000)
    noise: Annotated[float, Field(ge=0)] = about("standard deviation of each coordinate of a cue", 0.05)
    betas: Annotated[tuple[Positive, ...], Field(min_length=2), DISTINCT] = about("β, a point each")
    steps: Count = about("of attention", 5)
    trials: Seeds = about("independent sets of patterns", 20)
