"""Export a run to a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from plmtrain.errors import SettingsError, nearest
from plmtrain.interop.card import card_of_run
from plmtrain.interop.model import Model
from plmtrain.interop.publishing import PublishedFolder, publish
from plmtrain.nn.scalar_mix import ScalarMix
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.training.restore import TrainedRun


def export(trained: TrainedRun, target: Path, part: str | None = None) -> PublishedFolder:
    """Write a run's model as a folder that transformers loads.

    Args:
        trained: the run.
        target: the folder, which does not exist yet.
        part: which of the learner's models; the program's main one if omitted.

    Raises:
        SettingsError: if there is no such part, the path is in use, or transformers has no class for the model.
        CheckpointError: if the files differ from the run's model; the folder is removed.
        DiskError: if the disk refuses.
    """
    models = trained.learner.models()
    if part is not None and part not in models:
        raise SettingsError(f"the run has no part '{part}'", f"command line: part={part}", nearest(part, models))
    settings, tokenizer = trained.program.settings, trained.tokenizer
    task = settings if isinstance(settings, TaskSettings) else None
    labels = getattr(task, "labels", ()) if task is not None and task.has_head else ()
    multi_label = isinstance(task, ClassificationSettings) and task.multi_label
    model = Model.of(models[part or next(iter(models))], labels, multi_label=multi_label)
    if ScalarMix in model.heads:
        raise SettingsError(
            "the head of this run reads a mix of layers, which no published format has",
            f"{trained.folder}: task.features=mix",
            "export the run that it started from, or train the task with task.features=states",
        )
    return publish(
        target,
        model,
        tokenizer,
        tokenizer.vocabulary.roles,
        lambda done: card_of_run(trained, model, done),
        task,
        trained.settings.trainer.sequence_length,
    )
