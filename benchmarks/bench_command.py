"""Start-up: ``assocmem --help`` within 0.1 s; GD Figure 2 within 7 CPU-seconds, in a second process 4.

Notes. Of a second process' CPU-seconds imports are 1.7 and the figure 1 (27 November 2026). In the same
minutes (28 November): 4.3 when what compiles in less than .1 s was not kept, then 3.8 (five runs each,
beside other work); 4.8 when Python looked for garbage as often as it does unless told, then 4.2 (four runs
each). xarray imports dask where there is one, .6 more: `make test` installs it, `make demo` does not.
CPU-seconds are of the machine: a third more in its slower hours."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import machine

COMMAND = (
    shutil.which("assocmem", path=str(Path(sys.executable).parent)) or shutil.which("assocmem") or "assocmem"
)


def wall(*arguments):
    began = time.perf_counter()
    subprocess.run([COMMAND, *arguments], check=True, capture_output=True)
    return time.perf_counter() - began


def cpu(first):
    """CPU-seconds of GD Figure 2 with the compiled programs of an earlier process, or with none."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    with tempfile.TemporaryDirectory() as place:
        for out in ("one",) if first else ("one", "two"):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                [COMMAND, "run", "gd_fig2", "--out", f"{place}/{out}"],
                check=True, capture_output=True, env=kept | {"XDG_CACHE_HOME": place},
            )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    help_time = float(np.median([wall("--help") for _ in range(7)]))
    machine.within("`assocmem --help`", 0.1, help_time, "s", seconds=help_time)
    for what, limit, first in (("no program kept", 7, True), ("a second process", 4, False)):
        figure = float(np.median([cpu(first) for _ in range(3)]))
        machine.within(f"GD Figure 2 from its config, {what}", limit, figure, "CPU-s", cpu_seconds=figure)


if __name__ == "__main__":
    machine.run(main)
