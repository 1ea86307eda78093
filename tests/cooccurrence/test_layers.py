"""Two layers of attention: a loop in NumPy, its slope by complex step, one layer within two, refusals."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from pydantic import ValidationError

import assocmem_jax as am
from assocmem_jax.studies.registry import schema
from assocmem_jax.systems.cooccurrence.statements.loops import layers_output

D, M, M1 = 7, 3, 2
TASK = am.CooccurrenceTask.training(jr.key(0), (2, 1, 1, 1), 5, D)  # words repeat
Layers = am.cooccurrence.CooccurrenceLayers
MODEL = Layers.gaussian(TASK, jr.key(1), M, M1, 1.0, 1.0)
LABELS, SIGNS = np.asarray(TASK.labels), np.asarray(MODEL.last.signs)
# An output adds L words worth at most 11, behind a chain of seven products of up to 7 terms and two
# softmaxes of scores of at most 5.2: 256 roundings of 1 + 55. Every other number compared is smaller.
ROUNDINGS = 256 * (1 + 55)
CLOSE: Any = dict(rtol=0, atol=ROUNDINGS * 2.0**-52)


def weights(model):
    """As ``layers_output`` takes them."""
    return [np.asarray(part) for part in model.trainable()]


def outputs(parts):
    return np.array([layers_output(parts, SIGNS, row) for row in np.asarray(TASK.tokens)])


def slopes(parts):
    """∂L/∂ of every matrix by complex step: no difference is taken, so that it is exact to rounding."""
    found = [np.zeros(part.shape) for part in parts]
    for place, part in enumerate(parts):
        for entry in range(part.size):
            moved = [np.array(one, complex) for one in parts]
            moved[place].flat[entry] += 1e-30j
            found[place].flat[entry] = np.log(1 + np.exp(-LABELS * outputs(moved))).mean().imag / 1e-30
    return found


def test_outputs_and_attention_are_the_numpy_loop():
    wanted = outputs(weights(MODEL))
    np.testing.assert_allclose(MODEL.scores(TASK), wanted, **CLOSE)
    assert float(am.loss(TASK, MODEL)) == pytest.approx(np.log1p(np.exp(-LABELS * wanted)).mean(), rel=1e-12)
    np.testing.assert_allclose(MODEL.scores(TASK, jnp.array([3, 0])), wanted[[3, 0]], **CLOSE)
    # Attention of both layers from streams of vectors.
    W, V, K, Q, U, K1, Q1 = weights(MODEL)
    first, last = MODEL.attended(TASK)
    for row, p1, p in zip(np.asarray(TASK.tokens), first, last):
        X = np.eye(D)[:, row]
        for stream, key, query, found in ((X, K1, Q1, p1), (X + U @ X @ np.asarray(p1).T, K, Q, p)):
            e = np.exp((key @ stream).T @ (query @ stream) / np.sqrt(M))
            np.testing.assert_allclose(found.T, e / e.sum(axis=0), **CLOSE)
    np.testing.assert_array_equal(am.cooccurrence.attention_weights(TASK, MODEL), last)
    both = np.eye(D) + U
    np.testing.assert_allclose(am.cooccurrence.token_values(TASK, MODEL), SIGNS @ W @ V @ both, **CLOSE)
    np.testing.assert_allclose(MODEL.first_values, SIGNS @ W @ V @ U, **CLOSE)
    np.testing.assert_allclose(am.cooccurrence.attention_scores(TASK, MODEL), K.T @ Q, **CLOSE)
    np.testing.assert_allclose(MODEL.first_table, K1.T @ Q1, **CLOSE)
    read = V @ both
    np.testing.assert_allclose(am.cooccurrence.value_correlations(TASK, MODEL), read.T @ read, **CLOSE)


def test_descent_is_that_of_numpy():
    """Three steps on all seven matrices; a stays. Sharpness is 24 to 70 along them, so that rounding grows by
    at most 1 + .05·70 a step: in all less than 100 times."""
    end = am.simulate(TASK, MODEL, am.Descent(optax.sgd(0.05), 3), observe={}).model
    parts = weights(MODEL)
    for _ in range(3):
        parts = [part - 0.05 * slope for part, slope in zip(parts, slopes(parts))]
    for found, wanted, start in zip(weights(end), parts, weights(MODEL)):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=100 * ROUNDINGS * 2.0**-52)
        assert np.abs(wanted - start).max() > 1e-4
    np.testing.assert_array_equal(end.last.signs, SIGNS)


def test_one_layer_is_two_with_nothing_added():
    """At U = 0 zeros are added to every score and every word: the same numbers, and the same slope."""
    one = am.CooccurrenceTransformer.gaussian(TASK, jr.key(2), M, M1, 1.0, 1.0)
    two = Layers.from_transformer(one)
    np.testing.assert_allclose(two.scores(TASK), one.scores(TASK), **CLOSE)
    np.testing.assert_allclose(two.values, one.values, **CLOSE)
    np.testing.assert_allclose(two.value_gram, one.value_gram, **CLOSE)
    np.testing.assert_array_equal(two.table, one.table)
    below, above = (jax.grad(TASK.loss, allow_int=True)(model) for model in (one, two))
    for found, wanted in zip(above.last.trainable(), below.trainable()):
        np.testing.assert_allclose(found, wanted, **CLOSE)
    # What attends to nothing has no slope, what it would add has one.
    assert float(jnp.abs(above.first_key).max()) == float(jnp.abs(above.first_query).max()) == 0
    assert float(jnp.abs(above.first_value).max()) > 1e-3


def test_two_layers_begin_as_one_does():
    """The last layer is what one layer draws from the key; U, W_K¹, W_Q¹ have σ₀, to six standard errors."""
    task = am.CooccurrenceTask.training(jr.key(0))
    one = am.CooccurrenceTransformer.gaussian(task, jr.key(5))
    two = Layers.gaussian(task, jr.key(5))
    for found, wanted in zip(jax.tree.leaves(two.last), jax.tree.leaves(one)):
        np.testing.assert_array_equal(found, wanted)
    drawn = two.first_value, two.first_key, two.first_query
    for sigma, parts in (
        (0.3 / (5 * 128) ** 0.5, drawn),
        (0.5, Layers.gaussian(task, jr.key(5), sigma0=0.5).trainable()[4:]),
    ):
        for part in parts:
            assert abs(float(part.std()) / sigma - 1) < 6 / (2 * part.size) ** 0.5
    # Each of its own.
    a, b = np.ravel(two.first_key), np.ravel(two.first_query)
    assert abs(np.corrcoef(a, b)[0, 1]) < 6 / a.size**0.5
    assert abs(np.corrcoef(a, np.ravel(one.key))[0, 1]) < 6 / a.size**0.5


@pytest.mark.usefixtures("float32")
def test_two_layers_in_float32():
    """The same model in float32: outputs to as many roundings as in float64."""
    task = am.CooccurrenceTask(np.asarray(TASK.tokens), LABELS, D)
    last = am.CooccurrenceTransformer(*weights(MODEL)[:4], SIGNS)
    model = Layers(last, *weights(MODEL)[4:])
    found = model.scores(task)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, outputs(weights(MODEL)), rtol=0, atol=ROUNDINGS * 2.0**-23)


def test_refused_in_one_line():
    last, (U, K, Q) = MODEL.last, MODEL.trainable()[4:]
    for call, message in (
        (lambda: Layers(MODEL, U, K, Q), "last must be of the class CooccurrenceTransformer, got"),
        (lambda: Layers(last, U[1:], K, Q), r"first_value must be of shape \(7, 7\), got shape \(6, 7\)"),
        (lambda: Layers(last, U, K.T, Q), r"first_key must be of shape \(3, 7\), got shape \(7, 3\)"),
        (lambda: Layers(last, U, K, jnp.nan * Q), "first_query must be finite"),
        (lambda: Layers.from_transformer(MODEL), "model must be of the class CooccurrenceTransformer, got"),
        (lambda: Layers.gaussian(TASK, jr.key(0), 0), "width must be at least 1, got 0"),
        (lambda: Layers.gaussian(TASK, jr.key(0), M, M1, -1.0), "sigma0 must be positive"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_options_of_the_study_exclude_each_other():
    study: Any = dict(study="cooc.two_phases", system="weights", start=dict(law="sigma"))
    phases: Any = schema("cooc.two_phases")
    assert phases(**study, layers=2).layers == phases(**study, heads=2).heads == 2
    for more, message in (
        (dict(heads=2, layers=2), "heads = 2 and layers = 2: one of them must be 1"),
        (dict(layers=2, system="reduced"), 'layers = 2 needs system = "weights" and start.law = "sigma"'),
        (dict(layers=2, start=dict(law="normal")), "layers = 2 needs"),
        (dict(heads=3, system="reduced"), "heads = 3 needs"),
        (dict(layers=3), "less than or equal to 2"),
        (dict(layers=0), "greater than or equal to 1"),
    ):
        with pytest.raises(ValidationError, match=message):
            phases(**study | more)
