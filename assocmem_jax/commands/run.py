"""A result on disk: config.json, provenance.json, data.zarr, figure.png, figure.pdf.

Written beside its place and moved there when complete, so that a directory is a whole result.
"""

import contextlib
import datetime
import json
import os
import platform
import shutil
import sys
import time
from pathlib import Path

from ..files import Fresh, digests, hidden, read, tidy, tried, versions
from ..named import told, untrusted
from ..studies.config import ConfigError, load
from ..studies.study import Study
from .common import RecordError, draw, interruptible, prepare, started, written

# Of what a result says of itself, in bytes.
_LONGEST = 2**26


def run(study: Study, out: Path, *, force: bool = False) -> list[str]:
    """Run a study into ``out`` unless it is there already; returns the lines to print."""
    if os.path.exists(out) and not force:
        found = _provenance(out)
        if found is None:
            raise RecordError(f"{out} exists and is not a result: choose another --out")
        if found["config_hash"] != study.hash():
            raise RecordError(f"{out} holds another config: choose another --out, or --force to replace it")
        if not os.path.isfile(out / "figure.png"):  # which failed
            started()
            _drawn(study, out, found)
        return [f"{out} is already there (--force runs it again)", *found["report"], _shown(out)]
    if os.path.exists(out) and _provenance(out) is None:
        raise RecordError(f"{out} exists and is not a result: --force replaces results only")
    with written(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        tried(out)
    scratch = hidden(out, f".{study.hash()[:8]}.unfinished")
    if scratch.is_symlink():
        raise RecordError(f"{scratch} is a link: what is kept of a run is not written through it; remove it")
    tidy(scratch)
    print(f"running {study.study} …", file=sys.stderr, flush=True)
    began = time.perf_counter()
    prepare(study)
    from ..dynamics import CheckpointError
    from ..sweeps.reading import place

    try:
        data = interruptible(lambda: study.run(scratch), lambda: _kept(scratch))
    except CheckpointError as fault:
        raise RecordError(f"{fault}; remove {scratch} to begin again") from None
    seconds = time.perf_counter() - began
    provenance = _describe(study, seconds)
    data.attrs |= {"study": study.study, "config_hash": study.hash(), "seed": study.seed,
                   "versions": json.dumps(provenance["versions"])}  # fmt: skip
    lacks = None  # a result all the same: what was computed is kept
    try:
        provenance["report"] = study.report(data)
    except Exception as fault:  # of a study that may be the user's own
        lacks = f"{out}: has no report: {told(fault)}; all else is kept"
        provenance["report"] = []
    with written(out), Fresh(out) as fresh:
        (fresh / "config.json").write_text(study.canonical() + "\n", encoding="utf-8")
        data.to_zarr(place(fresh / "data.zarr"), mode="w", zarr_format=3, consolidated=False)
        provenance["files"] = digests(fresh)
        (fresh / "provenance.json").write_text(json.dumps(provenance, indent=1) + "\n", encoding="utf-8")
        try:
            with written(out / "figure.png"):
                draw(study, data, fresh / "figure")
        except RecordError as fault:
            reason = fault.args[0].replace(str(fresh), str(out)).removeprefix("assocmem: ")
            lacks = f"{reason}; all else is kept: `assocmem figure {out}` draws it"
    shutil.rmtree(scratch, ignore_errors=True)
    if lacks is not None:
        raise RecordError(lacks, code=1)
    return [f"{study.study}: {seconds:.1f} s", *provenance["report"], _shown(out)]


def _kept(scratch: Path) -> str:
    files = (
        [path for path in scratch.glob("*") if not path.name.startswith(".")]
        if os.path.isdir(scratch)
        else []
    )
    if not files:
        return "nothing was kept: no part of it was done"
    return f"what is done is kept ({len(files)} files in {scratch}); the same command goes on from there"


def redraw(out: Path, *, trust: bool = False) -> list[str]:
    """Draw the figure of a result again from its data. ``trust``: also with code of its own that it names."""
    found = _provenance(out)
    if found is None:
        raise RecordError(f"{out} is not a result of `assocmem run`")
    with contextlib.nullcontext() if trust else untrusted(out):
        try:
            study = load(out / "config.json")
        except ConfigError as fault:
            reason = fault.lines[0]
            raise RecordError(f"{out}/config.json is not a config of this version: {reason}") from None
        started()
        _drawn(study, out, found)
    return [_shown(out)]


def _drawn(study: Study, out: Path, found: dict) -> None:
    """Draw the data of a result, if they and its config are as written (which older ones do not say)."""
    from ..sweeps import StoreError
    from ..sweeps.ledger import fault_of, inventory
    from ..sweeps.reading import whole

    try:
        files = inventory(found.get("files", {}))
    except ValueError as fault:
        raise RecordError(f"{out}/provenance.json: {fault}", code=3) from None
    for name, expected in files.items():
        if fault := fault_of(out, name, expected):
            again = "`assocmem run` of its config with --force computes it again"
            raise RecordError(f"{out}/{name}: {fault}; {again}", code=3)
    try:
        data = whole(out / "data.zarr")
    except StoreError as fault:
        raise RecordError(str(fault), code=3) from None
    with written(out):
        draw(study, data, out / "figure")


def _shown(out: Path) -> str:
    return f"figure: {out / 'figure.png'}"


def _provenance(out: Path) -> dict | None:
    """What a result says of itself; ``None`` where there is none, or no table that this package writes."""
    try:
        found = json.loads(read(out / "provenance.json", _LONGEST).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("complete") is not True:
        return None
    report = found.get("report")
    sound = isinstance(report, list) and all(isinstance(line, str) for line in report)
    return found if sound and isinstance(found.get("config_hash"), str) else None


def _describe(study: Study, seconds: float) -> dict:
    import jax

    return {
        "complete": True,
        "study": study.study,
        "config_hash": study.hash(),
        "seed": study.seed,
        "dtype": study.precision,
        "device": jax.devices()[0].device_kind,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "wall_time_seconds": round(seconds, 3),
    }
