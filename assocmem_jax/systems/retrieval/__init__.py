"""Patterns found again from cues: Hopfield networks, dense memories, attention (Slides p. 5)."""

from .. import Entry, Wing, lazily

WING = Wing(
    __name__,
    place=1,
    names={
        "task": "RetrievalTask",
        "model": "AbstractEnergyMemory AttentionMemory DenseMemory HopfieldNetwork signs",
        "observe": "overlaps",
    },
    first="AttentionMemory DenseMemory HopfieldNetwork RetrievalTask",
    theory={"hopfield": "theory"},
    studies={
        "slides.hopfield": Entry(
            "studies.schemas:Hopfield",
            "Slides p. 5: a Hopfield network over its load",
            {
                "slides_hopfield": (
                    "dimensions=[40, 60]",
                    "networks=3",
                    "cues=4",
                    "steps=4",
                    "paths=2",
                    "loads=[0.1, 0.3]",
                ),
            },
        ),
        "slides.dense": Entry(
            "studies.schemas:Dense",
            "Slides p. 5: capacity of dense memories over d",
            {
                "slides_dense": (
                    "curves=[{degree=2, dimensions=[20, 40, 80]}, {degree=0, dimensions=[6, 8, 10], largest=[16, 24, 48]}]",
                    "seeds=8",
                ),
            },
        ),
        "slides.retrieval": Entry(
            "studies.schemas:Retrieval",
            "Slides p. 5: attention retrieves, over β",
            {
                "slides_retrieval": (
                    "dimension=8",
                    "patterns=40",
                    "trials=2",
                    "betas=[2.0, 8.0, 32.0]",
                ),
            },
        ),
    },
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
