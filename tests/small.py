"""What a seed gives: numbers and words of the small run of every config, kept in tests/small.json.

Run: python tests/small.py [CONFIG …] to write them anew, where they are meant to be others. Oracles of laws
stand in the folders of the wings; here nothing is derived: what a study does to its settings on the way to
the laws, and which of its numbers it prints where, is the same from one version to the next, or is said.
"""

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from assocmem_jax import cli
from assocmem_jax.studies.registry import entries
from surface import write

KEPT = Path(__file__).with_suffix(".json")
FEW = {config: words for entry in entries().values() for config, words in entry.small.items()}
# Where a bit of rounding decides which of two states is next: another processor, other numbers (2 % seen).
UNSTEADY = {"slides_hopfield": 0.1}
# Of the size of a variable (its root mean square), by the precision of the study; see apart().
NEAR = {"float64": 1e-6, "float32": 1e-3}


def weighed(values: Any, digits: int) -> list:
    """Of an array: how many of it are finite, their mean and root mean square, and their mean with weights
    cos 1, cos 2, …, which sees where each is."""
    flat = np.asarray(values, float).reshape(-1)
    finite = np.isfinite(flat)
    sound = np.where(finite, flat, 0)
    weights = np.cos(np.arange(1, flat.size + 1))
    means = [sound.mean(), (sound**2).mean() ** 0.5, (weights * sound).mean()] if flat.size else []
    return [int(finite.sum()), *(float(f"{mean:.{digits}g}") for mean in means)]


def digest(out: Path) -> dict:
    """Of a result: each variable and coordinate that is of numbers, weighed; the report."""
    data = xr.open_zarr(out / "data.zarr", consolidated=False, chunks=None).load()
    numbers = {}
    for name, held in sorted(data.variables.items()):
        if held.dtype.kind not in "biuf":
            continue
        numbers[str(name)] = weighed(held.values, 8)
    record = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    return {"precision": record["dtype"], "numbers": numbers, "said": record["report"]}


_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def apart(found: dict, kept: dict, name: str = "") -> list[str]:
    """Where two digests differ: numbers by more than rounding in another order makes of them, printed ones by
    more than one in their last digit (words alone of what is unsteady)."""
    faults = []
    near = UNSTEADY.get(name, NEAR[kept["precision"]])
    if list(found["numbers"]) != list(kept["numbers"]):
        faults.append(f"variables {list(found['numbers'])}, kept {list(kept['numbers'])}")
    for variable, there in kept["numbers"].items():
        here = found["numbers"].get(variable, there)
        if here[0] != there[0] or np.abs(np.subtract(here[1:], there[1:])).max() > near * there[2]:
            faults.append(f"{variable}: {here}, kept {there}")
    if len(found["said"]) != len(kept["said"]):
        faults.append(f"{len(found['said'])} lines, kept {len(kept['said'])}")
    for here, there in zip(found["said"], kept["said"]):
        same = _NUMBER.sub("#", here) == _NUMBER.sub("#", there)
        pairs = zip(_NUMBER.findall(here), _NUMBER.findall(there))
        if not same or (name not in UNSTEADY and not all(_alike(one, other) for one, other in pairs)):
            faults.append(f"{here!r}, kept {there!r}")
    return faults


def _alike(one: str, other: str) -> bool:
    """Equal, or apart by one in the last digit where there is a point."""
    if one == other:
        return True
    digits = [len(text.partition("e")[0].partition(".")[2]) for text in (one, other)]
    power = int(other.partition("e")[2] or 0)
    return digits[0] == digits[1] > 0 and abs(float(one) - float(other)) < 1.5 * 10.0 ** (power - digits[0])


def run(name: str, out: Path) -> int:
    words = [word for item in FEW[name] for word in ("--set", item)]
    return cli.main(["run", name, "--out", str(out), *words])


def main() -> int:
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    for name in sys.argv[1:] or FEW:
        with tempfile.TemporaryDirectory() as place:
            if run(name, Path(place) / "result"):
                return 1
            found = digest(Path(place) / "result")
        print(
            f"{name}: {'; '.join(apart(found, kept[name], name)) or 'as it was' if name in kept else 'new'}",
            flush=True,
        )
        kept[name] = found
        write(KEPT, {name: kept[name] for name in FEW if name in kept})
    return 0


if __name__ == "__main__":
    sys.exit(main())
