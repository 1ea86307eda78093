"""One matrix W and its kin: the memory of GD, and the capacity and scaling laws of the Slides."""

from .. import Entry, Source, Wing, lazily

WING = Wing(
    __name__,
    place=0,
    names={
        "task": "AssociationTask real_words schemes two_tokens",
        "model": "EmbeddedMemory Hermite LinearMemory LowRankMemory MLPMemory MarginSystem NormalizedMemory ParticleSystem",
        "observe": "MaxMargin gammas hessian least_error max_margin max_margin_components pairwise_margins "
        "particles plane probabilities scheme scheme_share weight_gradient weight_norm weights",
        "dynamics": "Hits time_to_perfect",
    },
    first="AssociationTask LinearMemory MarginSystem NormalizedMemory ParticleSystem time_to_perfect two_tokens",
    theory={
        "two_particles": "theory.two_particles",
        "orthogonal": "theory.orthogonal",
        "soft_labels": "theory.soft_labels",
        "equicorrelated": "theory.equicorrelated",
        "first_step": "theory.first_step",
        "forgetting": "theory.forgetting",
        "outer_product": "theory.outer_product",
        "scaling": "theory.scaling",
        "recursion": "theory.recursion",
    },
    sources={
        "gd": Source(
            "GD: Cabannes, Simsek, Bietti 2024, *Learning Associative Memories with Gradient Descent*"
        ),
        "slides": Source("Slides: Bietti 2025, *Associative Memories as a Building Block in Transformers*"),
        "beyond": Source("Beyond print: found here", printed=False),
    },
    statements=(
        "statements.one_step",
        "statements.orthogonal",
        "statements.limits",
        "statements.two_tokens",
        "statements.curvature",
        "statements.slides",
        "statements.recursion",
        "statements.beyond",
    ),
    studies={
        "gd.landscape": Entry(
            "studies.schemas:Landscape",
            "GD Figure 1: level lines of loss and error, two tokens",
            {
                "gd_fig1": (
                    "resolution=6",
                    "alphas=[0.95]",
                ),
            },
        ),
        "gd.loss_spikes": Entry(
            "studies.schemas:LossSpikes",
            "GD Figure 2: descent of two tokens, loss spikes",
            {
                "gd_fig2": (
                    "resolution=6",
                    "horizon=60",
                ),
            },
        ),
        "gd.learning_rates": Entry(
            "studies.schemas:LearningRates",
            "GD Figure 3: steps to perfect accuracy (a sweep)",
            {
                "gd_fig3": (
                    "learning_rate.log=[0.1, 10.0, 3]",
                    "alpha.linear=[0.5, 1.0, 3]",
                    "steps=40",
                ),
            },
        ),
        "gd.limited_capacity": Entry(
            "studies.schemas:LimitedCapacity",
            "GD Figure 4: minimisers that forget",
            {
                "gd_fig4": (
                    "resolution=6",
                    "sgd.runs=3",
                    "sgd.steps=40",
                ),
            },
        ),
        "gd.sharpness": Entry(
            "studies.schemas:SharpnessProfile",
            "GD Figure 5: sharpness along descent",
            {
                "gd_fig5": (
                    "resolution=6",
                    "horizon=200",
                ),
            },
        ),
        "gd.large_memory": Entry(
            "studies.schemas:LargeMemory",
            "GD Figure 6: margins of five tokens in d dimensions",
            {
                "gd_fig6": ("horizon=100",),
            },
        ),
        "gd.diffusion": Entry(
            "studies.stochastic_schemas:Diffusion",
            "GD (6) for (7): diffusions that stand for SGD",
            {
                "gd_diffusion": (
                    "learning_rates=[1.0, 2.0]",
                    "horizon=2.0",
                    "steps=4",
                    "runs=40",
                ),
            },
        ),
        "theory.refuted": Entry(
            "studies.schemas:Refuted",
            "docs/theory.md: printed bounds of GD, crossed",
            {
                "theory_refuted": (),
            },
        ),
        "beyond.bifurcation": Entry(
            "studies.schemas:Bifurcation",
            "beyond the edge of stability: iterates, exponents, sharpness",
            {
                "bifurcation": (
                    "rates=16",
                    "kept=32",
                    "transient=500",
                ),
            },
        ),
        "beyond.schedule": Entry(
            "studies.schemas:Schedule",
            "learned schedules against the best constant rate",
            {
                "schedule": (
                    "constants=200",
                    "longest=2",
                    "iterations=40",
                    "starts=4",
                ),
            },
        ),
        "gd.curricula": Entry(
            "studies.schemas:Curricula",
            "GD sections 2 and 6: orders of data, given and learned",
            {
                "gd_curricula": (
                    'systems=[{name="small", tokens=5, dimension=3, classes=2, learning_rate=3.0}]',
                    "horizon=20",
                    "longest=2",
                    "iterations=10",
                    "starts=2",
                ),
            },
        ),
        "beyond.real_words": Entry(
            "studies.real_schema:RealWords",
            "real words: embeddings of a language model in a memory",
            {
                "real_words": (
                    "written.sizes=[20]",
                    "search.dimensions=[4]",
                    "search.largest=8",
                    "search.steps=40",
                    "pairs.nearest=4",
                    "pairs.learning_rates.log=[1.0, 10.0, 4]",
                    "pairs.horizon=60",
                    "optimizers.tokens=20",
                    "optimizers.steps=4",
                    "optimizers.sgd.log=[1.0, 10.0, 3]",
                    "optimizers.adam.log=[0.01, 0.1, 3]",
                    "optimizers.sign.log=[0.001, 0.1, 3]",
                    "edge.tokens=20",
                    "edge.steps=10",
                    "edge.looks=4",
                ),
            },
        ),
        "slides.sizes": Entry(
            "studies.schemas:Sizes",
            "Slides p. 6–9: N₉₉ of written, low-rank and trained memories",
            {
                "slides_sizes_linear": (
                    'families=[{label="W", panel="one", memory="linear", sphere=true, dimensions=[4, 6], largest=[16, 32], steps=60, learning_rate=0.5, seeds=4}]',
                    "target=0.8",
                ),
                "slides_sizes_mlp": (
                    'families=[{label="m = d", panel="one", memory="mlp", sphere=true, dimensions=[4, 6], widths=[8, 12], largest=[16, 32], steps=60, seeds=4}]',
                    "target=0.6",
                ),
                "slides_sizes_pairs": (
                    'families=[{label="W", panel="one", memory="linear", classes=2, random=true, pairs=true, dimensions=[4, 6], largest=[16, 16], steps=40, learning_rate=1, seeds=4}]',
                    "target=0.8",
                ),
                "slides_sizes_rank": (
                    'families=[{label="low", panel="one", memory="low rank", dimensions=[32, 32], widths=[8, 16], largest=[32, 48]}, {label="kernel", panel="one", memory="kernel", dimensions=[8, 8], widths=[16, 64], largest=[16, 48]}]',
                    "target=0.8",
                ),
                "slides_sizes_written": (
                    'families=[{label="all", panel="one", memory="written", dimensions=[16, 32, 48], largest=[24, 48, 96]}]',
                    "target=0.9",
                ),
            },
        ),
        "slides.error": Entry(
            "studies.schemas:ErrorLaw",
            "Slides p. 31–33: error over d, over n, over both",
            {
                "slides_error_d": (
                    "tokens=60",
                    "dimensions=[8, 16, 32, 64]",
                    "trials=4",
                ),
                "slides_error_map": (
                    "tokens=30",
                    "dimensions=[8, 12, 16, 24, 32, 48]",
                    "samples=[5, 10, 20, 40, 80, 160]",
                    "trials=2",
                ),
                "slides_error_n": (
                    "tokens=60",
                    "dimensions=[8, 32]",
                    "samples=[5, 20, 80]",
                    "trials=4",
                ),
                "slides_error_wide": (
                    "tokens=20",
                    "dimensions=[8, 16, 32]",
                    "trials=4",
                ),
            },
        ),
        "slides.sights": Entry(
            "studies.stochastic_schemas:Sights",
            "Slides p. 34: batches of one, q against its recursion",
            {
                "slides_sights": (
                    "tokens=6",
                    "classes=3",
                    "dimensions=[8, 16, 32]",
                    "samples=20",
                    "trials=3",
                ),
            },
        ),
        "slides.runs": Entry(
            "studies.stochastic_schemas:Runs",
            "Slides p. 34: step decay; learned embeddings",
            {
                "slides_decay": (
                    'cases=[{label="10 → .3", tokens=6, dimension=4, classes=3, learning_rate=10, later=0.3, switch=20, steps=40}]',
                    "trials=3",
                    "looks=3",
                ),
                "slides_learned": (
                    'cases=[{label="learned", memory="learned", tokens=6, dimension=4, classes=3, learning_rate=1, steps=40, batch=4, random_start=true}]',
                    "trials=3",
                    "looks=3",
                ),
            },
        ),
        "slides.optimizers": Entry(
            "studies.schemas:Optimizers",
            "Slides p. 34: optimizers as memory schemes",
            {
                "slides_optimizers": (
                    "dimensions=[6]",
                    "samples=512",
                    "trials=2",
                    "at=6",
                    "tokens=20",
                    'cases=[{label="SGD", optimizer="sgd", learning_rate=1, batch=64}, {label="Adam", optimizer="adam", learning_rate=1, batch=64, norm=true, scale_by_dimension=true}]',
                ),
                "slides_optimizers_paper": (
                    "dimensions=[6]",
                    "samples=128",
                    "trials=2",
                    "at=6",
                    "tokens=20",
                    "grid.rates=[1.0, 10.0]",
                    "grid.batches=[32, 64]",
                    'grid.optimizers=["adam"]',
                ),
                "slides_sign_descent": (
                    "trials=3",
                    "samples=20",
                    "looks=4",
                ),
            },
        ),
    },
)

__all__ = sorted(WING.homes())  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(WING.homes(), globals())
