"""One query that attends, the three steps in which it learns to, and one step of a memory alone."""

from .attention import TriggerAttention as TriggerAttention
from .noisy_step import noisy_step_recall as noisy_step_recall
from .three_steps import ThreeSteps as ThreeSteps
from .three_steps import population_key as population_key
from .three_steps import three_steps as three_steps
from .three_steps import three_steps_on as three_steps_on
