"""Loading the teacher of a run, and refusing one that the run cannot learn from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.interop.initial import weights_digest
from plmtrain.interop.trained import load_trained
from plmtrain.programs.masked.program import MaskedLearner
from plmtrain.programs.taught import Teacher
from plmtrain.settings.run import PretrainSettings, RunSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.training.restore import Trained


def teacher_of(settings: RunSettings, tokenizer: Tokenizer, embedded: int) -> Teacher | None:
    """Load the teacher of a run, frozen and in eval mode; None if the run has none.

    Args:
        settings: the run's settings.
        tokenizer: the run's tokenizer.
        embedded: the number of rows of the student's token embedding.

    Raises:
        SettingsErrors: for each reason why the run cannot learn from it.
        SettingsError: if there is no model in the folder.
        CheckpointError: if its weights cannot be used.
    """
    if not isinstance(settings, PretrainSettings) or settings.teacher is None:
        return None
    folder = Path(settings.teacher)
    digest = weights_digest(folder, "teacher")
    trained = load_trained(folder)
    part = trained.part(None)
    learner = part.learner(trained.learner)
    if wrong := list(_unfit(settings, trained, learner if isinstance(learner, MaskedLearner) else None, tokenizer, embedded)):
        raise SettingsErrors([SettingsError(what, f"teacher={folder}", remedy) for what, remedy in wrong])
    return Teacher(folder, digest, learner.requires_grad_(False).eval())


def _unfit(
    settings: RunSettings, trained: Trained, learner: MaskedLearner | None, tokenizer: Tokenizer, embedded: int
) -> Iterator[tuple[str, str]]:
    """Yield each reason why a student cannot learn from a model, and what to do."""
    if learner is None:
        yield "the teacher has no masked language-model head", "name a model that was trained with one, such as objective=mlm"
        return
    model, student = learner.backbone.settings, settings.model
    if trained.tokenizer.digest != tokenizer.digest:
        yield "the teacher's tokenizer is not the run's", "omit tokenizer.path=: the run takes the teacher's tokenizer"
    elif learner.backbone.vocabulary_size != embedded:
        rows = f"{learner.backbone.vocabulary_size:,} tokens, and the student {embedded:,}"
        yield f"the teacher scores {rows}", "omit init=, or start from a model with the teacher's rows of tokens"
    ours, theirs = (RowFormat.of(one.family, 1).roles for one in (student, model))
    if ours != theirs:
        what = f"the teacher reads rows with {' '.join(theirs)}, and model={student.name} with {' '.join(ours)}"
        yield what, f"choose a student of the teacher's family, {model.family}"
    longest = max([settings.trainer.sequence_length, *(phase.sequence_length or 0 for phase in settings.trainer.phases)])
    if longest > model.positions:
        yield f"rows of {longest} tokens are more than the teacher takes ({model.positions})", "lower trainer.sequence_length"
