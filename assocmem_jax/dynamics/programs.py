"""Compiled programs, 8 to 18 MB each, are kept by JAX while a process lives: how many at most."""

import jax

from .. import machine

# Shapes of runs that are kept compiled. ``jax.clear_caches()`` forgets all of them at any time.
MOST = 128

_traced = _known = 0


def traced() -> None:
    """Called where a run is traced, which is when its program is compiled."""
    global _traced
    _traced += 1


def bounded(look: bool = False) -> None:
    """Forget all programs once there are too many, these or others of the process; the next runs compile
    theirs again. ``look``: at those others also where no run has been traced since the last time."""
    global _traced, _known
    if _traced > MOST or ((look or _traced != _known) and machine.crowded()):
        jax.clear_caches()
        _traced = 0
    _known = _traced
