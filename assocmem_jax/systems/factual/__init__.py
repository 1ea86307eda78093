"""Factual recall: how facts are stored, which half is learned first, and what hallucination is."""

from .. import Entry, Source, Wing, lazily

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
    studies={
        "facts.hallucination": Entry(
            "studies.schemas:Hallucination",
            "Slides p. 20–23: hallucination, both orders, on the reduced system",
            {
                "facts_hallucination": (
                    "cases=[{subjects=4, relations=2, answers=2, start=0.1, mentions=2, learning_rate=1.0, steps=40}]",
                    "seeds=2",
                    "batch=64",
                    "length=6",
                    "noise=2",
                    "looks=10",
                ),
            },
        ),
        "facts.order": Entry(
            "studies.schemas:Order",
            "which half of a fact is first, and for how long (a sweep)",
            {
                "facts_order": (
                    "subjects.log=[4.0, 64.0, 4]",
                    "relations.log=[2.0, 32.0, 4]",
                    "answers.log=[2.0, 32.0, 3]",
                    "start.log=[1e-5, 0.1, 3]",
                ),
            },
        ),
    },
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
