"""A trained run, back from its folder. Nothing in the folder is run: it holds JSON, YAML and tensors only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from plmtrain import backbones, objectives
from plmtrain.errors import CheckpointError, SettingsError
from plmtrain.program import Program
from plmtrain.settings.decode import settings_from_run
from plmtrain.settings.run import PretrainSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.training.run_folder import RunFolder
from plmtrain.training.state import load_weights


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model that can be used.

    Args:
        folder: where it lies.
        tokenizer: its tokenizer.
        program: what it was trained by, or could be; of a run, with the settings of its last phase.
        learner: its weights, in eval mode.
    """

    folder: Path
    tokenizer: Tokenizer
    program: Program[Any]
    learner: nn.Module


@dataclass(frozen=True, kw_only=True)
class TrainedRun(Trained):
    """A run that can be used.

    Args:
        settings: what it was trained with.
        step: how many steps it was trained for.
    """

    settings: PretrainSettings
    step: int


def is_run(folder: Path) -> bool:
    """Whether a folder is a run of ours (rather than, say, a Hugging Face folder)."""
    return (folder / "config.yaml").is_file()


def tokenizer_folder(folder: Path) -> Path:
    """Where a run or a Hugging Face folder has its tokenizer."""
    return RunFolder(folder).tokenizer_path if is_run(folder) else folder


def load_run(folder: Path, report: Callable[[str], None] = lambda line: None) -> TrainedRun:
    """Load a run's newest sound checkpoint.

    Args:
        folder: of the run.
        report: hears of damaged checkpoints that were passed over.

    Raises:
        SettingsError: if the folder is no run.
        CheckpointError: if it has no usable checkpoint.
    """
    if not is_run(folder):
        raise SettingsError(f"{folder} is not a run", f"there is no {folder / 'config.yaml'}", "name a folder below runs/")
    run = RunFolder(folder)
    settings = settings_from_run(run.config())
    tokenizer = Tokenizer.load(run.tokenizer_path)
    overrides = settings.trainer.phases[-1].objective if settings.trainer.phases else {}
    objective = type(settings.objective).model_validate({**settings.objective.model_dump(), **overrides})
    program = objectives.build(objective, settings.model, tokenizer.vocabulary)
    learner = program.build(lambda model: backbones.build(model, tokenizer.vocabulary.size))
    checkpoint = run.checkpoints(keep=settings.trainer.keep).newest(strict=False, report=report)
    if checkpoint is None:
        raise CheckpointError(
            "the run has no checkpoint yet", str(folder), f"start it again: it saves every {settings.trainer.save_every} steps"
        )
    load_weights(learner, checkpoint)
    return TrainedRun(
        folder=folder,
        tokenizer=tokenizer,
        program=program,
        learner=learner.eval(),
        settings=settings,
        step=checkpoint.step,
    )
