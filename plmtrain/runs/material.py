"""The parts of a run that differ between verbs: its text or examples, its programs, its first and last output, its length."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from plmtrain.console import counted
from plmtrain.data.loading.order import with_steps
from plmtrain.data.tables.reader import Finding
from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.interop.row_templates import frames_alike
from plmtrain.settings.rules import broken_rules, families_for, missing_roles
from plmtrain.settings.run import FinetuneSettings, PretrainSettings, RunSettings
from plmtrain.text.fidelity import altered_letters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from plmtrain.data.loading.order import Phase
    from plmtrain.data.rows.mixed_rows import HeldOut
    from plmtrain.data.rows.rows import PartedRows, RowSource, TrainingSource
    from plmtrain.data.splits import Split
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.program import Trainable
    from plmtrain.settings.objectives.base import ObjectiveSettings
    from plmtrain.settings.tasks.base import TaskSettings
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.training.group import Group
    from plmtrain.training.run_folder import RunFolder

RunT = TypeVar("RunT", bound=RunSettings)

SAMPLED = 2**18
"""The characters of the text in which changed letters are counted."""
_ALTERED = 0.01
"""The share of changed letters that is worth a warning."""


def require_tokens(settings: RunSettings, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that lacks special tokens which the run's objective or task needs, before anything is encoded with it.

    Raises:
        SettingsErrors: for the objective, each of its parts, or the task.
    """
    programs: dict[str, ObjectiveSettings | TaskSettings] = {}
    if isinstance(settings, PretrainSettings):
        programs = {f"objective={part.name}": part for part in settings.objective.members().values()}
    elif isinstance(settings, FinetuneSettings):
        programs = {f"task={settings.task.name}": settings.task}
    roles = tokenizer.vocabulary.roles
    path, folder = settings.tokenizer.path, settings.tokenizer_from
    source = (
        f"tokenizer.path={path}"
        if path is not None
        else f"the tokenizer {'that was trained' if folder is None else f'of {folder}'}"
    )
    errors = [
        SettingsError(
            f"{name} needs tokens that the tokenizer lacks: {', '.join(missing)}",
            f"{source} has: {', '.join(roles) or 'none of any use'}",
            f"use a tokenizer of one of these families: {families_for(settings.model, program)}",
        )
        for name, program in programs.items()
        if (missing := missing_roles(settings.model, program, roles))
    ]
    if settings.model.reads_characters and not tokenizer.vocabulary.words:
        what = f"model={settings.model.name} reads the characters of whole words, and the tokenizer has parts of words"
        errors.append(SettingsError(what, source, "use a tokenizer of type word or spaced_word"))
    if errors:
        raise SettingsErrors(errors)


def require_libraries(task: TaskSettings) -> None:
    """Refuse metrics whose library is not installed, before anything is trained.

    Raises:
        SettingsError: naming it, and the extra that brings it.
    """
    for metric, library in task.libraries.items():
        if find_spec(library) is None:
            raise SettingsError(
                f"{metric} needs {library.replace('_', '-')}, which is not installed",
                f"task.metrics names {metric}",
                "pip install plmtrain[eval], or name other metrics: plmtrain list task.metrics",
            )


class Material(ABC):
    """A run's prepared data.

    Args:
        settings: the run's settings, with the number of steps filled in.
        tokenizer: the tokenizer that encoded the data.
        digest: the digest of the data.
    """

    def __init__(self, settings: RunSettings, tokenizer: Tokenizer, digest: str) -> None:
        self.settings = settings
        self.tokenizer = tokenizer
        self.digest = digest

    def with_settings(self, settings: RunSettings) -> Self:
        """Return the same data for other settings, of which the data do not depend."""
        other = copy(self)
        other.settings = settings
        return other

    def unigram_losses(self) -> NDArray[np.float64] | None:
        """Compute the loss of each token, in nats, under the unigram distribution of the training text; None if there is no such
        text.  # [vocabulary]"""
        return None

    def begin(self, learner: Learner) -> list[str]:
        """Give a learner the weights that its text decides, if any; return descriptions for the user."""
        return []

    def sample(self) -> Iterable[str]:
        """Return a sample of the training text; empty where there is no need to look at it."""
        return ()

    def tokenizer_findings(self) -> list[Finding]:
        """Return the findings about the tokenizer: letters that it changes, and a padding id that the model does not expect."""
        findings = []
        altered = altered_letters(self.tokenizer, self.sample())
        if altered is not None and altered.share > _ALTERED:
            settings = self.settings
            trained = settings.tokenizer.path is None and settings.tokenizer_from is None
            if trained and settings.tokenizer.lowercase:
                remedy = "keep them with tokenizer.lowercase=false, unless that is intended"
            elif trained:
                remedy = "keep them with tokenizer.type=byte_bpe, unless that is intended"
            else:
                remedy = "use a tokenizer that keeps them, such as a cased model's, unless that is intended"
            findings.append(Finding(str(altered), f"the normaliser of the {self.tokenizer.type} tokenizer", remedy))
        model, pad = self.settings.model, self.tokenizer.vocabulary.roles.get("pad")
        expected = getattr(model, "position_offset", 0) - 1
        if model.published.counts_from_pad and pad != expected:
            has = "the tokenizer has no padding token" if pad is None else f"the tokenizer's padding token has the id {pad}"
            findings.append(
                Finding(
                    f"{has}, and model={model.name} counts positions as if it were {expected}",
                    "tokenizer, model.position_offset",
                    "export needs a padding token: add one" if pad is None else "export will move the position table to match",
                )
            )
        if not frames_alike(self.tokenizer, model):
            findings.append(
                Finding(
                    f"rows are laid out as {model.family} models read them, not as this tokenizer lays them out in transformers",
                    f"the post-processor of the {self.tokenizer.type} tokenizer",
                    "export will write the rows of the training into the tokenizer",
                )
            )
        return findings

    @abstractmethod
    def programs(self, phases: Sequence[Phase]) -> list[Trainable]:
        """Make one program, or mixture, for each phase."""

    @abstractmethod
    def rows(self, split: Split, program: Trainable, phase: Phase) -> RowSource | PartedRows:
        """Return the rows of a split for a program in a phase."""

    def training_rows(
        self,
        rows: Sequence[RowSource | PartedRows],
        programs: Sequence[Trainable],
        phases: Sequence[Phase],
        folder: RunFolder,
        group: Group,
    ) -> Sequence[TrainingSource | PartedRows]:
        """Return what training reads in each phase. All processes must call it.

        Args:
            rows: the rows of the prepared training data for each phase.
            programs: of each phase.
            phases: of the run.
            folder: of the run.
            group: the processes that train together.
        """
        return rows

    def release(self) -> None:  # noqa: B027  # most classes have nothing to end
        """End what ``training_rows`` began, however training ended."""

    def passes(self, rows: Sequence[RowSource], phases: Sequence[Phase]) -> float | None:
        """Return how often some phases read the training data; None if that is unknown before they have.

        Args:
            rows: the training rows of each phase.
            phases: the phases.
        """
        return sum(phase.steps * phase.batch_size / len(source) for phase, source in zip(phases, rows, strict=True))

    def held_out_rows(self, program: Trainable, phase: Phase) -> HeldOut:
        """Return the held-out rows for a program in a phase, as a validation measures them."""
        return self.rows("validation", program, phase)

    @abstractmethod
    def keep(self, folder: Path) -> None:
        """Write a record of the data into a run's folder, to detect changes later."""

    @abstractmethod
    def changes(self, folder: Path) -> list[str]:
        """Return descriptions of the data's changes since ``keep`` wrote into the folder."""

    @abstractmethod
    def repetitions(self) -> list[str]:
        """Return a line for each kind of duplicates, within the training data or between training and held-out data."""

    @abstractmethod
    def opening(self) -> str:
        """Return the description of the data that is printed when the run starts."""

    def conclude(  # noqa: B027  # most classes do nothing here
        self, program: Trainable, learner: Learner, phase: Phase, group: Group, folder: Path
    ) -> None:
        """Use the run's result before the run ends, e.g. to predict the held-out examples. All processes must call it.

        Args:
            program: the program of the last phase.
            learner: the learner with the weights of the run's result, in eval mode; on the CPU if the run was sharded, on the
                group's device otherwise.
            phase: the last phase.
            group: the processes that trained together.
            folder: the run's folder.
        """

    @abstractmethod
    def closing(
        self, program: Trainable, learner: Learner, best: float | None, measured: Mapping[str, float]
    ) -> list[RenderableType]:
        """Return the output that is printed when the run ends.

        Args:
            program: the program of the last phase.
            learner: the learner with the weights of the run's result, in eval mode, on the CPU.
            best: the best value of the measure that selects checkpoints.
            measured: all measures of that validation; empty if they are unknown.
        """


def with_counted_steps(settings: RunT, rows: int) -> RunT:
    """Return the settings with the number of steps filled in if they give epochs.

    Args:
        settings: the run's settings.
        rows: the number of rows in an epoch.

    Raises:
        SettingsErrors: if the schedule is longer than this number of steps.
    """
    if settings.trainer.epochs is None:
        return settings
    trainer = with_steps(settings.trainer, rows)
    length = f"{trainer.epochs:g} epochs of {counted(rows, 'row')} are {counted(trainer.steps, 'step')}"
    changed = {"schedule": settings.schedule, "trainer": trainer.model_copy(update={"epochs": None})}
    if errors := [SettingsError(what, f"{key}; {length}", remedy) for key, what, remedy in broken_rules(changed)]:
        raise SettingsErrors(errors)
    return settings.model_copy(update={"trainer": trainer})
