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
from plmtrain.metrics.regression import measure, undefined
from plmtrain.nn.heads import BiasedLinearHead, LinearHead, SentenceHead
from plmtrain.programs.answering import Answer, Demonstration
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.program import Selection
from plmtrain.programs.sentences import SentenceAnswering
from plmtrain.programs.taught_sentences import TaughtSentences
from plmtrain.settings.tasks.regression import RegressionSettings

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Examples

_SUMMED = "mse"
"""The metric that is a sum over rows; the others need all predictions at once."""
_PARTS = 5
"""The number of groups of held-out examples, by score, in the closing table."""
_WORST = 5
"""The number of examples in the table of the largest errors."""
_SHORT = 80
"""The most characters of a text in a table."""


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

    def soft_total(self, scores: Tensor, taught: Tensor) -> Tensor:
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
        return {name: measure(name, given, expected) for name in self.scored}

    def answers(self, scores: Tensor) -> list[dict[str, Any]]:
        """Return the ``score`` of each row; it is not clipped to the task's bounds."""
        return [{"score": score} for score in scores[:, 0].tolist()]

    def appended(self, answer: Answer) -> dict[str, Any]:
        """Return ``prediction``: ``score`` may be the column of the right ones."""
        return {"prediction": answer.values["score"]}

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        return [f"{answer['score']:.3f}"]

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show the errors along the scale, the largest errors, and the baseline: the mean of the training scores."""
        held_out = examples.splits["validation"]
        expected = np.array([example.reference for example in held_out], np.float64)
        given = np.array([answer["score"] for answer in answers], np.float64)
        mean = float(np.mean([example.reference for example in examples.splits["train"]]))
        of_mean = measure("mse", np.full_like(expected, mean), expected)
        beside = (
            f"mse {measure('mse', given, expected):.4f}; the mean of the training scores ({mean:.3f}) as the answer for every "
            f"example has {of_mean:.4f}"
        )
        parts: list[Demonstration | str] = [_by_score(given, expected), _worst(held_out, given, expected), beside]
        if (reason := undefined(given, expected)) is not None:
            parts.append(f"correlations are undefined: {reason}")
        if best is not None:
            parts.append(f"best validation {self.program.selection.measure} {best:.4f}")
        return parts


def _by_score(given: NDArray[np.float64], expected: NDArray[np.float64]) -> Demonstration:
    """Summarise the answers for equal groups of examples, from the lowest scores to the highest."""
    rows = []
    for part in np.array_split(np.argsort(expected, kind="stable"), min(_PARTS, len(expected))):
        right, answers = expected[part], given[part]
        numbers = (right.mean(), answers.mean(), np.sqrt(np.mean((answers - right) ** 2)))
        rows.append([f"{right.min():g} to {right.max():g}", f"{len(part):,}", *(f"{number:.3f}" for number in numbers)])
    return Demonstration(
        "held-out examples by score", ("expected", "examples", "mean expected", "mean answer", "root mean squared error"), rows
    )


def _worst(examples: Sequence[Any], given: NDArray[np.float64], expected: NDArray[np.float64]) -> Demonstration:
    """List the examples with the largest errors."""
    order = np.argsort(-np.abs(given - expected), kind="stable")[:_WORST]
    rows = [
        ["\n".join(_shortened(text) for text in examples[index].texts), f"{expected[index]:g}", f"{given[index]:.3f}"]
        for index in order.tolist()
    ]
    return Demonstration("held-out examples with the largest errors", ("text", "expected", "answer"), rows)


def _shortened(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."
