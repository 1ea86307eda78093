"""Compiled programs, 8 to 18 MB each, are kept by JAX while a process lives: how many at most."""

import jax

# Shapes of runs that are kept compiled. ``jax.clear_caches()`` forgets all of them at any time.
MOST = 128

_traced = 0


def traced() -> None:
    """Called where a run is traced, which is when its program is compiled."""
    global _traced
    _traced += 1


def bounded() -> None:
    """Forget all programs once there are too many; the next runs compile theirs again."""
    global _traced
    if _traced > MOST:
        jax.clear_caches()
        _traced = 0
