"""Vectors of words from what a user has: an array, a table, a file."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks


def vectors(argument: str, source: Any, words: Sequence[str]) -> np.ndarray:
    """A row for each word, from

    - an array, or a ``.npy`` file: its rows, in the order of the words;
    - a mapping word → vector, or a text file of lines "word number …" (as GloVe's): by word;
    - a ``.safetensors`` file of one matrix, or ``file.safetensors:name``: rows in the order of the words.
    """
    if isinstance(source, str | Path):
        source = _read(argument, str(source), set(words))
    if isinstance(source, Mapping):
        missing = [word for word in words if word not in source]
        if missing:
            checks.refuse(argument, f"a vector for each of {len(words)} words", f"none for {missing[0]!r}"
                          + (f" and {len(missing) - 1} others" if missing[1:] else ""))  # fmt: skip
        sizes = {np.size(source[word]) for word in words}
        if len(sizes) > 1:
            checks.refuse(argument, "vectors of one length", f"lengths {sorted(sizes)}")
        source = [source[word] for word in words]
    found = checks.numbers(argument, source, "vectors, a row each")
    if found.ndim != 2 or len(found) != len(words):
        checks.refuse(argument, f"of {len(words)} rows, one for each of {', '.join(words[:3])}, …",
                      f"shape {found.shape}")  # fmt: skip
    return found.astype(np.float64) if found.dtype == np.float16 else found


def _read(argument: str, place: str, words: set[str]) -> Any:
    path, _, name = place.rpartition(":") if ".safetensors:" in place else (place, "", "")

    def tried(reader: Callable[..., Any], *about: Any) -> Any:
        try:
            return reader(path, *about)
        except (OSError, EOFError, ValueError, KeyError, TypeError) as fault:
            reason = getattr(fault, "strerror", None) or " ".join(str(fault).split())
            checks.refuse(
                argument, "a file of vectors (.npy, .safetensors, or lines of a word and its numbers)",
                f"{path}: {reason}",
            )  # fmt: skip

    if path.endswith(".npy"):
        return tried(lambda file: np.load(file, allow_pickle=False))
    if not path.endswith(".safetensors"):
        return tried(_lines, words)
    matrices = tried(_matrices)
    if not name and len(matrices) == 1:
        (name,) = matrices
    if name not in matrices:
        known = ", ".join(sorted(matrices)[:4])
        checks.refuse(argument, f"one matrix of {path}, as {path}:NAME", repr(name), f"it has {known}, …")
    if matrices[name]["dtype"] not in _DTYPES:
        checks.refuse(argument, f"of {', '.join(_DTYPES)}", matrices[name]["dtype"])
    return tried(_numbers, matrices[name])


def _lines(path: str, words: set[str]) -> dict[str, np.ndarray]:
    found = {}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            word, *numbers = line.rstrip().split(" ")
            if word in words and not (number == 1 and len(numbers) == 1):  # word2vec's first line: its shape
                try:
                    found[word] = np.array(numbers, float)
                except ValueError:
                    raise ValueError(f"line {number} is no word and its numbers") from None
    return found


# The format: 8 bytes that say how long a header is, the header in JSON, the numbers.
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def _matrices(path: str) -> dict[str, Any]:
    """Name → what the header says, of every matrix in the file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        text = file.read(min(size, os.path.getsize(path)))
    try:
        every = {name: about for name, about in json.loads(text).items() if name != "__metadata__"}
        return {
            name: about | {"begin": 8 + size} for name, about in every.items() if len(about["shape"]) == 2
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError("is no safetensors file") from None


def _numbers(path: str, about: dict[str, Any]) -> np.ndarray:
    first, last = about["data_offsets"]
    with open(path, "rb") as file:
        file.seek(about["begin"] + first)
        raw = np.frombuffer(file.read(last - first), _DTYPES[about["dtype"]]).reshape(about["shape"])
    # bfloat16 is the upper half of a float32.
    return (raw.astype("<u4") << 16).view("<f4") if about["dtype"] == "BF16" else raw
