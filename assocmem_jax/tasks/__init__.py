"""Laws of data: what is learned."""

from . import embeddings as embeddings
from . import laws as laws
from . import schemes as schemes
from .association import AssociationTask as AssociationTask
from .association import cross_entropy as cross_entropy
from .association import two_tokens as two_tokens
from .base import AbstractTask as AbstractTask
from .bigram import BigramTask as BigramTask
from .bigram import Sequences as Sequences
from .cooccurrence import CooccurrenceTask as CooccurrenceTask
from .retrieval import RetrievalTask as RetrievalTask
