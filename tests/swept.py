"""Functions to sweep, at the top level of a module that worker processes can import."""

import hashlib
import os
import time

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import optax

import assocmem_jax as am

RATES = np.geomspace(0.1, 10, 6)
ALPHAS = np.linspace(0.5, 1, 5)


def digest(data):
    mixed = hashlib.sha256()
    for name in sorted(data.data_vars):
        mixed.update(name.encode() + np.ascontiguousarray(data[name].values).tobytes())
    return mixed.hexdigest()


def steps(learning_rate, alpha, p1=0.75):
    return am.time_to_perfect(am.two_tokens(alpha, p1), learning_rate, 100)


def trained(learning_rate, alpha):
    """A short descent, with floats to compare bit by bit."""
    task = am.two_tokens(alpha, 0.75)
    descent = am.Descent(optax.sgd, 20, learning_rate=learning_rate)
    last = am.simulate(task, am.LinearMemory.zeros(task), descent, every=20).observed["loss"][-1]
    return {"loss": last}


def noisy(learning_rate, key):
    return {"x": learning_rate * jr.normal(key), "y": jr.uniform(key, (2,))}


def reversed_cost(learning_rate, alpha):
    return alpha - learning_rate


def unlucky(a):
    return {"x": eqx.error_if(2 * a, a == 13, "unlucky", on_error="raise")}


def slow(learning_rate, alpha):
    """Long enough to be killed in."""
    return am.time_to_perfect(am.two_tokens(alpha, 0.75), learning_rate, 20_000)


def logged(**parameters):
    """Not a prediction: notes when a task is computed, and by whom. Two points are a door's, which asks what
    it is given."""
    if len(parameters["learning_rate"]) == 2:
        return 0.0
    first = float(parameters["learning_rate"][0])
    with open(os.environ["SWEPT_LOG"], "a", encoding="utf-8") as log:
        log.write(f"{time.time()} {os.getpid()} {first!r}\n")
    return 0.0


def _die(x):
    if x == 13:
        os._exit(9)
    return x


def deadly(a):
    shape = jax.ShapeDtypeStruct((), a.dtype)
    return {"x": jax.pure_callback(_die, shape, 2 * a / 2, vmap_method="sequential")}
