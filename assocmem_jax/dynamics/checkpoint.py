"""Runs that survive: PyTrees on disk, whole or not at all, and long runs in segments."""

import json
import math
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import checks
from ..files import checksum, put, tidy, versions
from ..progress import bar
from . import programs
from .records import joined, recorded, with_recorded
from .trajectory import Trajectory

_FORMAT = "assocmem_jax checkpoint 2"
# Bytes of the first line, and at most of the second.
_SEAL, _HEADER = 65, 2**26


class CheckpointError(ValueError):
    """A file that is not the checkpoint asked for. It has not been touched."""


def save(path: str | Path, tree: Any, **about: Any) -> None:
    """Write the arrays of a PyTree: a checksum of all that follows, a line of JSON (paths, shapes, dtypes,
    versions, ``about``), then the bytes of the leaves, at the precision in use (as JAX holds them).
    Beside its place first, then moved there: a file is whole or not there.
    """
    checks.a_path("path", path)
    path = Path(path)
    if path.is_dir():
        checks.refuse("path", "that of a file", f"{path}, a directory")
    tree = jax.tree.map(lambda leaf: leaf if _is_key(leaf) else _held(leaf), tree)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(_plain(tree))]
    content = b"".join(np.ascontiguousarray(leaf).tobytes() for leaf in leaves)
    header = {
        "format": _FORMAT, "leaves": _described(_plain(tree)), "bytes": len(content), "about": about,
        "versions": versions("jax", "equinox", "optax"),
    }  # fmt: skip
    try:
        line = json.dumps(header).encode()
    except (TypeError, ValueError) as fault:
        checks.refuse("about", "numbers, text, lists and mappings, as JSON has them", fault)
    path.parent.mkdir(parents=True, exist_ok=True)
    tidy(path.parent)
    put(path, checksum(line + b"\n" + content).encode() + b"\n" + line + b"\n" + content)


def load(path: str | Path, like: Any) -> Any:
    """The PyTree that was saved, in the structure of ``like`` (arrays, or shapes of ``jax.eval_shape``).

    Refused with ``CheckpointError``, in one line: a file that is cut short or altered, and leaves whose
    paths, shapes or dtypes are not those of ``like``.
    """
    checks.a_path("path", path)
    header, content = _opened(Path(path))
    try:
        plain = jax.eval_shape(_plain, like)
        wanted = _described(plain)
    except (TypeError, ValueError, OverflowError):
        checks.refuse("like", "a tree of arrays, or of their shapes", checks.short(like))
    for have, want in zip(header["leaves"], wanted):
        if have != want:
            raise CheckpointError(f"{path}: must hold {_words(want)}, got {_words(have)}")
    if len(header["leaves"]) != len(wanted):
        raise CheckpointError(f"{path}: must hold {len(wanted)} arrays, got {len(header['leaves'])}")
    leaves, at = [], 0
    for leaf in jax.tree.leaves(plain):
        dtype = np.dtype(leaf.dtype)
        size = math.prod(leaf.shape) * dtype.itemsize
        leaves.append(jnp.asarray(np.frombuffer(content[at : at + size], dtype).reshape(leaf.shape)))
        at += size
    found = jax.tree.unflatten(jax.tree.structure(plain), leaves)
    return jax.tree.map(_typed, found, like)


def fingerprint(tree: Any) -> str:
    """Of all numbers in a PyTree."""
    leaves = jax.tree.leaves(_plain(eqx.filter(tree, eqx.is_array)))
    return checksum(b"".join(np.asarray(leaf).tobytes() for leaf in leaves))


def _typed(leaf: Any, like: Any) -> Any:
    """Keys of any kind as keys again."""
    if not _is_key(like):
        return leaf
    return jax.random.wrap_key_data(leaf, impl=like.dtype._impl)


def in_segments(
    run: Callable[[Trajectory | None, int], Trajectory],
    steps: int,
    every: int,
    *,
    path: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Trajectory:
    """A long run as segments of ``every`` updates, with a checkpoint after each.

    ``run(previous, steps)`` makes a segment: ``simulate(…, Descent(…, steps=steps), resume=previous,
    resumable=True)``, under ``jit`` and ``vmap`` if you like (``previous`` is ``None`` for the start, where
    ``steps`` is 0). If ``path`` is there the run goes on from it, to the same bits as a run that was never
    stopped; ``about`` (anything JSON holds: say, the config) must then be what it was. ``steps`` must be a
    multiple of ``every``. A file of another task, loss, dynamics or start is refused, and one of
    another program: rates in optimizers, schedules, data and keys are part of it. Returns the whole
    trajectory, as one call of ``simulate`` would; with a ``path``, ``run`` is traced once more, for that.
    ``progress``: a bar on standard error (a line a minute where that is a log).
    """
    checks.a_function("run", run, "a function (previous, steps) -> Trajectory")
    if path is not None:
        checks.a_path("path", path)
    if about is not None and not isinstance(about, Mapping):
        checks.refuse("about", "names and what JSON can hold", checks.short(about))
    checks.truth("progress", progress)
    every = checks.count("every", every)
    if checks.count("steps", steps) % every:
        checks.refuse("steps", f"a multiple of every = {every}", steps)
    try:
        said = json.loads(json.dumps(dict(about or {})))
    except (TypeError, ValueError) as fault:
        checks.refuse("about", "names and what JSON can hold", fault)
    begun, done = run(None, 0), 0
    if begun.state is None:
        checks.refuse(
            "run", "a function of resumable runs", "one without state", "simulate(…, resumable=True)"
        )
    # What the run is made of, as far as it says: the start, and loss and dynamics where it is not traced.
    said_of = {name: begun.provenance.get(name) for name in ("task", "loss", "dynamics")}
    origin = {**said_of, "start": fingerprint(begun), "program": path and _program(run, _ended(begun), every)}
    whole = begun
    if path is not None and os.path.exists(path):
        header, _ = _opened(Path(path))
        known = header["about"]
        done = known.get("done")
        if known.get("run") != said or known.get("every") != every or type(done) is not int or done < 0:
            raise CheckpointError(
                f"{path}: is of another run: {checks.short(known)}; choose another path or remove it"
            )
        for name, now in origin.items():
            if now is not None and known.get(name) not in (now, None):
                raise CheckpointError(
                    f"{path}: is of a run of another {name}; choose another path or remove it"
                )
        if done * every > steps:
            raise CheckpointError(f"{path}: holds {done * every} steps, more than the {steps} asked for")
        whole = load(path, _lengthened(begun, header["leaves"]))
    if progress and done:
        print(f"going on from step {done * every} of {steps}", file=sys.stderr)
    with bar(steps, unit=" steps", initial=done * every, quiet=not progress) as shown:
        for k in range(done, steps // every):
            last = run(_ended(whole), every)
            whole = joined(whole, last)
            if path is not None:
                save(path, whole, run=said, every=every, done=k + 1, **origin)
            shown.update(every)
    return whole


def _program(run: Callable, previous: Trajectory, every: int) -> str | None:
    """What a segment computes, with its rates, schedules, data and keys; None where it cannot be traced."""
    try:
        return programs.digest(jax.make_jaxpr(lambda previous: run(previous, every))(previous)).hexdigest()
    except Exception:  # it looks at numbers of the previous one, or ends here for reasons of its own
        return None


def _ended(whole: Trajectory) -> Trajectory:
    """With its last entry only: the same shapes for every segment."""
    axis = whole.status.ndim
    cut = lambda a: jax.lax.slice_in_dim(jnp.asarray(a), a.shape[axis] - 1, a.shape[axis], axis=axis)  # noqa: E731
    return with_recorded(whole, jax.tree.map(cut, recorded(whole)))


def _lengthened(begun: Trajectory, leaves: list[list]) -> Trajectory:
    """Shapes of a trajectory with as many entries as a file holds times."""
    axis = begun.status.ndim
    entries = next((shape[-1] for name, shape, _ in leaves if name == ".times" and shape), 1)

    def size(a):
        return jax.ShapeDtypeStruct((*a.shape[:axis], entries, *a.shape[axis + 1 :]), a.dtype)

    shapes = jax.eval_shape(lambda run: run, begun)
    return with_recorded(shapes, jax.tree.map(size, recorded(shapes)))


def _held(leaf: Any) -> np.ndarray:
    """An array at the precision in use; refused where its numbers have no place there."""
    known = checks.numbers("a leaf of tree", leaf)
    with np.errstate(over="ignore"):
        held = known.astype(jax.dtypes.canonicalize_dtype(known.dtype))
    # Of equal dtypes nothing is lost: a NaN of bfloat16, which is no float to NumPy, is not what it was.
    if held.dtype != known.dtype:
        lost = checks.lost(known, held.dtype) if known.dtype.kind == "f" else held != known
        if lost.any():
            wanted, found = f"numbers that {held.dtype} can hold", checks.short(known[lost].flat[0])
            checks.refuse("a leaf of tree", wanted, found, checks.X64)
    return held


def _is_key(leaf) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(tree):
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)


def _described(tree) -> list[list]:
    return [
        [jax.tree_util.keystr(path), list(np.shape(leaf)), str(jnp.result_type(leaf))]
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _words(leaf) -> str:
    return f"{leaf[0]} as {leaf[2]}{leaf[1]}"


def _opened(path: Path) -> tuple[dict[str, Any], bytes]:
    """(header, bytes of the leaves), of a file in which both are what they say: checked before memory is
    taken for it."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise CheckpointError(f"{path}: cannot be read: no regular file")
            seal, line = file.readline(_SEAL), file.readline(_HEADER)
            header = _header(path, line)
            size, there = header["bytes"], about.st_size - file.tell()
            if there < size:
                raise CheckpointError(f"{path}: is cut short: {there} bytes of {size}")
            if there > size:
                raise CheckpointError(
                    f"{path}: has been altered: {there} bytes of arrays where {size} were written"
                )
            content = file.read()
    except OSError as fault:
        raise CheckpointError(f"{path}: cannot be read: {fault.strerror or fault}") from None
    if checksum(line + content).encode() + b"\n" != seal:
        raise CheckpointError(f"{path}: has been altered: its checksum is wrong")
    return header, content


def _header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: is not a checkpoint of this version")
    leaves = header.get("leaves")
    if not (
        isinstance(leaves, list) and all(map(_is_leaf, leaves)) and isinstance(header.get("about"), dict)
    ):
        raise CheckpointError(f"{path}: is not a checkpoint of this version: its header lacks something")
    size = sum(math.prod(shape) * jnp.dtype(dtype).itemsize for _, shape, dtype in leaves)
    if type(header.get("bytes")) is not int or header["bytes"] != size:
        raise CheckpointError(f"{path}: must hold {size} bytes of arrays, got {header.get('bytes')}")
    return header


def _is_leaf(leaf: Any) -> bool:
    """Whether it is [path, shape, dtype]."""
    return (
        isinstance(leaf, list)
        and [type(part) for part in leaf] == [str, list, str]
        and all(type(n) is int and n >= 0 for n in leaf[1])
        and re.fullmatch(r"bool|bfloat16|(u?int|float|complex)\d+", leaf[2]) is not None
        and _known_dtype(leaf[2])
    )


def _known_dtype(name: str) -> bool:
    try:
        return jnp.dtype(name).itemsize > 0
    except TypeError:
        return False
