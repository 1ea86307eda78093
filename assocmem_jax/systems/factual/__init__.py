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
        "facts.constructed": Entry(
            "studies.storage_schemas:Constructed",
            "Slides p. 20–22: facts written into a transformer: recall over d, H d_h, m; how many fit",
            {
                "facts_constructed": (
                    'curves=[{label="a", memory="attention", dimensions=[16, 24], largest=[4, 4]}, {label="b", memory="features", dimensions=[16, 16], widths=[16, 32]}, {label="c", memory="neurons", dimensions=[16, 16], ranks=[4, 8]}]',
                    "subjects=4",
                    "relations=2",
                    "seeds=2",
                ),
            },
        ),
        "facts.accuracy_map": Entry(
            "studies.storage_schemas:AccuracyMap",
            "Slides p. 22: accuracy over the parameters of attention and of the MLP",
            {
                "facts_map": (
                    "subjects=4",
                    "heads=[1, 2]",
                    "widths=[4, 8]",
                    "training.steps=8",
                    "training.batch=8",
                ),
                "facts_map_paper": (
                    "subjects=4",
                    "heads=[1, 2]",
                    "widths=[4, 8]",
                    "training.steps=8",
                    "training.batch=8",
                ),
            },
        ),
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
                "facts_parameters_paper": (
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
