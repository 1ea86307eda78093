"""How sequences are drawn: laws as thresholds of whole numbers, and a chain whose triggers are forced."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, UInt

from .... import checks, machine

# Draws are whole numbers below 2³¹: a probability is off by at most 2⁻³¹, whatever the dtype.
_LEVELS = 2**31


class Sequences(NamedTuple):
    """Sequences z_1 … z_T and what follows.

    - ``tokens``, ``targets``: z_t and z_{t+1}, shape (n, T).
    - ``occurrence``: 0 where z_t is no trigger, else 1 for its first time in the sequence, 2 …
    - ``triggers``, ``outputs``: q_k and o_k, shape (n, K).
    """

    tokens: Int[Array, "n t"]
    targets: Int[Array, "n t"]
    occurrence: Int[Array, "n t"]
    triggers: Int[Array, "n k"]
    outputs: Int[Array, "n k"]

    @property
    def in_context(self) -> Bool[Array, "n t"]:
        """Where the next token can be copied: a trigger that was there before."""
        return self.occurrence >= 2

    @property
    def answers(self) -> Bool[Array, "n t"]:
        """Where the next token is a trigger's output, and was there after it before. Without noise all of
        ``in_context``; with noise neither where τ follows, nor where only τ has followed so far."""
        at = self.tokens[:, :, None] == self.triggers[:, None, :]
        said = at & (self.targets[:, :, None] == self.outputs[:, None, :])
        before = jnp.cumsum(said, axis=1) - said
        return jnp.any(said & (before > 0), axis=2)


def inverse(cuts: UInt[Array, "... m"], drawn: UInt[Array, "..."]) -> Int[Array, "..."]:
    """How many of the cumulative thresholds lie at or below the number drawn."""
    cuts = cuts.reshape((1,) * (drawn.ndim + 1 - cuts.ndim) + cuts.shape)
    return jnp.sum(drawn[..., None] >= cuts, axis=-1, dtype=jnp.int32)


def cut(law: np.ndarray | Array) -> UInt[Array, "*n m"]:
    """Thresholds of the first N − 1 outcomes: the cumulative law in units of 2⁻³¹, exact at 0 and 1."""
    if not checks.concrete(law):
        total = jnp.cumsum(law, axis=-1)
        return jnp.rint(total / total[..., -1:] * float(_LEVELS))[..., :-1].astype(jnp.uint32)
    total = np.cumsum(np.asarray(law, np.float64), axis=-1)
    return jnp.asarray(np.rint(total / total[..., -1:] * _LEVELS)[..., :-1].astype(np.uint32))


def share_cut(share) -> UInt[Array, ""]:
    """The threshold below which a number drawn is a share of all."""
    if checks.concrete(share):
        return jnp.asarray(np.uint32(np.rint(float(share) * _LEVELS)))
    return jnp.rint(share * float(_LEVELS)).astype(jnp.uint32)


@eqx.filter_jit
def sequences(key, n, cuts, unigram, k, fixed, length, noise_cut=None) -> Sequences:
    """n sequences of length T + 1 of a task; see ``BigramTask``."""
    trigger_key, token_key = jr.split(key)
    start, rows, answers = cuts
    # One row of 31-bit numbers a sequence: outputs first, then tokens.
    bits = jr.bits(token_key, (n, k + length + 1), jnp.uint32) >> 1
    if fixed is None:
        # The largest of log π + Gumbel noise, K times without replacement.
        race = jnp.log(unigram)[None] + jr.gumbel(trigger_key, (n, unigram.shape[0]), mode="high")
        triggers = jax.lax.top_k(race, k)[1]
    else:
        triggers = jnp.broadcast_to(fixed, (n, k))
    outputs = inverse(answers[triggers], bits[:, :k])

    drawn = bits[:, k + 1 :].T
    noisy = jnp.zeros(drawn.shape, bool)
    if noise_cut is not None:
        coins = jr.bits(jr.fold_in(token_key, 1), (n, length), jnp.uint32) >> 1
        noisy = (coins < noise_cut).T

    def follow(token, now):
        drawn, noisy = now
        free = inverse(rows[token], drawn)
        match = triggers == token[:, None]
        forced = jnp.sum(jnp.where(match, outputs, 0), axis=1, dtype=jnp.int32)
        forced = jnp.where(noisy, rows.shape[0] - 1, forced)
        token = jnp.where(jnp.any(match, axis=1), forced, free)
        return token, token

    first = inverse(start, bits[:, k])
    _, rest = jax.lax.scan(follow, first, (drawn, noisy), unroll=machine.unrolled(length))
    tokens = jnp.concatenate([first[:, None], rest.T], axis=1)
    matches = tokens[:, :-1, None] == triggers[:, None, :]
    times = jnp.cumsum(matches, axis=1, dtype=jnp.int32)
    occurrence = jnp.sum(jnp.where(matches, times, 0), axis=2, dtype=jnp.int32)
    return Sequences(tokens[:, :-1], tokens[:, 1:], occurrence, triggers, outputs)


def second_trigger(
    key: PRNGKeyArray, n: int, num_tokens: int, length: int
) -> tuple[Int[Array, "n t"], Int[Array, " n"]]:
    """(z_1 … z_T, y): one trigger, uniform laws, given that z_T is its second occurrence. Birth B.3.

    The first occurrence is then uniform on 1 … T − 1, its output o = y uniform on the other tokens, or the
    trigger itself just where the first occurrence is at T − 1; all else is uniform on the other tokens
    (docs/theory.md: birth.30).
    """
    keys = jr.split(key, 4)
    trigger = jr.randint(keys[0], (n, 1), 0, num_tokens)
    other = lambda key, shape: (trigger + jr.randint(key, shape, 1, num_tokens)) % num_tokens  # noqa: E731
    first = jr.randint(keys[1], (n, 1), 0, length - 1)
    place = jnp.arange(length)
    answer = jnp.where(first == length - 2, trigger, other(keys[2], (n, 1)))
    tokens = other(keys[3], (n, length))
    tokens = jnp.where(place == first + 1, answer, tokens)
    tokens = jnp.where((place == first) | (place == length - 1), trigger, tokens)
    return tokens, answer[:, 0]
