"""Start-up: ``assocmem --help`` within 0.1 s, GD Figure 2 cold within 12 s."""

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


def main():
    help_time = float(np.median([wall("--help") for _ in range(7)]))
    machine.report("assocmem --help within 0.1 s", 1, 0.1 / help_time, seconds=help_time)
    with tempfile.TemporaryDirectory() as place:
        runs = [wall("run", "gd_fig2", "--out", f"{place}/{i}") for i in range(3)]
    figure = float(np.median(runs))
    machine.report("GD Figure 2 from its config, a cold process, within 12 s", 1, 12 / figure, seconds=figure)


if __name__ == "__main__":
    machine.run(main)
