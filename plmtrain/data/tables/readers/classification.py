"""Reading labelled texts and pairs: the order of labels, and scores that are given as labels by mistake."""

from __future__ import annotations

import re
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
_WHOLE = re.compile(r"-?\d{1,100}")
"""Labels that are ordered as whole numbers, in digits of any script."""


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
            raise self._unknown(label, row.where)
        return label

    def _unknown(self, label: str, where: str) -> DataError:
        labels = self.task.labels
        known = ", ".join(labels[:_LISTED]) + (", ..." if len(labels) > _LISTED else "")
        hint = nearest(label, labels)
        remedy = hint if hint.startswith("did you mean") else f"training has: {known}; {SKIP}"
        if _WHOLE.fullmatch(label) and not any(_WHOLE.fullmatch(name) for name in labels):
            remedy = f"training has: {known}; numbers stand for them only in a dataset that says so (task.folder=)"
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
        train, held_out = (Counter(example.reference for example in splits[split]) for split in ("train", "validation"))
        unseen = [label for label in self.task.labels if not train[label]]
        rare = {
            "never in the training examples, but in the held-out ones": [label for label in unseen if held_out[label]],
            "never in the training examples": [label for label in unseen if not held_out[label]],
            "once in the training examples": [label for label in self.task.labels if train[label] == 1],
        }
        where, remedy = f"task.label={self.task.label}", "give more examples of such labels, or join them with others"
        return [Finding(_told(labels, how), where, remedy) for how, labels in rare.items() if labels]


def _told(labels: Sequence[str], how: str) -> str:
    """Return how often some labels occur, in one line."""
    some = ", ".join(f"'{label}'" for label in labels[:_NAMED]) + (", ..." if len(labels) > _NAMED else "")
    return f"{'1 label occurs' if len(labels) == 1 else f'{len(labels)} labels occur'} {how}: {some}"


def _ordered(labels: set[str]) -> tuple[str, ...]:
    """Order numbers by size, and words by alphabet; labels of equal size, such as 1 and 01, have an order, too."""
    if all(_WHOLE.fullmatch(label) for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))
