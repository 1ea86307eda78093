"""The two-layer transformer that grows an induction head on text with in-context bigrams: Birth."""

from .. import Entry, Source, Wing, lazily

WING = Wing(
    __name__,
    place=2,
    names={
        "task": "BigramTask NoisyCopyTask Sequences",
        "model": "InductionTransformer NoisyCopySystem Patched ablated patched",
        "dynamics": "time_to_overtake",
        "observe": "answer_accuracy answer_loss answer_probability attention_maps bigram_divergence "
        "follows_bigram follows_head global_loss head_effects in_context_accuracy in_context_loss "
        "margins_key1 margins_key2 margins_output2 memory memory_margins noise_loss noise_probability "
        "one_step_recall recall_key1 "
        "recall_key1_early recall_key2 recall_output2",
    },
    first="BigramTask InductionTransformer",
    theory={"induction": "theory.first_steps", "context": "theory.context"},
    sources={
        "birth": Source("Birth: Bietti et al. 2023, *Birth of a Transformer: A Memory Viewpoint*"),
        "context": Source(
            "Context: Slides p. 30, and Chen, Bruna, Bietti 2024, *Distributional Associations vs "
            "In-Context Reasoning*"
        ),
    },
    statements=(
        "statements.lemmas",
        "statements.attention",
        "statements.three_steps",
        "statements.constructions",
        "statements.context",
    ),
    studies={
        "birth.induction": Entry(
            "studies.schemas:Induction",
            "Birth: an induction head forms; freezing, data, depth, maps",
            {
                "birth_fig10": (
                    "steps=2",
                    "length=24",
                    "batch=4",
                    "width=8",
                    "held_out=6",
                    "every=1",
                ),
                "birth_fig11": (
                    "steps=2",
                    "length=24",
                    "batch=4",
                    "width=8",
                    "held_out=6",
                    "every=1",
                ),
                "birth_fig2": (
                    "steps=2",
                    "length=24",
                    "batch=4",
                    "width=8",
                    "held_out=6",
                    "every=1",
                ),
                "birth_fig2_paper": (
                    "steps=2",
                    "length=24",
                    "batch=4",
                    "width=8",
                    "held_out=6",
                    "every=1",
                    "checkpoint_every=2",
                ),
                "birth_fig3": (
                    "steps=4",
                    "length=16",
                    "batch=4",
                    "width=8",
                    "frozen_until=2",
                    "every=2",
                    "seeds=2",
                ),
                "birth_fig4_data": (
                    "steps=2",
                    "length=16",
                    "batch=4",
                    "width=8",
                    "every=1",
                ),
                "birth_fig4_order": (
                    "steps=2",
                    "length=16",
                    "batch=4",
                    "width=8",
                    "held_out=6",
                    "every=1",
                    "seeds=2",
                ),
                "birth_fig4_outputs": (
                    "steps=2",
                    "length=16",
                    "batch=4",
                    "width=8",
                    "every=1",
                ),
                "birth_fig4_probes": (
                    "steps=2",
                    "length=16",
                    "batch=4",
                    "width=8",
                    "every=1",
                ),
                "birth_layers": (
                    "steps=4",
                    "length=16",
                    "batch=4",
                    "width=8",
                    "every=2",
                    "checkpoint_every=2",
                ),
            },
        ),
        "birth.three_steps": Entry(
            "studies.schemas:ThreeSteps",
            "Birth Theorem 3: three gradient steps, each measured",
            {
                "birth_three_steps": (
                    "tokens=8",
                    "length=6",
                    "widths=[16]",
                    "samples=512",
                    "chunk=256",
                    "seeds=2",
                ),
            },
        ),
        "birth.constructed": Entry(
            "studies.schemas:Constructed",
            "Birth Figure 1: constructed weights, recall and accuracy",
            {
                "birth_fig1": (
                    "widths=[16, 32]",
                    "held_out=8",
                    "seeds=2",
                ),
            },
        ),
        "birth.dimension": Entry(
            "studies.schemas:Dimension",
            "Birth Figure 8: recall of W_O² over the width",
            {
                "birth_fig8": (
                    "widths=[8, 16]",
                    "reference_width=16",
                    "steps=10",
                    "length=16",
                    "batch=4",
                ),
            },
        ),
        "birth.one_step": Entry(
            "studies.schemas:OneStep",
            "Birth Figure 9: recall of one gradient step on W_O²",
            {
                "birth_fig9": (
                    "length=16",
                    "batch=4",
                    "batches=[1, 2]",
                    "widths=[8, 16]",
                    "seeds=2",
                ),
            },
        ),
        "context.overtaking": Entry(
            "studies.context_schemas:Overtaking",
            "Slides p. 30: when the answer overtakes the noise, on the law (a sweep)",
            {
                "context_overtaking": (
                    "tokens.log=[16.0, 512.0, 4]",
                    "noise.linear=[0.01, 0.45, 5]",
                ),
            },
        ),
        "context.samples": Entry(
            "studies.context_schemas:Samples",
            "Slides p. 30: samples that feed-forward and attention need, on exact laws",
            {
                "context_samples": (
                    "tokens=8",
                    "samples=[2, 8]",
                    "trials=20",
                ),
            },
        ),
        "context.truncation": Entry(
            "studies.context_schemas:Truncation",
            "Slides p. 30: truncating the MLP of a trained model, or of one of yours",
            {
                "context_truncation": (
                    "length=16",
                    "batch=4",
                    "width=8",
                    "hidden=8",
                    "held_out=16",
                    "steps=2",
                    "every=1",
                    "ranks=[0, 8]",
                    "seeds=2",
                ),
                "context_truncation_paper": (
                    "length=16",
                    "batch=4",
                    "width=8",
                    "hidden=8",
                    "held_out=16",
                    "steps=2",
                    "every=1",
                    "ranks=[0, 8]",
                    "seeds=2",
                ),
            },
        ),
        "gd.induction": Entry(
            "studies.schemas:FullBatch",
            "GD Figure 7: full-batch training of an induction head",
            {
                "gd_fig7": (
                    'groups=[{trained="all", width=8, rates=[1, 2], sequences=6, length=12, steps=4}]',
                ),
            },
        ),
    },
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
