"""The parts of a fine-tuning task that objectives lack: examples with right answers, with which its answers are compared."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from typing import TYPE_CHECKING, Any

from plmtrain.programs.answering import Answering, Demonstration, LearnerT_contra
from plmtrain.programs.program import LearnerT, ModelT, Program, SettingsT

if TYPE_CHECKING:
    from torch import nn

    from plmtrain.data.tables.labelled import Examples


class TaskAnswering(Answering[LearnerT_contra]):
    """Answers of the learner of a task to questions."""

    @abstractmethod
    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show what the best checkpoint makes of the held-out examples, beside what no model is needed for.

        Args:
            examples: of the run.
            answers: for each held-out example.
            best: the selected measure of the best checkpoint; None if no validation gave it.
        """


class TaskProgram(Program[SettingsT, ModelT, LearnerT]):
    """A fine-tuning task."""

    @classmethod
    def of_heads(cls, heads: Set[type[nn.Module]], labels: tuple[str, ...]) -> SettingsT | None:
        """Return settings with which a published model with such heads is asked; None if the task's models have others.

        Args:
            heads: the kinds of heads that the model has.
            labels: the classes that they tell apart.
        """
        return None

    @cached_property
    @abstractmethod
    def answering(self) -> TaskAnswering[LearnerT]:
        """How the learner is asked about texts."""


AnyTask = TaskProgram[Any, Any, Any]
