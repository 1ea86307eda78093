"""The transformer of Cooc: one layer, several heads, two layers; the systems that one layer closes in."""

from .heads import CooccurrenceHeads as CooccurrenceHeads
from .layers import CooccurrenceLayers as CooccurrenceLayers
from .systems import CooccurrenceSystem as CooccurrenceSystem
from .systems import SixVariableSystem as SixVariableSystem
from .transformer import CooccurrenceTransformer as CooccurrenceTransformer
from .transformer import attended as attended
