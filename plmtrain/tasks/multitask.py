"""Several tasks in one run, each of which is a text for a text (Raffel et al. 2020, section 3.5.2).

A row names its task, so that one model learns all of them; each is scored by its own metrics, and the checkpoint with the best
average is the run's result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.metrics import written
from plmtrain.programs.answering import Answer, Demonstration
from plmtrain.programs.program import Selection
from plmtrain.programs.review import Review, all_alike
from plmtrain.programs.written_answers import WrittenAnswering, WrittenAnswers
from plmtrain.settings.tasks.multitask import AVERAGE, MultitaskSettings

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Examples
    from plmtrain.data.tables.member_tasks import TaskTarget
    from plmtrain.text.tokenizer import Tokenizer

_SHOWN = 2
"""The held-out examples of each task in the closing table."""
_OF_100 = ("bleu", "chrf")
"""The metrics from 0 to 100; the others are from 0 to 1, and so is the average."""


class Multitask(WrittenAnswers[MultitaskSettings]):
    """Write a text for a row that names its task; arguments as in ``WrittenAnswers``."""

    @property
    def smoothing(self) -> float:
        return self.settings.label_smoothing

    @property
    def longest_target(self) -> int:
        return self.settings.target_length or self.sequence_length

    @property
    def selection(self) -> Selection:
        measure = self.settings.selected
        return Selection(measure, higher=measure not in self.settings.lower_is_better, decides=True)

    @cached_property
    def answering(self) -> MultitaskWriting:
        return MultitaskWriting(self, self.settings.generation)


class MultitaskWriting(WrittenAnswering[Multitask]):
    """Write texts for rows of any of the tasks; arguments as in ``WrittenAnswering``."""

    def columns_of(self, text: str) -> dict[str, str]:
        return {"text": self.reader.question(text).texts[0]}

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        return Answer({**self.columns_of(text), "prediction": answer["prediction"]}, [answer["prediction"]])

    @property
    def scored(self) -> tuple[str, ...]:
        each = [f"{task}/{metric}" for task, metrics in self.settings.measured.items() for metric in metrics]
        return (*each, AVERAGE) if each else ()

    def score(self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, float]:
        """Compute the metrics of each task, and the ``average`` over tasks of the mean of a task's metrics, 0 to 1."""
        texts: dict[str, tuple[list[str], list[str]]] = {task: ([], []) for task in self.settings.tasks}
        for answer, right in zip(predictions, references, strict=True):
            texts[right.task][0].append(answer["prediction"])
            texts[right.task][1].append(right.text)
        scores: dict[str, float] = {}
        means = []
        for task, metrics in self.settings.measured.items():
            own = {metric: written.measure(metric, *texts[task], self.settings.bleu_tokens) for metric in metrics}
            scores |= {f"{task}/{metric}": value for metric, value in own.items()}
            means.append(np.mean([value / 100 if metric in _OF_100 else value for metric, value in own.items()]))
        return {**scores, AVERAGE: float(np.mean(means))}

    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        expected = [right.text for right in _right(examples)]
        return Review(collapsed=all_alike([answer["prediction"] for answer in answers], expected))

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show some held-out examples of each task, and its scores."""
        right, rows = _right(examples), []
        each = list(zip(examples.splits["validation"], right, answers, strict=True))
        for task in self.settings.tasks:
            own = ((example.texts[0], task, one.text, answer["prediction"]) for example, one, answer in each if one.task == task)
            rows += [list(cells) for cells in islice(own, _SHOWN)]
        scores = self.score(answers, right) if self.scored else {}
        told = [[name.replace("/", " "), f"{value:.4f}"] for name, value in scores.items()]
        parts: list[Demonstration | str] = [Demonstration("held-out examples", ("text", "task", "expected", "written"), rows)]
        if told:
            parts.append(Demonstration("scores of the tasks", ("measure", "value"), told))
        if best is not None:
            parts.append(f"best validation {self.program.selection.measure} {best:.4f}")
        return parts


def _right(examples: Examples) -> list[TaskTarget]:
    """Return the right answer of each held-out example."""
    return [example.reference for example in examples.splits["validation"] if example.reference is not None]
