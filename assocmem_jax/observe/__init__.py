"""Observables: pure functions ``(task, model) -> array``."""

from .curvature import edge_of_stability as edge_of_stability
from .curvature import hessian_operator as hessian_operator
from .curvature import sharpness as sharpness
from .curvature import sharpness_residual as sharpness_residual
from .gradient import gradient as gradient
from .gradient import gradient_norm as gradient_norm
from .information import bits_per_parameter as bits_per_parameter
from .information import num_parameters as num_parameters
from .observable import observable as observable
from .quality import error as error
from .quality import loss as loss
from .quality import margins as margins
from .spectrum import singular_values as singular_values
from .spectrum import soft_rank as soft_rank
