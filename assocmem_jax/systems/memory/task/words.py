"""Real words: their embeddings in a language model, and how often they occur."""

import importlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .... import checks
from ....tasks.vectors import vectors as read_vectors


class Words(NamedTuple):
    """Words, the most frequent first: ``names``, ``counts`` (or frequencies) and ``vectors``, a row each."""

    names: tuple[str, ...]
    counts: np.ndarray
    vectors: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """p(x): the share of each among them."""
        return self.counts / self.counts.sum()


def real_words(n: int | None = None, *, names: Any = None, vectors: Any = None, counts: Any = None) -> Words:
    """The n most frequent words, with real embeddings and real frequencies; all there are unless given.

    Unless given: 2,048 words, their token embeddings in all-MiniLM-L6-v2 (384 numbers of about .06, not
    normalised) and counts in Shakespeare's plays (NOTICE). In their place a table of yours:

    - ``names``: words, or a file with one a line (``vocab.txt`` of a model).
    - ``vectors``: of those, as ``AssociationTask.from_pairs`` takes ``embeddings``: an array, a ``.npy`` or
      ``.safetensors`` file (``model.safetensors:embeddings.word_embeddings.weight``), a table of words.
    - ``counts``: a number for each, a mapping word → number, a file of lines "word number", or
      ``"wordfreq:en"``, the frequencies in English (or another language) of the package wordfreq.

    Words that do not occur are left out, and of ``names`` in a file all that are not letters only ("##ing").

        words = am.memory.real_words(300)
        task = am.AssociationTask.from_pairs(
            [(w, w) for w in words.names], words.counts, embeddings=am.embeddings.normalised(words.vectors)
        )
    """
    given = [
        name
        for name, value in (("names", names), ("vectors", vectors), ("counts", counts))
        if value is not None
    ]
    from_file = isinstance(names, str | Path)
    if not given:
        place = resources.files("assocmem_jax.systems.memory")
        shipped = json.loads(place.joinpath("words.json").read_text("utf-8"))
        names, counts = tuple(shipped), shipped
        with resources.as_file(place.joinpath("words.npy")) as file:
            rows = np.load(file)
    elif len(given) < 3:
        checks.refuse("names, vectors and counts", "given together", f"only {' and '.join(given)}")
    else:
        listed = _lines("names", names) if from_file else checks.listed("names", names, "words, or a file")
        names = tuple(map(str, listed))
        rows = read_vectors("vectors", vectors, names)
    often = _counts(counts, names)
    if from_file:
        often = np.where([name.isalpha() for name in names], often, 0)
    order = np.argsort(-often, kind="stable")
    order = order[often[order] > 0]
    if len(order) < 2:
        checks.refuse("counts", "above 0 for two words at least", f"{len(order)} such words")
    n = len(order) if n is None else checks.count("n", n, 2)
    if n > len(order):
        checks.refuse("n", f"at most {len(order)}, the words that occur", n)
    order = order[:n]
    return Words(tuple(names[k] for k in order), often[order], np.asarray(rows[order], np.float32))


def _lines(argument: str, file: str | Path) -> list[str]:
    return checks.text(f"{argument} ({file})", file).splitlines()


def _counts(counts: Any, names: tuple[str, ...]) -> np.ndarray:
    if isinstance(counts, str) and counts.startswith("wordfreq:"):
        try:
            frequency = importlib.import_module("wordfreq").word_frequency
        except ImportError:
            checks.refuse("counts", "those of an installed package", counts, "pip install wordfreq")
        language = counts.removeprefix("wordfreq:")
        try:
            counts = {name: frequency(name, language) for name in names}
        except LookupError as fault:
            checks.refuse("counts", "of a language that wordfreq knows", repr(language), str(fault))
    elif isinstance(counts, str | Path):
        file, counts = counts, {}
        for number, line in enumerate(_lines("counts", file), 1):
            try:
                word, often = line.rsplit(maxsplit=1)
                counts[word] = float(often)
            except ValueError:
                checks.refuse("counts", 'lines "word number"', f"{line!r} in line {number} of {file}")
    if isinstance(counts, Mapping):
        counts = [counts.get(name, 0) for name in names]
    return checks.amounts("counts", counts, "word", names)
