"""Reading labelled texts and pairs: the order of labels, and scores that are given as labels by mistake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from plmtrain.data.tables.reader import Example, Finding
from plmtrain.data.tables.sentences import SentenceReader
from plmtrain.errors import DataError, nearest
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.text.readers import SKIP

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.data.tables.table_files import Row

_SCORES = 10
"""More distinct numbers than this, some of them with decimals, are taken for scores."""
_LISTED = 20
"""The most labels in a list of all labels."""
_NAMED = 5
"""The most labels that are given as examples."""


class ClassificationReader(SentenceReader[ClassificationSettings, str]):
    """Reads a label beside a text or a pair."""

    noun = "label"
    numbers = np.int64

    def __init__(self, task: ClassificationSettings) -> None:
        super().__init__(task)
        labels = task.labels
        # Files of public tasks have numbers where their datasets have words.
        numbers = {str(index): label for index, label in enumerate(labels)}
        self._names = {**numbers, **{label: label for label in labels}}
        self._numbers = {label: index for index, label in enumerate(labels)}

    def answer(self, row: Row) -> str:
        label = row.label(self.task.label)
        if self._names and label not in self._names:
            raise self._unknown(label, row.where)
        return self._names.get(label, label)

    def _unknown(self, label: str, where: str) -> DataError:
        labels = self.task.labels
        known = ", ".join(labels[:_LISTED]) + (", ..." if len(labels) > _LISTED else "")
        hint = nearest(label, labels)
        remedy = hint if hint.startswith("did you mean") else f"training has: {known}; {SKIP}"
        return DataError(f"the label '{label[:60]}' is none of training's", where, remedy)

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
            some = ", ".join(f"{number:g}" for number in numbers[:: max(1, len(numbers) // _NAMED)][:_NAMED])
            raise DataError(
                f"there are {len(numbers)} different labels, all of them numbers ({some}, ...): these look like scores",
                f"task.label={self.task.label}",
                "write task=regression; if they are classes all the same, name them all: task.labels=[...]",
            )

    @property
    def numbering(self) -> tuple[str, ...]:
        return self.task.labels

    def judge(self, splits: Splits) -> None:
        labels = self.task.labels
        if len(labels) < 2:
            what = f"there is one label only, '{labels[0]}'" if labels else "there is no label"
            raise DataError(what, f"task.label={self.task.label}", "give examples of two labels or more")

    def opening(self, splits: Splits) -> str:
        counts = Counter(example.reference for example in splits["train"])
        named = [f"{label} ({counts[label]:,})" for label in self.task.labels]
        return f"labels: {', '.join(named[:_LISTED])}{', ...' if len(named) > _LISTED else ''}"

    def facts(self, splits: Splits) -> dict[str, Any]:
        return {"labels": list(self.task.labels)}

    def findings(self, splits: Splits) -> list[Finding]:
        counts = Counter(example.reference for example in splits["train"])
        where, remedy = f"task.label={self.task.label}", "give more examples of such labels, or join them with others"
        findings = []
        for times, words in ((0, "never"), (1, "once")):
            rare = [label for label in self.task.labels if counts[label] == times]
            if rare:
                named = ", ".join(f"'{label}'" for label in rare[:_NAMED]) + (", ..." if len(rare) > _NAMED else "")
                which = "1 label occurs" if len(rare) == 1 else f"{len(rare)} labels occur"
                findings.append(Finding(f"{which} {words} in the training examples: {named}", where, remedy))
        return findings


def _ordered(labels: set[str]) -> tuple[str, ...]:
    """Order numbers by size, and words by alphabet."""
    if all(label.removeprefix("-").isdecimal() for label in labels):
        return tuple(sorted(labels, key=int))
    return tuple(sorted(labels))
