"""Files that are whole or not there: atomic writes, checksums, versions. Once, for all that is kept."""

import functools
import hashlib
import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

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


def put(path: str | Path, content: str | bytes) -> None:
    """Write atomically: beside its place, sync, rename, sync the directory."""
    path = Path(path)
    raw = content.encode() if isinstance(content, str) else content
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """What was renamed in a directory (or written to a file) survives a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
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
        self.place = Path(tempfile.mkdtemp(dir=self.out.parent, prefix=f".{self.out.name}-"))
        os.chmod(self.place, 0o755)
        return self.place

    def __exit__(self, kind, fault, trace) -> None:
        try:
            if kind is not None:
                return
            if self.out.exists():
                old = Path(tempfile.mkdtemp(dir=self.out.parent, prefix=f".{self.out.name}-old-"))
                os.replace(self.out, old / "result")
                os.replace(self.place, self.out)
                shutil.rmtree(old)
            else:
                os.replace(self.place, self.out)
            sync(self.out.parent)
        finally:
            shutil.rmtree(self.place, ignore_errors=True)
