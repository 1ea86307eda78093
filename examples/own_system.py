"""A system of your own in one file: task, model, observable, dynamics, statement, study.

A teacher A ∈ R^{k×d} is learned by a product U V of two layers that move at rates of their own.

    assocmem run examples/own_system.toml
    assocmem check examples/own_system.py:balance
"""

from typing import Annotated, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import xarray as xr
from pydantic import Field

import assocmem_jax as am
from assocmem_jax import plot
from assocmem_jax.studies.study import Count, Positive, Study


class Teacher(am.AbstractTask):
    """Inputs x ~ N(0, I), answers Ax; L = ½ E‖Mx − Ax‖² = ½‖M − A‖². No answer is right or wrong."""

    matrix: jax.Array  # A, (k, d)

    @property
    def dtype(self):
        return self.matrix.dtype

    def loss(self, model):
        return jnp.sum((model.product - self.matrix) ** 2) / 2

    def sampler(self, batch_size):
        return lambda key: jr.normal(key, (batch_size, self.matrix.shape[1]), self.dtype)

    def sampled_loss(self, model, batch):
        return jnp.sum((batch @ (model.product - self.matrix).T) ** 2) / (2 * batch.shape[0])


class TwoLayers(am.AbstractWeights):
    """M = U V: ``outer`` (k, m), ``inner`` (m, d), both trained."""

    task_type: ClassVar[type] = Teacher
    outer: jax.Array
    inner: jax.Array

    @property
    def product(self):
        return self.outer @ self.inner

    def trainable(self):
        return self.outer, self.inner


@am.observable(("mode",), model=TwoLayers)
def singular_values(task, model):
    """Of U V, largest first: modes of the teacher are learned one after another."""
    return jnp.linalg.svd(model.product, compute_uv=False)


class TwoTimescales(am.AbstractSteps):
    """Descent with a rate for U and another for V; the clock is that of V."""

    steps: int = eqx.field(static=True)
    outer_rate: jax.Array | float
    inner_rate: jax.Array | float

    def prepare(self, task, combine, params, key):
        def advance(params, inner, step, time):
            slope = jax.grad(lambda p: task.loss(combine(p)))(params)
            rates = TwoLayers(self.outer_rate, self.inner_rate)
            moved = jax.tree.map(lambda w, g, rate: w - rate * g, params, slope, rates)
            return moved, inner, time + self.inner_rate

        return advance, params, None


def drawn(seed, k, m, d):
    """(A, U, V): standard normal, scaled so that products are of size one."""
    keys = jr.split(jr.key(seed), 3)
    shapes = ((k, d), (k, m), (m, d))
    return [jr.normal(key, shape) / np.sqrt(shape[1]) for key, shape in zip(keys, shapes)]


def rounded(U, V):
    """64 roundings of the two Gram matrices, whose entries are at most their traces."""
    return 64 * 2.0**-52 * (1 + (U**2).sum() + (V**2).sum())


@am.statement(
    "own.balance",
    "UᵀU − VVᵀ moves by second-order terms only",
    domain={"seed": am.Integers(0, 2**31 - 2), "rate": am.LogUniform(0.01, 0.5)},
    cases=[{"k": 3, "m": 2, "d": 4}],
    tolerance="64 roundings of the Gram matrices",
    corrected="after a step of equal rates η: η²(VGᵀGVᵀ − UᵀGGᵀU), G = UV − A",
)
def balance(seed, rate, k, m, d):
    """∂L/∂U = GVᵀ and ∂L/∂V = UᵀG: the terms linear in η cancel."""
    A, U, V = drawn(seed, k, m, d)
    run = am.simulate(Teacher(A), TwoLayers(U, V), TwoTimescales(1, rate, rate), observe={})
    U1, V1, G = run.model.outer, run.model.inner, U @ V - A
    moved = (U1.T @ U1 - V1 @ V1.T) - (U.T @ U - V @ V.T)
    return am.equal(moved, rate**2 * (V @ G.T @ G @ V.T - U.T @ G @ G.T @ U), rounded(U, V))


@balance.second_route
def _(seed, rate, k, m, d):
    A, U, V = (np.asarray(part) for part in drawn(seed, k, m, d))
    G = U @ V - A
    U1, V1 = U - rate * G @ V.T, V - rate * U.T @ G
    moved = (U1.T @ U1 - V1 @ V1.T) - (U.T @ U - V @ V.T)
    return am.equal(moved, rate**2 * (V @ G.T @ G @ V.T - U.T @ G @ G.T @ U), rounded(U, V))


class Timescales(Study):
    """Singular values and loss over time, for several ratios of the two rates."""

    title: ClassVar[str] = "A fast and a slow layer"
    ratios: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.1, 1.0, 10.0)
    rate: Positive = 0.05
    steps: Count = 400

    def run(self, scratch):
        A, U, V = drawn(self.seed, 4, 4, 6)
        watch = {"loss": am.loss, "values": singular_values}
        task, model = Teacher(A), TwoLayers(0.1 * U, 0.1 * V)

        def train(ratio):
            dynamics = TwoTimescales(self.steps, ratio * self.rate, self.rate)
            return am.simulate(task, model, dynamics, observe=watch, throw=False).observed

        found = jax.jit(jax.vmap(train))(jnp.array(self.ratios))
        axes = {"loss": ("ratio", "step"), "values": ("ratio", "step", "mode")}
        data = {name: (axes[name], np.asarray(value)) for name, value in found.items()}
        return xr.Dataset(data, coords={"ratio": list(self.ratios)})

    def report(self, data):
        last = data.loss.isel(step=-1).values
        return [f"ratio {r:g}: loss {a:.4f} after {self.steps} steps" for r, a in zip(self.ratios, last)]

    def figure(self, data):
        figure, ((left, right),) = plot.panels(1, 2, 2.2)
        for k, ratio in enumerate(self.ratios):
            plot.line(left, data.step, data.loss[k], colour=k, label=f"ratio of rates {ratio:g}")
            plot.line(right, data.step, data["values"][k, :, 0], colour=k)
        left.set(xlabel="step", ylabel="loss ½‖UV − A‖²", yscale="log")
        right.set(xlabel="step", ylabel="largest singular value of UV")
        left.legend()
        return figure
