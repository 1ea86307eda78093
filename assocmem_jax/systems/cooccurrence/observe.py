"""What Cooc watches: attention scores, values of tokens, losses and gradients of each kind of sample.

All take a transformer, of one layer or two, or either of its reduced systems.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...observe import observable
from .model import (
    CooccurrenceLayers,
    CooccurrenceSystem,
    CooccurrenceTransformer,
    SixVariableSystem,
    attended,
)
from .task import CooccurrenceTask

_OURS: Any = {
    "task": CooccurrenceTask,
    "model": (CooccurrenceTransformer, CooccurrenceLayers, CooccurrenceSystem, SixVariableSystem),
}


@observable(("key", "query"), **_OURS)
def attention_scores(task: CooccurrenceTask, model: Any) -> Float[Array, "d d"]:
    """μᵀW_KᵀW_Qν for all pairs, key μ first; signals are 0, 1 and the common token 2 (Figure 1 a). Of two
    layers the last."""
    return model.table


@observable(("token", "other"), **_OURS)
def value_correlations(task: CooccurrenceTask, model: Any) -> Float[Array, "d d"]:
    """μᵀW_VᵀW_Vν; of two layers μᵀ(I + U)ᵀW_VᵀW_V(I + U)ν."""
    return model.value_gram


@observable(("token",), **_OURS)
def token_values(task: CooccurrenceTask, model: Any) -> Float[Array, " d"]:
    """G(μ) = Σ_j a_j w_jᵀW_Vμ, the linear MLP's reading of a token; of two layers G(I + U)μ."""
    return model.values


@observable(("sample", "query", "key"), **_OURS)
def attention_weights(task: CooccurrenceTask, model: Any) -> Float[Array, "n l l"]:
    """Softmax probabilities p_lh, query l first. Of two layers the last: ``model.attended(task)`` is both."""
    if isinstance(model, CooccurrenceLayers):
        return model.attended(task)[1]
    return attended(task, model.table, model.width)


@observable(("kind",), "nats", task=CooccurrenceTask)
def kind_losses(task: CooccurrenceTask, model: Any) -> Float[Array, "4"]:
    """Mean loss of each kind: both signals, only μ₁, only μ₂, neither (Figure 1 b). 0 for an absent kind."""
    each = jax.nn.softplus(-task.margins(model))
    return _by_kind(task, each) / jnp.maximum(_by_kind(task, jnp.ones_like(each)), 1)


@observable(("kind",), task=CooccurrenceTask)
def gradient_sums(task: CooccurrenceTask, model: Any) -> Float[Array, "4"]:
    """Σ_{i∈I_k} g_i, g = 1/(1 + e^{yF}), for each kind: what balances in Lemmas 4.4 and 4.5."""
    return _by_kind(task, jax.nn.sigmoid(-task.margins(model)))


@observable(("ratio",), task=CooccurrenceTask)
def balance(task: CooccurrenceTask, model: Any) -> Float[Array, "3"]:
    """(Σ_{I₂}g/Σ_{I₃}g, Σg/(Σ_{I₂∪I₃∪I₄}g − Σ_{I₁}g), Σg/(Σ_{I₁}g − Σ_{I₂}g)): Lemmas 4.4 and 4.5 say
    that the first stays near 1 and the others bounded."""
    one, two, three, four = gradient_sums(task, model)
    total = one + two + three + four
    return jnp.stack([two / three, total / (two + three + four - one), total / (one - two)])


@observable(task=CooccurrenceTask, model=CooccurrenceTransformer)
def invariants(task: CooccurrenceTask, model: CooccurrenceTransformer) -> dict[str, Float[Array, "..."]]:
    """What the flow conserves (oracle J; not in Cooc), and, linear, what descent conserves too.

    Flow: WᵀW − W_VW_Vᵀ, W_KW_Kᵀ − W_QW_Qᵀ, ‖W‖² − ‖W_V‖², ‖Wᵀa‖² − m₁‖W_V‖². Both: (I − aaᵀ/m₁)W, W_KΣμ,
    and the columns of W_V, W_K, W_Q of tokens that occur in no sample.
    """
    W, V, a = model.mlp, model.value, model.signs
    m1 = a.shape[0]
    unseen = jnp.sum(task.one_hot, axis=(0, 1)) == 0
    columns = jnp.concatenate([jnp.where(unseen, w, 0) for w in (V, model.key, model.query)])
    return {
        "value": W.T @ W - V @ V.T,
        "attention": model.key @ model.key.T - model.query @ model.query.T,
        "norms": jnp.sum(W**2) - jnp.sum(V**2),
        "energy": jnp.sum((a @ W) ** 2) - m1 * jnp.sum(V**2),
        "linear_mlp": W - jnp.outer(a, a @ W) / m1,
        "linear_key": jnp.sum(model.key, axis=1),
        "linear_unseen": columns,
    }


def _by_kind(task: CooccurrenceTask, each: Array) -> Float[Array, "4"]:
    return jax.nn.one_hot(task.kinds, 4, dtype=each.dtype).T @ each
