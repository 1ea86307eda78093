"""In-context denoising: a law seen in samples, a noisy one more; one step of attention beside Bayes."""

from .. import Entry, Source, Wing, lazily

WING = Wing(
    __name__,
    place=6,
    names={
        "task": "AbstractContextLaw Clusters Contexts DenoisingTask LinearManifold Sphere",
        "model": "EnergySteps LinearAttention SoftmaxAttention",
        "observe": "bayes_errors off_diagonal scale",
    },
    first="DenoisingTask",
    theory={"denoising": "theory"},
    sources={
        "denoising": Source("In-context denoising: Slides p. 5, and what was derived here", printed=False)
    },
    statements=("statements.denoising",),
    studies={
        "denoising.contexts": Entry(
            "studies.schemas:ContextLengths",
            "Slides p. 5: error of one step of attention over the length of the context, three laws, beside Bayes",
            {"denoising_contexts": ("lengths=[4, 8]", "sequences=32")},
        ),
        "denoising.map": Entry(
            "studies.schemas:DenoisingMap",
            "Where one step of attention is Bayes, over length, rank and noise",
            {
                "denoising_map": ("lengths=[4, 8]", "ranks=[2, 4]", "noises=[1.0]", "sequences=16"),
                "denoising_map_paper": ("lengths=[4, 8]", "ranks=[2, 4]", "noises=[1.0]", "sequences=16"),
            },
        ),
        "denoising.energy": Entry(
            "studies.schemas:EnergyDescent",
            "More steps down the energy of a context, over β",
            {
                "denoising_energy": (
                    "lengths=[4]",
                    "betas=[0.5, 1.0]",
                    "steps=[1]",
                    "sequences=16",
                    "updates=2",
                )
            },
        ),
        "denoising.trained": Entry(
            "studies.schemas:Trained",
            "What Adam makes of linear attention, beside the best scaled identity",
            {
                "denoising_trained": (
                    "lengths=[4]",
                    "dimension=4",
                    "rank=2",
                    "steps=4",
                    "held_out=16",
                    "seeds=2",
                )
            },
        ),
    },
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
