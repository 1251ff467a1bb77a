"""Classes of texts and of pairs of texts (Devlin et al. 2019, section 4.1), with the head of each family's published models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.batch import Batch, Layout, Term
from plmtrain.data.rows.row_formats import RowFormat, formatted
from plmtrain.data.tables.examples import EncodedExamples, ExampleRows, Texts
from plmtrain.errors import DataError
from plmtrain.nn.heads import SentenceHead
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.program import Answer, Carry, Inspection, MakeBackbone, Program, Selection, Shown
from plmtrain.settings.tasks.classification import ClassificationSettings

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary


class ClassificationLearner(nn.Module):
    """A backbone and a sentence head.

    Args:
        backbone: what reads the row.
        head: what scores it.
        reads: the state that stands for a row.
        closing: the id of the token that closes one.
    """

    def __init__(self, backbone: Backbone, head: SentenceHead, reads: str, closing: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self._reads, self._closing = reads, closing

    def scores(self, batch: Batch) -> Tensor:
        """Logits of the classes.  # [batch, classes]"""
        ids, layout = batch.inputs["ids"], batch.layout
        hidden = self.backbone.encode(ids, layout, batch.inputs.get("segments"))  # [batch, length, width]
        if self._reads == "decoder":
            state = self._written(ids, layout, hidden)
        else:
            state = hidden[:, 0] if self._reads == "first" else hidden[:, -1]
        scores: Tensor = self.head(state)
        return scores

    def _written(self, ids: Tensor, layout: Layout, memory: Tensor) -> Tensor:
        """The decoder's state where it would write the closing token, having read all before it (Lewis et al. 2020, section
        3.1; as in the authors' code, the closing token also stands in front).  # [batch, width]"""
        before = torch.cat([torch.full_like(ids[:, :1], self._closing), ids[:, :-1]], dim=1)
        decode = cast(Any, self.backbone).decode
        states: Tensor = decode(before, memory, Layout(tokens=layout.tokens, causal=True), layout)
        tokens = torch.ones_like(ids, dtype=torch.bool) if layout.tokens is None else layout.tokens
        return states[torch.arange(len(ids), device=ids.device), tokens.sum(dim=1) - 1]


class Classification(Program[ClassificationSettings]):
    """Tell which class a text, or a pair of texts, is of.

    Args:
        settings: the task's.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.
        sequence_length: tokens of a row, special ones included; of longer pairs the longer text is cut.
    """

    terms = ("classification",)
    ragged = True
    counted = ("tokens",)
    in_nats_a_token = False

    def __init__(
        self, settings: ClassificationSettings, model: ModelSettings, vocabulary: Vocabulary, sequence_length: int
    ) -> None:
        super().__init__(settings, model, vocabulary)
        self.sequence_length = sequence_length
        self.published = model.published
        self.format = RowFormat.of(model.family, len(settings.text))
        self._segmented = getattr(model, "segments", 0) > 1 or model.kind == "two_stream"

    @property
    def selection(self) -> Selection:
        return Selection(self.settings.metrics[0], higher=True, decides=True)

    def row_length(self, sequence_length: int) -> int:
        return sequence_length - self.format.framing

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        rows = cast(ExampleRows, rows)
        assert rows.labels is not None
        return self._batch(rows, {"labels": torch.from_numpy(rows.labels)}, torch.from_numpy(keys.samples))

    def collate_for_prediction(self, rows: Rows) -> Batch:
        return self._batch(rows, {}, torch.arange(len(rows)))

    def _batch(self, rows: Rows, targets: Mapping[str, Tensor], samples: Tensor) -> Batch:
        laid_out = formatted(rows, self.format, self.vocabulary, self.model.positions)
        inputs = {"ids": torch.from_numpy(laid_out.ids)}
        if self._segmented:
            inputs["segments"] = torch.from_numpy(laid_out.segments)
        layout = Layout.of(laid_out.real)
        normalisers = {"classification": float(len(rows)), "tokens": float(laid_out.real.sum())}
        return Batch(inputs=inputs, targets=targets, layout=layout, samples=samples, normalisers=normalisers)

    def build(self, make: MakeBackbone) -> ClassificationLearner:
        backbone = make(self.model)
        for parameter in backbone.unread_by_encode():
            parameter.requires_grad_(False)
        published = self.published.head
        assert published is not None, "refused with the settings"
        model = cast(Any, self.model)  # every model that has a head here has these
        dropout = published.dropout if self.settings.dropout is None else self.settings.dropout
        dropout = model.dropout if dropout is None else dropout
        head = SentenceHead(
            backbone.width,
            len(self.settings.labels),
            published.activation,
            dropout_before=dropout if published.drops_state else 0.0,
            dropout=dropout,
            initial_std=model.initial_std,
            initial_truncated=getattr(model, "initial_truncated", False),
        )
        return ClassificationLearner(backbone, head, self.published.reads, self.vocabulary["sep"])

    def loss(self, learner: nn.Module, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        logits = cast(ClassificationLearner, learner).scores(batch)
        labels, classes = batch.targets["labels"], logits.shape[1]
        counts = {}
        if not learner.training:
            pairs = labels * classes + logits.argmax(-1)
            counts["confusion"] = torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        total = cross_entropy_sum(logits, labels)
        return {"classification": Term(total=total, normaliser=batch.normalisers["classification"], counts=counts)}, carry

    def measures(self, counts: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """The task's metrics, from how often each class (rows) was taken for each (columns)."""
        confusion = counts["classification/confusion"]
        return {name: measure(name, confusion) for name in self.settings.metrics}

    def backbone_of(self, learner: nn.Module) -> Backbone:
        return cast(ClassificationLearner, learner).backbone

    def pooler_of(self, learner: nn.Module) -> nn.Linear | None:
        return (
            cast(ClassificationLearner, learner).head.dense
            if self.published.head is not None and self.published.head.pooled
            else None
        )

    @torch.no_grad()
    def predict(self, learner: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """For each row its ``sample``, the likeliest ``label``, and the ``probabilities`` of all by name."""
        shares = functional.softmax(cast(ClassificationLearner, learner).scores(batch).float(), dim=-1)
        names = self.settings.labels
        return [
            {"sample": sample, "label": names[int(np.argmax(row))], "probabilities": dict(zip(names, row, strict=True))}
            for sample, row in zip(batch.samples.tolist(), shares.tolist(), strict=True)
        ]

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> ExampleRows:
        """A text a line; a pair is two texts with a tab between them. A JSON object has them by column."""
        columns = [self._columns(text) for text in texts]
        encoded = [Texts.encode(column, tokenizer) for column in zip(*columns, strict=True)]
        return EncodedExamples(encoded, None, self.row_length(self.sequence_length)).fetch(np.arange(len(texts)))

    def _columns(self, text: str) -> tuple[str, ...]:
        names = self.settings.text
        if text.lstrip().startswith("{"):
            try:
                found = json.loads(text)
            except ValueError:
                found = None
            if isinstance(found, dict) and all(isinstance(found.get(name), str) for name in names):
                return tuple(found[name] for name in names)
        parts = tuple(text.split("\t")) if len(names) > 1 else (text,)
        if len(parts) != len(names):
            tab, keys = " TAB ".join(name.upper() for name in names), ", ".join(f'"{name}": "..."' for name in names)
            raise DataError(
                f"a pair of texts was expected, and this has {len(parts)}", f"'{text[:60]}'", f"write {tab}, or {{{keys}}}"
            )
        return parts

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        label, shares = answer["label"], answer["probabilities"]
        columns = dict(zip(self.settings.text, self._columns(text), strict=True))
        line = "\t".join([label, f"{shares[label]:.1%}", *columns.values()])
        return Answer({**columns, "label": label, "probabilities": shares}, [line])

    def inspect(self, batch: Batch) -> Inspection:
        ids, real = batch.inputs["ids"].numpy(), np.asarray(batch.layout.tokens)
        special = self.vocabulary.is_special[ids]
        labels = batch.targets["labels"].numpy()
        rows = [
            Shown(
                {
                    self.settings.labels[label]: [
                        (int(token), "special" if mark else "plain") for token, mark in zip(row[kept], marks[kept], strict=True)
                    ]
                }
            )
            for row, kept, marks, label in zip(ids, real, special, labels, strict=True)
        ]
        rates = {f"label {name}": (int((labels == index).sum()), len(labels)) for index, name in enumerate(self.settings.labels)}
        lengths, times = np.unique(real.sum(axis=1), return_counts=True)
        rates["cut"] = (int((real.sum(axis=1) == self.sequence_length).sum()), len(labels))
        return Inspection(
            rows=rows, rates=rates, histograms={"tokens in a row": dict(zip(lengths.tolist(), times.tolist(), strict=True))}
        )


def measure(name: str, confusion: NDArray[np.float64]) -> float:
    """A metric by scikit-learn, from how often each class was taken for each.

    Args:
        name: ``accuracy``; ``f1`` of the second class where there are two, as in GLUE, else the mean of all; ``mcc``.
        confusion: [classes, classes] the true class by rows.
    """
    from sklearn import metrics  # type: ignore[import-untyped]

    classes = np.arange(len(confusion))
    true, predicted = np.repeat(classes, len(classes)), np.tile(classes, len(classes))
    weights = confusion.reshape(-1)
    if not weights.sum():
        return 0.0
    if name == "f1":
        average = "binary" if len(classes) == 2 else "macro"
        return float(metrics.f1_score(true, predicted, sample_weight=weights, average=average, zero_division=0.0))
    function = {"accuracy": metrics.accuracy_score, "mcc": metrics.matthews_corrcoef}[name]
    return float(function(true, predicted, sample_weight=weights))
