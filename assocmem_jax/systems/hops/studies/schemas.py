"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from ....studies.study import DISTINCT, Count, Positive, PositiveRange, Precision, Schema, Seeds, Size, about


def check_hops(hops: int) -> None:
    if hops & (hops - 1):
        raise ValueError(f"hops must be a power of two, got {hops}")


class Construction(Schema):
    """The written transformer over β: accuracy of k hops and least attention weight, beside their bounds."""

    title: ClassVar[str] = "Slides p. 17: k hops, written down"
    work: ClassVar[str] = "construction"
    sizes: Annotated[tuple[tuple[Size, Count], ...], Field(min_length=1, max_length=6), DISTINCT] = about(
        "(N, k), a curve each"
    )
    betas: PositiveRange = about("β")
    contexts: Count = about("contexts of a measurement", 256)
    rounds: Count = about("of the search for worse contexts, 50 steps each", 16)

    @model_validator(mode="after")
    def _fits(self):
        for _, hops in self.sizes:
            check_hops(hops)
        return self


class Training(Schema):
    """Accuracy of k′ hops over the steps of Adam: k hops alone, a mixture of k′ ≤ k, and one k′ at a time."""

    title: ClassVar[str] = "Slides p. 17: k hops, trained"
    work: ClassVar[str] = "training"
    precision: Precision = "float32"
    values: Size = about("N", 4)
    hops: Size = about("k", 4)
    steps: Count = about("updates", 600)
    looks: Count = about("measurements on the way", 30)
    batch_size: Count = about("fresh sequences an update", 128)
    learning_rate: Positive = about("of Adam", 0.05)
    scale: Positive = about("standard deviation of the start", 0.1)
    held_out: Count = about("contexts that accuracy is taken over", 64)
    seeds: Seeds = about("independent π, starts and data", 5)

    @model_validator(mode="after")
    def _fits(self):
        check_hops(self.hops)
        if self.steps < (levels := self.hops.bit_length()):
            raise ValueError(f"steps must be at least {levels}, one for each k′, got {self.steps}")
        return self
