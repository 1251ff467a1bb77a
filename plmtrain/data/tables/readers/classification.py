"""Reading texts and pairs with a label, or with several: the order of labels, and scores that are given as labels by mistake."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from plmtrain.data.tables import lists
from plmtrain.data.tables.examples import EncodedTexts, WholeTexts
from plmtrain.data.tables.labels import LISTED, WHOLE, listed, rare, require_several, unknown
from plmtrain.data.tables.reader import Example, Finding, ReferenceT
from plmtrain.data.tables.sentences import SentenceReader
from plmtrain.data.tables.table_files import Row
from plmtrain.data.tables.worded import WordedReader
from plmtrain.errors import DataError, nearest
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.text.readers import SKIP

if TYPE_CHECKING:
    from plmtrain.data.tables.answered import EncodedAnswers
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.text.tokenizer import Tokenizer

_SCORES = 10
"""More distinct numbers than this, some of them with decimals, are taken for scores."""
_TRUTHS = {"0": False, "1": True, "false": False, "true": True, "0.0": False, "1.0": True}
"""The cells of a column of one label."""

Labels = tuple[str, ...]
"""The labels of a text, in the order of their numbers."""


@dataclass(frozen=True, slots=True)
class GroupedLabel:
    """The label of one of several examples that belong together.

    Args:
        label: the label.
        group: what its group has in common.
    """

    label: str
    group: str

    def __str__(self) -> str:
        return self.label


class _LabelReader(SentenceReader[ClassificationSettings, ReferenceT]):
    """The base of the readers of one label and of several."""

    def __init__(self, task: ClassificationSettings) -> None:
        super().__init__(task)
        self._numbers = {label: index for index, label in enumerate(task.labels)}

    @abstractmethod
    def labels_of(self, reference: ReferenceT) -> Sequence[str]:
        """Return the labels of a text."""

    def _known(self, label: str, row: Row) -> str:
        if self._numbers and label not in self._numbers:
            raise unknown(label, self.task.labels, row.where)
        return label

    def informed(self, names: Mapping[str, Sequence[str]]) -> Self:
        return self if self.task.labels else self._with(labels=tuple(names.get(self.task.label, ())))

    def settled(self, train: Sequence[Example[ReferenceT]]) -> Self:
        if self.task.labels:
            return self
        labels = set(self._counts(train))
        self._refuse_scores(labels)
        return self._with(labels=_ordered(labels))

    def counted(self, train: Sequence[Example[ReferenceT]]) -> Self:
        """Return a reader with the counts of the labels filled in, if weights are computed from them.

        Raises:
            DataError: if a label has no weight.
        """
        task, counts = self.task, self._counts(train)
        if len(task.labels) < 2:
            return self  # refused by ``judge``
        if task.class_weights == "balanced" and not task.label_counts:
            if missing := [label for label in task.labels if not counts.get(label)]:
                what = f"the label '{missing[0]}' does not occur in the training examples, and has no balanced weight"
                raise DataError(what, "task.class_weights=balanced", "name weights: task.class_weights=[...], or other labels")
            return self._with(label_counts=tuple(counts[label] for label in task.labels))
        if task.weights and len(task.weights) != len(task.labels):
            what = f"there are {len(task.weights)} weights of labels, and {len(task.labels)} labels"
            raise DataError(what, f"labels: {', '.join(task.labels[:LISTED])}", "give one for each label, in this order")
        return self

    def _with(self, **settled: tuple[Any, ...]) -> Self:
        return type(self)(self.task.model_copy(update=settled))

    def _refuse_scores(self, labels: set[str]) -> None:
        numbers = []
        with suppress(ValueError):
            numbers = sorted({float(label) for label in labels})
        if len(numbers) > _SCORES and any(not number.is_integer() for number in numbers):
            some = ", ".join(f"{number:g}" for number in numbers[:: max(1, len(numbers) // 5)][:5])
            raise DataError(
                f"there are {len(numbers)} different labels, all of them numbers ({some}, ...): these look like scores",
                self._setting,
                "write task=regression; if they are classes all the same, name them all: task.labels=[...]",
            )

    def kind(self, example: Example[ReferenceT]) -> str:
        """Return the label of a text, or the first of its labels by alphabet: their numbers may not be known yet."""
        return min(() if example.reference is None else self.labels_of(example.reference), default="")

    @property
    def encoding(self) -> type[EncodedTexts]:
        return EncodedTexts if self.task.windows is None else WholeTexts

    @property
    def numbering(self) -> tuple[str, ...]:
        return self.task.labels

    def judge(self, splits: Splits) -> None:
        require_several(self.task.labels, self._setting)
        if self.task.negative_label not in (None, *self.task.labels):
            what = f"task.negative_label is no label of the examples: {', '.join(self.task.labels[:LISTED])}"
            raise DataError(what, self._setting, nearest(str(self.task.negative_label), self.task.labels))

    def opening(self, splits: Splits) -> str:
        return listed(self.task.labels, self._counts(splits["train"]))

    def facts(self, splits: Splits) -> dict[str, Any]:
        return {"labels": list(self.task.labels)}

    def findings(self, splits: Splits) -> list[Finding]:
        train, held_out = (self._counts(splits[split]) for split in ("train", "validation"))
        return [*super().findings(splits), *rare(self.task.labels, train, held_out, self._setting)]

    def _counts(self, examples: Sequence[Example[ReferenceT]]) -> Counter[str]:
        given = (example.reference for example in examples)
        return Counter(label for reference in given if reference is not None for label in self.labels_of(reference))

    @property
    def _setting(self) -> str:
        """The setting that names the labels' column, in messages."""
        return f"task.label={self.task.label}"


class ClassificationReader(_LabelReader[str]):
    """Reads a label beside a text or a pair."""

    another = "another label"
    numbers = np.int64

    @classmethod
    def is_for(cls, task: ClassificationSettings) -> bool:
        return super().is_for(task) and not task.multi_label and not task.group

    def labels_of(self, reference: str) -> Sequence[str]:
        return (reference,)

    def answer(self, row: Row) -> str:
        return self._known(row.label(self.task.label), row)

    def number(self, reference: str) -> float:
        return self._numbers[reference]


class GroupedReader(_LabelReader[GroupedLabel]):
    """Reads a label beside a text or a pair, and the columns of ``task.group``."""

    another = "another label"
    numbers = np.int64

    @classmethod
    def is_for(cls, task: ClassificationSettings) -> bool:
        return super().is_for(task) and bool(task.group)

    @property
    def answer_columns(self) -> Mapping[str, str]:
        return {**super().answer_columns, **dict.fromkeys(self.task.group, "task.group")}

    def labels_of(self, reference: GroupedLabel) -> Sequence[str]:
        return (reference.label,)

    def answer(self, row: Row) -> GroupedLabel:
        for column in self.task.group:
            if row.cells[column] in (None, ""):
                raise DataError(f"column '{column}' names no group: it is empty", row.where, SKIP)
        group = json.dumps([row.cells[column] for column in self.task.group], ensure_ascii=False, default=str)
        return GroupedLabel(self._known(row.label(self.task.label), row), group)

    def number(self, reference: GroupedLabel) -> float:
        return self._numbers[reference.label]

    def kin(self, example: Example[GroupedLabel]) -> tuple[str, ...]:
        """Return the group, and the first text: groups about the same text are on one side."""
        return super().kin(example) if example.reference is None else (example.reference.group, example.texts[0])

    def content(self, example: Example[GroupedLabel]) -> tuple[str, ...]:
        assert example.reference is not None
        return (*super().content(example), example.reference.group)

    def line(self, example: Example[GroupedLabel]) -> dict[str, Any]:
        return {**super().line(example), "expected": str(example.reference)}


class WrittenClassificationReader(WordedReader[ClassificationSettings, str], ClassificationReader):
    """Reads a label beside a text or a pair, for which words are written."""

    def word(self, reference: str) -> str:
        return self.task.word(reference)

    def judge(self, splits: Splits) -> None:
        super().judge(splits)
        if (problem := self.task.wrong_words()) is not None:
            raise DataError(problem, f"task.label={self.task.label}", "give each label of the examples words of its own")

    def encode(self, examples: Sequence[Example[str]], tokenizer: Tokenizer) -> EncodedAnswers:
        for label in self.task.labels:
            word = self.word(label)
            if (written := " ".join(tokenizer.decode(tokenizer.encode([word])[0][0]).split())) != word:
                what = f"the tokenizer turns '{word}', which is to be written for label '{label}', into '{written}'"
                raise DataError(what, "task.label_words", "give the label words that it keeps: task.label_words={LABEL: WORDS}")
        return super().encode(examples, tokenizer)


class MultiLabelReader(_LabelReader[Labels]):
    """Reads any number of labels beside a text or a pair: a list, text with a separator between labels, or a column for each."""

    another = "other labels"
    numbers = np.float32

    @classmethod
    def is_for(cls, task: ClassificationSettings) -> bool:
        return super().is_for(task) and task.multi_label

    @property
    def answer_columns(self) -> Mapping[str, str]:
        columns = self.task.label_columns
        return dict.fromkeys(columns, "task.label_columns") if columns else super().answer_columns

    @property
    def _setting(self) -> str:
        columns = self.task.label_columns
        return f"task.label_columns=[{','.join(columns)}]" if columns else super()._setting

    def labels_of(self, reference: Labels) -> Sequence[str]:
        return reference

    def answer(self, row: Row) -> Labels:
        if self.task.label_columns:
            return tuple(column for column in self.task.label_columns if self._is_given(row, column))
        column = self.task.label
        given = lists.items(row, column)
        if given is None:
            value = row.cells[column]
            text = value if isinstance(value, str) and not value.strip() else row.label(column)  # a text may have no label
            given = [part for part in text.split(self.task.label_separator) if part.strip()]
        labels = {self._known(Row(row.where, {column: label}).label(column), row) for label in given}
        return tuple(sorted(labels, key=lambda label: (self._numbers.get(label, 0), label)))

    def _is_given(self, row: Row, column: str) -> bool:
        cell = row.label(column)
        if cell not in _TRUTHS:
            raise DataError(f"column '{column}' should be 0 or 1, but is '{cell[:60]}'", row.where, SKIP)
        return _TRUTHS[cell]

    def number(self, reference: Labels) -> list[float]:
        return [float(label in reference) for label in self.task.labels]

    def judge(self, splits: Splits) -> None:
        super().judge(splits)
        if "train" in splits and not any(self._counts(examples) for examples in splits.values()):
            raise DataError("no text has a label", self._setting, "name the column of the labels: task.label=")

    def opening(self, splits: Splits) -> str:
        train = splits["train"]
        mean = sum(len(example.reference or ()) for example in train) / len(train)
        return f"{super().opening(splits)}; {mean:.2f} of them a text"


def _ordered(labels: set[str]) -> tuple[str, ...]:
    """Order numbers by size, and words by alphabet; labels of equal size, such as 1 and 01, have an order, too."""
    if all(WHOLE.fullmatch(label) for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))
