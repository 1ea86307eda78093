"""Functions to sweep, at the top level of a module that worker processes can import."""

import equinox as eqx
import jax.random as jr
import optax

import assocmem_jax as am


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
    return {"x": eqx.error_if(2 * a, a == 13, "unlucky")}
