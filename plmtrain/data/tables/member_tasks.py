"""Reading the examples of one of several tasks: its template is filled with its columns, so that all have rows of one text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plmtrain.data.tables.answered import EncodedAnswers
from plmtrain.data.tables.reader import Example, Reader
from plmtrain.settings.tasks.multitask import MultitaskSettings

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.data.tables.table_files import Row
    from plmtrain.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TaskTarget:
    """The right answer of an example of one of several tasks.

    Args:
        task: the name of the task.
        text: what shall be written.
    """

    task: str
    text: str


class TargetReader(Reader[MultitaskSettings, TaskTarget]):
    """Encodes and describes examples of rows and targets, of one task or of several."""

    another = "another target"

    def content(self, example: Example[TaskTarget]) -> tuple[str, ...]:
        assert example.reference is not None
        return (example.reference.task, *example.texts, example.reference.text)

    def line(self, example: Example[TaskTarget]) -> dict[str, Any]:
        assert example.reference is not None
        return {"task": example.reference.task, "text": example.texts[0], "expected": example.reference.text}

    def vocabulary_texts(self, example: Example[TaskTarget]) -> tuple[str, ...]:
        return (*example.texts, *(() if example.reference is None else (example.reference.text,)))

    def encode(self, examples: Sequence[Example[TaskTarget]], tokenizer: Tokenizer) -> EncodedAnswers:
        targets = [example.reference for example in examples if example.reference is not None]
        rows, texts = [example.texts[0] for example in examples], [target.text for target in targets]
        return EncodedAnswers.encode(rows, texts, targets, tokenizer, self.task.target_length)


class MemberReader(TargetReader):
    """Reads the examples of one of several tasks.

    Args:
        task: the settings of all of them.
        name: of this one.
    """

    def __init__(self, task: MultitaskSettings, name: str) -> None:
        super().__init__(task)
        self.name, self.own = name, task.tasks[name]
        self.template = self.own.rows(name)

    @property
    def columns(self) -> Mapping[str, str]:
        place = f"task.tasks.{self.name}"
        return {**dict.fromkeys(self.own.text, f"{place}.text"), self.own.target: f"{place}.target"}

    def example(self, row: Row) -> Example[TaskTarget]:
        target = row.label(self.own.target)  # 1 of a JSON line is the text 1
        return Example((self.filled(row),), TaskTarget(self.name, target))

    def filled(self, row: Row) -> str:
        """Return the text that is read for a row of its table."""
        return self.template.filled({column: row.text(column) for column in self.own.text})

    def question(self, text: str) -> Example[TaskTarget]:
        raise AssertionError("questions are read by the reader of all tasks")

    def opening(self, splits: Splits) -> str:
        return ""
