"""What this machine can do, measured now; and how to time."""

import json
import platform
import time
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)


def seconds(function, *arguments, repeats=5):
    """(median, first) wall time of a call that returns arrays; the first includes compilation."""
    began = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    first = time.perf_counter() - began
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - began)
    return float(np.median(times)), first


_BROKEN = []


def limits():
    """exp/s, FLOP/s and bytes/s in float64 under JAX on this machine."""
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


def report(claim, goal, ratio, **measured):
    """Print one claim as JSON; what does not hold fails the script when all of it is printed (``run``)."""
    record = {
        "claim": claim, "goal": goal, "ratio": ratio, "holds": bool(ratio >= goal), **measured,
        "processor": platform.processor() or platform.machine(), "device": jax.devices()[0].device_kind,
        "jax": metadata.version("jax"), "limits": limits(),
    }  # fmt: skip
    print(json.dumps(record, indent=1))
    if not record["holds"]:
        _BROKEN.append(claim)


def note(what, **measured):
    """Print figures that claim nothing by themselves."""
    print(json.dumps({"measured": what, **measured}))


def run(main):
    """Every figure of a script, and then: do all claims hold?"""
    main()
    assert not _BROKEN, "; ".join(_BROKEN)
