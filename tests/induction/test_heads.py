"""Positions and ties of the plain transformer, backward vectors, heads patched and ablated."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import assocmem_jax as am
from assocmem_jax.models.transformer import rotated, sinusoidal
from assocmem_jax.observe.gradient import trainable_mask
from assocmem_jax.systems.induction.studies.schemas import Dimension
from assocmem_jax.systems.induction.studies.width import condition, rates

N, T, D = 5, 6, 4
LAW = np.random.default_rng(0).dirichlet(np.ones(N), size=N)
TASK = am.BigramTask(LAW.mean(0), LAW, length=T, triggers=3, data=6, key=jr.key(1))
TOKENS = np.asarray(TASK.data.tokens)
PLAIN = am.Transformer.initial(N, T, jr.key(2), D, heads=2, hidden=3, norm=False)
SIMPLE = am.InductionTransformer.gaussian(TASK, jr.key(2), D, feedforward=True, trained=4.0)


def softmax(x):
    e = np.exp(x - x.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def turned(x):
    """Su et al., (34): a rotation matrix for each position."""
    length, e = x.shape
    out = np.empty_like(x)
    for t in range(length):
        R = np.zeros((e, e))
        for i in range(e // 2):
            angle = t * 10_000 ** (-2 * i / e)
            R[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [
                [np.cos(angle), -np.sin(angle)],
                [np.sin(angle), np.cos(angle)],
            ]
        out[t] = R @ x[t]
    return out


def plain_pass(model, row, instead=None, added=None):
    """(scores (T, N), what each matrix is given) of one sequence; ``instead``: attention of some heads; ``added``
    to what some matrices return."""
    instead, added, given, head = instead or {}, added or {}, {}, 0
    w = lambda a: np.asarray(a)  # noqa: E731
    seen = np.tri(len(row), dtype=bool)

    def times(name, matrix, x):
        given[name] = x
        return x @ w(matrix).T + added.get(name, 0)

    x = w(model.embedding)[row]
    x = x if model.positions is None else x + w(model.positions)[: len(row)]
    for number, block in enumerate(model.blocks):
        out = 0
        for h in range(len(block.query)):
            name = lambda part, h=h: (number, part, h)  # noqa: E731, B023
            q, k, v = (times(name(p), getattr(block, p)[h], x) for p in ("query", "key", "value"))
            q, k = (turned(q), turned(k)) if block.rotary else (q, k)
            weights = softmax(np.where(seen, q @ k.T / np.sqrt(q.shape[1]), -np.inf))
            out = out + times(name("output"), w(block.output[h]).T, instead.get(head, weights) @ v)
            head += 1
        x = x + out
        inner = times((number, "inner"), block.inner, x) + w(block.bias)
        x = x + times((number, "outer"), block.outer, inner * (inner.real > 0)) + w(block.outer_bias)
    read = w(model.embedding) / np.sqrt(D) if model.unembedding is None else w(model.unembedding)
    return x @ read.T, given


def simple_pass(model, row, instead):
    p = {name: np.asarray(getattr(model, name)) for name in model.__dataclass_fields__}
    seen = np.tri(len(row), dtype=bool)
    own = lambda x, key: softmax(np.where(seen, x @ key @ x.T, -np.inf))  # noqa: E731
    x = p["embedding"][row] + p["positions"]
    x = x + instead.get(0, own(x, p["key1"])) @ x @ (p["output1"] @ p["value1"]).T
    h = x + instead.get(1, own(x, p["key2"])) @ x @ (p["output2"] @ p["value2"]).T
    return (h + h @ p["feedforward"].T) @ p["unembedding"].T


# --- Positions and ties ---------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"positions": "rotary"}, {"positions": "sinusoidal", "tied": True}])
def test_positions_and_ties_against_loops(options):
    model = am.Transformer.initial(N, T, jr.key(2), D, heads=2, hidden=3, norm=False, **options)
    wanted = [plain_pass(model, row)[0] for row in TOKENS]
    np.testing.assert_allclose(eqx.filter_jit(lambda m: m.scores(TASK))(model), wanted, atol=1e-13)
    # What they share with the usual start is the same, bit for bit.
    assert (model.embedding == PLAIN.embedding).all()
    assert (model.blocks[1].outer == PLAIN.blocks[1].outer).all()
    assert len(model.trainable()) == len(jax.tree.leaves(PLAIN)) - 1 - options.get("tied", False)
    assert not trainable_mask(model).positions


def test_rotary_scores_depend_on_the_distance_only():
    q, k = np.random.default_rng(3).normal(size=(2, 6))
    scores = rotated(jnp.tile(q, (9, 1))) @ rotated(jnp.tile(k, (9, 1))).T
    for distance in range(-8, 9):
        np.testing.assert_allclose(
            np.diagonal(scores, distance), np.diagonal(scores, distance)[0], atol=1e-14
        )
    assert float(scores[0, 0]) == pytest.approx(q @ k, rel=1e-14)
    assert abs(float(scores[5, 0] - scores[0, 0])) > 0.1


def test_sinusoidal_positions():
    """Vaswani et al.: PE(t, 2i) = sin(t/10000^{2i/d}), PE(t, 2i + 1) = cos of it."""
    wanted = [
        [(np.cos if c % 2 else np.sin)(t / 10_000 ** (2 * (c // 2) / 6)) for c in range(6)] for t in range(7)
    ]
    np.testing.assert_allclose(sinusoidal(7, 6), wanted, atol=1e-15)
    model = am.InductionTransformer.published(TASK, jr.key(0), 6, positions="sinusoidal", tied=True)
    np.testing.assert_allclose(model.positions, np.array(wanted)[:T], atol=1e-15)
    np.testing.assert_allclose(model.unembedding, np.asarray(model.embedding) / np.sqrt(6), rtol=1e-15)


def test_a_tied_embedding_has_the_sum_of_both_gradients():
    """w_U = w_E/√d: ∂L/∂w_E of the tied model is that of the free one plus ∂L/∂w_U/√d."""
    tied = eqx.tree_at(lambda m: m.unembedding, PLAIN, None)
    free = eqx.tree_at(lambda m: m.unembedding, PLAIN, PLAIN.embedding / np.sqrt(D))
    slope = jax.jit(jax.grad(lambda m: TASK.loss(m)))
    one, two = slope(tied), slope(free)
    assert np.abs(two.unembedding).max() > 1e-3
    np.testing.assert_allclose(one.embedding, two.embedding + two.unembedding / np.sqrt(D), atol=1e-14)


# --- Lemma 1 with any network around W ------------------------------------------------------------


def test_every_matrix_of_a_transformer_is_a_memory_of_backward_vectors():
    """∇_W L = E Σ_t δ_t x_tᵀ, W in attention and in the MLP: x_t read off a NumPy pass, δ_t its complex step."""
    task = am.BigramTask(LAW.mean(0), LAW, length=T, triggers=3, data=2, key=jr.key(1))
    slopes = jax.jit(jax.grad(lambda m: task.loss(m)))(PLAIN)
    weights = np.asarray(task.data.in_context) / np.sum(task.data.in_context)
    rows, targets = np.asarray(task.data.tokens), np.asarray(task.data.targets)

    def loss(n, added):
        scores = plain_pass(PLAIN, rows[n], added=added)[0]
        chosen = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(T), targets[n]]
        return weights[n] @ chosen

    names = [(1, part, 1) for part in ("query", "key", "value", "output")] + [(0, "inner"), (0, "outer")]
    for name in names:
        block = slopes.blocks[name[0]]
        wanted = getattr(block, name[1]) if len(name) == 2 else getattr(block, name[1])[name[2]]
        wanted = wanted.T if name[1] == "output" else wanted
        total = np.zeros(wanted.shape)
        for n in range(2):
            x = plain_pass(PLAIN, rows[n])[1][name]
            delta = np.zeros((T, wanted.shape[0]))
            for place in np.ndindex(delta.shape):
                moved = np.zeros(delta.shape, complex)
                moved[place] = 1e-30j
                delta[place] = loss(n, {name: moved}).imag / 1e-30
            total += delta.T @ x
        assert np.abs(total).max() > 1e-6
        np.testing.assert_allclose(wanted, total, atol=1e-14)


# --- Patching and ablation ------------------------------------------------------------------------


def in_context_loss(passed):
    inside = np.asarray(TASK.data.in_context)
    scores = np.array([passed(n, row) for n, row in enumerate(TOKENS)])
    own = np.take_along_axis(np.log(softmax(scores)), np.asarray(TASK.data.targets)[..., None], axis=-1)[
        ..., 0
    ]
    return -own[inside].mean()


@pytest.mark.parametrize(
    ("model", "one"),
    [(PLAIN, lambda row, instead: plain_pass(PLAIN, row, instead)[0]),
     (SIMPLE, lambda row, instead: simple_pass(SIMPLE, row, instead))],
    ids=["plain", "simplified"],
)  # fmt: skip
def test_ablation_and_patching_against_loops(model, one):
    usual = in_context_loss(lambda n, row: one(row, {}))
    maps = np.asarray(model.attention(TASK.data.tokens))
    zero, mean = jax.jit(lambda m: tuple(am.induction.head_effects(TASK, m, mean) for mean in (False, True)))(
        model
    )
    for head in range(model.num_heads):
        gone = in_context_loss(lambda n, row, head=head: one(row, {head: np.zeros((T, T))}))
        flat = in_context_loss(lambda n, row, head=head: one(row, {head: maps[:, head].mean(0)}))
        np.testing.assert_allclose([zero[head], mean[head]], [gone - usual, flat - usual], atol=1e-12)
    # The first head attends like another model's, the last one to the token before.
    like = eqx.tree_at(lambda m: m.embedding, model, model.embedding[::-1])
    theirs = np.asarray(like.attention(TASK.data.tokens))[:, 0]
    before = np.eye(T, k=-1) + np.eye(T)[:, :1] * np.eye(T)[:1]
    last = model.num_heads - 1
    both = am.induction.patched(am.induction.patched(model, 0, like), last, before)
    wanted = in_context_loss(lambda n, row: one(row, {0: theirs[n], last: before}))
    assert abs(wanted - usual) > 1e-4
    # The loss of the task takes the sequences in another order, a few positions of each.
    found = jax.jit(lambda m: (am.induction.in_context_loss(TASK, m), TASK.loss(m)))(both)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_allclose(
        both.attention(TASK.data.tokens)[:, last], np.broadcast_to(before, maps[:, 0].shape)
    )


class Says(am.AbstractSequenceModel):
    """Scores as they are given."""

    said: jax.Array

    def residual(self, tokens):
        return self.said

    def logits(self, state, at=None):
        return state

    def attention(self, tokens):
        raise NotImplementedError

    def trainable(self):
        return (self.said,)


def test_whom_predictions_follow():
    """Head, bigram, other, one after another: counted where o_k is not the likeliest bigram."""
    likeliest, targets = LAW.argmax(axis=1)[TOKENS], np.asarray(TASK.data.targets)
    said, shares = np.zeros((6, T, N)), {"head": 0, "bigram": 0, "neither": 0}
    kinds = list(shares)
    for k, (n, t) in enumerate(np.argwhere(np.asarray(TASK.data.in_context))):
        if targets[n, t] == likeliest[n, t]:
            said[n, t, targets[n, t]] = 1
            continue
        kind = kinds[k % 3] if k else "head"
        other = next(z for z in range(N) if z not in (targets[n, t], likeliest[n, t]))
        said[n, t, {"head": targets[n, t], "bigram": likeliest[n, t], "neither": other}[kind]] = 1
        shares[kind] += 1
    total = sum(shares.values())
    assert min(shares.values()) > 0
    model = Says(jnp.asarray(said))
    assert float(am.induction.follows_head(TASK, model)) == pytest.approx(shares["head"] / total)
    assert float(am.induction.follows_bigram(TASK, model)) == pytest.approx(shares["bigram"] / total)
    silent = Says(jnp.zeros((6, T, N)))  # a tie is neither
    assert float(am.induction.follows_head(TASK, silent)) == 0
    assert float(am.induction.follows_bigram(TASK, silent)) == 0


def test_rates_and_condition_numbers_over_the_width():
    """‖w_U‖² = 1/3 and ‖W_V²w_E‖² = d/3 (± 5 standard errors), so rates ∝ 1/d; κ by the kernel itself."""
    study = Dimension(study="birth.dimension", widths=(8,), rates=(0.2,), reference_width=16)
    assert rates(study, 8) == [0.2, 0.4]
    model = am.InductionTransformer.published(TASK, jr.key(8), 8)
    U, V = np.asarray(model.unembedding), np.asarray(model.embedding @ model.value2.T)
    for found, wanted in ((np.sum(U**2, axis=1), 1 / 3), (np.sum(V**2, axis=1), 8 / 3)):
        assert abs(found.mean() - wanted) < 5 * found.std() / np.sqrt(N - 1)
    kernel = np.linalg.eigvalsh(np.kron(U @ U.T, V @ V.T))
    assert float(condition(model)) == pytest.approx(kernel[-1] / kernel[0], rel=1e-9)
    assert condition(SIMPLE) == np.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: am.Transformer.initial(N, T, jr.key(0), 6, positions="none"), "positions must be 'learned', 'sinusoidal' or 'rotary', got 'none'"),
        (lambda: am.Transformer.initial(N, T, jr.key(0), 6, heads=2, positions="rotary"), "width / heads must be even, got 3"),
        (lambda: am.Transformer.initial(N, T, jr.key(0), 5, positions="sinusoidal"), "width must be even, got 5"),
        (lambda: am.InductionTransformer.published(TASK, jr.key(0), 4, positions="rotary"), "positions must be 'random' or 'sinusoidal', got 'rotary'"),
        (lambda: am.InductionTransformer.published(TASK, jr.key(0), 5, positions="sinusoidal"), "width must be even, got 5"),
        (lambda: am.induction.ablated(SIMPLE, 2), "head must be between 0 and 1, got 2"),
        (lambda: am.induction.ablated(Says(jnp.zeros(1)), 0), "model must be one whose heads can attend elsewhere, got Says"),
        (lambda: am.induction.patched(SIMPLE, 0, jnp.ones(T)), "like must be a model or a map of shape (T, T), got an array of shape (6,)"),
        (lambda: am.induction.patched(PLAIN, 3, SIMPLE), "head must be between 0 and 1, got 3"),
        (lambda: am.induction.patched(SIMPLE, 0, Says(jnp.zeros(1))), "like must be one whose heads can attend elsewhere, got Says"),
        (lambda: am.induction.head_effects(TASK, Says(jnp.zeros(1))), "model must be one whose heads can attend elsewhere, got Says; it has num_heads, attention and patched"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=r".") as fault:
        call()
    assert str(fault.value) == message
