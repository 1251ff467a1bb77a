"""``plmtrain finetune``: fine-tune pretrained weights for a task on labelled examples."""

from __future__ import annotations

from plmtrain.runs.command_settings import settings_for
from plmtrain.runs.labelled_examples import LabelledExamples
from plmtrain.runs.lifecycle import carry_out
from plmtrain.settings.run import FinetuneSettings


def run(arguments: list[str]) -> int:
    """Start or resume a run, and train it to its end."""
    settings = settings_for("finetune", arguments)
    assert isinstance(settings, FinetuneSettings)
    return carry_out(["finetune", *arguments], settings, lambda on_update: LabelledExamples.of(settings, on_update))
