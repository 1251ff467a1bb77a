"""``plmtrain runs``: the runs of a folder, and what can be done with them: compare two, delete some, ask one for a checkpoint."""

from plmtrain.commands.runs.command import run

__all__ = ["run"]
