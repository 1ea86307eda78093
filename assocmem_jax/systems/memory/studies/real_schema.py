"""The config of the study of real words. No JAX here."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from ....studies.study import (
    DISTINCT,
    Count,
    Positive,
    PositiveRange,
    Precision,
    Reach,
    Schema,
    Section,
    Seeds,
    Share,
    Size,
    about,
)

Dimensions = Annotated[tuple[Size, ...], Field(min_length=1), DISTINCT]


class Table(Section):
    """Words of yours, in place of those that ship: see ``am.memory.real_words``."""

    names: str = about("file with a word a line, as vocab.txt of a model")
    vectors: str = about("their embeddings: .npy, .safetensors[:NAME], or lines of a word and its numbers")
    counts: str = about('how often they occur: a file of lines "word number", or wordfreq:en')


class Written(Section):
    """Recall of W = Σ u eᵀ over N."""

    sizes: Dimensions = about("N: the most frequent words")
    seeds: Seeds = about("independent outputs, on the sphere", 5)


class Search(Section):
    """The N at which recall falls through a target, over the dimension."""

    dimensions: Dimensions = about("d: coordinates of the embeddings, drawn at random")
    trained_to: Size = about("d up to which memories are trained too", 24)
    target: Annotated[float, Field(gt=0, lt=1)] = about("share of words that must be recalled", 0.95)
    largest: Reach = about("N that the search may reach; at most d²/2", 2048)
    seeds: Seeds = about("independent draws of words and coordinates", 8)
    steps: Count = about("of Adam, for the trained memories", 300)
    learning_rate: Positive = about("of Adam", 0.1)


class Pairs(Section):
    """Two words near one another: descent against the theory of two tokens."""

    shown: tuple[tuple[str, str], ...] = about("pairs that are drawn; the three nearest unless given", ())
    nearest: Count = about("pairs of largest cosine that the steps are counted for", 200)
    among: Size = about("they are looked for among this many of the most frequent words", 2048)
    learning_rates: PositiveRange = about("η at which steps are counted")
    drawn_rates: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=3), DISTINCT] = about(
        "η of the losses that are drawn", (1.0, 10.0)
    )
    steps: Count = about("of descent that are drawn", 35)
    horizon: Count = about("steps after which a run is given up", 1000)


class Optimized(Section):
    """Head and tail under SGD, Adam and sign descent of the population loss."""

    tokens: Size = about("N: the most frequent words", 500)
    steps: Count = about("of each optimizer", 5)
    sgd: PositiveRange = about("η of SGD; of each grid the rate of least loss is kept")
    adam: PositiveRange = about("η of Adam")
    sign: PositiveRange = about("η of sign descent")


class Edge(Section):
    """Sharpness along descent of the population loss."""

    tokens: Size = about("N: the most frequent words", 256)
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=4), DISTINCT] = about(
        "η, a colour each"
    )
    steps: Count = about("of descent", 200)
    looks: Annotated[int, Field(ge=2)] = about("times at which the sharpness is measured", 16)


class RealWords(Schema):
    """Memories of real words: what correlated embeddings and real frequencies do to capacity and training."""

    title: ClassVar[str] = "Memories of real words"
    work: ClassVar[str] = "real_words"
    precision: Precision = "float32"
    table: Table | None = about("words of yours; those that ship unless given", None)
    rare: Share = about("share of the words, by rank, that is called the tail", 0.5)
    written: Written = about("recall of written memories")
    search: Search = about("capacities")
    pairs: Pairs = about("two words")
    optimizers: Optimized = about("head and tail")
    edge: Edge = about("sharpness")

    @model_validator(mode="after")
    def _consistent(self):
        if self.pairs.horizon < self.pairs.steps:
            raise ValueError(
                f"pairs.horizon must be at least steps = {self.pairs.steps}, got {self.pairs.horizon}"
            )
        return self
