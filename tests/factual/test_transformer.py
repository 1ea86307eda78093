"""The transformer of factual recall: NumPy loops, another implementation's gradient, exact scores."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import assocmem_jax as am

EPS = float(np.finfo(float).eps)
Model = am.FactualTransformer


def task(**options):
    return am.FactualTask.balanced(4, 2, 2, jr.key(0), **{"noise": 3, "length": 6, "draws": 2} | options)


def drawn(seed, V, A, d=5, heads=2, width=3, m=4):
    """Arguments of a model, all normal."""
    rng = np.random.default_rng(seed)
    shapes = [(V, d), (A, d), *4 * [(heads, width, d)], (m, d), (m, d), (m,)]
    return [rng.normal(size=shape) for shape in shapes]


def loop(weights, tokens):
    E, U, Q, K, V, O, W2, W1, b = weights
    out = []
    for text in tokens:
        h = np.zeros(E.shape[1])
        for q, k, v, o in zip(Q, K, V, O):
            s = np.array([E[z] @ k.T @ q @ E[-1] for z in text])
            a = np.exp(s) / np.exp(s).sum()
            h += o.T @ v @ sum(w * E[z] for w, z in zip(a, text))
        out.append(U @ (h + W1.T @ np.maximum(W2 @ h + b, 0)))
    return np.array(out)


def other_loss(weights, data):
    """The same by counts of tokens and products of whole matrices W_KQ and W_OV, for autodiff."""
    E, U, Q, K, V, O, W2, W1, b = weights
    counts = jax.nn.one_hot(data.tokens, len(E)).sum(axis=1)
    h = 0
    for q, k, v, o in zip(Q, K, V, O):
        grown = counts * jnp.exp(E @ (k.T @ q) @ E[-1])
        h = h + grown @ E @ (o.T @ v).T / grown.sum(axis=1, keepdims=True)
    logits = (h + jnp.maximum(h @ W2.T + b, 0) @ W1) @ U.T
    return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(logits)), data.answers])


@eqx.filter_jit
def seen(facts, model):
    return facts.loss(model), model.scores(facts), model.attention(facts.data.tokens), model.token_logits


def test_scores_and_gradient_of_another_implementation():
    facts = task()
    weights = drawn(0, facts.num_tokens, facts.num_answers)
    E, U, Q, K, V, O, *_ = weights
    model, tokens = Model(*weights), np.asarray(facts.data.tokens)
    loss, scores, weight, values = seen(facts, model)
    np.testing.assert_allclose(scores, loop(weights, tokens), atol=2000 * EPS)
    grown = np.exp([E[z] @ K[1].T @ Q[1] @ E[-1] for z in tokens[3]])
    np.testing.assert_allclose(weight[3, 1], grown / grown.sum(), atol=100 * EPS)
    np.testing.assert_allclose(values, sum(E @ V[i].T @ O[i] @ U.T for i in range(2)), atol=1000 * EPS)
    expected, slopes = jax.jit(jax.value_and_grad(other_loss))(weights, facts.data)
    assert float(loss) == pytest.approx(float(expected), rel=1e-12)
    gradient = eqx.filter_jit(am.gradient)(facts, model)
    names = ("query", "key", "value", "output", "inner", "outer", "bias")
    for name, slope in zip(names, slopes[2:]):
        np.testing.assert_allclose(getattr(gradient, name), slope, atol=1e4 * EPS)
    assert gradient.embedding is None
    assert am.num_parameters(model) == 4 * 2 * 3 * 5 + 2 * 4 * 5 + 4


def test_written_scores_are_two_and_at_most_one():
    """Orthonormal embeddings, β = 60: e⁻⁶⁰ is nothing. The MLP adds d/4 to the right answer alone."""
    facts, d = task(), 16
    own = np.eye(4)[np.asarray(facts.data.answers)]
    block = np.repeat(own.reshape(-1, 2, 2).sum(axis=2), 2, axis=1)
    held = (np.asarray(facts.data.tokens)[:, :, None] == np.arange(4)).any(axis=1)
    subject = held @ np.eye(4)[np.asarray(facts.facts)].sum(axis=1)

    @jax.jit
    def every(key):
        options = dict(beta=60.0, draw=am.embeddings.orthonormal)
        sums = Model.constructed(facts, key, d, 2, 3, **options)
        nearest = Model.constructed(facts, key, d, 2, 3, pseudo_inverse=True, **options)
        mlp = Model.constructed_mlp(facts, key, d, 2, 3, **options)
        alone = eqx.tree_at(lambda m: m.outer, mlp, 0 * mlp.outer)
        short = Model.constructed(facts, key, d, 1, 3, **options)
        by_mlp = mlp.scores(facts) - alone.scores(facts)
        logits = sums.token_logits, short.token_logits
        scores = sums.scores(facts), nearest.scores(facts), by_mlp
        return sums, mlp, scores, logits, facts.recalled_bits(mlp)

    sums, mlp, (by_sums, by_nearest, by_mlp), (whole, short), told = every(jr.key(1))
    np.testing.assert_allclose(by_sums, block + subject, atol=1000 * EPS)
    np.testing.assert_allclose(by_nearest, block + subject, atol=1e4 * EPS)
    np.testing.assert_allclose(by_mlp, d / 4 * own, atol=1000 * EPS)
    assert am.num_parameters(sums) == 4 * 2 * 3 * d
    assert am.num_parameters(mlp) == 4 * 2 * 3 * d + 2 * 8 * d + 8
    assert float(told) == pytest.approx(2 * np.log2(6), rel=1e-12)
    # Heads too narrow for the rank of W_OV, 4: what is missing is its least singular value.
    sizes = np.linalg.svd(np.asarray(whole), compute_uv=False)
    missing = np.linalg.norm(np.asarray(whole - short))
    assert missing == pytest.approx(np.linalg.norm(sizes[3:]), rel=1e-9)
    assert (sizes > 1e-9).sum() == 4


@pytest.mark.thorough
def test_wide_random_embeddings_recall_everything():
    facts = am.FactualTask.balanced(8, 4, 4, jr.key(2), noise=5, length=8)
    kernel = lambda pairs, key: am.memory.MLPMemory.one_step(pairs, key, 512, am.memory.Hermite(2))  # noqa: E731

    @jax.jit
    def wrong(key):
        return [
            facts.error(model)
            for model in (
                Model.constructed(facts, key, 1024, 2, 6),
                Model.constructed(facts, key, 32, 2, 6, pseudo_inverse=True),
                Model.constructed_mlp(facts, key, 128, 2, 6, beta=8.0, pseudo_inverse=True),
                Model.constructed_mlp(facts, key, 256, 2, 6, kernel, beta=8.0, pseudo_inverse=True),
            )
        ]

    assert [float(e) for e in wrong(jr.key(3))] == [0, 0, 0, 0]


def test_the_first_subjects_and_relations():
    """first(n), traced, is the task of fewer: its law, and what is written of it."""
    whole = task(subjects_law=am.laws.zipf(4))

    @jax.jit
    def cut(n):
        first = whole.first(n, 1)
        model = Model.constructed(first, jr.key(1), 6, 1, 4)
        return first.pair_probabilities, first.weights, model.token_logits, model

    pairs, weights, values, model = cut(2)
    law = np.array([[1], [0.5], [0], [0]]) / 1.5 * [1, 0]
    np.testing.assert_allclose(pairs, law, atol=4 * EPS)
    np.testing.assert_allclose(weights, np.repeat(law.reshape(-1), 2) / 2, atol=4 * EPS)
    E, U = np.asarray(model.embedding), np.asarray(model.unembedding)
    wanted = np.zeros((len(E), 4))
    for s in range(2):
        wanted[s, np.asarray(whole.facts)[s]] = 1
    wanted[4, :2] = 1
    np.testing.assert_allclose(values, 2 * E @ E.T @ wanted @ U @ U.T, atol=1e4 * EPS)
    np.testing.assert_allclose(model.key[0, 0], 4 * (E[0] + E[1] + E[4]), atol=100 * EPS)


def test_bad_parts_are_refused():
    facts = task()
    weights = drawn(0, facts.num_tokens, facts.num_answers)
    refused = {
        "inner and outer must be given together": lambda: Model(*weights[:7]),
        r"key must be of shape \(2, 3, 5\)": lambda: Model(*weights[:3], weights[3][:1], *weights[4:]),
        r"unembedding must be of shape \(4, 5\)": lambda: Model(weights[0], weights[1][:, :2], *weights[2:]),
        "heads must be at least 1": lambda: Model.gaussian(facts, jr.key(0), 4, 0, 1),
        "subjects must be between 1 and 4": lambda: facts.first(5),
    }
    for words, call in refused.items():
        with pytest.raises(ValueError, match=words):
            call()
