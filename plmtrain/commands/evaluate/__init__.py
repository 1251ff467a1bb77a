"""``plmtrain evaluate``: compute a run's held-out loss, a fine-tuned run's metrics, or scores without training."""

from plmtrain.commands.evaluate.command import run

__all__ = ["run"]
