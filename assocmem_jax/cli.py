"""The command ``assocmem``. Imports the standard library only until a command needs more."""

import argparse
import gc
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn


class _Parser(argparse.ArgumentParser):
    """One line for what it cannot take, as for all else that is refused."""

    def error(self, message: str) -> NoReturn:
        from .commands import common

        self.exit(common.refused([f"assocmem: {message} (`{self.prog} --help`)"]))


def main(arguments: Sequence[str] | None = None) -> int:
    # What a start makes stays (classes, traced programs): looking at it again and again takes a tenth of it.
    gc.set_threshold(100_000, 20, 100)
    parser = _Parser(
        prog="assocmem", description="Simulate how associative memories learn; draw what happened."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="configs that come with the package, and studies for your own")
    show = commands.add_parser("show", help="a config with each key explained")
    show.add_argument("config", help="a name of `assocmem list`, or a TOML file")
    copy = commands.add_parser("copy", help="copy a config that comes with the package, to change it")
    copy.add_argument("name", help="of `assocmem list`")
    copy.add_argument("place", nargs="?", type=Path, help="a file or a directory (NAME.toml here)")
    schema = commands.add_parser(
        "schema", help="print the JSON schema of configs, for editors",
        description="With `assocmem schema > assocmem.schema.json` and, on top of a config, `#:schema "
        "./assocmem.schema.json`, an editor completes and checks keys; `assocmem copy` does both.",
    )  # fmt: skip
    schema.add_argument("study", nargs="?", help="of one study only")
    shell = commands.add_parser(
        "completion", help="print what makes a shell complete commands, configs and keys",
        description="bash: eval \"$(assocmem completion bash)\" in ~/.bashrc; zsh: the same in ~/.zshrc; "
        "fish: assocmem completion fish | source in config.fish.",
    )  # fmt: skip
    shell.add_argument("shell", choices=("bash", "zsh", "fish"))
    words = commands.add_parser("complete")  # for those scripts: not listed
    words.add_argument("words", nargs=argparse.REMAINDER)
    words.set_defaults(parser=parser)
    run = commands.add_parser(
        "run", help="run a study and draw its figure", description="Leaves config.json, provenance.json, "
        "data.zarr (xarray.open_zarr), figure.png and figure.pdf. What is already there is not run again.",
    )  # fmt: skip
    run.add_argument("config", help="a name of `assocmem list`, a TOML file, or the config.json of a run; "
                     "its study may be your own: study = 'path/to/file.py:Name'")  # fmt: skip
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                     help="override a key, as TOML: --set descent.steps=50")  # fmt: skip
    run.add_argument("--out", type=Path, help="directory of the result (results/NAME-HASH)")
    run.add_argument("--force", action="store_true", help="run again, replacing what is there")
    sweep = commands.add_parser(
        "sweep", help="run a sweep into a store that survives anything; status and verify look at one",
        usage="assocmem sweep CONFIG [--set KEY=VALUE] [--out STORE] [--shard I/N] [--force] [--devices N]\n"
        "       assocmem sweep status STORE\n       assocmem sweep verify STORE [--repair [--trust]]",
        description="Writes STORE (xarray.open_zarr) task by task; run again, it goes on where it was. When "
        "complete, draws STORE's figure beside it. verify reads every byte back: exit 3 if any is wrong.",
    )  # fmt: skip
    sweep.add_argument("what", nargs="+", help="a config, as of run; or status STORE; or verify STORE")
    sweep.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                       help="override a key, as TOML: --set alpha.linear='[0.5, 1, 200]'")  # fmt: skip
    sweep.add_argument("--out", type=Path, help="the store (results/NAME-HASH.zarr)")
    sweep.add_argument("--shard", help="I/N: compute every N-th task from I = 0 … N − 1 (job arrays)")
    sweep.add_argument("--resume", action="store_true", help="go on where it was: the default, said aloud")
    sweep.add_argument("--force", action="store_true", help="start again, replacing a store of any sweep")
    sweep.add_argument("--repair", action="store_true", help="verify: compute again what is damaged")
    sweep.add_argument("--trust", action="store_true", help="verify: to repair, run code that STORE names")
    sweep.add_argument("--devices", type=int, help="CPU devices to make (one for each core)")
    check = commands.add_parser(
        "check", help="run the theorems of the papers on problems drawn from their domains",
        description="Draws problems, runs simulation and closed form, prints a row for each statement: how "
        "its printed form fared, how the corrected one, and whether a second route agrees. Exit 1 if a "
        "corrected form fails. docs/theory.md explains every row.",
    )  # fmt: skip
    check.add_argument(
        "what", nargs="*", help="sources (gd, …: --list), ids (gd.8) or your own (file.py:name); else all"
    )
    check.add_argument("--samples", type=int, default=1024, help="problems drawn for each statement (1024)")
    check.add_argument("--seed", type=int, default=0, help="of the problems (0)")
    check.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    check.add_argument("--from", action="append", default=[], metavar="FILE", dest="places",
                       help="a Python file or module that registers statements of yours")  # fmt: skip
    check.add_argument("--list", action="store_true", help="what there is; runs nothing")
    figure = commands.add_parser("figure", help="draw the figure of a result again, from its data")
    figure.add_argument("result", type=Path, help="a directory that `assocmem run` left")
    figure.add_argument("--trust", action="store_true", help="run code of its own that the result names")
    from .commands import out, stop

    out.opened()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is shown as \u03b7
            stream.reconfigure(errors="backslashreplace")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:
        return int(end.code or 0)

    try:
        with stop.heeded():
            code = _COMMANDS[options.command](options)
            out.said()
            return code
    except KeyboardInterrupt as told:
        print("assocmem: interrupted; nothing was left half written", file=sys.stderr)
        return stop.code(told)
    except (out.Unheard, BrokenPipeError) as fault:
        out.silenced()
        cause = fault.__cause__ or fault
        if isinstance(cause, BrokenPipeError):  # whoever read has seen enough
            return 141
        reason = cause.strerror if isinstance(cause, OSError) else cause
        print(f"assocmem: standard output cannot be written: {reason}", file=sys.stderr)
        return 1


def _version() -> str:
    from . import __version__

    return f"assocmem_jax {__version__}"


def _list(options: argparse.Namespace) -> int:
    from .commands import common, configs

    return common.reported(configs.listed)


def _show(options: argparse.Namespace) -> int:
    from .commands import common, configs
    from .studies.config import load

    return common.reported(lambda: configs.shown(load(options.config)))


def _copy(options: argparse.Namespace) -> int:
    from .commands import common, configs

    return common.reported(lambda: configs.copied(options.name, options.place))


def _schema(options: argparse.Namespace) -> int:
    from .commands import common, configs

    return common.reported(lambda: [configs.json_schema(options.study)])


def _complete(options: argparse.Namespace) -> int:
    from .commands import common, complete

    return common.reported(lambda: complete.offered(options.parser, options.words))


def _completion(options: argparse.Namespace) -> int:
    from .commands import complete, out

    out.said(complete.SCRIPTS[options.shell])
    return 0


def _run(options: argparse.Namespace) -> int:
    from .commands import common, kept, run
    from .studies.config import load

    kept.programs()

    def work():
        study = load(options.config, options.overrides)
        out = common.usable(options.out or common.place(options.config, study))
        return run.run(study, out, force=options.force)

    return common.reported(work)


def _sweep(options: argparse.Namespace) -> int:
    from .commands import common, kept, sweep
    from .studies.config import load

    kept.programs()

    if options.what[0] in ("status", "verify"):
        if len(options.what) != 2:
            print(f"assocmem: sweep {options.what[0]} takes one store", file=sys.stderr)
            return 2
        out = Path(options.what[1])
        if options.what[0] == "status":
            return common.reported(lambda: sweep.status(out))
        return common.reported(lambda: sweep.verify(out, repair=options.repair, trust=options.trust))
    if len(options.what) > 1:
        print("assocmem: sweep takes one config (or: status STORE, verify STORE)", file=sys.stderr)
        return 2

    def work():
        study = load(options.what[0], options.overrides)
        out = common.usable(options.out or common.place(options.what[0], study, ".zarr"))
        return sweep.run(study, out, shard=options.shard, force=options.force, devices=options.devices)

    return common.reported(work)


def _figure(options: argparse.Namespace) -> int:
    from .commands import common, run

    return common.reported(lambda: run.redraw(options.result, trust=options.trust))


def _check(options: argparse.Namespace) -> int:
    from .commands import check, common, kept

    kept.programs()

    if options.list:
        return common.reported(lambda: check.listed(options.what, options.places))
    return check.run(options.what, options.samples, options.seed, options.json, options.places)


_COMMANDS = {
    "list": _list, "show": _show, "copy": _copy, "schema": _schema, "completion": _completion,
    "complete": _complete,
    "run": _run, "sweep": _sweep, "check": _check, "figure": _figure,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
