"""What a memory shows: scores, coordinates of the papers, curvature, separation, the scheme it holds."""

from .curvature import hessian as hessian
from .reading import gammas as gammas
from .reading import pairwise_margins as pairwise_margins
from .reading import particles as particles
from .reading import plane as plane
from .reading import probabilities as probabilities
from .reading import weight_gradient as weight_gradient
from .reading import weight_norm as weight_norm
from .reading import weights as weights
from .schemes import scheme as scheme
from .schemes import scheme_share as scheme_share
from .separation import MaxMargin as MaxMargin
from .separation import least_error as least_error
from .separation import max_margin as max_margin
from .separation import max_margin_components as max_margin_components
