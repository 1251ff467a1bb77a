"""``plmtrain check``: report all errors of a run and its costs before it starts."""

from plmtrain.commands.check.command import run

__all__ = ["run"]
