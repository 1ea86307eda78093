"""What becomes of a trajectory: a Dataset, two that are joined, a table in a notebook."""

import html
import json
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import checks
from .trajectory import Model, Status, Trajectory


def recorded(run: Trajectory) -> tuple:
    """All that has an entry for each time."""
    return run.times, run.steps, run.observed


def with_recorded(run: Trajectory, records: tuple) -> Trajectory:
    return eqx.tree_at(recorded, run, records)


def joined(whole: Trajectory, last: Trajectory) -> Trajectory:
    """The records of both, without the first of ``last``, which is the end of ``whole``; else ``last``."""
    axis = last.status.ndim

    def join(a, b):
        return jnp.concatenate([jnp.asarray(a), jax.lax.slice_in_dim(b, 1, b.shape[axis], axis=axis)], axis)

    return with_recorded(last, jax.tree.map(join, recorded(whole), recorded(last)))


def concat(first: Trajectory[Model], second: Trajectory[Model]) -> Trajectory[Model]:
    """One trajectory of a run and its continuation: ``simulate(…, resume=first)``, or a new run that begins
    at ``first.model``, whose times, steps and hits are then counted on from the end of ``first``.

    Both must have the same observables, and ``second`` must begin with the values that ``first`` ends with
    (to the square root of rounding), else it is refused. Batches are joined lane by lane.

        more = am.simulate(task, run.model, am.GradientFlow(1e3))
        whole = am.concat(run, more)
    """
    for name, run in (("first", first), ("second", second)):
        if not isinstance(run, Trajectory):
            checks.refuse(name, "a Trajectory", checks.short(run))
    if set(first.observed) != set(second.observed):
        missing = sorted(set(first.observed) ^ set(second.observed))
        checks.refuse("second", f"a run with the observables of first, {sorted(first.observed)}", missing)
    if first.status.shape != second.status.shape:
        checks.refuse("second", f"a batch of shape {first.status.shape}", f"{second.status.shape}")
    axis = first.status.ndim
    for name, value in first.observed.items():
        for a, b in zip(jax.tree.leaves(value), jax.tree.leaves(second.observed[name]), strict=True):
            if a.shape[:axis] + a.shape[axis + 1 :] != b.shape[:axis] + b.shape[axis + 1 :]:
                checks.refuse("second", f"a continuation: {name} of shape {a.shape}", f"{b.shape}")
            end, start = np.asarray(a).take(-1, axis), np.asarray(b).take(0, axis)
            slack = np.sqrt(np.finfo(end.dtype).eps) if np.issubdtype(end.dtype, np.inexact) else 0
            if not np.allclose(end, start, slack, slack * np.max(np.abs(a), initial=0), equal_nan=True):
                checks.refuse("second", f"a continuation, which begins where {name} of first ends",
                              "one that begins elsewhere", "simulate(task, first.model, …)")  # fmt: skip
    ended, begun = (np.asarray(run.times)[..., at] for run, at in ((first, -1), (second, 0)))
    if second.state is not None and np.array_equal(ended, begun):  # resumed: it counts on by itself
        return joined(first, second)
    if np.any(begun != 0):
        checks.refuse("second", "a continuation, which begins at time 0 or where first ends", f"{begun}")
    last = _counted_on(first, second)
    known, never = jnp.isfinite(first.first_hit), jnp.inf
    # Stable from first on, if the condition then holds all through second.
    through = jnp.isfinite(first.stable_hit) & (second.stable_hit == 0)
    steady = jnp.where(jnp.isfinite(second.stable_hit), last.stable_hit, never)
    return joined(first, eqx.tree_at(
        lambda run: (run.first_hit, run.first_step, run.stable_hit, run.stable_step, run.num_steps),
        last,
        (
            jnp.where(known, first.first_hit, last.first_hit),
            jnp.where(known, first.first_step, last.first_step),
            jnp.where(through, first.stable_hit, steady),
            jnp.where(through, first.stable_step, last.stable_step),
            first.num_steps + second.num_steps,
        ),
    ))  # fmt: skip


def _counted_on(first: Trajectory, second: Trajectory) -> Trajectory:
    """``second`` with its times and steps counted from the end of ``first`` (a flow's steps are all −1)."""
    time, step = first.times[..., -1], first.steps[..., -1]
    counted = jnp.where(step[..., None] < 0, second.steps, second.steps + step[..., None])
    later = lambda at: jnp.where(at < 0, at, at + step)  # noqa: E731
    return eqx.tree_at(
        lambda run: (run.times, run.steps, run.first_hit, run.stable_hit, run.first_step, run.stable_step),
        second,
        (
            second.times + time[..., None], counted, second.first_hit + time, second.stable_hit + time,
            later(second.first_step), later(second.stable_step),
        ),
    )  # fmt: skip


def axes_of(run: Trajectory, batch: Sequence[str]) -> dict[str, tuple[tuple[str, ...], str]]:
    """Observable → (its axes after batch and time, units), as it names them."""
    known = {name: (axes, units) for name, axes, units in run.labels}
    sizes: dict[str, int] = {"time": -1, "step": -1, **dict.fromkeys(batch, -1)}
    found = {}
    for name, value in run.observed.items():
        shape = np.shape(value)[len(batch) + 1 :]
        axes, units = known.get(name, ((), "1"))
        if len(axes) != len(shape):
            axes = tuple(f"{name}_{i}" for i in range(len(shape)))
        # Two observables may name an axis alike and differ in length: the second has its own.
        axes = tuple(a if sizes.setdefault(a, n) == n else f"{name}_{a}" for a, n in zip(axes, shape))
        found[name] = axes, units
    return found


def dataset(run: Trajectory, batch: Sequence[str] | None):
    """See ``Trajectory.to_xarray``."""
    import xarray as xr

    depth = run.status.ndim
    if batch is None:
        batch = ("batch",) if depth == 1 else tuple(f"batch_{i}" for i in range(depth))
    batch = (batch,) if isinstance(batch, str) else batch
    named = isinstance(batch, Sequence) and all(isinstance(name, str) for name in batch)
    batch = tuple(batch) if named else ()
    if not named or len(set(batch) - {"time", "step"}) != depth or len(batch) != depth:
        checks.refuse(
            "batch", f"{depth} different names, of the axes that vmap put in front", checks.short(batch)
        )
    times, steps = np.asarray(run.times), np.asarray(run.steps)
    lane = (0,) * depth
    alike = (times == times[lane]).all() and (steps == steps[lane]).all()
    along = "time" if alike else "record"
    data: dict[str, Any] = {
        name: ((*batch, along, *axes), np.asarray(run.observed[name]), {"units": units})
        for name, (axes, units) in axes_of(run, batch).items()
    }
    where = (along,) if alike else (*batch, along)
    at = lane if alike else ...
    coords = {"time": (where, times[at], {"units": run.clock}), "step": (where, steps[at])}
    sizes = {axis: n for dims, value, _ in data.values() for axis, n in zip(dims, value.shape)}
    coords |= {axis: list(names) for axis, names in run.names if sizes.get(axis) == len(names)}
    ends = {name: np.asarray(getattr(run, name)) for name in ("first_hit", "stable_hit", "num_steps")}
    attrs: dict[str, Any] = {}
    if depth:
        data |= {name: (batch, value) for name, value in (ends | {"status": np.asarray(run.status)}).items()}
        attrs["status"] = ", ".join(f"{status.value} {status.name}" for status in Status)
    else:
        attrs |= {name: value.item() for name, value in ends.items()}
        attrs["status"] = Status(int(run.status)).name
    attrs |= {f"provenance_{name}": _plain(value) for name, value in run.provenance.items()}
    return xr.Dataset(data, coords, attrs)


def _plain(value: Any) -> Any:
    """As every format of files takes it: a number or text."""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(
        value, default=str
    )  # fmt: skip


def as_html(run: Trajectory) -> str:
    """A table: what is observed, its axes, where it begins and ends."""
    depth = run.status.ndim
    batch = ("batch",) * depth
    rows = []
    for name, (axes, units) in {"times": ((), run.clock), **axes_of(run, batch)}.items():
        value = np.asarray(run.times if name == "times" else run.observed[name])
        ends = [f"{value[at]:.4g}" for at in (0, -1)] if value.ndim == 1 else ["", ""]
        shape = " × ".join(map(str, value.shape))
        rows.append([name, ", ".join((*batch, "time", *axes)), shape, str(value.dtype), units, *ends])
    head = ["observed", "axes", "shape", "dtype", "units", "first", "last"]
    lines = [
        "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"
        for tag, row in [("th", head), *(("td", row) for row in rows)]
    ]
    first = html.escape(repr(run).splitlines()[0])
    return f"<table><caption>{first}</caption>{''.join(lines)}</table>"
