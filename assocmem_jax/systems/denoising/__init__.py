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
    sources={"denoising": Source("In-context denoising: Slides p. 5, and what was derived here", printed=False)},
    statements=("statements.denoising",),
    studies={
        "denoising.contexts": Entry(
            "studies.schemas:ContextLengths",
            "Slides p. 5: error of one step of attention over the length of the context, three laws, beside Bayes",
            {"denoising_contexts": ("lengths=[4, 8]", "sequences=32")},
        ),
    },
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
