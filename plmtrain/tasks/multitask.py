"""Several tasks in one run, each of which is a text for a text (Raffel et al. 2020, section 3.5.2).

A row names its task, so that one model learns all of them; each is scored by its own metrics, and the checkpoint with the best
average is the run's result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
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
        texts = self._by_task(predictions, references)
        scores: dict[str, float] = {}
        means = []
        for task, metrics in self.settings.measured.items():
            own = {metric: written.measure(metric, *texts[task], self.settings.bleu_tokens) for metric in metrics}
            scores |= {f"{task}/{metric}": value for metric, value in own.items()}
            means.append(np.mean([value / 100 if metric in _OF_100 else value for metric, value in own.items()]))
        return {**scores, AVERAGE: float(np.mean(means))}

    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        expected = ["" if example.reference is None else example.reference.text for example in examples.splits["validation"]]
        return Review(collapsed=all_alike([answer["prediction"] for answer in answers], expected))

    def _by_task(
        self, predictions: Sequence[Mapping[str, Any]], references: Sequence[TaskTarget]
    ) -> dict[str, tuple[list[str], list[str]]]:
        """Return the texts that were written for each task, and the right ones."""
        texts: dict[str, tuple[list[str], list[str]]] = {task: ([], []) for task in self.settings.tasks}
        for answer, right in zip(predictions, references, strict=True):
            texts[right.task][0].append(answer["prediction"])
            texts[right.task][1].append(right.text)
        return texts

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show some held-out examples of each task, its scores, and how those were computed that can be in several ways."""
        held_out = [
            (example.texts[0], target, answer["prediction"])
            for example, answer in zip(examples.splits["validation"], answers, strict=True)
            if (target := example.reference) is not None
        ]
        rows = []
        for task in self.settings.tasks:
            own = [one for one in held_out if one[1].task == task]
            rows += [[row, task, target.text, text] for row, target, text in own[:_SHOWN]]
        right = [target for _, target, _ in held_out]
        scores = self.score(answers, right) if self.scored else {}
        told = [[name.replace("/", " "), f"{value:.4f}"] for name, value in scores.items()]
        parts: list[Demonstration | str] = [Demonstration("held-out examples", ("text", "task", "expected", "written"), rows)]
        if told:
            parts.append(Demonstration("scores of the tasks", ("measure", "value"), told))
        parts += [
            f"{task}: {written.signature(metric, *texts, self.settings.bleu_tokens)}"
            for task, texts in self._by_task(answers, right).items()
            for metric in self.settings.measured[task]
            if metric in _OF_100
        ]
        if best is not None:
            parts.append(f"best validation {self.program.selection.measure} {best:.4f}")
        return parts
