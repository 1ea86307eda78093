"""Co-occurrence: the law of data, the transformer, its closed systems, invariants, refusals."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am
from assocmem_jax.systems.cooccurrence import theory
from assocmem_jax.systems.cooccurrence.task import irrelevant

COUNTS, D, M, M1 = (6, 2, 3, 4), 12, 5, 4
TASK = am.CooccurrenceTask.training(jr.key(0), COUNTS, 5, D)
MODEL = am.CooccurrenceTransformer.kaiming(TASK, jr.key(1), M, M1, gain=1.0)
SYSTEMS = {"J": am.cooccurrence.CooccurrenceSystem, "C": am.cooccurrence.SixVariableSystem}


def kind_of(row):
    return 0 if {0, 1} <= set(row) else 1 if 0 in row else 2 if 1 in row else 3


def numpy_output(model, row):
    """Cooc (1), word by word, neuron by neuron."""
    W, V, K, Q, a = (
        np.asarray(part) for part in (model.mlp, model.value, model.key, model.query, model.signs)
    )
    total = 0.0
    for query in row:
        scores = np.array([K[:, key] @ Q[:, query] for key in row]) / np.sqrt(len(K))
        weights = np.exp(scores - scores.max())
        mixed = sum(w * V[:, key] for w, key in zip(weights / weights.sum(), row))
        total += sum(a[j] * W[j] @ mixed for j in range(len(a)))
    return total


# --- Data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("distinct", [False, True])
def test_training_sets(distinct):
    """Counts, one common token and each signal once, labels, Assumption 2.3(ii) where asked."""
    d = irrelevant(COUNTS, 5) + 3
    task = am.CooccurrenceTask.training(jr.key(3), COUNTS, 5, d, n=15, distinct=distinct)
    rows = np.asarray(task.tokens)
    kinds = [kind_of(row) for row in rows]
    assert [kinds.count(k) for k in range(4)] == list(COUNTS)
    assert np.asarray(task.kinds).tolist() == kinds
    assert np.asarray(task.labels).tolist() == [1.0 if k == 0 else -1.0 for k in kinds]
    for row in rows:
        assert [list(row).count(k) for k in (0, 1, 2)] == [int(0 in row), int(1 in row), 1]
    words = rows[rows >= 3]
    assert len(words) == irrelevant(COUNTS, 5) == sum(5 - len({0, 1, 2} & set(row)) for row in rows)
    assert (len(set(words.tolist())) == len(words)) == distinct
    if distinct:
        assert sorted(words.tolist()) == list(range(3, d))


def test_population():
    """60,000 samples: kinds, places and words by χ² (a p-value below 1e-4 fails)."""
    from scipy.stats import chisquare

    task = am.CooccurrenceTask.population(jr.key(5), 60_000, 5, 13)
    kinds = np.bincount(np.asarray(task.kinds), minlength=4)
    assert chisquare(kinds, 60_000 * np.array([1 / 2, 1 / 6, 1 / 6, 1 / 6])).pvalue > 1e-4
    rows = np.asarray(task.tokens)
    for token in (0, 1, 2):
        places = np.bincount(np.nonzero(rows == token)[1], minlength=5)
        assert chisquare(places).pvalue > 1e-4, token
    assert chisquare(np.bincount(rows[rows >= 3] - 3, minlength=10)).pvalue > 1e-4
    # Places of the two signals, jointly: 20 ordered pairs.
    both = rows[np.asarray(task.kinds) == 0]
    pairs = np.argmax(both == 0, axis=1) * 5 + np.argmax(both == 1, axis=1)
    assert chisquare(np.bincount(pairs, minlength=25)[np.bincount(pairs, minlength=25) > 0]).pvalue > 1e-4
    assert len(set(pairs.tolist())) == 20


# --- Model ----------------------------------------------------------------------------------------


def test_output_loss_and_error_are_the_numpy_loop():
    outputs = np.array([numpy_output(MODEL, row) for row in np.asarray(TASK.tokens)])
    np.testing.assert_allclose(MODEL.scores(TASK), outputs, rtol=1e-12, atol=1e-12)
    margins = np.asarray(TASK.labels) * outputs
    np.testing.assert_allclose(am.margins(TASK, MODEL), margins, rtol=1e-12, atol=1e-12)
    assert float(am.loss(TASK, MODEL)) == pytest.approx(np.log1p(np.exp(-margins)).mean(), rel=1e-12)
    assert float(am.error(TASK, MODEL)) == pytest.approx((margins <= 0).mean())
    kinds = np.array([kind_of(row) for row in np.asarray(TASK.tokens)])
    each, pull = np.log1p(np.exp(-margins)), 1 / (1 + np.exp(margins))
    np.testing.assert_allclose(
        am.cooccurrence.kind_losses(TASK, MODEL), [each[kinds == k].mean() for k in range(4)], rtol=1e-12
    )
    sums = np.array([pull[kinds == k].sum() for k in range(4)])
    np.testing.assert_allclose(am.cooccurrence.gradient_sums(TASK, MODEL), sums, rtol=1e-12)
    expected = [sums[1] / sums[2], sums.sum() / (sums[1:].sum() - sums[0]), sums.sum() / (sums[0] - sums[1])]
    np.testing.assert_allclose(am.cooccurrence.balance(TASK, MODEL), expected, rtol=1e-10)
    assert np.asarray(am.cooccurrence.attention_weights(TASK, MODEL)).sum(axis=-1) == pytest.approx(
        1, rel=1e-14
    )
    np.testing.assert_allclose(
        am.cooccurrence.attention_scores(TASK, MODEL), MODEL.key.T @ MODEL.query, rtol=1e-14
    )
    a, W, V = MODEL.signs, MODEL.mlp, MODEL.value
    np.testing.assert_allclose(am.cooccurrence.token_values(TASK, MODEL), a @ W @ V, rtol=1e-12)
    np.testing.assert_allclose(am.cooccurrence.value_correlations(TASK, MODEL), V.T @ V, rtol=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize(("law", "gain"), [("uniform", 2**0.5), ("normal", 1.0)])
def test_initial_scales(law, gain):
    """Standard deviations to six standard errors, 8,192 entries each; a bound on the uniform law."""
    task = am.CooccurrenceTask.training(jr.key(0))
    model = am.CooccurrenceTransformer.kaiming(task, jr.key(2), law=law, gain=gain)
    for part, fan_in in ((model.value, 64), (model.key, 64), (model.query, 64), (model.mlp, 128)):
        spread = gain / fan_in**0.5
        assert abs(float(part.std()) / spread - 1) < 6 / (2 * part.size) ** 0.5
        assert (float(jnp.abs(part).max()) <= spread * 3**0.5) == (law == "uniform")
    assert set(np.asarray(model.signs).tolist()) == {-1.0, 1.0}
    small = am.CooccurrenceTransformer.gaussian(task, jr.key(2))
    assert abs(float(small.key.std()) / (0.3 / (5 * 128) ** 0.5) - 1) < 6 / (2 * 8192) ** 0.5
    assert abs(float(small.mlp.std()) / (0.3 / 256**0.5) - 1) < 6 / (2 * 32768) ** 0.5


# --- Closed systems -------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("name", SYSTEMS)
def test_descent_closes_exactly(name):
    """The scalar products of the weights after 300 steps are those that the system steps to, to rounding."""
    descent = am.Descent(optax.sgd, 300, learning_rate=0.1)
    watch = {"loss": am.loss, "margins": am.margins}
    full = am.simulate(TASK, MODEL, descent, observe=watch, every=50)
    fast = am.simulate(TASK, SYSTEMS[name].from_transformer(MODEL), descent, observe=watch, every=50)
    assert float(full.observed["loss"][-1]) < 0.5 * float(full.observed["loss"][0])
    np.testing.assert_allclose(fast.observed["margins"], full.observed["margins"], rtol=1e-11, atol=1e-11)
    again = SYSTEMS[name].from_transformer(full.model)
    for ours, theirs in zip(jax.tree.leaves(fast.model), jax.tree.leaves(again)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["J", pytest.param("C", marks=pytest.mark.thorough)])
def test_flow_closes(name):
    """To 1e-7 at all times to t = 300: the six families and the smaller system are the weights."""
    flow = am.GradientFlow(t1=300.0)
    watch = {"margins": am.margins, "scores": am.cooccurrence.attention_scores}
    full = am.simulate(TASK, MODEL, flow, observe=watch)
    fast = am.simulate(TASK, SYSTEMS[name].from_transformer(MODEL), flow, observe=watch)
    for part in watch:
        np.testing.assert_allclose(fast.observed[part], full.observed[part], rtol=1e-7, atol=1e-7)


@pytest.mark.thorough
def test_invariants_drift_as_they_should():
    """Flow: below 1e-8 by t = 100. Descent: the linear ones to rounding, the others at first order in η."""
    task = am.CooccurrenceTask(TASK.tokens, TASK.labels, D + 3)  # three words that never occur
    model = am.CooccurrenceTransformer.gaussian(task, jr.key(4), M, M1, 0.5, 0.5)
    start = am.cooccurrence.invariants(task, model)

    def drift(run):
        end = am.cooccurrence.invariants(task, run.model)
        return {name: float(jnp.abs(end[name] - start[name]).max()) for name in end}

    flow = drift(am.simulate(task, model, am.GradientFlow(t1=100.0), observe={}))
    assert max(flow.values()) < 1e-8, flow
    coarse, fine = (
        drift(am.simulate(task, model, am.Descent(optax.sgd, n, learning_rate=10 / n), observe={}, every=n))
        for n in (500, 1000)
    )
    for name in coarse:
        if name.startswith("linear"):
            assert coarse[name] < 1e-12, name
        else:
            assert coarse[name] > 1e-6, name
            assert 1.6 < coarse[name] / fine[name] < 2.4, name
    assert float(jnp.abs(start["linear_unseen"]).max()) > 0


def test_invariants_are_the_numpy_loop():
    """Entry by entry; rounding of sums of at most 60 numbers of order one."""
    task = am.CooccurrenceTask(TASK.tokens, TASK.labels, D + 3)  # three words that never occur
    model = am.CooccurrenceTransformer.gaussian(task, jr.key(4), M, M1, 0.5, 0.5)
    W, V, K, Q, a = (np.asarray(p) for p in (model.mlp, model.value, model.key, model.query, model.signs))
    found = am.cooccurrence.invariants(task, model)
    seen = sorted({int(word) for word in np.asarray(task.tokens).ravel()})
    unseen = np.concatenate([V, K, Q])
    unseen[:, seen] = 0
    loops = {
        "value": [
            [sum(W[j, p] * W[j, q] for j in range(M1)) - V[p] @ V[q] for q in range(M)] for p in range(M)
        ],
        "attention": [[K[p] @ K[q] - Q[p] @ Q[q] for q in range(M)] for p in range(M)],
        "norms": sum(w**2 for w in W.ravel()) - sum(v**2 for v in V.ravel()),
        "energy": sum((a @ W[:, p]) ** 2 for p in range(M)) - M1 * sum(v**2 for v in V.ravel()),
        "linear_mlp": [[W[j, p] - a[j] * (a @ W[:, p]) / M1 for p in range(M)] for j in range(M1)],
        "linear_key": [sum(row) for row in K],
        "linear_unseen": unseen,
    }
    assert set(found) == set(loops)
    for name, wanted in loops.items():
        np.testing.assert_allclose(found[name], wanted, atol=1e-13, err_msg=name)


def test_sgd_and_the_end_of_phase_one():
    run = am.simulate(
        TASK, MODEL, am.Descent(optax.sgd, 400, batch_size=8, learning_rate=0.05), key=jr.key(0),
        until=am.perfect_accuracy(), observe={"error": am.error},
    )  # fmt: skip
    assert run.status == am.Status.HIT
    assert float(am.error(TASK, run.model)) == 0
    # The minibatch loss is unbiased: over all samples it is the loss.
    assert float(TASK.sampled_loss(MODEL, jnp.arange(15))) == pytest.approx(
        float(am.loss(TASK, MODEL)), rel=1e-14
    )
    assert TASK.sampler(1000)(jr.key(1)).max() == 14


@pytest.mark.parametrize("way", [1.0, -1.0])
def test_one_score_that_moves_ends_phase_one(way):
    """By more than the level, up or down, from where the model had it; the other scores stay."""
    start = reduced()
    ends = am.cooccurrence.scores_moved(start, 0.25)
    # Rounding of a score and of the difference: an eps of the larger one each.
    rounding = 2 * np.finfo(float).eps * (1 + float(jnp.abs(start.table).max()))
    for moved in (0.0, 0.1, 0.25, 0.5):
        model = eqx.tree_at(lambda m: m.table, start, start.table.at[3, 1].add(way * moved))
        assert float(ends.condition(TASK, model)) == pytest.approx(moved - 0.25, abs=rounding)
    assert ends.hold == 1
    assert am.cooccurrence.scores_moved(start, 0.25, None).hold is None


@pytest.mark.thorough
def test_events_of_the_flow():
    """Both ends of Phase 1 are crossings of the flow, located to its tolerance."""
    flow = am.GradientFlow(t1=300.0)
    right = am.simulate(TASK, reduced(), flow, until=am.perfect_accuracy(), observe={"margins": am.margins})
    assert right.status == am.Status.HIT
    assert abs(float(am.margins(TASK, right.model).min())) < 1e-8
    moved = am.simulate(
        TASK, reduced(), flow, until=am.cooccurrence.scores_moved(reduced(), 0.05), observe={}
    )
    assert moved.status == am.Status.HIT
    assert float(jnp.abs(moved.model.table - reduced().table).max()) == pytest.approx(0.05, rel=1e-8)
    with pytest.raises(ValueError, match="level must be positive"):
        am.cooccurrence.scores_moved(reduced(), 0.0)


@pytest.mark.thorough
def test_gradients_through_training():
    def last(rate):
        descent = am.Descent(optax.sgd, 20, learning_rate=rate)
        return am.simulate(TASK, reduced(), descent, observe={"loss": am.loss}).observed["loss"][-1]

    final = jax.jit(last)
    slope = float(jax.grad(final)(0.1))
    # Central differences at h = 1e-4: an error of h² times the third derivative, and rounding over h.
    assert slope == pytest.approx(float(final(0.1 + 1e-4) - final(0.1 - 1e-4)) / 2e-4, rel=1e-5)


# --- Refusals -------------------------------------------------------------------------------------


def reduced():
    return am.cooccurrence.CooccurrenceSystem.from_transformer(MODEL)


REFUSED = [
    (lambda: am.CooccurrenceTask.training(jr.key(0), COUNTS, 2, D), "length must be at least 3"),
    (lambda: am.CooccurrenceTask(jnp.zeros((4, 2), int), jnp.ones(4), D), "L must be at least 3"),
    (lambda: am.CooccurrenceTask.training(jr.key(0), COUNTS, 5, D, n=16), "counts must be of sum n = 16"),
    (lambda: am.CooccurrenceTask.training(jr.key(0), (1, 2, 3), 5, D), "counts must be four numbers"),
    (lambda: am.CooccurrenceTask.training(jr.key(0), (1, -2, 3, 0), 5, D), r"counts\[1\] must be at least 0"),
    (
        lambda: am.CooccurrenceTask.training(jr.key(0), distinct=True),
        "dimension must be at least 163 for distinct irrelevant tokens, got 64",
    ),
    (lambda: am.CooccurrenceTask.training(jr.key(0), COUNTS, 5, 3), "dimension must be at least 4"),
    (lambda: am.CooccurrenceTask(jnp.full((4, 3), 12), jnp.ones(4), D), "tokens must be from 0 to 11"),
    (lambda: am.CooccurrenceTask(jnp.ones((4, 3), int), jnp.zeros(4), D), "labels must be −1 or 1"),
    (
        lambda: am.CooccurrenceTransformer(MODEL.mlp, MODEL.value, MODEL.key, MODEL.query, MODEL.signs / 2),
        "signs must be −1 or 1",
    ),
    (
        lambda: am.CooccurrenceTransformer.gaussian(TASK, jr.key(0), M, M1, sigma0=0.0),
        "sigma0 must be positive",
    ),
    (
        lambda: am.CooccurrenceTransformer.gaussian(TASK, jr.key(0), M, M1, sigma1=-1.0),
        "sigma1 must be positive",
    ),
    (
        lambda: am.CooccurrenceTransformer.kaiming(TASK, jr.key(0), law="he"),
        "law must be 'uniform' or 'normal'",
    ),
    (
        lambda: am.simulate(TASK, reduced(), am.Descent(optax.sgd(0.1, momentum=0.9), 2)),
        "optimizer must be plain gradient descent",
    ),
    (lambda: am.simulate(TASK, reduced(), am.Descent(optax.adam(0.1), 2)), "optimizer must be"),
    (
        lambda: am.simulate(TASK, reduced(), am.StochasticFlow(0.1, 1.0, 2), key=jr.key(0)),
        "dynamics must be a flow or plain descent for a reduced system",
    ),
    (
        lambda: am.simulate(am.two_tokens(0.5, 0.5), MODEL, am.GradientFlow(1.0)),
        "model must be for scores of shape",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("float32")
def test_a_scale_may_be_any_number_in_float32():
    """A whole number that no int32 holds, as the float it is."""
    task = am.CooccurrenceTask.training(jr.key(0), (2, 1, 1, 1), 4, 9)
    heads = am.cooccurrence.CooccurrenceHeads
    whole, real = (heads.gaussian(task, jr.key(1), 2, 3, 2, sigma0=s, sigma1=s) for s in (2**40, 2.0**40))
    np.testing.assert_array_equal(whole.mlp, real.mlp)
    np.testing.assert_array_equal(whole.key, real.key)


def test_late_law_of_one_sample():
    """On one sample of L equal words γ² = L: the law of training sets against the exact time, F = 15 … 40.

    With ρ₀ = m₁Lδ = |G₀|√(m₁L) → 0 it is 2√(m₁L) t F e^{−F} → 1, 1 + 1/F + 2/F² + 6/F³ + … as Ei: to 10/F³.
    """
    length, neurons, F = 4, 16, np.array([15.0, 25.0, 40.0])
    t = theory.one_sample_time(F, 0.5, 1e-3, neurons, length)
    law = theory.late_loss(np.log1p(np.exp(-F)), t, length**0.5, 1e-3 / length, neurons)
    assert (np.abs(law - (1 + 1 / F + 2 / F**2)) < 10 / F**3).all()


def test_heads_add_up():
    """Outputs of heads, word by word in NumPy, add; one head descends as the transformer does."""
    heads = am.cooccurrence.CooccurrenceHeads.gaussian(TASK, jr.key(2), 3, M, M1, 1.0, 1.0)
    each = [
        am.CooccurrenceTransformer(heads.mlp, heads.value[h], heads.key[h], heads.query[h], heads.signs)
        for h in range(3)
    ]
    wanted = [sum(numpy_output(one, row) for one in each) for row in np.asarray(TASK.tokens)]
    np.testing.assert_allclose(heads.scores(TASK), wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(heads.table, sum(one.table for one in each), rtol=1e-12, atol=1e-12)
    alone = am.cooccurrence.CooccurrenceHeads(
        MODEL.mlp, MODEL.value[None], MODEL.key[None], MODEL.query[None], MODEL.signs
    )
    descent = am.Descent(optax.sgd(0.1), 10)
    ends = [am.simulate(TASK, model, descent, observe={}).model for model in (MODEL, alone)]
    for name in ("mlp", "value", "key", "query"):
        found = getattr(ends[1], name)
        np.testing.assert_allclose(
            found if name == "mlp" else found[0], getattr(ends[0], name), rtol=1e-11, atol=1e-12
        )
    with pytest.raises(ValueError, match="heads must be at least 1, got 0"):
        am.cooccurrence.CooccurrenceHeads.gaussian(TASK, jr.key(2), 0)


def test_velocity_of_the_values_is_that_of_the_loss():
    """Cooc (4): aᵀ(ẆV + WV̇), Ẇ = −∂L/∂W and V̇ = −∂L/∂V by central differences of L, word by word.

    Error of a difference: h² times a third derivative of order one, and ε/h: both below 10⁻⁸ at h = 10⁻⁵.
    With the a_{j1} that is printed, here −1, the second part changes its sign (cooc.43).
    """
    from assocmem_jax import theory

    rng, signs = np.random.default_rng(4), np.array([-1.0, 1.0, 1.0, -1.0])
    parts = {"mlp": (M1, M), "value": (M, D), "key": (M, D), "query": (M, D)}
    parts = {name: rng.normal(size=shape) / np.sqrt(M) for name, shape in parts.items()}
    rows, y = np.asarray(TASK.tokens), np.asarray(TASK.labels)

    def descent(name):
        out = np.zeros_like(parts[name])
        for at in np.ndindex(out.shape):
            ends = []
            for h in (1e-5, -1e-5):
                moved = parts | {name: parts[name].copy(), "signs": signs}
                moved[name][at] += h
                found = [numpy_output(SimpleNamespace(**moved), row) for row in rows]
                ends.append(np.logaddexp(0, -y * np.array(found)).mean())
            out[at] = (ends[1] - ends[0]) / 2e-5
        return out

    first, second = signs @ descent("mlp") @ parts["value"], signs @ parts["mlp"] @ descent("value")
    weights = theory.cooccurrence.Weights(*map(jnp.asarray, parts.values()))
    state, X = theory.cooccurrence.products(weights), np.eye(D)[rows]
    printed, ours = (
        theory.cooccurrence.value_velocity(state, signs, X, y, M, stray=stray) for stray in (True, False)
    )
    # Of the two sums, (4) begins with the one over the neurons, which V̇ gives.
    np.testing.assert_allclose(ours, first + second, atol=1e-8)
    np.testing.assert_allclose(printed, second - first, atol=1e-8)


def test_words_of_a_smaller_set():
    """Room for the words that the rows of a training set need, and one fewer is refused."""
    from assocmem_jax import theory

    for counts, length in (((2, 1, 3, 1), 5), ((0, 0, 0, 7), 3)):
        needed = theory.cooccurrence.words_needed(counts, length)
        assert needed == 3 + sum(n * (length - taken) for n, taken in zip(counts, (3, 2, 2, 1)))
        am.CooccurrenceTask.training(jr.key(0), counts, length, needed, distinct=True)
        with pytest.raises(ValueError, match="must be"):
            am.CooccurrenceTask.training(jr.key(0), counts, length, needed - 1, distinct=True)
