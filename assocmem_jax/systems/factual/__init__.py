"""Factual recall: how facts are stored, which half is learned first, and what hallucination is."""

from .. import Entry, Wing, lazily

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
    studies={
        "facts.parameters": Entry(
            "studies.storage_schemas:FactsOverParameters",
            "Slides p. 22: facts that trained transformers hold, over parameters",
            {
                "facts_parameters": (
                    'shapes=[{label="both", dimensions=[4], head_widths=[2], widths=[4], largest=[4]}]',
                    "heads=2",
                    "seeds=2",
                    "training.steps=8",
                    "training.batch=8",
                ),
            },
        ),
    },
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
