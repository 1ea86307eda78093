"""A Dask cluster: here one of two local processes; any Client does."""

import sys
from pathlib import Path

import jax.numpy as jnp
from distributed import Client, LocalCluster

import assocmem_jax as am
from model import steps_to_perfect

if __name__ == "__main__":
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.upload_file(str(Path(__file__).parent / "model.py"))  # or install it on the workers
        data = am.sweep(
            steps_to_perfect,
            learning_rate=jnp.geomspace(0.1, 10, 40),
            alpha=jnp.linspace(0.5, 1, 40),
            imbalance=jnp.geomspace(0.3, 3, 40),
            store=sys.argv[1],
            chunk=8000,
            executor=client.get_executor(),
        )
        print("met:", int((data.first_step >= 0).sum()))
