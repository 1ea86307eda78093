"""The configs that come with the package: listed, shown, copied; the JSON schema of all. No JAX."""

import inspect
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from ..files import put, tried
from ..named import PATTERN
from ..studies.config import in_words, nearest, source
from ..studies.registry import entries, schema
from ..studies.study import Section, Study, tables
from ..systems import configs
from .common import RecordError, written

SCHEMA = "assocmem.schema.json"


def listed() -> Iterator[str]:
    """Every config that comes with the package, and every study that a config can name, a line each."""
    yield "Configs (assocmem run NAME, show NAME, copy NAME):"
    yield from _columns({name: _summary(path) for name, path in configs().items()})
    yield "\nStudies, for a config of your own (study = NAME; its keys: assocmem schema NAME):"
    yield from _columns({name: entry.about for name, entry in entries().items()})


def _columns(table: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, table))
    return (f"  {name:<{width}}  {text}" for name, text in table.items())


def _summary(path: Path) -> str:
    """The first line of a config, which says what it is."""
    with path.open(encoding="utf-8") as lines:
        return next(lines).removeprefix("#").strip()


def shown(study: Study) -> Iterator[str]:
    """A config with every key, in TOML: what it is, what it can be, and its value here."""
    about = inspect.getdoc(type(study)) or study.title
    yield from (f"# {line}".rstrip() for line in about.splitlines())
    yield from _table(study, "", set())


def _table(section: Section, path: str, explained: set) -> Iterator[str]:
    """The keys of a table, then the tables in it; a key is explained where it comes first."""
    later = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if (type(section), name) not in explained:
            explained.add((type(section), name))
            given = field.is_required() or field.default is None or tables(field.default)
            unless = "" if given else f"; {_toml(field.default)} unless given"
            comment = f"# {field.description or name} ({in_words(field)}{unless})"
        else:
            comment = None
        if parts := tables(value):
            later.append((f"{path}{name}", comment, parts))
            continue
        if comment:
            yield comment
        yield f"# {name} is not set" if value is None else f"{name} = {_toml(value)}"
    for where, comment, parts in later:
        for key, part in parts:
            yield ""
            if comment:
                yield comment
            comment = None
            here = f"{where}.{key}" if isinstance(key, str) and key else where
            yield f"[[{here}]]" if isinstance(key, int) else f"[{here}]"
            yield from _table(part, f"{here}.", explained)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, tuple):
        rows = [_toml(part) for part in value]
        nested = any(isinstance(part, tuple) for part in value)
        return "[\n" + "".join(f"  {row},\n" for row in rows) + "]" if nested else f"[{', '.join(rows)}]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def copied(name: str, target: Path | None) -> list[str]:
    """A config that comes with the package as a file of the user's, with the schema for editors beside it."""
    path, text = source(name)
    target = Path(path.name) if target is None else target
    target = target / path.name if os.path.isdir(target) else target
    if os.path.lexists(target):
        raise RecordError(f"{target} exists: choose another place")
    beside = target.parent / SCHEMA
    with written(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        tried(target)
        if not os.path.exists(beside):
            put(beside, json_schema())
        put(target, f"#:schema ./{SCHEMA}\n{text}")
    return [f"{target}, and for completion in editors {beside}", f"assocmem run {target}"]


def json_schema(name: str | None = None) -> str:
    """The JSON schema of the configs of a study, or of all studies: what follows depends on ``study``."""
    if name is not None:
        try:
            return json.dumps(schema(name).model_json_schema(), indent=1, ensure_ascii=False) + "\n"
        except KeyError:
            raise RecordError(f"{name!r} is not a study{nearest(name, entries())}") from None
    known = {study: schema(study) for study in entries()}
    refs, shared = models_json_schema([(model, "validation") for model in known.values()])
    chosen = [
        {"if": {"properties": {"study": {"const": study}}}, "then": refs[model, "validation"]}
        for study, model in known.items()
    ]
    which = {
        "anyOf": [{"enum": list(known)}, {"pattern": PATTERN}],
        "description": Study.model_fields["study"].description,
    }
    every = {"type": "object", "required": ["study"], "properties": {"study": which}, "allOf": chosen}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A config of assocmem"}
    return json.dumps(head | every | shared, indent=1, ensure_ascii=False) + "\n"
