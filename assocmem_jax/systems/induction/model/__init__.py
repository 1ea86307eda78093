"""What learns in context: the two-layer transformer of Birth, and three numbers of one with noise."""

from .copy import NoisyCopySystem as NoisyCopySystem
from .transformer import InductionTransformer as InductionTransformer
from .transformer import Patched as Patched
from .transformer import ablated as ablated
from .transformer import patched as patched
