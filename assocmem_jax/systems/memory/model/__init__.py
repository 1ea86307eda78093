"""What holds associations: a matrix, its scores and margins alone, two matrices."""

from .embedded import EmbeddedMemory as EmbeddedMemory
from .linear import LinearMemory as LinearMemory
from .linear import NormalizedMemory as NormalizedMemory
from .particles import MarginSystem as MarginSystem
from .particles import ParticleSystem as ParticleSystem
from .two_layer import Hermite as Hermite
from .two_layer import LowRankMemory as LowRankMemory
from .two_layer import MLPMemory as MLPMemory
