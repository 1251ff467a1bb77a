"""Loading the teacher of a run, and refusing one that the run cannot learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.interop.initial import weights_digest
from plmtrain.interop.trained import load_trained
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import Trainable
from plmtrain.programs.taught import Taught, Teacher
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.run import RunSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.training.restore import Trained


def teacher_of(settings: RunSettings, tokenizer: Tokenizer, programs: Sequence[Trainable], embedded: int) -> Teacher | None:
    """Load the teacher of a run, frozen and in eval mode; None if the run has none.

    Args:
        settings: the run's settings.
        tokenizer: the run's tokenizer.
        programs: the run's program or mixture in each phase.
        embedded: the number of rows of the student's token embedding.

    Raises:
        SettingsErrors: for each reason why the run cannot learn from it.
        SettingsError: if there is no model in the folder.
        CheckpointError: if its weights cannot be used.
    """
    if settings.teacher is None:
        return None
    folder = Path(settings.teacher)
    digest = weights_digest(folder, "teacher")
    trained = load_trained(folder)
    part = trained.part(None)
    learner = part.learner(trained.learner)
    wrong = list(_unfit(settings, trained, learner, tokenizer, embedded))
    for member in (member for program in programs for member in program.parts.members):
        if isinstance(member.program, Taught) and member.program.is_taught:
            wrong += _reads_otherwise(settings.model, learner.backbone.settings, member.program.texts)
            wrong += member.program.unfit(part.program, learner)
    if wrong:
        raise SettingsErrors([SettingsError(what, f"teacher={folder}", remedy) for what, remedy in dict.fromkeys(wrong)])
    return Teacher(folder, digest, learner.requires_grad_(False).eval())


def _unfit(
    settings: RunSettings, trained: Trained, learner: Learner, tokenizer: Tokenizer, embedded: int
) -> Iterator[tuple[str, str]]:
    """Yield each reason why no student of these rows can learn from a model, and what to do."""
    model = learner.backbone.settings
    if trained.tokenizer.digest != tokenizer.digest:
        yield "the teacher's tokenizer is not the run's", "omit tokenizer.path=: the run takes the teacher's tokenizer"
    elif learner.backbone.vocabulary_size != embedded:
        rows = f"{learner.backbone.vocabulary_size:,} tokens, and the student {embedded:,}"
        yield f"the teacher scores {rows}", "omit init=, or start from a model with the teacher's rows of tokens"
    longest = max([settings.trainer.sequence_length, *(phase.sequence_length or 0 for phase in settings.trainer.phases)])
    if longest > model.positions:
        yield f"rows of {longest} tokens are more than the teacher takes ({model.positions})", "lower trainer.sequence_length"


def _reads_otherwise(student: ModelSettings, teacher: ModelSettings, texts: int) -> Iterator[tuple[str, str]]:
    ours, theirs = (RowFormat.of(model.family, texts) for model in (student, teacher))
    if ours.runs != theirs.runs:
        what = f"the teacher reads rows with {' '.join(theirs.roles)}, and model={student.name} with {' '.join(ours.roles)}"
        yield what, f"choose a student of the teacher's family, {teacher.family}"
