#!/bin/bash
# Slurm without Python in between: sbatch examples/slurm_array.sh CONFIG STORE
#SBATCH --array=0-7
#SBATCH --cpus-per-task=2
# Each job computes every eighth task; any of them may be run again at any time.
exec assocmem sweep "$1" --out "$2" --shard "${SLURM_ARRAY_TASK_ID:-0}/${SLURM_ARRAY_TASK_COUNT:-1}"
