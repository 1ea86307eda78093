"""Factual recall: how facts are stored, which half is learned first, and what hallucination is."""

from .. import Source, Wing, lazily

WING = Wing(
    __name__,
    place=4,
    names={
        "task": "FactualTask Questions",
        "model": "FactualSystem LinearAttentionRecall",
        "observe": "accuracy balancedness probability_right relation_accuracy relation_loss relation_recall subject_loss "
        "subject_recall",
    },
    first="FactualTask LinearAttentionRecall",
    theory={"factual": "theory"},
    sources={
        "facts": Source(
            "Facts: Slides p. 19–23, and Nichani, Lee, Bietti 2025, *Understanding Factual Recall in "
            "Transformers via Associative Memories*"
        ),
    },
    statements=("statements.halves",),
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
