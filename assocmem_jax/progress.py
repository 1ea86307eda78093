"""Progress of long work: a bar with the time left on a terminal, a line a minute in a log."""

import sys
from typing import Any

from tqdm import tqdm


class _Lines:
    """A log: every state of the bar a line of its own."""

    def __init__(self, stream: Any):
        self.stream = stream

    def write(self, text: str) -> None:
        if words := text.strip():
            self.stream.write(words + "\n")

    def flush(self) -> None:
        self.stream.flush()


def watched() -> bool:
    """Whether standard error is a terminal (where it was closed it is nothing)."""
    return sys.stderr is not None and sys.stderr.isatty()


def bar(total: int | None, *, unit: str, desc: str = "", initial: int = 0, quiet: bool = False) -> tqdm:
    """A bar on standard error; of work that ends within seconds (a log: within a minute) nothing is seen."""
    options: dict[str, Any] = {"total": total, "unit": unit, "desc": desc, "initial": initial}
    quiet = quiet or sys.stderr is None
    if quiet or watched():
        return tqdm(**options, disable=quiet, delay=1, dynamic_ncols=True)
    return tqdm(**options, file=_Lines(sys.stderr), mininterval=60, maxinterval=60, delay=60, ncols=90)
