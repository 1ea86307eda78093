"""What shows how far an induction head has formed, and what it says against what is known globally."""

from .answers import answer_accuracy as answer_accuracy
from .answers import answer_loss as answer_loss
from .answers import answer_probability as answer_probability
from .answers import noise_loss as noise_loss
from .answers import noise_probability as noise_probability
from .head import attention_maps as attention_maps
from .head import bigram_divergence as bigram_divergence
from .head import follows_bigram as follows_bigram
from .head import follows_head as follows_head
from .head import global_loss as global_loss
from .head import head_effects as head_effects
from .head import in_context_accuracy as in_context_accuracy
from .head import in_context_loss as in_context_loss
from .head import margins_key1 as margins_key1
from .head import margins_key2 as margins_key2
from .head import margins_output2 as margins_output2
from .head import memory as memory
from .head import memory_margins as memory_margins
from .head import one_step_recall as one_step_recall
from .head import recall_key1 as recall_key1
from .head import recall_key1_early as recall_key1_early
from .head import recall_key2 as recall_key2
from .head import recall_output2 as recall_output2
