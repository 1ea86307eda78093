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
import tempfile
import time
from importlib import metadata
from pathlib import Path

from ..config import ConfigError, Study, load


class RecordError(Exception):
    """What is on disk stands in the way: lines to print, and the exit code."""

    def __init__(self, *lines: str, code: int = 2):
        super().__init__(*(f"assocmem: {line}" for line in lines))
        self.code = code


def run(study: Study, out: Path, *, force: bool = False) -> list[str]:
    """Run a study into ``out`` unless it is there already; returns the lines to print."""
    if out.exists() and not force:
        found = _provenance(out)
        if found is None:
            raise RecordError(f"{out} exists and is not a result: choose another --out")
        if found["config_hash"] != study.hash():
            raise RecordError(f"{out} holds another config: choose another --out, or --force to replace it")
        return [f"{out} is already there (--force runs it again)", *found["report"], _shown(out)]
    if out.exists() and _provenance(out) is None:
        raise RecordError(f"{out} exists and is not a result: --force replaces results only")
    out.parent.mkdir(parents=True, exist_ok=True)
    print(f"running {study.study} …", file=sys.stderr, flush=True)
    began = time.perf_counter()
    _prepare(study)
    scratch = out.parent / f".{out.name}.{study.hash()[:8]}.unfinished"
    from ..dynamics import CheckpointError

    try:
        data = study.run_in(scratch)
    except CheckpointError as fault:
        raise RecordError(f"{fault}; remove {scratch} to begin again") from None
    seconds = time.perf_counter() - began
    provenance = _describe(study, seconds)
    data.attrs |= {"study": study.study, "config_hash": study.hash(), "seed": study.seed,
                   "versions": json.dumps(provenance["versions"])}  # fmt: skip
    provenance["report"] = study.report(data)
    fresh = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        os.chmod(fresh, 0o755)
        (fresh / "config.json").write_text(study.canonical() + "\n", encoding="utf-8")
        (fresh / "provenance.json").write_text(json.dumps(provenance, indent=1) + "\n", encoding="utf-8")
        data.to_zarr(fresh / "data.zarr", mode="w", zarr_format=3, consolidated=False)
        _draw(study, data, fresh)
        if out.exists():
            old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-old-"))
            os.replace(out, old / "result")
            os.replace(fresh, out)
            shutil.rmtree(old)
        else:
            os.replace(fresh, out)
        shutil.rmtree(scratch, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return [f"{study.study}: {seconds:.1f} s", *provenance["report"], _shown(out)]


def redraw(out: Path) -> list[str]:
    """Draw the figure of a result again from its data."""
    import xarray as xr

    if _provenance(out) is None:
        raise RecordError(f"{out} is not a result of `assocmem run`")
    try:
        study = load(out / "config.json")
    except ConfigError as fault:
        raise RecordError(f"{out}/config.json is not a config of this version: {fault.lines[0]}") from None
    with xr.open_zarr(out / "data.zarr", chunks=None, consolidated=False) as data:
        _draw(study, data.load(), out)
    return [_shown(out)]


def _shown(out: Path) -> str:
    return f"figure: {out / 'figure.png'}"


def _prepare(study: Study) -> None:
    import jax

    jax.config.update("jax_enable_x64", study.precision == "float64")
    if study.parallel:
        from ..sweeps.memory import cores

        with contextlib.suppress(RuntimeError):  # JAX is already running: as many devices as it has
            jax.config.update("jax_num_cpu_devices", cores())


def _draw(study: Study, data, where: Path) -> None:
    from ..plot import paper, save

    with paper():
        save(study.figure(data), where / "figure")


def _provenance(out: Path) -> dict | None:
    try:
        found = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
        return found if found["complete"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _describe(study: Study, seconds: float) -> dict:
    import jax

    names = ("assocmem_jax", "jax", "equinox", "diffrax", "optax", "numpy", "scipy", "xarray", "zarr")
    return {
        "complete": True,
        "study": study.study,
        "config_hash": study.hash(),
        "seed": study.seed,
        "dtype": study.precision,
        "device": jax.devices()[0].device_kind,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in names},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "wall_time_seconds": round(seconds, 3),
    }
