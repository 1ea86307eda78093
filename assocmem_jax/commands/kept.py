"""Compiled programs, kept from one command to the next in the user's cache folder."""

import contextlib
import hashlib
import os
from importlib import metadata
from pathlib import Path

_ROOM = 2**30
# Looking at more files than these takes longer than reading what they save.
_FILES = 10_000


def programs() -> None:
    """Tell JAX, before it is imported, where to keep what it compiles.

    In ``$XDG_CACHE_HOME/assocmem_jax`` (``~/.cache``), a folder for each version of jaxlib and kind of
    processor (a program may not run on another), a gibibyte at most of each: small programs too, for the
    smallest takes 15 ms to compile and 2 to read. A place of the user's own, or none at all, is JAX's to say:
    ``JAX_COMPILATION_CACHE_DIR=…``, ``JAX_ENABLE_COMPILATION_CACHE=false``.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        place = home / "assocmem_jax" / f"jaxlib-{metadata.version('jaxlib')}-{_processor()}"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _tidy(place)
    except (OSError, RuntimeError):  # no home, or one that cannot be written: compile, as ever
        return
    if os.access(place, os.W_OK):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(place)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def _processor() -> str:
    """What distinguishes processors that run different instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        words = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        words = list(map(str, os.uname()[2:])) if hasattr(os, "uname") else []
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


def _tidy(place: Path) -> None:
    """Remove the oldest files of a folder until the rest fits; another command may do the same."""
    files = []
    for file in place.iterdir():
        with contextlib.suppress(OSError):
            files.append((file.stat().st_mtime, file.stat().st_size, file))
    used, files = sum(size for _, size, _ in files), sorted(files)
    for k, (_, size, file) in enumerate(files):
        if used <= _ROOM and len(files) - k <= _FILES:
            break
        file.unlink(missing_ok=True)
        used -= size
