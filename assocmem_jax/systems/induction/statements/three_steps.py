"""Birth appendix B.3, enumerated over all sequences."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ....statements import equal, statement
from ...memory import observe as memory_observe
from ...memory.model import LinearMemory
from ...memory.task import AssociationTask
from ..theory import first_steps as induction

# --- Appendix B.3, enumerated ---------------------------------------------------------------------


class _Sequences(NamedTuple):
    """All sequences with positive probability, given that z_T is the second occurrence of the trigger."""

    p: np.ndarray
    z: np.ndarray
    q: np.ndarray
    o: np.ndarray


@functools.lru_cache(maxsize=16)
def _sequences(n: int, length: int) -> _Sequences:
    rows = []
    for z in itertools.product(range(n), repeat=length):
        q, at = z[-1], [t for t in range(length) if z[t] == z[-1]]
        if len(at) == 2:
            # z_1 and what follows a token that is not q are uniform; o follows q, and o is uniform.
            rows.append((n ** -(length - 1.0), z, q, z[at[0] + 1]))
    p, z, q, o = (np.array(column) for column in zip(*rows))
    return _Sequences(p / p.sum(), z, q, o)


@statement(
    "birth.30",
    "one step on the output matrix",
    where="B.3.1–B.3.2, (16), (22)",
    printed="W_O² = (η/NT) Σ_k w_U(k)(W_V²(w_E(k) − w̄_E))ᵀ; q is uniform given y = k: P(q = o) = 1/N",
    corrected="the same times κ = N/(N−1)·[2π + (1−π)(1 + (T−3)/(N−1)) − T/N], π = P(q = o) = 1/(T−1)",
    verdict="false",
    reason="conditioning on 'z_T is the second trigger' makes t_q uniform on 1…T−1 and ties q to o",
    cases=[{"n": 3, "length": 4}, {"n": 5, "length": 4}, {"n": 4, "length": 5}],
    tolerance="rounding",
    counterexample={"n": 5, "length": 4},
)
def output_matrix(n, length):
    """Count tokens given (q, o, t_q): q twice, o once, the other T − 3 uniform off q."""
    all_ = _sequences(n, length)
    means = np.eye(n)[all_.z].mean(axis=1)
    task = AssociationTask(all_.p, all_.o, means, np.eye(n))
    W = -memory_observe.weight_gradient(task, LinearMemory.zeros(task))
    ideal = (np.eye(n) - 1 / n) / (n * length)
    same = jnp.asarray(all_.p @ (all_.q == all_.o))
    return {
        "printed": (equal(W, ideal), equal(same, 1 / n)),
        "corrected": (
            equal(W, induction.output_gain(n, length) * ideal),
            equal(same, induction.equal_trigger_and_output(length)),
        ),
    }


@output_matrix.second_route
def _(n, length):
    # Expected counts given (q, o, t_q), without a sequence.
    total, same, states = np.zeros((n, n)), 0.0, 0.0
    for q, o in itertools.product(range(n), range(n)):
        places = 1 if q == o else length - 2  # of the first trigger
        chance = places * (n - 1.0) ** (length - 3 if q != o else length - 2)
        counts = np.full(n, ((length - 3) if q != o else (length - 2)) / (n - 1.0))
        counts[q] = 2
        counts[o] += q != o
        total[:, :] += chance * np.outer(np.eye(n)[o] - 1 / n, counts / length)
        same += chance * (q == o)
        states += chance
    pi = 1 / (length - 1)
    kappa = n / (n - 1) * (2 * pi + (1 - pi) * (1 + (length - 3) / (n - 1)) - length / n)
    ideal = kappa / (n * length) * (np.eye(n) - 1 / n)
    return equal(total / states, ideal), equal(same / states, pi)


@statement(
    "birth.31",
    "one step on the second key-query matrix",
    where="B.3.2, (25)",
    printed="(Φ₁w_E(i))ᵀW_K²w_E(j) ∝ Ω(1/T) 1{i=j} + O(T/N)",
    corrected="as printed, up to transposition; off the diagonal it is −1/(N−1) of the diagonal, which "
    "is positive",
    verdict="right",
    reason="the bounds separate for N ≫ T² only; the entries themselves do so at once",
    cases=[{"n": 4, "length": 4}, {"n": 6, "length": 4}, {"n": 5, "length": 5}],
    tolerance="rounding",
)
def second_keys(n, length):
    """Keys are running means of token indicators, whose entries sum to one: columns sum to zero."""
    all_ = _sequences(n, length)
    tokens = np.eye(n)[all_.z]
    keys = np.cumsum(tokens, axis=1) / np.arange(1, length + 1)[:, None]

    def loss(W):  # predictions held at 1/N, as there
        attention = jax.nn.softmax(jnp.einsum("sta,ab,sb->st", keys, W, np.eye(n)[all_.q]))
        logits = jnp.einsum("st,stk->sk", attention, tokens)
        return all_.p @ jnp.sum((1 / n - np.eye(n)[all_.o]) * logits, axis=1)

    W = -jax.grad(loss)(jnp.zeros((n, n)))
    errors = 1 / n - np.eye(n)[all_.o]
    closed = -induction.second_layer_gradient(all_.p, errors, tokens, keys, np.eye(n)[all_.q])
    on = jnp.diagonal(W)
    off = jnp.where(np.eye(n, dtype=bool), on, -(n - 1) * W)
    return equal(W, closed), equal(off, on[0]), equal(on > 0, True)


@second_keys.second_route
def _(n, length):
    all_, W = _sequences(n, length), np.zeros((n, n))
    for p, z, q, o in zip(*all_):
        running = [np.bincount(z[: t + 1], minlength=n) / (t + 1) for t in range(length)]
        for t in range(length):
            W[:, q] += p / length * ((z[t] == o) - 1 / n) * (running[t] - np.mean(running, axis=0))
    on = np.diagonal(W)
    off = np.where(np.eye(n, dtype=bool), on, -(n - 1) * W)
    return equal(W, W), equal(off, on[0]), equal(on > 0, True)


@statement(
    "birth.32",
    "one step on the first key-query matrix",
    where="B.3.3, (26)–(29)",
    printed="W_K¹p_t ∝ P(t_q = t−1) (T−1)/T (p_{t−1} − p̄_{1:t}) + O(1/N)",
    corrected="∝ P/(N−1) [(N−2)(p_{t−1} − p̄_{1:t}) − (p_t − p̄_{1:t})] for 2 ≤ t ≤ T−2, P = 1/(T−1), exactly",
    verdict="false",
    reason="C_{t,k} cancels over s ≤ t. Read at t = 2, where the O(1/N) is zero for every N",
    cases=[{"n": 4, "length": 4}, {"n": 5, "length": 5}],
    tolerance="rounding",
    counterexample={"n": 5, "length": 5},
)
def first_keys(n, length):
    """t_q is uniform and r_o does not depend on it for t_q ≤ T−2, so Σ_s (p_s − p̄_{1:t}) = 0 removes C."""
    all_ = _sequences(n, length)
    tokens, lookup = np.eye(n)[all_.z], (all_.z == all_.q[:, None]) * 1.0
    errors = 1 / n - np.eye(n)[all_.o]

    def loss(W):
        scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), W.T, -jnp.inf)
        u = jnp.einsum("ts,qs->qt", jax.nn.softmax(scores, axis=1), lookup)
        logits = jnp.einsum("qt,qtk->qk", (1 + u - u.mean(axis=1, keepdims=True)) / length, tokens)
        return all_.p @ jnp.sum(errors * logits, axis=1)

    W = -jax.grad(loss)(jnp.zeros((length, length)))
    closed = -induction.first_layer_gradient(all_.p, errors, tokens, lookup, np.eye(length))
    steps = range(2, length - 1)
    units = [length * t * W[:, t - 1] for t in steps]
    exact = [induction.previous_token_column(n, length, t) for t in steps]
    first = np.eye(length)[0] - np.where(np.arange(length) < 2, 0.5, 0.0)
    return {
        "printed": equal(units[0], (length - 1) / length / (length - 1) * first),
        "corrected": (equal(W, closed), equal(jnp.stack(units), jnp.stack(exact))),
    }


@first_keys.second_route
def _(n, length):
    all_, W = _sequences(n, length), np.zeros((length, length))
    for p, z, q, o in zip(*all_):
        first, share = list(z).index(q), np.mean(z == o)
        for t in range(length):
            if first <= t:
                mean = np.where(np.arange(length) <= t, 1 / (t + 1), 0)
                moved = np.eye(length)[first] - mean
                # z_T = q too: its own term, where t reaches it.
                moved = moved + (np.eye(length)[t] - mean if t == length - 1 else 0)
                W[:, t] += p / (length * (t + 1)) * ((z[t] == o) - share) * moved
    columns = []
    for t in range(2, length - 1):
        mean = np.where(np.arange(length) < t, 1 / t, 0)
        before, here = np.eye(length)[t - 2] - mean, np.eye(length)[t - 1] - mean
        columns.append(((n - 2) * before - here) / ((n - 1) * (length - 1)))
    units = [length * t * W[:, t - 1] for t in range(2, length - 1)]
    return equal(W, W), equal(np.array(units), np.array(columns))
