"""The house: who imports whom, what is loaded when, how long a file is, what a manifest says."""

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import assocmem_jax as am
from assocmem_jax.studies.registry import entries, schema
from assocmem_jax.systems import sources, wings

PACKAGE = Path(am.__file__).parent
ROOT = Path(__file__).parents[2]
FILES = sorted(PACKAGE.rglob("*.py"))

# What each room of the engine may import, besides itself. "systems" is the reader of manifests, no wing.
NOTHING: set[str] = set()
GROUND = {"checks", "files", "machine", "named", "progress"}
TRUNK = ["numerics", "tasks", "models", "observe", "dynamics", "sweeps", "statements"]
ALLOWED = {
    "checks": {"machine"}, "files": NOTHING, "machine": NOTHING, "named": NOTHING, "systems": NOTHING,
    "progress": NOTHING,
    **{room: {*GROUND, *TRUNK[:place]} for place, room in enumerate(TRUNK)},
    "dynamics": {*GROUND, "numerics", "tasks", "models", "observe", "plot"},
    "observe": {*GROUND, "numerics", "tasks", "models", "systems"},
    "statements": {*GROUND, *TRUNK, "systems"},
    "theory": {"systems"},
    "plot": {"checks", "files"},
    "studies": {*GROUND, "dynamics", "sweeps", "plot", "systems"},
    "commands": {*GROUND, *TRUNK, "studies", "plot", "systems"},
    "cli": {"commands", "studies", ""},
    "": {"systems"},
}  # fmt: skip

# Inside a wing, a room may import those before it; studies and statements do not know each other.
ROOMS = ["task", "model", "observe", "dynamics"]
INSIDE = {
    "theory": NOTHING,
    **{room: set(ROOMS[:place]) for place, room in enumerate(ROOMS)},
    "statements": {*ROOMS, "theory"},
    "studies": {*ROOMS, "theory"},
}
# The arrows between wings: from → to.
BETWEEN = {("induction", "memory"), ("factual", "memory"), ("denoising", "retrieval")}


def imported(path):
    """(engine room, or "systems.wing.room") of everything of this package that a file imports, anywhere."""
    here = ["assocmem_jax", *path.relative_to(PACKAGE).with_suffix("").parts][:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            names = [*base, *(node.module.split(".") if node.module else [])]
            every = [[*names, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            every = [alias.name.split(".") for alias in node.names]
        else:
            continue
        for names in every:
            if names[0] == "assocmem_jax":
                found.add(room_of(names[1:]))
    return found


def room_of(names):
    if not names or (not (PACKAGE / names[0]).exists() and not (PACKAGE / f"{names[0]}.py").exists()):
        return ""  # the package itself
    if names[0] != "systems" or len(names) < 2 or names[1] not in wings():
        return names[0]
    deeper = len(names) > 2 and names[2] in INSIDE
    return ".".join(names[: 3 if deeper else 2])


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    here, seen = room_of(parts), imported(path)
    if not here.startswith("systems."):
        assert seen - {here} <= ALLOWED[here], f"the engine imports no wing, and {here} not {seen}"
        return
    _, wing, *room = here.split(".")
    if not room:
        assert seen <= {"systems"}, "a manifest imports nothing but what a manifest is"
        return
    engine = {name for name in seen if not name.startswith("systems.")}
    if room == ["theory"]:
        assert engine <= {"numerics"}
    elif room != ["studies"]:
        assert engine <= {*GROUND, *TRUNK} - ({"statements"} if room != ["statements"] else set())
    for name in seen - engine:
        other, place = (*name.split(".")[1:], "")[:2]
        if other == wing:
            assert place == room[0] or place in INSIDE[room[0]], f"{here} imports {name}"
        else:
            assert (wing, other) in BETWEEN, f"no arrow from {wing} to {other}: {name}"


def test_no_file_is_long_and_no_wing_has_other_rooms():
    tests = Path(__file__).parent.parent.rglob("*.py")
    long = {
        str(p): n for p in (*FILES, *tests) if (n := len(p.read_text(encoding="utf-8").splitlines())) > 500
    }
    assert not long
    for wing in wings():
        rooms = {p.stem for p in (PACKAGE / "systems" / wing).iterdir() if p.is_dir() or p.suffix == ".py"}
        assert rooms - {"__init__", "__pycache__", "configs"} <= set(INSIDE)


def test_manifests_say_what_is_there():
    """Names resolve, every config has a small form, every statement a source, every schema a study."""
    for wing in wings().values():
        for name in wing.homes():
            assert getattr(getattr(am, wing.name), name).__doc__, (wing.name, name)
        assert set(wing.first.split()) <= set(wing.homes())
        for name in wing.theory:
            assert getattr(am.theory, name).__doc__
    configs = {
        path.stem: tomllib.loads(path.read_text("utf-8"))
        for path in (PACKAGE / "systems").glob("*/configs/*.toml")
    }
    named = {config: study for study, entry in entries().items() for config in entry.small}
    assert named == {config: table["study"] for config, table in configs.items()}
    for name in entries():
        assert schema(name).title
    assert {s.source for s in am.statements.statements()} >= set(sources())
    printed = [bool(source.printed) for source in sources().values()]
    assert printed == sorted(printed, reverse=True)  # papers first
    assert len(set(printed)) == 2


def test_what_looks_at_a_task_and_a_model_says_its_axes_and_for_whom_it_is():
    """Every function (task, model, …) of a wing is an observable, and refuses what it is not for."""
    seen = 0
    for wing in wings().values():
        for name, home in wing.homes().items():
            function = getattr(getattr(am, wing.name), name)
            if not home.startswith(f"{wing.package}.observe:") or inspect.isclass(function):
                continue
            if list(inspect.signature(function).parameters)[:2] == ["task", "model"]:
                assert isinstance(function.axes, tuple), name
                with pytest.raises(ValueError, match=r"^(task|model) must be "):
                    function(object(), object())
                seen += 1
    assert seen > 30


def test_only_plot_imports_matplotlib():
    importing = [p for p in FILES if re.search(r"^\s*(?:import|from) matplotlib", p.read_text("utf-8"), re.M)]
    assert [p.name for p in importing] == ["plot.py"]


def loaded_by(code):
    heavy = ("jax", "pydantic", "numpy", "xarray", "matplotlib")
    probe = f"import sys; {code}; print(*sorted(m for m in {heavy} if m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT)
    return out.stdout.split()


def test_nothing_heavy_is_imported_early():
    assert loaded_by("import assocmem_jax, assocmem_jax.theory; assocmem_jax.memory.__all__") == []
    assert "jax" not in loaded_by("import assocmem_jax.cli; assocmem_jax.cli.main(['list'])")
    assert "jax" not in loaded_by("import assocmem_jax.cli as c; c.main(['sweep', 'status', 'none.zarr'])")
    assert loaded_by("import assocmem_jax.studies.config as c; c.load('gd_fig2')") == ["pydantic"]


def test_importing_leaves_x64_alone():
    code = "import jax, assocmem_jax.dynamics, assocmem_jax.systems.memory.theory.two_particles as t"
    subprocess.run([sys.executable, "-c", f"{code}; assert not jax.config.jax_enable_x64"], check=True)


def test_every_public_name_resolves_and_is_documented():
    for name in am.__all__:
        value = getattr(am, name)
        assert name == "__version__" or value.__doc__, name
    with pytest.raises(AttributeError, match="module 'assocmem_jax' has no attribute 'los'"):
        am.los  # noqa: B018


def test_classes_are_abstract_or_final():
    """No method of the package overrides a concrete one."""

    import equinox as eqx

    public = [getattr(am, name) for name in am.__all__]
    public += [getattr(getattr(am, w.name), name) for w in wings().values() for name in w.homes()]
    seen = 0
    for cls in public:
        if not inspect.isclass(cls) or not issubclass(cls, eqx.Module):
            continue
        for base in cls.__mro__[1:]:
            if not base.__module__.startswith("assocmem_jax"):
                continue
            for key, member in vars(base).items():
                if key.startswith("__"):
                    continue
                if inspect.isfunction(member) and not getattr(member, "__isabstractmethod__", False):
                    assert getattr(cls, key) is member, f"{cls.__name__}.{key} overrides {base.__name__}"
                    seen += 1
    assert seen > 30


def test_nothing_looks_outside_the_repository():
    folder = "sha" + "red"
    for path in [*ROOT.glob("tests/**/*.py"), *FILES, ROOT / "Makefile", ROOT / ".ci" / "run"]:
        text = path.read_text(encoding="utf-8")
        assert f"../{folder}" not in text, path
        assert f'"{folder}"' not in text, path


def test_no_test_is_another_ones_module():
    """Files of tests move; what two of them need stands in a module beside the folders."""
    wrong = [
        f"{path.name}: {line}"
        for path in ROOT.glob("tests/**/test_*.py")
        for line in re.findall(r"^[ \t]+(?:from|import) test_\w+.*", path.read_text(encoding="utf-8"), re.M)
    ]
    assert not wrong


def test_stubs_are_those_of_the_manifests():
    spec = importlib.util.spec_from_file_location("stubs", ROOT / "scripts" / "stubs.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    for path, text in made.stubs().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: python scripts/stubs.py"
