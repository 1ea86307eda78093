"""Sequences in which something can be copied from the context."""

from .bigram import BigramTask as BigramTask
from .copy import NoisyCopyTask as NoisyCopyTask
from .sampling import Sequences as Sequences
from .sampling import second_trigger as second_trigger
