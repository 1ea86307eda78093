"""Configs of the studies of stochastic descent: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ....studies.study import DISTINCT, Count, Positive, Schema, Section, Seeds, Size, about
from .schemas import Exponent, Plane, Point, Rates

Halvings = Annotated[tuple[Positive, ...], Field(min_length=2, max_length=12), DISTINCT]


class Diffusion(Schema):
    """SGD against the diffusions that stand for it: how far their means are, over the learning rate."""

    title: ClassVar[str] = "GD (6) for (7): diffusions that stand for SGD"
    work: ClassVar[str] = "diffusion"
    panel: Plane = about("the tokens")
    start: Point = about("W₀ in the plane: [x, y]", (0.0, 0.0))
    learning_rates: Halvings = about("η, each a whole number of steps to the horizon")
    horizon: Positive = about("time, η × steps of SGD", 8.0)
    batch_size: Count = about("B", 1)
    steps: Count = about("of a diffusion; another run on its path has half as many", 128)
    runs: Seeds = about("of each law", 20_000)

    @model_validator(mode="after")
    def _whole(self):
        for rate in self.learning_rates:
            steps = self.horizon / rate
            if abs(steps - round(steps)) > 1e-9 or round(steps) < 1:
                raise ValueError(f"learning_rates: horizon = {self.horizon:g} must be a multiple of {rate:g}")
        if self.steps % 2:
            raise ValueError(f"steps must be even, got {self.steps}")
        return self


class Sights(Schema):
    """SGD with batches of one: the scheme q that it leaves, against the recursion that is exact for d → ∞."""

    title: ClassVar[str] = "Slides p. 34: batches of one"
    work: ClassVar[str] = "sights"
    tokens: Size = about("N", 100)
    classes: Size = about("M: f(x) = x mod M, orthonormal outputs", 5)
    zipf_exponent: Exponent = about("α: p(x) ∝ x^−α", 2.0)
    dimensions: Annotated[tuple[Size, ...], Field(min_length=3), DISTINCT] = about("d: inputs on the sphere")
    learning_rates: Rates = about("γ, a colour each")
    samples: Count = about("steps of one sample each", 1000)
    trials: Seeds = about("independent embeddings and samples", 20)


class _Run(Section):
    label: str = about("in the legend")
    memory: Literal["matrix", "learned"] = about("W alone is trained, or embeddings too", "matrix")
    tokens: Size = about("N")
    dimension: Size = about("d")
    classes: Size = about("M: f(x) = x mod M")
    zipf_exponent: Annotated[float, Field(ge=0)] = about("α: p(x) ∝ x^−α", 2.0)
    optimizer: Literal["sgd", "adam"] = about("what makes a step of the gradient", "sgd")
    learning_rate: Positive = about("η")
    later: Positive | None = about("η from step ``switch`` on; the same unless given", None)
    switch: Count | None = about("the step from which η is ``later``", None)
    batch: Count = about("tokens drawn a step", 1)
    steps: Count = about("of descent")
    random_start: bool = about("W₀ ~ N(0, 1/d); else W₀ = 0", False)

    @model_validator(mode="after")
    def _together(self):
        if (self.later is None) != (self.switch is None):
            raise ValueError(f"{self.label}: later and switch go together")
        return self


class Runs(Schema):
    """Error along SGD: constant and decaying rates; a matrix alone, and embeddings learned with it."""

    title: ClassVar[str] = "Slides p. 34: runs of SGD"
    work: ClassVar[str] = "runs"
    cases: Annotated[tuple[_Run, ...], Field(min_length=1, max_length=24)] = about("runs")
    unit_outputs: bool = about("u on the sphere; else N(0, 1/d), as inputs", True)
    looks: Annotated[int, Field(ge=2)] = about("times along training at which the error is looked at", 24)
    trials: Seeds = about("independent embeddings, starts and samples", 100)
