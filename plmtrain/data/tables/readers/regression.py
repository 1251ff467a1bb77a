"""Reading texts and pairs with a score: a finite number within the task's bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.tables.reader import Example, Finding
from plmtrain.data.tables.sentences import SentenceReader
from plmtrain.data.tables.worded import WordedReader
from plmtrain.errors import DataError
from plmtrain.settings.tasks.regression import RegressionSettings
from plmtrain.text.readers import SKIP

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.data.tables.table_files import Row


class RegressionReader(SentenceReader[RegressionSettings, float]):
    """Reads a score beside a text or a pair."""

    another = "another score"
    numbers = np.float64

    def answer(self, row: Row) -> float:
        try:
            score = row.number(self.task.label)
        except DataError as error:
            raise DataError(error.what, error.where, f"{error.remedy}; words are labels: task=classification") from None
        if self.task.minimum is not None and score < self.task.minimum:
            raise self._beyond(score, f"below task.minimum={self.task.minimum:g}", row.where)
        if self.task.maximum is not None and score > self.task.maximum:
            raise self._beyond(score, f"above task.maximum={self.task.maximum:g}", row.where)
        return score

    def _beyond(self, score: float, how: str, where: str) -> DataError:
        return DataError(f"the score {score:g} in column '{self.task.label}' is {how}", where, SKIP)

    def number(self, reference: float) -> float:
        return reference

    def judge(self, splits: Splits) -> None:
        scores = _scores(splits.get("train", ()))
        if len(scores) and np.all(scores == scores[0]):
            what = f"all {len(scores):,} training examples have the same score, {scores[0]:g}"
            raise DataError(what, f"task.label={self.task.label}", "give examples of different scores, or name another column")

    def opening(self, splits: Splits) -> str:
        scores = _scores(splits["train"])
        return f"scores: {scores.min():g} to {scores.max():g}, mean {scores.mean():.3f}, standard deviation {scores.std():.3f}"

    def facts(self, splits: Splits) -> dict[str, Any]:
        return {"scores": {split: _summary(_scores(examples)) for split, examples in splits.items()}}

    def findings(self, splits: Splits) -> list[Finding]:
        train, held_out = (_scores(splits[split]) for split in ("train", "validation"))
        beyond = int(np.sum((held_out < train.min()) | (held_out > train.max())))
        bare = super().findings(splits)
        if not beyond:
            return bare
        what = f"{beyond:,} of {len(held_out):,} held-out scores are outside the range of the training ones"
        where = f"task.label={self.task.label}: training has {train.min():g} to {train.max():g}"
        remedy = "see whether both are on one scale; task.minimum= and task.maximum= refuse what is not"
        return [*bare, Finding(what, where, remedy)]


class WrittenRegressionReader(WordedReader[RegressionSettings, float], RegressionReader):
    """Reads a score beside a text or a pair, for which a rounded number is written."""

    def word(self, reference: float) -> str:
        return self.task.word(reference)


def _scores(examples: Sequence[Example[float]]) -> NDArray[np.float64]:
    return np.array([example.reference for example in examples], np.float64)


def _summary(scores: NDArray[np.float64]) -> dict[str, float]:
    return {"minimum": scores.min(), "maximum": scores.max(), "mean": scores.mean(), "deviation": scores.std()}
