# Generated from the manifests by `python scripts/stubs.py`.
from .. import Wing
from .model import AbstractEnergyMemory as AbstractEnergyMemory
from .model import AttentionMemory as AttentionMemory
from .model import DenseMemory as DenseMemory
from .model import HopfieldNetwork as HopfieldNetwork
from .model import signs as signs
from .observe import overlaps as overlaps
from .task import RetrievalTask as RetrievalTask

WING: Wing
