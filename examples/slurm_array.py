"""Slurm through submitit: one job array, a task a job. Without Slurm, submitit runs the jobs here."""

import os
import sys
from pathlib import Path

import jax.numpy as jnp
import submitit

import assocmem_jax as am
from model import steps_to_perfect

os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where the jobs find model.py (or install it)
jobs = submitit.AutoExecutor(folder=sys.argv[1] + ".jobs")  # Slurm where there is one, else local
jobs.update_parameters(timeout_min=60, slurm_array_parallelism=100)
data = am.sweep(
    steps_to_perfect,
    learning_rate=jnp.geomspace(0.1, 10, 40),
    alpha=jnp.linspace(0.5, 1, 40),
    imbalance=jnp.geomspace(0.3, 3, 40),
    store=sys.argv[1],  # on a disk that the nodes share
    chunk=32_000,
    executor=am.SlurmExecutor(jobs),
)
print("met:", int((data.first_step >= 0).sum()))
