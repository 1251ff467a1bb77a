"""``-m``: a run for each combination of values, each in a process of its own, and one table at the end."""

from plmtrain.commands.sweep.command import run

__all__ = ["run"]
