"""What was observed: the result of every dynamics."""

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from .. import checks
from ..models import AbstractModel

Model = TypeVar("Model", bound=AbstractModel)


class Status(enum.IntEnum):
    """How a run ended."""

    OK = 0
    HIT = 1
    STEP_LIMIT = 2
    DIVERGED = 3
    NON_FINITE = 4


REMEDY = {
    Status.OK: "reached its horizon",
    Status.HIT: "stopped where `until` asked",
    Status.STEP_LIMIT: (
        "used all its solver steps before the horizon: (a) the problem is stiff (a finite minimiser, "
        "or nearly collinear inputs): GradientFlow(stiff=True); (b) the tolerance is below what the "
        "dtype can hold: raise rtol or use float64; (c) raise max_steps"
    ),
    Status.DIVERGED: (
        "grew beyond the square root of the largest float: lower the learning rate or weight decay"
    ),
    Status.NON_FINITE: (
        "met NaN or infinity; the last finite state is kept: (a) look at the inputs; (b) lower the "
        "learning rate; (c) layer norm with W e_x = 0 has no gradient"
    ),
}


class Provenance(Mapping):
    """Where a result comes from. All are equal to each other: it is a label, not part of the value,
    so that trajectories of separate runs can be combined leaf by leaf. An entry that takes a while to say is
    given as a function of nothing, called when it is first asked for."""

    def __init__(self, **entries: Any):
        self._entries = entries

    def __getitem__(self, key):
        if callable(value := self._entries[key]):
            value = self._entries[key] = value()
        return value

    def __iter__(self):
        return iter(self._entries)

    def __len__(self):
        return len(self._entries)

    def __eq__(self, other):
        return isinstance(other, Provenance)

    def __hash__(self):
        return 0

    def __repr__(self):
        return f"Provenance({dict(self)})"

    def __reduce__(self):
        return _provenance, (dict(self),)


def _provenance(entries: dict[str, Any]) -> Provenance:
    return Provenance(**entries)


class SimulationError(RuntimeError):
    """A run that did not reach its horizon; ``trajectory`` holds all that was computed."""

    def __init__(self, message: str, trajectory: "Trajectory"):
        super().__init__(message)
        self.trajectory = trajectory

    def __reduce__(self):
        """As workers send it: with its trajectory."""
        return type(self), (str(self), self.trajectory)


class Trajectory(eqx.Module, Generic[Model]):
    """A run. Leading axis of ``times``, ``steps`` and every observable: when, initial state first.

    - ``times``: the clock shared by descent (Σ learning rates; see ``Descent``) and flow. ``clock``: its
      unit, "learning rate × step", or "steps" for an optimizer that says no rate.
    - ``steps``: update steps made so far (descent, stochastic flow); for a flow, −1.
    - ``observed``: name → array, as asked for.
    - ``model``: the final model.
    - ``status``: a ``Status`` code. After a run that ended early, entries past its end repeat the
      final state (times too), so that no array holds an invented value.
    - ``first_hit``, ``stable_hit``: times of ``until``, infinite if not reached; ``first_step``,
      ``stable_step``: the same in steps, −1 if not reached (and for flows).
    - ``num_steps``: update or solver steps made.
    - ``state``: what ``simulate(…, resume=trajectory)`` goes on from, if asked for (``resumable=True``).
    - ``provenance``: loss, dynamics and its numbers, key, method, dtype, device, versions, wall time (empty
      under a transformation).
    - ``labels``: (name, axes, units) of everything observed, as its observable says. ``names``: axis → names,
      where the task has them (tokens and answers of ``AssociationTask.from_pairs``).

    Under ``vmap`` every array has the batch axis in front.
    """

    times: Float[Array, "*batch t"]
    steps: Int[Array, "*batch t"]
    observed: dict[str, Any]
    model: Model
    status: Int[Array, "*batch"]
    first_hit: Float[Array, "*batch"]
    stable_hit: Float[Array, "*batch"]
    first_step: Int[Array, "*batch"]
    stable_step: Int[Array, "*batch"]
    num_steps: Int[Array, "*batch"]
    state: Any = None
    provenance: Provenance = eqx.field(static=True, default_factory=Provenance)
    labels: tuple[tuple[str, tuple[str, ...], str], ...] = eqx.field(static=True, default=())
    names: tuple[tuple[str, tuple[str, ...]], ...] = eqx.field(static=True, default=())
    clock: str = eqx.field(static=True, default="learning rate × step")

    def __repr__(self):
        lines = [f"Trajectory  {self.nbytes / 1e6:.3g} MB"]
        if checks.concrete(self.status):
            codes, counts = np.unique(np.asarray(self.status), return_counts=True)
            ends = ", ".join(
                Status(c).name + (f" × {k}" if self.status.ndim else "") for c, k in zip(codes, counts)
            )
            lines[0] += f"  status {ends}"
        entries = {"times": self.times} | self.observed
        width = max(map(len, entries))
        lines += [
            f"  {name:<{width}}  {leaf.dtype}{list(leaf.shape)}"
            for name, value in entries.items()
            for leaf in jax.tree.leaves(value)
        ]
        return "\n".join(lines)

    @property
    def nbytes(self) -> int:
        """Bytes held by all arrays."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self) if hasattr(leaf, "nbytes"))

    def __getitem__(self, name: str) -> Any:
        """``run["loss"]``: an observable by its name; ``times`` and ``steps`` too."""
        known = {"times": self.times, "steps": self.steps} | self.observed
        if not isinstance(name, str) or name not in known:
            checks.refuse("name", f"one of {', '.join(known)}", repr(name), "name it in observe=[…]")
        return known[name]

    __iter__ = None  # its names are those of ``observed``

    def to_xarray(self, batch: str | Sequence[str] | None = None):
        """The observables as an ``xarray.Dataset`` over time, with the axes and units that they name.

        Of a batch too: ``batch`` names the axes that ``vmap`` put in front ("batch" unless given), ends and
        statuses are variables, and where lanes were looked at at different times, ``time`` is a coordinate
        along each. It can be written as it is: ``.to_netcdf``, ``.to_zarr``, ``.to_dataframe().to_csv``.
        """
        from .records import dataset

        return dataset(self, batch)

    def plot(self, *names: str, x: str = "time", log: bool | None = None):
        """A matplotlib figure of the observables (those named, else all that are a number, or one number a
        token, at each time), a panel each; of a batch, a line for each lane.

        ``x``: "time" or "step". ``log``: the vertical axis; unless given, where values span over 30-fold.
        """
        from ..plot import curves

        return curves(self.to_xarray(), names, x=x, log=log)

    def _repr_html_(self) -> str:
        from .records import as_html

        return as_html(self) if checks.concrete(self.status, self.times, self.observed) else repr(self)
