"""Factual recall: how facts are stored, which half is learned first, and what hallucination is."""

from .. import Wing, lazily

WING = Wing(
    __name__,
    place=4,
    names={
        "task": "FactualTask Questions",
        "model": "FactualSystem FactualTransformer LinearAttentionRecall",
        "observe": "accuracy balancedness probability_right relation_accuracy relation_loss relation_recall "
        "subject_loss subject_recall",
    },
    first="FactualTask FactualTransformer LinearAttentionRecall",
    theory={"factual": "theory"},
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
