"""Reading labelled texts and pairs: the order of labels, and scores that are given as labels by mistake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from plmtrain.data.tables.labels import WHOLE, listed, rare, require_several, unknown
from plmtrain.data.tables.reader import Example, Finding
from plmtrain.data.tables.sentences import SentenceReader
from plmtrain.data.tables.worded import WordedReader
from plmtrain.errors import DataError
from plmtrain.settings.tasks.classification import ClassificationSettings

if TYPE_CHECKING:
    from plmtrain.data.tables.answered import EncodedAnswers
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.data.tables.table_files import Row
    from plmtrain.text.tokenizer import Tokenizer

_SCORES = 10
"""More distinct numbers than this, some of them with decimals, are taken for scores."""


class ClassificationReader(SentenceReader[ClassificationSettings, str]):
    """Reads a label beside a text or a pair."""

    noun = "label"
    numbers = np.int64

    def __init__(self, task: ClassificationSettings) -> None:
        super().__init__(task)
        self._numbers = {label: index for index, label in enumerate(task.labels)}

    def answer(self, row: Row) -> str:
        label = row.label(self.task.label)
        if self._numbers and label not in self._numbers:
            raise unknown(label, self.task.labels, row.where)
        return label

    def number(self, reference: str) -> float:
        return self._numbers[reference]

    def informed(self, names: Mapping[str, Sequence[str]]) -> Self:
        return self if self.task.labels else self._with(names.get(self.task.label, ()))

    def settled(self, train: Sequence[Example[str]]) -> Self:
        if self.task.labels:
            return self
        labels = {example.reference for example in train if example.reference is not None}
        self._refuse_scores(labels)
        return self._with(_ordered(labels))

    def _with(self, labels: Sequence[str]) -> Self:
        return type(self)(self.task.model_copy(update={"labels": tuple(labels)}))

    def _refuse_scores(self, labels: set[str]) -> None:
        numbers = []
        with suppress(ValueError):
            numbers = sorted({float(label) for label in labels})
        if len(numbers) > _SCORES and any(not number.is_integer() for number in numbers):
            some = ", ".join(f"{number:g}" for number in numbers[:: max(1, len(numbers) // 5)][:5])
            raise DataError(
                f"there are {len(numbers)} different labels, all of them numbers ({some}, ...): these look like scores",
                f"task.label={self.task.label}",
                "write task=regression; if they are classes all the same, name them all: task.labels=[...]",
            )

    @property
    def numbering(self) -> tuple[str, ...]:
        return self.task.labels

    def judge(self, splits: Splits) -> None:
        require_several(self.task.labels, f"task.label={self.task.label}")

    def opening(self, splits: Splits) -> str:
        return listed(self.task.labels, _counts(splits["train"]))

    def facts(self, splits: Splits) -> dict[str, Any]:
        return {"labels": list(self.task.labels)}

    def findings(self, splits: Splits) -> list[Finding]:
        train, held_out = (_counts(splits[split]) for split in ("train", "validation"))
        return rare(self.task.labels, train, held_out, f"task.label={self.task.label}")


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


def _counts(examples: Sequence[Example[Any]]) -> Counter[str]:
    return Counter(str(example.reference) for example in examples)


def _ordered(labels: set[str]) -> tuple[str, ...]:
    """Order numbers by size, and words by alphabet; labels of equal size, such as 1 and 01, have an order, too."""
    if all(WHOLE.fullmatch(label) for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))
