"""Standard output: whoever reads it may leave, the device that holds it may be full."""

import os
import sys


class Unheard(Exception):
    """Standard output takes no more; its cause is what the system said."""


def said(*lines: str) -> None:
    """Print, now; ``Unheard`` if that fails, as an ``OSError`` may be of any file."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except OSError as fault:
        raise Unheard from fault


def opened() -> None:
    """Streams that were closed (``>&-``), which Python has as ``None``, lead nowhere, and no file that is
    opened later is there instead, where C prints."""
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(spare)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def silenced() -> None:
    """Python flushes standard output once more at its end: to nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
