"""In-context denoising (Slides p. 5; Smart et al. 2025): samples of a law, and one more in noise."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from ... import checks
from ...checks import Scalar
from ...numerics.edges import norm
from ...numerics.special import bessel_ratio
from ...tasks import AbstractTask

# Law of contexts: (key, count) → count points of R^n, i.i.d. given what the key says they share.
ContextLaw = Callable[[PRNGKeyArray, int], Float[Array, "l n"]]


class Contexts(NamedTuple):
    """``contexts`` x_1 … x_L of shape (b, L, n), noisy ``queries`` x̃ and the ``answers`` x, (b, n)."""

    contexts: Float[Array, "b l n"]
    queries: Float[Array, "b n"]
    answers: Float[Array, "b n"]


@runtime_checkable
class Denoiser(Protocol):
    """one with denoised(contexts, queries), the answers (b, n)"""

    def denoised(self, contexts: Float[Array, "b l n"], queries: Float[Array, "b n"]) -> Array: ...


class AbstractContextLaw(eqx.Module):
    """A law of contexts whose Bayes answer is known: ``draw`` what a sequence shares, then its points."""

    dimension: eqx.AbstractVar[int]

    @abstractmethod
    def draw(self, key: PRNGKeyArray) -> Array:
        """What the points of a sequence share."""

    @abstractmethod
    def points(self, shared: Array, key: PRNGKeyArray, count: int) -> Float[Array, "l n"]:
        """i.i.d. points."""

    @abstractmethod
    def answer(self, shared: Array, query: Float[Array, " n"], noise: Scalar) -> Float[Array, " n"]:
        """E[x | x̃] where ``shared`` is known, of noise variance σ_z²."""

    @abstractmethod
    def step(self, noise: Scalar) -> tuple[Array, Array | float, Array | float]:
        """(β, κ, γ) with which κx̃ + γ Xᵀ softmax(βXx̃) is the Bayes answer as L → ∞."""

    def __call__(self, key: PRNGKeyArray, count: int) -> Float[Array, "l n"]:
        one, other = jr.split(key)
        return self.points(self.draw(one), other, count)


def _subspace(key: PRNGKeyArray, dimension: int, rank: int) -> Float[Array, "n r"]:
    """An orthonormal basis of a uniform subspace."""
    return jnp.linalg.qr(jr.normal(key, (dimension, rank)))[0]


def _rank(dimension: int, rank: int) -> tuple[int, int]:
    n, r = checks.count("dimension", dimension), checks.count("rank", rank)
    if r > n:
        checks.refuse("rank", f"at most dimension = {n}", r)
    return n, r


def _positive(name: str, value: Scalar) -> Float[Array, ""]:
    held = checks.number(name, value)
    checks.positive(name, held)
    return held


class LinearManifold(AbstractContextLaw):
    """x = σ₀ U g, g ~ N(0, I_δ): a uniform subspace of ``rank`` δ in R^n, ``variance`` σ₀² in it.

    Bayes: σ₀²/(σ₀² + σ_z²) P x̃, of error ``am.theory.denoising.linear_bayes``.
    """

    dimension: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    variance: Float[Array, ""]

    def __init__(self, dimension: int, rank: int, variance: Scalar = 1.0):
        self.dimension, self.rank = _rank(dimension, rank)
        self.variance = _positive("variance", variance)

    def draw(self, key):
        return _subspace(key, self.dimension, self.rank)

    def points(self, shared, key, count):
        return jnp.sqrt(self.variance) * jr.normal(key, (count, self.rank)) @ shared.T

    def answer(self, shared, query, noise):
        return self.variance / (self.variance + noise) * (shared @ (shared.T @ query))

    def step(self, noise):
        return 1 / (self.variance + noise), 0.0, 1.0


class Sphere(AbstractContextLaw):
    """x uniform on the sphere of ``radius`` R in a uniform subspace of ``rank`` δ.

    Bayes: R A_{δ/2−1}(κ) P x̃/‖P x̃‖, κ = R‖P x̃‖/σ_z², of error ``am.theory.denoising.sphere_bayes``.
    """

    dimension: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    radius: Float[Array, ""]

    def __init__(self, dimension: int, rank: int, radius: Scalar = 1.0):
        self.dimension, self.rank = _rank(dimension, rank)
        self.radius = _positive("radius", radius)

    def draw(self, key):
        return _subspace(key, self.dimension, self.rank)

    def points(self, shared, key, count):
        return self.radius * _directions(key, count, self.rank) @ shared.T

    def answer(self, shared, query, noise):
        inside = shared.T @ query
        length = norm(inside, axis=0)
        ratio = bessel_ratio(self.rank / 2 - 1, self.radius * length / noise)
        return self.radius * ratio * (shared @ (inside / jnp.where(length > 0, length, 1)))

    def step(self, noise):
        return 1 / jnp.asarray(noise), 0.0, 1.0


class Clusters(AbstractContextLaw):
    """x ~ N(μ_a, s₀ I), a uniform over ``centres`` p points μ, uniform on the sphere of ``radius`` R in R^n.

    Bayes: responsibilities softmax(μ·x̃/(s₀ + σ_z²)), their mean centre μ̄, and (σ_z² μ̄ + s₀ x̃)/(s₀ + σ_z²).
    ``variance`` s₀ may be 0.
    """

    dimension: int = eqx.field(static=True)
    centres: int = eqx.field(static=True)
    radius: Float[Array, ""]
    variance: Float[Array, ""]

    def __init__(self, dimension: int, centres: int, radius: Scalar = 1.0, variance: Scalar = 0.0):
        self.dimension = checks.count("dimension", dimension)
        self.centres = checks.count("centres", centres)
        self.radius = _positive("radius", radius)
        self.variance = checks.number("variance", variance)
        checks.within("variance", self.variance, 0, float(jnp.finfo(self.variance.dtype).max))

    def draw(self, key):
        return self.radius * _directions(key, self.centres, self.dimension)

    def points(self, shared, key, count):
        one, other = jr.split(key)
        noise = jr.normal(other, (count, self.dimension))
        return shared[jr.randint(one, (count,), 0, self.centres)] + jnp.sqrt(self.variance) * noise

    def answer(self, shared, query, noise):
        whole = self.variance + noise
        middle = jax.nn.softmax(shared @ query / whole) @ shared
        return (noise * middle + self.variance * query) / whole

    def step(self, noise):
        # Attention alone says μ̄ + b x̃, b = s₀/(s₀ + σ_z²): too far by bμ̄.
        b = self.variance / (self.variance + noise)
        return 1 / (self.variance + noise), b**2, 1 - b


def _directions(key: PRNGKeyArray, count: int, dimension: int) -> Float[Array, "l r"]:
    rows = jr.normal(key, (count, dimension))
    return rows / norm(rows, axis=1)[:, None]


class DenoisingTask(AbstractTask):
    """L points i.i.d. from a law drawn anew in every sequence; x one more, seen as x̃ = x + N(0, σ_z² I).

    - ``law``: ``LinearManifold``, ``Sphere``, ``Clusters``, or any function (key, count) → points of shape
      (count, n) that share what the key says.
    - ``length``: L, at least 1. ``noise``: σ_z², positive.
    - ``draws``, ``key``: the loss is the mean over so many sequences drawn once; ``sample`` draws fresh ones.

    The loss is E‖F(X, x̃) − x‖², summed over coordinates.

        >>> task = am.DenoisingTask(am.denoising.LinearManifold(16, 8, 2.0), length=50, noise=1.0)
        >>> am.loss(task, am.denoising.LinearAttention.scaled(16, 0.28))  # 7.6 (in mean 6.96; Bayes 5.33)
    """

    loss_units: ClassVar[str] = "squared length"
    law: ContextLaw
    noise: Float[Array, ""]
    data: Contexts
    length: int = eqx.field(static=True)

    def __init__(
        self, law: Any, length: int, noise: Scalar = 1.0, *, draws: int = 256, key: PRNGKeyArray | None = None
    ):
        checks.a_function("law", law, "a function (key, count) → points of shape (count, n)")
        self.length, self.noise = checks.count("length", length), _positive("noise", noise)
        key = jr.key(0) if key is None else key
        checks.key("key", key)
        made = eqx.filter_eval_shape(law, key, self.length + 1)
        shape, dtype = getattr(made, "shape", ()), getattr(made, "dtype", jnp.dtype(bool))
        if len(shape) != 2 or shape[0] != self.length + 1 or not jnp.issubdtype(dtype, jnp.floating):
            checks.refuse("law", f"of real points, shape ({self.length + 1}, n)", f"{dtype}{shape}")
        self.law = law
        self.data = drawn(law, self.noise, self.length, key, checks.count("draws", draws))

    @property
    def dimension(self) -> int:
        """n."""
        return self.data.queries.shape[1]

    @property
    def dtype(self) -> Any:
        return self.data.queries.dtype

    def errors(self, model: Denoiser, batch: Contexts) -> Float[Array, " b"]:
        """‖F(X, x̃) − x‖² of every sequence."""
        return jnp.sum((model.denoised(batch.contexts, batch.queries) - batch.answers) ** 2, axis=1)

    def loss(self, model: Denoiser) -> Float[Array, ""]:
        """Mean squared error over ``data``."""
        return jnp.mean(self.errors(model, self.data))

    def sample(self, key: PRNGKeyArray, n: int) -> Contexts:
        """n fresh sequences."""
        return self.sampler(n)(key)

    def sampler(self, batch_size: int) -> Callable[[PRNGKeyArray], Contexts]:
        """A function of a key that draws ``batch_size`` fresh sequences, on the device."""
        n = checks.count("batch_size", batch_size)
        return lambda key: drawn(self.law, self.noise, self.length, key, n)

    def sampled_loss(self, model: Denoiser, batch: Contexts) -> Float[Array, ""]:
        """Mean squared error of a batch."""
        return jnp.mean(self.errors(model, batch))


@eqx.filter_jit
def drawn(law: ContextLaw, noise: Array, length: int, key: PRNGKeyArray, count: int) -> Contexts:
    """So many sequences of a law, and their queries."""
    one, other = jr.split(key)
    points = jax.vmap(lambda k: law(k, length + 1))(jr.split(one, count))
    answers = points[:, -1]
    shift = jnp.sqrt(noise).astype(points.dtype) * jr.normal(other, answers.shape, points.dtype)
    return Contexts(points[:, :-1], answers + shift, answers)
