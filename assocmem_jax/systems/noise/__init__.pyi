# Generated from the manifests by `python scripts/stubs.py`.
from .. import Wing
from .model import ThreeSteps as ThreeSteps
from .model import TriggerAttention as TriggerAttention
from .model import noisy_step_recall as noisy_step_recall
from .model import population_key as population_key
from .model import three_steps as three_steps
from .model import three_steps_on as three_steps_on
from .observe import accuracy as accuracy
from .observe import attention_right as attention_right
from .task import Sequences as Sequences
from .task import TriggerTask as TriggerTask

WING: Wing
