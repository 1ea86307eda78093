"""Random mutants of the package, over all rooms and wings, and how many of them the tests catch.

Run: python tests/mutants.py [--count 100] [--seed DATE]; needs cosmic-ray (pip install -e '.[mutants]').
Prints one line a mutant; exit code 1 if fewer than 95 % are caught, or a test fails without any. What a whole
list gave is kept for the scoreboard (tests/found.py).

cosmic-ray knows which mutants there are and makes them. Its own runner changes the tree it runs in and has
one test command for all files, so the sample (every room in turn, then a place in it, then what is done
there) and the run (on a copy) are here. The fast tests run once under coverage, which notes who ran which
line: a mutant meets those who run its line first, the quickest before the others, then the longer ones of its
room.
"""

import argparse
import ast
import datetime
import itertools
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import found

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "assocmem_jax"
GOAL = 0.95
# Seconds for the tests of a mutant; one that loops for ever is caught.
LONGEST = 1800
# Seconds of tests that meet a line which runs when its file is read, before those of its room do.
SHORT = 60
# Names of one word a file: tests/engine/test_NAME.py; those of wings with their folder.
TESTS = {
    "checks": "calls bounds precision malformed own_system",
    "files": "hostile long_work store checkpoint cli",
    "machine": "room bounds card sweeps sweep_failures",
    "named": "own_system hostile config",
    "progress": "long_work",
    "numerics": "numerics precision information gradients truncation memory/theory memory/observe",
    "tasks": "bounds calls own_system precision minibatch memory/tasks memory/losses memory/words "
    "memory/pairs",
    "models": "truncation own_system calls memory/models induction/heads induction/induction",
    "observe": "truncation information gradients own_system calls memory/observe memory/models memory/passes",
    "dynamics": "descent flow clocks stochastic curriculum minibatch optimizers trajectory records "
    "checkpoint alike room bounds calls gradients own_system precision",
    "sweeps": "sweeps sweep_failures store card threshold bounds hostile calls memory/capacity memory/search",
    "statements": "statements",
    "studies": "schemas config configs long_work own_system cli",
    "commands": "cli configs config long_work hostile kept store",
    "cli": "cli configs config store",
    "plot": "figures cli",
    "theory": "house",
    "systems": "house configs",
    "": "house own_system",
}
# Of every door: of which kind it is, how large, what it takes where values are known, and where they are not.
DOORS = "surface sizes traced ends"
# What they answer: of all wings, or of one.
ANSWERS = ["tests/engine/test_answers.py", "-m", "", "-k"]
WITH_DOORS = ("checks", "numerics", "tasks", "models", "observe", "dynamics", "sweeps")
MARKS = ("not soak and not examples and not thorough", "thorough and not soak")
# Of the wing that the engine is tested with.
TESTS_OF_MEMORY = "card sweeps descent flow clocks precision"
# Rows of `assocmem check` that are about a wing.
ROWS = {
    "memory": "gd or beyond or slides",
    "retrieval": "slides",
    "induction": "birth or context",
    "cooccurrence": "cooc",
    "factual": "facts",
    "noise": "noise",
    "denoising": "denoising",
    "hops": "hops",
}
# What no test can see, by kind: (file, line, operator) → why, or None.
KINDS = [
    ("", r"@(final|functools\.(lru_)?cache|functools\.wraps|jax\.jit|eqx\.filter_jit)", "RemoveDecorator",
     "says or speeds up, changes nothing"),
    ("studies/", "parallel: ClassVar", "Replace", "on how many devices, of which results do not know"),
    ("statements/", "samples[:=]", "Number", "how many problems are drawn, not what holds of them"),
    ("studies/", "seeds: Seeds = ", "Number", "how many runs one gets who does not say: any would do"),
    ("statements/", r"\bmost=", "Number", "how many problems are drawn, not what holds of them"),
    ("plot.py", r"\b(\w*alpha|linewidths?|markersize|handlelength|borderaxespad|columnspacing)=", "Number",
     "how thick and how pale things are: judged by eye"),
    ("plot.py", r"\bframeon=", "Replace", "whether a legend has a frame: judged by eye"),
    ("", r"\bbatch_size=\d", "Number", "how many are computed at once, of which results do not know"),
    ("memory/dynamics.py", "^BLOCK = ", "Number", "steps computed at once, of which results do not know"),
    ("cooccurrence/theory.py", r"leggauss\(", "Number", "a node more or less: both are right to rounding"),
    ("denoising/theory.py", "^_NODES = ", "Number", "nodes where a normal law is below rounding, or none"),
    ("hops/studies/construction.py", r"fold_in\(", "Number",
     "names a stream: that of a size is no other's, that of its search is not the key it was made with"),
]  # fmt: skip
_DRAWN = (
    "task = am.TriggerTask.gaussian(tokens, widest, keys[0], length=length, draws={}).narrowed(dimension)"
)
_SIGNS = "a, y = (jr.rademacher(key, (size,), float) for key, size in ((keys[4], m1),"
# One by one, each looked at: "FILE: line → line" → why it computes the same.
EQUIVALENT: dict[str, str] = {
    "plot.py: _grey(axes.flat[0], values, missing) → _grey(axes.flat[ -1], values, missing)":
        "only the figure of these axes is asked for: panels() leave room beside them",
    'checks.py: if known.dtype.kind == "f" and known.dtype.itemsize > 8: → '
    'if known.dtype.kind == "f" and known.dtype.itemsize > 9:':
        "no float is of nine bytes",
    'systems/hops/model.py: "contexts", f"of the shape that the model is for ({self.first.shape[0]} tokens)"'
    ', (k, n) → "contexts", f"of the shape that the model is for ({self.first.shape[ 1]} tokens)", (k, n)':
        "it is square, which __init__ asks for",
    "files.py: return checksum(f\"{boot}{os.readlink('/proc/self/ns/pid')}\".encode())[:8] → "
    "return checksum(f\"{boot}{os.readlink('/proc/self/ns/pid')}\".encode())[: 7]":
        "a name of a machine's run: of 28 bits or 32",
    "systems/memory/theory/soft_labels.py: m > 0, → m >= 0,": "both logarithms are one at m = 0",
    **{f"systems/induction/dynamics.py: start = NoisyCopySystem.zeros(task), jnp.zeros((), task.dtype), 0 → "
       f"start = NoisyCopySystem.zeros(task), jnp.zeros((), task.dtype), {first}":
       "where a count begins whose bound no crossing comes near" for first in (-1, 1)},
    "systems/denoising/observe.py: keys = jr.split(key, 3) → keys = jr.split(key, 4)":
        "the first keys of a split are the same, however many there are",
    f"systems/cooccurrence/statements/problems.py: {_SIGNS} (keys[6], n))) → {_SIGNS} (keys[ 7], n)))":
        "of seven keys; JAX takes the last for an index beyond",
    "systems/memory/studies/bifurcation.py: apart = task.outputs - task.outputs.mean(axis=0) → "
    "apart = task.outputs - task.outputs.mean(axis= -1)": "of the identity, whose rows are its columns",
    "systems/factual/observe.py: own = jnp.take_along_axis(scores, relation[:, None, None], axis=1)[:, 0] → "
    "own = jnp.take_along_axis(scores, relation[:, None, None], axis=1)[:, -1]": "the axis is of one",
    "systems/hops/task.py: return self.weights.shape[0] → return self.weights.shape[ -1]": "of one axis",
    'systems/hops/studies/training.py: {"step": found[0]["step"][0], "hops": 2 ** np.arange(levels)}, → '
    '{"step": found[ -1]["step"][0], "hops": 2 ** np.arange(levels)},':
        "all runs are looked at at the same steps",
    "cli.py: study = load(options.what[0], options.overrides) → "
    "study = load(options.what[ -1], options.overrides)": "more than one is refused before",
    'cli.py: out = common.usable(options.out or common.place(options.what[0], study, ".zarr")) → '
    'out = common.usable(options.out or common.place(options.what[ -1], study, ".zarr"))':
        "more than one is refused before",
    "studies/config.py: if origin is tuple: → if origin == tuple:": "of types these are the same",
    **{f"systems/noise/studies/learner.py: {_DRAWN.format(1)} → {_DRAWN.format(2)}":
       "three steps draw their own, and what is then observed of them is exact"},
    "systems/factual/statements/halves.py: "
    "return np.asarray(FactualTask.balanced(S, R, D, jr.key(seed), noise=2, length=7, draws=2).facts) → "
    "return np.asarray(FactualTask.balanced(S, R, D, jr.key(seed), noise=1, length=7, draws=2).facts)":
        "the facts alone, of which noise and draws do not know",
    "systems/hops/studies/search.py: keys = jr.split(key, 5) → keys = jr.split(key, 6)":
        "the first keys of a split are the same, however many there are",
    "systems/retrieval/model.py: seen = jnp.where(self.weights > 0, jnp.log(jnp.where(self.weights > 0, "
    "self.weights, 1)), -jnp.inf) → seen = jnp.where(self.weights != 0, jnp.log(jnp.where(self.weights > 0, "
    "self.weights, 1)), -jnp.inf)": "of weights, which are not negative",
    "systems/induction/theory/context.py: points = 2 * most + 64 → points = 2 * most + 63":
        "more than the coefficient needs, either way: both are right to rounding",
    "systems/induction/dynamics.py: _MOST = 65_536 → _MOST = 65537":
        "a bound on steps that no crossing comes near",
}  # fmt: skip


# As cosmic-ray writes a number, there may be a blank before it.
SAME = {name.replace(" ", ""): why for name, why in EQUIVALENT.items()}
# Of floats these are a TypeError: caught by whatever runs them, and no measure of the tests.
BITWISE = ("Shift", "BitOr", "BitAnd", "BitXor", "Invert")


class Mutant(NamedTuple):
    file: str
    operator: str
    line: int
    before: str
    after: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.file}: {self.before} → {self.after}"

    @property
    def same(self) -> str | None:
        """Why it is no fault, if it is none."""
        for file, line, operator, why in KINDS:
            if re.search(file, self.file) and re.search(line, self.before) and operator in self.operator:
                return why
        return SAME.get(self.name.replace(" ", ""))


def rooms() -> dict[str, list[Path]]:
    """Files of each room of the engine and of each wing; manifests name things and are left out."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if path.name != "__init__.py" or parts == ("systems", "__init__"):
            room = parts[:3] if parts[0] == "systems" and len(parts) > 2 else parts[:1]
            found.setdefault("/".join(room), []).append(path)
    return found


def loads(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def quiet(tree: ast.Module, study: bool) -> list[tuple[int, int]]:
    """Lines that are not mutated: annotations and docstrings, for they compute nothing here; and how a figure
    looks, which is judged by eye: of studies ``figure``, and what is given axes to draw on."""
    spans = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            draws = study and {"ax", "axes", "figure"} & {argument.arg for argument in node.args.args}
            if node.name in ("figure", "_figure") or draws:
                spans.append((node.lineno, node.end_lineno or node.lineno))
            spans.append((node.lineno, first.lineno - 1))
        if isinstance(node, ast.AnnAssign):
            spans.append(
                (node.lineno, node.target.end_lineno or node.lineno) if node.value is None else (0, 0)
            )
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            spans.append((node.lineno, node.end_lineno or node.lineno))
    return spans


def drawn(count: int, seed: int) -> Iterator[Mutant]:
    """``count`` mutants, each once: the rooms in turn, a file by its length, a line of it, an operator, a
    place."""
    from cosmic_ray.commands.init import init
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator
    from cosmic_ray.work_db import WorkDB, use_db

    chance = random.Random(seed)
    known: dict[Path, Any] = {}
    files = rooms()
    order = sorted(files)
    made = set[tuple[Path, str]]()
    while len(made) < count:
        if not order:
            order = sorted(files)
        room = order.pop(chance.randrange(len(order)))
        weights = [path.stat().st_size for path in files[room]]
        path = chance.choices(files[room], weights)[0]
        text = path.read_text(encoding="utf-8")
        if path not in known:
            with use_db(":memory:", WorkDB.Mode.create) as db:
                init([path], db, {})
                specs = [item.mutations[0] for item in db.work_items]
            spans = quiet(ast.parse(text), "studies" in path.parts[len(PACKAGE.parts) + 2 :])
            places: dict[int, list[Any]] = {}
            for spec in sorted(specs, key=lambda s: (s.start_pos, s.operator_name, s.occurrence)):
                still = any(low <= spec.start_pos[0] <= high for low, high in spans)
                if not still and not spec.operator_name.endswith(BITWISE):
                    places.setdefault(spec.start_pos[0], []).append(spec)
            known[path] = places
        if not known[path]:
            continue
        at = chance.choice(sorted(known[path]))
        spec = chance.choice(known[path][at])
        changed = mutate_code(text, get_operator(spec.operator_name)(), spec.occurrence)
        if changed is None or changed == text or (path, changed) in made or not loads(changed):
            continue
        lines, others = text.splitlines(), changed.splitlines()
        file = str(path.relative_to(PACKAGE))
        after = others[at - 1].strip() if len(lines) == len(others) else "(gone)"
        made.add((path, changed))
        yield Mutant(file, spec.operator_name, at, lines[at - 1].strip(), after, changed)


def related(file: str) -> list[list[str]]:
    """Arguments of pytest, in stages, fast ones first: the tests of a room, those of its own name before the
    others; of a wing, its small runs (for studies) and its rows of `assocmem check` too."""
    parts = [*Path(file).with_suffix("").parts]
    if parts[0] == "systems" and len(parts) > 2:
        wing, room = parts[1], parts[2]
        rows = ["tests/engine/test_statements.py", "-m", "", "-k", f"test_row and ({ROWS[wing]})"]
        runs = ["tests/engine/test_cli.py", "-m", "", "-k", f"each_study and ({small(wing)})"]
        keys = ["tests/engine/test_schemas.py"]
        first = [rows] if room == "statements" else [keys, runs] if room == "studies" else []
        folders = [f"tests/{wing}"]
        if room == "task":  # refusals of tasks of all wings
            folders.append("tests/engine/test_calls.py")
        if room in ("task", "model"):  # the last that each door takes
            folders += [f"tests/engine/test_{name}.py" for name in DOORS.split()]
        if room == "task" and wing == "retrieval":  # bits of recalled patterns
            folders.append("tests/engine/test_information.py")
        if wing == "memory" and room in ("task", "model", "observe", "dynamics", "theory"):
            folders += [f"tests/engine/test_{name}.py" for name in TESTS_OF_MEMORY.split()]
        if room == "observe":
            folders += [f"tests/engine/test_{name}.py" for name in ("house", "surface", "sizes")]
        if room == "dynamics":
            folders.reverse()
        stages = [*first, *([*folders, "-m", marks] for marks in MARKS)]
        if room not in ("studies", "statements"):
            stages.append([*ANSWERS, wing])
        return stages if rows in stages else [*stages, rows]
    own = TESTS["" if parts[0] == "__init__" else parts[0]]
    names = f"{own} {DOORS if parts[0] in WITH_DOORS else 'surface'}".split()
    names.sort(key=lambda name: parts[-1].rstrip("s") not in name)
    paths = [f"tests/{a or 'engine'}/test_{b}.py" for a, _, b in (name.rpartition("/") for name in names)]
    paths = [path for path in paths if (ROOT / path).exists()]
    answers = [[*ANSWERS, "test"]] if parts[0] in WITH_DOORS else []
    return [*([*paths, "-m", marks] for marks in MARKS), *answers]


class Coverage:
    """Which fast tests ran a line, and how long each took; measured once, kept in ``place``."""

    def __init__(self, place: Path, pytest: str):
        from coverage import CoverageData

        data, times = place / "coverage", place / "times.xml"
        if not times.exists():
            place.mkdir(parents=True, exist_ok=True)
            command = [
                pytest,
                "-q",
                "-n",
                "2",
                "-m",
                MARKS[0],
                "-p",
                "no:cacheprovider",
                f"--junitxml={times}",
            ]
            command += ["--cov=assocmem_jax", "--cov-context=test", "--cov-report="]
            env = os.environ | {"COVERAGE_FILE": str(data)}
            subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True)
        self.data = CoverageData(str(data))
        self.data.read()
        cases = ElementTree.parse(times).getroot().iter("testcase")
        self.seconds = {(c.get("classname"), c.get("name")): float(c.get("time", 0)) for c in cases}

    def stages(self, mutant: Mutant) -> list[list[str]]:
        """Arguments of pytest: who ran the line, quickest first, then the longer tests of its room. Of a line
        that runs when its file is read: who ran any of it, for ``SHORT``, then all tests of its room."""
        end = f"/assocmem_jax/{mutant.file}"
        lines: dict[int, list[str]] = {}
        for file in self.data.measured_files():
            lines |= self.data.contexts_by_lineno(file) if file.endswith(end) else {}
        later = related(mutant.file)
        ran = self._quickest(lines.get(mutant.line, []))
        if ran:
            return [[*ran, "-m", ""], *(stage for stage in later if MARKS[0] not in stage)]
        ran = self._quickest(itertools.chain(*lines.values()), SHORT)
        return [[*ran, "-m", ""], *later] if ran else later

    def _quickest(self, contexts: Iterable[str], most: float = math.inf) -> list[str]:
        took: dict[str, float] = {}
        for name in {context.partition("|")[0] for context in contexts} - {""}:
            path, _, test = name.partition("::")
            took[name] = self.seconds.get((path.removesuffix(".py").replace("/", "."), test), 0.0)
        order = sorted(took.items(), key=lambda item: item[::-1])
        total = itertools.accumulate(seconds for _, seconds in order)
        return [name for (name, _), sofar in zip(order, total) if sofar < most]


def small(wing: str) -> str:
    configs = sorted((PACKAGE / "systems" / wing / "configs").glob("*.toml"))
    return " or ".join(path.stem for path in configs)


def failing(mutant: Mutant | None, stages: list[list[str]], pytest: str) -> str | None:
    """The first test that fails on a copy of the package with this mutant; None: all pass."""
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(PACKAGE, Path(place) / "assocmem_jax")
        if mutant is not None:
            (Path(place) / "assocmem_jax" / mutant.file).write_text(mutant.text, encoding="utf-8")
        for stage in stages:
            command = [pytest, *stage, "-x", "--no-header", "-p", "no:cacheprovider"]
            env = os.environ | {"PYTHONPATH": place}
            try:
                run = subprocess.run(
                    command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=LONGEST
                )
            except subprocess.TimeoutExpired:
                return ""
            if run.returncode not in (0, 5):  # 5: no test of that name
                found = re.findall(
                    r"^(?:FAILED|ERROR) (tests\S+?::.+?|tests\S+)(?: - .*)?$", run.stdout, re.M
                )
                return found[0] if found else ""
    return None


def caught(mutant: Mutant, coverage: Coverage, broken: set[str], pytest: str) -> str | None:
    """What caught it, in words; None: nothing. A test that fails without it too is said, and is no catch:
    it goes to ``broken``, which are not run."""
    while True:
        stages = [
            [*stage, *(f"--deselect={name}" for name in sorted(broken))] for stage in coverage.stages(mutant)
        ]
        test = failing(mutant, stages, pytest)
        if not test or failing(None, [[test, "-m", ""]], pytest) is None:
            break
        print(f"mend      {test} fails without any mutant", flush=True)
        broken.add(test)
    return test if test is None or test else f"does not load, or takes more than {LONGEST} s"


def score(count: int, seed: int, skip: int, workers: int, coverage: Coverage, pytest: str) -> dict[str, Any]:
    """Runs; prints a line a mutant. ``survivors``: their names."""
    mutants = list(drawn(count, seed))[skip:]
    real = [m for m in mutants if m.same is None]
    for mutant in mutants:
        if mutant.same is not None:
            print(f"same      {mutant.name}  ({mutant.same})", flush=True)
    survivors, broken = [], set[str]()
    kept, tree = f"mutants-{seed}", found.tree()
    before = {name: by for name, by in found.passed(kept, tree).items() if name in {m.name for m in real}}
    if before:
        print(f"{len(before)} were caught on these files before", flush=True)
    left = [m for m in real if m.name not in before]
    with ThreadPoolExecutor(workers) as pool:
        for mutant, by in zip(left, pool.map(lambda m: caught(m, coverage, broken, pytest), left)):
            said = f"  ({by})" if by else f"  (line {mutant.line}, {mutant.operator})"
            print(f"{'caught' if by else 'SURVIVED'}  {mutant.name}{said}", flush=True)
            survivors += [] if by else [mutant.name]
            if by and not broken:
                found.passing(kept, tree, before := before | {mutant.name: by})
    found.forget(f"{kept}-passed")
    return {"drawn": len(mutants), "seed": seed, "real": len(real), "caught": len(real) - len(survivors),
            "survivors": survivors, "broken": sorted(broken)}  # fmt: skip


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    words.add_argument("--count", type=int, default=100)
    today = int(f"{datetime.date.today():%Y%m%d}")  # so that no test was written with the list in sight
    words.add_argument("--seed", type=int, default=today)
    words.add_argument("--skip", type=int, default=0, help="of those drawn, the first that are not run")
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--pytest", default=str(Path(sys.executable).parent / "pytest"))
    words.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    words.add_argument(
        "--coverage", type=Path, help="a folder that keeps who ran which line, for the next run"
    )
    told = words.parse_args()
    if told.list:
        for mutant in drawn(told.count, told.seed):
            print(f"{mutant.name}  (line {mutant.line}, {mutant.operator})")
        return 0
    tree = found.tree()
    with tempfile.TemporaryDirectory() as place:
        coverage = Coverage(told.coverage or Path(place), told.pytest)
        scored = score(told.count, told.seed, told.skip, told.workers, coverage, told.pytest)
    if not told.skip and told.count >= 100:
        found.keep("mutants", tree, **scored)
    share = scored["caught"] / max(1, scored["real"])
    print(
        f"{scored['caught']} of {scored['real']} mutants caught: {share:.1%}; "
        f"at least {GOAL:.0%} are asked for"
    )
    return 0 if share >= GOAL and not scored["broken"] else 1


if __name__ == "__main__":
    sys.exit(main())
