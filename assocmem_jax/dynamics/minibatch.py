"""The noise of minibatches as a diffusion: GD (6) with the covariance that the steps of GD (7) have."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .. import checks
from ..models import AbstractModel
from ..tasks import AbstractTask
from ..tasks.batches import HasExamples, Weighs


class MinibatchNoise(eqx.Module):
    """√(η/B) Σ(W)^½ dE_t, Σ(W) the covariance of the gradient of one example: ``sigma`` of a StochasticFlow.

    With probabilities p_i and gradients g_i of the examples, ḡ = Σ_i p_i g_i = ∇L, an increment is

        √(η/B) Σ_i √p_i (g_i − ḡ) ξ_i,   ξ_i independent, N(0, dt):

    of covariance (η/B) Σ dt exactly, at the cost of one backward pass, whatever the number of weights.

    - ``learning_rate``: η of the descent that is meant; its step is a time η. ``batch_size``: its B.
    - ``draws``: draw so many examples afresh at every step (at least 2) and take their sample covariance,
      which has mean Σ: moments of an increment are those above up to the third. Unless given, all examples of
      the task are used, each with its probability; a task that does not list them is refused.
    - ``second_order``: the drift −∇L − (η/2) ∇²L ∇L instead of −∇L.

    E φ(W) at a fixed time differs from that of the descent by O(η), and by O(η²) with ``second_order`` (Li,
    Tai, E 2019). The noise depends on W and is read as Itô's; it does not commute, so Euler–Maruyama is the
    only solver (strong order ½, weak order 1). Noise that examples do not have stays out: W moves in the span
    of their gradients, as under descent.

        noise = am.MinibatchNoise(learning_rate=0.1, batch_size=4)
        am.simulate(task, model, am.StochasticFlow(noise, t1=10.0, steps=200), key=jax.random.key(0))
    """

    learning_rate: Float[Array, ""]
    batch_size: int = eqx.field(static=True)
    draws: int | None = eqx.field(static=True)
    second_order: bool = eqx.field(static=True)

    def __init__(
        self, learning_rate, batch_size: int, *, draws: int | None = None, second_order: bool = False
    ):
        checks.positive("learning_rate", learning_rate)
        self.learning_rate = checks.scalar("learning_rate", learning_rate)
        self.batch_size = checks.count("batch_size", batch_size)
        self.draws = None if draws is None else checks.count("draws", draws, 2)
        self.second_order = checks.truth("second_order", second_order)

    def normals(self, task: AbstractTask, model: AbstractModel) -> int:
        """How many ξ_i there are; refuses what this noise is not for."""
        # What noise does not close for (scalar products of weights) says so itself.
        jax.eval_shape(lambda key: model.noise(task, key), jr.key(0))
        if isinstance(task, Weighs):
            checks.refuse(
                "task", "one whose batch loss is a mean over examples", type(task).__name__,
                "a mean over positions has another covariance",
            )  # fmt: skip
        if self.draws is not None:
            return self.draws
        if not isinstance(task, HasExamples):
            checks.refuse(
                "draws",
                "given for a task that does not list its examples",
                None,
                "MinibatchNoise(…, draws=64)",
            )
        return task.examples[1].shape[0]

    def moved(
        self,
        task: AbstractTask,
        combine: Callable[[Any], AbstractModel],
        params: Any,
        normals: Array,
        key: PRNGKeyArray | None = None,
    ) -> Any:
        """The increment made of ``normals``, one an example; ``key`` draws the examples, if ``draws``."""
        if self.draws is None:
            batch, p = task.examples  # type: ignore[attr-defined]
            root = jnp.sqrt(p) * normals
            weights = root - p * jnp.sum(root)
        else:
            batch = task.sampler(self.draws)(key)
            weights = (normals - jnp.mean(normals)) / jnp.sqrt(self.draws - 1.0)

        def weighted(params):
            model = combine(params)
            alone = lambda one: task.sampled_loss(model, jax.tree.map(lambda a: a[None], one))  # noqa: E731
            return jnp.dot(weights.astype(task.dtype), jax.vmap(alone)(batch))

        rate = jnp.sqrt(self.learning_rate / self.batch_size)
        change = combine(params).tangent(task, jax.grad(weighted)(params))
        return jax.tree.map(lambda g: rate.astype(g.dtype) * g, change)

    def drift(self, velocity: Callable[[Any], Any], params: Any) -> Any:
        """``velocity`` of the flow; with ``second_order``, less (η/2) times its derivative along itself."""
        along = velocity(params)
        if not self.second_order:
            return along
        _, turn = jax.jvp(velocity, (params,), (along,))
        return jax.tree.map(lambda v, a: v - self.learning_rate.astype(v.dtype) / 2 * a, along, turn)
