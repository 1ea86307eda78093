"""What this machine can do, measured now; how to time; what a script prints (benchmarks/rows.py)."""

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import numpy as np

import rows
from rows import digits, figure

__all__ = [
    "anew",
    "digits",
    "figure",
    "in_turn",
    "limits",
    "note",
    "report",
    "run",
    "seconds",
    "wall",
    "within",
]

jax.config.update("jax_enable_x64", True)


def seconds(function, *arguments, repeats=5):
    """(median, first) wall time of a call that returns arrays; the first includes compilation."""
    first = wall(lambda: jax.block_until_ready(function(*arguments)), repeats=1)
    return wall(lambda: jax.block_until_ready(function(*arguments)), repeats), first


def wall(function, repeats=3):
    """Median wall time of calls of ``function()``, the first of them too."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def in_turn(calls, repeats=7):
    """Median seconds of each call, one after another so that all meet the same machine."""
    times: dict = {name: [] for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    for _ in range(repeats):
        for name, call in calls.items():
            began = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(time.perf_counter() - began)
    return {name: float(np.median(values)) for name, values in times.items()}


def anew(function, *arguments, repeats=3):
    """What a function of the script returns in processes of its own, one after another: for first calls."""
    found = []
    for _ in range(repeats):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found.append(pool.submit(function, *arguments).result())
    return found


_BROKEN = []


def limits():
    """exp/s, FLOP/s and bytes/s in float64 under JAX on this machine."""
    with jax.enable_x64(True):
        x = jnp.linspace(-1, 1, 4_000_000)
        exponential = seconds(jax.jit(jnp.exp), x)[0]
        copy = seconds(jax.jit(lambda v: v + 1), x)[0]
        a = jnp.ones((1500, 1500))
        product = seconds(jax.jit(lambda m: m @ m), a)[0]
    return {
        "exp_per_second": x.size / exponential,
        "bytes_per_second": 2 * x.nbytes / copy,
        "flop_per_second": 2 * 1500**3 / product,
    }


def report(claim, goal, ratio, ours, beside, at_most=False, **measured):
    """Print a claim as JSON: the ratio is at least ``goal`` (``at_most``: at most).

    ``ours``, ``beside``: what is compared, in words and with units (``figure``); what else was measured is
    kept in docs/benchmarks.json. A claim that does not hold fails the script when all is printed (``run``).
    """
    found = rows.row(claim, ours, beside, ratio, goal, at_most, limits(), **measured)
    print(json.dumps(found, indent=1, ensure_ascii=False), flush=True)
    if not found["holds"]:
        _BROKEN.append(claim)


def within(claim, limit, found, unit, how="", **measured):
    """A claim of the kind "in at most so much": its ratio is what was found over the limit."""
    ours = figure(found, unit) + how
    report(claim, 1, found / limit, ours, f"limit {figure(limit, unit)}", at_most=True, **measured)


def note(what, ours, beside="", ratio=None, **measured):
    """Print figures that claim nothing by themselves."""
    print(
        json.dumps(rows.row(what, ours, beside, ratio, **measured), indent=1, ensure_ascii=False), flush=True
    )


def run(main):
    """Every figure of a script, and then: do all claims hold?"""
    main()
    if _BROKEN:
        print("does not hold:", "; ".join(_BROKEN), file=sys.stderr)
        sys.exit(rows.BROKEN)
