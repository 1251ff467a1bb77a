"""``plmtrain check``: everything that is wrong with a composed run before it starts, and what it will cost."""

from plmtrain.commands.check.command import run

__all__ = ["run"]
