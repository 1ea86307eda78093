"""Memory schemes q(x) ≥ 0 of W = Σ_x q(x) u_{f(x)} e_xᵀ (Slides p. 32). Any vector of N numbers is one."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .... import checks
from ....checks import Scalar
from .association import AssociationTask


@checks.takes(task=AssociationTask)
def equal(task: AssociationTask) -> Float[Array, " n"]:
    """q = 1 for every token of positive probability; (2) of Slides p. 33 with all tokens seen."""
    return (task.probabilities > 0).astype(task.dtype)


@checks.takes(task=AssociationTask)
def frequency(task: AssociationTask) -> Float[Array, " n"]:
    """q = p: one population gradient step; (1) of Slides p. 33 with n = ∞."""
    return task.probabilities


@checks.takes(task=AssociationTask, key=checks.KEY)
def counts(
    task: AssociationTask, key: PRNGKeyArray, n: int | Int[Array, ""], largest: int | None = None
) -> Float[Array, " n"]:
    """q(x) = how often x is seen in n samples, (1) of Slides p. 33; for a traced n, ``largest`` bounds it."""
    most = checks.count("n", n) if largest is None else checks.count("largest", largest)
    checks.within("n", n, 0, most)
    n = checks.scalar("n", n)
    tokens, _ = task.sample(key, most)
    drawn = (jnp.arange(most) < n).astype(task.dtype)
    return jnp.bincount(tokens, drawn, length=task.num_tokens)


def seen(scheme: Float[Array, " n"], times: int = 1) -> Float[Array, " n"]:
    """1 where a count is at least ``times``; (2) and (3) of Slides p. 33."""
    checks.count("times", times)
    (scheme,) = checks.floats(scheme=scheme)
    return (scheme >= times).astype(scheme.dtype)


def top(scheme: Float[Array, " n"], k: Scalar | Int[Array, ""]) -> Float[Array, " n"]:
    """1 on the ⌊k⌋ largest positive entries (of equal ones, the first), 0 elsewhere; k may be traced.

    ``top(task.probabilities, d / 8)`` keeps the most frequent tokens: as many as W has room for.
    """
    checks.within("k", k, 0, jnp.inf)
    k, (scheme,) = checks.scalar("k", k), checks.floats(scheme=scheme)
    checks.shaped("scheme", scheme, "a vector, one number a token", 1)
    place = jnp.argsort(jnp.argsort(-scheme, stable=True), stable=True)
    return ((place < jnp.floor(k)) & (scheme > 0)).astype(scheme.dtype)
