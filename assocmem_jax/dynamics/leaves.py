"""Numbers for some leaves of a model: the step at which they thaw, their relative rate."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Num

from .. import checks
from ..models import AbstractModel
from ..models.base import HasLanes, Lanes
from ..observe.gradient import replaced, trainable_mask
from .alike import alike

Pairs = tuple[tuple[Callable, Num[Array, ""]], ...]


def pairs(name: str, given: Any, number: str, held: Callable[[str, Any], Array]) -> Pairs:
    """Pairs (function of the model that picks leaves, number), each number ``held(argument, number)``."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        checks.refuse(name, f"pairs (function of the model, {number})", checks.short(given))
    for place, pair in enumerate(given):
        if not (isinstance(pair, tuple) and len(pair) == 2 and callable(pair[0])):
            checks.refuse(f"{name}[{place}]", f"a pair (function of the model, {number})", repr(pair))
    return tuple(
        (alike(where), held(f"{name}[{place}]", value)) for place, (where, value) in enumerate(given)
    )


def relative(given: Any) -> Pairs:
    """Relative rates: finite, at least 0."""

    def held(argument: str, value: Any) -> Array:
        factor = checks.number(argument, value)
        checks.within(argument, factor, 0, float("inf"), "it multiplies the rate of these leaves")
        return factor

    return pairs("relative_rates", given, "rate", held)


def spread(name: str, given: Pairs, trained: Any, rest: Any) -> Any:
    """For every trained leaf its number, ``rest`` where none is given; the last of several."""
    tree = jax.tree.map(lambda _: rest, trained)
    for place, (where, value) in enumerate(given):

        def put(leaf: Any, place=place, value=value) -> Any:
            if leaf is None:
                checks.refuse(f"{name}[{place}]", "of leaves that are trained", "one that is not")
            return value

        tree = replaced(f"{name}[{place}]", where, tree, put, is_leaf=lambda leaf: leaf is None)
    return tree


def usual(model: Any, trained: Any) -> bool:
    """Whether what is trained is what the model itself would train."""
    return jax.tree.structure(eqx.filter(model, trainable_mask(model))) == jax.tree.structure(trained)


def lanes(task: Any, model: AbstractModel, trained: Any) -> Lanes | None:
    """The row of numbers in which a small memory is run beside others, ``back`` to what is trained of it."""
    row = model.lanes(task) if isinstance(model, HasLanes) and usual(model, trained) else None
    if row is None:
        return None
    back = row.back
    return row._replace(back=lambda y, data: eqx.filter(back(y, data), trainable_mask(model)))


def refuse_scores(given: Pairs, model: AbstractModel) -> None:
    """Refuse relative rates of what is no weight: scores move through the kernel of one W."""
    if given and not model.weight_space:
        checks.refuse(
            "relative_rates", "left out for a system of scores, margins or scalar products",
            f"some, of a {type(model).__name__}", "train the weights",
        )  # fmt: skip
