"""Classes of texts and of pairs of texts (Devlin et al. 2019, section 4.1)."""

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
from plmtrain.metrics.classification import measure
from plmtrain.nn.distillation import divergences
from plmtrain.nn.heads import BiasedLinearHead, LinearHead, SentenceHead
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.answering import Answer, Demonstration
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.program import Selection
from plmtrain.programs.sentences import SentenceAnswering
from plmtrain.programs.taught_sentences import TaughtSentences
from plmtrain.settings.tasks.classification import ClassificationSettings

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Examples

_LARGEST_TABLE = 10
"""The most labels that fit side by side in a table."""


class Classification(TaughtSentences[ClassificationSettings]):
    """Tell which class a text, or a pair of texts, is of; arguments as for every ``SentenceProgram``."""

    terms = ("classification",)
    unit = "nats an example"
    targets = "labels"

    @classmethod
    def of_heads(cls, heads: Set[type[nn.Module]], labels: tuple[str, ...]) -> ClassificationSettings | None:
        if not heads & {SentenceHead, LinearHead, BiasedLinearHead} or not labels:
            return None
        return ClassificationSettings(name="classification", text=("text",), labels=labels)

    @property
    def outputs(self) -> int:
        return len(self.settings.labels)

    @property
    def selection(self) -> Selection:
        return Selection(self.settings.metrics[0], higher=True, decides=True)

    def answer_term(self, scores: Tensor, batch: Batch, *, training: bool) -> Term:
        labels, classes = batch.targets["labels"], scores.shape[1]
        counts = {}
        if not training:
            pairs = labels * classes + scores.argmax(-1)
            counts["confusion"] = torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        total = cross_entropy_sum(scores, labels)
        return Term(total=total, normaliser=batch.normalisers["classification"], counts=counts)

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute the task's metrics from how often each class (rows) was taken for each (columns)."""
        confusion = counts["classification/confusion"]
        return {name: measure(name, confusion) for name in self.settings.metrics}

    def soft_total(self, scores: Tensor, taught: Tensor) -> Tensor:
        return divergences(scores, taught, self.settings.softening).sum()

    @cached_property
    def answering(self) -> Classifying:
        return Classifying(self)

    def worded(self, target: float) -> str:
        return self.settings.labels[int(target)]

    def inspect(self, batch: Batch) -> Inspection:
        inspection, labels = super().inspect(batch), batch.targets["labels"].numpy()
        rates = {f"label {name}": (int((labels == index).sum()), len(labels)) for index, name in enumerate(self.settings.labels)}
        return replace(inspection, rates={**rates, **inspection.rates})


class Classifying(SentenceAnswering[ClassificationSettings]):
    """Classify texts or pairs."""

    def answers(self, scores: Tensor) -> list[dict[str, Any]]:
        """Return for each row the likeliest ``label``, and the ``probabilities`` of all by name."""
        names = self.settings.labels
        return [
            {"label": names[int(np.argmax(row))], "probabilities": dict(zip(names, row, strict=True))}
            for row in functional.softmax(scores, dim=-1).tolist()
        ]

    def appended(self, answer: Answer) -> dict[str, Any]:
        """Return ``prediction``, and for each label ``probability_LABEL``: ``label`` may be the column of the right ones."""
        shares = answer.values["probabilities"]
        return {"prediction": answer.values["label"], **{f"probability_{label}": share for label, share in shares.items()}}

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        return [answer["label"], f"{answer['probabilities'][answer['label']]:.1%}"]

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show the confusion matrix, and the baseline: the share of the most frequent label."""
        labels = self.settings.labels
        expected = [example.reference for example in examples.splits["validation"]]
        parts: list[Demonstration | str] = []
        if len(labels) <= _LARGEST_TABLE:
            rows = []
            for label in labels:
                given = [answer["label"] for answer, right in zip(answers, expected, strict=True) if right == label]
                share = f"{given.count(label) / len(given):.1%}" if given else ""
                rows.append([label, *(f"{given.count(other):,}" for other in labels), share])
            parts.append(Demonstration("held-out examples by label", ["expected", *labels, "of them right"], rows))
        if best is not None:
            commonest = max(expected.count(label) for label in labels) / len(expected)
            measured = f"best validation {self.program.selection.measure} {best:.4f}"
            parts.append(f"{measured}; the commonest label alone is {commonest:.1%} of the examples")
        return parts
