"""A task from a user's own pairs: names, counts, embeddings from wherever they are."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import assocmem_jax as am

PAIRS = [("France", "Paris"), ("Italy", "Rome"), ("France", "Lyon"), ("Japan", "Tokyo")]
TABLE = {
    "Japan": [0.0, 0.0, 2.0],
    "France": [1.0, 0.0, 0.5],
    "Italy": [0.0, 1.0, 0.25],
    "Spain": [9.0, 9.0, 9.0],
}
ROWS = np.array([TABLE[name] for name in ("France", "Italy", "Japan")])


def test_counts_are_the_laws():
    task = am.AssociationTask.from_pairs(PAIRS, counts=[6, 3, 2, 1], embeddings=TABLE)
    np.testing.assert_allclose(task.probabilities, [8 / 12, 3 / 12, 1 / 12], rtol=1e-15)
    np.testing.assert_allclose(task.conditional, [[0.75, 0, 0.25, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    assert task.names == (
        ("token", ("France", "Italy", "Japan")), ("class", ("Paris", "Rome", "Lyon", "Tokyo")),
    )  # fmt: skip
    np.testing.assert_array_equal(task.inputs, ROWS)
    np.testing.assert_array_equal(task.outputs, np.eye(4))
    hard = am.AssociationTask.from_pairs(dict(PAIRS[1:]), dimension=5, key=jax.random.key(3))
    assert not hard.soft
    np.testing.assert_array_equal(hard.labels, [0, 1, 2])
    assert hard.inputs.shape == (3, 5)
    np.testing.assert_allclose(jnp.sum(hard.inputs**2, axis=1), 1, rtol=1e-14)


def test_names_are_the_labels_of_a_run():
    task = am.AssociationTask.from_pairs(PAIRS[:2], embeddings=ROWS[:2])
    run = am.simulate(
        task, am.LinearMemory.zeros(task), am.GradientFlow(2.0), observe=[am.margins, am.memory.probabilities]
    )
    data = run.to_xarray()
    np.testing.assert_array_equal(data.margins.sel(token="Italy"), run["margins"][:, 1])
    assert data.probabilities.coords["class"].values.tolist() == ["Paris", "Rome"]
    (axes,) = run.plot("margins").axes
    assert [line.get_label() for line in axes.lines] == ["token France", "token Italy"]
    assert task.first(1).names == task.unrestricted.names == task.names


def test_embeddings_from_files(tmp_path):
    def task(source):
        return am.AssociationTask.from_pairs(PAIRS, embeddings=source)

    np.save(tmp_path / "rows.npy", ROWS)
    np.testing.assert_array_equal(task(tmp_path / "rows.npy").inputs, ROWS)
    lines = "\n".join(f"{name} {' '.join(map(str, row))}" for name, row in TABLE.items())
    (tmp_path / "glove.txt").write_text(lines + "\n", encoding="utf-8")
    (tmp_path / "word2vec.txt").write_text(f"4 3\n{lines}\n", encoding="utf-8")
    for name in ("glove.txt", "word2vec.txt"):
        np.testing.assert_array_equal(task(str(tmp_path / name)).inputs, ROWS)
    # bfloat16 keeps eight bits: these numbers exactly. Its bytes are the upper half of a float32's.
    half = (ROWS.astype("<f4").view("<u4") >> 16).astype("<u2")
    parts = {
        "a": ("F32", ROWS.astype("<f4")),
        "b": ("BF16", half),
        "c": ("F64", ROWS * 3),
        "n": ("F32", np.ones(4, "<f4")),
    }
    header: dict[str, dict] = {"__metadata__": {"format": "np"}}
    content = b""
    for name, (dtype, value) in parts.items():
        raw = value.tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": value.shape,
            "data_offsets": [len(content), len(content) + len(raw)],
        }
        content += raw
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    for name, factor in (("a", 1), ("b", 1), ("c", 3)):
        np.testing.assert_array_equal(task(f"{path}:{name}").inputs, factor * ROWS)
    with pytest.raises(
        ValueError, match=r"embeddings must be one matrix of .*, as .*:NAME, got ''; it has a, b, c"
    ):
        task(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(pairs=[("a", "b", "c")]), "pairs[0] must be (token, answer)"),
        (dict(pairs=["ab"]), "pairs[0] must be (token, answer)"),
        (dict(pairs=[]), "pairs must be at least one"),
        (dict(pairs=[("a", "x"), ("b", "x")]), "pairs must be of at least two different answers, got only 'x'"),
        (dict(counts=[1, 2]), "counts must be 4 numbers, one for each pair, got shape (2,)"),
        (dict(counts=[1, 2, 3, -1]), "counts must be finite and at least 0, got -1.0 for ('Japan', 'Tokyo')"),
        (dict(counts=[1, 2, 3, 0]), "counts must be above 0 for some answer of every token, got 0 for 'Japan'"),
        (dict(embeddings={"France": [1.0]}), "embeddings must be a vector for each of 3 words, got none for 'Italy' and 1 others"),
        (dict(embeddings={"France": [1.0], "Italy": [1.0, 2.0], "Japan": [1.0]}), "embeddings must be vectors of one length, got lengths [1, 2]"),
        (dict(embeddings=np.ones((2, 2))), "embeddings must be of 3 rows, one for each of France, Italy, Japan, …, got shape (2, 2)"),
        (dict(embeddings="none.npy"), "embeddings must be a file of vectors"),
        (dict(embeddings=TABLE, dimension=3), "dimension must be left out where embeddings are given, got 3"),
        (dict(key=3), "key must be a typed key"),
        (dict(outputs=np.ones((3, 3))), "outputs must be of 4 rows"),
    ],
)  # fmt: skip
def test_refusals(arguments, words):
    with pytest.raises(ValueError) as fault:
        am.AssociationTask.from_pairs(**{"pairs": PAIRS} | arguments)
    assert str(fault.value).startswith(words)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.safetensors", b"", "is no safetensors file"),
        ("a.safetensors", b"garbage " * 9, "is no safetensors file"),
        ("a.safetensors", (2).to_bytes(8, "little") + b"[]", "is no safetensors file"),
        ("a.safetensors", (14).to_bytes(8, "little") + b'{"a":{"x": 1}}', "is no safetensors file"),
        ("a.npy", b"x", "contains pickled"),
        ("a.npy", b"", "No data left in file"),
        ("a.npy", None, "No such file or directory"),
        ("a.txt", b"France 1 2\nItaly 3 x\nJapan 1 2", "line 2 is no word and its numbers"),
        ("a.txt", b"\xff\xfe", "'utf-8' codec"),
    ],
)
def test_files_that_hold_no_vectors_are_one_line(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError) as fault:
        am.AssociationTask.from_pairs(PAIRS, embeddings=path)
    said = str(fault.value)
    assert said.startswith("embeddings must be a file of vectors (.npy, .safetensors, or lines of a word")
    assert "\n" not in said
    assert words in said
