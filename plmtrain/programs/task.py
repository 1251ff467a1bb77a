"""What a fine-tuning task has beyond an objective: examples with right answers, which its answers are compared with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, TypeVar

from plmtrain.programs.program import Demonstration, Program

if TYPE_CHECKING:
    from torch import nn

    from plmtrain.data.tables.labelled import Examples

SettingsT = TypeVar("SettingsT")


class TaskProgram(Program[SettingsT]):
    """A fine-tuning task."""

    @classmethod
    def of_heads(cls, heads: Set[type[nn.Module]], labels: tuple[str, ...]) -> SettingsT | None:
        """Return settings with which a published model with such heads is asked; None if the task's models have others.

        Args:
            heads: the kinds of heads that the model has.
            labels: the classes that they tell apart.
        """
        return None

    @property
    def scored(self) -> tuple[str, ...]:
        """The measures that ``score`` gives. Validation predicts all held-out rows where there are any; here sums are enough."""
        return ()

    def score(self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, float]:
        """Compare all answers with the right ones, for measures that no sum over rows gives.

        Args:
            predictions: the answers of ``predict``, one for each example.
            references: the right ones, as the task's reader reads them.

        Returns:
            A number for each of ``scored``; ``nan`` where it is undefined.
        """
        raise AssertionError("a task without scored measures is not asked")

    def merged(self, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the answer for an example from those for its rows; here an example is one row."""
        (answer,) = answers
        return answer

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
