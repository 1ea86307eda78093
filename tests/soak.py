"""The gate of a release: every longer check, one after another, whatever became of those before.

Run: make soak [STAGES="faults wheel"]. A stage that passed on these very files is not run again, so that what
was stopped goes on; a stage that is named is. Ends with a summary: a line a stage, passed or FAILED, and how
long it took; exit code 1 if any failed.
"""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import found

# Name: the command.
STAGES = {
    "test": ["make", "test"],
    "thorough": ["make", "thorough"],
    "tables": ["make", "tables"],
    "fuzz": ["make", "fuzz"],
    "faults": ["make", "faults"],
    "mutants": ["make", "mutants"],
    "figures": ["make", "figures"],
    "wheel": ["sh", "-c", 'make wheel WHEEL_PYTHON="$(scripts/newest_python)"'],
    "scoreboard": ["make", "scoreboard"],
}


def run(stages: Mapping[str, Sequence[str]], *, again: bool = True) -> tuple[int, list[str]]:
    """(exit code, lines of the summary)."""
    lines, failed = [], 0
    for name, command in stages.items():
        old = None if again else found.current(f"stage-{name}")
        if old is not None and old["passed"]:
            seconds, ended = old["seconds"], f"passed on {old['date']}"
        else:
            print(f"soak: {name} …", flush=True)
            began, tree = time.monotonic(), found.tree()
            code = subprocess.run(command, cwd=found.ROOT, check=False).returncode
            seconds = round(time.monotonic() - began)
            found.keep(f"stage-{name}", tree, passed=code == 0, seconds=seconds)
            failed += code != 0
            ended = "passed" if code == 0 else f"FAILED (exit code {code})"
        minutes, seconds = divmod(seconds, 60)
        lines.append(f"{name:12} {minutes:3d} min {seconds:2d} s  {ended}")
    lines.append(f"{len(stages) - failed} of {len(stages)} stages passed")
    return (1 if failed else 0), lines


def main() -> int:
    names = sys.argv[1:] or list(STAGES)
    if unknown := [name for name in names if name not in STAGES]:
        print(f"soak: no stage {unknown[0]!r}; there are {', '.join(STAGES)}", file=sys.stderr)
        return 2
    code, lines = run({name: STAGES[name] for name in names}, again=bool(sys.argv[1:]))
    print("\nsoak:", *lines, sep="\n  ")
    return code


if __name__ == "__main__":
    sys.exit(main())
