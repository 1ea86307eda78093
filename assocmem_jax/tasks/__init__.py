"""Laws of data: what is learned."""

from . import embeddings as embeddings
from . import laws as laws
from . import losses as losses
from .base import AbstractClassificationTask as AbstractClassificationTask
from .base import AbstractTask as AbstractTask
from .losses import cross_entropy as cross_entropy
