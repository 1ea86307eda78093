"""What the commands share: how they refuse, where results go, what JAX is told before it starts."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ..named import NamedError, told
from ..studies.config import ConfigError, printable
from ..studies.study import Study
from .out import said
from .stop import code, heeded

T = TypeVar("T")
# Of a refusal, in characters.
_LONGEST = 300
# More than processors have threads.
_DEVICES = 1024


class RecordError(Exception):
    """What is on disk stands in the way: lines to print, and the exit code."""

    def __init__(self, *lines: str, code: int = 2):
        super().__init__(*(f"assocmem: {line}" for line in lines))
        self.code = code


def reported(action: Callable[[], Iterable[str]]) -> int:
    """Run and print the lines it returns; a refusal is one line and its exit code (2)."""
    try:
        lines = list(action())
    except RecordError as fault:
        return refused(fault.args, fault.code)
    except ConfigError as fault:
        return refused(fault.lines)
    except (NamedError, MemoryError) as fault:  # what a config names is not there, or is too large
        return refused([f"assocmem: {str(fault) or 'memory: not enough; make the sizes smaller'}"])
    except ValueError as fault:
        if not getattr(fault, "refused", False):  # no refusal of ours
            raise
        return refused([f"assocmem: {fault}"])
    except BrokenPipeError:  # of a study that prints
        raise
    except OSError as fault:
        if isinstance(fault, FileNotFoundError) and fault.filename is None:  # os.getcwd()
            return refused(["assocmem: the working directory is not there any more: cd to one that is"], 1)
        return refused([f"assocmem: {told(fault)}"], 1)
    except RuntimeError as fault:  # ours or JAX's, whose classes are not imported here
        if hasattr(fault, "trajectory"):  # a run that the study cannot do without ended early
            return refused([f"assocmem: {fault}"])
        asked = re.search(r"(?:RESOURCE_EXHAUSTED|Out of memory).*?(\d+) bytes", str(fault))
        if asked is None:
            raise
        size = f"an array of {int(asked[1]) / 2**30:.3g} GiB"
        return refused([f"assocmem: memory: {size} is more than there is; make the sizes smaller"])
    said(*(printable(line, "\n") for line in lines))
    return 0


def refused(lines: Iterable[str], code: int = 2) -> int:
    """A line each, of nothing that moves a terminal, and no longer than can be read: names stand first, what
    to do last."""
    for line in lines:
        words = printable(line)
        cut = f"{words[: _LONGEST - 101]}…{words[-100:]}"
        print(words if len(words) <= _LONGEST else cut, file=sys.stderr)
    return code


def place(config: str, study: Study, ending: str = "") -> Path:
    """Where a result goes unless told: results/NAME-HASH, named after the config, or, for the config.json of
    a result, after that result."""
    path = Path(config)
    with contextlib.suppress(OSError, RuntimeError):  # a working directory that is gone, a link to itself
        path = path.resolve()
    name = path.stem
    if name == "config":  # of a result, or the only one of its directory
        of_result = re.fullmatch(r"(.+)-[0-9a-f]{8}(\.zarr)?", path.parent.name)
        name = of_result[1] if of_result else path.parent.name or name
    return Path("results") / f"{name}-{study.hash()[:8]}{ending}"


def usable(out: Path) -> Path:
    """A place where a result can be, as far as its name and the folders above tell; else refused."""
    above = next((folder for folder in (out, *out.parents) if os.path.exists(folder)), Path())
    if not os.path.isdir(above):
        raise RecordError(f"--out must be in a directory, got {out}: {above} is none")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.lstat(out)
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise RecordError(f"--out must be a path, got {str(out)[:80]!r}: {reason}") from None
    return out


def interruptible(work: Callable[[], T], kept: Callable[[], str]) -> T:
    """Run in a thread of its own: Ctrl-C and SIGTERM are then heard at once, whatever XLA computes. What is
    on disk is whole at any time, so the process ends there and then; ``kept`` says what a second run goes on
    from."""
    with heeded(), ThreadPoolExecutor(1) as pool:
        try:
            return pool.submit(work).result()
        except KeyboardInterrupt as stop:
            print(f"\nassocmem: interrupted; {kept()}", file=sys.stderr, flush=True)
            os._exit(code(stop))


@contextlib.contextmanager
def written(out: Path | str, code: int = 1):
    """What the disk refuses while a result is written is one line."""
    try:
        yield
    except OSError as fault:
        raise RecordError(f"{out}: cannot be written: {fault.strerror or fault}", code=code) from None


@contextlib.contextmanager
def starting():
    """What the environment asks for that is not there, or cannot be read, is one line: a device of JAX's, a
    number of tqdm's."""
    try:
        yield
    except (RuntimeError, AssertionError, ValueError) as fault:
        reason = (str(fault).splitlines() or [""])[0] or "there is no such device"
        where = "look at JAX_PLATFORMS and all else that begins with JAX_ or TQDM_ in the environment"
        raise RecordError(f"JAX cannot start: {reason}; {where}") from fault


def started(*, double: bool = False) -> None:
    """JAX and what stands on it, on the devices that there are; ``double``: in float64."""
    with starting():
        import jax

        from .. import dynamics  # noqa: F401

        if double:
            jax.config.update("jax_enable_x64", True)
        jax.devices()


def prepare(study: Study, devices: int | None = None, *, parallel: bool = False) -> None:
    """JAX as this study needs it: its precision, and as many CPU devices as there are cores if it (or what
    is done with it) splits its work, or as many as are asked for."""
    with starting():
        import jax

        from ..dynamics import programs
    from ..machine import cores

    jax.config.update("jax_enable_x64", study.precision == "float64")
    if devices is not None:
        if not 1 <= devices <= _DEVICES:
            raise RecordError(f"--devices must be from 1 to {_DEVICES}, got {str(devices)[:20]}")
        try:
            jax.config.update("jax_num_cpu_devices", devices)
        except RuntimeError:
            raise RecordError("--devices: JAX has started already; its devices cannot be changed") from None
    elif parallel or study.parallel:
        with contextlib.suppress(RuntimeError):  # JAX is already running: as many devices as it has
            jax.config.update("jax_num_cpu_devices", cores())
    with starting():
        jax.devices()
    programs.bounded(look=True)


def draw(study: Study, data: Any, stem: Path) -> None:
    """The figure of a study as PNG and PDF, its curves computed at the precision of the study.

    Data may be anybody's, and so may the study: whatever its figure raises is one line."""
    import jax

    from ..plot import boxes, paper, save

    try:
        with jax.enable_x64(study.precision == "float64"), paper(), boxes():
            save(study.figure(data), stem)
    except OSError:  # of the disk
        raise
    except Exception as fault:
        raise RecordError(f"{stem}.png: cannot be drawn of these data: {told(fault)}", code=1) from fault
