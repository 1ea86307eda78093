"""What learns: Equinox modules that declare which of their leaves are trained."""

from .base import AbstractModel as AbstractModel
from .base import AbstractReducedSystem as AbstractReducedSystem
from .base import AbstractSequenceModel as AbstractSequenceModel
from .base import AbstractWeights as AbstractWeights
from .base import HasHeads as HasHeads
from .base import HasScores as HasScores
from .transformer import Transformer as Transformer
from .truncation import truncated as truncated
