"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ....studies.study import Count, Positive, Schema, Section

Length = Annotated[int, Field(ge=2)]


Matrix = Literal["output2", "key2", "key1", "feedforward"]


PROBES = ("recall_output2", "recall_key2", "recall_key1", "recall_key1_early")


NAMES = {
    "in_context_accuracy": "in-context accuracy",
    "in_context_loss": "in-context loss (nats)",
    "global_loss": "global loss (nats)",
    "recall_output2": "R of W_O²",
    "recall_key2": "R of W_K²",
    "recall_key1": "R of W_K¹",
    "recall_key1_early": "R of W_K¹, early t",
    "bigram_divergence": "KL of W_F (nats)",
    "tested": "accuracy on the other outputs",
}


class Data(Section):
    """A law of sequences: K triggers, drawn or fixed (from rank ``skip`` on), and the law of outputs."""

    triggers: Count = 5
    fixed: bool = False
    skip: Annotated[int, Field(ge=0)] = 0
    outputs: Literal["uniform", "bigram"] = "uniform"
    repeat: bool = True  # whether an output can be its own trigger


class Case(Data):
    """One curve: data, model, what is frozen until when, and outputs it is also tested on."""

    label: str
    model: Literal["simplified", "transformer"] = "simplified"
    layers: Annotated[int, Field(ge=1, le=8)] = 2
    heads: Count = 1
    feedforward: Literal["none", "linear", "relu"] = "none"
    norm: bool = False
    frozen: tuple[Matrix, ...] = ()
    tested_on: Literal["uniform", "bigram"] | None = None

    @model_validator(mode="after")
    def _fits(self):
        if self.model == "simplified" and (self.layers > 2 or self.heads > 1 or self.norm):
            raise ValueError("a simplified model has 1 or 2 layers, one head and no norm")
        if self.model == "simplified" and self.feedforward == "relu":
            raise ValueError("feedforward = 'relu' is for model = 'transformer'")
        if self.model == "transformer" and self.frozen:
            raise ValueError("frozen is for model = 'simplified'")
        return self


class Induction(Schema):
    """Descent on fresh batches, case by case, over seeds: losses, accuracy, probes, maps at the end."""

    title: ClassVar[str] = "Birth: an induction head forms"
    work: ClassVar[str] = "formation"
    precision: Literal["float64", "float32"] = "float32"
    cases: Annotated[tuple[Case, ...], Field(min_length=1)]
    length: Length = 64
    batch: Count = 128
    width: Count = 128
    learning_rate: Positive = 0.2
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    loss_on: Literal["in_context", "all"] = "in_context"
    frozen_until: Count = 300
    steps: Count = 600
    every: Count = 25
    seeds: Count = 1
    held_out: Count = 128
    report_at: tuple[Count, ...] = (100, 300, 600)
    panels: Literal["cases", "quantities"] = "quantities"
    show: tuple[str, ...] = ("in_context_accuracy", *PROBES)
    maps: Literal["none", "attention", "memories"] = "none"
    checkpoint_every: Count | None = None

    @model_validator(mode="after")
    def _known(self):
        if unknown := set(self.show) - set(NAMES):
            raise ValueError(f"show: {sorted(unknown)[0]!r} is not one of {', '.join(NAMES)}")
        if self.steps % (self.checkpoint_every or self.steps):
            raise ValueError("checkpoint_every must divide steps")
        if len({case.label for case in self.cases}) < len(self.cases):
            raise ValueError("cases must have labels of their own")
        if self.maps == "memories" and any(c.model != "simplified" or c.layers < 2 for c in self.cases):
            raise ValueError("maps = 'memories' needs simplified models of two layers")
        return self


class ThreeSteps(Schema):
    """Theorem 3: one gradient step on W_O², one on W_K², one on W_K¹, each measured.

    One trigger, uniform laws, z_T its second occurrence; layer 1 attends by positions and carries tokens,
    layer 2 has keys x¹ and values and queries x⁰ (B.3.2–B.3.3). The three matrices start at zero; after its
    step a matrix is multiplied by ``saturation`` where accuracies are read ("saturate the softmax").
    """

    title: ClassVar[str] = "Birth Theorem 3: three gradient steps"
    work: ClassVar[str] = "three_steps"
    precision: Literal["float64", "float32"] = "float32"
    tokens: Annotated[int, Field(ge=4)] = 64
    length: Annotated[int, Field(ge=4)] = 16
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (256,)
    samples: Count = 65_536
    chunk: Count = 4096
    saturation: Positive = 100.0
    positions: bool = False  # whether x⁰ carries p_t too (B.3.2; B.3.3 leaves it out)
    seeds: Count = 5

    @model_validator(mode="after")
    def _whole(self):
        if self.samples % self.chunk:
            raise ValueError("chunk must divide samples")
        return self


class Constructed(Schema):
    """Figure 1 and (7): accuracy and recall of the constructed weights over the width and the boost."""

    title: ClassVar[str] = "Birth Figure 1: a constructed induction head"
    work: ClassVar[str] = "constructed"
    precision: Literal["float64", "float32"] = "float32"
    data: Data = Data()
    length: Length = 64
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (64, 128, 256, 512)
    boosts: Annotated[tuple[Positive, ...], Field(min_length=1)] = (10.0,)
    held_out: Count = 128
    seeds: Count = 5


class Dimension(Schema):
    """Figure 8: recall of W_O², trained alone, over the width; one rate for all, or the best of each."""

    title: ClassVar[str] = "Birth Figure 8: the width"
    work: ClassVar[str] = "width"
    precision: Literal["float64", "float32"] = "float32"
    data: Data = Data()
    length: Length = 64
    batch: Count = 128
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (16, 32, 64, 128, 256)
    rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.05, 0.2, 0.8, 3.2)
    fixed_rate: Positive = 0.2
    steps: Count = 100
    every: Count = 5
    seeds: Count = 2

    @model_validator(mode="after")
    def _among(self):
        if self.fixed_rate not in self.rates:
            raise ValueError("fixed_rate must be one of rates")
        return self


class OneStep(Schema):
    """Figure 9: recall R₁ of the first gradient step on W_O², over the width and the number of batches."""

    title: ClassVar[str] = "Birth Figure 9: one step"
    work: ClassVar[str] = "one_step"
    precision: Literal["float64", "float32"] = "float32"
    data: Data = Data()
    length: Length = 256
    batch: Count = 32
    batches: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 4, 8, 16, 32, 64)
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (16, 32, 64, 128, 256)
    seeds: Count = 5


class _FullBatch(Section):
    """One group of curves of GD Figure 7."""

    trained: Literal["output2", "all"]
    width: Count
    rates: Annotated[tuple[Positive, ...], Field(min_length=1)]
    sequences: Count
    length: Length
    steps: Count


class FullBatch(Schema):
    """GD Figure 7: full-batch descent of W_O² alone and of all three matrices; losses and margins."""

    title: ClassVar[str] = "GD Figure 7: full-batch training of an induction head"
    work: ClassVar[str] = "full_batch"
    precision: Literal["float64", "float32"] = "float32"
    data: Data = Data()
    groups: Annotated[tuple[_FullBatch, ...], Field(min_length=1)]
    shown_tokens: Count = 5
