"""How many associations fit: a search over N in which every seed and every N is one program."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec
from jaxtyping import PRNGKeyArray
from scipy import stats

from .. import checks
from ..progress import bar


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
    if not 0 < target < 1:
        checks.refuse("target", "between 0 and 1", target, "an error-free memory is not a question of N")
    if not 0 < level < 1:
        checks.refuse("level", "between 0 and 1", level)
    smallest = checks.count("smallest", smallest)
    largest = checks.count("largest", largest, smallest + 1)
    seeds = checks.count("seeds", seeds, 2, "an interval needs two")
    checks.positive("resolution", resolution)
    devices = checks.count("devices", devices)
    if seeds % devices:
        checks.refuse("seeds", f"a multiple of devices = {devices}", seeds)
    keys = jr.split(jr.key(0) if key is None else key, (seeds, 2))
    batch = seeds if together is None else checks.count("together", together)

    arrays, rest = eqx.partition(_tasks(make_task, largest, keys[:, 0]), eqx.is_array)

    tried: dict[int, np.ndarray] = {}
    shown = bar(None, unit=" N", desc="capacity", quiet=not progress)

    def look(n: int) -> np.ndarray:
        if n not in tried:
            tried[n] = np.asarray(
                _measured(
                    jnp.asarray(n, jnp.int32), arrays, rest, keys[:, 1], make_model, measure, batch, devices
                ),
                float,
            )
            if not np.isfinite(tried[n]).all():
                bad = int(np.argmin(np.isfinite(tried[n])))
                checks.refuse("measure", "finite", f"{tried[n][bad]} at N = {n}, seed {bad}")
            shown.update()
            shown.set_postfix_str(f"N = {n}: {tried[n].mean():.4f}")
        return tried[n]

    quantile = float(stats.t.ppf((1 + level) / 2, seeds - 1))

    def band(n: int, side: int) -> float:
        """Mean + side × half-width of the band, minus the target."""
        values = look(n)
        spread = max(values.var(ddof=1) / seeds, target * (1 - target) / (seeds * n))
        return values.mean() - target + side * quantile * math.sqrt(spread)

    narrow = lambda f, low, high: _bisected(f, low, high, resolution)  # noqa: E731
    try:
        status, low, high = "ok", smallest, smallest
        while band(high, 0) >= 0 and high < largest:
            low, high = high, min(2 * high, largest)
        if band(high, 0) >= 0:
            low, status = high, "above"
        elif high == smallest:
            status = "below"
        bracket = narrow(lambda n: band(n, 0), low, high)
        below, above = (look(n).mean() for n in bracket)
        share = (below - target) / (below - above) if status == "ok" else 0.0
        size = bracket[0] + (bracket[1] - bracket[0]) * share
        # Outwards: down until recall is surely above the target, up until it is surely below.
        least, most = bracket[0], bracket[1]
        while band(least, -1) < 0 and least > smallest:
            least = max(least // 2, smallest)
        while band(most, 1) >= 0 and most < largest:
            most = min(2 * most, largest)
        interval = (
            float(narrow(lambda n: band(n, -1), least, bracket[0])[0]) if band(least, -1) >= 0 else 0.0,
            float(narrow(lambda n: band(n, 1), bracket[1], most)[1]) if band(most, 1) < 0 else math.inf,
        )
    finally:
        shown.close()
    sizes = np.array(sorted(tried))
    return Capacity(
        float(target),
        float(level),
        size,
        bracket,
        interval,
        status,
        sizes,
        np.stack([tried[n] for n in sizes]),
    )


def _bisected(f, low: int, high: int, resolution: float) -> tuple[int, int]:
    """(last N seen with f ≥ 0, next N seen with f < 0) between two such N."""
    while high - low > max(1, int(resolution * low)):
        middle = (low + high) // 2
        low, high = (middle, high) if f(middle) >= 0 else (low, middle)
    return low, high


# Programs of the module, so that a second search with the same functions compiles nothing.
@eqx.filter_jit
def _tasks(make_task, largest: int, keys):
    return eqx.filter_vmap(lambda key: make_task(key, largest))(keys)


@eqx.filter_jit
def _measured(n, arrays, rest, keys, make_model, measure, batch: int, devices: int):
    """``measure`` at N = n for every seed; with several devices, each takes its share of them."""

    def one(n, arrays, key):
        task = eqx.combine(arrays, rest).first(n)
        return measure(task, make_model(task, key))

    def many(n, arrays, keys):
        if batch >= len(keys):
            return jax.vmap(one, (None, 0, 0))(n, arrays, keys)
        return jax.lax.map(lambda seed: one(n, *seed), (arrays, keys), batch_size=batch)

    if devices == 1:
        return many(n, arrays, keys)
    mesh = Mesh(jax.devices()[:devices], ("seed",), axis_types=(AxisType.Auto,))
    whole, split = PartitionSpec(), PartitionSpec("seed")
    run = jax.shard_map(many, mesh=mesh, in_specs=(whole, split, split), out_specs=split, check_vma=False)
    return run(n, arrays, keys)
