"""What looks at all tokens: a few at a time, once for all that is observed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from scipy.special import logsumexp

import assocmem_jax as am
from assocmem_jax.dynamics.base import Request
from assocmem_jax.observe import quality
from assocmem_jax.systems.memory.task import passes

N, M, D = 11, 5, 4
RNG = np.random.default_rng(3)
E, U, W = RNG.normal(size=(N, D)), RNG.normal(size=(M, D)), RNG.normal(size=(D, D))
P, LABELS = RNG.dirichlet(np.ones(N)), RNG.integers(0, M, N)
SOFT = RNG.dirichlet(np.ones(M), size=N)
POSSIBLE = np.arange(M) < M - 1
TASKS = {
    "labels": am.AssociationTask(P, LABELS, E, U),
    "soft": am.AssociationTask(P, SOFT, E, U),
    "cut": am.AssociationTask(P, np.minimum(LABELS, M - 2), E, U, POSSIBLE),
}


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of three tokens, the last of two."""
    for name, value in (("_WHOLE", 0), ("_SCORES", 1), ("_LEAST", 3)):
        monkeypatch.setattr(passes, name, value)


def in_numpy(task):
    """(loss, error, margins) and ∂L/∂W, token by token."""
    loss, error, margins, slope = 0.0, 0.0, [], np.zeros_like(W)
    open_ = np.ones(M, bool) if task.possible is None else np.asarray(task.possible)
    for x in range(N):
        q = np.asarray(task.conditional)[x]
        s = U @ W @ E[x]
        log_p = s - logsumexp(s[open_])
        loss -= P[x] * q[open_] @ log_p[open_]
        top = int(np.argmax(np.where(open_, s, -np.inf)))
        error += P[x] * (1 - q[top])
        y = int(np.argmax(q))
        margins.append(s[y] - max(s[k] for k in range(M) if k != y and open_[k]))
        slope += P[x] * np.outer((np.where(open_, np.exp(log_p), 0) - q) @ U, E[x])
    return loss, error, np.array(margins), slope


@pytest.mark.parametrize("name", TASKS)
def test_a_few_tokens_at_a_time(name, small_chunks):
    task, memory = TASKS[name], am.LinearMemory(W)
    loss, error, margins, slope = in_numpy(task)
    watch = [am.loss, am.error, am.margins]

    @jax.jit
    def looked(w):
        together = quality.together(task, am.LinearMemory(w), watch)
        return [together[look] for look in watch], jax.value_and_grad(
            lambda w: task.loss(am.LinearMemory(w))
        )(w)

    found, (value, gradient) = looked(memory.weight)
    for wanted, seen in zip((loss, error, margins, loss), (*found, value)):
        np.testing.assert_allclose(seen, wanted, rtol=1e-13)
    np.testing.assert_allclose(gradient, slope, atol=1e-14 * N)


def test_curvature_a_few_tokens_at_a_time(small_chunks):
    task, v = TASKS["labels"], jr.normal(jr.key(0), (D, D))
    slope = jax.grad(lambda w: task.loss(am.LinearMemory(w)))
    chunked = jax.jit(lambda w, v: jax.jvp(slope, (w,), (v,))[1])(jnp.asarray(W), v)
    h = 1e-5
    apart = (in_numpy_at(W + h * np.asarray(v)) - in_numpy_at(W - h * np.asarray(v))) / (2 * h)
    np.testing.assert_allclose(chunked, apart, atol=1e-9)  # h² and ε/h, both below 1e-10


def in_numpy_at(weight):
    total = np.zeros_like(W)
    for x in range(N):
        s = U @ weight @ E[x]
        p = np.exp(s - logsumexp(s))
        p[LABELS[x]] -= 1
        total += P[x] * np.outer(p @ U, E[x])
    return total


def test_no_table_of_all_scores(monkeypatch):
    """A table of N × M scores is 9 MB; a look and a gradient hold a few chunks of 64 tokens."""
    monkeypatch.setattr(passes, "_SCORES", 1)
    n = 1060
    task = am.AssociationTask(
        am.laws.zipf(n), jnp.arange(n), jr.normal(jr.key(0), (n, 2)), jr.normal(jr.key(1), (n, 2))
    )
    memory = am.LinearMemory.zeros(task)
    table = n * n * 8

    def held(function):
        known = jax.jit(function).lower(memory.weight).compile().memory_analysis()
        assert known is not None
        return known.temp_size_in_bytes

    look = lambda w: list(quality.together(task, am.LinearMemory(w), [am.loss, am.error]).values())  # noqa: E731
    assert held(look) < table / 4
    assert held(jax.grad(lambda w: task.loss(am.LinearMemory(w)))) < table / 4


def test_looks_are_few_where_minibatches_are_small(monkeypatch):
    task = TASKS["labels"]
    assert quality.apart(task, 2) == 1  # a small task: every step
    monkeypatch.setattr(quality, "_SMALL", N * M - 1)
    assert [quality.apart(task, size) for size in (1, 2, 5, 6, 100, None)] == [6, 3, 2, 1, 1, 1]
    memory, descent = am.LinearMemory.zeros(task), am.Descent(optax.sgd, 9, 2, learning_rate=0.1)
    few = am.simulate(task, memory, descent, key=jr.key(0))
    assert few.steps.tolist() == [0, 3, 6, 9]  # 11 tokens a look, 2 forward and back a step


def test_one_pass_for_all():
    """Scores are asked for once, whatever of loss, error and margins is observed."""
    asked = []

    class Counted(am.AbstractWeights):
        weight: jax.Array

        def scores(self, task, tokens=None):
            asked.append(1)
            return am.LinearMemory(self.weight).scores(task, tokens)

        def trainable(self):
            return (self.weight,)

    request = Request({"a": am.loss, "b": am.error, "c": am.margins, "d": am.memory.weights})
    found = eqx.filter_eval_shape(request.look, TASKS["labels"], Counted(jnp.asarray(W)))
    assert {name: value.shape for name, value in found.items()} == {"a": (), "b": (), "c": (N,), "d": (D, D)}
    assert len(asked) == 1
