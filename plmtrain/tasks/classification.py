"""Classes of texts and of pairs of texts (Devlin et al. 2019, section 4.1): one for each, or any number of labels."""

from __future__ import annotations

from collections import Counter
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
from plmtrain.metrics.classification import (
    area_under_precision_and_recall,
    confusion_of,
    measure,
    measure_several,
    share_of_whole_groups,
)
from plmtrain.nn.distillation import divergences
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.nn.task_heads import BiasedLinearHead, LinearHead, SentenceHead
from plmtrain.programs.answer_tables import beside_commonest, by_label, unknown_answers
from plmtrain.programs.answering import Answer, Demonstration
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.program import Selection
from plmtrain.programs.review import Confusion, Review, all_alike
from plmtrain.programs.taught_sentences import TaughtSentences
from plmtrain.programs.windows import WindowedAnswering, WindowedProgram
from plmtrain.programs.written_answers import WrittenAnswering, WrittenAnswers, most_tokens
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.tasks.classification import ClassificationSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.data.tables.labelled import Examples
    from plmtrain.keyed_random import Keys
    from plmtrain.text.tokenizer import Tokenizer

_LONGEST_TABLE = 40
"""The most labels in a table with a row for each."""
_NO_LABEL = "(no label)"
"""The label of a text that was written, and is none."""


class Classification(TaughtSentences[ClassificationSettings], WindowedProgram):
    """Tell which class a text, or a pair of texts, is of; arguments as for every ``SentenceProgram``."""

    terms = ("classification",)
    unit = "nats an example"
    targets = "labels"

    @classmethod
    def is_for(cls, settings: ClassificationSettings) -> bool:
        return super().is_for(settings) and not settings.multi_label

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

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        """Make the batch; where labels have weights, the loss of training is divided by their sum over the rows."""
        batch = super().collate(rows, keys)
        if not self.settings.weights:
            return batch
        whole = float(self._weights_of(batch.targets["labels"]).double().sum())
        return replace(batch, normalisers={**batch.normalisers, "classification": whole})

    def answer_term(self, scores: Tensor, batch: Batch, *, training: bool) -> Term:
        scores = self.of_texts(scores, batch)
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
        return torch.tensor(self.settings.weights).to(labels.device, non_blocking=True)[labels]

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute the task's metrics from how often each class (rows) was taken for each (columns)."""
        confusion, metrics = counts["classification/confusion"], self.settings.metrics
        return {
            name: measure(name, confusion, negative_of(self.settings))
            for name in metrics
            if name not in self.settings.of_all_answers
        }

    def soft_total(self, scores: Tensor, taught: Tensor, batch: Batch) -> Tensor:
        ours, theirs = (self.of_texts(each, batch) for each in (scores, taught))
        return divergences(ours, theirs, self.settings.softening).sum()

    @cached_property
    def answering(self) -> Classifying:
        return Classifying(self)

    def worded(self, target: float) -> str:
        return self.settings.labels[int(target)]

    def inspect(self, batch: Batch) -> Inspection:
        inspection, labels = super().inspect(batch), batch.targets["labels"].numpy()
        rates = {f"label {name}": (int((labels == index).sum()), len(labels)) for index, name in enumerate(self.settings.labels)}
        return replace(inspection, rates={**rates, **inspection.rates})


class Classifying(WindowedAnswering):
    """Classify texts or pairs."""

    def of_texts(self, scores: Tensor) -> list[dict[str, Any]]:
        """Return for each text the likeliest ``label``, and the ``probabilities`` of all by name."""
        names = self.settings.labels
        return [
            {"label": names[int(np.argmax(row))], "probabilities": dict(zip(names, row, strict=True))}
            for row in functional.softmax(scores, dim=-1).tolist()
        ]

    @property
    def scored(self) -> tuple[str, ...]:
        return self.settings.of_all_answers

    def score(self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, float]:
        """Compute the metrics that need the answers to all examples: of probabilities, and of groups."""
        labels, values = self.settings.labels, {}
        right = [str(reference) for reference in references]
        if "auprc" in self.scored:
            shares = np.array([[answer["probabilities"][label] for label in labels] for answer in predictions], np.float64)
            values["auprc"] = area_under_precision_and_recall([labels.index(label) for label in right], shares)
        if "exact_match" in self.scored:
            hits = [answer["label"] == label for answer, label in zip(predictions, right, strict=True)]
            values["exact_match"] = share_of_whole_groups(hits, [reference.group for reference in references])
        return values

    def appended(self, answer: Answer) -> dict[str, Any]:
        """Return ``prediction``, and for each label ``probability_LABEL``: ``label`` may be the column of the right ones."""
        shares = answer.values["probabilities"]
        return {"prediction": answer.values["label"], **{f"probability_{label}": share for label, share in shares.items()}}

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        return [answer["label"], f"{answer['probabilities'][answer['label']]:.1%}"]

    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        held_out = examples.splits["validation"]
        confusion = Confusion.of(self.settings.labels, _expected(examples), [answer["label"] for answer in answers])
        wrong = [
            {**self.reader.line(example), **answer, "confidence": answer["probabilities"][answer["label"]]}
            for example, answer in zip(held_out, answers, strict=True)
            if answer["label"] != str(example.reference)
        ]
        wrong.sort(key=lambda error: -error["confidence"])
        return Review(collapsed=confusion.collapsed, confusion=confusion, errors=wrong)

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show the confusion matrix, and the baseline: the share of the most frequent label."""
        labels, expected = self.settings.labels, _expected(examples)
        parts = by_label(labels, expected, [answer["label"] for answer in answers])
        if best is not None:
            parts.append(beside_commonest(self.program.selection.measure, best, labels, expected))
        return parts


class MultiLabelClassification(WindowedProgram):
    """Tell which labels a text, or a pair, has, each by a score of its own; arguments as for every ``SentenceProgram``."""

    terms = ("classification",)
    unit = "nats a label"
    targets = "labels"

    @classmethod
    def is_for(cls, settings: ClassificationSettings) -> bool:
        return super().is_for(settings) and settings.multi_label

    @property
    def outputs(self) -> int:
        return len(self.settings.labels)

    @property
    def selection(self) -> Selection:
        return Selection(self.settings.metrics[0], higher=True, decides=True)

    def answer_term(self, scores: Tensor, batch: Batch, *, training: bool) -> Term:
        """Return the binary cross-entropy, the mean over labels as in transformers' code."""
        scores, right = self.of_texts(scores, batch).float(), batch.targets["labels"]
        counts = {}
        if not training:
            given = self.given(scores)
            pairs = torch.stack([1 - right, right], -1)[..., None] * torch.stack([~given, given], -1)[..., None, :]
            exact = (given == right.bool()).all(dim=-1).sum()
            counts = {"answers": pairs.sum(dim=0), "subsets": torch.stack([exact, torch.full_like(exact, len(right))])}
        total = functional.binary_cross_entropy_with_logits(scores, right, reduction="sum") / self.outputs
        return Term(total=total, normaliser=batch.normalisers["classification"], counts=counts)

    def given(self, scores: Tensor) -> Tensor:
        """Return whether each label is given.  # [texts, labels] -> [texts, labels]"""
        return scores.sigmoid() >= self.settings.threshold

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute the task's metrics from how often each label was right and given, and from the texts that are exactly right."""
        answers, subsets = counts["classification/answers"], counts["classification/subsets"]
        return {name: measure_several(name, answers, subsets) for name in self.settings.metrics}

    @cached_property
    def answering(self) -> MultiLabelling:
        return MultiLabelling(self)

    def worded(self, target: Sequence[float]) -> str:
        return ", ".join(name for name, share in zip(self.settings.labels, target, strict=True) if share) or "no label"

    def inspect(self, batch: Batch) -> Inspection:
        inspection, labels = super().inspect(batch), batch.targets["labels"].numpy()
        rates = {f"label {name}": (int(own.sum()), len(own)) for name, own in zip(self.settings.labels, labels.T, strict=True)}
        return replace(inspection, rates={**rates, **inspection.rates})


class MultiLabelling(WindowedAnswering):
    """Give labels to texts or pairs."""

    program: MultiLabelClassification

    def of_texts(self, scores: Tensor) -> list[dict[str, Any]]:
        """Return for each text its ``labels``, and the ``probabilities`` of all by name."""
        names = self.settings.labels
        return [
            {
                "labels": [name for name, chosen in zip(names, own, strict=True) if chosen],
                "probabilities": dict(zip(names, row, strict=True)),
            }
            for own, row in zip(self.program.given(scores).tolist(), scores.sigmoid().tolist(), strict=True)
        ]

    def appended(self, answer: Answer) -> dict[str, Any]:
        """Return ``prediction``, a list of labels, and for each label ``probability_LABEL``."""
        shares = answer.values["probabilities"]
        return {"prediction": answer.values["labels"], **{f"probability_{label}": share for label, share in shares.items()}}

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        return [", ".join(f"{label} {answer['probabilities'][label]:.1%}" for label in answer["labels"]) or "no label"]

    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        expected = [tuple(example.reference or ()) for example in examples.splits["validation"]]
        return Review(collapsed=all_alike([tuple(answer["labels"]) for answer in answers], expected))

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show how often each label is given rightly, and the baseline: the commonest set of labels for every text."""
        expected = [tuple(example.reference or ()) for example in examples.splits["validation"]]
        given = [tuple(answer["labels"]) for answer in answers]
        parts: list[Demonstration | str] = []
        if len(self.settings.labels) <= _LONGEST_TABLE:
            rows = []
            for label in self.settings.labels:
                right, chosen = (sum(label in each for each in sets) for sets in (expected, given))
                both = sum(label in one and label in other for one, other in zip(expected, given, strict=True))
                shares = [f"{both / whole:.1%}" if whole else "" for whole in (chosen, right)]
                rows.append([label, f"{right:,}", f"{chosen:,}", *shares])
            headings = ["label", "expected", "given", "precision", "recall"]
            parts.append(Demonstration("held-out examples by label", headings, rows))
        if best is not None:
            sets = Counter(tuple(example.reference or ()) for example in examples.splits["train"])
            usual = min(sets, key=lambda one: (-sets[one], one))
            measured = f"best validation {self.program.selection.measure} {best:.4f}"
            share = expected.count(usual) / len(expected)
            named = ", ".join(usual) or "no label"
            parts.append(f"{measured}; the commonest answer of training alone ({named}) is that of {share:.1%} of the examples")
        return parts


class WrittenClassification(WrittenAnswers[ClassificationSettings]):
    """Write the words of the class that a text, or a pair of texts, is of (Raffel et al. 2020, section 2.4); arguments as in
    ``WrittenAnswers``."""

    @classmethod
    def is_for(cls, settings: ClassificationSettings) -> bool:
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
            **{name: measure(name, confusion, negative_of(self.settings)) for name in self.settings.metrics},
            "unknown_answers": float(given.count(None)),
        }

    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        """Review the answers; those that are no label are one more label."""
        given = [_NO_LABEL if answer["label"] is None else answer["label"] for answer in answers]
        labels = [*self.settings.labels, *([_NO_LABEL] if _NO_LABEL in given else [])]
        confusion = Confusion.of(labels, _expected(examples), given)
        return Review(collapsed=confusion.collapsed, confusion=confusion)

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show the confusion matrix, the answers that are no label, and the share of the most frequent label."""
        labels, given = self.settings.labels, [answer["label"] for answer in answers]
        expected = _expected(examples)
        parts = [*by_label(labels, expected, given), unknown_answers(answers, "label")]
        if best is not None:
            parts.append(beside_commonest(self.program.selection.measure, best, labels, expected))
        return parts


def negative_of(settings: ClassificationSettings) -> int | None:
    """Return the number of the label that says that none of the others holds; None if there is none."""
    return None if settings.negative_label is None else settings.labels.index(settings.negative_label)


def _expected(examples: Examples) -> list[str]:
    """Return the right label of each held-out example."""
    return [str(example.reference) for example in examples.splits["validation"]]
