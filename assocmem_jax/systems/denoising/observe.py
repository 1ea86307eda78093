"""How far the weights are from the scaled identity that is best, and the least error there is."""

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from ... import checks
from ...checks import Scalar
from ...observe import observable
from .model import LinearAttention, SoftmaxAttention
from .task import AbstractContextLaw, DenoisingTask


@observable(task=DenoisingTask, model=(LinearAttention, SoftmaxAttention))
def scale(task: DenoisingTask, model: LinearAttention | SoftmaxAttention) -> Float[Array, ""]:
    """c, the mean of the diagonal of W_PV W_KQ."""
    return jnp.mean(jnp.diagonal(model.value @ model.key))


@observable(task=DenoisingTask, model=(LinearAttention, SoftmaxAttention))
def off_diagonal(task: DenoisingTask, model: LinearAttention | SoftmaxAttention) -> Float[Array, ""]:
    """Root mean square of what W_PV W_KQ has besides cI."""
    product = model.value @ model.key
    rest = product - jnp.mean(jnp.diagonal(product)) * jnp.eye(len(product), dtype=product.dtype)
    return jnp.sqrt(jnp.mean(rest**2))


@checks.takes(law=AbstractContextLaw, key=checks.KEY)
def bayes_errors(
    law: AbstractContextLaw, noise: Scalar, key: PRNGKeyArray, draws: int = 1024
) -> Float[Array, " draws"]:
    """‖E[x | x̃] − x‖² where the law of the sequence is known, in so many draws: their mean is the Bayes
    error, by Monte-Carlo. In closed form for the linear manifold and the sphere (``am.theory.denoising``)."""
    noise = checks.number("noise", noise)
    checks.positive("noise", noise)

    def one(key):
        keys = jr.split(key, 3)
        shared = law.draw(keys[0])
        (x,) = law.points(shared, keys[1], 1)
        query = x + jnp.sqrt(noise) * jr.normal(keys[2], x.shape)
        return jnp.sum((law.answer(shared, query, noise) - x) ** 2)

    return jax.lax.map(one, jr.split(key, checks.count("draws", draws)), batch_size=1024)
