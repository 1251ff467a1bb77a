"""The base of fine-tuning tasks: programs with right answers, with which the learner's answers are compared."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from plmtrain.programs.answering import Answering, Demonstration, LearnerT_contra
from plmtrain.programs.program import LearnerT, ModelT, Program, SettingsT

if TYPE_CHECKING:
    from torch import nn

    from plmtrain.data.tables.labelled import Examples
    from plmtrain.data.tables.reader import Reader
    from plmtrain.data.tables.table_files import Row
    from plmtrain.settings.tasks.base import TaskSettings


class TaskAnswering(Answering[LearnerT_contra]):
    """Answers of the learner of a task to questions, which are read as those that the learner was trained on."""

    reader: Reader[Any, Any]

    @property
    def columns(self) -> Mapping[str, str]:
        return self.reader.question_columns

    def asked(self, row: Row) -> str:
        return json.dumps({column: row.cells[column] for column in self.columns}, ensure_ascii=False, default=str)

    @abstractmethod
    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show the answers of the best checkpoint for the held-out examples, next to a baseline that needs no model.

        Args:
            examples: of the run.
            answers: for each held-out example.
            best: the selected measure of the best checkpoint; None if no validation gave it.
        """


class TaskProgram(Program[SettingsT, ModelT, LearnerT]):
    """A fine-tuning task."""

    continued: ClassVar[tuple[type[nn.Module], ...]] = ()
    """The types of modules besides the backbone that a run takes from the run that it starts from; its heads are always new."""

    @classmethod
    def is_for(cls, settings: TaskSettings) -> bool:
        """Return whether it trains a task of its type; some types have a program for each way of answering."""
        return True

    @classmethod
    def of_heads(cls, heads: Set[type[nn.Module]], labels: tuple[str, ...]) -> SettingsT | None:
        """Return task settings for a published model with these heads; None if it is not a model of this task.

        Args:
            heads: the types of the model's heads.
            labels: the classes of its classifier.
        """
        return None

    @cached_property
    @abstractmethod
    def answering(self) -> TaskAnswering[LearnerT]:
        """How the learner is asked about texts."""


AnyTask = TaskProgram[Any, Any, Any]
