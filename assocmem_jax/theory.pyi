# Generated from the manifests by `python scripts/stubs.py`.
from .numerics import information as information
from .numerics.special import exponential_root as exponential_root
from .numerics.special import growth as growth
from .numerics.special import lam as lam
from .numerics.special import lambert_w0 as lambert_w0
from .numerics.special import lambert_wm1 as lambert_wm1
from .systems.cooccurrence import theory as cooccurrence
from .systems.induction import theory as induction
from .systems.memory.theory import equicorrelated as equicorrelated
from .systems.memory.theory import first_step as first_step
from .systems.memory.theory import forgetting as forgetting
from .systems.memory.theory import orthogonal as orthogonal
from .systems.memory.theory import outer_product as outer_product
from .systems.memory.theory import scaling as scaling
from .systems.memory.theory import soft_labels as soft_labels
from .systems.memory.theory import two_particles as two_particles
from .systems.retrieval import theory as hopfield
