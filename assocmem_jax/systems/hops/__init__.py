"""k hops: hidden permutations composed with those of the context; attention that doubles the hops it has made."""

from .. import Entry, Source, Wing, lazily

WING = Wing(
    __name__,
    place=7,
    names={
        "task": "Hops HopTask",
        "model": "HopTransformer",
        "observe": "hop_accuracy least_weights",
    },
    first="HopTask HopTransformer",
    theory={"hops": "theory"},
    sources={"hops": Source("k hops: Slides p. 17, and what was derived here", printed=False)},
    statements=("statements.construction",),
    studies={
        "hops.construction": Entry(
            "studies.schemas:Construction",
            "Slides p. 17: the transformer that is written down, over β: what it answers, and its least weight",
            {
                "hops_construction": (
                    "sizes=[[3, 2], [2, 4]]",
                    "betas.linear=[1.0, 8.0, 3]",
                    "contexts=8",
                    "rounds=1",
                )
            },
        ),
        "hops.training": Entry(
            "studies.schemas:Training",
            "Slides p. 17: k hops alone, in a mixture with fewer, and after fewer",
            {
                "hops_training": (
                    "values=2",
                    "hops=2",
                    "steps=6",
                    "looks=3",
                    "seeds=2",
                    "batch_size=4",
                    "held_out=4",
                ),
                "hops_training_sizes": (
                    "values=2",
                    "hops=2",
                    "steps=6",
                    "looks=3",
                    "seeds=2",
                    "batch_size=4",
                    "held_out=4",
                ),
            },
        ),
    },
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
