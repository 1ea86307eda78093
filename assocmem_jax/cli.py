"""The command ``assocmem``. Imports the standard library only until a command needs more."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="assocmem", description="Simulate how associative memories learn; draw what happened."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="studies that a config can name")
    run = commands.add_parser(
        "run", help="run a study and draw its figure", description="Leaves config.json, provenance.json, "
        "data.zarr (xarray.open_zarr), figure.png and figure.pdf. What is already there is not run again.",
    )  # fmt: skip
    run.add_argument("config", help="a TOML file (see configs/), or the config.json of a run")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                     help="override a key, as TOML: --set descent.steps=50")  # fmt: skip
    run.add_argument("--out", type=Path, help="directory of the result (results/NAME-HASH)")
    run.add_argument("--force", action="store_true", help="run again, replacing what is there")
    figure = commands.add_parser("figure", help="draw the figure of a result again, from its data")
    figure.add_argument("result", type=Path, help="a directory that `assocmem run` left")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        return {"list": _list, "run": _run, "figure": _figure}[options.command](options)
    except KeyboardInterrupt:
        print("assocmem: interrupted; nothing was left half written", file=sys.stderr)
        return 130


def _version() -> str:
    from . import __version__

    return f"assocmem_jax {__version__}"


def _list(options: argparse.Namespace) -> int:
    from .config import STUDIES

    width = max(map(len, STUDIES))
    for name, (_, _, what) in STUDIES.items():
        print(f"{name:<{width}}  {what}")
    return 0


def _run(options: argparse.Namespace) -> int:
    from .config import ConfigError, load

    try:
        study = load(options.config, options.overrides)
    except ConfigError as fault:
        print(*fault.lines, sep="\n", file=sys.stderr)
        return 2
    from .studies import record

    name = Path(options.config).stem
    name = Path(options.config).resolve().parent.name.rpartition("-")[0] if name == "config" else name
    out = options.out or Path("results") / f"{name}-{study.hash()[:8]}"
    return _reported(lambda: record.run(study, out, force=options.force))


def _figure(options: argparse.Namespace) -> int:
    from .studies import record

    return _reported(lambda: record.redraw(options.result))


def _reported(action) -> int:
    """Run and print the lines it returns; a refusal is one line and exit code 2."""
    from .studies.record import RecordError

    try:
        for line in action():
            print(line)
    except RecordError as fault:
        print(f"assocmem: {fault}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
