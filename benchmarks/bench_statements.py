"""``assocmem check`` on everything, a cold process, within three minutes on two cores.

Notes. Most of a check is compilation, on two threads."""

import subprocess
import sys
import time
from pathlib import Path

import machine

LIMIT = 180.0


def main():
    began = time.perf_counter()
    run = subprocess.run(
        [Path(sys.executable).parent / "assocmem", "check"], capture_output=True, text=True, check=True
    )
    elapsed = time.perf_counter() - began
    summary = run.stdout.strip().splitlines()[-1]
    machine.within(
        f"`assocmem check`, 1,024 problems a statement, a cold process ({summary})", LIMIT, elapsed, "s",
        ", measured once", seconds=elapsed,
    )  # fmt: skip


if __name__ == "__main__":
    machine.run(main)
