"""Losses of scores: the cross-entropy and its gradient, exact at any margin; the lead of a label."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


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


def cross_entropy(
    scores: Float[Array, "*n m"], targets: Int[Array, "*n"] | Float[Array, "*n m"]
) -> Float[Array, "*n"]:
    """ℓ = −Σ_y q_y log softmax(s)_y, GD (3), for labels (q one-hot) or a conditional q.

    It and its derivatives keep full relative precision however large the margin: it does not read 0
    at margin 17 in float32.
    """
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
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return _surprisal_gradient(scores, is_label(scores, targets))
    odds = scores - _rivals(scores)
    return jax.nn.sigmoid(odds) * (1 - targets) - targets * jax.nn.sigmoid(-odds)


def lead(scores: Float[Array, "*n m"], labels: Int[Array, "*n"]) -> Float[Array, "*n"]:
    """s_y − max_{z≠y} s_z: positive iff y is the only top class."""
    own = jnp.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]
    return own - jnp.max(jnp.where(is_label(scores, labels), -jnp.inf, scores), axis=-1)
