"""A differentiable simulator of how associative memories learn. See the README for a tour.

Names are loaded on first use (SPEC 1): importing this package does not import JAX. What belongs to one
system is reached through its wing (``am.induction.recall_key1``); what users meet first stands here.
"""

from .systems import lazily as _lazily
from .systems import wings as _wings

__version__ = "0.1.0"

# The engine's rooms and what each holds for users.
_ROOMS = {
    "tasks": "AbstractClassificationTask AbstractTask cross_entropy embeddings laws losses",
    "models": "AbstractModel AbstractReducedSystem AbstractSequenceModel AbstractWeights Transformer "
    "truncated",
    "observe": "bits_per_parameter edge_of_stability error gradient gradient_norm hessian_operator loss "
    "margins num_parameters observable sharpness sharpness_residual singular_values soft_rank",
    "numerics.lanczos": "lanczos_top",
    "dynamics": "AbstractDynamics AbstractSteps CheckpointError Curriculum Descent GradientFlow "
    "MinibatchNoise SimulationError Status StochasticFlow Trajectory Until concat "
    "in_segments load loss_below margin_above perfect_accuracy save simulate",
    "sweeps": "Capacity Integers LogUniform Outcome PowerLaw SlurmExecutor StoreError SweepError Threshold "
    "Uniform capacity open_store over_seeds power_law sampled sweep threshold zipped",
    "statements": "Claim Statement at_least at_most check equal shrink statement",
}
_HOMES = {
    **{name: f"{__name__}.{room}:{name}" for room, names in _ROOMS.items() for name in names.split()},
    **{name: f"{__name__}.{name}" for name in ("plot", "statements", "theory")},
    **{name: wing.package for name, wing in _wings().items()},
    **{name: wing.homes()[name] for wing in _wings().values() for name in wing.first.split()},
}

__all__ = ["__version__", *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = _lazily(_HOMES, globals())
