# Generated from the manifests by `python scripts/stubs.py`.
from .. import Wing
from .model import FactualSystem as FactualSystem
from .model import FactualTransformer as FactualTransformer
from .model import LinearAttentionRecall as LinearAttentionRecall
from .observe import accuracy as accuracy
from .observe import balancedness as balancedness
from .observe import probability_right as probability_right
from .observe import relation_accuracy as relation_accuracy
from .observe import relation_loss as relation_loss
from .observe import relation_recall as relation_recall
from .observe import subject_loss as subject_loss
from .observe import subject_recall as subject_recall
from .task import FactualTask as FactualTask
from .task import Questions as Questions

WING: Wing
