# Generated from the manifests by `python scripts/stubs.py`.
from .. import Wing
from .dynamics import scores_moved as scores_moved
from .model import CooccurrenceHeads as CooccurrenceHeads
from .model import CooccurrenceLayers as CooccurrenceLayers
from .model import CooccurrenceSystem as CooccurrenceSystem
from .model import CooccurrenceTransformer as CooccurrenceTransformer
from .model import SixVariableSystem as SixVariableSystem
from .observe import attention_scores as attention_scores
from .observe import attention_weights as attention_weights
from .observe import balance as balance
from .observe import gradient_sums as gradient_sums
from .observe import invariants as invariants
from .observe import kind_losses as kind_losses
from .observe import token_values as token_values
from .observe import value_correlations as value_correlations
from .task import CooccurrenceTask as CooccurrenceTask

WING: Wing
