"""How it learns: strategy objects that own their horizon, and the one door that runs them.

What integrates is loaded on first use: diffrax takes half a second, and a descent does not need it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .base import AbstractDynamics as AbstractDynamics
from .base import AbstractSteps as AbstractSteps
from .base import Request as Request
from .checkpoint import CheckpointError as CheckpointError
from .checkpoint import in_segments as in_segments
from .checkpoint import load as load
from .checkpoint import save as save
from .curriculum import Curriculum as Curriculum
from .descent import Descent as Descent
from .events import Until as Until
from .events import loss_below as loss_below
from .events import margin_above as margin_above
from .events import perfect_accuracy as perfect_accuracy
from .minibatch import MinibatchNoise as MinibatchNoise
from .records import concat as concat
from .simulate import simulate as simulate
from .trajectory import SimulationError as SimulationError
from .trajectory import Status as Status
from .trajectory import Trajectory as Trajectory

if TYPE_CHECKING:
    from .flow import GradientFlow as GradientFlow
    from .stochastic import StochasticFlow as StochasticFlow

_LATER = {"GradientFlow": ".flow", "StochasticFlow": ".stochastic"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name], __name__), name)
