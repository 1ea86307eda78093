"""Losses ℓ(scores, target) of one token, and how a task holds one.

``scores``: shape (M,); those of classes that cannot be answered are −∞. ``target``: 1 at the answer, 0
elsewhere, shape (M,). A loss is a function of these two to a number, or a callable ``eqx.Module``, whose
arrays and floats are data: batched, differentiated, at the precision of the task. A task takes it as
``AssociationTask(…, loss=am.losses.squared)``. Here: ``cross_entropy``, ``squared``, ``hinge``,
``LabelSmoothed``; a loss that is a number of nats says ``units = "nats"``. One of yours:

    def focal(scores, target):
        p = jax.nn.softmax(scores) @ target
        return -((1 - p) ** 2) * jnp.log(p)
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .. import checks
from ..checks import Scalar
from . import embeddings

# Sums over no more classes than this are written out: under ``vmap`` XLA sums short axes lane by lane, at
# four times the cost of a loop over all lanes.
_FEW = 8


def _rivals(scores: Float[Array, "*n m"]) -> Float[Array, "*n m"]:
    """log Σ_{z≠y} e^{s_z}, for every y, without cancellation.

    For all but the top class it is L + log(1 − p_y) with p_y ≤ ½; for the top class, where 1 − p_y
    may be far below one rounding error, the others are summed themselves.
    """
    total = jax.nn.logsumexp(scores, axis=-1, keepdims=True)
    top = jnp.arange(scores.shape[-1]) == jnp.argmax(scores, axis=-1, keepdims=True)
    others = jax.nn.logsumexp(jnp.where(top, -jnp.inf, scores), axis=-1, keepdims=True)
    log_p = jnp.where(top, -1.0, scores - total)  # the double where: log1p(-1) has no derivative
    return jnp.where(top, others, total + jnp.log1p(-jnp.exp(log_p)))


@jax.custom_jvp
def _surprisal(scores: Float[Array, "*n m"], label: Bool[Array, "*n m"]) -> Float[Array, "*n"]:
    """−log softmax(s)_y as softplus(log Σ_{z≠y} e^{s_z − s_y})."""
    own = jnp.sum(jnp.where(label, scores, 0), axis=-1, keepdims=True)
    others = jnp.where(label, -jnp.inf, scores)
    return jax.nn.softplus(jax.nn.logsumexp(others - own, axis=-1))


def _surprisal_gradient(scores: Float[Array, "*n m"], label: Bool[Array, "*n m"]) -> Float[Array, "*n m"]:
    """softmax(s) − 1{y}, with 1 − p_y as the sum of the others: exact where it is tiny."""
    if scores.shape[-1] <= _FEW and not embeddings.is_brief():
        s, own = ([array[..., k] for k in range(scores.shape[-1])] for array in (scores, label))
        top = jax.lax.stop_gradient(functools.reduce(jnp.maximum, s))
        e = [jnp.exp(one - top) for one in s]
        total = functools.reduce(jnp.add, e)
        others = [jnp.where(right, 0, one / total) for one, right in zip(e, own)]
        rest = functools.reduce(jnp.add, others)
        return jnp.stack([jnp.where(right, -rest, one) for one, right in zip(others, own)], axis=-1)
    p = jax.nn.softmax(scores, axis=-1)
    others = jnp.where(label, 0, p)
    return jnp.where(label, -jnp.sum(others, axis=-1, keepdims=True), others)


@_surprisal.defjvp
def _(primals, tangents):
    # GD (9) is shorter than what autodiff makes of the value, by half the time of a descent step.
    scores, label = primals
    slope = _surprisal_gradient(scores, label)
    return _surprisal(scores, label), jnp.sum(slope * tangents[0], axis=-1)


def is_label(scores: Array, targets: Int[Array, "*n"]) -> Bool[Array, "*n m"]:
    return jnp.arange(scores.shape[-1]) == targets[..., None]


def _given(scores: Any, targets: Any) -> tuple[Array, Array]:
    """Arrays that fit one another; of NumPy's and lists, arrays of JAX."""
    (scores,), targets = checks.floats(scores=scores), jnp.asarray(checks.array("targets", targets))
    shapes = (scores.shape[:-1],) if jnp.issubdtype(targets.dtype, jnp.integer) else (scores.shape,)
    if not scores.ndim or targets.shape not in shapes:
        required = f"labels of shape {scores.shape[:-1]} or shares of shape {scores.shape}"
        checks.refuse("targets", required, f"{targets.dtype} of shape {targets.shape}")
    return scores, targets


def cross_entropy(
    scores: Float[Array, "*n m"], targets: Int[Array, "*n"] | Float[Array, "*n m"]
) -> Float[Array, "*n"]:
    """ℓ = −Σ_y q_y log softmax(s)_y, GD (3), for labels (q one-hot) or a conditional q.

    It and its derivatives keep full relative precision however large the margin: it does not read 0
    at margin 17 in float32.
    """
    scores, targets = _given(scores, targets)
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return _surprisal(scores, is_label(scores, targets))
    # A class that is impossible, of score −∞, has no surprisal: not 0 · ∞.
    possible = scores > -jnp.inf
    gap = jnp.where(possible, _rivals(scores) - jnp.where(possible, scores, 0), 0)
    return jnp.sum(jnp.where(possible, targets * jax.nn.softplus(gap), 0), axis=-1)


def score_gradient(
    scores: Float[Array, "*n m"], targets: Int[Array, "*n"] | Float[Array, "*n m"]
) -> Float[Array, "*n m"]:
    """∂ℓ/∂s = softmax(s) − q, GD (9), in closed form; for a conditional, p_z(1−q_z) − q_z(1−p_z).

    The two products keep 1 − p_z exact where it is far below one rounding error.
    """
    scores, targets = _given(scores, targets)
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return _surprisal_gradient(scores, is_label(scores, targets))
    odds = scores - _rivals(scores)
    return jax.nn.sigmoid(odds) * (1 - targets) - targets * jax.nn.sigmoid(-odds)


def squared(scores: Float[Array, " m"], target: Float[Array, " m"]) -> Float[Array, ""]:
    """ℓ = ½ Σ_z (s_z − 1{z = y})², over the classes that can be answered. The flow of it is linear in W."""
    return jnp.sum(jnp.where(scores > -jnp.inf, scores - target, 0) ** 2) / 2


def hinge(scores: Float[Array, " m"], target: Float[Array, " m"]) -> Float[Array, ""]:
    """ℓ = max(0, 1 − (s_y − max_{z≠y} s_z)), of the margin (22): Crammer and Singer's.

    Where rivals tie its slope is shared by them, and at margin 1 it is 0; its curvature is 0.
    """
    return jax.nn.relu(1 - lead(scores, jnp.argmax(target)))


class LabelSmoothed(eqx.Module):
    """ℓ = −Σ_z t_z log softmax(s)_z with t = (1 − ε) 1{z = y} + ε/M (Szegedy et al. 2016).

    ``strength``: ε in [0, 1], data. M counts the classes that can be answered.
    """

    strength: Float[Array, ""]
    units: ClassVar[str] = "nats"

    def __init__(self, strength: Scalar):
        self.strength = checks.number("strength", strength)
        checks.within("strength", self.strength, 0, 1)

    def __call__(self, scores: Float[Array, " m"], target: Float[Array, " m"]) -> Float[Array, ""]:
        possible = scores > -jnp.inf
        even = possible / jnp.sum(possible)
        return cross_entropy(scores, (1 - self.strength) * target + self.strength * even)


def lead(scores: Float[Array, "*n m"], labels: Int[Array, "*n"]) -> Float[Array, "*n"]:
    """s_y − max_{z≠y} s_z: positive iff y is the only top class."""
    own = jnp.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]
    return own - jnp.max(jnp.where(is_label(scores, labels), -jnp.inf, scores), axis=-1)


class TokenLoss(eqx.Module):
    """A loss as a task holds it, with its derivatives for all tokens.

    Those of the cross-entropy are in closed form; any other is differentiated. ``targets`` are labels, or a
    conditional p(y|x): then ℓ is the mean Σ_y p(y|x) ℓ(s, y) over the answers, of which a minibatch, which
    draws them, is an unbiased estimate whatever the loss.
    """

    data: Any
    code: Any = eqx.field(static=True)

    @classmethod
    def held(cls, loss: Any, classes: int, dtype: Any) -> "TokenLoss":
        """The loss of a task of so many classes, its numbers at the precision of the task."""
        if not callable(loss) or isinstance(loss, type):
            given = f"the class {loss.__name__}" if isinstance(loss, type) else checks.short(loss)
            checks.refuse("loss", "a function (scores, target) -> number", given, "such as am.losses.squared")
        data, code = eqx.partition(loss, _is_data)
        made = cls(jax.tree.map(lambda a: _cast(a, dtype), data), code)
        if not made.is_cross_entropy:
            one = jax.ShapeDtypeStruct((classes,), dtype)
            found = eqx.filter_eval_shape(made.whole, one, one)
            if getattr(found, "shape", None) != () or not jnp.issubdtype(found.dtype, jnp.floating):
                words = f"one whose result is {eqx.tree_pformat(found)}"
                checks.refuse("loss", "a function (scores, target) -> number", words)
        return made

    @property
    def whole(self) -> Callable:
        """The function as it was given."""
        return eqx.combine(self.data, self.code)

    @property
    def is_cross_entropy(self) -> bool:
        return self.code is cross_entropy

    @property
    def name(self) -> str:
        """Of the function; of a module, with its numbers."""
        given = self.whole
        if isinstance(given, eqx.Module):
            fields = (f"{f.name}={_said(getattr(given, f.name))}" for f in dataclasses.fields(given))
            return f"{type(given).__name__}({', '.join(fields)})"
        return getattr(given, "__name__", checks.short(given))

    @property
    def units(self) -> str:
        """Nats, or what the loss has as its ``units``."""
        return "nats" if self.is_cross_entropy else getattr(self.code, "units", "1")

    def values(
        self, scores: Float[Array, "n m"], targets: Int[Array, " n"] | Float[Array, "n m"]
    ) -> Float[Array, " n"]:
        """ℓ of every token."""
        if self.is_cross_entropy:
            return cross_entropy(scores, targets)
        return jax.vmap(self._mean)(scores, targets)

    def slopes(
        self, scores: Float[Array, "n m"], targets: Int[Array, " n"] | Float[Array, "n m"]
    ) -> Float[Array, "n m"]:
        """∂ℓ/∂s of every token; 0 for classes that cannot be answered."""
        if self.is_cross_entropy:
            return score_gradient(scores, targets)
        return jnp.where(scores > -jnp.inf, jax.vmap(jax.grad(self._mean))(scores, targets), 0)

    def curvature(
        self,
        scores: Float[Array, "n m"],
        targets: Int[Array, " n"] | Float[Array, "n m"],
        weights: Float[Array, "n 1"],
    ) -> Callable[[Float[Array, "n m"]], Float[Array, "n m"]]:
        """v ↦ w_x ∂²ℓ/∂s² v_x, token by token; (softmax's) w_x π_z (v_z − Σ π v) for the cross-entropy."""
        if self.is_cross_entropy:
            p = jax.nn.softmax(scores, axis=-1)
            return lambda v: weights * p * (v - jnp.sum(p * v, axis=1, keepdims=True))
        possible = scores > -jnp.inf
        slopes = lambda s: self.slopes(s, targets)  # noqa: E731

        def bent(v):
            along = jax.jvp(slopes, (scores,), (jnp.where(possible, v, 0),))[1]
            return weights * jnp.where(possible, along, 0)

        return bent

    def refuse_infinite(self, classes: int, dtype: Any) -> None:
        """Refuse a loss that is not finite where a class cannot be answered, for a task with such classes."""
        if self.is_cross_entropy or not checks.concrete(self):
            return
        with jax.ensure_compile_time_eval():
            scores = jnp.zeros(classes, dtype).at[-1].set(-jnp.inf)
            value, slope = jax.value_and_grad(self.whole)(scores, _one_hot(jnp.asarray(0), scores))
            found = jnp.append(slope[:-1], value)
        if checks.concrete(found) and not np.isfinite(found).all():
            checks.refuse(
                "loss",
                "finite, with its slope, where a class that is not possible has score −∞",
                f"{self.name}, of value {np.asarray(found)[-1]:.3g}",
                "leave such classes out: jnp.where(scores > -jnp.inf, …, 0)",
            )

    def _mean(self, scores: Array, target: Array) -> Array:
        if jnp.issubdtype(target.dtype, jnp.integer):
            return self.whole(scores, _one_hot(target, scores))
        # Answers of probability 0 may have an infinite loss: in their place the likeliest, of weight 0.
        answers = jnp.where(target > 0, jnp.arange(target.shape[0]), jnp.argmax(target))
        each = jax.vmap(lambda y: self.whole(scores, _one_hot(y, scores)))(answers)
        return jnp.dot(target, each)


def _said(value: Any) -> str:
    known = isinstance(value, jax.Array) and checks.concrete(value)
    return checks.short(value.tolist() if known else value)


def _one_hot(label: Array, scores: Array) -> Array:
    return is_label(scores, label).astype(scores.dtype)


def _cast(leaf: Any, dtype: Any) -> Array:
    return jnp.asarray(leaf, dtype if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else None)


def _is_data(leaf: Any) -> bool:
    """Floats and arrays are data; whole numbers, truth values and functions are code."""
    return isinstance(leaf, float | np.floating | np.ndarray | jax.Array)


def name_of(task: Any) -> str:
    """The name of the loss of a task: of the one it was given, else of its own."""
    given = getattr(task, "token_loss", None)
    return given.name if isinstance(given, TokenLoss) else f"{type(task).__name__}.loss"
