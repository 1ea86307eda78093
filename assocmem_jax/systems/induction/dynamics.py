"""When the answer of the context overtakes what is known globally: the flow of three numbers, fast."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import checks
from .model import NoisyCopySystem
from .task import NoisyCopyTask

_MOST = 65_536


@checks.takes(task=NoisyCopyTask)
def time_to_overtake(task: NoisyCopyTask) -> Float[Array, ""]:
    """When the flow from zero scores the answer above τ: that of ``GradientFlow``, made for sweeps.

    0 where the answer leads from the start, α ≤ 2/(N + 3); infinite where it never does, α ≥ ½
    (docs/theory.md: context.order), or not within 65,536 steps. Steps of Runge and Kutta's fourth order, as
    long as the fast direction, of rate at most ¼(1 + 2/N), lets them be; error below 1e-5 of it (float64).

        task = lambda tokens, noise: am.induction.NoisyCopyTask(tokens, noise)
        am.sweep(lambda tokens, noise: am.induction.time_to_overtake(task(tokens, noise)), tokens=…, noise=…)
    """
    ahead = task.noise * (task.tokens + 3) > 2
    ever = task.noise < 0.5

    def velocity(system):
        return jax.tree.map(jnp.negative, system.tangent(task, jax.grad(task.loss)(system)))

    def gap(system):
        return system.values[1] - system.values[0] - system.feedforward

    def moved(system, speed, h):
        return jax.tree.map(lambda x, v: x + h * v, system, speed)

    def step(system, h):
        a = velocity(system)
        b = velocity(moved(system, a, h / 2))
        c = velocity(moved(system, b, h / 2))
        d = velocity(moved(system, c, h))
        return jax.tree.map(lambda x, a, b, c, d: x + h / 6 * (a + 2 * b + 2 * c + d), system, a, b, c, d)

    def onward(state):
        system, time, steps = state
        h = jnp.minimum(0.25 + 0.01 * time, 4 / (1 + 2 / task.tokens))
        return step(system, h), time + h, steps + 1

    def behind(state):
        system, _, steps = state
        return ahead & ever & (gap(system) <= 0) & (steps < _MOST)  # at the start the gap is 0

    start = NoisyCopySystem.zeros(task), jnp.zeros((), task.dtype), 0
    system, time, steps = jax.lax.while_loop(behind, onward, start)
    for _ in range(3):  # Newton's method, back to the crossing
        back = -gap(system) / gap(velocity(system))
        system, time = step(system, back), time + back
    time = jnp.where(ever & (steps < _MOST), time, jnp.inf)
    return jnp.where(ahead, time, 0)
