"""The induction transformer: forward pass, gradients, probes, frozen parts, the plain transformer."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am
from assocmem_jax.observe.gradient import trainable_mask
from assocmem_jax.systems.induction.studies.formation import optimizer
from assocmem_jax.systems.induction.studies.schemas import ThreeSteps
from assocmem_jax.systems.induction.theory import first_steps as induction

N, T, D = 6, 9, 7
LAW = np.random.default_rng(0).dirichlet(np.ones(N), size=N)
TASK = am.BigramTask(LAW.mean(0), LAW, length=T, triggers=2, data=5, key=jr.key(1))
EVERYWHERE = am.BigramTask(LAW.mean(0), LAW, length=T, triggers=2, data=5, key=jr.key(1), loss_on="all")
# Long enough for the packed loss.
LONG = am.BigramTask(LAW.mean(0), LAW, length=36, triggers=1, data=5, key=jr.key(1))
draw = functools.partial(am.InductionTransformer.gaussian, TASK, jr.key(2), D)
KINDS = {
    "two layers": draw(trained=2.0),
    "with W_F": draw(trained=2.0, feedforward=True),
    "scaled scores": draw(trained=2.0, scaled=True),
    "one layer": draw(trained=2.0, layers=1),
}


@eqx.filter_jit
def scores(task, model):
    return model.scores(task)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def numpy_logits(model, row):
    """Birth 4.2, token by token."""
    E, P, U, O1, V1, V2, K1, K2, O2, F = (
        None if w is None else np.asarray(w)
        for w in (model.embedding, model.positions, model.unembedding, model.output1, model.value1,
                  model.value2, model.key1, model.key2, model.output2, model.feedforward)
    )  # fmt: skip
    scale = 1 / np.sqrt(E.shape[1]) if model.scaled else 1.0
    x = [E[z] + P[t] for t, z in enumerate(row)]
    if K1 is not None:
        x = [
            x[t]
            + O1
            @ V1
            @ sum(
                a * x[s]
                for s, a in enumerate(softmax(np.array([x[t] @ K1 @ x[s] for s in range(t + 1)]) * scale))
            )
            for t in range(len(row))
        ]
    out = []
    for t in range(len(row)):
        weights = softmax(np.array([x[t] @ K2 @ x[s] for s in range(t + 1)]) * scale)
        h = x[t] + O2 @ V2 @ sum(a * x[s] for s, a in enumerate(weights))
        out.append(U @ (h if F is None else h + F @ h))
    return np.array(out)


@pytest.mark.parametrize("name", KINDS)
def test_forward_pass_against_loops(name):
    model = KINDS[name]
    wanted = np.array([numpy_logits(model, row) for row in np.asarray(TASK.data.tokens)])
    np.testing.assert_allclose(scores(TASK, model), wanted, atol=1e-13 * np.abs(wanted).max())
    # At a few positions only, in any order.
    at = jnp.array([[8, 0], [3, 3], [1, 5], [0, 8], [2, 7]])
    some = eqx.filter_jit(lambda m, at: m.logits(m.residual(TASK.data.tokens), at))(model, at)
    np.testing.assert_allclose(
        some, np.take_along_axis(wanted, np.asarray(at)[..., None], axis=1), atol=1e-12
    )
    weights = model.attention(TASK.data.tokens)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-14)
    assert float(jnp.triu(weights[0, 0], 1).max()) == 0


@pytest.mark.thorough
def test_blocks_of_rows_do_not_show():
    """A sequence longer than a block of the causal triangle, and one that is not a multiple of it."""
    from assocmem_jax.models.attention import causal

    q, k, v = (jr.normal(key, (2, 150, 3)) for key in jr.split(jr.key(0), 3))
    scores = jnp.where(jnp.tril(jnp.ones((150, 150), bool)), jnp.einsum("ntd,nsd->nts", q, k), -jnp.inf)
    np.testing.assert_allclose(causal(q, k, v), jax.nn.softmax(scores, axis=-1) @ v, atol=1e-13)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("task", "name"), [(TASK, "two layers"), (EVERYWHERE, "with W_F"), (LONG, "one layer")]
)
def test_gradients_against_the_plain_pass(task, name):
    """Tables, packing and chunks against autodiff of a straightforward float64 pass: 1e-12; float32: 1e-5."""
    model = KINDS[name]
    if task is LONG:
        model = am.InductionTransformer.gaussian(LONG, jr.key(2), D, trained=2.0, layers=1)
    trained, frozen = eqx.partition(model, trainable_mask(model))
    weights = task.weights(task.data)

    def plain(part):
        m = eqx.combine(part, frozen)
        x = m.inputs(task.data.tokens)
        seen = jnp.tril(jnp.ones((task.length, task.length), bool))
        attend = lambda x, K: jax.nn.softmax(jnp.where(seen, x @ K @ x.swapaxes(1, 2), -jnp.inf), axis=-1) @ x  # noqa: E731
        if m.key1 is not None:
            x = x + attend(x, m.key1) @ (m.output1 @ m.value1).T
        h = x + attend(x, m.key2) @ m.value2.T @ m.output2.T
        h = h if m.feedforward is None else h + h @ m.feedforward.T
        logits = jax.nn.log_softmax(h @ m.unembedding.T)
        own = jnp.take_along_axis(logits, task.data.targets[..., None], axis=-1)[..., 0]
        return -jnp.sum(weights * own) / jnp.sum(weights)

    slope = lambda task, part, rest: jax.value_and_grad(lambda p: task.loss(eqx.combine(p, rest)))(part)  # noqa: E731
    shipped = eqx.filter_jit(slope)(task, trained, frozen)
    plainly = jax.jit(jax.value_and_grad(plain))(trained)
    for got, wanted in zip(jax.tree.leaves(shipped), jax.tree.leaves(plainly)):
        np.testing.assert_allclose(got, wanted, atol=1e-12)
    small = jax.tree.map(
        lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, (task, trained, frozen)
    )
    _, found = eqx.filter_jit(slope)(*small)
    for got, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(shipped[1])):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, wanted, atol=1e-5)


# --- Lemmas ---------------------------------------------------------------------------------------

LAST = jnp.zeros((5, T)).at[:, -1].set(1.0)


class OnlyLast(eqx.Module):
    """A loss at the last position only, as the lemmas of appendix B have it."""

    task: am.BigramTask

    def __call__(self, model):
        scores = model.scores(self.task)[:, -1]
        return jnp.mean(am.cross_entropy(scores, self.task.data.targets[:, -1]))


def errors(model):
    scores = model.scores(TASK)[:, -1]
    return jax.nn.softmax(scores) - jax.nn.one_hot(TASK.data.targets[:, -1], N)


def test_lemma_2_is_the_gradient_of_output2():
    """∇_{W_O²} L = E[W_Uᵀ(p̂ − 1_y) (W_V² x̄)ᵀ], x̄ the attended average, at any keys."""
    model = KINDS["two layers"]
    twin = jax.grad(lambda w: OnlyLast(TASK)(eqx.tree_at(lambda m: m.output2, model, w)))(model.output2)
    x = np.asarray(model.residual(TASK.data.tokens))
    weights = np.asarray(model.attention(TASK.data.tokens))[:, 1, -1]
    mixed = np.einsum("nt,ntd->nd", weights, x) @ np.asarray(model.value2).T
    closed = np.asarray(model.unembedding).T @ np.asarray(errors(model)).T @ mixed / len(x)
    np.testing.assert_allclose(twin, closed, atol=1e-14)


def test_lemma_4_is_the_gradient_of_key2():
    """At W_K² = 0; the lemma is key-left, the model query-left: transposes of each other."""
    model = eqx.tree_at(lambda m: m.key2, KINDS["two layers"], jnp.zeros((D, D)))
    twin = jax.grad(lambda w: OnlyLast(TASK)(eqx.tree_at(lambda m: m.key2, model, w)))(model.key2)
    x = model.residual(TASK.data.tokens)
    readout = x @ (model.unembedding @ model.phi2).T
    closed = induction.second_layer_gradient(jnp.full(5, 0.2), errors(model), readout, x, x[:, -1])
    np.testing.assert_allclose(twin, closed.T, atol=1e-14)


@pytest.mark.thorough
def test_lemma_5_is_the_gradient_of_key1_to_first_order():
    """d/dε of ∇_{W_K¹} at W_K² = εW, W_K¹ = 0, between positions: the lemma's linearised second layer. Keys
    are what layer 1 wrote, values and queries are tokens, by matrices that see nothing else.
    """
    d = N + T + N  # tokens, positions, remapped tokens: all orthogonal
    eye = jnp.eye(d)
    phi = jnp.zeros((d, d)).at[jnp.arange(N + T, d), jnp.arange(N)].set(1.0)  # Φ₁: token → its remapping
    rng = np.random.default_rng(5)
    W2 = jnp.zeros((d, d)).at[:N, N + T :].set(rng.normal(size=(N, N)))  # query token, key remapped
    O2 = jnp.asarray(rng.normal(size=(d, d))) * jnp.concatenate([jnp.ones(N), jnp.zeros(d - N)])
    # What the stream writes itself is read from tokens only: layer 1 does not show there.
    U = jnp.asarray(rng.normal(size=(N, d))) * jnp.concatenate([jnp.ones(N), jnp.zeros(d - N)])
    V2 = jnp.diag(jnp.concatenate([jnp.ones(N), jnp.zeros(d - N)]))

    def model(epsilon, K1):
        return am.InductionTransformer(
            eye[:N], eye[N : N + T], U, phi, eye, V2, K1, epsilon * W2, O2, scaled=False
        )

    def slope(epsilon):
        return jax.grad(lambda K1: OnlyLast(TASK)(model(epsilon, K1)))(jnp.zeros((d, d)))

    twin = jax.jit(jax.jacfwd(slope))(0.0)[N : N + T, N : N + T]  # both sides positions
    flat = model(0.0, jnp.zeros((d, d)))
    tokens = TASK.data.tokens
    readout = jax.nn.one_hot(tokens, d) @ (U @ O2).T
    lookup = jnp.einsum("nd,de,nse->ns", eye[tokens[:, -1]], W2, eye[N + T + tokens])
    closed = induction.first_layer_gradient(jnp.full(5, 0.2), errors(flat), readout, lookup, eye[:T, :T])
    np.testing.assert_allclose(twin, closed.T, atol=1e-14)


@pytest.mark.parametrize(("d", "accuracy", "within"), [(512, 1.0, 0.0), (128, 0.92, 0.02)])
def test_one_noisy_step(d, accuracy, within):
    """Section 6: x = w_E(y) + p_t, N = 256, T = 64; one step classifies (the reference has 1 and .92)."""
    keys = jr.split(jr.key(0), 3)
    E, P, U = (jr.normal(k, (n, d)) / np.sqrt(d) for k, n in zip(keys, (256, 64, 256)))
    W = U.T @ (E - E.mean(0))
    scores = ((E @ W.T)[:, None] + P @ W.T) @ U.T
    found = jnp.mean(jnp.argmax(scores, axis=-1) == jnp.arange(256)[:, None])
    assert abs(float(found) - accuracy) <= within


# --- Probes ---------------------------------------------------------------------------------------


def test_probes_against_loops():
    model = KINDS["with W_F"]
    E, P, U = (np.asarray(w) for w in (model.embedding, model.positions, model.unembedding))
    phi1 = np.asarray(model.output1 @ model.value1)
    V2, K1, K2, O2, F = (
        np.asarray(w) for w in (model.value2, model.key1, model.key2, model.output2, model.feedforward)
    )
    best = lambda scores: int(np.argmax(scores))  # noqa: E731
    wanted = {
        "output2": [best([U[j] @ O2 @ V2 @ E[i] for j in range(N)]) == i for i in range(N)],
        "key2": [best([E[i] @ K2 @ phi1 @ E[j] for j in range(N)]) == i for i in range(N)],
        "key1": [best([P[t] @ K1 @ P[s] for s in range(T)]) == t - 1 for t in range(1, T)],
    }
    assert float(am.induction.recall_output2(TASK, model)) == pytest.approx(np.mean(wanted["output2"]))
    assert float(am.induction.recall_key2(TASK, model)) == pytest.approx(np.mean(wanted["key2"]))
    assert float(am.induction.recall_key1(TASK, model)) == pytest.approx(np.mean(wanted["key1"]))
    assert float(am.induction.recall_key1_early(TASK, model)) == pytest.approx(np.mean(wanted["key1"][:2]))
    # With fixed triggers they alone count: here 1 of (4, 1) is recalled, and 1 of all 6.
    fixed = am.BigramTask(LAW.mean(0), LAW, length=T, triggers=(4, 1), data=1)
    pairs = 99 * jnp.linalg.pinv(E)[:, 1:2] @ jnp.linalg.pinv(E @ phi1.T)[:, 1:2].T
    one = eqx.tree_at(lambda m: m.key2, model, pairs - 0.1 * E.T @ E @ phi1.T)
    found = [best([E[i] @ np.asarray(one.key2) @ phi1 @ E[j] for j in range(N)]) == i for i in range(N)]
    assert np.mean(found) != np.mean([found[4], found[1]])
    assert float(am.induction.recall_key2(fixed, one)) == pytest.approx(np.mean([found[4], found[1]]))
    margins = [
        U[i] @ O2 @ V2 @ E[i] - max(U[j] @ O2 @ V2 @ E[i] for j in range(N) if j != i) for i in range(N)
    ]
    np.testing.assert_allclose(am.induction.margins_output2(TASK, model), margins, atol=1e-13)
    assert ((np.array(am.induction.margins_key2(TASK, model)) > 0) == wanted["key2"]).all()
    assert ((np.array(am.induction.margins_key1(TASK, model)) > 0) == wanted["key1"]).all()
    divergence = np.mean([np.sum(LAW[i] * np.log(LAW[i] / softmax(U @ F @ E[i]))) for i in range(N)])
    assert float(am.induction.bigram_divergence(TASK, model)) == pytest.approx(divergence, rel=1e-12)


def test_losses_and_accuracy_against_loops():
    model = KINDS["two layers"]
    inside, outside, right = [], [], []
    data = jax.tree.map(np.asarray, TASK.data)
    for row, targets, seen in zip(data.tokens, data.targets, data.occurrence):
        for t, scores in enumerate(numpy_logits(model, row)):
            loss = -np.log(softmax(scores)[targets[t]])
            if seen[t] >= 2:
                inside.append(loss)
                right.append(np.argmax(scores) == targets[t])
            elif seen[t] == 0:
                outside.append(loss)
    assert len(inside) > 5
    assert float(am.induction.in_context_loss(TASK, model)) == pytest.approx(np.mean(inside), rel=1e-12)
    assert float(am.induction.global_loss(TASK, model)) == pytest.approx(np.mean(outside), rel=1e-12)
    assert float(am.induction.in_context_accuracy(TASK, model)) == pytest.approx(np.mean(right))
    assert float(am.loss(TASK, model)) == pytest.approx(np.mean(inside), rel=1e-12)
    assert float(am.error(TASK, model)) == pytest.approx(1 - np.mean(right))


def test_one_step_recall_against_loops():
    model = KINDS["two layers"]
    task = am.BigramTask(LAW.mean(0), LAW, length=T, triggers=2, data=40, key=jr.key(8))
    W = np.asarray(model.embedding @ model.value2.T)
    bags, answers = [], []
    data = jax.tree.map(np.asarray, task.data)
    for row, targets, seen in zip(data.tokens, data.targets, data.occurrence):
        for t in range(T):
            if seen[t] >= 2:
                bags.append(np.mean([W[z] for z in row[: t + 1]], axis=0))
                answers.append(targets[t])
    bags, answers = np.array(bags), np.array(answers)
    assert set(answers) == set(range(N))
    right = [np.argmax(W @ (bags[answers == k].mean(0) - bags.mean(0))) == k for k in range(N)]
    assert float(am.induction.one_step_recall(task, model)) == pytest.approx(np.mean(right))


@pytest.mark.thorough
def test_constructed_weights():
    """Orthonormal embeddings, no cross-talk: all of (7) recalled, every answer copied; (8) is log π_b."""
    d = N + T + 3 * N
    eye = jnp.eye(d)
    task = am.BigramTask(LAW.mean(0), LAW, length=T, triggers=(0, 3), data=60, key=jr.key(3), repeat=False)
    remap = lambda start: jnp.zeros((d, d)).at[start + jnp.arange(N), jnp.arange(N)].set(1.0)  # noqa: E731
    blank = am.InductionTransformer(
        eye[:N], eye[N : N + T], eye[-N:], remap(N + T), eye, remap(N + T + N), *[jnp.zeros((d, d))] * 3
    )
    model = blank.constructed(task, boost=300.0, global_bigrams=True)
    for probe in (am.induction.recall_output2, am.induction.recall_key2, am.induction.recall_key1):
        assert float(probe(task, model)) == 1.0
    # Where the first trigger of a sequence stands at t = 1, position 1 attends to itself and claims to follow
    # it, as position 2 does: the average of the two is a tie or worse. Those sequences are left out.
    data = task.data
    clear = ~jnp.any(data.tokens[:, :1] == data.triggers, axis=1)
    margins = task.margins(model)[clear][data.in_context[clear]]
    assert margins.size > 20
    assert float(margins.min()) > 0
    free = [z for z in range(N) if z not in (0, 3)]
    scores = eye[:N] @ model.feedforward.T @ eye[-N:].T
    np.testing.assert_allclose(scores[jnp.array(free)], np.log(LAW)[free], atol=1e-12)
    np.testing.assert_allclose(scores[jnp.array([0, 3])], 0, atol=1e-12)


# --- Training -------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_thawing():
    """Bits unchanged until step 4, then NumPy's momentum with decay, from rest; all along for W_O²."""
    model = KINDS["with W_F"]
    keys, rest = jr.key(3), lambda m: (m.key1, m.key2, m.feedforward)
    watch = {
        name: (lambda task, m, name=name: getattr(m, name))
        for name in ("key1", "key2", "output2", "feedforward")
    }
    descent = am.Descent(optimizer, 7, 4, learning_rate=0.5, thaw=((rest, 4),))
    run = am.simulate(TASK, model, descent, observe=watch, key=keys)
    for name in ("key1", "key2", "feedforward"):
        assert (run.observed[name][:5] == getattr(model, name)).all()
        assert (run.observed[name][5] != getattr(model, name)).any()
    # NumPy's momentum with decay, on the same batches.
    trained, frozen = eqx.partition(model, trainable_mask(model))
    leaves, shape = jax.tree.flatten(trained)
    held = [int(any(leaf is w for w in rest(model))) * 4 for leaf in leaves]
    values, speeds = [np.array(w) for w in leaves], [np.zeros_like(w) for w in leaves]
    slope = jax.jit(jax.grad(lambda part, batch: TASK.sampled_loss(eqx.combine(part, frozen), batch)))
    for step in range(7):
        batch = TASK.sample(jr.fold_in(keys, step), 4)
        slopes = jax.tree.leaves(slope(jax.tree.unflatten(shape, [jnp.asarray(v) for v in values]), batch))
        for k, g in enumerate(slopes):
            if step >= held[k]:
                speeds[k] = 0.9 * speeds[k] + np.asarray(g) + 1e-4 * values[k]
                values[k] = values[k] - 0.5 * speeds[k]
    later = jax.tree.leaves(eqx.filter(run.model, trainable_mask(model)))
    for got, wanted in zip(later, values):
        np.testing.assert_allclose(got, wanted, atol=1e-12)


@pytest.mark.thorough
def test_an_induction_head_forms():
    """Six letters, d = 32: accuracy from chance to .9, W_O² before the keys."""
    uniform = np.ones(8) / 8
    task = am.BigramTask(uniform, np.tile(uniform, (8, 1)), length=16, triggers=2, data=64)
    model = am.InductionTransformer.published(task, jr.key(0), 32)
    watch = {
        "accuracy": am.induction.in_context_accuracy,
        "O2": am.induction.recall_output2,
        "K1": am.induction.recall_key1,
    }
    descent = am.Descent(optimizer, 300, 64, learning_rate=0.2)
    run = am.simulate(task, model, descent, observe=watch, every=25, key=jr.key(1))
    accuracy, O2, K1 = (np.asarray(run.observed[name]) for name in watch)
    assert accuracy[0] < 0.4
    assert accuracy[-1] > 0.9
    assert np.argmax(O2 >= 0.99) <= np.argmax(K1 >= 0.7)
    assert K1[-1] > 0.7


@pytest.mark.thorough
def test_three_steps():
    """Theorem 3 at a size for a test: all recalled, accuracy at its ceiling, chance before the last step."""
    study = ThreeSteps(
        study="birth.three_steps", tokens=24, length=8, widths=(256,), samples=32_768, chunk=4096, seeds=1
    )
    data = study.run(None)
    assert (data.recall.values[0, 0, -1] == 1).all()
    accuracy = data.accuracy.values[0, 0]
    # A first trigger at t = 1 (one in T − 1) is found at positions 1 and 2 alike: at best half of them right.
    assert accuracy[3] > 1 - 1 / 7
    assert accuracy[:3].max() < 0.5
    assert len(study.report(data)) == 3


# --- The plain transformer ------------------------------------------------------------------------


def numpy_transformer(model, row):
    def norm(n, x):
        if n is None:
            return x
        return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * np.asarray(n.gain) + np.asarray(n.shift)

    x = [np.asarray(model.embedding)[z] + np.asarray(model.positions)[t] for t, z in enumerate(row)]
    for block in model.blocks:
        q, k, v, o = (np.asarray(w) for w in (block.query, block.key, block.value, block.output))
        norms = block.norms or (None, None)
        read = [norm(norms[0], a) for a in x]
        for t in range(len(x)):
            for h in range(len(q)):
                scores = [(q[h] @ read[t]) @ (k[h] @ read[s]) / np.sqrt(len(q[h])) for s in range(t + 1)]
                mixed = sum(a * v[h] @ read[s] for s, a in enumerate(softmax(np.array(scores))))
                x[t] = x[t] + o[h].T @ mixed
        for t in range(len(x)):
            r = norm(norms[1], x[t])
            if block.linear is not None:
                x[t] = x[t] + np.asarray(block.linear) @ r
            elif block.inner is not None:
                hidden = np.maximum(np.asarray(block.inner) @ r + np.asarray(block.bias), 0)
                x[t] = x[t] + np.asarray(block.outer) @ hidden + np.asarray(block.outer_bias)
    return np.array([np.asarray(model.unembedding) @ norm(model.norm, a) for a in x])


@pytest.mark.thorough
@pytest.mark.parametrize(
    "options",
    [
        {"heads": 2, "norm": True, "hidden": 5},
        {"layers": 1, "feedforward": "linear", "norm": False},
        pytest.param({"layers": 3, "feedforward": "none", "norm": False}, marks=pytest.mark.thorough),
    ],
)
def test_plain_transformer_against_loops(options):
    model = am.Transformer.initial(N, T, jr.key(4), 4, **options)
    wanted = np.array([numpy_transformer(model, row) for row in np.asarray(TASK.data.tokens[:2])])
    np.testing.assert_allclose(scores(TASK, model)[:2], wanted, atol=1e-12)
    heads = options.get("heads", 1) * options.get("layers", 2)
    assert model.attention(TASK.data.tokens[:2]).shape == (2, heads, T, T)
    if options["norm"]:  # all of the most complex one is trained
        run = am.simulate(EVERYWHERE, model, am.Descent(optax.sgd(0.05), 2))
        assert run.observed["loss"][2] < run.observed["loss"][0]
        assert all(bool((a != b).any()) for a, b in zip(jax.tree.leaves(run.model), jax.tree.leaves(model)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw(layers=3), "layers must be 1 or 2, got 3"),
        (lambda: am.InductionTransformer.published(TASK, jr.key(0), 0), "width must be at least 1, got 0"),
        (lambda: am.induction.recall_key1(TASK, KINDS["one layer"]), "model must be of two layers for the probe of W_K¹, got one layer"),
        (lambda: am.induction.bigram_divergence(TASK, KINDS["two layers"]), "model must be one with W_F, got none; InductionTransformer.published(…, feedforward=True)"),
        (lambda: am.induction.memory(TASK, KINDS["two layers"], "W"), "name must be 'key1', 'key2' or 'output2', got 'W'"),
        (lambda: am.Transformer.initial(N, T, jr.key(0), 6, heads=4), "heads must be a divisor of width = 6, got 4"),
        (lambda: am.Transformer.initial(N, T, jr.key(0), 6, feedforward="gelu"), "feedforward must be 'relu', 'linear' or 'none', got 'gelu'"),
        (lambda: am.Descent(optax.sgd(1.0), 3, thaw=((len, -1),)), "thaw[0] must be between 0 and 2.14748e+09, got -1"),
        (lambda: am.simulate(TASK, am.LinearMemory.zeros(am.two_tokens(0.5, 0.75)), am.Descent(optax.sgd(1.0), 3)), "model must be for scores of shape (5, 9, 6), got for another kind of task (LinearMemory with BigramTask); build it from this task"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=r".") as fault:
        call()
    assert str(fault.value) == message
