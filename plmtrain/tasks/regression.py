"""Scores of texts and of pairs of texts: the mean squared error on the scores as they are (STS-B in GLUE, Wang et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.batch import Batch, Term
from plmtrain.data.tables.table_files import number_in
from plmtrain.metrics.regression import as_numbers, measure, undefined
from plmtrain.nn.task_heads import BiasedLinearHead, LinearHead, SentenceHead
from plmtrain.programs.answer_tables import by_score, unknown_answers, worst
from plmtrain.programs.answering import Answer, Demonstration
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.program import Selection
from plmtrain.programs.review import Review, Scores, all_alike
from plmtrain.programs.sentences import SentenceAnswering
from plmtrain.programs.taught_sentences import TaughtSentences
from plmtrain.programs.written_answers import WrittenAnswering, WrittenAnswers, most_tokens
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.tasks.regression import RegressionSettings

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Examples
    from plmtrain.data.tables.reader import Reader
    from plmtrain.text.tokenizer import Tokenizer

_SUMMED = "mse"
"""The metric that is a sum over rows; the others need all predictions at once."""
_SAME = 0.01
"""Scores within this share of the range of the right ones are the same for the question whether a run collapsed."""
_LONGEST_NUMBER = "-12345678.9"
"""No score that is written has more characters."""


class Regression(TaughtSentences[RegressionSettings]):
    """Score a text, or a pair of texts; arguments as for every ``SentenceProgram``."""

    terms = ("regression",)
    unit = "squared error an example"
    targets = "scores"
    outputs = 1

    @classmethod
    def of_heads(cls, heads: Set[type[nn.Module]], labels: tuple[str, ...]) -> RegressionSettings | None:
        if not heads & {SentenceHead, LinearHead, BiasedLinearHead} or labels:
            return None
        return RegressionSettings(name="regression", text=("text",))

    @property
    def selection(self) -> Selection:
        measure = self.settings.metrics[0]
        return Selection(measure, higher=measure not in self.settings.lower_is_better, decides=True)

    def answer_term(self, scores: Tensor, batch: Batch, *, training: bool) -> Term:
        total = functional.mse_loss(scores[:, 0].float(), batch.targets["scores"].float(), reduction="sum")
        count = batch.normalisers["regression"]
        counts = {} if training else {"errors": torch.stack([total, total.new_tensor(count)])}
        return Term(total=total, normaliser=count, counts=counts)

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute the mean squared error from the sum of squared errors and the number of rows."""
        total, rows = counts["regression/errors"]
        return {_SUMMED: float(total / rows)} if _SUMMED in self.settings.metrics else {}

    def soft_total(self, scores: Tensor, taught: Tensor, batch: Batch) -> Tensor:
        return functional.mse_loss(scores.float(), taught.float(), reduction="sum")

    @cached_property
    def answering(self) -> Scoring:
        return Scoring(self)

    def worded(self, target: float) -> str:
        return f"{target:g}"

    def inspect(self, batch: Batch) -> Inspection:
        inspection = super().inspect(batch)
        scores, times = np.unique(np.rint(batch.targets["scores"].numpy()).astype(np.int64), return_counts=True)
        rounded = dict(zip(scores.tolist(), times.tolist(), strict=True))
        return replace(inspection, histograms={"scores, rounded": rounded, **inspection.histograms})


class Scoring(SentenceAnswering[RegressionSettings]):
    """Score texts or pairs."""

    @property
    def scored(self) -> tuple[str, ...]:
        return tuple(name for name in self.settings.metrics if name != _SUMMED)

    def score(self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, float]:
        given, expected = np.array([answer["score"] for answer in predictions]), np.array(references, np.float64)
        return {name: measure(name, given, expected, self.settings.positive_from) for name in self.scored}

    def answers(self, scores: Tensor, batch: Batch) -> list[dict[str, Any]]:
        """Return the ``score`` of each row; it is not clipped to the task's bounds."""
        return [{"score": score} for score in scores[:, 0].tolist()]

    def appended(self, answer: Answer) -> dict[str, Any]:
        """Return ``prediction``: ``score`` may be the column of the right ones."""
        return {"prediction": answer.values["score"]}

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        return [f"{answer['score']:.3f}"]

    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        given, expected = np.array([answer["score"] for answer in answers], np.float64), _expected(examples)
        collapsed = bool(np.ptp(expected) > 0 and np.ptp(given) <= _SAME * np.ptp(expected))
        return Review(
            collapsed=collapsed,
            scores=Scores(given, expected),
            errors=_errors(self.reader, examples, answers, given - expected),
        )

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show the errors along the scale, the largest errors, and the baseline: the mean of the training scores."""
        given = np.array([answer["score"] for answer in answers], np.float64)
        return _closing(examples, given, self.program.selection.measure, best)


class WrittenRegression(WrittenAnswers[RegressionSettings]):
    """Write a score of a text, or a pair of texts, as a rounded number (Raffel et al. 2020, section 2.4); arguments as in
    ``WrittenAnswers``."""

    @classmethod
    def is_for(cls, settings: RegressionSettings) -> bool:
        return not settings.has_head

    @property
    def longest_target(self) -> int:
        return most_tokens([_LONGEST_NUMBER]) + self.row_format.framing

    @property
    def selection(self) -> Selection:
        measure = self.settings.metrics[0]
        return Selection(measure, higher=measure not in self.settings.lower_is_better, decides=True)

    @cached_property
    def answering(self) -> WrittenScoring:
        return WrittenScoring(self, GenerationSettings())


class WrittenScoring(WrittenAnswering[WrittenRegression]):
    """Score texts or pairs by the number that is written; arguments as in ``WrittenAnswering``."""

    def said(self, text: str) -> dict[str, Any]:
        """Return the ``score`` that was ``written``, which is not clipped to the task's bounds; None if it is no number."""
        return {"score": number_in(text), "written": text}

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        columns, score = self.columns_of(text), answer["score"]
        line = "\t".join([f"no number: {answer['written']}" if score is None else f"{score:g}", *columns.values()])
        return Answer({**columns, "score": score, "written": answer["written"]}, [line])

    def appended(self, answer: Answer) -> dict[str, Any]:
        """Return ``prediction`` and what was ``written``: ``score`` may be the column of the right ones."""
        return {"prediction": answer.values["score"], "written": answer.values["written"]}

    @property
    def scored(self) -> tuple[str, ...]:
        return (*self.settings.metrics, "unknown_answers")

    def score(self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, float]:
        """Compute the task's metrics, in which an answer that is no number is as wrong as can be, and the number of such ones."""
        given, expected = [answer["score"] for answer in predictions], np.array(references, np.float64)
        numbers, threshold = as_numbers(given, expected), self.program.settings.positive_from
        return {
            **{name: measure(name, numbers, expected, threshold) for name in self.settings.metrics},
            "unknown_answers": float(given.count(None)),
        }

    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        """Review the answers; one that is no number has the score with the largest error."""
        expected = _expected(examples)
        given = as_numbers([answer["score"] for answer in answers], expected)
        return Review(
            collapsed=all_alike([answer["written"] for answer in answers], expected.tolist()),
            scores=Scores(given, expected),
            errors=_errors(self.reader, examples, answers, given - expected),
        )

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show the answers that are no number, the errors along the scale, and the baseline of the mean."""
        given = as_numbers([answer["score"] for answer in answers], _expected(examples))
        return [unknown_answers(answers, "score"), *_closing(examples, given, self.program.selection.measure, best)]


def _expected(examples: Examples) -> NDArray[np.float64]:
    """Return the right scores of the held-out examples.  # [examples]"""
    return np.array([example.reference for example in examples.splits["validation"]], np.float64)


def _errors(
    reader: Reader[Any, Any], examples: Examples, answers: Sequence[Mapping[str, Any]], errors: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Return the held-out examples with their answers, the largest error first."""
    held_out = examples.splits["validation"]
    return [
        {**reader.line(held_out[place]), **answers[place], "error": errors[place]}
        for place in np.argsort(-np.abs(errors), kind="stable").tolist()
    ]


def _closing(examples: Examples, given: NDArray[np.float64], selected: str, best: float | None) -> list[Demonstration | str]:
    """Return what closes a run.

    Args:
        examples: of the run.
        given: [held-out examples] the scores that the model gives.
        selected: the measure by which the checkpoint was chosen.
        best: its value; None if no validation gave it.
    """
    held_out, expected = examples.splits["validation"], _expected(examples)
    mean = float(np.mean([example.reference for example in examples.splits["train"]]))
    of_mean = measure("mse", np.full_like(expected, mean), expected)
    beside = (
        f"mse {measure('mse', given, expected):.4f}; the mean of the training scores ({mean:.3f}) as the answer for every "
        f"example has {of_mean:.4f}"
    )
    parts: list[Demonstration | str] = [by_score(given, expected), worst(held_out, given, expected), beside]
    if (reason := undefined(given, expected)) is not None:
        parts.append(f"correlations are undefined: {reason}")
    if best is not None:
        parts.append(f"best validation {selected} {best:.4f}")
    return parts
