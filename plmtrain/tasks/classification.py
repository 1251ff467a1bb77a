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
from plmtrain.metrics.classification import confusion_of, measure
from plmtrain.nn.heads import LinearHead, SentenceHead
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.answer_tables import beside_commonest, by_label, unknown_answers
from plmtrain.programs.answering import Answer, Demonstration
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.program import Selection
from plmtrain.programs.sentences import SentenceAnswering, SentenceProgram
from plmtrain.programs.written_answers import WrittenAnswering, WrittenAnswers, most_tokens
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.tasks.classification import ClassificationSettings

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Examples
    from plmtrain.settings.tasks.base import TaskSettings
    from plmtrain.text.tokenizer import Tokenizer


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
        expected = [str(example.reference) for example in examples.splits["validation"]]
        parts = by_label(labels, expected, [answer["label"] for answer in answers])
        if best is not None:
            parts.append(beside_commonest(self.program.selection.measure, best, labels, expected))
        return parts


class WrittenClassification(WrittenAnswers[ClassificationSettings]):
    """Write the words of the class that a text, or a pair of texts, is of (Raffel et al. 2020, section 2.4); arguments as in
    ``WrittenAnswers``."""

    @classmethod
    def is_for(cls, settings: TaskSettings) -> bool:
        return not settings.has_head

    @property
    def longest_target(self) -> int:
        words = [self.settings.word(label) for label in self.settings.labels]
        return most_tokens(words) + self.row_format.framing

    @property
    def selection(self) -> Selection:
        return Selection(self.settings.metrics[0], higher=True, decides=True)

    @cached_property
    def answering(self) -> WrittenClassifying:
        return WrittenClassifying(self, GenerationSettings())


class WrittenClassifying(WrittenAnswering[WrittenClassification]):
    """Classify texts or pairs by what is written; arguments as in ``WrittenAnswering``."""

    @cached_property
    def _labels(self) -> Mapping[str, str]:
        return {self.settings.word(label): label for label in self.settings.labels}

    def said(self, text: str) -> dict[str, Any]:
        """Return the ``label`` whose words were ``written``; None if they are those of no label."""
        return {"label": self._labels.get(" ".join(text.split())), "written": text}

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        columns, label = self.columns_of(text), answer["label"]
        line = "\t".join([f"no label: {answer['written']}" if label is None else label, *columns.values()])
        return Answer({**columns, "label": label, "written": answer["written"]}, [line])

    def appended(self, answer: Answer) -> dict[str, Any]:
        """Return ``prediction`` and what was ``written``: ``label`` may be the column of the right ones."""
        return {"prediction": answer.values["label"], "written": answer.values["written"]}

    @property
    def scored(self) -> tuple[str, ...]:
        return (*self.settings.metrics, "unknown_answers")

    def score(self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, float]:
        """Compute the task's metrics, in which an answer that is no label is wrong, and the number of such answers."""
        given = [answer["label"] for answer in predictions]
        confusion = confusion_of(given, references, self.settings.labels)
        return {
            **{name: measure(name, confusion) for name in self.settings.metrics},
            "unknown_answers": float(given.count(None)),
        }

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show the confusion matrix, the answers that are no label, and the share of the most frequent label."""
        labels, given = self.settings.labels, [answer["label"] for answer in answers]
        expected = [str(example.reference) for example in examples.splits["validation"]]
        parts = [*by_label(labels, expected, given), unknown_answers(answers, "label")]
        if best is not None:
            parts.append(beside_commonest(self.program.selection.measure, best, labels, expected))
        return parts
