#!/usr/bin/env bash
# A SLURM job that trains one run for as many time limits as it needs. It is a whole command line of plmtrain:
#   sbatch --time=12:00:00 --ntasks-per-node=4 --gpus-per-task=1 scripts/slurm.sh pretrain ours.yaml
# Five minutes before the limit SLURM sends USR1. The run saves a checkpoint and ends with 75, and the job is queued again.
#SBATCH --job-name=plmtrain
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
set -uo pipefail

export MASTER_ADDR MASTER_PORT
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))

# One process for each task; with one task plmtrain needs no group.
# shellcheck disable=SC2016
start='
if [ "$SLURM_NTASKS" -gt 1 ]; then
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS LOCAL_WORLD_SIZE=$((SLURM_NTASKS / SLURM_NNODES))
fi
exec plmtrain "$@"'
srun --kill-on-bad-exit=0 bash -c "$start" plmtrain "$@" &
step=$!

# The signal reaches this script alone (B:). It is passed on once, and the script waits for the checkpoint.
trap 'scancel --signal=USR1 "$SLURM_JOB_ID.0" || kill -USR1 "$step"' USR1
while kill -0 "$step" 2>/dev/null; do # a trap ends wait before the step has ended
    wait "$step"
done
wait "$step"
code=$?

if [ "$code" -eq 75 ]; then
    echo "the run is saved; the job is queued again"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$code"
