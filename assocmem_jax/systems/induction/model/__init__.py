"""What learns in context: the two-layer transformer of Birth, and three numbers of one with noise."""

from .copy import NoisyCopySystem as NoisyCopySystem
from .transformer import InductionTransformer as InductionTransformer
