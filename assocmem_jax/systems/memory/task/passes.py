"""How many tokens at a time what looks at all of them computes."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# Above so many scores they are computed a chunk at a time: all of them would be N × M numbers.
_WHOLE = 2**20
# Scores of a chunk that stay in a cache; but no fewer tokens than make a product worth reading all u_y for.
_SCORES, _LEAST, _MOST = 2**19, 64, 512


def chunks(task: Any) -> tuple[Int[Array, "1 c b"] | None, Float[Array, "1 c b"] | None]:
    """(tokens, their probabilities) a chunk at a time, the last filled up with tokens of probability 0; None
    where all fit in one."""
    n = task.num_tokens
    if n * task.num_classes <= _WHOLE:
        return None, None
    size = min(max(_LEAST, _SCORES // task.num_classes), _MOST)
    spare = -n % size
    tokens = jnp.minimum(jnp.arange(n + spare), n - 1)
    weights = jnp.pad(task.probabilities, (0, spare))
    return tokens.reshape(1, -1, size), weights.reshape(1, -1, size)
