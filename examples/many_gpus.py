"""A host with several GPUs: nothing to say, all local devices are used.

Where there is none, as in our tests, two CPU devices stand in for two cards.
"""

import sys

import jax

if not any(name in sys.argv for name in ("gpu", "cuda")):
    jax.config.update("jax_num_cpu_devices", 2)

import jax.numpy as jnp

import assocmem_jax as am
from model import steps_to_perfect

data = am.sweep(
    steps_to_perfect,
    learning_rate=jnp.geomspace(0.1, 10, 40),
    alpha=jnp.linspace(0.5, 1, 40),
    imbalance=jnp.geomspace(0.3, 3, 40),
)
print(f"{len(jax.local_devices())} devices: {jax.local_devices()[0].device_kind}; tile {data.attrs['tile']}")
print("met:", int((data.first_step >= 0).sum()))
