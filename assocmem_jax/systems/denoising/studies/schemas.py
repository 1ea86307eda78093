"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ....studies.study import DISTINCT, Count, Positive, Precision, Schema, Seeds, about

Counts = Annotated[tuple[Count, ...], Field(min_length=2), DISTINCT]
Positives = Annotated[tuple[Positive, ...], Field(min_length=1, max_length=4), DISTINCT]


class _Denoising(Schema):
    """What all of them hold: R^n, the noise, and the sequences of a measurement."""

    precision: Precision = "float32"
    dimension: Count = about("n", 16)
    variance: Positive = about("σ₀² of the linear manifold; the sphere has R² = δσ₀²", 2.0)
    sequences: Seeds = about("independent sequences of a measurement", 2048)


class ContextLengths(_Denoising):
    """Error of one step of attention over L, for three laws, beside Bayes and what is derived at finite L."""

    title: ClassVar[str] = "In-context denoising over the length of the context"
    work: ClassVar[str] = "context_lengths"
    rank: Count = about("δ", 8)
    centres: Count = about("p of the clusters, on the sphere of the same R² in R^n", 8)
    width: Positive = about("s₀, variance of a cluster", 0.1)
    noise: Positive = about("σ_z²", 1.0)
    lengths: Counts = about("L, a point each")

    @model_validator(mode="after")
    def _fits(self):
        if self.rank > self.dimension:
            raise ValueError(f"rank must be at most dimension = {self.dimension}, got {self.rank}")
        return self


class DenoisingMap(_Denoising):
    """Error over Bayes of one step, over L and δ, at several σ_z²: the linear manifold and the sphere."""

    title: ClassVar[str] = "Where one step of attention is Bayes"
    work: ClassVar[str] = "denoising_map"
    ranks: Counts = about("δ, a row each")
    lengths: Counts = about("L")
    noises: Positives = about("σ_z², a column each")

    @model_validator(mode="after")
    def _fits(self):
        if (most := max(self.ranks)) > self.dimension:
            raise ValueError(f"ranks must be at most dimension = {self.dimension}, got {most}")
        return self


class EnergyDescent(_Denoising):
    """Error over β and over steps down the energy, at a few L; β learned, and all three numbers of a step."""

    title: ClassVar[str] = "More steps of the energy, and other β"
    work: ClassVar[str] = "energy_descent"
    law: Literal["sphere", "linear"] = about("of the contexts", "sphere")
    rank: Count = about("δ", 8)
    noise: Positive = about("σ_z²", 1.0)
    lengths: Annotated[tuple[Count, ...], Field(min_length=1, max_length=4), DISTINCT] = about(
        "L, a column each"
    )
    betas: Annotated[tuple[Positive, ...], Field(min_length=2), DISTINCT] = about("β σ_z²")
    steps: Annotated[tuple[Count, ...], Field(min_length=1, max_length=7), DISTINCT] = about(
        "a curve each", (1, 2, 4)
    )
    updates: Count = about("of Adam on β alone, and on β, what is kept and the gain", 300)
    batch_size: Count = about("fresh sequences an update", 64)
    learning_rate: Positive = about("of Adam, falling to 0 like a cosine", 0.03)

    @model_validator(mode="after")
    def _fits(self):
        if self.rank > self.dimension:
            raise ValueError(f"rank must be at most dimension = {self.dimension}, got {self.rank}")
        return self


class Trained(Schema):
    """What Adam makes of linear attention at finite L, beside the best scaled identity."""

    title: ClassVar[str] = "Linear attention, trained to denoise"
    work: ClassVar[str] = "trained"
    precision: Precision = "float32"
    dimension: Count = about("n", 16)
    rank: Count = about("δ", 8)
    variance: Positive = about("σ₀²", 2.0)
    noise: Positive = about("σ_z²", 1.0)
    lengths: Annotated[tuple[Count, ...], Field(min_length=1, max_length=7), DISTINCT] = about(
        "L, a curve each"
    )
    steps: Count = about("of Adam", 1500)
    batch_size: Count = about("sequences a step", 64)
    learning_rate: Positive = about("of Adam, falling to 0", 0.01)
    seeds: Seeds = about("independent starts and data", 3)
    held_out: Count = about("sequences that the loss is measured on", 4096)

    @model_validator(mode="after")
    def _fits(self):
        if self.rank > self.dimension:
            raise ValueError(f"rank must be at most dimension = {self.dimension}, got {self.rank}")
        return self
