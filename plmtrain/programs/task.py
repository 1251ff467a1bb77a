"""The base of fine-tuning tasks: programs with right answers, with which the learner's answers are compared."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from plmtrain.programs.answering import Answering, Demonstration, LearnerT_contra
from plmtrain.programs.program import LearnerT, ModelT, Program, SettingsT
from plmtrain.programs.review import Review

if TYPE_CHECKING:
    from torch import nn

    from plmtrain.data.tables.labelled import Examples
    from plmtrain.data.tables.reader import Example, Reader
    from plmtrain.data.tables.table_files import Row


class TaskAnswering(Answering[LearnerT_contra]):
    """Answers of the learner of a task to questions, which are read as those that the learner was trained on."""

    reader: Reader[Any, Any]

    @property
    def endings(self) -> Mapping[str, str]:
        return self.reader.endings

    @property
    def columns(self) -> Mapping[str, str]:
        return self.reader.question_columns

    def asked(self, row: Row) -> str:
        return json.dumps({column: row.cells[column] for column in self.columns}, ensure_ascii=False, default=str)

    def tuned(self, answers: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, Any]:
        """Return the settings of the task that are tuned on held-out examples and not given (``TaskSettings.tuned``); here none.

        Args:
            answers: for each held-out example.
            references: the right ones.
        """
        return {}

    def written(self, example: Example[Any], answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a line of ``predictions.jsonl`` says of an answer; here all of it.

        Args:
            example: the example.
            answer: the answer to it.
        """
        return dict(answer)

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

    @abstractmethod
    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        """Review the answers of the best checkpoint to the held-out examples.

        Args:
            examples, answers: as in ``closing``.
        """


class TaskProgram(Program[SettingsT, ModelT, LearnerT]):
    """A fine-tuning task."""

    continued: ClassVar[tuple[type[nn.Module], ...]] = ()
    """The types of modules besides the backbone that a run takes from what it starts from, if that has them; other heads are new,
    since other labels mean something else."""

    @classmethod
    def is_for(cls, settings: SettingsT) -> bool:
        """Return whether it is the program of some settings, where a type of task has several programs."""
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
