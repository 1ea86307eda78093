"""A memory that has its own embeddings, which can be trained (Slides p. 34)."""

from typing import ClassVar

from jaxtyping import Array, Float, Int, PRNGKeyArray

from .... import checks
from ....checks import Scalar
from ....models import AbstractWeights
from ....tasks.embeddings import product
from ..task import AssociationTask
from .linear import LinearMemory


class EmbeddedMemory(AbstractWeights):
    """Logits u_yᵀ W e_x with e and u of the model, trained beside W: ``weight`` (k, d), ``inputs`` (N, d),
    ``outputs`` (M, k).

    The task says p, f* and the loss; its own embeddings are where these start, unless others are given.
    ``simulate(…, trainable=lambda m: m.weight)`` trains W alone: that is ``LinearMemory``. What reads W off
    with the task's embeddings (``am.memory.hessian``, margins of a plane) is not for it.
    """

    task_type: ClassVar[type] = AssociationTask
    weight: Float[Array, "k d"]
    inputs: Float[Array, "n d"]
    outputs: Float[Array, "m k"]

    def __init__(self, weight, inputs, outputs):
        weight, inputs, outputs = checks.floats(weight=weight, inputs=inputs, outputs=outputs)
        for name, value in (("weight", weight), ("inputs", inputs), ("outputs", outputs)):
            checks.shaped(name, value, "a matrix: logits are u_yᵀ W e_x", 2)
            checks.finite(name, value)
        if (outputs.shape[1], inputs.shape[1]) != weight.shape:
            checks.refuse(
                "weight", f"of shape ({outputs.shape[1]}, {inputs.shape[1]}), as the embeddings",
                f"shape {weight.shape}",
            )  # fmt: skip
        self.weight, self.inputs, self.outputs = weight, inputs, outputs

    @classmethod
    @checks.takes(task=AssociationTask)
    def zeros(cls, task: AssociationTask) -> "EmbeddedMemory":
        """W = 0, embeddings those of the task: W moves first, for theirs have no gradient there."""
        return cls(LinearMemory.zeros(task).weight, task.inputs, task.outputs)

    @classmethod
    @checks.takes(task=AssociationTask, key=checks.KEY)
    def gaussian(
        cls, task: AssociationTask, key: PRNGKeyArray, scale: Scalar | None = None
    ) -> "EmbeddedMemory":
        """Entries of W N(0, scale²), 1/√d unless given; embeddings those of the task."""
        return cls(LinearMemory.gaussian(task, key, scale).weight, task.inputs, task.outputs)

    def scores(self, task, tokens: Int[Array, " b"] | None = None):
        e = self.inputs if tokens is None else self.inputs[tokens]
        return task.answerable(product(product(e, self.weight.T), self.outputs.T))

    def trainable(self):
        return self.weight, self.inputs, self.outputs
