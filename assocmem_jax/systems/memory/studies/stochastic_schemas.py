"""Configs of the studies of stochastic descent: what they hold and what is refused. No JAX here."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from ....studies.study import Count, Positive, Schema, Seeds, about
from .schemas import Plane, Point

Halvings = Annotated[tuple[Positive, ...], Field(min_length=2, max_length=12)]


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
