"""The laws of a chain with triggers, checked."""

import numpy as np

from .... import checks


def checked(unigram, bigram, outputs, output_tokens, repeat):
    """(π_u, π_b, π_o), checked, in float64."""
    size = len(unigram)
    for name, law in (("unigram", unigram), ("bigram", bigram)):
        checks.finite(name, law)
        if (law < 0).any():
            checks.refuse(name, "non-negative", law.min())
    # Rounding of float32 tables; what is off by more is no law.
    slack = (8 + np.sqrt(size)) * float(np.finfo(np.float32).eps)
    if abs(unigram.sum() - 1) > slack:
        checks.refuse("unigram", "of sum 1", unigram.sum())
    empty = bigram.sum(axis=1) == 0
    bigram = np.where(empty[:, None], unigram, bigram)
    if (abs(bigram.sum(axis=1) - 1) > slack).any():
        row = int(np.argmax(abs(bigram.sum(axis=1) - 1)))
        checks.refuse("bigram", "of rows with sum 1 (or 0: then π_u)", f"{bigram[row].sum()} in row {row}")
    if isinstance(outputs, str):
        if outputs not in ("uniform", "bigram"):
            checks.refuse("outputs", "'uniform', 'bigram' or a matrix", checks.short(outputs))
        answers = np.full((size, size), 1 / size) if outputs == "uniform" else bigram.copy()
    else:
        answers = checks.numbers("outputs", outputs, "'uniform', 'bigram' or a matrix").astype(float)
        if answers.shape != (size, size) or not (answers >= 0).all():
            checks.refuse("outputs", f"a non-negative matrix of shape ({size}, {size})", answers.shape)
    allowed = np.ones((size, size), bool)
    if output_tokens is not None:
        kept = checks.numbers("output_tokens", output_tokens, "tokens")
        if kept.ndim != 1 or not kept.size or kept.min() < 0 or kept.max() >= size:
            checks.refuse("output_tokens", f"tokens from 0 to {size - 1}", repr(output_tokens))
        allowed &= np.isin(np.arange(size), kept)
    if not checks.truth("repeat", repeat):
        np.fill_diagonal(allowed, False)
    if not allowed.any(axis=1).all():
        checks.refuse("output_tokens", "more than a trigger itself with repeat=False", repr(output_tokens))
    answers = np.where(allowed, answers, 0)
    # A trigger whose outputs were all taken away: uniform over those that are left.
    answers = np.where(answers.sum(axis=1, keepdims=True) > 0, answers, allowed)
    return [law / law.sum(axis=-1, keepdims=True) for law in (unigram, bigram, answers)]


def with_noise(unigram, bigram, outputs):
    """The same laws with one token more, the last: nothing draws it, and π_u follows it."""
    rows = [np.vstack([law, unigram]) for law in (bigram, outputs)]
    return [np.pad(unigram, (0, 1)), *(np.pad(law, ((0, 0), (0, 1))) for law in rows)]
