"""What recalls facts: linear attention on one-hot tokens, and the two halves its symmetric flow closes in."""

from .linear import LinearAttentionRecall as LinearAttentionRecall
from .system import FactualSystem as FactualSystem
from .transformer import FactualTransformer as FactualTransformer
