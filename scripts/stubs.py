"""Write the stubs of lazily loaded names (assocmem_jax/__init__.pyi and one a wing), for type checkers.

    python scripts/stubs.py          # writes them;  --check: exit 1 if any is stale

They are made from the manifests: edit those, not the stubs.
"""

import sys
from collections import defaultdict
from pathlib import Path

import assocmem_jax as am
from assocmem_jax import theory
from assocmem_jax.systems import wings

PACKAGE = Path(am.__file__).parent
HEAD = "# Generated from the manifests by `python scripts/stubs.py`.\n"


def lines(homes: dict[str, str], package: str) -> list[str]:
    """An import for each name, from the module that holds it, as ``package`` would write it."""
    by_module = defaultdict(list)
    for name, home in homes.items():
        module, _, attribute = home.partition(":")
        if not attribute:
            module, _, attribute = module.rpartition(".")
        by_module["." + module.removeprefix(package).removeprefix(".")].append((attribute, name))
    return [
        f"from {module} import {attribute} as {name}"
        for module in sorted(by_module)
        for attribute, name in sorted(by_module[module])
    ]


def stubs() -> dict[Path, str]:
    made = {
        PACKAGE / "__init__.pyi": [*lines(am._HOMES, am.__name__), "", "__version__: str"],
        PACKAGE / "theory.pyi": lines(theory._HOMES, am.__name__),
    }
    for wing in wings().values():
        held = lines(wing.homes(), wing.package)
        made[PACKAGE / "systems" / wing.name / "__init__.pyi"] = [
            "from .. import Wing",
            *held,
            "",
            "WING: Wing",
        ]
    return {path: HEAD + "\n".join(text) + "\n" for path, text in made.items()}


def main() -> int:
    stale = [path for path, text in stubs().items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        print(*(f"{path}: stale" for path in stale), sep="\n")
        return bool(stale)
    for path in stale:
        path.write_text(stubs()[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
