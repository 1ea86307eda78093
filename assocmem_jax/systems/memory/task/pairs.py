"""Arrays of a task from a user's own pairs of names."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from .... import checks
from ....tasks.embeddings import sphere
from ....tasks.vectors import vectors


def arrays(
    pairs: Iterable[tuple[str, str]] | Mapping[str, str],
    counts: Any,
    embeddings: Any,
    outputs: Any,
    dimension: int | None,
    key: PRNGKeyArray | None,
) -> dict[str, Any]:
    """Arguments of ``AssociationTask``: see ``AssociationTask.from_pairs``."""
    given: list[Any] = checks.listed(
        "pairs", pairs.items() if isinstance(pairs, Mapping) else pairs, "pairs (token, answer)"
    )
    for k, pair in enumerate(given):
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            checks.refuse(f"pairs[{k}]", "(token, answer)", checks.short(pair))
    if not given:
        checks.refuse("pairs", "at least one (token, answer)", "none")
    tokens: tuple[str, ...] = tuple(dict.fromkeys(str(token) for token, _ in given))
    answers: tuple[str, ...] = tuple(dict.fromkeys(str(answer) for _, answer in given))
    if len(answers) < 2:
        checks.refuse("pairs", "of at least two different answers", f"only {', '.join(answers)!r}")
    weights = checks.amounts("counts", np.ones(len(given)) if counts is None else counts, "pair", given)
    row = {name: i for i, name in enumerate(tokens)}
    column = {name: i for i, name in enumerate(answers)}
    joint = np.zeros((len(tokens), len(answers)))
    np.add.at(joint, ([row[str(x)] for x, _ in given], [column[str(y)] for _, y in given]), weights)
    p = joint.sum(axis=1)
    if (p == 0).any():
        checks.refuse(
            "counts", "above 0 for some answer of every token", f"0 for {tokens[int(np.argmin(p))]!r}"
        )
    conditional = joint / p[:, None]
    hard = (conditional.max(axis=1) == 1).all()
    if embeddings is None:
        d = len(tokens) if dimension is None else checks.count("dimension", dimension)
        embeddings = sphere(jr.key(0) if key is None else key, len(tokens), d)
    elif dimension is not None:
        checks.refuse("dimension", "left out where embeddings are given", dimension)
    else:
        embeddings = vectors("embeddings", embeddings, tokens)
    outputs = np.eye(len(answers)) if outputs is None else vectors("outputs", outputs, answers)
    return {
        "probabilities": p / p.sum(), "targets": conditional.argmax(axis=1) if hard else conditional,
        "inputs": embeddings, "outputs": outputs, "names": (("token", tokens), ("class", answers)),
    }  # fmt: skip
