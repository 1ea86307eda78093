"""In-context bigrams: the table, exact sampling, the loss and how it is cut, refusals."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from scipy.stats import chisquare

import assocmem_jax as am
import helpers
from assocmem_jax.tasks.batches import mean_loss
from helpers import run_python

ROOT = Path(__file__).parents[2]
TABLE = Path(am.__file__).parent / "systems" / "induction" / "shakespeare.json"
SHA256 = "0a33399dfedb70c40b9a7a400e11275ceb5867b11bd757aa17966a0184fc3e13"

# Five tokens with zeros, ones and a row of its own each; token 4 is never followed by anything.
P = np.array([0.4, 0.3, 0.2, 0.1, 0.0])
Q = np.array([
    [0.1, 0.2, 0.3, 0.4, 0.0],
    [1.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 0.5, 0.0, 0.5, 0.0],
    [0.25, 0.25, 0.25, 0.24, 0.01],
    [0.0, 0.0, 0.0, 0.0, 0.0],
])  # fmt: skip


def agrees(counts, law):
    """χ² at the level 1e-4, and nothing where the law is 0."""
    counts, law = np.asarray(counts), np.asarray(law)
    assert counts[law == 0].sum() == 0
    kept = law > 0
    if kept.sum() == 1 or counts.sum() == 0:
        return True
    return chisquare(counts[kept], counts.sum() * law[kept] / law[kept].sum()).pvalue > 1e-4


# --- The table ------------------------------------------------------------------------------------


def test_shakespeare():
    """65 characters, H(next|current) = 2.453 ± .005 nats (the original text: 2.4526), checksum."""
    content = TABLE.read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256
    assert SHA256 in (TABLE.parent / "NOTICE").read_text(encoding="utf-8")
    counts = np.array(json.loads(content)["counts"])
    joint = counts / counts.sum()
    given = joint / joint.sum(1, keepdims=True).clip(1e-300)
    entropy = -np.sum(joint * np.log(np.where(joint > 0, given, 1)))
    assert abs(entropy - 2.453) < 0.005
    task = am.BigramTask.shakespeare(length=4, data=2, loss_on="all")
    np.testing.assert_allclose(task.unigram, joint.sum(1), atol=1e-15)
    seen = counts.sum(1) > 0
    np.testing.assert_allclose(np.asarray(task.bigram)[seen], given[seen], atol=1e-15)
    assert task.num_tokens == 65
    assert [task.alphabet[k] for k in task.most_frequent(3)] == [" ", "e", "t"]
    assert [task.alphabet[k] for k in np.flatnonzero(~seen)] == ["3"]
    np.testing.assert_allclose(np.asarray(task.bigram)[~seen][0], task.unigram, atol=1e-15)


def test_the_script_counts_and_cleans():
    """On a text small enough to count by hand; the real wheel is compared by `--check` (make soak)."""
    build = helpers.script("build_shakespeare")
    text = build.clean(
        "# Play\n\n## ACT I\n\n_Enter all\nthe citizens_\n\n**First Citizen**  \nSpeak—  \nno. 4\n"
    )
    assert text == "First Citizen:\nSpeak--\nno.\n"
    table = build.count("abab")
    a, b = (build.ALPHABET.index(c) for c in "ab")
    assert table[a][b] == 2
    assert table[b][a] == 1
    assert sum(map(sum, table)) == 3
    assert build.conditional_entropy([[1, 1], [0, 2]]) == pytest.approx(np.log(2) / 2)


@pytest.mark.soak
def test_the_table_is_what_the_script_makes():
    """Downloads the wheel: needs the network."""
    script = str(ROOT / "scripts" / "build_shakespeare.py")
    subprocess.run([sys.executable, script, "--check"], check=True, capture_output=True)


def test_a_text_of_ones_own(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("banana b", encoding="utf-8")
    task = am.BigramTask.from_text(path, length=3, triggers=1, data=2, loss_on="all")
    assert task.alphabet == " abn"
    counts = np.zeros((4, 4))
    for x, y in zip("banana b", "anana b"):
        counts[" abn".index(x), " abn".index(y)] += 1
    np.testing.assert_allclose(task.unigram, counts.sum(1) / counts.sum())
    np.testing.assert_allclose(task.bigram, counts / counts.sum(1, keepdims=True))
    assert task.decode(task.encode("nab")) == "nab"
    wide = am.BigramTask.from_text(path, alphabet=" abnz", length=3, triggers=1, data=2, loss_on="all")
    np.testing.assert_allclose(wide.bigram[4], wide.unigram)


# --- Sampling -------------------------------------------------------------------------------------

LAWS = {
    "random, uniform": {"triggers": 2},
    "random, bigram": {"triggers": 1, "outputs": "bigram"},
    "fixed, never the trigger": {"triggers": (3, 1), "repeat": False},
    "fixed, some outputs": {"triggers": (0,), "output_tokens": (1, 3)},
    "a law of one's own": {"triggers": (2, 0), "outputs": np.roll(np.eye(5), 1, axis=1)},
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", LAWS)
def test_sequences_follow_the_law(name):
    """5 × 10⁶ tokens: first tokens, every row of π_b, triggers, outputs, by χ²; forced tokens one by one."""
    options = LAWS[name]
    task = am.BigramTask(P, Q, length=100, data=1, **options)
    batch = jax.tree.map(np.asarray, task.sample(jr.key(3), 50_000))
    tokens, targets = batch.tokens, batch.targets
    assert (tokens[:, 1:] == targets[:, :-1]).all()
    assert agrees(np.bincount(tokens[:, 0], minlength=5), P)
    match = tokens[:, :, None] == batch.triggers[:, None, :]
    forced = match.any(2)
    answer = (match * batch.outputs[:, None, :]).sum(2)
    assert (targets[forced] == answer[forced]).all()
    rows = np.where(Q.sum(1, keepdims=True) > 0, Q, P)
    for token in range(5):
        free = targets[(tokens == token) & ~forced]
        assert agrees(np.bincount(free, minlength=5), rows[token]), token
    # occurrence: a NumPy loop over a few sequences
    for row, triggers, seen in zip(tokens[:50], batch.triggers, batch.occurrence):
        count = dict.fromkeys(triggers.tolist(), 0)
        for token, times in zip(row.tolist(), seen.tolist()):
            count[token] = count.get(token, -1000) + 1
            assert times == max(0, count[token])
    if name.startswith("random"):
        assert agrees(np.bincount(batch.triggers[:, 0], minlength=5), P)
        if batch.triggers.shape[1] == 2:  # without replacement: p_i p_j/(1 − p_i)
            pairs = np.bincount(batch.triggers[:, 0] * 5 + batch.triggers[:, 1], minlength=25)
            law = np.outer(P, P) / (1 - P[:, None])
            np.fill_diagonal(law, 0)
            assert agrees(pairs, law.ravel())
    uniform = np.full((5, 5), 0.2)
    laws = {
        "random, uniform": uniform, "random, bigram": rows,
        "fixed, never the trigger": uniform * (1 - np.eye(5)) * 1.25,
        "fixed, some outputs": np.tile([0, 0.5, 0, 0.5, 0], (5, 1)),
        "a law of one's own": np.roll(np.eye(5), 1, axis=1),
    }  # fmt: skip
    for k in range(batch.triggers.shape[1]):
        for token in np.unique(batch.triggers[:, k]):
            outputs = batch.outputs[batch.triggers[:, k] == token, k]
            assert agrees(np.bincount(outputs, minlength=5), laws[name][token]), (k, token)


def test_rows_of_the_real_table():
    """5 × 10⁶ transitions of Shakespeare, every row that occurs 1,000 times or more, Bonferroni at 1e-4."""
    task = am.BigramTask.shakespeare(length=250, triggers=(50,), data=1)
    batch = jax.tree.map(np.asarray, task.sample(jr.key(0), 20_000))
    free = batch.occurrence == 0
    counts = np.zeros((65, 65))
    np.add.at(counts, (batch.tokens[free], batch.targets[free]), 1)
    law = np.asarray(task.bigram)
    tried = 0
    for token in np.flatnonzero(counts.sum(1) >= 1000):
        expected = counts[token].sum() * law[token]
        large = expected >= 5
        seen = np.append(counts[token][large], counts[token][~large].sum())
        wanted = np.append(expected[large], expected[~large].sum())
        assert counts[token][law[token] == 0].sum() == 0
        if (wanted > 0).sum() == 1:
            assert seen[wanted > 0] == wanted[wanted > 0]
        else:
            found = chisquare(seen[wanted > 0], wanted[wanted > 0])
            assert found.pvalue > 1e-4 / 65, task.alphabet[token]
        tried += 1
    assert tried > 50


@pytest.mark.thorough
def test_sequences_do_not_depend_on_how_many():
    task = am.BigramTask(P, Q, length=7, triggers=1, data=1)
    few, many = task.sample(jr.key(1), 3), task.sample(jr.key(1), 4)
    assert all((a == b[:3]).all() for a, b in zip(few, many))
    assert (task.sample(jr.key(2), 3).tokens != few.tokens).any()


@pytest.mark.thorough
def test_the_second_occurrence_of_the_trigger():
    """The law of B.3 by rejection: K = 1, keep what has its second trigger at T."""
    from assocmem_jax.systems.induction.task import second_trigger

    N, T = 3, 4
    task = am.BigramTask(np.ones(N) / N, np.ones((N, N)) / N, length=T, triggers=1, data=1, loss_on="all")
    batch = jax.tree.map(np.asarray, task.sample(jr.key(5), 400_000))
    kept = batch.occurrence[:, -1] == 2
    place = lambda tokens, answers: (tokens @ N ** np.arange(T)) * N + answers  # noqa: E731
    wanted = np.bincount(place(batch.tokens[kept], batch.targets[kept, -1]), minlength=N ** (T + 1))
    tokens, answers = jax.tree.map(np.asarray, second_trigger(jr.key(6), 200_000, N, T))
    found = np.bincount(place(tokens, answers), minlength=N ** (T + 1))
    assert found[wanted == 0].sum() == 0
    cells = wanted > 0
    # Two samples: Σ (√(n/m) a − √(m/n) b)²/(a + b) is χ² with cells − 1 degrees of freedom.
    a, b = found[cells], wanted[cells]
    ratio = np.sqrt(b.sum() / a.sum())
    from scipy.stats import chi2

    statistic = np.sum((ratio * a - b / ratio) ** 2 / (a + b))
    assert chi2.sf(statistic, cells.sum() - 1) > 1e-4


# --- The loss -------------------------------------------------------------------------------------


class Biased(am.AbstractSequenceModel):
    """Scores that a NumPy loop can make: a table of the token before last, and a slope in time."""

    table: jax.Array

    def residual(self, tokens):
        before = jnp.concatenate([tokens[:, :1], tokens[:, :-1]], axis=1)
        return self.table[tokens, before] * (1 + jnp.arange(tokens.shape[1]) / 9)[:, None]

    def logits(self, state, at=None):
        return state if at is None else jnp.take_along_axis(state, at[..., None], axis=1)

    def attention(self, tokens):
        raise NotImplementedError

    def trainable(self):
        return (self.table,)


def numpy_loss(table, batch, everywhere):
    total, count = 0.0, 0
    for row, targets, seen in zip(batch.tokens, batch.targets, batch.occurrence):
        for t in range(len(row)):
            if everywhere or seen[t] >= 2:
                scores = table[row[t], row[max(t - 1, 0)]] * (1 + t / 9)
                total += np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[targets[t]]
                count += 1
    return total / count


@pytest.mark.thorough
@pytest.mark.parametrize("loss_on", ["in_context", "all"])
def test_loss_against_a_loop_however_it_is_cut(loss_on, monkeypatch):
    """Value, gradient, second derivative, central differences; chunks of 3 (the last one short) and all 11; the
    same cut by the task itself and by who asks."""
    rng = np.random.default_rng(0)
    model = Biased(jnp.asarray(rng.normal(size=(5, 5, 5))))
    reference = am.BigramTask(P, Q, length=36, triggers=1, data=11, key=jr.key(4), loss_on=loss_on)
    data = jax.tree.map(np.asarray, reference.data)
    wanted = numpy_loss(np.asarray(model.table), data, loss_on == "all")
    along = jnp.asarray(rng.normal(size=(5, 5, 5)))

    def slopes(loss):
        return jax.jit(jax.value_and_grad(lambda table: loss(Biased(table))))

    uncut = slopes(reference.loss)
    whole = uncut(model.table)[1]
    asked = slopes(lambda model: mean_loss(reference, model, reference.data, 3))
    monkeypatch.setattr("assocmem_jax.systems.induction.task.bigram._CHUNK_TOKENS", 3 * 36)
    cut = slopes(reference.loss)
    for each in (cut, asked):
        value, first = each(model.table)
        np.testing.assert_allclose(value, wanted, rtol=1e-13)
        np.testing.assert_allclose(first, whole, atol=1e-13)
    if loss_on == "all":  # gradients of gradients, through the accumulation
        second = lambda f: jax.jit(lambda t: jax.jvp(lambda t: f(t)[1], (t,), (along,))[1])(model.table)  # noqa: E731
        np.testing.assert_allclose(second(cut), second(uncut), atol=1e-11)
    at = lambda h: float(uncut(model.table + h * along)[0])  # noqa: E731
    np.testing.assert_allclose(jnp.vdot(whole, along), (at(1e-5) - at(-1e-5)) / 2e-5, rtol=1e-7)
    wrong = np.asarray(reference.margins(model) <= 0)
    counted = np.ones_like(wrong) if loss_on == "all" else data.occurrence >= 2
    assert float(reference.error(model)) == pytest.approx(wrong[counted].mean())


@pytest.mark.thorough
def test_a_batch_of_lanes_is_each_lane_alone():
    """Under vmap the packed size is that of the fullest lane: every loss stays exact."""
    task = am.BigramTask(P, Q, length=36, triggers=2, data=1)
    table = jnp.asarray(np.random.default_rng(1).normal(size=(5, 5, 5)))
    keys = jr.split(jr.key(0), 12)
    one = lambda key: task.sampled_loss(Biased(table), task.sample(key, 1))  # noqa: E731
    fullest = np.array([int(task.weights(task.sample(key, 1)).sum()) for key in keys])
    assert fullest.min() <= 36 / 2 < fullest.max()  # lanes of which the least full would not do
    alone = jax.jit(one)
    np.testing.assert_allclose(jax.jit(jax.vmap(one))(keys), [alone(key) for key in keys], rtol=1e-13)
    assert "cond" in str(jax.make_jaxpr(jax.vmap(one))(keys))  # a switch, not all of its branches


@pytest.mark.soak
def test_two_devices_share_a_batch():
    """Loss and gradient on two CPU devices, and a whole descent, against one device: 1e-12."""
    run_python("""
import jax
jax.config.update("jax_enable_x64", True); jax.config.update("jax_num_cpu_devices", 2)
import jax.numpy as jnp, jax.random as jr, numpy as np, optax, assocmem_jax as am
assert len(jax.devices()) == 2
def run(devices, microbatch):
    task = am.BigramTask.shakespeare(length=6, triggers=3, data=3)
    model = am.InductionTransformer.published(task, jr.key(1), 8)
    descent = am.Descent(optax.sgd(0.3), 2, 10, devices=devices, microbatch=microbatch)
    got = am.simulate(task, model, descent, observe={"loss": am.loss}, key=jr.key(2))
    return np.asarray(got.observed["loss"]), np.asarray(got.model.key1)
(a, A), (b, B) = run(1, None), run(2, 2)
assert np.abs(a - b).max() < 1e-12 and np.abs(A - B).max() < 1e-12, (a, b)
assert a[-1] != a[0]
""")


# --- Refusals -------------------------------------------------------------------------------------


def written(tmp_path, text, binary=None):
    path = tmp_path / "play.txt"
    path.write_bytes(text.encode() if binary is None else binary)
    return path


BAD = {
    "more triggers than tokens": (
        lambda: am.BigramTask(P, Q, triggers=6),
        "triggers must be at most the 4 tokens that occur, got 6",
    ),
    "T = 1": (
        lambda: am.BigramTask(P, Q, length=1),
        "length must be at least 2, got 1; a trigger and its output",
    ),
    "a trigger twice": (
        lambda: am.BigramTask(P, Q, triggers=(1, 1)),
        "triggers must be distinct tokens from 0 to 4, got [1, 1]",
    ),
    "a trigger that is not there": (
        lambda: am.BigramTask(P, Q, triggers=(5,)),
        "triggers must be distinct tokens from 0 to 4, got [5]",
    ),
    "shapes": (
        lambda: am.BigramTask(P, Q[:3]),
        "bigram must be of shape (N, N) for unigram of shape (5,), got (3, 5)",
    ),
    "not a law": (
        lambda: am.BigramTask(P, 2 * Q),
        "bigram must be of rows with sum 1 (or 0: then π_u), got 2.0 in row 0",
    ),
    "negative": (
        lambda: am.BigramTask(P - 0.1 * np.eye(5)[4] + 0.1 * np.eye(5)[0], Q),
        "unigram must be non-negative, got -0.1",
    ),
    "outputs": (
        lambda: am.BigramTask(P, Q, outputs="zipf"),
        "outputs must be 'uniform', 'bigram' or a matrix, got 'zipf'",
    ),
    "nothing left": (
        lambda: am.BigramTask(P, Q, output_tokens=(2,), repeat=False),
        "output_tokens must be more than a trigger itself with repeat=False, got (2,)",
    ),
    "loss_on": (
        lambda: am.BigramTask(P, Q, loss_on="some", triggers=1),
        "loss_on must be 'in_context' or 'all', got 'some'",
    ),
    "devices": (
        lambda: am.Descent(optax.sgd(0.1), 1, 8, devices=4096),
        "devices must be at most the 1 there are, got 4096",
    ),
    "rank": (
        lambda: am.BigramTask(P, Q, data=1, triggers=1).most_frequent(3, skip=3),
        "count + skip must be at most N = 5, got 6",
    ),
    "no alphabet": (
        lambda: am.BigramTask(P, Q, data=1, triggers=1).encode("a"),
        "task must be one with an alphabet, got none; BigramTask.from_text",
    ),
    "unknown character": (
        lambda: am.BigramTask.shakespeare(length=2, data=1, loss_on="all").encode("aé"),
        "text must be of characters in the task's alphabet, got 'é' at 1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_laws(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=r".") as fault:
        call()
    assert str(fault.value) == message


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "must be a text of at least two characters, got an empty file"),
        (b"aaaa", {}, "must be a text of at least two different characters, got only 'a'"),
        (b"abc", {"alphabet": "ab"}, "in alphabet, got 'c' at 2; add it, or leave alphabet out"),
        (b"ab\xff", {}, "must be UTF-8 text, got byte 2 that is not"),
        (None, {}, "must be a file that can be read, got No such file or directory"),
        (b"abab", {"triggers": 3}, "triggers must be at most the 2 tokens that occur, got 3"),
    ],
)  # fmt: skip
def test_bad_texts(tmp_path, content, options, message):
    path = tmp_path / "play.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r".") as fault:
        am.BigramTask.from_text(path, **options)
    assert str(fault.value).endswith(message)
    assert "\n" not in str(fault.value)


@pytest.mark.thorough
def test_dtypes(float32):
    task = am.BigramTask.shakespeare(length=8, data=3)
    assert task.dtype == jnp.float32
    model = am.InductionTransformer.published(task, jr.key(0), 8)
    assert task.loss(model).dtype == jnp.float32
    # Thresholds of the law itself, not of its float32 copy.
    law = np.asarray(json.loads(TABLE.read_bytes())["counts"])[1]
    exact = np.rint(np.cumsum(law / law.sum())[:-1] * 2**31)
    assert abs(np.asarray(task._cuts[1][1], float) - exact).max() <= 1
    assert {leaf.dtype for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))} == {
        jnp.dtype(jnp.float32)
    }
