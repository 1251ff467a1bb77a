"""The model that ``plmtrain evaluate`` scores without training, put together from a run or a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plmtrain.console import warn
from plmtrain.data.corpus.named_source import of_source
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.data.loading.order import plan_phases
from plmtrain.errors import SettingsError
from plmtrain.interop.hub_text import located
from plmtrain.runs.overridden import require_meaning
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import override, run_settings
from plmtrain.settings.kinds import EVALUATE
from plmtrain.settings.run import PretrainSettings, RunSettings
from plmtrain.settings.scoring.base import ScoringSettings
from plmtrain.settings.trainer import TrainerSettings, WantedPrecision

if TYPE_CHECKING:
    from plmtrain.scoring import Subject
    from plmtrain.training.group import Group

_READ = frozenset("launch.timeout trainer.sequence_length trainer.precision trainer.threads trainer.device".split())
"""The settings of a run that scoring reads besides ``data``."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A model to score.

    Args:
        folder: the model's folder.
        step: the number of training steps of a run's weights; None for a Hugging Face folder.
        subject: the model.
        group: the processes that work together.
    """

    folder: Path
    step: int | None
    subject: Subject
    group: Group


def scoring_settings(arguments: Sequence[str], config_dir: str | None) -> ScoringSettings:
    """Return the settings of scoring.

    Args:
        arguments: the overrides of the group ``scoring``.
        config_dir: the folder of ``--config-dir``.

    Raises:
        SettingsErrors: all errors in them.
    """
    return run_settings(compose(arguments, config_dir, EVALUATE.primary), EVALUATE).scoring


def scored(folder: Path, overrides: Sequence[str], precision: WantedPrecision | None, on_update: OnUpdate) -> Scored:
    """Load a model to score.

    Args:
        folder: a run or a Hugging Face folder.
        overrides: of the run's own settings.
        precision: of matrix products; None for the run's own, which is ``auto`` for a Hugging Face folder.
        on_update: called with the progress of preparing its held-out text.

    Raises:
        SettingsError: if there is no model, or it has no settings to override.
        SettingsErrors: for overrides that scoring does not read.
        CheckpointError: if its weights cannot be used.
    """
    from plmtrain.interop.trained import load_trained
    from plmtrain.scoring import Subject
    from plmtrain.training.group import Group
    from plmtrain.training.precision import autocast, choose_precision
    from plmtrain.training.restore import TrainedRun

    trained = load_trained(folder, report=warn)
    settings: RunSettings | None = None
    trainer, timeout, step = TrainerSettings(), 600.0, None
    if isinstance(trained, TrainedRun):
        settings = override(trained.settings, overrides)
        require_meaning(trained.settings, settings, ("data",), _READ)
        trainer, timeout, step = settings.trainer, settings.launch.timeout, trained.step
    elif overrides:
        what = "a Hugging Face folder has no settings to change"
        raise SettingsError(what, f"command line: {overrides[0]}", "omit it, or set keys of scoring.")
    part = trained.part(None)
    if part.name is not None:
        warn(f"{folder} is scored as its part {part.name}")
    group = Group(trainer.device, timeout, trainer.threads)
    chosen = choose_precision(precision or trainer.precision, group.device)

    def own_text() -> Iterable[str]:
        if not isinstance(settings, PretrainSettings):
            raise SettingsError("there is no held-out text here", str(folder), "name the text to score: scoring.files=[text.txt]")
        return _held_out(settings, trained.folder, on_update)

    subject = Subject(
        learner=part.learner(trained.learner.to(group.device)),
        tokenizer=trained.tokenizer,
        trained_length=None if settings is None else plan_phases(trainer)[-1].sequence_length,
        own_text=own_text,
        reading=lambda: autocast(chosen, group.device),
    )
    return Scored(folder=folder, step=step, subject=subject, group=group)


def _held_out(settings: PretrainSettings, folder: Path, on_update: OnUpdate) -> Iterable[str]:
    """Return the original text of the run's held-out documents."""
    from plmtrain.data.corpus.held_out import held_out_texts
    from plmtrain.runs.corpus import corpus_of

    tokenizer = settings.tokenizer.model_copy(update={"path": str(folder / "tokenizer")})
    corpus = corpus_of(settings.model_copy(update={"tokenizer": tokenizer}), on_update)
    for name, data in located(settings.data).texts.items():
        with of_source(name):
            yield from held_out_texts(data, corpus.folders[name], corpus.tokenizer, on_update)
