"""Curricula: a law of data that changes with the step (GD sections 2 and 6), as data."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal
from jaxtyping import Array, Float, Int

from .. import checks
from ..models import AbstractModel
from ..models.base import AbstractReducedSystem
from ..tasks import AbstractTask, laws
from .alike import alike

# What runs another program once, on its own arguments.
_CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat")


@runtime_checkable
class HasLaws(Protocol):
    """A task that says which of its leaves are laws: entries at least 0, each row summing to one."""

    def laws(self) -> tuple[Array, ...]: ...


@runtime_checkable
class HasTables(Protocol):
    """A task that keeps what it has made of its leaves, and makes it anew."""

    def remade(self) -> Any: ...


class Curriculum(eqx.Module):
    """Leaves of the task as functions of the step: p(x), mixture weights, a noise. Given to ``Descent``.

    - ``where``: function of the task that picks a leaf, or a tuple of leaves: ``lambda task:
      task.probabilities``.
    - ``knots``: steps at which a value is given, increasing, shape (k,). Steps count from the start of the
      training, also of one that goes on (``simulate(resume=…)``).
    - ``values``: what the leaf is there, shape (k, *shape of the leaf); a tuple of them for several leaves.
    - ``linear``: between knots on a straight line (between two laws that is a law), or, unless asked, as at
      the last knot. Before the first knot as there, after the last as there.

    Update t is made on the task with these leaves; what is observed, and ``until``, are of the task that
    ``simulate`` is given: the law to be learned. Knots and values are data: traced, swept, and values
    differentiated in any mode. A law among the leaves (``task.laws()``) must be one at every knot. A task
    that keeps what it has made of its leaves (tables to draw from) makes it anew, ``task.remade()``. With
    scores or margins for a model only laws may change, as the kernel that moves them is the embeddings';
    reduced systems, which are of one task, refuse.

        rare_first = am.Curriculum(lambda task: task.probabilities, [0, 50], [[0.1, 0.9], [0.9, 0.1]])
        am.simulate(task, memory, am.Descent(optax.sgd(1.0), 100, curriculum=rare_first))
    """

    where: Callable[[Any], Any] = eqx.field(static=True)
    knots: Int[Array, " k"]
    values: tuple[Float[Array, "k ..."], ...]
    linear: bool = eqx.field(static=True)

    def __init__(self, where: Callable[[Any], Any], knots: Any, values: Any, *, linear: bool = False):
        checks.a_function("where", where, "a function of the task, such as lambda task: task.probabilities")
        self.where = alike(where)
        given = checks.array("knots", knots, "a vector of steps (whole numbers)")
        if checks.concrete(given):
            known = np.asarray(given)
            if known.ndim != 1 or not known.size or not (known == np.floor(known)).all():
                checks.refuse("knots", "a vector of steps (whole numbers)", checks.short(knots))
            checks.within("knots", known, 0, 2**31 - 1)
            if (np.diff(known) <= 0).any():
                checks.refuse("knots", "increasing", known.tolist())
        self.knots = jnp.asarray(given, jnp.int32)
        checks.shaped("knots", self.knots, "a vector of steps", 1)
        several = isinstance(values, tuple)
        held = []
        for place, value in enumerate(values if several else (values,)):
            name = f"values[{place}]" if several else "values"
            (value,) = checks.floats(**{name: value})
            checks.finite(name, value)
            if value.ndim < 1 or value.shape[0] != self.knots.shape[0]:
                checks.refuse(
                    name, f"one for each of the {self.knots.shape[0]} knots", f"shape {value.shape}"
                )
            held.append(value)
        self.values = tuple(held)
        self.linear = checks.truth("linear", linear)

    def at(self, task: AbstractTask, step: int | Int[Array, ""]) -> AbstractTask:
        """The task of update ``step``, counted from 0."""
        last = self.knots.shape[0] - 1
        low = jnp.clip(jnp.searchsorted(self.knots, step, side="right") - 1, 0, last)
        high = jnp.minimum(low + 1, last)
        length = jnp.maximum(self.knots[high] - self.knots[low], 1)
        passed = jnp.clip(step - self.knots[low], 0, length)

        def now(leaf: Array, value: Array) -> Array:
            value = value.astype(leaf.dtype)
            if not self.linear:
                return value[low]
            share = passed.astype(leaf.dtype) / length.astype(leaf.dtype)
            return (1 - share) * value[low] + share * value[high]

        leaves = [now(*pair) for pair in zip(self._leaves(task), self.values)]
        shape = jax.tree.structure(self.where(task))
        changed = eqx.tree_at(self.where, task, jax.tree.unflatten(shape, leaves))
        return changed.remade() if isinstance(changed, HasTables) else changed

    def check(self, task: AbstractTask, model: AbstractModel) -> None:
        """Refuse values that are not of these leaves, and what a model cannot follow."""
        leaves = self._leaves(task)
        if len(leaves) != len(self.values):
            checks.refuse("values", f"a tuple of {len(leaves)}, one for each leaf", f"{len(self.values)}")
        known = task.laws() if isinstance(task, HasLaws) else ()
        for leaf, value in zip(leaves, self.values):
            if value.shape[1:] != leaf.shape:
                checks.refuse("values", f"of shape {leaf.shape} at each knot", f"shape {value.shape[1:]}")
            is_law = any(leaf is law for law in known)
            if is_law:
                laws.check("values", value, "each law in values")
            if isinstance(model, AbstractReducedSystem) or not (model.weight_space or is_law):
                checks.refuse(
                    "curriculum", f"of weights, not of a {type(model).__name__}", "one",
                    "its coordinates are of one task; train the weights",
                )  # fmt: skip

    def _leaves(self, task: AbstractTask) -> list[Any]:
        leaves = jax.tree.leaves(self.where(task), is_leaf=lambda leaf: leaf is None)
        known = jax.tree.leaves(task)
        for leaf in leaves:
            is_own = any(leaf is other for other in known)
            if not (is_own and eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)):
                checks.refuse(
                    "where",
                    "of arrays of floats in the task",
                    checks.short(leaf),
                    "a whole number has no curriculum",
                )
        return leaves

    def refuse_unread(self, task: AbstractTask, loss: Callable[[AbstractTask], Any]) -> None:
        """Refuse leaves that the loss trained on does not read: they would change nothing, in silence."""
        for place, value in enumerate(self.values):

            def of(value, place=place):
                values = (*self.values[:place], value, *self.values[place + 1 :])
                return loss(eqx.tree_at(lambda c: c.values, self, values).at(task, 0))

            if not _reads(of, value):
                checks.refuse(
                    "where", "of leaves that the loss trained on is made of", "one that it does not read",
                    "with batch_size the task draws by its laws",
                )  # fmt: skip


def _reads(function: Callable[[Array], Any], value: Array) -> bool:
    """Whether the result can depend on the value, as far as the program says."""
    program = jax.make_jaxpr(function)(value)
    return any(_touched(program.jaxpr, [True]))


def _touched(program: Any, touched: list[bool]) -> list[bool]:
    """Which results of a program can depend on those of its arguments."""
    met = {atom for atom, is_met in zip(program.invars, touched) if is_met}
    meets = lambda atoms: [not isinstance(atom, Literal) and atom in met for atom in atoms]  # noqa: E731
    for equation in program.eqns:
        given = meets(equation.invars)
        out = [any(given)] * len(equation.outvars)
        called = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        if any(given) and called is not None and equation.primitive.name in _CALLS:
            out = _touched(getattr(called, "jaxpr", called), given)
        met.update(atom for atom, is_met in zip(equation.outvars, out) if is_met)
    return meets(program.outvars)
