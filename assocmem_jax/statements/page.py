"""docs/theory.md from the registry: ``python -m assocmem_jax.statements.page > docs/theory.md``."""

from ..sweeps import Integers, LogUniform
from ..systems import sources
from .registry import Statement, statements

_VERDICTS = {"right": "right", "false": "**false**", "open": "open", "new": "–"}
_HEAD = """\
# Theory you can execute

Generated from the registry by `make theory`: edit the statements
of the wings (`assocmem_jax/systems/*/statements`), not this page.

Each statement below is a program, unless it says that there is nothing to run. `assocmem check` draws
problems from its domain, runs the simulator and the closed forms on them in float64, and says how the
**printed** form fares and how the **corrected** one does; where there is a second route (NumPy and SciPy,
token by token, sharing no code with the simulator), the corrected form must hold there too and both sides
must agree. `assocmem check gd.8` checks one, `--samples 10000` more thoroughly, `--json FILE` keeps
everything. To add your own, see `notebooks/executable_theorems.py`.

The loss is the cross-entropy (Cooc: its two-class form, the logistic loss), in the simulator and in every
closed form; functions of `am.theory` that take a task refuse one of another loss.

*Proved* forms come with a sketch; *numerical* ones are measured asymptotics; *conjectures* are not proved.
Tolerances are derived from rounding (ε = 2⁻⁵²) or from the error control of the flow, as said beside each.

| id | where | statement | printed | ours |
|---|---|---|---|---|
"""


def markdown() -> str:
    """The page."""
    everything = statements()
    ours = [s for s in everything if s.source in sources()]
    lines = [_HEAD.rstrip("\n")]
    for s in ours:
        link = f"[{s.id}](#{_anchor(s)})"
        lines.append(f"| {link} | {_text(s.where)} | {_text(s.says)} | {_VERDICTS[s.verdict]} | {s.status} |")
    for name, source in sources().items():
        lines += ["", f"## {source.title}"]
        for s in ours:
            if s.source == name:
                lines += ["", *_section(s)]
    return "\n".join(lines) + "\n"


def _anchor(s: Statement) -> str:
    return s.id.replace(".", "-")


def _section(s: Statement) -> list[str]:
    lines = [
        f'<a id="{_anchor(s)}"></a>',
        f"### {s.id} · {_text(s.says)}",
        "",
        f"*{_text(s.where)}* · {s.status}",
        "",
    ]
    if s.printed:
        lines.append(f"- **Printed** ({_VERDICTS[s.verdict].strip('*')}): {_text(s.printed)}")
    lines.append(f"- **{'Correct' if s.printed else 'Statement'}**: {_text(s.corrected)}")
    if s.reason:
        label = {"false": "What is wrong", "right": "Note", "open": "Why open", "new": "Note"}[s.verdict]
        lines.append(f"- {label}: {_text(s.reason)}.")
    if s.proof:
        lines.append(f"- {'Proof' if s.status == 'proved' else 'Why'}: {_text(' '.join(s.proof.split()))}")
    if s.forms is not None:
        lines.append(f"- Domain: {_domain(s)}. Tolerance: {_text(s.tolerance)}.")
    if s.counterexample:
        at = ", ".join(f"{name} = {value:g}" for name, value in s.counterexample.items())
        lines.append(f"- The printed form fails at {at}.")
    if s.figure:
        lines += ["", f"![{s.says}](figures/{s.figure}.png)", "", f"`assocmem run {s.figure}`"]
    return lines


def _text(text: str) -> str:
    return text.replace("*", "\\*").replace("_", "\\_").replace("|", "\\|")


def _domain(s: Statement) -> str:
    parts = []
    for name, law in s.domain.items():
        if isinstance(law, Integers):
            seed = name == "seed"
            parts.append("random embeddings" if seed else f"{name} from {law.low} to {law.high} (whole)")
        else:
            even = ", even in log" if isinstance(law, LogUniform) else ""
            parts.append(f"{name} ∈ [{law.low:g}, {law.high:g}]{even}")
    sizes = "; ".join(
        ", ".join(f"{name} = {value}" for name, value in case.items()) for case in s.cases if case
    )
    return "; ".join(parts + ([f"sizes {sizes}"] if sizes else [])) or "one problem"


if __name__ == "__main__":
    print(markdown(), end="")
