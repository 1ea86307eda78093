"""How many associations fit: a search over N in which every seed and every N is one program."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .. import checks
from ..dynamics.alike import alike
from ..progress import bar
from .threshold import Search, each_seed


@dataclasses.dataclass(frozen=True)
class Capacity:
    """N at which the expected recall falls through ``target``, and what is known of it.

    - ``size``: where the mean recall over seeds crosses the target, linear between ``bracket``.
    - ``interval``: every N at which recall = target is not rejected at ``level``, to the resolution of the
      search. 0 and ∞ stand for ends that lie outside the N looked at.
    - ``sizes``, ``recall``: every N tried, ascending; recall of each seed there, shape (tried, seeds).
    - ``status``: "ok"; "above" (the target is met at the largest N: ``size`` is that N, a lower bound);
      "below" (missed at the smallest: ``size`` is that N, an upper bound).
    """

    target: float
    level: float
    size: float
    bracket: tuple[int, int]
    interval: tuple[float, float]
    status: str
    sizes: np.ndarray
    recall: np.ndarray

    def __repr__(self) -> str:
        sign = {"ok": "", "above": "≥ ", "below": "≤ "}[self.status]
        low, high = self.interval
        return (
            f"Capacity(N = {sign}{self.size:.4g}, {self.level:.0%} interval [{low:.4g}, {high:.4g}], recall "
            f"{self.target:g}, {self.recall.shape[1]} seeds, {len(self.sizes)} sizes tried)"
        )


def recall(task: Any, model: Any):
    """1 − error: the share of tokens (or patterns) that are answered right."""
    return 1 - task.error(model)


def capacity(
    make_task: Callable[[PRNGKeyArray, int], Any],
    make_model: Callable[[Any, PRNGKeyArray], Any],
    target: float = 0.99,
    *,
    largest: int,
    smallest: int = 2,
    seeds: int = 20,
    key: PRNGKeyArray | None = None,
    measure: Callable[[Any, Any], Any] = recall,
    level: float = 0.95,
    resolution: float = 0.01,
    together: int | None = None,
    devices: int = 1,
    progress: bool = False,
) -> Capacity:
    """The number N of associations at which ``measure`` falls through ``target``.

    - ``make_task(key, n)``: a task of n tokens, called once, for n = ``largest``, and kept for every seed; a
      search looks at its first N (``task.first(N)``), so that a seed keeps its embeddings as N grows and N is
      data: the whole search, training included, is one compiled program.
    - ``make_model(task, key)``: the model, written (``LinearMemory.outer_product``) or trained (the ``model``
      of a ``simulate``). It must not read ``task.num_tokens`` where it means N; p(x) is 0 past the N-th.
    - ``measure(task, model)``: a number in [0, 1]; recall under p(x) unless given.
    - ``seeds``: independent problems, split over ``devices``; ``together``: how many a device computes at
      once (all unless given; lower it if memory is short).
    - ``level``: of the interval; ``resolution``: relative width at which bisection stops.

    Doubling from ``smallest``, then bisection of the mean over seeds; from there outwards, of its confidence
    band: the interval has the N around it where the band contains the target. The band is a Student t over
    seeds; its variance is at least that of ``seeds`` × N independent tokens at the target, so that few tokens
    without an error are not taken for certainty. Expected recall is assumed to fall with N; all that was seen
    is in the result.
    """
    for name, function in {"make_task": make_task, "make_model": make_model, "measure": measure}.items():
        checks.a_function(name, function, "a function")
    checks.truth("progress", progress)
    smallest = checks.count("smallest", smallest)
    largest = checks.count("largest", largest, smallest + 1)
    search = Search.of(target, seeds, key, level, resolution, together, devices, each=2)
    make_task, make_model, measure = alike(make_task), alike(make_model), alike(measure)
    arrays, rest = eqx.partition(_tasks(make_task, largest, search.keys[:, 0]), eqx.is_array)
    one, every = _Recall(rest, make_model, measure), (arrays, search.keys[:, 1])

    def look(n: int):
        return each_seed(jnp.asarray(n, jnp.int32), every, one, search.together, devices)

    shown = bar(None, unit=" N", desc="capacity", quiet=not progress)
    words = {"argument": "measure", "symbol": "N"}
    found = search(look, smallest, largest, shown, lambda n: n, falling=True, **words)
    return Capacity(float(target), float(level), *found)


@eqx.filter_jit
def _tasks(make_task, largest: int, keys):
    return eqx.filter_vmap(lambda key: make_task(key, largest))(keys)


class _Recall(eqx.Module):
    """``measure`` of the first n associations of a seed's task, and of the model made for them."""

    rest: Any
    make_model: Callable
    measure: Callable

    def __call__(self, seed, n):
        arrays, key = seed
        task = eqx.combine(arrays, self.rest).first(n)
        return self.measure(task, self.make_model(task, key))
