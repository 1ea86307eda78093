#!/bin/bash
# Slurm without Python in between: sbatch --array=0-7 examples/slurm_array.sh 8 CONFIG STORE [--set …]
#SBATCH --cpus-per-task=2
# SHARDS is how many parts the sweep has, whatever the array: job K computes every SHARDS-th task, from the
# (K modulo SHARDS)-th on. So 1-8 is as good as 0-7, and --array=2,5 runs the second and the fifth again.
# A job that has ended may be run again at any time: what is committed is not computed twice. Two jobs of the
# same part at once would do the same work twice.
shards=${1:?how many parts: sbatch --array=0-7 slurm_array.sh 8 CONFIG STORE}
config=${2:?a config} store=${3:?a store}
shift 3
if ((${SLURM_ARRAY_TASK_COUNT:-1} > shards)); then
  echo "slurm_array.sh: an array of $SLURM_ARRAY_TASK_COUNT jobs for $shards parts: give one job a part" >&2
  exit 2
fi
exec assocmem sweep "$config" --out "$store" --shard "$((${SLURM_ARRAY_TASK_ID:-0} % shards))/$shards" "$@"
