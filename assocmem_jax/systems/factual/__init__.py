"""Factual recall: how facts are stored, which half is learned first, and what hallucination is."""

from .. import Wing, lazily

WING = Wing(
    __name__,
    place=4,
    names={
        "task": "FactualTask Questions",
        "model.transformer": "FactualTransformer",
        "observe": "accuracy probability_right relation_accuracy relation_loss relation_recall subject_loss "
        "subject_recall",
    },
    first="FactualTask FactualTransformer",
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
