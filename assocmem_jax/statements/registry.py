"""Statements: what is printed, what is right, where, why; and the registry of them all."""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax

from .. import checks, systems
from ..sweeps import Integers, LogUniform, Uniform
from .claims import Claim

Law = Uniform | LogUniform | Integers
Forms = Mapping[str, Claim | tuple[Claim, ...]]

# The law of a seed from which random embeddings are drawn.
SEEDS = Integers(0, 2**31 - 2)
VERDICTS = ("right", "false", "open", "new")


@dataclass(eq=False)
class Statement:
    """One statement, executable. Made by the decorator ``statement``; see there."""

    id: str
    says: str
    forms: Callable[..., Any] | None
    domain: Mapping[str, Law] = field(default_factory=dict)
    cases: Sequence[Mapping[str, int]] = field(default_factory=lambda: [{}])
    where: str = ""
    printed: str = ""
    corrected: str = ""
    verdict: str = "new"
    reason: str = ""
    tolerance: str = "64 roundings of the right side"
    proof: str = ""
    status: str = "proved"
    counterexample: Mapping[str, float | int] | None = None
    figure: str = ""
    second: Callable[..., Any] | None = None
    second_samples: int = 8
    most: int | None = None

    @property
    def source(self) -> str:
        """What stands before the last dot of the id."""
        return self.id.rpartition(".")[0]

    def second_route(self, function: Callable) -> Callable:
        """Decorator: the corrected claims of one problem by other means (NumPy, SciPy, no simulator).

        Takes the same arguments as plain numbers and returns what stands under "corrected"; ``check``
        wants it to hold, and both sides to agree with the first route's.
        """
        self.second = function
        return function

    def __call__(self, **problem: Any) -> dict[str, tuple[Claim, ...]]:
        """The claims of one problem: "corrected", and "printed" where it differs. Sizes not given are
        those of the first case."""
        if self.forms is None:
            checks.refuse(self.id, "executable", "a statement in words only")
        problem = dict(self.cases[0]) | problem
        known = [*self.domain, *self.cases[0]]
        if set(problem) != set(known):
            checks.refuse(self.id, f"given {', '.join(known)}", ", ".join(problem) or "nothing")
        static = {name: int(value) for name, value in problem.items() if name in self.cases[0]}
        free = {name: value for name, value in problem.items() if name in self.domain}
        return {name: _tuple(claims) for name, claims in self.program(static)(free).items()}

    def program(self, case: Mapping[str, int]) -> Callable:
        """The compiled map from {name: number} to the forms, for the sizes of a case."""
        key = tuple(sorted(dict(case).items()))
        if key not in self._programs:
            forms = self.forms
            assert forms is not None

            def one(free):
                found = forms(**free, **dict(case))
                found = found if isinstance(found, Mapping) else {"corrected": found}
                return {name: _tuple(claims) for name, claims in found.items()}

            self._programs[key] = jax.jit(one)
        return self._programs[key]

    @cached_property
    def _programs(self) -> dict:
        return {}

    def __repr__(self) -> str:
        return f"<statement {self.id}: {self.says}>"


def _tuple(claims: Any) -> tuple[Claim, ...]:
    claims = (claims,) if isinstance(claims, Claim) else tuple(claims)
    for claim in claims:
        if not isinstance(claim, Claim):
            checks.refuse(
                "a statement", "a function that returns claims", repr(claim)[:60],
                "return am.equal(left, right), am.at_most(…) or am.at_least(…)",
            )  # fmt: skip
    return claims


_REGISTRY: dict[str, Statement] = {}


def statement(
    id: str,
    says: str,
    *,
    domain: Mapping[str, Law] | None = None,
    cases: Sequence[Mapping[str, int]] | None = None,
    **more: Any,
) -> Callable[[Callable], Statement]:
    """Decorator: register a function of a problem that returns claims, to be run by ``check``.

        @am.statement("mine.spike", "one step from zero errs iff α p₁ > p₂",
                      domain=dict(alpha=am.Uniform(-1, 1), p1=am.Uniform(0.5, 1)))
        def spike(alpha, p1):
            '''The margin of the rare token after the step is ηc(p₂ − αp₁)/2.'''
            task = am.two_tokens(alpha, p1)
            …
            return am.equal(margins[1] < 0, alpha * p1 > 1 - p1)

    - ``domain``: name → ``Uniform``, ``LogUniform`` or ``Integers``: the numbers that make a problem.
      The function is traced once and vmapped over them. Random embeddings: draw an ``Integers`` seed.
    - ``cases``: sizes that fix shapes, one dict each (``[dict(n=3), dict(n=5)]``), as plain integers.
    - The function returns a claim, a tuple of claims, or a dict with "corrected" and "printed"; its
      docstring is the proof sketch.
    - ``where``, ``printed``, ``corrected``, ``reason``, ``tolerance``, ``figure``: texts of docs/theory.md.
    - ``verdict``: of the printed form, "right", "false" or "open"; "new" where there is none.
      ``status``: "proved", "numerical" or "conjecture".
    - ``counterexample``: a small problem that refutes the printed form. ``most``: problems at most
      (where each is itself a Monte-Carlo run). ``second_samples``: problems for the second route.
    """
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+", id):
        checks.refuse("id", "source.name in small letters, digits, - and _", repr(id), "for example 'mine.1'")
    domain, cases = dict(domain or {}), [dict(case) for case in cases or [{}]]
    for name, law in domain.items():
        if not isinstance(law, Law):
            checks.refuse(f"domain[{name!r}]", "a Uniform, LogUniform or Integers", repr(law))
    if unknown := set(more) - {f for f in Statement.__dataclass_fields__ if f not in ("forms", "second")}:
        checks.refuse("statement", "given fields it knows", ", ".join(sorted(unknown)))
    if more.get("verdict", "new") not in VERDICTS:
        checks.refuse("verdict", f"one of {', '.join(VERDICTS)}", repr(more["verdict"]))

    def register(forms: Callable | None) -> Statement:
        if forms is not None:
            taken, given = set(inspect.signature(forms).parameters), {*domain, *cases[0]}
            if taken != given:
                checks.refuse(id, f"a function of {', '.join(sorted(given))}", ", ".join(sorted(taken)))
        own = forms is None or forms.__module__.startswith(f"{systems.__name__}.")
        if id.partition(".")[0] in systems.sources() and not own:
            checks.refuse("id", "outside the papers' own names", repr(id), "for example 'mine.1'")
        if id in _REGISTRY:
            checks.refuse(
                "id", "new", f"{id!r}, which is registered", f"am.statements.forget({id!r}) drops the other"
            )
        proof = inspect.cleandoc(forms.__doc__ or "") if forms is not None else ""
        fields: dict[str, Any] = {"proof": proof} | more
        made = Statement(id, says, forms, domain, cases, **fields)
        _REGISTRY[id] = made
        return made

    return register


def forget(id: str) -> None:
    """Drop a statement, so that its id is free again (a cell of a notebook that is run twice)."""
    if _REGISTRY.pop(id, None) is None:
        checks.refuse("id", "that of a registered statement", repr(id))


def statements(*which: str) -> list[Statement]:
    """The statements registered, in order: all, or those of a source ("gd") or of an id ("gd.8")."""
    for wing in systems.wings().values():
        for module in wing.statements:
            importlib.import_module(f"{wing.package}.{module}")
    first = {source: place for place, source in enumerate(systems.sources())}
    everything = sorted(_REGISTRY.values(), key=lambda s: first.get(s.source, len(first)))
    if not which:
        return everything
    chosen = []
    for name in which:
        wanted = name.lower()
        found = [s for s in everything if s.id == wanted or s.id.startswith(wanted + ".")]
        if not found:
            sources = ", ".join(dict.fromkeys(s.source for s in everything))
            checks.refuse(
                "which", f"a source ({sources}) or an id", repr(name), "see `assocmem check --list`"
            )
        chosen += [s for s in found if s not in chosen]
    return chosen
