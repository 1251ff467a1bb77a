"""``plmtrain pretrain``: pretrain a model with an objective on text."""

from __future__ import annotations

from plmtrain.runs.command_settings import settings_for
from plmtrain.runs.lifecycle import carry_out
from plmtrain.runs.materials import material_of
from plmtrain.settings.run import PretrainSettings


def run(arguments: list[str]) -> int:
    """Start or resume a run, and train it to its end."""
    settings = settings_for("pretrain", arguments)
    assert isinstance(settings, PretrainSettings)
    return carry_out(["pretrain", *arguments], settings, lambda on_update: material_of(settings, on_update))
