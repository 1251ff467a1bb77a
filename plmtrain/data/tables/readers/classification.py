"""Reading labelled texts and pairs: the order of labels, and scores that are given as labels by mistake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from plmtrain.data.tables.labels import LISTED, WHOLE, listed, rare, require_several, unknown
from plmtrain.data.tables.reader import Example, Finding
from plmtrain.data.tables.sentences import SentenceReader
from plmtrain.errors import DataError
from plmtrain.settings.tasks.classification import ClassificationSettings

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.data.tables.table_files import Row

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
        return self if self.task.labels else self._with(labels=tuple(names.get(self.task.label, ())))

    def settled(self, train: Sequence[Example[str]]) -> Self:
        reader = self
        if not self.task.labels:
            labels = {example.reference for example in train if example.reference is not None}
            self._refuse_scores(labels)
            reader = self._with(labels=_ordered(labels))
        return reader._weighted(_counts(train))

    def _weighted(self, counts: Mapping[str, int]) -> Self:
        """Return a reader with the counts of the labels filled in, if weights are computed from them.

        Raises:
            DataError: if a label has no weight.
        """
        task = self.task
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


def _counts(examples: Sequence[Example[Any]]) -> Counter[str]:
    return Counter(str(example.reference) for example in examples)


def _ordered(labels: set[str]) -> tuple[str, ...]:
    """Order numbers by size, and words by alphabet; labels of equal size, such as 1 and 01, have an order, too."""
    if all(WHOLE.fullmatch(label) for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))
