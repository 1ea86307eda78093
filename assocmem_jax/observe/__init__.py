"""Observables: pure functions ``(task, model) -> array``."""

from .curvature import edge_of_stability as edge_of_stability
from .curvature import hessian as hessian
from .curvature import hessian_operator as hessian_operator
from .curvature import lanczos_top as lanczos_top
from .curvature import sharpness as sharpness
from .gradient import gradient as gradient
from .gradient import gradient_norm as gradient_norm
from .gradient import weight_gradient as weight_gradient
from .gradient import weight_norm as weight_norm
from .quality import error as error
from .quality import gammas as gammas
from .quality import loss as loss
from .quality import margins as margins
from .quality import pairwise_margins as pairwise_margins
from .quality import particles as particles
from .quality import plane as plane
from .quality import probabilities as probabilities
from .quality import weights as weights
from .separation import MaxMargin as MaxMargin
from .separation import least_error as least_error
from .separation import max_margin as max_margin
from .separation import max_margin_components as max_margin_components
