"""A differentiable simulator of how associative memories learn. See the README for a tour.

Names are loaded on first use (SPEC 1): importing this package does not import JAX.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_ROOMS = {
    "tasks": (
        "AbstractTask",
        "AssociationTask",
        "BigramTask",
        "CooccurrenceTask",
        "RetrievalTask",
        "Sequences",
        "cross_entropy",
        "embeddings",
        "laws",
        "schemes",
        "two_tokens",
    ),
    "models": (
        "AbstractEnergyMemory",
        "AbstractModel",
        "AbstractReducedSystem",
        "AbstractSequenceModel",
        "AttentionMemory",
        "CooccurrenceSystem",
        "CooccurrenceTransformer",
        "DenseMemory",
        "Hermite",
        "HopfieldNetwork",
        "InductionTransformer",
        "LinearMemory",
        "LowRankMemory",
        "MLPMemory",
        "MarginSystem",
        "NormalizedMemory",
        "ParticleSystem",
        "SixVariableSystem",
        "Transformer",
    ),
    "observe": (
        "MaxMargin",
        "attention_maps",
        "attention_scores",
        "attention_weights",
        "balance",
        "bigram_divergence",
        "edge_of_stability",
        "error",
        "gammas",
        "global_loss",
        "gradient",
        "gradient_norm",
        "gradient_sums",
        "hessian",
        "hessian_operator",
        "in_context_accuracy",
        "in_context_loss",
        "invariants",
        "kind_losses",
        "lanczos_top",
        "least_error",
        "loss",
        "margins",
        "margins_key1",
        "margins_key2",
        "margins_output2",
        "max_margin",
        "max_margin_components",
        "memory",
        "memory_margins",
        "one_step_recall",
        "overlaps",
        "pairwise_margins",
        "particles",
        "plane",
        "probabilities",
        "recall_key1",
        "recall_key1_early",
        "recall_key2",
        "recall_output2",
        "scheme",
        "scheme_share",
        "sharpness",
        "token_values",
        "value_correlations",
        "weight_gradient",
        "weight_norm",
        "weights",
    ),
    "dynamics": (
        "CheckpointError",
        "Descent",
        "GradientFlow",
        "Hits",
        "SimulationError",
        "Status",
        "StochasticFlow",
        "Trajectory",
        "Until",
        "in_segments",
        "load",
        "loss_below",
        "margin_above",
        "perfect_accuracy",
        "save",
        "scores_moved",
        "simulate",
        "time_to_perfect",
    ),
    "sweeps": (
        "Capacity",
        "Integers",
        "LogUniform",
        "Outcome",
        "PowerLaw",
        "SlurmExecutor",
        "StoreError",
        "SweepError",
        "Uniform",
        "capacity",
        "open_store",
        "over_seeds",
        "power_law",
        "sampled",
        "sweep",
        "zipped",
    ),
    "statements": (
        "Claim",
        "Statement",
        "at_least",
        "at_most",
        "check",
        "equal",
        "shrink",
        "statement",
    ),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}
_MODULES = ("plot", "statements", "theory")

__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)


if TYPE_CHECKING:  # the same names, for type checkers
    from . import plot as plot
    from . import statements as statements
    from . import theory as theory
    from .dynamics import *  # noqa: F403
    from .models import *  # noqa: F403
    from .observe import *  # noqa: F403
    from .statements import *  # noqa: F403
    from .sweeps import *  # noqa: F403
    from .tasks import *  # noqa: F403
