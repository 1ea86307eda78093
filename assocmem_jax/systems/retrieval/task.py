"""Retrieval: patterns to be found again from cues (Slides p. 5; Hopfield nets, dense memories, attention)."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ... import checks
from ...checks import Scalar
from ...numerics import information
from ...numerics.edges import norm
from ...tasks import AbstractClassificationTask, embeddings, laws


@runtime_checkable
class ScoresCues(Protocol):
    """What a task asks of a memory: the state it ends in, from every cue or from those named."""

    def scores(self, task: "RetrievalTask", tokens: Int[Array, " b"] | None = None) -> Array: ...


class RetrievalTask(AbstractClassificationTask):
    """Patterns ξ_μ with law p(μ), each with a cue to find it from.

    - ``patterns``: ξ, shape (N, d). ``cues``: where retrieval starts, shape (N, d); the patterns themselves
      unless given, so that recall means "is stable".
    - ``probabilities``: p(μ), shape (N,); uniform unless given. Patterns of probability 0 are not stored.
    - ``radius``: a pattern is recalled if the state ends closer to it than this. 1 unless given: for ±1
      patterns no bit may be wrong (w wrong bits are at distance 2√w).
    """

    probabilities: Float[Array, " n"]
    patterns: Float[Array, "n d"]
    cues: Float[Array, "n d"]
    radius: Float[Array, ""]

    def __init__(self, patterns, cues=None, probabilities=None, radius: Scalar = 1.0):
        cues = patterns if cues is None else cues
        patterns, cues = checks.floats(patterns=patterns, cues=cues)
        checks.shaped("patterns", patterns, "a matrix, one row a pattern", 2)
        if cues.shape != patterns.shape:
            checks.refuse("cues", f"of the shape of patterns, {patterns.shape}", f"shape {cues.shape}")
        checks.finite("patterns", patterns)
        checks.finite("cues", cues)
        radius = checks.number("radius", radius)
        checks.positive("radius", radius.astype(patterns.dtype))
        n = patterns.shape[0]
        probabilities = laws.uniform(n) if probabilities is None else probabilities
        (probabilities,) = checks.floats(probabilities=probabilities)
        self.probabilities = probabilities.astype(patterns.dtype)
        if self.probabilities.shape != (n,):
            checks.refuse("probabilities", f"of shape ({n},)", f"shape {self.probabilities.shape}")
        laws.check("probabilities", self.probabilities)
        self.patterns, self.cues, self.radius = patterns, cues, jnp.asarray(radius, patterns.dtype)

    @classmethod
    @checks.takes(key=checks.KEY)
    def binary(cls, key: PRNGKeyArray, n: int, d: int, flips: Scalar = 0.0) -> "RetrievalTask":
        """n patterns of d fair signs; each bit of a cue is flipped with probability ``flips``."""
        n, d = checks.count("n", n), checks.count("d", d)
        flips = checks.number("flips", flips)
        checks.within("flips", flips, 0, 1)
        keys = jr.split(key)
        patterns = jr.rademacher(keys[0], (n, d), float)
        return cls(patterns, jnp.where(jr.bernoulli(keys[1], flips, (n, d)), -patterns, patterns))

    @classmethod
    @checks.takes(key=checks.KEY)
    def spherical(
        cls, key: PRNGKeyArray, n: int, d: int, noise: Scalar = 0.0, radius: Scalar = 0.5
    ) -> "RetrievalTask":
        """n patterns uniform on the unit sphere of R^d; cues with N(0, noise²) added to every entry."""
        noise = checks.number("noise", noise)
        checks.within("noise", noise, 0, float(jnp.finfo(noise.dtype).max))
        keys = jr.split(key)
        patterns = embeddings.sphere(keys[0], n, d)
        return cls(patterns, patterns + noise * jr.normal(keys[1], (n, d)), radius=radius)

    def first(self, n: int | Int[Array, ""]) -> "RetrievalTask":
        """The first n patterns only, in arrays of the same shape; n may be traced. Others are not stored."""
        checks.within("n", n, 1, self.patterns.shape[0])
        p = jnp.where(jnp.arange(self.patterns.shape[0]) < n, self.probabilities, 0)
        return RetrievalTask(self.patterns, self.cues, p / p.sum(), self.radius)

    @property
    def stored(self) -> Float[Array, " n"]:
        """1 where a pattern is stored, 0 where its probability is 0."""
        return (self.probabilities > 0).astype(self.patterns.dtype)

    @property
    def score_shape(self) -> tuple[int, int]:
        """(N, d): the states that retrieval ends in."""
        return self.patterns.shape[0], self.patterns.shape[1]

    @property
    def dtype(self):
        return self.patterns.dtype

    def loss(self, model: ScoresCues) -> Float[Array, ""]:
        """Σ_μ p(μ) ‖x_μ − ξ_μ‖²/d, the mean squared error an entry: four times the share of wrong bits."""
        return jnp.dot(self.probabilities, jnp.mean((model.scores(self) - self.patterns) ** 2, axis=1))

    def overlaps(self, model: ScoresCues) -> Float[Array, " n"]:
        """m_μ = ξ_μ·x_μ/‖ξ_μ‖², 1 where a pattern is recalled exactly; 0 for a pattern of zeros, along which
        no state is."""
        squares = jnp.sum(self.patterns**2, axis=1)
        return jnp.sum(model.scores(self) * self.patterns, axis=1) / jnp.where(squares > 0, squares, 1)

    def margins(self, model: ScoresCues) -> Float[Array, " n"]:
        """radius − ‖x_μ − ξ_μ‖."""
        return self.radius - norm(model.scores(self) - self.patterns, axis=1)

    def error(self, model: ScoresCues) -> Float[Array, ""]:
        """Σ_μ p(μ) 1{not recalled}."""
        return jnp.dot(self.probabilities, jnp.where(self.margins(model) > 0, 0.0, 1.0))

    def recalled_bits(self, model: ScoresCues) -> Float[Array, ""]:
        """Bits told of the stored patterns beyond their cues, ``theory.information.completed``: none where
        the cues are the patterns. Patterns and cues of ±1; a state is read by its signs."""
        for name, values in (("patterns", self.patterns), ("cues", self.cues)):
            if checks.concrete(values) and bool((jnp.abs(values) != 1).any()):
                checks.refuse(name, "±1", "other numbers", "bits of real numbers depend on their precision")
        n, d = jnp.sum(self.stored), self.patterns.shape[1]
        share = lambda states: jnp.sum(self.stored[:, None] * (states * self.patterns <= 0)) / (n * d)  # noqa: E731
        return information.completed(n, d, share(self.cues), share(model.scores(self)))

    def laws(self) -> tuple[Array, ...]:
        """The leaf that is a law: p."""
        return (self.probabilities,)

    def sampler(self, batch_size: int) -> Callable[[PRNGKeyArray], Int[Array, " b"]]:
        """A function of a key that draws indices of patterns."""
        batch_size = checks.count("batch_size", batch_size)
        draw = laws.drawer(self.probabilities)
        return lambda key: draw(key, batch_size)

    def sampled_loss(self, model: ScoresCues, batch: Int[Array, " b"]) -> Float[Array, ""]:
        return jnp.mean((model.scores(self, batch) - self.patterns[batch]) ** 2)
