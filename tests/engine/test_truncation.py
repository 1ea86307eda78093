"""Truncation and spectra of any model: against NumPy's singular value decomposition."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import assocmem_jax as am
from helpers import refused

RNG = np.random.default_rng(0)
A, STACK = RNG.normal(size=(3, 5)), RNG.normal(size=(2, 3, 4))


class Layer(eqx.Module):
    weight: jax.Array
    bias: jax.Array


class Own(eqx.Module):
    """A module of a user's: nothing of this package."""

    layers: tuple[Layer, ...]
    heads: jax.Array
    activation: object = jnp.tanh


MODEL = Own((Layer(jnp.asarray(A), jnp.zeros(3)), Layer(jnp.eye(3), jnp.ones(3))), jnp.asarray(STACK))


def best(matrix, rank):
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return np.einsum("...ik,...k,...kj->...ij", u[..., :rank], s[..., :rank], v[..., :rank, :])


def test_truncated_is_the_nearest_matrix_of_its_rank():
    """All ranks in one program; of a stack, each matrix; the rest, and what has full rank, to the bit."""

    def cut(rank):
        less = am.truncated(MODEL, ("layers.0.weight", "heads"), rank)
        return less.layers[0].weight, less.heads, less.layers[1].weight

    weight, heads, rest = jax.jit(jax.vmap(cut))(jnp.arange(4))
    for rank in range(4):
        np.testing.assert_allclose(weight[rank], best(A, rank), atol=1e-14)
        np.testing.assert_allclose(heads[rank], best(STACK, rank), atol=1e-14)
    assert (np.asarray(weight[0]) == 0).all()
    assert (np.asarray(weight[3]) == A).all()
    assert (np.asarray(rest) == np.eye(3)).all()
    one = am.truncated(MODEL, lambda m: m.layers[-2].weight, 2)
    np.testing.assert_allclose(one.layers[0].weight, best(A, 2), atol=1e-14)
    assert one.activation is MODEL.activation
    assert (np.asarray(one.heads) == STACK).all()


def test_singular_values_and_soft_rank():
    """NumPy; equal ones count; scale does not; nothing is 0; slopes by central differences."""
    values, soft = am.singular_values("heads"), am.soft_rank("layers.0.weight")
    np.testing.assert_allclose(values(None, MODEL), np.linalg.svd(STACK, compute_uv=False), rtol=1e-13)
    p = np.linalg.svd(A, compute_uv=False)
    p = p / p.sum()
    np.testing.assert_allclose(soft(None, MODEL), np.exp(-np.sum(p * np.log(p))), rtol=1e-13)
    of = jax.jit(lambda matrix: soft(None, eqx.tree_at(lambda m: m.layers[0].weight, MODEL, matrix)))
    for scale in (1e-6, 1.0):
        np.testing.assert_allclose(of(scale * jnp.eye(3, 5).at[2, 2].set(0)), 2, rtol=1e-13)
    assert float(of(jnp.zeros((3, 5)))) == 0
    slope, along = jax.jit(jax.grad(of)), RNG.normal(size=A.shape)
    middle = (of(A + 1e-6 * along) - of(A - 1e-6 * along)) / 2e-6
    np.testing.assert_allclose(np.sum(slope(jnp.asarray(A)) * along), middle, rtol=1e-7)
    assert np.isfinite(slope(jnp.zeros((3, 5)))).all()
    assert am.soft_rank("heads") is am.soft_rank("heads")


def test_spectra_of_a_run():
    """Through the door, with axes; a truncated memory scores as its matrix does."""
    task = am.AssociationTask(np.ones(4) / 4, np.arange(4), np.eye(4), np.eye(4))
    memory = am.LinearMemory(jnp.asarray(RNG.normal(size=(4, 4))))
    watch = {"spectrum": am.singular_values("weight"), "rank": am.soft_rank("weight")}
    run = am.simulate(task, memory, am.Descent(optax.sgd, 2, learning_rate=0.1), observe=watch)
    data = run.to_xarray()
    assert data.spectrum.dims[-1] == "mode"
    W = np.asarray(run.model.weight)
    np.testing.assert_allclose(data.spectrum[-1], np.linalg.svd(W, compute_uv=False), rtol=1e-12)
    np.testing.assert_allclose(am.truncated(run.model, "weight", 1).scores(task), best(W, 1).T, atol=1e-13)


def test_refusals():
    cases = [
        (lambda: am.truncated(MODEL, "layers.0.weight", 4), "rank must be at most 3, the least dimension"),
        (lambda: am.truncated(MODEL, "layers.0.weight", -1), "rank must be at least 0"),
        (lambda: am.truncated(MODEL, "layers.0.weight", jnp.asarray(4)), "rank must be between 0 and 3"),
        (lambda: am.truncated(MODEL, "layers.0.bias", 1), "where must be a matrix, or a stack of them"),
        (lambda: am.truncated(MODEL, "layers.0", 1), "where must be a matrix, or a stack of them"),
        (lambda: am.truncated(MODEL, "layers.2.weight", 1), "where must be a part of the model"),
        (lambda: am.truncated(MODEL, "heads.T", 1), "where must be a part of the model"),
        (lambda: am.truncated(MODEL, (), 1), "where must be a matrix of the model"),
        (lambda: am.soft_rank("layers.0.bias")(None, MODEL), "where must be a matrix"),
        (lambda: am.soft_rank(lambda m: (m.heads, m.heads))(None, MODEL), "where must be one array"),
    ]
    for call, message in cases:
        refused(call, message)
