"""The max-margin direction, or the proof that there is none."""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .... import checks
from ....models import AbstractModel
from ....numerics.edges import norm as length
from ....observe import observable
from ..task import AssociationTask
from .reading import weights


@dataclass(frozen=True)
class MaxMargin:
    """Solution of min ‖W‖² subject to (u_{f*(x)} − u_z)ᵀ W e_x ≥ 1 for all x and z ≠ f*(x).

    - ``separable``: whether any W has all margins (22) positive.
    - ``direction``: W/‖W‖, shape (k, d); zero if inseparable.
    - ``margin``: the smallest margin of ``direction``, 1/‖W‖; zero if inseparable.
    - ``multipliers``: shape (N, M), non-negative, zero at z = f*(x). Separable: W = Σ μ_xz
      (u_{f*(x)} − u_z) ⊗ e_x (the support vectors). Inseparable: weights, summing to one, of a
      combination of these matrices that vanishes, which certifies that no W separates (Farkas).
    - ``residual``: how far that identity is off, with every matrix at length one.
    """

    separable: bool
    direction: Float[Array, "k d"]
    margin: float
    multipliers: Float[np.ndarray, "n m"]
    residual: float


@checks.takes(task=AssociationTask)
def max_margin(task: AssociationTask) -> MaxMargin:
    """The direction in which W grows under cross-entropy when the data are separable (GD Theorem 3, section
    4.2); of the task alone, whatever its loss.

    Least-distance programming by non-negative least squares (Lawson and Hanson, ch. 23), in
    float64 on the host; zero residual certifies inseparability. Needs known values: it cannot run
    under ``jit`` or ``vmap``. Deterministic targets only.
    """
    if task.soft:
        checks.refuse("task", "deterministic (f*)", "soft labels", "they have a finite minimiser")
    task.refuse_restricted("make a task of its first n tokens")
    if not checks.concrete(task.inputs, task.outputs, task.targets):
        checks.refuse(
            "task",
            "known (max_margin runs on the host)",
            "a traced value",
            "call it outside jit and pass its direction in",
        )
    inputs = np.asarray(task.inputs, np.float64)
    outputs = np.asarray(task.outputs, np.float64)
    labels = np.asarray(task.targets)
    n, m = task.num_tokens, task.num_classes
    token, rival = np.nonzero(np.arange(m) != labels[:, None])
    gap = outputs[labels[token]] - outputs[rival]
    constraints = np.einsum("ra,rb->rab", gap, inputs[token]).reshape(len(token), -1)
    # Rows of one length, so that no unit of E or U decides: ⟨ĉ, W⟩ ≥ 1/r, with W in units of the shortest.
    sizes = np.linalg.norm(constraints / (np.abs(constraints).max() or 1.0), axis=1)
    sizes = sizes * (np.abs(constraints).max() or 1.0)
    shape = (outputs.shape[1], inputs.shape[1])
    none = jnp.zeros(shape, task.inputs.dtype)
    multipliers = np.zeros((n, m))
    if (sizes == 0).any():  # tokens of probability zero still have a margin; 0 ≥ 1 cannot be met
        bad = int(np.argmax(sizes == 0))
        multipliers[token[bad], rival[bad]] = 1.0
        return MaxMargin(False, none, 0.0, multipliers, 0.0)
    unit = sizes.min()
    rows = constraints / sizes[:, None]
    system = np.vstack([rows.T, unit / sizes])
    goal = np.zeros(system.shape[0])
    goal[-1] = 1.0
    from scipy.optimize import nnls  # half a second

    solution, distance = nnls(system, goal, maxiter=30 * system.shape[1])
    residual = system @ solution - goal
    # ‖residual‖² = 1/(1 + ‖W‖²): zero iff no W exists. Below 1e-8, so would the margin be of a row's length.
    separable = bool(distance > 1e-8)
    if not separable:
        shares = solution / sizes / (solution / sizes).sum()
        multipliers[token, rival] = shares
        return MaxMargin(False, none, 0.0, multipliers, float(distance))
    scale = -residual[-1]
    weight = residual[:-1] / scale
    multipliers[token, rival] = solution / scale / sizes / unit
    off = float(np.abs(rows.T @ (solution / scale) - weight).max())
    norm = float(np.linalg.norm(weight))
    direction = jnp.asarray((weight / norm).reshape(shape), task.inputs.dtype)
    return MaxMargin(True, direction, float(unit / norm), multipliers, off)


def max_margin_components(task: AssociationTask) -> Callable:
    """The observable (⟨W, V⟩, ‖W − ⟨W, V⟩V‖): W along and across the max-margin direction V."""
    found = max_margin(task)
    if not found.separable:
        checks.refuse(
            "task",
            "separable",
            "an inseparable one",
            "no W has all margins positive (see am.memory.max_margin)",
        )
    return eqx.Partial(_components, direction=found.direction)


@observable(("component",), task=AssociationTask)
def _components(task: AssociationTask, model: AbstractModel, *, direction: Array) -> Float[Array, "2"]:
    weight = weights(task, model)
    along = jnp.sum(direction * weight)
    return jnp.stack([along, length(weight - along * direction)])


@checks.takes(task=AssociationTask)
def least_error(task: AssociationTask) -> float:
    """min_W L₀₁(W) for two classes in the plane (d = 2), exactly: GD section 5.1.

    The error depends on the angle of v = (u₁−u₂)ᵀW alone and changes only where v is orthogonal to some e_x;
    it is least inside one of the arcs between (on their ends, ties are errors). Inputs on one line, to
    rounding, share an end: which arcs a token is right on is counted, not computed.
    """
    if task.num_classes != 2 or task.inputs.shape[1] != 2 or task.soft:
        checks.refuse(
            "task",
            "deterministic, of two classes and d = 2",
            f"{task.num_classes} classes, d = {task.inputs.shape[1]}",
        )
    task.refuse_restricted("make a task of its first n tokens")
    signed = np.asarray(task.inputs, np.float64) * (1 - 2 * np.asarray(task.targets))[:, None]
    p = np.asarray(task.probabilities, np.float64)
    seen = np.abs(signed).max(axis=1) > 0  # e_x = 0 is a tie in every direction
    # Token x is right while v turns from starts[x] through half a circle.
    starts = (np.arctan2(signed[seen, 1], signed[seen, 0]) - np.pi / 2) % (2 * np.pi)
    lines = starts % np.pi
    order = np.argsort(lines)
    slack = 8 * float(jnp.finfo(task.inputs.dtype).eps)
    fresh = np.diff(lines[order], prepend=-1.0) > slack
    line = np.empty(len(lines), int)
    line[order] = np.cumsum(fresh) - 1
    count = int(line.max(initial=-1)) + 1
    if count > 1 and lines[order][0] + np.pi - lines[order][-1] <= slack:  # the last line is the first
        line[line == count - 1] = 0
        count -= 1
    ends = np.array([lines[line == k].min() for k in range(count)])
    # Of the two arcs' ends on its line, the one that the token's own start is near.
    turned = np.abs((starts - ends[line] + np.pi) % (2 * np.pi) - np.pi) > np.pi / 2
    first = line + count * turned
    arcs = np.arange(2 * count)[:, None]
    wrong = (arcs - first) % (2 * count) >= count
    always = p[~seen].sum()
    return float(always + (wrong @ p[seen]).min() if count else always)
