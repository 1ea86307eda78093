"""A trained W read as a memory scheme: which tokens it holds, and how strongly (Slides p. 34)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .... import checks
from ....models import AbstractModel
from ....observe import observable
from ..task import AssociationTask
from .reading import weights


def _fitted(task: AssociationTask, model: AbstractModel, start):
    """(q, bᵀq/‖W‖²) of the least-squares problem on W − start."""
    moved, shape = weights(task, model), (task.outputs.shape[1], task.inputs.shape[1])
    if moved.shape != shape:
        checks.refuse(
            "model", f"of weights of shape {shape}", f"shape {moved.shape}", "build it from this task"
        )
    if start is not None:
        (start,) = checks.floats(start=start)
        if start.shape != shape:
            checks.refuse("start", f"of shape {shape}, as W", f"shape {start.shape}")
        moved = moved - start
    pulls = task.outputs[task.labels] - task.outputs.mean(axis=0)
    products = (pulls @ pulls.T) * (task.inputs @ task.inputs.T)
    read = jnp.sum((pulls @ moved) * task.inputs, axis=1)
    q = jnp.linalg.lstsq(products, read)[0]
    size = jnp.sum(moved**2)
    return q, jnp.dot(read, q) / jnp.where(size > 0, size, 1)


@observable(("token",), task=AssociationTask)
def scheme(
    task: AssociationTask, model: AbstractModel, start: Float[Array | np.ndarray, "k d"] | None = None
) -> Float[Array, " n"]:
    """q(x) of W ≈ Σ_x q(x)(u_{f(x)} − ū)e_xᵀ: least squares over the entries of W, or of W − ``start``.

    ū is the mean output: the form of the first gradient step of the cross-entropy (``theory.first_step``),
    where q = ηp; the steps of another loss may lie outside it, as ``scheme_share`` tells. Unique
    where the N matrices are independent (N ≤ kd, in general position); of least norm otherwise.
    """
    return _fitted(task, model, start)[0]


@observable(task=AssociationTask)
def scheme_share(
    task: AssociationTask, model: AbstractModel, start: Float[Array | np.ndarray, "k d"] | None = None
) -> Float[Array, ""]:
    """Share of ‖W‖² (of ‖W − start‖²) that ``scheme`` explains: 1 if W is such a memory; 0 where W is 0, of
    which there is nothing to explain."""
    return _fitted(task, model, start)[1]
