"""The one-layer transformer that recognises word co-occurrence, and the systems it closes in: Cooc."""

from .. import Entry, Source, Wing, lazily

WING = Wing(
    __name__,
    place=3,
    names={
        "task": "CooccurrenceTask",
        "model": "CooccurrenceHeads CooccurrenceLayers CooccurrenceSystem CooccurrenceTransformer "
        "SixVariableSystem",
        "observe": "attention_scores attention_weights balance gradient_sums invariants kind_losses token_values "
        "value_correlations",
        "dynamics": "scores_moved",
    },
    first="CooccurrenceTask CooccurrenceTransformer",
    theory={"cooccurrence": "theory"},
    sources={
        "cooc": Source(
            "Cooc: Yang et al. 2024, *Training Dynamics of Transformers to Recognize Word Co-occurrence*"
        ),
    },
    statements=(
        "statements.gradients",
        "statements.phases",
        "statements.rates",
        "statements.layers",
    ),
    studies={
        "cooc.two_phases": Entry(
            "studies.schemas:TwoPhases",
            "Cooc Figure 1: two phases; balancing, 1/t, learned attention",
            {
                "cooc_fig1": (
                    "steps=200",
                    "width=16",
                    "neurons=8",
                    "test_samples=50",
                    "start.gain=0.5",
                ),
                "cooc_heads": (
                    "steps=400",
                    "width=16",
                    "neurons=8",
                    "test_samples=50",
                    "start.c0=1.0",
                    "start.c1=1.0",
                ),
                "cooc_layers": (
                    "steps=400",
                    "width=16",
                    "neurons=8",
                    "test_samples=50",
                    "start.c0=1.0",
                    "start.c1=1.0",
                ),
                "cooc_fig1_small": (
                    "steps=400",
                    "width=16",
                    "neurons=8",
                    "test_samples=50",
                    "start.c0=1.0",
                    "start.c1=1.0",
                ),
            },
        ),
        "cooc.rates": Entry(
            "studies.schemas:Rates",
            "Cooc Theorem 3.3: orders of scores, law of the late loss",
            {
                "cooc_rates": (
                    "samples=12",
                    "length=3",
                    "width=32",
                    "neurons=8",
                    "widths=[64, 128]",
                    "neuron_counts=[16, 32]",
                    "lengths=[4, 5]",
                    "sample_counts=[18, 24]",
                    "target=0.4",
                    "seeds=2",
                    "horizon=100.0",
                ),
            },
        ),
        "cooc.phase_one": Entry(
            "studies.schemas:PhaseOne",
            "Cooc: the time of Phase 1 over sizes and scales (a sweep)",
            {
                "cooc_phase_one": (
                    "seeds=2",
                    "c0=[0.3, 1.0]",
                    "c1=[0.6, 1.0]",
                    "neurons=16",
                    "steps=2000",
                    "dimension=20",
                ),
            },
        ),
    },
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
