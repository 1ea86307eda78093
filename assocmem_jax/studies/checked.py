"""What ``assocmem check`` does."""

import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from .record import RecordError


def run(what: Sequence[str], samples: int, seed: int, out: Path | None, files: Sequence[Path]) -> int:
    """Check, print rows as they come; returns the exit code: 1 if a corrected form fails."""
    import jax

    jax.config.update("jax_enable_x64", True)
    try:
        if out is not None and (out.is_dir() or not os.access(out.resolve().parent, os.W_OK)):
            raise RecordError(f"--json {out}: cannot be written there")
        _load(files)
        from ..statements import check

        report = check(*what, samples=samples, seed=seed, show=lambda line: print(line, flush=True))
        if out is not None:
            fresh = out.with_name(f".{out.name}.new")
            fresh.write_text(report.to_json() + "\n", encoding="utf-8")
            os.replace(fresh, out)
    except RecordError as fault:
        print(*fault.args, sep="\n", file=sys.stderr)
        return fault.code
    except ValueError as fault:  # a refusal of ours: one line
        print(f"assocmem: {fault}", file=sys.stderr)
        return 2
    return 0 if report.ok else 1


def listed(what: Sequence[str], files: Sequence[Path]) -> list[str]:
    """One line for each statement."""
    _load(files)
    from ..statements import statements

    try:
        found = statements(*what)
    except ValueError as fault:
        raise RecordError(str(fault)) from None
    return [f"{s.id:<10} {s.verdict:<6} {s.where:<34} {s.says}" for s in found]


def _load(files: Sequence[Path]) -> None:
    for file in files:
        try:
            runpy.run_path(str(file))
        except Exception as fault:
            reason = str(fault).splitlines()[0] if str(fault) else ""
            raise RecordError(f"--from {file}: {type(fault).__name__}: {reason}") from None
