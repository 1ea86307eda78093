"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ....studies.study import DISTINCT, Count, Precision, Probability, Schema, Seeds, Size, about

Lengths = Annotated[tuple[Size, ...], Field(min_length=1, max_length=6), DISTINCT]
Counts = Annotated[tuple[Count, ...], Field(min_length=1), DISTINCT]
Batches = Literal["same", "fresh", "centred"]


class OneStep(Schema):
    """Recall after one step on noisy inputs, over d, with the closed form on top."""

    title: ClassVar[str] = "Slides p. 18: one noisy step"
    work: ClassVar[str] = "one_step"
    precision: Precision = "float32"
    tokens: Annotated[tuple[Size, ...], Field(min_length=1, max_length=7), DISTINCT] = about(
        "N, a curve each"
    )
    dimensions: Counts = about("d, a point each")
    noise: Count = about("T, noise vectors p_t", 4)
    seeds: Seeds = about("independent embeddings", 10)


class NoiseMap(Schema):
    """P(attention finds the trigger) and accuracy after three steps, over d and n, at several T."""

    title: ClassVar[str] = "Slides p. 29–30: where three steps see through noise"
    work: ClassVar[str] = "noise_map"
    precision: Precision = "float32"
    tokens: Size = about("N", 256)
    lengths: Annotated[tuple[Size, ...], Field(min_length=1, max_length=4), DISTINCT] = about(
        "T, a column each"
    )
    dimensions: Annotated[tuple[Count, ...], Field(min_length=2), DISTINCT] = about("d, a row each")
    sequences: Annotated[tuple[Count, ...], Field(min_length=2), DISTINCT] = about("n of a step")
    batches: Batches = about(
        "the same sequences in all steps, fresh ones, or the same and ū over them", "same"
    )
    seeds: Seeds = about("independent embeddings and sequences", 8)


class NoiseLaw(Schema):
    """d₅₀(T, n), at which attention is right half of the time, by a search; what is claimed and derived."""

    title: ClassVar[str] = "Slides p. 29–30: the width that attention needs"
    work: ClassVar[str] = "noise_law"
    parallel: ClassVar[bool] = True
    precision: Precision = "float32"
    tokens: Size = about("N", 256)
    lengths: Lengths = about("T, a curve each")
    sequences: Counts = about("n of a step, at least N")
    batches: Annotated[tuple[Batches, ...], Field(min_length=1), DISTINCT] = about(
        "a column each: the same sequences in all steps, fresh ones, or the same and ū over them",
        ("same", "fresh"),
    )
    target: Probability = about("P(attention right) that is asked for", 0.5)
    resolution: Probability = about("of the search, as a share of d", 0.02)
    reach: Annotated[int, Field(ge=2)] = about("largest d of the search, in multiples of the one derived", 4)
    seeds: Seeds = about("independent embeddings and sequences", 24)

    @model_validator(mode="after")
    def _enough(self):
        if (least := min(self.sequences)) < self.tokens:
            raise ValueError(f"sequences must be at least tokens = {self.tokens} for the laws, got {least}")
        return self
