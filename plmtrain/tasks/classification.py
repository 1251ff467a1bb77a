"""Classes of texts and of pairs of texts (Devlin et al. 2019, section 4.1), with the head of each family's published models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.batch import Batch, Inputs, Layout, Term, shift_right
from plmtrain.data.rows.row_formats import RowFormat, formatted
from plmtrain.data.tables.examples import EncodedExamples, ExampleRows, Texts
from plmtrain.errors import DataError
from plmtrain.nn.heads import SentenceHead
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.answering import Answer, Answering
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import Carry, MakeBackbone, Program, RowShape, Selection
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.tasks.classification import ClassificationSettings

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Published:
    """The sentence head of a family's published models.

    Args:
        reads: the state that stands for a row: of its first token, of its last (rows are padded on the left), or the decoder's
            at the closing token.
        activation: between the two layers.
        drops_state: whether there is a dropout before the first layer.
        dropout: of the head; None for the model's.
        pooled: whether the first layer is pretrained, as the pooler.
    """

    reads: Literal["first", "last", "decoder"] = "first"
    activation: str = "tanh"
    drops_state: bool = False
    dropout: float | None = None
    pooled: bool = False


HEADS: Mapping[str, Published] = {
    "bert": Published(pooled=True),
    "albert": Published(pooled=True, dropout=0.1),
    "roberta": Published(drops_state=True),
    "electra": Published(drops_state=True, activation="gelu"),
    "distilbert": Published(activation="relu", dropout=0.2),
    "xlnet": Published(reads="last", dropout=0.1),
    "bart": Published(reads="decoder", drops_state=True, dropout=0.0),
}
"""By family of models, the head as transformers has it; ELECTRA's own code scores the dropped first state with one layer."""


class ClassificationLearner(Learner):
    """A backbone and a sentence head.

    Args:
        backbone: reads the row.
        head: scores it.
        published: the head of the model's family: which state stands for a row, and whether its first layer is the pooler.
        closing: the id of the token that closes a row.
    """

    def __init__(self, backbone: Backbone, head: SentenceHead, published: Published, closing: int) -> None:
        super().__init__(backbone)
        self.head = head
        self._published, self._closing = published, closing

    @property
    def pooler_layer(self) -> nn.Linear | None:
        return self.head.dense if self._published.pooled else None

    def scores(self, inputs: Inputs) -> Tensor:
        """Return the logits of the classes.  # [batch, classes]"""
        reads = self._published.reads
        if reads == "decoder":
            state = self._closing_state(inputs)
        else:
            hidden = self.backbone.encode(inputs)  # [batch, length, width]
            state = hidden[:, 0] if reads == "first" else hidden[:, -1]
        scores: Tensor = self.head(state)
        return scores

    def _closing_state(self, inputs: Inputs) -> Tensor:
        """Return the decoder's state where it would write the closing token, having read all before it (Lewis et al. 2020,
        section 3.1; as in the authors' code, the closing token also stands in front).  # [batch, width]"""
        ids, tokens = inputs.ids, inputs.layout.tokens
        decoder = Inputs(ids=shift_right(ids, self._closing), layout=Layout(tokens=tokens, causal=True))
        states = self.backbone.hidden(replace(inputs, decoder=decoder))
        tokens = torch.ones_like(ids, dtype=torch.bool) if tokens is None else tokens
        return states[torch.arange(len(ids), device=ids.device), tokens.sum(dim=1) - 1]


class Classification(Program[ClassificationSettings, ModelSettings, ClassificationLearner]):
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
    unit = "nats an example"

    def __init__(
        self, settings: ClassificationSettings, model: ModelSettings, vocabulary: Vocabulary, sequence_length: int
    ) -> None:
        super().__init__(settings, model, vocabulary)
        self.sequence_length = sequence_length
        self.published = HEADS[model.family]
        self.format = RowFormat.of(model.family, len(settings.text))
        self._segmented = getattr(model, "segments", 0) > 1 or model.kind == "two_stream"

    @property
    def selection(self) -> Selection:
        return Selection(self.settings.metrics[0], higher=True, decides=True)

    def row_shape(self, sequence_length: int) -> RowShape:
        return RowShape(length=sequence_length - self.format.framing)

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        assert isinstance(rows, ExampleRows)
        assert rows.labels is not None
        return self.batch(rows, {"labels": torch.from_numpy(rows.labels)}, torch.from_numpy(keys.samples))

    def batch(self, rows: Rows, targets: Mapping[str, Tensor], samples: Tensor) -> Batch:
        """Frame texts or pairs as the model's family does."""
        laid_out = formatted(rows, self.format, self.vocabulary, self.model.positions)
        segments = torch.from_numpy(laid_out.segments) if self._segmented else None
        return Batch(
            inputs=Inputs(ids=torch.from_numpy(laid_out.ids), layout=Layout.of(laid_out.real), segments=segments),
            targets=targets,
            samples=samples,
            normalisers={"classification": float(len(rows)), "tokens": float(laid_out.real.sum())},
        )

    def build(self, make: MakeBackbone) -> ClassificationLearner:
        backbone = make(self.model)
        for parameter in backbone.unread_by_encode():
            parameter.requires_grad_(False)
        model = cast(Any, self.model)  # every model that has a head here has these
        dropout = self.published.dropout if self.settings.dropout is None else self.settings.dropout
        dropout = model.dropout if dropout is None else dropout
        head = SentenceHead(
            backbone.width,
            len(self.settings.labels),
            self.published.activation,
            dropout_before=dropout if self.published.drops_state else 0.0,
            dropout=dropout,
            initial_std=model.initial_std,
            initial_truncated=getattr(model, "initial_truncated", False),
        )
        return ClassificationLearner(backbone, head, self.published, self.vocabulary["sep"])

    def loss(self, learner: ClassificationLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        logits = learner.scores(batch.inputs)
        labels, classes = batch.targets["labels"], logits.shape[1]
        counts = {}
        if not learner.training:
            pairs = labels * classes + logits.argmax(-1)
            counts["confusion"] = torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        total = cross_entropy_sum(logits, labels)
        return {"classification": Term(total=total, normaliser=batch.normalisers["classification"], counts=counts)}, carry

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute the task's metrics from how often each class (rows) was taken for each (columns)."""
        confusion = counts["classification/confusion"]
        return {name: measure(name, confusion) for name in self.settings.metrics}

    @cached_property
    def answering(self) -> Classifying:
        return Classifying(self)

    def inspect(self, batch: Batch) -> Inspection:
        ids, real = batch.inputs.ids.numpy(), np.asarray(batch.layout.tokens)
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


class Classifying(Answering[ClassificationLearner]):
    """Classify texts or pairs.

    Args:
        program: frames them, and has the names of the classes.
    """

    def __init__(self, program: Classification) -> None:
        self.program, self.settings = program, program.settings
        self.longest = program.row_shape(program.sequence_length).length

    def collate(self, rows: Rows) -> Batch:
        return self.program.batch(rows, {}, torch.arange(len(rows)))

    @torch.no_grad()
    def predict(self, learner: ClassificationLearner, batch: Batch) -> list[dict[str, Any]]:
        """Return for each row its ``sample``, the likeliest ``label``, and the ``probabilities`` of all by name."""
        shares = functional.softmax(learner.scores(batch.inputs).float(), dim=-1)
        names = self.settings.labels
        return [
            {"sample": sample, "label": names[int(np.argmax(row))], "probabilities": dict(zip(names, row, strict=True))}
            for sample, row in zip(batch.samples.tolist(), shares.tolist(), strict=True)
        ]

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> ExampleRows:
        """Encode a text a line; a pair is two texts with a tab between them. A JSON object has them by column."""
        columns = [self._columns(text) for text in texts]
        encoded = [Texts.encode(column, tokenizer) for column in zip(*columns, strict=True)]
        return EncodedExamples(encoded, None, self.longest).fetch(np.arange(len(texts)))

    def _columns(self, text: str) -> tuple[str, ...]:
        names = self.settings.text
        if text.lstrip().startswith("{"):
            try:
                cells = json.loads(text)
            except ValueError:
                cells = None
            if isinstance(cells, dict) and all(isinstance(cells.get(name), str) for name in names):
                return tuple(cells[name] for name in names)
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
