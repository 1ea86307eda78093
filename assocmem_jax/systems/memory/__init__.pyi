# Generated from the manifests by `python scripts/stubs.py`.
from .. import Wing
from .dynamics import Hits as Hits
from .dynamics import time_to_perfect as time_to_perfect
from .model import EmbeddedMemory as EmbeddedMemory
from .model import Hermite as Hermite
from .model import LinearMemory as LinearMemory
from .model import LowRankMemory as LowRankMemory
from .model import MLPMemory as MLPMemory
from .model import MarginSystem as MarginSystem
from .model import NormalizedMemory as NormalizedMemory
from .model import ParticleSystem as ParticleSystem
from .observe import MaxMargin as MaxMargin
from .observe import gammas as gammas
from .observe import hessian as hessian
from .observe import least_error as least_error
from .observe import max_margin as max_margin
from .observe import max_margin_components as max_margin_components
from .observe import pairwise_margins as pairwise_margins
from .observe import particles as particles
from .observe import plane as plane
from .observe import probabilities as probabilities
from .observe import scheme as scheme
from .observe import scheme_share as scheme_share
from .observe import weight_gradient as weight_gradient
from .observe import weight_norm as weight_norm
from .observe import weights as weights
from .task import AssociationTask as AssociationTask
from .task import real_words as real_words
from .task import schemes as schemes
from .task import two_tokens as two_tokens

WING: Wing
