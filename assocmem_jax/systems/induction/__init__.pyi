# Generated from the manifests by `python scripts/stubs.py`.
from .. import Wing
from .dynamics import time_to_overtake as time_to_overtake
from .model import InductionTransformer as InductionTransformer
from .model import NoisyCopySystem as NoisyCopySystem
from .model import Patched as Patched
from .model import ablated as ablated
from .model import patched as patched
from .observe import answer_accuracy as answer_accuracy
from .observe import answer_loss as answer_loss
from .observe import answer_probability as answer_probability
from .observe import attention_maps as attention_maps
from .observe import bigram_divergence as bigram_divergence
from .observe import follows_bigram as follows_bigram
from .observe import follows_head as follows_head
from .observe import global_loss as global_loss
from .observe import head_effects as head_effects
from .observe import in_context_accuracy as in_context_accuracy
from .observe import in_context_loss as in_context_loss
from .observe import margins_key1 as margins_key1
from .observe import margins_key2 as margins_key2
from .observe import margins_output2 as margins_output2
from .observe import memory as memory
from .observe import memory_margins as memory_margins
from .observe import noise_loss as noise_loss
from .observe import noise_probability as noise_probability
from .observe import one_step_recall as one_step_recall
from .observe import recall_key1 as recall_key1
from .observe import recall_key1_early as recall_key1_early
from .observe import recall_key2 as recall_key2
from .observe import recall_output2 as recall_output2
from .task import BigramTask as BigramTask
from .task import NoisyCopyTask as NoisyCopyTask
from .task import Sequences as Sequences

WING: Wing
