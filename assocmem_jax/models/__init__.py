"""What learns: Equinox modules that declare which of their leaves are trained."""

from .base import AbstractModel as AbstractModel
from .base import AbstractReducedSystem as AbstractReducedSystem
from .base import AbstractSequenceModel as AbstractSequenceModel
from .cooccurrence import CooccurrenceSystem as CooccurrenceSystem
from .cooccurrence import CooccurrenceTransformer as CooccurrenceTransformer
from .cooccurrence import SixVariableSystem as SixVariableSystem
from .energy import AbstractEnergyMemory as AbstractEnergyMemory
from .energy import AttentionMemory as AttentionMemory
from .energy import DenseMemory as DenseMemory
from .energy import HopfieldNetwork as HopfieldNetwork
from .induction import InductionTransformer as InductionTransformer
from .memory import LinearMemory as LinearMemory
from .memory import NormalizedMemory as NormalizedMemory
from .particles import MarginSystem as MarginSystem
from .particles import ParticleSystem as ParticleSystem
from .transformer import Transformer as Transformer
from .two_layer import Hermite as Hermite
from .two_layer import LowRankMemory as LowRankMemory
from .two_layer import MLPMemory as MLPMemory
