"""Learning through noise at finite width: one noisy step, and attention that finds a trigger in three."""

from .. import Entry, Source, Wing, lazily

WING = Wing(
    __name__,
    place=5,
    names={
        "task": "Sequences TriggerTask",
        "model": "ThreeSteps TriggerAttention noisy_step_recall population_key three_steps three_steps_on",
        "observe": "accuracy attention_right",
    },
    first="TriggerAttention TriggerTask",
    theory={"noise": "theory"},
    sources={"noise": Source("Noise: Slides p. 18, 29–30, and what was derived here", printed=False)},
    statements=("statements.noise",),
    studies={
        "noise.one_step": Entry(
            "studies.schemas:OneStep",
            "Slides p. 18: recall after one step on noisy inputs, and its closed form",
            {"noise_one_step": ("tokens=[16]", "dimensions=[16, 32]", "seeds=2")},
        ),
        "noise.map": Entry(
            "studies.schemas:NoiseMap",
            "Slides p. 29–30: where three steps find the trigger, over d and n",
            {
                "noise_map": (
                    "tokens=16",
                    "lengths=[4]",
                    "dimensions=[4, 8]",
                    "sequences=[16, 32]",
                    "seeds=2",
                ),
            },
        ),
        "noise.law": Entry(
            "studies.schemas:NoiseLaw",
            "Slides p. 29–30: the width that attention needs over T and n, claimed and derived",
            {
                "noise_law": (
                    "tokens=16",
                    "lengths=[8]",
                    "sequences=[64]",
                    'batches=["same"]',
                    "seeds=4",
                    "resolution=0.2",
                ),
                "noise_law_paper": (
                    "tokens=16",
                    "lengths=[8]",
                    "sequences=[64]",
                    'batches=["fresh"]',
                    "seeds=4",
                    "resolution=0.2",
                ),
            },
        ),
    },
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
