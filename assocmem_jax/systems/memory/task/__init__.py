"""Tokens and their answers, and the schemes by which a memory may hold them."""

from . import schemes as schemes
from .association import AssociationTask as AssociationTask
from .association import two_tokens as two_tokens
from .words import real_words as real_words
