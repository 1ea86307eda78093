"""The smallest problem that breaks a form; Hypothesis does the shrinking."""

from typing import Any

import numpy as np

from .. import checks
from ..sweeps import Integers, LogUniform
from .registry import Statement


def shrink(statement: Statement, form: str = "printed", *, examples: int = 2000) -> dict[str, Any] | None:
    """A simplest problem of the domain that breaks the form, or ``None`` if none of ``examples`` does.

    Simplest in Hypothesis's sense: whole numbers before fractions, few digits before many, small before
    large, the first case of sizes first. Deterministic. Needs ``pip install hypothesis``.
    """
    try:
        import hypothesis
        from hypothesis import HealthCheck, Phase
        from hypothesis import strategies as st
        from hypothesis.errors import NoSuchExample
    except ImportError:
        checks.refuse(
            "shrink", "run where hypothesis is installed", "no hypothesis", "pip install hypothesis"
        )

    def values(law):
        if isinstance(law, Integers):
            return st.integers(int(law.low), int(law.high))
        reals = st.floats(float(law.low), float(law.high), allow_subnormal=False)
        if not isinstance(law, LogUniform):
            return reals
        # Floats of all sizes with few digits; half of the draws cover the logarithm evenly.
        ends = np.log10([law.low, law.high])
        powers = st.floats(*ends.tolist()).map(lambda x: float(np.clip(10**x, law.low, law.high)))
        return st.one_of(reals, powers)

    def breaks(problem) -> bool:
        forms = statement(**problem)
        if form not in forms:
            checks.refuse("form", f"one of {', '.join(forms)}", repr(form))
        return any((claim.excess() > np.asarray(claim.within)).any() for claim in forms[form])

    sizes = st.sampled_from(list(statement.cases))
    laws = st.fixed_dictionaries({name: values(law) for name, law in statement.domain.items()})
    settings = hypothesis.settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    broken = lambda drawn: breaks({**drawn[1], **drawn[0]})  # noqa: E731
    try:
        case, free = hypothesis.find(st.tuples(sizes, laws), broken, settings=settings)
    except NoSuchExample:
        return None
    return {**free, **case}
