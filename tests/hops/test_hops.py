"""k hops: the task against walks, the transformer against loops, its bounds from both sides, and training."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import assocmem_jax as am
import helpers
from assocmem_jax.systems.hops.statements import loops
from assocmem_jax.systems.hops.studies import search

KEY = jr.key(0)
theory = am.theory.hops
SIZES = [(4, 1), (3, 2), (4, 4), (2, 8)]


def walk(hidden, sigma, i, x, count):
    """Hop by hop."""
    k = len(hidden)
    for hop in range(count):
        x = sigma[(i + hop) % k][hidden[(i + hop) % k][x]]
    return x


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_answers_against_walks(n, k):
    task = am.HopTask.random(n, k, KEY, draws=5)
    hidden, data = np.asarray(task.hidden), np.asarray(task.data)
    found = np.asarray(task.answers(task.data))
    assert found.shape == (5, k.bit_length(), k, n)
    for b, level, i, x in np.ndindex(*found.shape):
        assert found[b, level, i, x] == walk(hidden, data[b], i, x, 2**level)


def test_contexts_and_hops_are_drawn_by_their_laws():
    """All six permutations of three values in each place, and k′ by its weights: χ² of 5 and 1 degrees of
    freedom, each below its 1 − 10⁻⁶ quantile (32.8 at 5, 23.9 at 1)."""
    task = am.HopTask.random(3, 2, KEY, weights=[0.3, 0.7])
    batch = task.sample(jr.key(1), 6000)
    codes = np.asarray(batch.contexts) @ [9, 3, 1]
    for place in range(2):
        _, counts = np.unique(codes[:, place], return_counts=True)
        assert len(counts) == 6
        assert np.sum((counts - 1000) ** 2) / 1000 < 32.8
    counts = np.bincount(batch.levels, minlength=2)
    assert np.sum((counts - [1800, 4200]) ** 2 / [1800, 4200]) < 23.9
    both = np.histogram2d(codes[:, 0], codes[:, 1], bins=[np.unique(codes), np.unique(codes)])[0]
    assert (both > 0).all()  # independent from step to step


def looped(model, sigma):
    """Every layer's (weights, what is held) of one context, token by token, at any weights."""
    first, later = np.asarray(model.first), np.asarray(model.later)
    k, n = sigma.shape
    tokens = [(i, x) for i in range(k) for x in range(n)]
    held, out = np.eye(n)[sigma.reshape(-1)], []
    for layer in range(1 + len(later)):
        scores = first.copy()
        if layer:
            state = [np.concatenate([np.eye(k)[i], np.eye(n)[x], held[t]]) for t, (i, x) in enumerate(tokens)]
            scores = np.array([[a @ later[layer - 1] @ b for b in state] for a in state])
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        held = weights @ held
        out.append((weights, held))
    return out


def test_forward_against_a_loop():
    """At random weights, with a layer more than hops need; log-probabilities after 1, 2 and k hops."""
    task = am.HopTask.random(3, 4, KEY, draws=2)
    model = am.HopTransformer.gaussian(task, jr.key(2), layers=4, scale=1.0)
    found = model.holdings(task.data)
    assert found.shape == task.score_shape
    for b, sigma in enumerate(np.asarray(task.data)):
        layers = looped(model, sigma)
        for level, layer in enumerate((0, 1, 3)):
            expected = np.log(layers[layer][1]).reshape(4, 3, 3)
            np.testing.assert_allclose(found[b, level], expected, rtol=1e-10, atol=1e-12)
        for (weights, _), (mine, _) in zip(layers, model.layers(task.data)):
            np.testing.assert_allclose(mine[min(b, len(mine) - 1)], weights, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("beta", [0.5, 2.0, 6.0])
def test_bounds_are_reached(beta):
    """Over all 36 contexts of three values and two steps the bounds are the least and the largest: from both
    sides. Rounding of two softmaxes."""
    task = am.HopTask([[1, 2, 0], [0, 2, 1]])
    every = jnp.array(list(itertools.product(itertools.permutations(range(3)), repeat=2)))
    model = am.HopTransformer.written(task, beta)
    right = jnp.take_along_axis(jnp.exp(model.holdings(every)), task.answers(every)[..., None], axis=-1)
    for level, held in enumerate(theory.written(3, 2, beta)):
        np.testing.assert_allclose(right[:, level].min(), held.right_low, rtol=1e-13)
        np.testing.assert_allclose(right[:, level].max(), held.right_high, rtol=1e-13)


def leads(n, k, contexts, beta):
    """Of right over every wrong value in what is held, in every context, after every layer. π = 1: any other
    only renames contexts."""
    task = am.HopTask(np.tile(np.arange(n), (k, 1)), draws=1)
    held = jnp.exp(am.HopTransformer.written(task, beta).holdings(contexts))
    right = task.answers(contexts)[..., None]
    others = jnp.where(jnp.arange(n) == right, -jnp.inf, held).max(axis=-1)
    return jnp.take_along_axis(held, right, axis=-1)[..., 0] - others


@pytest.mark.parametrize("n", [2, 3, 4, 6])
@pytest.mark.parametrize("k", [2, 4, 8, 16])
def test_bounds_by_a_route_of_their_own(n, k):
    """By loops over the corners that bounds are taken at, where each of them is the one that binds."""
    for beta in (0.2, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0):
        held = theory.written(n, k, beta)[-1]
        ours = (
            held.right_low,
            held.right_high,
            held.wrong_low,
            held.wrong_high,
            held.weight_low,
            held.lead_low,
        )
        np.testing.assert_allclose(ours, loops.layers(n, k, beta)[-1], rtol=0, atol=1e-13)


@pytest.mark.parametrize(("n", "k", "near"), [(3, 4, 0.972), (2, 8, 0.18)])
def test_leads_of_all_contexts(n, k, near):
    """Over all 1,296 (256) contexts no lead is below its bound, at any β; those of layers 1 and 2 are at it. At
    β = 4 the last bound is near: .4731 of .4862 (of .2399 it is .0455 after the four layers of N = 2, k = 8: far)."""
    every = [*itertools.permutations(range(n))]
    contexts = jnp.array(list(itertools.product(every, repeat=k)))
    least = jax.jit(lambda beta: leads(n, k, contexts, beta).min(axis=(0, 2, 3)))
    for beta in (0.3, 1.0, 2.0, 3.0, 4.0, 8.0):
        seen, said = least(beta), jnp.stack([held.lead_low for held in theory.written(n, k, beta)])
        assert (seen >= said - 1e-14).all()  # 64 roundings of numbers below one
        np.testing.assert_allclose(seen[:2], said[:2], atol=1e-14)
        if beta == 4:
            assert near < said[-1] / seen[-1] < 1


def test_exact_from_on():
    """Leads are above 0 at every β from there on, and not below: one change of sign on a grid to 60."""
    for n, k in ((2, 4), (3, 4), (4, 4), (2, 8), (8, 8), (5, 16)):
        betas, start = jnp.linspace(0.05, 60, 1200), float(theory.exact_from(n, k))
        spare = jnp.min(jnp.stack([held.lead_low for held in theory.written(n, k, betas)]), axis=0)
        np.testing.assert_array_equal(spare > 0, betas > start)


@pytest.mark.thorough
def test_four_hops_of_four_values():
    """Over all 331,776 contexts (one of each rotation) some token is wrong at β = 2.0900, none at 2.0904:
    ``exact_from``, 2.508, is sufficient, and a half of β more than is necessary."""
    every = np.array([*itertools.permutations(range(4))])
    index = np.indices((24,) * 4).reshape(4, -1)
    codes = np.stack([24.0 ** np.arange(4) @ np.roll(index, turn, axis=0) for turn in range(4)])
    contexts = every[index.T[codes[0] == codes.min(axis=0)]]
    assert len(contexts) == 83_100  # (24⁴ + 24² + 2 · 24)/4, Burnside
    parts = jnp.asarray(np.resize(contexts, (-(-len(contexts) // 512), 512, 4, 4)))
    least = jax.jit(lambda beta: jax.lax.map(lambda part: leads(4, 4, part, beta).min(), parts).min())
    assert least(2.0900) < -1e-9
    assert least(2.0904) > 1e-9
    assert 2.0904 < float(theory.exact_from(4, 4)) < 2.509


def test_search_finds_the_worst():
    """Of all contexts of (3, 4) the worst is right from β = 1.88969 (bisection over all 1,296); two starts, of
    which neither is, climb to it."""
    task = am.HopTask.random(3, 4, KEY, draws=2)
    every = jnp.array(list(itertools.product([*itertools.permutations(range(3))], repeat=4)))
    truth = float(search.right_from(task, every))
    assert truth == pytest.approx(1.88969, abs=1e-5)
    for beta, right in ((truth - 1e-4, False), (truth + 1e-4, True)):
        hopped = am.HopTask(np.tile(np.arange(3), (4, 1)), draws=1)
        assert bool((search.least(hopped, beta, every) > 0).all()) is right
    moved = np.asarray(search.worsened(task, 1.5, task.data, jr.key(2), 20))
    np.testing.assert_array_equal(np.sort(moved, axis=2), np.broadcast_to(np.arange(3), moved.shape))
    assert (search.least(task, 1.5, moved) < search.least(task, 1.5, task.data)).all()
    found = float(search.worst(task, task.data, jr.key(1), rounds=4))
    assert float(search.right_from(task, task.data)) < truth - 0.01
    assert truth - 0.01 < found <= truth + 1e-8


@pytest.mark.parametrize(("n", "k"), helpers.few([(4, 2), (4, 4), (8, 8), (5, 16)], 2))
def test_exact_at_eight(n, k):
    """Slides p. 17 says no β; 8 is enough at these sizes, and for k ≥ 4 a half of the bound is not."""
    task = am.HopTask.random(n, k, KEY, draws=16)
    start = float(theory.exact_from(n, k))
    assert start < 6
    for beta in (8.0, start + 0.01):
        assert (am.hops.hop_accuracy(task, am.HopTransformer.written(task, beta)) == 1).all()
    model = am.HopTransformer.written(task, 8.0)
    for seen, held in zip(am.hops.least_weights(task, model), theory.written(n, k, 8.0)):
        assert held.weight_low * (1 - 1e-12) <= seen <= held.weight_high * (1 + 1e-12)
    if k > 2:
        half = am.HopTransformer.written(task, start / 2)
        assert am.hops.hop_accuracy(task, half)[-1] < 1
        spare = [min(h.lead_low for h in theory.written(n, k, start + s)) for s in (-0.01, 0.01)]
        assert spare[0] < 0 < spare[1]


def test_losses_are_of_the_law():
    """Population loss and error against sums over levels; a batch at one level is that level's loss."""
    weights = np.array([0.2, 0.3, 0.5])
    task = am.HopTask.random(3, 4, KEY, weights=weights, draws=6)
    model = am.HopTransformer.gaussian(task, jr.key(3), scale=0.7)
    held, right = np.asarray(model.holdings(task.data)), np.asarray(task.answers(task.data))
    own = np.take_along_axis(held, right[..., None], -1)[..., 0]
    losses = -own.mean(axis=(0, 2, 3))
    np.testing.assert_allclose(am.loss(task, model), weights @ losses, rtol=1e-12)
    wrong = (held.argmax(axis=-1) != right).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(am.error(task, model), weights @ wrong, rtol=1e-12)
    np.testing.assert_allclose(am.hops.hop_accuracy(task, model), 1 - wrong, rtol=1e-12)
    for level in range(3):
        batch = am.hops.Hops(task.data, jnp.full(6, level))
        np.testing.assert_allclose(task.sampled_loss(model, batch), losses[level], rtol=1e-12)
    mixed = am.hops.Hops(task.data, jnp.array([0, 1, 2, 2, 1, 0]))
    expected = -np.mean([own[b, level].mean() for b, level in enumerate([0, 1, 2, 2, 1, 0])])
    np.testing.assert_allclose(task.sampled_loss(model, mixed), expected, rtol=1e-12)


def test_fewer_hops_first():
    """Two hops of three values: learned from a curriculum, not alone, by the same steps from the same start."""
    task = am.HopTask.random(3, 2, KEY, draws=16)
    model = am.HopTransformer.gaussian(task, jr.key(1), scale=0.01)

    def accuracy(laws):
        curriculum = am.Curriculum(lambda task: task.weights, [0, 20], laws)
        descent = am.Descent(optax.adam, 40, 32, learning_rate=0.1, curriculum=curriculum)
        run = am.simulate(task, model, descent, key=KEY, observe={"right": am.hops.hop_accuracy}, every=40)
        return run["right"][-1]

    np.testing.assert_array_equal(accuracy([[1.0, 0.0], [0.0, 1.0]]), [1, 1])
    assert accuracy([[0.0, 1.0], [0.0, 1.0]])[1] < 0.9


@pytest.mark.usefixtures("float32")
def test_in_float32():
    task = am.HopTask.random(4, 4, KEY)
    model = am.HopTransformer.written(task, 30.0)
    assert model.first.dtype == task.dtype == jnp.float32
    assert (am.hops.hop_accuracy(task, model) == 1).all()
    sure = am.HopTransformer.written(task, 1e4)  # e^{−10⁴} underflows
    assert jnp.isfinite(am.loss(task, sure))
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(am.gradient(task, sure)))


@pytest.mark.parametrize("optimizer", helpers.few([optax.sgd, optax.adam]))
def test_one_hop_is_trained(optimizer):
    """It has no later layer: a leaf without a number. Against plain steps of the optimizer."""
    task = am.HopTask.random(3, 1, KEY)
    model = am.HopTransformer.gaussian(task, KEY)
    assert [leaf.size for leaf in jax.tree.leaves(model)][1] == 0
    rule = optimizer(0.1)
    found = am.simulate(task, model, am.Descent(rule, 4)).model.first
    first, state = model.first, rule.init(model.first)
    for _ in range(4):
        slope = jax.grad(lambda w: task.loss(am.HopTransformer(w, model.later)))(first)
        update, state = rule.update(slope, state, first)
        first = first + update
    np.testing.assert_allclose(found, first, rtol=1e-10)
    assert am.simulate(task, model, am.StochasticFlow(0.1, 1.0, 3), key=KEY).status == am.Status.OK
    assert am.simulate(task, model, am.GradientFlow(1.0)).status == am.Status.OK


TASK = am.HopTask.random(3, 4, KEY)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: am.HopTask.random(3, 3, KEY), "hops must be a power of two: a layer doubles what the last has made, got 3"),
        (lambda: theory.written(3, 6, 2.0), "hops must be a power of two: a layer doubles what the last has made, got 6"),
        (lambda: theory.exact_from(3, 3), "hops must be a power of two: a layer doubles what the last has made, got 3"),
        (lambda: theory.exact_from(3, 0), "hops must be a power of two: a layer doubles what the last has made, got 0"),
        (lambda: am.HopTask([[0, 0, 1]]), "hidden must be permutations of 0 … 2, one a row, got [[0, 0, 1]]"),
        (lambda: am.HopTask([0, 1]), "hidden must be permutations, of shape (k, N)"),
        (lambda: am.HopTask([[0]]), "hidden must be of whole numbers, at least two values"),
        (lambda: am.HopTask([[0.0, 1.0]]), "hidden must be of whole numbers, at least two values"),
        (lambda: am.HopTask([[0, 1], [1, 0]], [0.5, 0.6]), "weights must be summing to one, got 1.1"),
        (lambda: am.HopTask([[0, 1], [1, 0]], [1.0]), "weights must be 2 numbers, for 1, 2 hops, got shape (1,)"),
        (lambda: am.HopTask([[0, 1], [1, 0]], [-0.5, 1.5]), "weights must be non-negative"),
        (lambda: am.HopTask.random(1, 2, KEY), "values must be at least 2, got 1"),
        (lambda: am.HopTask.random(3, 2, KEY, draws=0), "draws must be at least 1, got 0"),
        (lambda: am.HopTransformer.written(TASK, 0.0), "beta must be positive and finite, got 0.0"),
        (lambda: am.HopTransformer.gaussian(TASK, KEY, layers=2), "layers must be at least 3, got 2"),
        (lambda: am.HopTransformer(np.ones((6, 5)), np.ones((1, 8, 8))), "first must be square, got shape (6, 5)"),
        (lambda: am.HopTransformer(np.ones((6, 6)), np.ones((8, 8))), "later must be a matrix for each later layer"),
        (lambda: am.loss(TASK, am.HopTransformer.written(am.HopTask.random(4, 4, KEY), 1.0)), "contexts must be of the shape that the model is for (16 tokens), got (4, 3)"),
        # The first matrix alone is of another task; the later ones alone.
        (lambda: am.loss(TASK, am.HopTransformer(np.ones((8, 8)), np.ones((1, 10, 10)))), "contexts must be of the shape that the model is for (8 tokens), got (4, 3)"),
        (lambda: am.loss(TASK, am.HopTransformer(np.ones((12, 12)), np.ones((1, 9, 9)))), "contexts must be of the shape that the model is for (12 tokens), got (4, 3)"),
    ],
)  # fmt: skip
def test_refused(call, message):
    with pytest.raises(ValueError) as refusal:
        call()
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
