"""Bits: how many a map needs to be told from the others it could be, and how many right answers tell of it.

A memory that recalls everything holds at least log₂ of the number of maps it could have been given: the
information bound. One that recalls a share of it holds at least what Fano's inequality leaves.
"""

import math
from typing import Any

import jax.numpy as jnp
from jax.scipy.special import entr, xlog1py, xlogy
from jaxtyping import Array, Float

from .. import checks
from .special import factorial_excess

Real = Float[Array, "..."]


def _counts(**values: Any) -> list[Array]:
    for name, value in values.items():
        checks.within(name, value, 1, math.inf)
    return [jnp.asarray(value, float) for value in values.values()]


def entropy(p) -> Real:
    """h(p) = −p log₂ p − (1 − p) log₂(1 − p) bits of a coin, p in [0, 1]."""
    checks.within("p", p, 0, 1)
    p = jnp.asarray(p, float)
    return (entr(p) - xlog1py(1 - p, -p)) / math.log(2)


def maps(tokens, answers) -> Real:
    """N log₂ M: any map of N tokens to M answers."""
    n, m = _counts(tokens=tokens, answers=answers)
    return n * jnp.log2(m)


def injective(tokens, answers) -> Real:
    """log₂ M!/(M − N)!: any map of N tokens to M ≥ N answers that uses none of them twice."""
    n, m = _counts(tokens=tokens, answers=answers)
    if checks.concrete(n, m) and bool((m < n).any()):
        checks.refuse("answers", "at least tokens", f"{answers} answers for {tokens} tokens")
    left = m - n
    nats = n * (jnp.log(m) - 1) - xlog1py(left, -n / m) + factorial_excess(m) - factorial_excess(left)
    return nats / math.log(2)


def arranged(counts) -> Real:
    """log₂ N!/Π_y n_y!: any map that gives answer y to n_y = ``counts[…, y]`` of N = Σ_y n_y tokens.

    Bijections have n = 1, balanced maps n = N/M; both need fewer bits than N log₂ M.
    """
    checks.within("counts", counts, 0, math.inf)
    n = jnp.asarray(counts, float)
    total, most = n.sum(axis=-1, keepdims=True), n.argmax(axis=-1, keepdims=True)
    # Σ n log(N/n); of the largest by what the others are, which N − n would lose.
    others = jnp.where(jnp.arange(n.shape[-1]) == most, 0, n)
    largest = jnp.take_along_axis(n, most, axis=-1)
    nats = xlog1py(largest, others.sum(axis=-1, keepdims=True) / jnp.where(largest > 0, largest, 1))
    nats = nats[..., 0] + (xlogy(others, total) - xlogy(others, others)).sum(axis=-1)
    return (nats + factorial_excess(total)[..., 0] - factorial_excess(n).sum(axis=-1)) / math.log(2)


def balanced(tokens, answers) -> Real:
    """log₂ N!/((N/M)!)^M: any map that gives every answer to N/M tokens; N = M: any bijection."""
    n, m = _counts(tokens=tokens, answers=answers)
    return (n * jnp.log(m) + factorial_excess(n) - m * factorial_excess(n / m)) / math.log(2)


def facts(subjects, relations, answers, every: bool = False) -> Real:
    """S R log₂ D: any answer of the D of its relation to every (s, r). ``every``: each of them S/D times in
    its relation (balanced facts), R log₂ S!/((S/D)!)^D."""
    (relations,) = _counts(relations=relations)
    return relations * (balanced if every else maps)(subjects, answers)


def recalled(bits, tokens, answers, recall) -> Real:
    """Bits that right answers tell of a map: at least max(0, H − N [h(ε) + ε log₂(M − 1)]), ε = 1 − recall.

    - ``bits``: H, the entropy of the law that the map f was drawn from: ``maps``, ``arranged``, ….
    - ``tokens``, ``answers``: N and M, the answers that a token could have (of facts the D of a relation).
    - ``recall``: P(f̂(x) = f(x)), the mean over tokens and maps, each token counted once.

    I(f; W) ≥ I(f; f̂) = H − H(f|f̂), as answers f̂ are read off the weights W and what does not depend on f;
    H(f|f̂) ≤ Σ_x H(f(x)|f̂(x)), each at most h(ε_x) + ε_x log₂(M − 1) (Fano), which is concave in ε_x. Recall
    at or below chance, 1/M, tells nothing. With recall 1 it is all of H.
    """
    n, m = _counts(tokens=tokens, answers=answers)
    checks.within("recall", recall, 0, 1)
    checks.within("bits", bits, 0, math.inf)
    wrong = jnp.minimum(1 - jnp.asarray(recall, float), 1 - 1 / m)
    left = entropy(wrong) + wrong * jnp.log2(jnp.maximum(m - 1, 1))
    return jnp.maximum(jnp.asarray(bits, float) - n * left, 0.0)


def completed(patterns, size, flips, wrong) -> Real:
    """Bits told of N patterns of ``size`` fair bits beyond their cues: at least N d max(0, h(f) − h(ε)).

    ``flips``: f, the share of a cue's bits that are wrong, at random; ``wrong``: ε, the share at the end of
    retrieval. H(ξ|cue) = N d h(f), H(ξ|end) ≤ N d h(ε). A cue that is the pattern leaves nothing to tell.
    """
    n, d = _counts(patterns=patterns, size=size)
    checks.within("wrong", wrong, 0, 1)
    end = entropy(jnp.minimum(jnp.asarray(wrong, float), 0.5))
    return n * d * jnp.maximum(entropy(flips) - end, 0.0)
