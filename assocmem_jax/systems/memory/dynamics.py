"""Steps to perfect accuracy: the map of GD Figure 3, fast enough to sweep."""

import functools
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Int

from ... import checks, machine
from ...checks import Scalar
from ...dynamics import Descent, Status, perfect_accuracy, simulate
from ...dynamics.descent import FLOAT32_UPDATES
from .model import LinearMemory, MarginSystem, ParticleSystem
from .task import AssociationTask

# Above this many tokens (or dimensions) sums over them no longer unroll to advantage.
UNROLLED_TOKENS = 8
# Steps between two looks at whether every lane has ended.
BLOCK = 32
_NEVER = np.iinfo(np.int32).max


class Hits(NamedTuple):
    """When all margins (22) were positive. −1: never within the steps given.

    - ``first_step``: first step at which the error was zero.
    - ``stable_step``: step from which it stayed zero to the end of the run.
    - ``status``: a ``Status`` code.
    """

    first_step: Int[Array, "*batch"]
    stable_step: Int[Array, "*batch"]
    status: Int[Array, "*batch"]


@checks.takes(task=AssociationTask, stable=bool)
def time_to_perfect(
    task: AssociationTask,
    learning_rate: Scalar,
    steps: int = 1000,
    *,
    stable: bool = True,
    memory: LinearMemory | None = None,
) -> Hits:
    """Steps of full-batch gradient descent, GD (5), until every token is answered correctly.

    From W = 0, or from ``memory``. With ``stable=False`` the run stops at the first hit, and
    ``stable_step`` equals ``first_step``: less work where most runs hit early.

    Under cross-entropy two classes and at most eight tokens run as the margins themselves, GD (17) for any N,

        m ← m + η K (p ⊙ σ(−m)),   K_xx' = ‖u₁−u₂‖² s_x s_x' ⟨e_x, e_x'⟩,

    which is ``simulate(task, MarginSystem…, Descent(optax.sgd…))`` step for step, as long as that goes on: it
    ends where a margin is beyond the square root of the largest float (DIVERGED), and this does not. Anything
    else runs through ``simulate`` on ``ParticleSystem``. float32 is refused beyond 10⁵ steps, where plain
    updates stall. Made for sweeps: under ``vmap`` lanes are the last axis of every array, so that a
    step costs two exponentials a lane and little else.
    """
    steps = checks.count("steps", steps, 0)
    checks.positive("learning_rate", learning_rate)
    learning_rate = checks.scalar("learning_rate", learning_rate)
    dtype = task.inputs.dtype
    if dtype == jnp.float32 and steps > FLOAT32_UPDATES:
        checks.refuse("steps", f"at most {FLOAT32_UPDATES} in float32", steps, "use float64")
    small = task.num_classes == 2 and task.num_tokens <= UNROLLED_TOKENS
    closed = task.token_loss.is_cross_entropy and not task.soft and task.possible is None
    if not (small and closed):
        start = ParticleSystem.zeros(task) if memory is None else ParticleSystem.from_memory(task, memory)
        run = simulate(
            task, start, Descent(optax.sgd, steps, learning_rate=learning_rate), observe={},
            every=max(steps, 1), until=perfect_accuracy(None if stable else 1), throw=False,
        )  # fmt: skip
        return Hits(run.first_step, run.stable_step, run.status)
    margins = jnp.zeros(task.num_tokens, dtype)
    if memory is not None:
        margins = MarginSystem.from_memory(task, memory).margins
    difference = task.outputs[0] - task.outputs[1]
    rates = jnp.asarray(learning_rate, dtype) * jnp.dot(difference, difference) * task.probabilities
    signed = jnp.where(task.labels[:, None] == 0, task.inputs, -task.inputs)
    return Hits(*cast(Callable, _lanes(steps, stable))(margins, signed, rates))


def _lanes(steps: int, stable: bool):
    """The kernel for one lane; batched, lanes are moved last instead of first."""

    @custom_vmap
    def run(margins, signed, rates):
        return _descend(margins, signed, rates, steps, stable)

    @run.def_vmap
    def batched(size, in_batched, *arguments):
        margins, signed, rates = (
            jnp.moveaxis(a, 0, -1) if mapped else jnp.broadcast_to(a[..., None], (*a.shape, size))
            for a, mapped in zip(arguments, in_batched)
        )
        return _descend(margins, signed, rates, steps, stable), (True, True, True)

    return run


def _descend(m, signed, rates, steps: int, stable: bool):
    """First and stable step and status; m: (N, …lanes), signed: (N, d, …), rates: (N, …)."""
    tokens, width = signed.shape[:2]

    def overlap(x):
        if width > UNROLLED_TOKENS:
            return jnp.sum(signed * signed[x], axis=1)
        return sum(signed[:, k] * signed[x, k] for k in range(width))

    # Column x' of η K diag(p), summed by hand: a batched product of such small matrices costs more
    # than a hundred steps.
    columns = [rates[x] * overlap(x) for x in range(tokens)]
    together = machine.unrolled(BLOCK)
    if together == 1:
        # The barriers keep XLA on a CPU from computing these, and each sigmoid, once for every use.
        once = jax.lax.optimization_barrier
    else:
        # A card makes one kernel of several steps, if no array is cut and no barrier in the way.
        once = lambda parts: parts  # noqa: E731
        m, columns = tuple(m), [tuple(column) for column in columns]
    columns = once(columns)

    def perfect(m):
        return functools.reduce(jnp.minimum, [m[x] for x in range(tokens)]) > 0

    def step(t, state):
        m, first, since = state
        slope = once(jax.tree.map(lambda m: jax.nn.sigmoid(-m), m))
        add = lambda m, *column: m + sum(c * slope[x] for x, c in enumerate(column))  # noqa: E731
        m = jax.tree.map(add, m, *columns)
        holds = perfect(m)
        first = jnp.minimum(first, jnp.where(holds, t + 1, _NEVER))
        if stable:
            since = jnp.where(holds, since, t + 2)  # the step after the last failure
        return m, first, since

    holds = perfect(m)
    state = (m, *(jnp.where(holds, 0, jnp.int32(at)) for at in (_NEVER, 1)))
    if stable:
        m, first, since = jax.lax.fori_loop(0, steps, step, state, unroll=together)
        since = jnp.where(since > steps, -1, since)  # failed at the last step
    else:

        def waiting(state):
            return jnp.any(state[1] == _NEVER)

        def block(carry):
            t, state = carry
            each = lambda k, state: step(t + k, state)  # noqa: E731
            return t + BLOCK, jax.lax.fori_loop(0, BLOCK, each, state, unroll=together)

        whole = steps - steps % BLOCK
        more = lambda carry: (carry[0] < whole) & waiting(carry[1])  # noqa: E731
        _, state = jax.lax.while_loop(more, block, (jnp.zeros((), jnp.int32), state))
        rest = lambda state: jax.lax.fori_loop(whole, steps, step, state)  # noqa: E731
        m, first, _ = jax.lax.cond(waiting(state), rest, lambda state: state, state)
        since = first
    never = first == _NEVER
    # A lane that has hit may run on beside one that has not: what comes after its hit is not told.
    sound = functools.reduce(jnp.logical_and, [jnp.isfinite(m[x]) for x in range(tokens)])
    sound = sound if stable else sound | ~never
    ended = jnp.where(never, int(Status.OK), int(Status.OK if stable else Status.HIT))
    status = jnp.where(sound, ended, int(Status.NON_FINITE)).astype(jnp.int8)
    return jnp.where(never, -1, first), jnp.where(never, -1, since), status
