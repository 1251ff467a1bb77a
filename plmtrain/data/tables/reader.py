"""The protocol of a reader: it turns the rows of tables into the examples of one type of task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from plmtrain.data.tables.table_files import FORMATS
from plmtrain.settings.tasks.base import TaskSettings

if TYPE_CHECKING:
    from plmtrain.data.tables.examples import Encoded, ExampleSource
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.data.tables.table_files import Row
    from plmtrain.settings.data import TableSettings
    from plmtrain.text.tokenizer import Tokenizer

TaskT = TypeVar("TaskT", bound=TaskSettings)
ReferenceT = TypeVar("ReferenceT")


@dataclass(frozen=True, slots=True)
class Example(Generic[ReferenceT]):
    """A row of a table as a task reads it.

    Args:
        texts: the given texts, one for each text column of the task.
        reference: the right answer; None in a question.
    """

    texts: tuple[str, ...]
    reference: ReferenceT | None


@dataclass(frozen=True)
class Finding:
    """A possible mistake in the examples, in the three lines of a warning."""

    what: str
    where: str
    remedy: str


@dataclass(frozen=True)
class Member:
    """One of several tasks.

    Args:
        reader: reads its examples.
        data: names its files.
        place: the group of settings in which they are named.
    """

    reader: Reader[Any, Any]
    data: TableSettings
    place: str


class Reader(ABC, Generic[TaskT, ReferenceT]):
    """Reads and describes the examples of one type of task.

    Args:
        task: the task's settings; ``informed`` and ``settled`` fill in those that are left open.
    """

    another: str
    """The words in messages for a right answer that is not the same: ``another score``, ``other labels``."""
    endings: ClassVar[Mapping[str, str]] = FORMATS
    """The formats of its tables by the endings of files."""

    def __init__(self, task: TaskT) -> None:
        self.task = task

    @classmethod
    def is_for(cls, task: TaskT) -> bool:
        """Return whether it reads the examples of some settings, where a type of task has several readers."""
        return True

    def counted(self, train: Sequence[Example[ReferenceT]]) -> Self:
        """Return a reader with the settings filled in that count the examples which are trained on; here there are none.

        Args:
            train: those examples, without any that are held out.

        Raises:
            DataError: if they cannot be counted.
        """
        return self

    def members(self, data: TableSettings) -> Mapping[str, Member]:
        """Return the readers of the tasks that it consists of, by name; here it is one task.

        Args:
            data: how tables are read.
        """
        return {}

    def mixed(self, rows: ExampleSource, train: Sequence[Example[ReferenceT]]) -> ExampleSource:
        """Return the rows of an epoch of training; here the row or rows of each example once.

        Args:
            rows: of the training examples.
            train: the training examples.
        """
        return rows

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, str]:
        """The columns that are read, each with the setting that names it."""

    @property
    def question_columns(self) -> Mapping[str, str]:
        """The columns of a question, each with the setting that names it: all but ``task.label``, that of the right answer."""
        return {column: setting for column, setting in self.columns.items() if setting != "task.label"}

    @abstractmethod
    def example(self, row: Row) -> Example[ReferenceT]:
        """Read a row.

        Raises:
            DataError: naming file and line, if a cell cannot be used.
        """

    def require_learnable(self, example: Example[ReferenceT], where: str) -> None:
        """Refuse an example that can be held out, but not trained on; here there is none.

        Args:
            example: read from a row.
            where: its file and line.

        Raises:
            DataError: if nothing can be learnt from it.
        """

    @abstractmethod
    def question(self, text: str) -> Example[ReferenceT]:
        """Read a user's question: a line with a text, with tab-separated texts, or with a JSON object of ``question_columns``.

        Raises:
            DataError: if a text is missing.
        """

    @abstractmethod
    def content(self, example: Example[ReferenceT]) -> tuple[str, ...]:
        """Return everything that is read of an example as text, for digests."""

    def kin(self, example: Example[ReferenceT]) -> tuple[str, ...]:
        """Return what ties an example to others where a part is held out: those with one of these in common stay together."""
        return ("\n".join(example.texts),)

    def kind(self, example: Example[ReferenceT]) -> str:
        """Return the kind of an example's right answer, of each of which the same share is held out; here all are of one."""
        return ""

    def lacks_text(self, example: Example[ReferenceT]) -> bool:
        """Return whether one of the texts of an example has nothing to read."""
        return not all(text and not text.isspace() for text in example.texts)

    def vocabulary_texts(self, example: Example[ReferenceT]) -> tuple[str, ...]:
        """Return the texts of an example that a tokenizer must be able to encode."""
        return example.texts

    def informed(self, names: Mapping[str, Sequence[str]]) -> Self:
        """Return a reader with settings filled in from the class names of a dataset's columns; here they are not used."""
        return self

    def settled(self, train: Sequence[Example[ReferenceT]]) -> Self:
        """Return a reader with settings filled in from the training examples; here none are left open.

        Raises:
            DataError: if the examples are not those of such a task.
        """
        return self

    @property
    def numbering(self) -> tuple[str, ...]:
        """The meaning of the numbers in ``encode``, e.g. the labels in their order; it is a part of the data's digest."""
        return ()

    def judge(self, splits: Splits) -> None:  # most have nothing to refuse
        """Refuse examples from which nothing can be learnt.

        Raises:
            DataError: if the examples are refused.
        """

    @abstractmethod
    def encode(self, examples: Sequence[Example[ReferenceT]], tokenizer: Tokenizer) -> Encoded:
        """Encode examples as tokens, and their right answers, if they are known, as numbers."""

    @abstractmethod
    def opening(self, splits: Splits) -> str:
        """Describe the right answers in a line that a run prints at its start."""

    def facts(self, splits: Splits) -> dict[str, Any]:
        """Return a description of the right answers for ``data/manifest.json`` in the run's folder."""
        return {}

    def findings(self, splits: Splits) -> list[Finding]:
        """Return the warnings of ``plmtrain check``."""
        return []

    @abstractmethod
    def line(self, example: Example[ReferenceT]) -> dict[str, Any]:
        """Return the first keys of a line of ``predictions.jsonl``: the texts by column, and ``expected``, the right answer."""
