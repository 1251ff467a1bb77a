"""The trainer, which depends on programs, batches and checkpoints only."""
