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
from plmtrain.nn.heads import LinearHead, SentenceHead
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.answering import Answer, Demonstration
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.program import Selection
from plmtrain.programs.review import Confusion, Review
from plmtrain.programs.sentences import SentenceAnswering, SentenceProgram
from plmtrain.settings.tasks.classification import ClassificationSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.data.tables.labelled import Examples
    from plmtrain.keyed_random import Keys

_LARGEST_TABLE = 10
"""The most labels that fit side by side in a table."""


class Classification(SentenceProgram[ClassificationSettings]):
    """Tell which class a text, or a pair of texts, is of; arguments as for every ``SentenceProgram``."""

    terms = ("classification",)
    unit = "nats an example"
    targets = "labels"

    @classmethod
    def of_heads(cls, heads: Set[type[nn.Module]], labels: tuple[str, ...]) -> ClassificationSettings | None:
        if not heads & {SentenceHead, LinearHead} or not labels:
            return None
        return ClassificationSettings(name="classification", text=("text",), labels=labels)

    @property
    def outputs(self) -> int:
        return len(self.settings.labels)

    @property
    def selection(self) -> Selection:
        return Selection(self.settings.metrics[0], higher=True, decides=True)

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        """Make the batch; where labels have weights, the loss of training is divided by their sum over the rows."""
        batch = super().collate(rows, keys)
        if not self.settings.weights:
            return batch
        whole = float(self._weights_of(batch.targets["labels"]).double().sum())
        return replace(batch, normalisers={**batch.normalisers, "classification": whole})

    def answer_term(self, scores: Tensor, batch: Batch, *, training: bool) -> Term:
        labels, classes = batch.targets["labels"], scores.shape[1]
        if training:
            return Term(total=self._taught(scores, labels), normaliser=batch.normalisers["classification"])
        pairs = labels * classes + scores.argmax(-1)
        counts = {"confusion": torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)}
        return Term(total=cross_entropy_sum(scores, labels), normaliser=float(len(labels)), counts=counts)

    def _taught(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of training: each example's smoothed loss times the weight of its label."""
        smoothing = self.settings.label_smoothing
        if not smoothing and not self.settings.weights:
            return cross_entropy_sum(scores, labels)
        losses = functional.cross_entropy(scores.float(), labels, reduction="none", label_smoothing=smoothing)  # [rows]
        return (losses * self._weights_of(labels)).sum() if self.settings.weights else losses.sum()

    def _weights_of(self, labels: Tensor) -> Tensor:
        """Return the weight of each label of some rows.  # [rows]"""
        return torch.tensor(self.settings.weights, device=labels.device)[labels]

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute the task's metrics from how often each class (rows) was taken for each (columns)."""
        confusion = counts["classification/confusion"]
        return {name: measure(name, confusion) for name in self.settings.metrics}

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

    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        confusion = self._confusion(examples, answers)
        wrong = [
            {**self.reader.line(example), **answer, "confidence": answer["probabilities"][answer["label"]]}
            for example, answer in zip(examples.splits["validation"], answers, strict=True)
            if answer["label"] != example.reference
        ]
        wrong.sort(key=lambda error: -error["confidence"])
        return Review(collapsed=confusion.collapsed, confusion=confusion, errors=wrong)

    def _confusion(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Confusion:
        expected = [str(example.reference) for example in examples.splits["validation"]]
        return Confusion.of(self.settings.labels, expected, [answer["label"] for answer in answers])

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show the confusion matrix, and the baseline: the share of the most frequent label."""
        labels, confusion = self.settings.labels, self._confusion(examples, answers)
        parts: list[Demonstration | str] = []
        if len(labels) <= _LARGEST_TABLE:
            right = [
                f"{share:.1%}" if any(row) else ""
                for share, row in zip(confusion.shares.diagonal(), confusion.counts, strict=True)
            ]
            rows = [
                [label, *(f"{count:,}" for count in row), share]
                for label, row, share in zip(labels, confusion.counts.tolist(), right, strict=True)
            ]
            parts.append(Demonstration("held-out examples by label", ["expected", *labels, "of them right"], rows))
        if best is not None:
            commonest = confusion.counts.sum(axis=1).max() / confusion.counts.sum()
            measured = f"best validation {self.program.selection.measure} {best:.4f}"
            parts.append(f"{measured}; the commonest label alone is {commonest:.1%} of the examples")
        return parts
