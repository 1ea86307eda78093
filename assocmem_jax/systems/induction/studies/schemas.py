"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ....studies.study import DISTINCT, Count, Positive, Precision, Schema, Section, about

Length = Annotated[int, Field(ge=2)]


Matrix = Literal["output2", "key2", "key1", "feedforward"]


PROBES = ("recall_output2", "recall_key2", "recall_key1", "recall_key1_early")


NAMES = {
    "in_context_accuracy": "in-context accuracy",
    "in_context_loss": "in-context loss (nats)",
    "global_loss": "global loss (nats)",
    "follows_head": "predictions that follow the head",
    "follows_bigram": "predictions that follow the bigrams",
    "recall_output2": "R of W_O²",
    "recall_key2": "R of W_K²",
    "recall_key1": "R of W_K¹",
    "recall_key1_early": "R of W_K¹, early t",
    "bigram_divergence": "KL of W_F (nats)",
    "tested": "accuracy on the other outputs",
}


class Data(Section):
    """A law of sequences: K triggers, drawn or fixed (from rank ``skip`` on), and the law of outputs."""

    triggers: Count = about("K", 5)
    fixed: bool = about("the K most frequent tokens; else drawn for each sequence", False)
    skip: Annotated[int, Field(ge=0)] = about("rank from which fixed triggers are taken", 0)
    outputs: Literal["uniform", "bigram"] = about(
        "law of what follows a trigger: uniform, or the bigram law of the trigger", "uniform"
    )
    repeat: bool = about("whether an output can be its own trigger", True)


class Case(Data):
    """One curve: data, model, what is frozen until when, and outputs it is also tested on."""

    label: str = about("in the legend")
    model: Literal["simplified", "transformer"] = about(
        "the simplified model of the paper, or a plain transformer", "simplified"
    )
    layers: Annotated[int, Field(ge=1, le=8)] = about("number of layers", 2)
    heads: Count = about("heads a layer", 1)
    feedforward: Literal["none", "linear", "relu"] = about("what follows attention", "none")
    norm: bool = about("layer norm before each part", False)
    frozen: tuple[Matrix, ...] = about("matrices that do not move before step frozen_until", ())
    tested_on: Literal["uniform", "bigram"] | None = about(
        "law of outputs that accuracy is measured on too", None
    )

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
    precision: Precision = "float32"
    cases: Annotated[tuple[Case, ...], Field(min_length=1)] = about("curves")
    length: Length = about("T, tokens a sequence", 64)
    batch: Count = about("sequences drawn a step", 128)
    width: Count = about("d", 128)
    learning_rate: Positive = about("η", 0.2)
    momentum: Annotated[float, Field(ge=0, lt=1)] = about("β of SGD", 0.9)
    weight_decay: Annotated[float, Field(ge=0)] = about("λ: λW is added to the gradient", 1e-4)
    loss_on: Literal["in_context", "all"] = about(
        "positions in the loss: outputs of a trigger seen before, or all", "in_context"
    )
    frozen_until: Count = about("step at which what is frozen thaws", 300)
    steps: Count = about("of descent", 600)
    every: Count = about("steps between two looks", 25)
    seeds: Count = about("independent runs", 1)
    held_out: Count = about("sequences that are looked at and not trained on", 128)
    report_at: tuple[Count, ...] = about("steps whose numbers are printed", (100, 300, 600))
    panels: Literal["cases", "quantities"] = about(
        "a panel for each case, or for each quantity", "quantities"
    )
    show: Annotated[tuple[str, ...], Field(min_length=1), DISTINCT] = about(
        "quantities that are drawn", ("in_context_accuracy", *PROBES)
    )
    maps: Literal["none", "attention", "memories"] = about(
        "what is drawn below: attention of a sequence, or the memories", "none"
    )
    checkpoint_every: Count | None = about(
        "steps between two checkpoints, a multiple of every and a divisor of steps; four looks unless given",
        None,
    )

    @model_validator(mode="after")
    def _known(self):
        if unknown := set(self.show) - set(NAMES):
            raise ValueError(f"show: {sorted(unknown)[0]!r} is not one of {', '.join(NAMES)}")
        segment = self.checkpoint_every or self.steps
        if self.steps % segment:
            raise ValueError("checkpoint_every must divide steps")
        if segment < self.steps and segment % self.every:
            raise ValueError(f"checkpoint_every must be a multiple of every = {self.every}, got {segment}")
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
    precision: Precision = "float32"
    tokens: Annotated[int, Field(ge=4)] = about("N", 64)
    length: Annotated[int, Field(ge=4)] = about("T, tokens a sequence", 16)
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1), DISTINCT] = about(
        "d, a group each", (256,)
    )
    samples: Count = about("sequences a step is an average over", 65_536)
    chunk: Count = about("sequences computed at once, a divisor of samples", 4096)
    saturation: Positive = about("factor on a matrix after its step, where accuracies are read", 100.0)
    positions: bool = about("whether x⁰ carries p_t too (B.3.2; B.3.3 leaves it out)", False)
    seeds: Count = about("independent embeddings and sequences", 5)

    @model_validator(mode="after")
    def _whole(self):
        if self.samples % self.chunk:
            raise ValueError("chunk must divide samples")
        return self


class Constructed(Schema):
    """Figure 1 and (7): accuracy and recall of the constructed weights over the width and the boost."""

    title: ClassVar[str] = "Birth Figure 1: a constructed induction head"
    work: ClassVar[str] = "constructed"
    precision: Precision = "float32"
    data: Data = about("law of sequences", Data())
    length: Length = about("T, tokens a sequence", 64)
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1), DISTINCT] = about(
        "d, a point each", (64, 128, 256, 512)
    )
    boosts: Annotated[tuple[Positive, ...], Field(min_length=1), DISTINCT] = about(
        "factor on the constructed weights, a curve each", (10.0,)
    )
    held_out: Count = about("sequences that accuracy is measured on", 128)
    seeds: Count = about("independent embeddings and sequences", 5)


class Dimension(Schema):
    """Figure 8: recall of W_O², trained alone, over the width; one rate, the best of each, or rates ∝ 1/d.

    A step on W_O² moves the scores by −η W_U W_Uᵀ E[(p̂ − 1_y) vᵀv'], v, v' = W_V² times what is attended:
    ‖w_U‖² = 1/3 at every d and ‖W_V² w_E‖² = d/3, so that a step moves them as much at every width (maximal
    update) if η ∝ 1/d. How unequal its moves are is the condition number of W_O² ↦ w_U(j)ᵀ W_O² W_V² w_E(i),
    squared: κ(W_U W_Uᵀ) κ(W_E W_V²ᵀ W_V² W_Eᵀ), infinite for d < N.
    """

    title: ClassVar[str] = "Birth Figure 8: the width"
    work: ClassVar[str] = "width"
    precision: Precision = "float32"
    data: Data = about("law of sequences", Data())
    length: Length = about("T, tokens a sequence", 64)
    batch: Count = about("sequences drawn a step", 128)
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1), DISTINCT] = about(
        "d, a curve each", (16, 32, 64, 128, 256)
    )
    rates: Annotated[tuple[Positive, ...], Field(min_length=1), DISTINCT] = about(
        "η that the best is chosen among", (0.05, 0.2, 0.8, 3.2)
    )
    fixed_rate: Positive = about("η of the first panel, one of rates", 0.2)
    reference_width: Count | None = about(
        "d at which the rate of maximal update, ∝ 1/d, is fixed_rate; not run unless given", None
    )
    steps: Count = about("of descent", 100)
    every: Count = about("steps between two looks", 5)
    seeds: Count = about("independent runs", 2)

    @model_validator(mode="after")
    def _among(self):
        if self.fixed_rate not in self.rates:
            raise ValueError("fixed_rate must be one of rates")
        return self


class OneStep(Schema):
    """Figure 9: recall R₁ of the first gradient step on W_O², over the width and the number of batches."""

    title: ClassVar[str] = "Birth Figure 9: one step"
    work: ClassVar[str] = "one_step"
    precision: Precision = "float32"
    data: Data = about("law of sequences", Data())
    length: Length = about("T, tokens a sequence", 256)
    batch: Count = about("sequences a batch", 32)
    batches: Annotated[tuple[Count, ...], Field(min_length=1), DISTINCT] = about(
        "number of batches the step is an average over, a curve each", (1, 2, 4, 8, 16, 32, 64)
    )
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1), DISTINCT] = about(
        "d, a point each", (16, 32, 64, 128, 256)
    )
    seeds: Count = about("independent embeddings and batches", 5)


class _FullBatch(Section):
    """One group of curves of GD Figure 7."""

    trained: Literal["output2", "all"] = about("W_O² alone, or all three matrices")
    width: Count = about("d")
    rates: Annotated[tuple[Positive, ...], Field(min_length=1), DISTINCT] = about("η, a curve each")
    sequences: Count = about("of the one batch")
    length: Length = about("T, tokens a sequence")
    steps: Count = about("of descent")


class FullBatch(Schema):
    """GD Figure 7: full-batch descent of W_O² alone and of all three matrices; losses and margins."""

    title: ClassVar[str] = "GD Figure 7: full-batch training of an induction head"
    work: ClassVar[str] = "full_batch"
    precision: Precision = "float32"
    data: Data = about("law of sequences", Data())
    groups: Annotated[tuple[_FullBatch, ...], Field(min_length=1)] = about("of curves")
    shown_tokens: Count = about("tokens whose margins are drawn", 5)
