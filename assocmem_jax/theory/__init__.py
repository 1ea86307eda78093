"""What must happen: closed forms, bounds and invariants. Imports nothing of the simulator.

Functions take numbers and arrays (and read p(x) and embeddings off a task where that is kinder);
they broadcast, jit, vmap and differentiate. Every docstring says where we differ from print.
"""

from . import cooccurrence as cooccurrence
from . import equicorrelated as equicorrelated
from . import first_step as first_step
from . import forgetting as forgetting
from . import hopfield as hopfield
from . import induction as induction
from . import orthogonal as orthogonal
from . import outer_product as outer_product
from . import scaling as scaling
from . import soft_labels as soft_labels
from . import two_particles as two_particles
from .special import exponential_root as exponential_root
from .special import growth as growth
from .special import lam as lam
from .special import lambert_w0 as lambert_w0
from .special import lambert_wm1 as lambert_wm1
