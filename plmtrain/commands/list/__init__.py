"""``plmtrain list``: what there is to choose, what each setting means, and which objective trains which model."""

from plmtrain.commands.list.command import matrix, run

__all__ = ["matrix", "run"]
