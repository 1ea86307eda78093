"""Reading arrays that others may have written: Zarr format 3, plain numbers and words, nothing outside."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import machine
from .ledger import said, walked
from .store import StoreError

# Nothing that runs code or that this package does not write.
_CODECS = {"blosc", "bytes", "crc32c", "gzip", "transpose", "vlen-utf8", "zstd"}
_KINDS = {"bool", "complex", "fixed_length_utf", "float", "int", "string", "uint"}  # int of int64
_FORMAT_2 = {".zarray", ".zattrs", ".zgroup", ".zmetadata"}


def place(path: str | os.PathLike) -> Any:
    """A directory as xarray takes it for that one: of a path, it expands ``~`` and takes ``::`` for a URL."""
    from zarr.storage import LocalStore

    return LocalStore(os.path.abspath(path))


def dataset(path: str | os.PathLike) -> Any:
    """The ``xarray.Dataset`` in a directory; values are read when indexed.

    ``StoreError``, in one line, where it is no Zarr group of format 3, has links, or names codecs that
    numbers and words do not need."""
    import xarray as xr

    root = Path(path)
    if not os.path.isdir(root):
        raise StoreError(f"{root}: no such store that can be read")
    for name, what in walked(root):
        last = name.rpartition("/")[2]
        if what is not None:
            raise StoreError(f"{root}: {name} is {what}: it is not read")
        if last in _FORMAT_2:
            raise StoreError(f"{root}: {name} is of Zarr format 2; results are of format 3")
        if last == "zarr.json":
            _described(root, name)
    with sound(root):
        return xr.open_zarr(place(root), chunks=None, consolidated=False, zarr_format=3)


@contextlib.contextmanager
def sound(root: str | os.PathLike) -> Iterator[None]:
    """Whatever Zarr, a codec or xarray finds wrong with what others wrote is one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as fault:
        reason = (str(fault).splitlines() or [type(fault).__name__])[0]
        raise StoreError(f"{root}: cannot be read as Zarr: {reason[:160]}") from None


def whole(path: str | os.PathLike) -> Any:
    """The same with its values, if memory can hold them."""
    with dataset(path) as data:
        if excess := beyond(data):
            raise StoreError(f"{path}: is too large to be read at once: {excess}")
        with sound(path):
            return data.load()


def beyond(data: Any) -> str | None:
    """What memory lacks for all values of a Dataset, if it does."""
    free = machine.free()
    if free is None or data.nbytes <= free:
        return None
    return f"{data.nbytes / 2**30:.3g} GiB of values, {free / 2**30:.3g} GiB is free"


def _described(root: Path, name: str) -> None:
    """Refuse a description of what is not plain numbers or words."""
    try:
        about = said(root / name)
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise StoreError(f"{root}: {name} is {reason}") from None
    if about.get("zarr_format") != 3:
        raise StoreError(f"{root}: {name} is not of Zarr format 3")
    if about.get("node_type") == "group":
        return
    kind = about.get("data_type")
    kind = kind.get("name") if isinstance(kind, dict) else kind
    if not isinstance(kind, str) or kind.rstrip("0123456789") not in _KINDS:
        raise StoreError(f"{root}: {name} has values of type {kind!r}: no plain numbers or words")
    codecs = about.get("codecs")
    for codec in codecs if isinstance(codecs, list) else [None]:
        used = codec.get("name") if isinstance(codec, dict) else None
        if not isinstance(used, str) or used not in _CODECS:
            raise StoreError(f"{root}: {name} names the codec {used!r}, which results do not use")
    # A chunk that is no file is none to Zarr, which fills in what is missing.
    shape = about.get("shape")
    chunks = "/".join(["c", *"*" * len(shape)]) if isinstance(shape, list) else "c"
    for chunk in (root / name).parent.glob(chunks):
        if os.path.isdir(chunk):
            raise StoreError(f"{root}: {chunk.relative_to(root)} is a directory, no chunk")
