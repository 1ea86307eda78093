"""Configs of the studies of this system: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from ....studies.study import (
    Amount,
    AmountRange,
    Count,
    Positive,
    PositiveRange,
    Schema,
    Section,
    Seeds,
    Size,
    SweepSchema,
    about,
)


class Case(Section):
    """One size and start, trained by SGD."""

    label: str = about("what the figure calls it", "")
    subjects: Size = about("S, a multiple of answers")
    relations: Size = about("R")
    answers: Size = about("D, answers of a relation")
    start: Positive = about("α: every entry of v and A")
    mentions: Count = about("how often a text says its subject", 1)
    learning_rate: Positive = about("η", 0.1)
    steps: Annotated[int, Field(ge=20)] = about("of SGD")

    @model_validator(mode="after")
    def _balanced(self):
        if self.subjects % self.answers:
            raise ValueError(f"answers must divide subjects = {self.subjects}, got {self.answers}")
        return self

    @property
    def name(self) -> str:
        return self.label or f"({self.subjects}, {self.relations}, {self.answers}), α = {self.start:g}"


class Hallucination(Schema):
    """Losses of the two halves of a fact by SGD, on top of the reduced system; the plateau between them."""

    title: ClassVar[str] = "Facts: hallucination"
    work: ClassVar[str] = "hallucination"
    cases: Annotated[tuple[Case, ...], Field(min_length=1, max_length=4)] = about("sizes, a column each")
    noise: Count = about("types of noise tokens", 20)
    length: Annotated[int, Field(ge=4)] = about("T", 32)
    batch: Count = about("fresh texts a step", 1024)
    seeds: Seeds = about("independent runs, facts included", 5)
    level: Annotated[float, Field(gt=0, lt=0.3)] = about("below which a loss counts as learned", 0.1)
    looks: Annotated[int, Field(ge=10)] = about("at losses and accuracies", 256)

    @model_validator(mode="after")
    def _room(self):
        if (most := max(case.mentions for case in self.cases)) + 2 > self.length:
            raise ValueError(f"length must be at least {most + 2}, got {self.length}")
        return self


class Order(SweepSchema):
    """Which half of a fact is learned first, and how long the plateau is: the flow's times, exactly."""

    title: ClassVar[str] = "Facts: which half is first"
    work: ClassVar[str] = "order"
    subjects: AmountRange = about("S; sizes need not be whole numbers")
    relations: AmountRange = about("R")
    answers: AmountRange = about("D")
    start: PositiveRange = about("α")
    level: Annotated[float, Field(gt=0, lt=0.3)] = about("below which a loss counts as learned", 0.1)
    panel_answers: Amount = about("D of the maps over S and R; added to the axis", 8)
    panel_start: Positive = about("α of the maps over S and R; added to the axis", 1e-5)
    panel_subjects: Amount = about("S of the map over D and α; added to the axis", 16)
    panel_relations: Amount = about("R of the map over D and α; added to the axis", 4)
