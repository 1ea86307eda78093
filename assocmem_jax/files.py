"""Files that are whole or not there: atomic writes, checksums, versions. Once, for all that is kept."""

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from importlib import metadata
from pathlib import Path

_DAY = 86_400
_NAME, _CUT = 255, 160  # bytes: of the longest name, and of what is kept of one
# What a number depends on: written beside every result.
PACKAGES = ("assocmem_jax", "jax", "equinox", "diffrax", "optax", "numpy", "scipy", "xarray", "zarr")


@functools.cache
def version(package: str) -> str:
    """As installed; of a source tree that is only on the path, that it is."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def versions(*packages: str) -> dict[str, str]:
    """Package → version; all of ``PACKAGES`` unless named."""
    return {name: version(name) for name in packages or PACKAGES}


def checksum(content: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest(path: Path) -> list:
    """[size, checksum] of a file."""
    content = path.read_bytes()
    return [len(content), checksum(content)]


def digests(folder: Path) -> dict[str, list]:
    """Name in a folder → [size, checksum], of every file in it."""
    return {str(f.relative_to(folder)): digest(f) for f in sorted(folder.rglob("*")) if f.is_file()}


def beside(path: Path) -> Path:
    """A name beside a path that nobody can know beforehand: what is written there is moved into place."""
    return hidden(path, f"-{_here()}-{os.getpid()}-{secrets.token_hex(8)}")


def hidden(path: Path, ending: str) -> Path:
    """``.NAME`` and an ending beside a path. A name that has no room for it stands cut, with its checksum."""
    name = os.fsencode(path.name)
    if 1 + len(name) + len(ending.encode()) > _NAME:
        name = name[:_CUT].decode(errors="ignore").encode() + f"~{checksum(name)[:16]}".encode()
    return path.with_name(f".{os.fsdecode(name)}{ending}")


def tried(path: Path) -> None:
    """``OSError`` unless something can be put at a path, by the same steps: what modes tell is not all. What
    processes that were killed left beside it is removed."""
    if path.name in ("", ".."):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "no name has a null byte")
    with contextlib.suppress(FileNotFoundError):
        os.lstat(path)
    fresh = beside(path)
    fresh.mkdir()
    fresh.rmdir()
    tidy(path.parent)


def remove(folder: Path) -> None:
    """With all that is in it; of a link, only the link."""
    with contextlib.suppress(FileNotFoundError):  # another process may remove it too
        folder.unlink() if folder.is_symlink() else shutil.rmtree(folder)


def aside(path: Path) -> Path:
    """Move what is at a path to a hidden name, where ``tidy`` finds it: all of it is gone at once."""
    old = beside(path)
    os.replace(path, old)
    return old


@functools.cache
def _here() -> str:
    """Where a process number means a process: one start of one machine, one container. It tells no name."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return checksum(f"{boot}{os.readlink('/proc/self/ns/pid')}".encode())[:8]
    return "unknown0"


def tidy(folder: Path) -> None:
    """Remove what processes that were killed left half written in a folder: of this machine, and of any after
    a day. What a living process writes is left alone."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # none yet, or one that may not be listed
        return
    for entry in entries:
        found = re.fullmatch(r"\..+-([0-9a-z]{8})-(\d+)-[0-9a-f]{16}", entry.name)
        if found is None or entry.is_symlink():
            continue
        with contextlib.suppress(OSError):  # moved into place or removed meanwhile, or another user's
            old = time.time() - entry.stat().st_mtime > _DAY
            if old or (found[1] == _here() != "unknown0" and not _alive(int(found[2]))):
                shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _named(path: Path):
    """What the system says of a write or a sync names no file; here it does."""
    try:
        yield
    except OSError as fault:
        fault.filename = str(path)
        raise


def put(path: str | Path, content: str | bytes) -> None:
    """Write atomically: beside its place, sync, rename, sync the directory. A link there is replaced."""
    path = Path(path)
    raw = content.encode() if isinstance(content, str) else content
    fresh = beside(path)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # less the umask
    try:
        with _named(path), os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync(path.parent)


def read(path: str | Path, most: int | None = None, *, links: bool = False) -> bytes:
    """The content of a file that others may have put there: of no pipe or device, of no link (unless
    ``links``), and no more than ``most`` bytes; else ``OSError``."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW))
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "no regular file")
        if most is not None and about.st_size > most:
            raise OSError(errno.EFBIG, f"{about.st_size} bytes where at most {most} can be")
        return file.read()


def sync(path: Path) -> None:
    """What was renamed in a directory (or written to a file) survives a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with _named(path):
            os.fsync(handle)
    finally:
        os.close(handle)


class Fresh:
    """A directory filled beside its place and moved there when complete: ``with Fresh(out) as place: …``.

    What was there is replaced as a whole; if anything is raised, it is as it was.
    """

    def __init__(self, out: Path):
        self.out = out

    def __enter__(self) -> Path:
        self.place = beside(self.out)
        self.place.mkdir()
        return self.place

    def __exit__(self, kind, fault, trace) -> None:
        try:
            if kind is not None:
                return
            if os.path.lexists(self.out):
                old = aside(self.out)
                os.replace(self.place, self.out)
                remove(old)
            else:
                os.replace(self.place, self.out)
            sync(self.out.parent)
        finally:
            shutil.rmtree(self.place, ignore_errors=True)
