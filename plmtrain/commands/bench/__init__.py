"""``plmtrain bench``: how fast this machine trains a run."""

from plmtrain.commands.bench.command import run

__all__ = ["run"]
