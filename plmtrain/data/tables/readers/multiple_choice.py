"""Reading contexts and questions with the texts that are chosen from."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.tables import lists
from plmtrain.data.tables.choices import EncodedChoices
from plmtrain.data.tables.examples import Texts
from plmtrain.data.tables.inner import with_inner
from plmtrain.data.tables.reader import Example, Finding, Reader, ReferenceT
from plmtrain.data.tables.table_files import Row
from plmtrain.data.tables.texts import as_object
from plmtrain.errors import DataError
from plmtrain.settings.tasks.multiple_choice import LETTERS, MultipleChoiceSettings
from plmtrain.text.readers import SKIP

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.text.tokenizer import Tokenizer

_OTHERWISE = "task.label_as= names another way: index, number, letter, text"


class ChoiceReader(Reader[MultipleChoiceSettings, ReferenceT]):
    """The base of the readers of choices, of which one is right or several.

    The texts of an example are those of ``task.context`` and ``task.question``, if there are any, and then its choices.
    """

    another = "another right choice"
    fewest: ClassVar[int] = 2
    """The fewest choices of an example."""

    @abstractmethod
    def right(self, row: Row, choices: Sequence[str]) -> ReferenceT:
        """Read which of the choices are right.

        Raises:
            DataError: naming file and line, if none is.
        """

    @abstractmethod
    def targets(self, examples: Sequence[Example[ReferenceT]]) -> NDArray[Any]:
        """Return what the loss and the measures compare the scores of the choices with.  # [examples, ...]"""

    @abstractmethod
    def numbers_of(self, reference: ReferenceT) -> tuple[int, ...]:
        """Return the numbers of the right choices, from 0."""

    @property
    def columns(self) -> Mapping[str, str]:
        return {**self.question_columns, self.task.label: "task.label"}

    @property
    def question_columns(self) -> Mapping[str, str]:
        given = {"task.context": self.task.context, "task.question": self.task.question}
        leading = {column: setting for setting, column in given.items() if column is not None}
        return {**leading, **dict.fromkeys(self.task.choices, "task.choices")}

    def example(self, row: Row) -> Example[ReferenceT]:
        choices = self._choices(row)
        return Example((*self._leading(row), *choices), self.right(row, choices))

    def _leading(self, row: Row) -> tuple[str, ...]:
        return tuple(row.text(column) for column in self.task.leading)

    def _choices(self, row: Row) -> tuple[str, ...]:
        """Return the choices of a row; the last of several columns may be empty.

        Raises:
            DataError: if there are fewer than ``fewest``, or an empty one.
        """
        if len(self.task.choices) == 1:
            column = self.task.choices[0]
            remedy = f'write {column} as a list, ["...", "..."], or name a column for each: task.choices=[A, B]'
            choices = lists.texts(row, column, remedy)
        else:
            given = ["" if row.cells[column] is None else row.text(column) for column in self.task.choices]
            while given and not given[-1].strip():
                given.pop()
            choices = tuple(given)
        if empty := [number for number, choice in enumerate(choices, start=1) if not choice.strip()]:
            raise DataError(f"choice {empty[0]} of {len(choices)} is empty", row.where, SKIP)
        if len(choices) < self.fewest:
            raise _too_few(choices, row.where)
        return choices

    def question(self, text: str) -> Example[ReferenceT]:
        """Read a line: the texts and then the choices with tabs between them, or a JSON object of ``question_columns``."""
        shown, leading = f"'{text[:60]}'", self.task.leading
        listed = len(self.task.choices) == 1
        as_json = ", ".join([f'"{name}": "..."' for name in (*leading, *(() if listed else self.task.choices))])
        as_json += f'{", " if leading else ""}"{self.task.choices[0]}": ["...", "..."]' if listed else ""
        if (given := as_object(text)) is not None:
            cells = with_inner(given, self.question_columns)
            if missing := [name for name in self.question_columns if name not in cells]:
                what = f"there is no '{missing[0]}' in this JSON object; it has: {', '.join(cells) or 'nothing'}"
                raise DataError(what, shown, f"write {{{as_json}}}")
            row = Row(shown, cells)
            return Example((*self._leading(row), *self._choices(row)), None)
        parts = tuple(text.split("\t"))
        if len(parts) < len(leading) + 2 or not all(part.strip() for part in parts[len(leading) :]):
            tab = " TAB ".join([*(name.upper() for name in leading), "CHOICE", "CHOICE"])
            what = f"two choices or more were expected{' after ' + ' and '.join(leading) if leading else ''}"
            raise DataError(what, shown, f"write {tab} ..., or {{{as_json}}}")
        return Example(parts, None)

    def kin(self, example: Example[ReferenceT]) -> tuple[str, ...]:
        """Return the context, where there is one: questions about the same one stay together."""
        return super().kin(example) if self.task.context is None else example.texts[:1]

    def content(self, example: Example[ReferenceT]) -> tuple[str, ...]:
        return (*example.texts, str(example.reference))

    def choices_of(self, example: Example[ReferenceT]) -> tuple[str, ...]:
        """Return the choices of an example."""
        return example.texts[len(self.task.leading) :]

    def _read(self, example: Example[ReferenceT]) -> list[str]:
        """Return the text that stands for each choice of an example in a row: with the question, if there is one."""
        choices = self.choices_of(example)
        if self.task.question is None:
            return list(choices)
        question = example.texts[len(self.task.leading) - 1]
        question = self.task.question_texts.get(question, question)
        if self.task.blank is not None and self.task.blank in question:
            return [question.replace(self.task.blank, choice) for choice in choices]
        return [f"{question} {choice}" for choice in choices]

    def vocabulary_texts(self, example: Example[ReferenceT]) -> tuple[str, ...]:
        return (*(() if self.task.context is None else example.texts[:1]), *self._read(example))

    def encode(self, examples: Sequence[Example[ReferenceT]], tokenizer: Tokenizer) -> EncodedChoices:
        references = [example.reference for example in examples if example.reference is not None]
        known = len(references) == len(examples)
        contexts = None if self.task.context is None else Texts.encode([example.texts[0] for example in examples], tokenizer)
        return EncodedChoices(
            contexts=contexts,
            choices=Texts.encode([text for example in examples for text in self._read(example)], tokenizer),
            starts=np.cumsum([0, *(len(self.choices_of(example)) for example in examples)]),
            targets=self.targets(examples) if known else None,
            references=references,
        )

    def opening(self, splits: Splits) -> str:
        counts = Counter(len(self.choices_of(example)) for example in splits["train"])
        each = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
        return f"{each} choices an example"

    def facts(self, splits: Splits) -> dict[str, Any]:
        return {"choices": {split: sum(len(self.choices_of(one)) for one in some) for split, some in splits.items()}}

    def findings(self, splits: Splits) -> list[Finding]:
        right = {self.numbers_of(example.reference) for example in splits["train"] if example.reference is not None}
        if len(right) > 1 or len(splits["train"]) < 2:
            return []
        what = f"the right choice is always the one with index {next(iter(right))[0]}"
        return [Finding(what, f"task.label={self.task.label}", "see whether task.label_as= says how the label is given")]

    def line(self, example: Example[ReferenceT]) -> dict[str, Any]:
        expected = () if example.reference is None else self.numbers_of(example.reference)
        return {**self.cells(example), "expected": list(expected) if self.task.several_right else expected[0]}

    def cells(self, example: Example[ReferenceT]) -> dict[str, Any]:
        """Return the texts of an example by column."""
        choices, columns = self.choices_of(example), self.task.choices
        leading = dict(zip(self.task.leading, example.texts, strict=False))
        if len(columns) == 1:
            return {**leading, columns[0]: list(choices)}
        return {**leading, **dict(zip(columns, choices, strict=False))}


def _too_few(choices: Sequence[str], where: str) -> DataError:
    return DataError(f"there must be two choices or more, and {'is one' if choices else 'are none'}", where, SKIP)


class MultipleChoiceReader(ChoiceReader[int]):
    """Reads the number of the one right choice, from 0."""

    @classmethod
    def is_for(cls, task: MultipleChoiceSettings) -> bool:
        return not task.several_right

    def right(self, row: Row, choices: Sequence[str]) -> int:
        label, task = row.label(self.task.label), self.task
        if task.label_as == "text":
            places = [number for number, choice in enumerate(choices) if choice.strip() == label]
            if len(places) != 1:
                what = f"the label '{label[:60]}' is the text of {'several choices' if places else 'no choice'}"
                raise DataError(what, row.where, f"{_OTHERWISE}; {SKIP}")
            return places[0]
        if task.label_as == "index" and len(task.choices) > 1 and label in task.choices[: len(choices)]:
            return task.choices.index(label)
        first = 1 if task.label_as == "number" else 0
        numbers = [str(number) for number in range(first, first + len(choices))]
        known = list(LETTERS[: len(choices)]) if task.label_as == "letter" else numbers
        if label not in known:
            what = f"the label '{label[:60]}' is that of no choice: there are {len(choices)}, {known[0]} to {known[-1]}"
            raise DataError(what, row.where, f"{_OTHERWISE}; {SKIP}")
        return known.index(label)

    def targets(self, examples: Sequence[Example[int]]) -> NDArray[np.int64]:
        return np.array([example.reference for example in examples], np.int64)

    def numbers_of(self, reference: int) -> tuple[int, ...]:
        return (reference,)


@dataclass(frozen=True, slots=True)
class RightTexts:
    """The right answers to a question.

    Args:
        texts: the answers.
        choices: what was chosen from.
        numbers: the choices that are one of the answers, from 0.
    """

    texts: tuple[str, ...]
    choices: tuple[str, ...]
    numbers: tuple[int, ...]


class SeveralRightReader(ChoiceReader[RightTexts]):
    """Reads a list of right answers, which are some of the choices.

    A held-out example may have a single choice, or none that is right: it is scored as all others are, and is not left out.
    """

    fewest = 1

    @classmethod
    def is_for(cls, task: MultipleChoiceSettings) -> bool:
        return task.several_right

    def right(self, row: Row, choices: Sequence[str]) -> RightTexts:
        remedy = f'write {self.task.label} as a list, ["..."], or say how the one right choice is given: task.label_as='
        texts = lists.texts(row, self.task.label, remedy)
        answers = {_as_read(text) for text in texts}
        numbers = tuple(number for number, choice in enumerate(choices) if _as_read(choice) in answers)
        return RightTexts(texts, tuple(choices), numbers)

    def require_learnable(self, example: Example[RightTexts], where: str) -> None:
        right = example.reference
        assert right is not None
        if len(right.choices) < super().fewest:
            raise _too_few(right.choices, where)
        if not right.numbers:
            given = f"'{right.texts[0][:60]}'" if right.texts else "an empty list"
            raise DataError(f"no choice is one of the right answers in '{self.task.label}': {given}", where, SKIP)

    def targets(self, examples: Sequence[Example[RightTexts]]) -> NDArray[np.bool_]:
        """Return whether each choice is right; no where an example has fewer than others.  # [examples, most choices]"""
        references = [example.reference for example in examples if example.reference is not None]
        table = np.zeros((len(references), max((len(each.choices) for each in references), default=0)), np.bool_)
        for row, reference in zip(table, references, strict=True):
            row[list(reference.numbers)] = True
        return table

    def numbers_of(self, reference: RightTexts) -> tuple[int, ...]:
        return reference.numbers


def _as_read(text: str) -> str:
    """Return a text without white space that has no meaning."""
    return " ".join(text.split())
