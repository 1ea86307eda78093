"""A row of docs/benchmarks.md, as a script prints it and the page reads it, and how figures are written.

No JAX here: the page and its tests read rows without it."""

import math
from types import NoneType

# What a script exits with when all of it is printed and a claim does not hold.
BROKEN = 3
NUMBER = (int, float, NoneType)
FIELDS = {
    "what": str, "ours": str, "beside": str, "ratio": NUMBER, "goal": NUMBER, "at_most": bool,
    "holds": (bool, NoneType), "measured": dict, "limits": dict,
}  # fmt: skip
# Units that a prefix is joined to; one that ends in /s otherwise has it before a space (4.2 G e^x/s).
JOINED = ("s", "B", "FLOP", "B/s", "FLOP/s")
PREFIXES = {-3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T"}


def row(what, ours, beside, ratio=None, goal=None, at_most=False, limits=None, **measured):
    """A claim, where a goal is given: that the ratio is at least, or at most, the goal. Else a note."""
    holds = None if goal is None else bool(ratio <= goal if at_most else ratio >= goal)
    words = {"what": what, "ours": ours, "beside": beside}
    numbers = {"ratio": ratio, "goal": goal, "at_most": at_most, "holds": holds}
    return words | numbers | {"measured": measured, "limits": limits or {}}


def is_row(found):
    """Has what was read every field, of its kind?"""
    return (
        isinstance(found, dict)
        and found.keys() == FIELDS.keys()
        and all(isinstance(found[name], kind) for name, kind in FIELDS.items())
    )


def figure(value, unit=""):
    """A number as the page writes it: 0.0034, "s" is "3.4 ms"; 31749.2 is "31,700"; 2.14e-10 "2.1e-10"."""
    power = 0
    if (unit in JOINED or unit.endswith("/s")) and value and math.isfinite(value):
        power = math.floor(math.log10(abs(value)) / 3 + 1e-12)
        # Nobody says a kilosecond.
        power = min(max(power, min(PREFIXES)), 0 if unit == "s" else max(PREFIXES))
    prefix = PREFIXES[power] + (" " if power and unit not in JOINED else "")
    return f"{digits(value / 1000.0**power)} {prefix}{unit}".rstrip()


def digits(value, at_least=2):
    """Three significant digits where the first is 1 or the number is 100 or more, otherwise two."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) < 1e-3:
        return f"{value:.{at_least - 1}e}"
    leading = abs(value) / 10 ** math.floor(math.log10(abs(value)))
    kept = max(at_least, 3 if leading < 2 or abs(value) >= 100 else 2)
    rounded = float(f"{value:.{kept - 1}e}")
    places = max(0, kept - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{places}f}"


def verdict(ratio, goal, at_most):
    """The ratio in as many digits as it takes to be seen on its side of the goal."""
    side = math.copysign(1, goal - ratio if at_most else ratio - goal)
    for kept in range(2, 18):
        told = float(digits(ratio, kept).replace(",", ""))
        if side == math.copysign(1, goal - told if at_most else told - goal):
            break
    return digits(ratio, kept)
