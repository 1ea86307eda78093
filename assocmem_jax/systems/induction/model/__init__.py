"""What learns in context: the two-layer transformer of Birth."""

from .transformer import InductionTransformer as InductionTransformer
