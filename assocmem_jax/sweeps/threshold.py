"""Where a share crosses a target as a parameter grows: a search in which all seeds are one program."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec
from jaxtyping import PRNGKeyArray

from .. import checks
from ..dynamics.alike import alike
from ..progress import bar
from .axes import MOST_SEEDS


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The value of a parameter at which the expected ``measure`` crosses ``target``, and what is known of it.

    - ``value``: where the mean over seeds crosses the target, linear between ``bracket``.
    - ``interval``: every value at which mean = target is not rejected at ``level``, to the resolution of the
      search. 0 and ∞ stand for ends that lie outside the values looked at.
    - ``values``, ``measured``: every value tried, ascending; the measure of each seed there, shape (tried,
      seeds).
    - ``status``: "ok"; "above" (no crossing up to the largest: ``value`` is that, a lower bound); "below"
      (crossed at the smallest already: ``value`` is that, an upper bound).
    """

    target: float
    level: float
    value: float
    bracket: tuple[float, float]
    interval: tuple[float, float]
    status: str
    values: np.ndarray
    measured: np.ndarray

    def __repr__(self) -> str:
        sign = {"ok": "", "above": "≥ ", "below": "≤ "}[self.status]
        low, high = self.interval
        return (
            f"Threshold({sign}{self.value:.4g}, {self.level:.0%} interval [{low:.4g}, {high:.4g}], target "
            f"{self.target:g}, {self.measured.shape[1]} seeds, {len(self.values)} values tried)"
        )


def threshold(
    measure: Callable[[PRNGKeyArray, Any], Any],
    target: float = 0.5,
    *,
    smallest: float,
    largest: float,
    rising: bool = True,
    trials: float = 1,
    seeds: int = 20,
    key: PRNGKeyArray | None = None,
    level: float = 0.95,
    resolution: float = 0.01,
    together: int | None = None,
    devices: int = 1,
    progress: bool = False,
) -> Threshold:
    """The value of a parameter at which ``measure`` crosses ``target``.

    - ``measure(key, value)``: a number in [0, 1]; ``value`` is traced, so that a search is one compiled
      program, whole where ``smallest`` and ``largest`` are, real where either is not. A seed has one key at
      all values: what it draws with it does not change with the value.
    - ``rising``: whether the measure is expected to rise with the value, or to fall. That it is monotone is
      assumed; all that was seen is in the result.
    - ``trials``: how many independent successes or failures a seed's measure is the mean of (1: it is one;
      ``math.inf``: it is no mean of such).
    - ``seeds``: independent keys, split over ``devices``; ``together``: how many a device computes at once
      (all unless given; lower it if memory is short).
    - ``level``: of the interval; ``resolution``: relative width at which bisection stops.

    Doubling from ``smallest``, then bisection of the mean over seeds; from there outwards, of its confidence
    band: the interval has the values around it where the band contains the target. The band is a Student t
    over seeds; its variance is at least that of ``seeds`` × ``trials`` tosses at the target, so that a few
    seeds that agree are not taken for certainty.

        >>> toss = lambda key, d: jax.random.bernoulli(key, d / (d + 10)).astype(float)
        >>> am.threshold(toss, smallest=1, largest=1000, seeds=200)  # near 10
    """
    checks.a_function("measure", measure, "a function (key, value) -> number in [0, 1]")
    least, most = (_end(name, end) for name, end in (("smallest", smallest), ("largest", largest)))
    if not least < most:
        checks.refuse("largest", f"above smallest = {least}", most)
    if whole := isinstance(least, int) and isinstance(most, int):
        checks.count("largest", most)
    else:
        least, most = float(least), float(most)
    checks.truth("rising", rising)
    checks.truth("progress", progress)
    if not checks.scalar("trials", trials) >= 1:  # it may be infinite
        checks.refuse("trials", "at least 1", trials)
    search = Search.of(target, seeds, key, level, resolution, together, devices)

    one = alike(measure)

    def look(value):
        at = jnp.asarray(value, jnp.int32 if whole else float)
        return each_seed(at, search.keys, one, search.together, devices)

    shown = bar(None, desc="threshold", unit=" values", quiet=not progress)
    words = {"argument": "measure", "symbol": "value"}
    found = search(look, least, most, shown, lambda _: trials, falling=not rising, **words)
    return Threshold(float(target), float(level), *found)


def _end(name: str, value: Any) -> int | float:
    """An end of the search: whole if it is given so."""
    checks.number(name, value)
    checks.positive(name, value)
    return int(value) if isinstance(value, int | np.integer) else float(value)


class Search(NamedTuple):
    """What a search is asked for, apart from what it looks at."""

    target: float
    level: float
    seeds: int
    keys: PRNGKeyArray
    resolution: float
    together: int

    @classmethod
    def of(cls, target, seeds, key, level, resolution, together, devices, each: int | None = None):
        """The arguments of a search, checked; ``each``: keys a seed has (one unless given)."""
        checks.number("target", target)
        if not 0 < target < 1:
            checks.refuse("target", "between 0 and 1", target, "no number of seeds tells 1 from nearly 1")
        checks.number("level", level)
        if not 0 < level < 1:
            checks.refuse("level", "between 0 and 1", level)
        seeds = checks.count("seeds", seeds, 2, "an interval needs two")
        if seeds > MOST_SEEDS:
            checks.refuse("seeds", f"at most {MOST_SEEDS:,} (their keys are 128 MiB)", seeds)
        checks.number("resolution", resolution)
        checks.positive("resolution", resolution)
        devices = checks.count("devices", devices)
        if seeds % devices:
            checks.refuse("seeds", f"a multiple of devices = {devices}", seeds)
        if devices > jax.local_device_count():
            there = f"at most the number of devices there are, {jax.local_device_count()}"
            remedy = "jax.config.update('jax_num_cpu_devices', n) before JAX starts makes several of a CPU"
            checks.refuse("devices", there, devices, remedy)
        if key is not None:
            checks.key("key", key)
        keys = jr.split(jr.key(0) if key is None else key, seeds if each is None else (seeds, each))
        batch = seeds if together is None else checks.count("together", together)
        return cls(target, level, seeds, keys, resolution, batch)

    def __call__(self, look, smallest, largest, shown, trials, *, falling: bool, argument: str, symbol: str):
        """(crossing, bracket, interval, status, values tried, what was measured there).

        ``look(value)``: the measure of every seed; ``trials(value)``: tosses that each is the mean of.
        """
        target, tried = self.target, {}
        from scipy import stats  # half a second

        quantile = float(stats.t.ppf((1 + self.level) / 2, self.seeds - 1))

        def seen(value) -> np.ndarray:
            if value not in tried:
                tried[value] = np.asarray(look(value), float)
                if not np.isfinite(tried[value]).all():
                    bad = int(np.argmin(np.isfinite(tried[value])))
                    checks.refuse(
                        argument, "finite", f"{tried[value][bad]} at {symbol} = {value}, seed {bad}"
                    )
                shown.update()
                shown.set_postfix_str(f"{symbol} = {value:.4g}: {tried[value].mean():.4f}")
            return tried[value]

        def band(value, side: int) -> float:
            """Mean + side × half-width of the band, minus the target; of a rising measure, upside down."""
            values = seen(value)
            tosses = self.seeds * trials(value)
            spread = max(values.var(ddof=1) / self.seeds, target * (1 - target) / tosses)
            gap = values.mean() - target
            return (gap if falling else -gap) + side * quantile * math.sqrt(spread)

        narrow = lambda f, low, high: _bisected(f, low, high, self.resolution)  # noqa: E731
        try:
            status, low, high = "ok", smallest, smallest
            while band(high, 0) >= 0 and high < largest:
                low, high = high, min(2 * high, largest)
            if band(high, 0) >= 0:
                low, status = high, "above"
            elif high == smallest:
                status = "below"
            bracket = narrow(lambda v: band(v, 0), low, high)
            below, above = (seen(v).mean() for v in bracket)
            share = (below - target) / (below - above) if status == "ok" else 0.0
            crossing = bracket[0] + (bracket[1] - bracket[0]) * share
            # Outwards: down until the measure is surely not past the target, up until it surely is.
            least, most = bracket[0], bracket[1]
            while band(least, -1) < 0 and least > smallest:
                least = max(_half(least), smallest)
            while band(most, 1) >= 0 and most < largest:
                most = min(2 * most, largest)
            interval = (
                float(narrow(lambda v: band(v, -1), least, bracket[0])[0]) if band(least, -1) >= 0 else 0.0,
                float(narrow(lambda v: band(v, 1), bracket[1], most)[1]) if band(most, 1) < 0 else math.inf,
            )
        finally:
            shown.close()
        values = np.array(sorted(tried))
        return crossing, bracket, interval, status, values, np.stack([tried[v] for v in values.tolist()])


def _half(value):
    return value // 2 if isinstance(value, int) else value / 2


def _bisected(f, low, high, resolution: float):
    """(last value seen with f ≥ 0, next one seen with f < 0) between two such; whole numbers stay whole."""
    whole = isinstance(low, int)
    while high - low > (max(1, int(resolution * low)) if whole else resolution * low):
        middle = _half(low + high)
        if middle in (low, high):  # neighbours: nothing lies between them
            break
        low, high = (middle, high) if f(middle) >= 0 else (low, middle)
    return low, high


# A program of the module, so that a second search with the same functions compiles nothing.
@eqx.filter_jit
def each_seed(value, seeds, one: Callable, batch: int, devices: int):
    """``one(seed, value)`` for every seed; with several devices, each takes its share of them."""

    def measured(seed, value):
        found = checks.array("measure", one(seed, value), "a function that returns a number")
        if found.shape:
            checks.refuse("measure", "a function that returns one number", f"shape {found.shape}")
        return found

    def many(value, seeds):
        if batch >= jax.tree.leaves(seeds)[0].shape[0]:
            return jax.vmap(measured, (0, None))(seeds, value)
        return jax.lax.map(lambda seed: measured(seed, value), seeds, batch_size=batch)

    if devices == 1:
        return many(value, seeds)
    mesh = Mesh(jax.devices()[:devices], ("seed",), axis_types=(AxisType.Auto,))
    whole, split = PartitionSpec(), PartitionSpec("seed")
    run = jax.shard_map(many, mesh=mesh, in_specs=(whole, split), out_specs=split, check_vma=False)
    return run(value, seeds)
