"""Loading a trained run from its folder. No code in the folder is executed: it contains only JSON, YAML and tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from plmtrain import backbones, objectives
from plmtrain import tasks as fine_tuning
from plmtrain.console import counted
from plmtrain.errors import CheckpointError, SettingsError, nearest
from plmtrain.json_files import DamagedJson, read_object
from plmtrain.programs.learner import Learner
from plmtrain.programs.parts import Part
from plmtrain.programs.program import Trainable
from plmtrain.settings.decode import settings_from_run
from plmtrain.settings.identity import RESOLVED
from plmtrain.settings.run import FinetuneSettings, PretrainSettings, RunSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.training.checkpoint import Checkpoint
from plmtrain.training.run_folder import RunFolder, run_and_step
from plmtrain.training.state import load_result


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model with its tokenizer and program.

    Args:
        folder: the model's folder.
        tokenizer: the model's tokenizer.
        program: the program or mixture that trained it, or that could have; for a run, with the settings of its last phase.
        learner: the learner with the trained weights, in eval mode.
    """

    folder: Path
    tokenizer: Tokenizer
    program: Trainable
    learner: Learner

    def part(self, name: str | None) -> Part:
        """Return a part of the program; if ``name`` is None, the main part.

        Raises:
            SettingsError: if there is no part with this name.
        """
        parts = self.program.parts
        if name is None:
            return parts.main
        if name not in parts.names:
            remedy = nearest(name, parts.names) if parts.names else "omit it: only a mixture has parts"
            raise SettingsError(f"{self.folder} has no part '{name}'", f"part: {name}", remedy)
        return parts.named(name)


@dataclass(frozen=True, kw_only=True)
class TrainedRun(Trained):
    """A trained run.

    Args:
        settings: the run's settings.
        step: the number of training steps of the loaded weights.
    """

    settings: RunSettings
    step: int


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run of plmtrain, or a checkpoint of one (rather than e.g. a Hugging Face folder)."""
    return run_and_step(folder) is not None


def tokenizer_folder(folder: Path) -> Path:
    """Return the folder with the tokenizer of a run or a Hugging Face folder."""
    place = run_and_step(folder)
    return folder if place is None else RunFolder(place[0]).tokenizer_path


def program_of(settings: RunSettings, vocabulary: Vocabulary) -> Trainable:
    """Make the program or mixture of a run, with the settings of its last phase."""
    if isinstance(settings, FinetuneSettings):
        return fine_tuning.build(settings.task, settings.model, vocabulary, settings.trainer.sequence_length)
    assert isinstance(settings, PretrainSettings)
    changes = settings.trainer.phases[-1].objective if settings.trainer.phases else {}
    return objectives.build(settings.objective.changed(changes), settings.model, vocabulary)


def _as_tuned(settings: RunSettings, run: RunFolder) -> RunSettings:
    """Return the settings of a run with those of its task that were tuned on its held-out examples when it ended.

    Raises:
        CheckpointError: if the file of these cannot be used.
    """
    if not isinstance(settings, FinetuneSettings) or not settings.task.tuned:
        return settings
    try:
        tuned = read_object(run.tuned_path)
        known = {key: value for key, value in tuned.items() if key in settings.task.tuned}
        task = type(settings.task).model_validate({**settings.task.model_dump(), **known})
    except FileNotFoundError:
        return settings  # it has not ended, or all of them were given
    except (DamagedJson, ValidationError):
        remedy = "remove it, and give the values as settings, such as task.threshold=0"
        raise CheckpointError("the settings that the run tuned cannot be read", str(run.tuned_path), remedy) from None
    return settings.model_copy(update={"task": task})


def result_of(
    run: RunFolder, decides: bool, step: int | None = None, report: Callable[[str], None] = lambda line: None
) -> Checkpoint | None:
    """Return the checkpoint that is a run's result so far, or that of a step; None if none was ever saved.

    Args:
        run: the run's folder.
        decides: whether the result is the best checkpoint in validation (``Selection.decides``) or the newest sound one.
        step: the step of the checkpoint to take instead.
        report: called with a message for each damaged checkpoint that was skipped.

    Raises:
        CheckpointError: if it is damaged, or none is sound.
    """
    checkpoints = run.checkpoints()
    if step is not None:
        return checkpoints.at(step)
    newest = checkpoints.newest(strict=False, report=report)
    if newest is None or not decides or newest.progress.best_step in (None, newest.step):
        return newest
    assert newest.progress.best_step is not None
    return checkpoints.at(newest.progress.best_step)


def load_run(folder: Path, report: Callable[[str], None] = lambda line: None) -> TrainedRun:
    """Load a run's result: its newest sound checkpoint, or the best one if validation decides.

    Args:
        folder: the run's folder, or that of one of its checkpoints, which is then loaded.
        report: called with a message for each damaged checkpoint that was skipped.

    Raises:
        SettingsError: if the folder is not a run.
        CheckpointError: if it has no usable checkpoint.
    """
    place = run_and_step(folder)
    if place is None:
        raise SettingsError(f"{folder} is not a run", f"there is no {folder / 'config.yaml'}", "name a folder below runs/")
    run = RunFolder(place[0])
    settings = _as_tuned(settings_from_run(run.config()), run)
    tokenizer = Tokenizer.load(run.tokenizer_path)
    program = program_of(settings, tokenizer.vocabulary)
    rows = (run.config().get(RESOLVED) or {}).get("vocabulary")
    learner = program.build(lambda model: backbones.build(model, rows if isinstance(rows, int) else tokenizer.vocabulary.size))
    checkpoint = result_of(run, program.selection.decides, place[1], report)
    if checkpoint is None:
        raise CheckpointError(
            "the run has no checkpoint yet",
            str(folder),
            f"start it again: it saves every {counted(settings.trainer.save_every, 'step')}, and after its last",
        )
    load_result(learner, checkpoint)
    return TrainedRun(
        folder=run.path,
        tokenizer=tokenizer,
        program=program,
        learner=learner.eval(),
        settings=settings,
        step=checkpoint.step,
    )
