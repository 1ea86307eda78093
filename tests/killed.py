"""Sweeps of the command that are killed at work, and what must then be so."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

from assocmem_jax import cli
from assocmem_jax.sweeps.store import Store

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
# 24 tasks, half a second of work.
SMALL = ("learning_rate.log=[0.1, 10.0, 6]", "imbalance.log=[0.3, 3.0, 9]", "steps=3000",
         "alpha.linear=[0.5, 1.0, 101]", "chunk=303")  # fmt: skip


def command(sizes):
    words = [w for size in sizes for w in ("--set", size)]
    return [Path(sys.executable).parent / "assocmem", "sweep", "gd_fig3", *words, "--out"]


def fingerprint(path):
    """SHA-256 of all data files."""
    mixed = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file() and "commits" not in p.parts):
        if not file.name.endswith(".partial"):
            mixed.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return mixed.hexdigest()


def commits(path):
    return {p: p.stat().st_mtime_ns for p in path.glob("commits/[0-9]*.json")}


def here(path, sizes=SMALL):
    """The same command in this process, which has JAX already."""
    assert cli.main([*map(str, command(sizes)[1:]), str(path)]) == 0


def killed_and_resumed(path, whole, least=1, sizes=SMALL):
    """SIGKILL as soon as ``least`` tasks are committed, then the same command again: (tasks that were then
    committed, whether all is as if nothing had happened)."""
    process = subprocess.Popen([*command(sizes), path], **QUIET)
    while len(commits(path)) < least and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    before, marks = commits(path), list(path.glob("commits/*.try-*"))
    here(path, sizes)
    kept = all(p.stat().st_mtime_ns == when for p, when in before.items())  # none computed again
    sound = kept and len(marks) <= 2 and fingerprint(path) == whole and Store(path).verify().faults == []
    return len(before), sound
