"""``plmtrain pretrain``: pretrain a model with an objective on text."""

from __future__ import annotations

from plmtrain.runs.lifecycle import carry_out
from plmtrain.runs.prepared_text import PreparedText
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings


def run(arguments: list[str]) -> int:
    """Start or resume a run, and train it to its end."""
    settings = pretrain_settings(compose(arguments))
    return carry_out(["pretrain", *arguments], settings, lambda on_update: PreparedText.of(settings, on_update))
