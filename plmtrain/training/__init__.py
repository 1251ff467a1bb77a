"""The trainer: it knows programs, batches and checkpoints, nothing else."""
