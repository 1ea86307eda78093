"""Configs of the studies of what a transformer holds: what they say and what is refused. No JAX here."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ....studies.study import (
    DISTINCT,
    Count,
    Positive,
    Precision,
    Probability,
    Reach,
    Schema,
    Section,
    Seeds,
    Size,
    about,
)

Sizes = Annotated[tuple[Size, ...], Field(min_length=1)]


class Written(Section):
    """One curve: a construction, and the sizes at which it is asked for all its facts."""

    label: str = about("in the legend")
    memory: Literal["attention", "neurons", "features"] = about(
        "what holds the facts: W_OV alone; an MLP with a ReLU for each; one of Hermite features"
    )
    pseudo_inverse: bool = about("W_OV and W_KQ by least squares; else sums of outer products", False)
    beta: Positive = about("β of the attention", 4.0)
    dimensions: Sizes = about("d, a point each")
    ranks: tuple[Count, ...] = about("H d_h, one for each of dimensions; min(d, S + R) unless given", ())
    widths: tuple[Count, ...] = about("m of the features, one for each of dimensions", ())
    degree: Count = about("of the Hermite features", 2)
    largest: tuple[Reach, ...] = about(
        "S that a search may reach, one for each of dimensions; none: no search", ()
    )

    @model_validator(mode="after")
    def _aligned(self):
        n = len(self.dimensions)
        for name in ("ranks", "widths", "largest"):
            if (given := len(getattr(self, name))) not in (0, n):
                raise ValueError(f"{name} must be as many as dimensions ({n}) or left out, got {given}")
        if self.largest and self.memory != "attention":
            raise ValueError("a search is of attention alone: bits are counted over its parameters")
        if (self.memory == "features") != bool(self.widths):
            raise ValueError("features need widths, and nothing else has them")
        return self

    @property
    def against(self) -> str:
        """What differs from point to point."""
        return "width" if len(set(self.widths)) > 1 else "rank" if len(set(self.ranks)) > 1 else "dimension"


class Constructed(Schema):
    """Recall of transformers that are written down, over d, H d_h and m; how many facts they hold."""

    title: ClassVar[str] = "Slides p. 20–22: facts written into a transformer"
    work: ClassVar[str] = "constructed"
    parallel: ClassVar[bool] = True
    precision: Precision = "float32"
    curves: Annotated[tuple[Written, ...], Field(min_length=1)] = about("constructions")
    subjects: Size = about("S where recall is measured", 16)
    relations: Size = about("R", 16)
    answers: Size = about("D", 8)
    noise: Count = about("types of noise tokens", 20)
    length: Annotated[int, Field(ge=4)] = about("T", 32)
    target: Annotated[float, Field(gt=0, lt=1)] = about("share of the facts that a search asks for", 0.9)
    resolution: Probability = about("of the search, as a share of S", 0.02)
    seeds: Seeds = about("independent facts and embeddings", 10)


class Training(Section):
    """How a transformer is trained: Adam, its rate falling to 0 along a line."""

    steps: Count = about("of Adam", 2048)
    learning_rate: Positive = about("η at the start", 0.02)
    batch: Count = about("fresh texts a step", 256)
    noise: Count = about("types of noise tokens", 8)
    length: Annotated[int, Field(ge=4)] = about("T", 8)
    answers: Size = about("D", 8)


class Shape(Section):
    """Transformers of one shape, over d."""

    label: str = about("in the legend")
    dimensions: Sizes = about("d, a point each")
    head_widths: tuple[Count, ...] = about("d_h, one for each of dimensions")
    widths: tuple[Count, ...] = about("m, one for each of dimensions")
    largest: tuple[Size, ...] = about("facts N = S R that the search may reach, one for each of dimensions")

    @model_validator(mode="after")
    def _aligned(self):
        n = len(self.dimensions)
        for name in ("head_widths", "widths", "largest"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} must be as many as dimensions ({n})")
        return self


class FactsOverParameters(Schema):
    """Facts that trained transformers hold, S = R, over their number of parameters."""

    title: ClassVar[str] = "Slides p. 22: facts against parameters"
    work: ClassVar[str] = "parameters"
    parallel: ClassVar[bool] = True
    precision: Precision = "float32"
    shapes: Annotated[tuple[Shape, ...], Field(min_length=1)] = about("curves")
    heads: Count = about("H", 8)
    training: Training = about("of every model", Training())
    target: Annotated[float, Field(gt=0, lt=1)] = about("share of the facts that must be recalled", 0.99)
    smallest: Size = about("N where the search begins", 16)
    resolution: Probability = about("of the search, as a share of N", 0.05)
    seeds: Seeds = about("independent facts, embeddings and starts", 4)
    together: Count = about("seeds computed at once", 1)

    @model_validator(mode="after")
    def _begins(self):
        if (least := min(n for shape in self.shapes for n in shape.largest)) <= self.smallest:
            raise ValueError(f"smallest must be below every largest, got {self.smallest} and {least}")
        return self


class AccuracyMap(Schema):
    """Accuracy of trained transformers over the parameters of attention and of the MLP."""

    title: ClassVar[str] = "Slides p. 22: where facts fit, attention or MLP"
    work: ClassVar[str] = "accuracy_map"
    parallel: ClassVar[bool] = True
    precision: Precision = "float32"
    subjects: Size = about("S = R", 16)
    dimension: Size = about("d", 16)
    heads: Annotated[tuple[Count, ...], Field(min_length=2), DISTINCT] = about("H, a row each")
    head_width: Count = about("d_h", 4)
    widths: Annotated[tuple[Count, ...], Field(min_length=2), DISTINCT] = about("m, a column each")
    training: Training = about("of every model", Training())
    seeds: Seeds = about("independent facts, embeddings and starts", 2)
    together: Count = about("seeds computed at once", 1)
