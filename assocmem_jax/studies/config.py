"""Configs: TOML in, validated models out, every fault at once, one line each. No JAX here."""

import difflib
import json
import math
import os
import re
import tomllib
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic

from ..files import read
from ..named import NamedError, UntrustedError
from ..systems import configs
from .registry import entries, schema
from .study import Section, Study

# Bytes of a config: one with a table of 10⁵ rows.
_LONGEST = 2**24
# What a shell gives for ``assocmem run <(…)``: a pipe that its user asked for.
_OF_THE_SHELL = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")


class ConfigError(Exception):
    """All faults of a config; ``lines`` has one for each."""

    def __init__(self, lines: Sequence[str]):
        super().__init__("\n".join(lines))
        self.lines = list(lines)


def load(config: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Read, override (``key.path=TOML value``) and validate a config: a file, or the name of one that comes
    with the package. Raises ``ConfigError``."""
    path, text = source(config)
    try:
        raw = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except json.JSONDecodeError as fault:
        raise ConfigError([f"{path}:{fault.lineno}: is not JSON: {fault.msg}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}:1: is nested too deeply"]) from None
    except tomllib.TOMLDecodeError as fault:
        at = re.search(r"\(at line (\d+)", str(fault))
        line = at[1] if at else str(text.count("\n") + 1)
        reason = re.sub(r" \(at .*\)$", "", str(fault))
        raise ConfigError([f"{path}:{line}: is not TOML: {reason}"]) from None
    except ValueError as fault:  # a whole number of thousands of digits
        raise ConfigError(
            [f"{path}:1: has a number that cannot be read: {str(fault).split(';')[0]}"]
        ) from None
    if not isinstance(raw, dict):
        raise ConfigError([f"{path}:1: must be a table of keys, got {type(raw).__name__}"])
    lines = _line_numbers(text) if path.suffix != ".json" else {}
    where = _Locator(str(config), path.parent, lines)
    for item in overrides:
        _override(raw, item, where)
    return _validate(raw, where)


def source(config: str | Path) -> tuple[Path, str]:
    """(file, text) of a config: a file, else one that comes with the package, by its name."""
    path = Path(str(config).replace("\0", "\ufffd"))  # what no file has in its name
    if not os.path.isfile(path):  # which is false, too, of what cannot be looked at
        path = configs().get(str(config), path)
    try:
        if str(path).startswith(_OF_THE_SHELL):
            with open(path, "rb") as pipe:
                return path, pipe.read(_LONGEST).decode("utf-8-sig")
        return path, read(path, _LONGEST, links=True).decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise ConfigError([f"{path}: is not UTF-8 text (byte {fault.start})"]) from None
    except OSError as fault:
        hint = ""
        if isinstance(fault, FileNotFoundError):
            close = nearest(path.stem, configs()) or "; `assocmem list` has the names"
            hint = f", and no config of that name comes with the package{close}"
        raise ConfigError([f"{path}: cannot be read: {fault.strerror or fault}{hint}"]) from None


def load_text(text: str, name: str) -> Study:
    """Validate the canonical JSON of a config."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise ConfigError([f"{name}: is not JSON: {str(fault)[:80]}"]) from None
    if not isinstance(raw, dict):
        raise ConfigError([f"{name}: must be a table of keys, got {type(raw).__name__}"])
    return _validate(raw, _Locator(name, Path(name).parent, {}))


class _Locator:
    """Where a key was set: file:line, or the --set that set it."""

    def __init__(self, path: str, folder: Path, lines: dict[tuple, int]):
        self.path, self.folder, self.lines = path, folder, lines
        self.set: dict[tuple, str] = {}

    def __call__(self, key: tuple) -> str:
        for end in range(len(key), 0, -1):
            for item, text in self.set.items():
                if item[: len(key)] == key or item == key[:end]:
                    return f"--set {text}"
            if key[:end] in self.lines:
                return f"{self.path}:{self.lines[key[:end]]}"
        return f"{self.path}:1"


def _override(raw: dict, item: str, where: _Locator) -> None:
    found = re.fullmatch(rf"({_KEY})=(.*)", item, re.DOTALL)
    keys = _names(found[1]) if found else None
    if found is None or keys is None:
        raise ConfigError([f"--set {item}: must be key=value, for example --set descent.steps=50"])
    value = found[2]
    try:
        (parsed,) = tomllib.loads(f"value = {value}").values()  # one: a second line is no value
    except (ValueError, RecursionError):
        raise ConfigError(
            [f"--set {item}: {value.strip()!r} is not a TOML value (strings need quotes)"]
        ) from None
    table: Any = raw
    for key in keys[:-1]:
        if isinstance(table, list) and _is_index(key) and int(key) < len(table):
            table = table[int(key)]
        elif isinstance(table, dict):
            table = table.setdefault(key, {})
        else:
            raise ConfigError([f"--set {item}: {key!r} is not a table or an index that exists"])
    if isinstance(table, list) and _is_index(keys[-1]) and int(keys[-1]) < len(table):
        table[int(keys[-1])] = parsed
    elif isinstance(table, dict):
        table[keys[-1]] = parsed
    else:
        raise ConfigError([f"--set {item}: {keys[-1]!r} is not a key or an index that exists"])
    where.set[tuple(int(k) if _is_index(k) else k for k in keys)] = item


# A key as TOML has them, the names of tables before it; a bare one may be of any letters.
_NAME = r"""\s*(?:"(?:\\.|[^"\\])*"|'[^']*'|[^\s.="'\[\]#]+)\s*"""
_KEY = rf"{_NAME}(?:\.{_NAME})*"


def _names(key: str) -> tuple[str, ...] | None:
    """The names that a key is made of; None of a string that is none of TOML's."""
    try:
        parts = [part.strip() for part in re.findall(_NAME, key)]
        return tuple(tomllib.loads(f"name = {part}")["name"] if part[0] in "\"'" else part for part in parts)
    except tomllib.TOMLDecodeError:
        return None


def _is_index(key: str) -> bool:
    """Digits of ASCII, no more than a list is long."""
    return re.fullmatch("[0-9]{1,9}", key) is not None


# Whole numbers are sizes, counts and seeds, below 2³² as 32-bit clocks and keys are; a number has a square.
_LARGEST, _REAL, _REAL32, _DEEPEST = 2**32, 1e150, 1e37, 32


def _bounded(value: Any, key: tuple, where: _Locator, real: float = _REAL) -> None:
    """Refuse numbers that no run can use, whatever their key is, and tables in tables without end."""
    if isinstance(value, dict | list):
        if len(key) >= _DEEPEST:
            raise ConfigError([f"{where(key)}: {key[0]}: is nested more than {_DEEPEST} deep"])
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            _bounded(part, (*key, name), where, real)
        return
    said = f"{where(key)}: {'.'.join(map(str, key))}: must be"
    if type(value) is int and abs(value) > _LARGEST:
        digits = len(str(abs(value)))
        got = str(value) if digits <= 20 else f"one of {digits} digits"
        raise ConfigError([f"{said} at most 2³² (clocks, sizes and seeds are 32-bit), got {got}"])
    if type(value) is float and math.isfinite(value) and not (value == 0 or 1 / real <= abs(value) <= real):
        at = " in float32" if real < _REAL else ""
        raise ConfigError([f"{said} 0 or of size {1 / real:g} to {real:g}{at}, got {value:g}"])


def _validate(raw: dict, where: _Locator) -> Study:
    _bounded(raw, (), where)
    name = raw.get("study")
    try:
        known = schema(name if isinstance(name, str) else "", where.folder)
    except KeyError:
        shown = "missing" if name is None else f"{name!r} is not a study"
        hint = nearest(str(name), entries()) if name is not None else ""
        every = ", ".join(entries())
        own = "or your own, path/to/file.py:Name"
        raise ConfigError([f"{where(('study',))}: study: {shown}{hint}; one of: {every}; {own}"]) from None
    except UntrustedError:
        raise
    except NamedError as fault:
        raise ConfigError([f"{where(('study',))}: study: {fault}"]) from fault
    try:
        # Through JSON: strict mode then takes lists for tuples, as TOML has no other.
        study = known.model_validate_json(json.dumps(raw, default=lambda value: f"<{value}>"))
    except pydantic.ValidationError as faults:
        lines = [
            printable(_line(fault, known, where))
            for fault in faults.errors(include_url=False)
            if not _long_enough(fault)
        ]
        raise ConfigError(sorted(dict.fromkeys(lines), key=_by_line)) from None
    if study.precision == "float32":
        _bounded(raw, (), where, _REAL32)
    return study


def _long_enough(fault: Any) -> bool:
    """Not too short is a list whose items have faults of their own, a line each: they are not counted."""
    return fault["type"] == "too_short" and len(fault["input"]) >= fault["ctx"]["min_length"]


def printable(line: str, also: str = "") -> str:
    """With what moves a terminal or cannot be seen as its escape code."""
    return "".join(c if c.isprintable() or c in also else repr(c)[1:-1] for c in line)


def _by_line(line: str) -> tuple:
    at = re.match(r".*?:(\d+): ", line)
    return (0, int(at[1]), line) if at else (1, 0, line)


def _line(fault: Any, schema: type, where: _Locator) -> str:
    key = tuple(part for part in fault["loc"] if not str(part).startswith("function-"))
    name = ".".join(map(str, key)) or "config"
    kind, context = fault["type"], fault.get("ctx", {})
    at = where(key)
    if kind == "missing":
        field = _field(schema, key)
        expected = f"; {in_words(field)}" if field is not None else ""
        expected = "; the list is too short" if isinstance(key[-1], int) else expected
        return f"{at}: {name}: missing{expected}"
    if kind == "extra_forbidden":
        allowed = _allowed(schema, key[:-1])
        return f"{at}: {name}: unknown key{nearest(str(key[-1]), allowed)}; allowed: {', '.join(allowed)}"
    value = fault["input"]
    shown = "a table" if isinstance(value, dict) else _brief(value)
    if kind == "value_error":
        return f"{at}: {name}: {context['error']}"
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", context["expected"])
        return f"{at}: {name} = {shown}: must be {context['expected']}{nearest(str(value), options)}"
    message = fault["msg"].replace("Input should", "must").replace("a valid ", "a ")
    message = message.replace("a integer", "a whole number").replace("a array", "a list")
    message = re.sub(
        r"^Tuple should (have at \w+ \d+ items?) after validation, not (\d+)", r"must \1, got \2", message
    )
    return f"{at}: {name} = {shown}: {message}"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def nearest(word: str, options) -> str:
    """“; did you mean …?”, if one of the options is near."""
    close = next(iter(difflib.get_close_matches(word, list(options), 1, 0.6)), None)
    return "" if close is None else f"; did you mean {close!r}?"


def _models(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _section(schema: type, key: tuple) -> type | None:
    for part in key:
        if isinstance(part, int):
            continue
        field = getattr(schema, "model_fields", {}).get(part)
        if field is None:
            return None
        found = _models(field.annotation)
        if not found:
            return None
        schema = found[0]
    return schema


def _allowed(schema: type, key: tuple) -> list[str]:
    section = _section(schema, key)
    return list(getattr(section, "model_fields", {}))


def _field(schema: type, key: tuple) -> Any:
    section = _section(schema, key[:-1])
    return getattr(section, "model_fields", {}).get(key[-1])


def in_words(field: Any) -> str:
    """What a value of a key (pydantic's ``FieldInfo``) must be, in words: a number > 0."""
    return _kind(field.annotation, field.metadata)


def _kind(annotation: Any, limits: Sequence[Any] = ()) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(parts[0], [rule for part in parts[1:] for rule in getattr(part, "metadata", [part])])
    if origin is Literal:
        return " or ".join(json.dumps(part) for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(part, limits) for part in parts if part is not type(None)))
    if origin is tuple:
        if Ellipsis not in parts:
            return f"a list of {len(parts)}, each {' or '.join(dict.fromkeys(map(_kind, parts)))}"
        return "tables" if _models(annotation) else f"a list, each {_kind(parts[0])}"
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    bounds = [f"{sign} {getattr(rule, name)}" for rule in limits for name, sign in signs.items()
              if getattr(rule, name, None) is not None]  # fmt: skip
    words = {float: "a number", int: "a whole number", str: "a string", bool: "true or false"}
    return " ".join([words.get(annotation, "a table"), " and ".join(bounds)]).strip()


def _line_numbers(text: str) -> dict[tuple, int]:
    """Line of each key of a TOML text: headers, [[arrays of tables]], dotted keys. Keys inside an
    inline table or a multi-line value are found at the key that holds them."""
    lines: dict[tuple, int] = {}
    counts: dict[tuple, int] = {}
    prefix: tuple = ()
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        bare = re.sub(r'"(\\.|[^"\\])*"|\'[^\']*\'', lambda m: m[0].replace("[", " ").replace("#", " "), line)
        bare = bare.split("#")[0].strip()
        if depth == 0 and (header := re.fullmatch(r"(\[\[?)\s*([^\[\]]+?)\s*(\]\]?)", bare)):
            path: tuple = ()
            parts = _names(header[2]) or ()
            for i, part in enumerate(parts):
                path += (part,)
                if header[1] == "[[" and i == len(parts) - 1:
                    counts[path] = counts.get(path, -1) + 1
                    lines.setdefault(path, number)
                    path += (counts[path],)
                elif path in counts:
                    path += (counts[path],)
            prefix = path
            lines.setdefault(prefix, number)
            continue
        if depth == 0 and (entry := re.match(rf"({_KEY})=(.*)", bare)):
            path = prefix
            for part in _names(entry[1]) or ():
                path += (part,)
                lines.setdefault(path, number)
            bare = entry[2]
        depth = max(0, depth + bare.count("[") + bare.count("{") - bare.count("]") - bare.count("}"))
    return lines
