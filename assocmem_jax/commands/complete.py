"""What a shell offers after Tab: commands, options, configs, studies, keys after --set. No JAX here."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from ..named import UntrustedError, untrusted
from ..systems import configs

# Each asks `assocmem complete WORDS…` with the words so far, the last one perhaps unfinished; where nothing
# is offered the shell completes files.
_BASH = """_assocmem() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(assocmem complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" \\
    -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _assocmem assocmem"""
SCRIPTS = {
    "bash": _BASH,
    "zsh": f"autoload -U +X bashcompinit && bashcompinit\n{_BASH}",
    "fish": "complete -c assocmem -a "
    "'(assocmem complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'",
}


def offered(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """What can stand where the last word stands."""
    *before, last = words or [""]
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices
    if not before:
        found: Iterable[str] = (name for name in commands if name != "complete")
    elif before[-1] == "--set":
        found = [f"{key}=" for key in _keys(before)]
    elif last.startswith("-"):
        found = commands[before[0]]._option_string_actions if before[0] in commands else ()
    elif before[0] in ("run", "show", "copy", "sweep") and len(before) == 1:
        found = [*configs(), *(("status", "verify") if before[0] == "sweep" else ())]
    elif before == ["schema"]:
        from ..studies.registry import entries

        found = entries()
    elif before == ["completion"]:
        found = SCRIPTS
    else:
        found = ()
    return sorted(word for word in found if word.startswith(last))


def _keys(before: Sequence[str]) -> Iterable[str]:
    """Keys of the config on the line, with those of its tables; of a study of the user's own none, as that
    would have to be run."""
    from ..studies.config import ConfigError, load

    for word in before[1:]:
        try:
            with untrusted(word):
                return list(_paths(load(word)))
        except (ConfigError, UntrustedError):
            continue
    return ()


def _paths(section: Any, path: str = "") -> Iterable[str]:
    from ..studies.study import tables

    for name in type(section).model_fields:
        parts = tables(getattr(section, name))
        for key, part in parts:
            yield from _paths(part, f"{path}{name}." if key == "" else f"{path}{name}.{key}.")
        if not parts and name != "study":
            yield f"{path}{name}"
