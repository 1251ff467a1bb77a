#!/usr/bin/env bash
# A sample sweep: three learning rates with two seeds each, on the documentation inside this Python (half an hour on two cores).
# The same command again only runs missing jobs; runs/sweeps/ has the table. More settings may follow:
#   scripts/sweep_learning_rate.sh trainer.steps=1000 hydra.launcher.jobs=2
# On a cluster: pip install hydra-submitit-launcher, and add hydra/launcher=submitit_slurm hydra.launcher.partition=NAME.
set -euo pipefail
exec plmtrain pretrain -m name=learning_rate model=roberta objective=dynamic_mlm data=sample size=tiny \
    trainer.steps=500 optimizer.lr=5e-4,1e-3,2e-3 seed=1,2 "$@"
