"""Planted faults: each is applied to a copy of the package, and the tests named must then fail.

Run: python tests/faults.py [NAME …]. Prints one line a fault; exit code 1 if any goes unnoticed. What all of
them gave is kept for the scoreboard (tests/found.py); a run of all that was stopped goes on where it was.
"""

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import found

ROOT = Path(__file__).parent.parent


def _collected() -> dict[str, tuple[str, str, str, str]]:
    """Those of the engine and of every wing: ``FAULTS`` of tests/*/faults.py."""
    all: dict[str, tuple[str, str, str, str]] = {}
    for path in sorted(Path(__file__).parent.glob("*/faults.py")):
        known = runpy.run_path(str(path))["FAULTS"]
        assert not set(known) & set(all), f"{path}: a name is taken"
        all |= known
    return all


FAULTS = _collected()


def caught(name: str) -> tuple[str, bool, str]:
    file, right, fault, tests = FAULTS[name]
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(ROOT / "assocmem_jax", Path(place) / "assocmem_jax")
        target = Path(place) / "assocmem_jax" / file
        text = target.read_text(encoding="utf-8")
        if text.count(right) < 1:
            return name, False, "the code it replaces is gone: update the fault"
        text = text.replace(right, fault)
        if "jax.lax.stop_gradient" in fault and "import jax\n" not in text:
            text = text.replace("import jax.numpy as jnp", "import jax\nimport jax.numpy as jnp", 1)
        target.write_text(text, encoding="utf-8")
        file, *options = tests.split(" -k ")
        command = [
            Path(sys.executable).parent / "pytest",
            ROOT / "tests" / file,
            "-x",
            "--no-header",
            "-p",
            "no:cacheprovider",
            "-m",
            "not examples",
        ]
        command += ["-k", options[0].strip("'")] if options else []
        run = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": place},
        )
        last = run.stdout.strip().splitlines()[-1:] or [""]
        # 1: tests ran and failed. Anything else (0 passed, 2-5 did not run) is not a catch.
        return name, run.returncode == 1, last[0]


def main() -> int:
    names, whole = sys.argv[1:] or list(FAULTS), not sys.argv[1:]
    tree, missed = found.tree(), []
    before = found.passed("faults", tree) if whole else {}
    if before:
        print(f"{len(before)} were caught on these files before", flush=True)
    with ThreadPoolExecutor(2) as pool:
        for name, seen, why in pool.map(caught, [name for name in names if name not in before]):
            print(f"{'caught' if seen else 'MISSED'}  {name}" + ("" if seen else f"  ({why})"), flush=True)
            missed += [] if seen else [name]
            if seen and whole:
                found.passing("faults", tree, before := before | {name: why})
    print(f"{len(names) - len(missed)} of {len(names)} planted faults caught")
    if whole:
        found.keep("faults", tree, planted=len(names), missed=missed)
        found.forget("faults-passed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
