# Generated from the manifests by `python scripts/stubs.py`.
from .. import Wing
from .model import HopTransformer as HopTransformer
from .observe import hop_accuracy as hop_accuracy
from .observe import least_weights as least_weights
from .task import HopTask as HopTask
from .task import Hops as Hops

WING: Wing
