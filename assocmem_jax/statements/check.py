"""Draw problems, run the claims, weigh both routes: ``check``."""

import dataclasses
import functools
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from .. import checks
from ..dynamics import programs
from ..files import versions
from ..machine import cores
from ..sweeps import Integers
from ..sweeps.axes import drawn
from .claims import Claim
from .registry import Statement, statements

# Problems computed side by side.
LANES = 256
# Two routes may differ by the error of each.
BOTH = 2.0


@dataclasses.dataclass(frozen=True)
class Example:
    """One entry of one claim of one problem: ``left relation right``, allowed to miss by ``within``."""

    problem: Mapping[str, float | int]
    left: float
    relation: str
    right: float
    within: float

    def __str__(self) -> str:
        at = ", ".join(f"{name} = {_short(value)}" for name, value in self.problem.items())
        return f"{_short(self.left, 6)} {self.relation} {_short(self.right, 6)}" + (f" at {at}" if at else "")


@dataclasses.dataclass(frozen=True)
class Tally:
    """How a form fared: problems it applies to, those that break it, and its worst entry.

    ``worst`` is the entry of the largest (excess/within): for a form that holds, how near it came.
    """

    tried: int = 0
    broken: int = 0
    ratio: float = -np.inf
    worst: Example | None = None

    @property
    def holds(self) -> bool:
        return self.broken == 0

    def add(self, problems: Mapping[str, np.ndarray], case: Mapping[str, int], claims: tuple) -> "Tally":
        """With a batch of problems; leaves of ``claims`` have the batch on their first axis."""
        size = len(next(iter(jax.tree.leaves(claims))))
        broken, applies, ratio, worst = np.zeros(size, bool), np.zeros(size, bool), self.ratio, self.worst
        for claim in claims:
            parts = (claim.left, claim.right, claim.within, claim.given)
            rank = max(np.ndim(part) for part in parts)
            left, right, within, given = np.broadcast_arrays(
                *(np.reshape(part, np.shape(part) + (1,) * (rank - np.ndim(part))) for part in parts)
            )
            excess = Claim(left, right, within, given, claim.relation).excess()
            with np.errstate(invalid="ignore", divide="ignore"):
                ratios = np.where(excess > -np.inf, excess / np.maximum(within, 1e-300), -np.inf)
            ratios = np.where(np.isnan(ratios), np.inf, ratios).reshape(size, -1)
            broken |= (ratios > 1).any(axis=1)
            applies |= np.asarray(given).reshape(size, -1).any(axis=1)
            if ratios.size and ratios.max() > ratio:
                row, entry = np.unravel_index(np.argmax(ratios), ratios.shape)
                ratio = float(ratios[row, entry])
                a, b, slack = (float(side.reshape(size, -1)[row, entry]) for side in (left, right, within))
                at = {name: column[row].item() for name, column in problems.items()} | dict(case)
                worst = Example(at, a, claim.relation, b, slack)
        return Tally(
            self.tried + int(applies.sum()), self.broken + int((broken & applies).sum()), ratio, worst
        )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What ``check`` found of a statement.

    - ``printed``: the printed form, or ``None`` where it is the corrected one. ``corrected``: ours.
    - ``stored``: the printed form on the counterexample of the registry alone.
    - ``second``: the corrected form by the second route, on a few of the problems. ``apart``: largest
      difference of the two routes over what rounding allows (both hold to 2).
    - ``fault``: what the statement raised, if it did; ``statement(**problem)`` shows where.
    """

    statement: Statement
    printed: Tally | None
    corrected: Tally
    stored: Tally | None
    second: Tally | None
    apart: float
    seconds: float
    fault: str = ""

    @property
    def ok(self) -> bool:
        """Whether the corrected form holds, by both routes, and they agree."""
        return not self.fault and self.corrected.holds and self._agrees

    @property
    def _agrees(self) -> bool:
        return self.second is None or (self.second.holds and self.apart <= BOTH)

    @property
    def expected(self) -> bool:
        """Whether the printed form fared as its recorded verdict says; true where nothing is recorded."""
        broken = self.printed is not None and not self.printed.holds
        broken &= self.stored is None or not self.stored.holds
        return {"false": broken, "right": not broken}.get(self.statement.verdict, True)

    def lines(self, width: int = 10) -> list[str]:
        """A row of the table, and under it the worst case of each form; ``width``: of the ids."""
        s, printed = self.statement, self.printed
        if s.forms is None:
            return [f"{s.id:<{width}} {s.says[:52]:<52}  not executable: {s.reason}"]
        if self.fault:
            return [f"{s.id:<{width}} {s.says[:52]:<52}  ERROR: {self.fault}"]
        said = "as corrected" if s.verdict == "right" else "–"
        if printed is not None:
            said = "holds" if printed.holds else f"FAILS {printed.broken}/{printed.tried}"
        ours = f"holds {self.corrected.tried}" if self.corrected.holds else "FAILS"
        ours += {"proved": "", "numerical": " (numerical)", "conjecture": " (conjecture)"}[s.status]
        again = "–" if self.second is None else "agrees" if self._agrees else "DISAGREES"
        lines = [f"{s.id:<{width}} {s.says[:52]:<52}  {said:<16} {ours:<18} {again}"]
        if printed is not None and not printed.holds:
            lines.append(f"{'':<{width}}   printed fails: {printed.worst}")
        worst = self.corrected.worst
        if worst is not None:
            share = self.corrected.ratio
            near = "nearest" if self.corrected.holds else "CORRECTED FAILS"
            lines.append(f"{'':<{width}}   {near}: {worst} ({_share(share)} of {worst.within:.1e})")
        if self.second is not None and not self._agrees:
            apart = f"routes {self.apart:.3g} × apart"
            lines.append(f"{'':<{width}}   SECOND ROUTE: {self.second.worst}; {apart}")
        return lines

    def record(self) -> dict[str, Any]:
        """As plain numbers and text."""
        s = self.statement
        tally = lambda t: None if t is None else dataclasses.asdict(t) | {"holds": t.holds}  # noqa: E731
        return {
            "id": s.id, "where": s.where, "says": s.says, "verdict": s.verdict, "status": s.status,
            "executable": s.forms is not None, "printed": tally(self.printed), "stored": tally(self.stored),
            "corrected": tally(self.corrected), "second": tally(self.second), "apart": self.apart,
            "tolerance": s.tolerance, "fault": self.fault, "ok": self.ok, "seconds": round(self.seconds, 3),
        }  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Report:
    """The verdicts of a ``check``, in order. Prints as a table."""

    verdicts: tuple[Verdict, ...]
    samples: int
    seed: int
    seconds: float

    def __getitem__(self, id: str) -> Verdict:
        return {v.statement.id: v for v in self.verdicts}[id]

    @property
    def ok(self) -> bool:
        """Whether every corrected form holds, by both routes."""
        return all(verdict.ok for verdict in self.verdicts)

    def summary(self) -> list[str]:
        """Last lines of the table."""
        ran = [v for v in self.verdicts if v.statement.forms is not None]
        refuted = sum(v.printed is not None and not v.printed.holds for v in ran)
        red = [v.statement.id for v in ran if not v.ok]
        missed = [v.statement.id for v in ran if not v.expected]
        lines = [
            f"{len(ran)} statements on up to {self.samples} problems each in {self.seconds:.0f} s: "
            f"{len(ran) - len(red)} corrected forms hold by both routes; {refuted} printed forms refuted"
        ]
        lines += [f"printed form not as recorded: {', '.join(missed)}"] if missed else []
        return lines + ([f"CORRECTED FORM FAILS: {', '.join(red)}"] if red else [])

    def __str__(self) -> str:
        width = _width(v.statement for v in self.verdicts)
        rows = itertools.chain.from_iterable(v.lines(width) for v in self.verdicts)
        return "\n".join([_header(width), *rows, *self.summary()])

    def to_json(self) -> str:
        """Everything, with what it takes to run it again. Infinite numbers as strings."""
        entries = {
            "samples": self.samples, "seed": self.seed, "seconds": round(self.seconds, 3), "ok": self.ok,
            "dtype": "float64", "device": jax.devices()[0].device_kind,
            "versions": versions("assocmem_jax", "jax", "equinox", "diffrax", "optax", "numpy", "scipy"),
            "statements": [verdict.record() for verdict in self.verdicts],
        }  # fmt: skip
        return json.dumps(_finite(entries), indent=1, ensure_ascii=False, allow_nan=False)


def _width(chosen: Iterable[Statement]) -> int:
    return max(10, *(len(s.id) for s in chosen))


def _header(width: int) -> str:
    return f"{'id':<{width}} {'statement':<52}  {'printed':<16} {'corrected':<18} second route"


def _short(value: float | int, digits: int = 4) -> str:
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}"


def _share(ratio: float) -> str:
    return f"{ratio:.2f}" if abs(ratio) < 100 else f"{ratio:.1g}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value if not isinstance(value, float) or np.isfinite(value) else str(value)


def check(
    *which: str,
    samples: int = 1024,
    seed: int = 0,
    show: Callable[[str], None] | None = None,
) -> Report:
    """Check statements on problems drawn from their domains: all, or those of a source or an id.

    For each statement, ``samples`` scrambled Sobol points of its domain (shared among its cases of sizes,
    fewer where ``most`` says so) are run through the simulator and the closed forms in float64. Where
    there is a second route, that follows on the first few. ``show`` is given each line as it is known.
    A statement that raises is red; the others go on.

        print(am.check("gd.8"))
        assert am.check("mine").ok
    """
    samples, seed = checks.count("samples", samples), checks.count("seed", seed, 0)
    for one in which:
        if not isinstance(one, str):
            checks.refuse("which", "names of statements or of sources", checks.short(one))
    if show is not None:
        checks.a_function("show", show, "a function of a line")
    if not jax.config.read("jax_enable_x64"):
        checks.refuse(
            "check", "run in float64", "float32 (JAX's default)", "jax.config.update('jax_enable_x64', True)"
        )
    jax.devices()  # that there are none is no statement's fault
    programs.bounded(look=True)
    chosen, began = statements(*which), time.perf_counter()
    examine = functools.partial(_examine, samples=samples, seed=seed)
    show = show or (lambda line: None)
    width = _width(chosen)
    show(_header(width))
    verdicts = []
    # Compilation is most of the work, and runs outside the interpreter's lock.
    with ThreadPoolExecutor(cores()) as pool:
        for verdict in pool.map(examine, chosen):
            verdicts.append(verdict)
            for line in verdict.lines(width):
                show(line)
    report = Report(tuple(verdicts), samples, seed, time.perf_counter() - began)
    for line in report.summary():
        show(line)
    return report


def _batches(statement: Statement, case: Mapping[str, int], n: int, seed: int) -> Iterator[tuple]:
    """(problems, claims of each form), ``LANES`` problems at a time."""
    values = drawn(n, statement.domain, seed=seed) if statement.domain else {}
    for first in range(0, n if values else 1, LANES):
        rows = {name: column[first : first + LANES] for name, column in values.items()}
        yield rows, _padded(statement, case, rows, min(LANES, n))


def _padded(statement: Statement, case: Mapping[str, int], rows: Mapping[str, np.ndarray], lanes: int) -> Any:
    """The forms of these problems, computed ``lanes`` at a time (one compilation) and cut again."""
    program, size = statement.program(case), _size(rows)
    if not rows:
        return jax.tree.map(lambda leaf: np.asarray(leaf)[None], program({}))
    padded = {name: np.resize(column, lanes) for name, column in rows.items()}
    laws = statement.domain
    padded = {name: column.astype(_dtype(laws[name])) for name, column in padded.items()}
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:size], _vmapped(program)(padded))


def _dtype(law: Any) -> type:
    return np.int32 if isinstance(law, Integers) else np.float64


# A program of a statement runs once: to optimise it would take longer than it runs.
_QUICKLY = {"xla_backend_optimization_level": 0}


@functools.lru_cache(maxsize=256)
def _vmapped(program: Callable) -> Callable:
    return jax.jit(jax.vmap(program), compiler_options=_QUICKLY)


def _examine(statement: Statement, samples: int, seed: int) -> Verdict:
    nothing = Verdict(statement, None, Tally(), None, None, 0.0, 0.0)
    try:
        return nothing if statement.forms is None else _weigh(statement, samples, seed)
    except Exception as fault:
        first = str(fault).splitlines()[:1] or [""]
        return dataclasses.replace(nothing, fault=f"{type(fault).__name__}: {first[0]}")


def _weigh(statement: Statement, samples: int, seed: int) -> Verdict:
    began = time.perf_counter()
    printed, corrected, stored, second, apart = None, Tally(), None, None, 0.0
    share = -(-min(samples, statement.most or samples) // len(statement.cases))
    for case in statement.cases:
        left = -(-statement.second_samples // len(statement.cases))
        for problems, forms in _batches(statement, case, share, seed):
            corrected = corrected.add(problems, case, forms["corrected"])
            if "printed" in forms:
                printed = (printed or Tally()).add(problems, case, forms["printed"])
            for row in range(min(left, _size(problems))) if statement.second is not None else ():
                at = {name: column[row].item() for name, column in problems.items()}
                one = jax.tree.map(lambda leaf, row=row: leaf[row], forms["corrected"])
                second, distance = _again(statement, at, case, one, second or Tally())
                apart = max(apart, distance)
            left -= _size(problems)
        known = statement.counterexample
        if known is not None and all(known[name] == size for name, size in case.items()):
            free = {name: np.asarray([known[name]]) for name in statement.domain}
            forms = _padded(statement, case, free, min(share, LANES))
            stored = Tally().add(free, case, forms["printed"])
    return Verdict(statement, printed, corrected, stored, second, apart, time.perf_counter() - began)


def _size(problems: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(problems.values()))) if problems else 1


def _again(
    statement: Statement, at: Mapping, case: Mapping, first: tuple, tally: Tally
) -> tuple[Tally, float]:
    """The second route on one problem, and how far its sides are from the first's (in allowances)."""
    assert statement.second is not None
    found = statement.second(**at, **case)
    found = (found,) if isinstance(found, Claim) else tuple(found)
    if [c.relation for c in found] != [c.relation for c in first]:
        checks.refuse(
            f"the second route of {statement.id}", f"of {len(first)} claims like the first's", len(found)
        )
    batched = jax.tree.map(lambda leaf: np.asarray(leaf)[None], found)
    tally = tally.add({name: np.array([value]) for name, value in at.items()}, case, batched)
    apart = 0.0
    for ours, theirs in zip(first, found):
        within = np.asarray(ours.within, float) + np.asarray(theirs.within, float)
        given = np.asarray(ours.given) & np.asarray(theirs.given)
        for side in ("left", "right"):
            a, b = np.asarray(getattr(ours, side), float), np.asarray(getattr(theirs, side), float)
            with np.errstate(invalid="ignore"):
                gap = np.where(a == b, 0.0, np.abs(a - b)) / (within / 2)
            gap = np.where(given, np.where(np.isnan(gap), np.inf, gap), 0.0)
            apart = max(apart, float(np.max(gap)))
    return tally, apart
