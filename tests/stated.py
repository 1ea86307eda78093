"""What the statements claim of the first problems: sides and tolerances, kept in tests/stated.json.

Run: python tests/stated.py [ID …] to write them anew, where they are meant to be others. That a statement
holds is for ``check``: it would hold of a tolerance too large, where it does not apply, of fewer sizes.
"""

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np

import assocmem_jax as am
from assocmem_jax import systems
from assocmem_jax.statements import statements
from assocmem_jax.statements.claims import Claim
from surface import write

check = importlib.import_module("assocmem_jax.statements.check")  # the package has the function of that name
KEPT = Path(__file__).with_suffix(".json")
SAMPLES = 10_000
# Of a side, beyond its tolerance: float64 in another order of sums, flows, minima; see apart().
NEAR = 1e-3


def _of(claims) -> list:
    """[relation, where it applies, means of both sides there, the largest tolerance] of each claim."""
    found = []
    for claim in (claims,) if isinstance(claims, Claim) else claims:
        parts = np.broadcast_arrays(*_aligned(claim))
        left, right, within, given = (np.asarray(part, float) for part in parts)
        applies = given.astype(bool) & np.isfinite(left) & np.isfinite(right)
        means = [float(f"{(side[applies].mean() if applies.any() else 0):.7g}") for side in (left, right)]
        most = float(f"{(within[applies].max() if applies.any() else 0):.7g}")
        found.append([claim.relation, round(float(applies.mean()), 4), *means, most])
    return found


def _aligned(claim: Claim) -> list:
    """Sides of a batch, their problems on the first axis of each."""
    parts = [np.asarray(part) for part in (claim.left, claim.right, claim.within, claim.given)]
    rank = max(part.ndim for part in parts)
    return [part.reshape(part.shape + (1,) * (rank - part.ndim)) for part in parts]


@contextmanager
def seen() -> Iterator[dict]:
    """What ``check`` computes meanwhile: for each case the forms of its first batch, and of the first problem
    that the second route is on."""
    found: dict = {}
    batches, again = check._batches, check._again

    def first(statement, case, n, seed):
        for k, (rows, forms) in enumerate(batches(statement, case, n, seed)):
            if not k:
                means = {name: float(f"{np.mean(column):.7g}") for name, column in rows.items()}
                held = {form: _of(claims) for form, claims in forms.items()}
                found[json.dumps(case)] = {"problems": means, **held}
            yield rows, forms

    def second(statement, at, case, *rest):
        record = found[json.dumps(dict(case))]
        if "second" not in record:
            record["second"] = _of(statement.second(**at, **case))
        return again(statement, at, case, *rest)

    check._batches, check._again = first, second
    try:
        yield found
    finally:
        check._batches, check._again = batches, again


def apart(found: dict, kept: dict) -> list[str]:
    """Where two records differ, in words."""
    faults = []
    if list(found) != list(kept):
        return [f"cases {list(found)}, kept {list(kept)}"]
    for case, there in kept.items():
        here = found[case]
        if here.keys() != there.keys() or not _close(here["problems"], there["problems"]):
            faults.append(f"{case}: {here['problems']}, kept {there['problems']}")
        for form in there.keys() & here.keys() - {"problems"}:
            pairs = list(zip(here[form], there[form]))
            if len(here[form]) != len(there[form]) or not all(_same(*pair) for pair in pairs):
                faults.append(f"{case}, {form}: {here[form]}, kept {there[form]}")
    return faults


def _close(here: dict, there: dict) -> bool:
    return here.keys() == there.keys() and np.allclose(list(here.values()), list(there.values()), rtol=1e-5)


def _same(here: list, there: list) -> bool:
    relation, share, left, right, within = there
    slack = within + NEAR * max(abs(left), abs(right))
    return bool(
        here[0] == relation
        and abs(here[1] - share) <= 5e-3
        and max(abs(here[2] - left), abs(here[3] - right)) <= slack
        and abs(here[4] - within) <= NEAR * within
    )


def rows() -> list[str]:
    return [s.id for s in statements() if s.source in systems.sources() and s.forms is not None]


def main() -> int:
    jax.config.update("jax_enable_x64", True)
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    for id in sys.argv[1:] or rows():
        with seen() as found:
            report = am.check(id, samples=SAMPLES)
        said = "; ".join(apart(found, kept[id])) or "as it was" if id in kept else "new"
        print(f"{id}: {said}, {'green' if report.ok else 'RED'}, {report.seconds:.0f} s", flush=True)
        kept[id] = dict(found)
        write(KEPT, {id: kept[id] for id in rows() if id in kept})
    return 0


if __name__ == "__main__":
    sys.exit(main())
