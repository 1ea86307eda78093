"""Being told to stop: SIGTERM, which schedulers send before they kill, is heard as Ctrl-C is."""

import contextlib
import signal
import threading
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM."""


def code(stop: KeyboardInterrupt) -> int:
    """What a shell is told: 128 and the signal."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


@contextlib.contextmanager
def heeded():
    """Inside, SIGTERM raises ``Terminated`` in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
