"""Of every class of the package its properties, methods and fields, and whether it may change, kept in
tests/surface.json.

Run: python tests/surface.py to write it anew, where it is meant to be another.
"""

import dataclasses
import functools
import importlib
import inspect
import json
import pkgutil
import re
import sys
from pathlib import Path

import pydantic

import assocmem_jax as am

KEPT = Path(__file__).with_suffix(".json")


def classes() -> dict[str, type]:
    """Public name → class, of everything that ``am`` and its rooms show."""
    found: dict[str, type] = {}
    left = [("am", am)]
    while left:
        where, owner = left.pop()
        for name in sorted(dir(owner)):
            item = getattr(owner, name)
            if (
                name.startswith("_")
                or name == "checks"
                or not (inspect.ismodule(item) or inspect.isclass(item))
            ):
                continue
            home = item.__name__ if inspect.ismodule(item) else item.__module__
            if not home.startswith("assocmem_jax") or item in found.values() or item is owner:
                continue
            if inspect.ismodule(item):
                if where.count(".") < 2:
                    left.append((f"{where}.{name}", item))
            else:
                found[f"{where}.{name}"] = item
    return found


def every() -> dict[str, type]:
    """Name → class, of all modules; what pydantic has of tables of configs is in the schema."""
    found = {}
    for module in pkgutil.walk_packages(am.__path__, f"{am.__name__}."):
        for name, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if cls.__module__ == module.name and not issubclass(cls, pydantic.BaseModel):
                found[f"{module.name.removeprefix('assocmem_jax.')}.{name}"] = cls
    return found


def _kind(cls: type, name: str) -> str:
    held = inspect.getattr_static(cls, name)
    kinds = {"class": classmethod, "static": staticmethod, "value": (property, functools.cached_property)}
    said = next((word for word, kind in kinds.items() if isinstance(held, kind)), "method")
    return said + (" to be made" if getattr(held, "__isabstractmethod__", False) else "")


def surface(cls: type) -> dict[str, str]:
    """Name → what it is: "class", "value", "method" …, or a field with what it is unless given."""
    own = {
        name
        for base in cls.__mro__
        if base.__module__.startswith("assocmem_jax")
        for name, held in vars(base).items()
        if not name.startswith("_") and (callable(held) or hasattr(held, "__get__"))
    }
    found = {
        name: f"= {held.__name__ if isinstance(held, type) else _short(held)}"
        for base in reversed(cls.__mro__)
        if base.__module__.startswith("assocmem_jax")
        for name, held in vars(base).items()
        if not name.startswith("_") and isinstance(held, bool | int | float | str | type)
    }
    if dataclasses.is_dataclass(cls):
        found["@dataclass"] = "frozen" if cls.__dataclass_params__.frozen else "open"  # type: ignore[attr-defined]
        for field in dataclasses.fields(cls):
            static = " static" if field.metadata.get("static") else ""
            default = "" if field.default is dataclasses.MISSING else f" = {_short(field.default)}"
            found[field.name] = f"field{static}{default}"
    return dict(sorted((found | {name: _kind(cls, name) for name in own - set(found)}).items()))


def _short(value) -> str:
    return re.sub(r" at 0x\w+", "", repr(value))


def whole() -> dict[str, dict[str, str]]:
    return {name: surface(cls) for name, cls in sorted(every().items())}


def write(path: Path, records: dict) -> None:
    """A line each, so that what changed is seen."""
    lines = (f"{json.dumps(name)}: {json.dumps(held, ensure_ascii=False)}" for name, held in records.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> int:
    write(KEPT, whole())
    return 0


if __name__ == "__main__":
    sys.exit(main())
