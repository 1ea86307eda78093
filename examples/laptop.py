"""A laptop: all cores, a store that survives a closed lid."""

import jax
import jax.numpy as jnp

jax.config.update("jax_num_cpu_devices", 2)  # before anything else of JAX runs

import sys

import assocmem_jax as am
from model import steps_to_perfect

data = am.sweep(
    steps_to_perfect,
    learning_rate=jnp.geomspace(0.1, 10, 40),
    alpha=jnp.linspace(0.5, 1, 40),
    imbalance=jnp.geomspace(0.3, 3, 40),
    store=sys.argv[1],
    chunk=8000,
)
print(f"{data.first_step.size} configurations on {len(jax.devices())} devices")
print("met:", int((data.first_step >= 0).sum()))
