"""The rooms and their doors: who imports whom, what is loaded when."""

import ast
import subprocess
import sys
from pathlib import Path

import assocmem_jax as am

PACKAGE = Path(am.__file__).parent
ORDER = ["tasks", "models", "observe", "dynamics", "sweeps"]
LAST = ["plot", "studies", "cli", "config"]
ALLOWED = {room: {"checks", *ORDER[:i]} for i, room in enumerate(ORDER)}
ALLOWED |= {
    "checks": set(), "theory": set(), "config": {"studies", "sweeps"}, "plot": {"checks", "dynamics"},
    "statements": {*ORDER, "checks", "theory"},
    "studies": {*ORDER, "checks", "theory", "statements", "config", "plot"},
    "cli": {*ORDER, "config", "studies", "plot", "theory", "checks", ""},
    "": {*ORDER, *LAST, "statements", "theory"},
}  # fmt: skip


def rooms_imported(path):
    """Rooms of this package that a file imports, wherever in the file."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    here = parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = list(here[: len(here) - node.level + 1]) if node.level else []
            module = (node.module or "").split(".") if node.module else []
            if node.level == 0:
                if module[0] != "assocmem_jax":
                    continue
                module = module[1:]
            full = [*base, *module]
            found |= {full[0]} if full else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "assocmem_jax":
                    found.add([*alias.name.split("."), ""][1])
    return found


def test_data_flows_one_way():
    checked = 0
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        room = "" if room == "__init__" else room
        imported = rooms_imported(path) - {room, "__version__"}
        if room == "studies":
            imported.discard("")  # studies speak the public language: import assocmem_jax as am
        assert imported <= ALLOWED[room], f"{path}: {imported - ALLOWED[room]}"
        checked += 1
    assert checked > 25


def test_only_plot_imports_matplotlib():
    for path in PACKAGE.rglob("*.py"):
        if "matplotlib" in path.read_text(encoding="utf-8") and path.name != "plot.py":
            raise AssertionError(path)


def loaded_by(code):
    heavy = ("jax", "pydantic", "numpy", "xarray", "matplotlib")
    probe = f"import sys; {code}; print(*sorted(m for m in {heavy} if m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return out.stdout.split()


def test_nothing_heavy_is_imported_early():
    assert loaded_by("import assocmem_jax") == []
    assert loaded_by("import assocmem_jax.cli; assocmem_jax.cli.main(['list'])")[-1:] != ["jax"]
    assert "jax" not in loaded_by("import assocmem_jax.config as c; c.load('configs/gd_fig2.toml')")


def test_importing_leaves_x64_alone():
    code = "import jax, assocmem_jax.dynamics, assocmem_jax.theory; assert not jax.config.jax_enable_x64"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_resolves_and_is_documented():
    for name in am.__all__:
        value = getattr(am, name)
        assert name == "__version__" or value.__doc__, name


def test_classes_are_abstract_or_final():
    """No method of the package overrides a concrete one."""
    import inspect

    import equinox as eqx

    for name in am.__all__:
        cls = getattr(am, name)
        if not inspect.isclass(cls) or not issubclass(cls, eqx.Module):
            continue
        for base in cls.__mro__[1:]:
            if not base.__module__.startswith("assocmem_jax"):
                continue
            for key, member in vars(base).items():
                if key.startswith("__"):
                    continue
                if inspect.isfunction(member) and not getattr(member, "__isabstractmethod__", False):
                    assert getattr(cls, key) is member, f"{name}.{key} overrides {base.__name__}"
