"""``plmtrain doctor``: what this machine has, and what a run gets of it."""

from plmtrain.commands.doctor.command import run

__all__ = ["run"]
