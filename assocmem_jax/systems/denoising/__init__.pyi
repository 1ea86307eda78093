# Generated from the manifests by `python scripts/stubs.py`.
from .. import Wing
from .model import EnergySteps as EnergySteps
from .model import LinearAttention as LinearAttention
from .model import SoftmaxAttention as SoftmaxAttention
from .observe import bayes_errors as bayes_errors
from .observe import off_diagonal as off_diagonal
from .observe import scale as scale
from .task import AbstractContextLaw as AbstractContextLaw
from .task import Clusters as Clusters
from .task import Contexts as Contexts
from .task import DenoisingTask as DenoisingTask
from .task import LinearManifold as LinearManifold
from .task import Sphere as Sphere

WING: Wing
