"""How one type of task reads its examples: the protocol of the modules in ``plmtrain.data.tables.readers``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from plmtrain.settings.tasks.base import TaskSettings

if TYPE_CHECKING:
    from plmtrain.data.tables.examples import Encoded
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.data.tables.table_files import Row
    from plmtrain.text.tokenizer import Tokenizer

TaskT = TypeVar("TaskT", bound=TaskSettings)
ReferenceT = TypeVar("ReferenceT")


@dataclass(frozen=True, slots=True)
class Example(Generic[ReferenceT]):
    """One row of a table as a task reads it.

    Args:
        texts: what is given, one text for each column that the task reads it from.
        reference: the right answer; None in a question, to which it is unknown.
    """

    texts: tuple[str, ...]
    reference: ReferenceT | None


@dataclass(frozen=True)
class Finding:
    """What of some examples may not be as the user thinks, in the three lines of a warning."""

    what: str
    where: str
    remedy: str


class Reader(ABC, Generic[TaskT, ReferenceT]):
    """The one place that knows how a type of task reads its examples, and what there is to say of them.

    Args:
        task: the task's settings. What they leave open is filled in by ``informed`` and ``settled``.
    """

    noun: str
    """The word for a right answer in messages: ``label``, ``score``."""

    def __init__(self, task: TaskT) -> None:
        self.task = task

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, str]:
        """The columns that it reads, each with the setting that names it."""

    @abstractmethod
    def example(self, row: Row) -> Example[ReferenceT]:
        """Read a row.

        Raises:
            DataError: naming file and line, if a cell cannot be used.
        """

    @abstractmethod
    def question(self, text: str) -> Example[ReferenceT]:
        """Read what a user asks about: one line of text, of tab-separated texts, or of JSON.

        Raises:
            DataError: if a text is missing.
        """

    @abstractmethod
    def content(self, example: Example[ReferenceT]) -> tuple[str, ...]:
        """Return all that is read of an example as text: equal content is equal data."""

    def informed(self, names: Mapping[str, Sequence[str]]) -> Self:
        """Return a reader that knows the names of classes, by column, that a dataset declares; here they say nothing."""
        return self

    def settled(self, train: Sequence[Example[ReferenceT]]) -> Self:
        """Return a reader whose task has no open settings any more, from the training examples; here nothing is open.

        Raises:
            DataError: if these are no examples of such a task.
        """
        return self

    @property
    def numbering(self) -> tuple[str, ...]:
        """What gives the numbers in ``encode`` their meaning, such as labels in their order: a part of the data's digest."""
        return ()

    def judge(self, splits: Splits) -> None:  # most have nothing to refuse
        """Refuse examples that nothing can be learnt from.

        Raises:
            DataError: if they are so.
        """

    @abstractmethod
    def encode(self, examples: Sequence[Example[ReferenceT]], tokenizer: Tokenizer) -> Encoded:
        """Turn examples into tokens, and their right answers, where they are known, into numbers."""

    @abstractmethod
    def opening(self, splits: Splits) -> str:
        """Describe the right answers in a line, as a run says it at its start."""

    def facts(self, splits: Splits) -> dict[str, Any]:
        """Return the same for programs; the run's folder keeps it."""
        return {}

    def findings(self, splits: Splits) -> list[Finding]:
        """Return what ``plmtrain check`` warns of."""
        return []

    @abstractmethod
    def line(self, example: Example[ReferenceT]) -> dict[str, Any]:
        """Return an example as a line of ``predictions.jsonl`` begins: texts by column, and what is ``expected``."""
