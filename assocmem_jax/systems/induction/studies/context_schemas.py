"""Configs of the studies of the global against the context: what they hold and what is refused. No JAX
here."""

import os
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from ....studies.study import (
    DISTINCT,
    AmountRange,
    Count,
    LevelRange,
    Positive,
    Precision,
    Probability,
    Schema,
    Size,
    SweepSchema,
    about,
)
from ....studies.user import Named


class Overtaking(SweepSchema):
    """When the answer of the context overtakes the noise that the feed-forward learned: a map, on the law."""

    title: ClassVar[str] = "Context: when the answer overtakes the noise"
    work: ClassVar[str] = "overtaking"
    tokens: AmountRange = about("N; it need not be whole")
    noise: LevelRange = about("α")
    shown: Annotated[tuple[Probability, ...], Field(min_length=1, max_length=6), DISTINCT] = about(
        "α of the curves over N; added to the axis", (0.1, 0.3, 0.45)
    )
    told: Annotated[tuple[Size, ...], Field(min_length=1), DISTINCT] = about(
        "N whose times are printed; added to the axis", (16, 64, 512)
    )


class Samples(Schema):
    """How many samples either part needs: one gradient step from zero, against the exact laws."""

    title: ClassVar[str] = "Context: samples of one step"
    work: ClassVar[str] = "samples"
    tokens: Size = about("N", 64)
    noise: Probability = about("α", 0.5)
    samples: Annotated[tuple[Count, ...], Field(min_length=2), DISTINCT] = about(
        "n, a point each", (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
    )
    trials: Size = about("independent sets of samples at each n", 4000)


class Truncation(Schema):
    """Accuracy on answers and loss on τ, over the rank that a matrix of a trained model is cut to.

    Trained here, a two-layer transformer with an MLP on text with in-context bigrams and noise; or a model of
    yours: ``own`` names a function () -> (task, model), a ``BigramTask`` with noise and any model with scores
    of it, and ``checkpoint`` a file that ``am.save`` wrote of the model of ``own`` (or of one of this
    config).
    """

    title: ClassVar[str] = "Context: truncating a trained model"
    work: ClassVar[str] = "truncation"
    precision: Precision = "float32"
    own: Named | None = about("module:name or path/to/file.py:name of a function () -> (task, model)", None)
    checkpoint: str | None = about("file with the weights of one model, which is then not trained", None)
    matrices: Annotated[dict[str, str], Field(min_length=1)] = about(
        "what the figure calls a matrix → its place in the model, cut one at a time",
        {"last MLP": "blocks.-1.outer", "last attention": "blocks.-1.output"},
    )
    ranks: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), DISTINCT] = about(
        "ranks it is cut to; those above its least dimension are left out", (0, 1, 2, 4, 8, 16, 32, 64)
    )
    noise: Probability = about("α", 0.5)
    triggers: Count = about("K, the most frequent characters", 1)
    length: Annotated[int, Field(ge=2)] = about("T, tokens a sequence", 64)
    width: Count = about("d", 64)
    heads: Count = about("a layer", 1)
    hidden: Count = about("neurons of an MLP", 256)
    norm: bool = about("layer norm before each part", False)
    learning_rate: Positive = about("η of Adam", 0.003)
    batch: Count = about("sequences drawn a step, the loss on all tokens", 48)
    steps: Count = about("of Adam", 300)
    every: Count = about("steps between two looks", 25)
    held_out: Count = about("sequences that are looked at and not trained on", 256)
    seeds: Count = about("independent models", 5)

    @model_validator(mode="after")
    def _whole(self):
        if self.width % self.heads:
            raise ValueError(f"heads must divide width = {self.width}")
        if self.checkpoint is not None and not os.path.isfile(self.checkpoint):
            raise ValueError(f"checkpoint: {self.checkpoint}: no such file that can be read")
        return self
