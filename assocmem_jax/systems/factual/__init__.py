"""Factual recall: how facts are stored, which half is learned first, and what hallucination is."""

from .. import Entry, Source, Wing, lazily

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
                    'shapes=[{label="both", dimensions=[4], head_widths=[2], widths=[4], largest=[25]}]',
                    "heads=2",
                    "seeds=2",
                    "training.steps=8",
                    "training.batch=8",
                ),
                "facts_parameters_paper": (
                    'shapes=[{label="both", dimensions=[4], head_widths=[2], widths=[4], largest=[25]}]',
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
